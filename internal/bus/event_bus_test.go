package bus_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/bus"
)

func TestEventBusLife(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()

	b, err := f.CreateEventBus(ctx, f.one, bus.NewEventBus{
		Name: "orders", Description: "d", KMSKey: "k", DeadLetterARN: "arn:aws:sqs:eu-west-1:" + f.one.AccountID + ":dlq",
		Log: &bus.LogConfig{Level: "ERROR", IncludeDetail: "FULL"}, Tags: map[string]string{"team": "a"},
	})
	ok(t, err)
	if want := "arn:aws:events:eu-west-1:" + f.one.AccountID + ":event-bus/orders"; b.ARN != want {
		t.Errorf("ARN %s, want %s", b.ARN, want)
	}
	for _, ref := range []string{"orders", b.ARN} {
		got, err := f.DescribeEventBus(ctx, f.one, ref)
		ok(t, err)
		if got.Description != "d" || got.KMSKey != "k" || got.Log.Level != "ERROR" || got.DeadLetterARN == "" || !got.Created.Equal(f.ground.Now()) {
			t.Errorf("%s: %+v", ref, got)
		}
	}
	_, err = f.CreateEventBus(ctx, f.one, bus.NewEventBus{Name: "orders"})
	wantFault(t, err, "ResourceAlreadyExistsException", "Event bus orders already exists.")
	_, err = f.CreateEventBus(ctx, f.one, bus.NewEventBus{Name: "default"})
	wantFault(t, err, "ResourceAlreadyExistsException", "Event bus default already exists.")

	// Neither another account nor another region sees it.
	_, err = f.DescribeEventBus(ctx, f.two, "orders")
	wantFault(t, err, "ResourceNotFoundException", "Event bus orders does not exist.")
	_, err = f.DescribeEventBus(ctx, f.two, b.ARN)
	wantFault(t, err, "ResourceNotFoundException", "does not exist")
	elsewhere := f.one
	elsewhere.Region = "us-east-1"
	_, err = f.DescribeEventBus(ctx, elsewhere, "orders")
	wantFault(t, err, "ResourceNotFoundException", "does not exist")

	text := "e"
	changed, err := f.UpdateEventBus(ctx, f.one, bus.EventBusChange{Name: "orders", Description: &text})
	ok(t, err)
	if changed.Description != "e" || changed.KMSKey != "k" {
		t.Errorf("%+v", changed)
	}

	wantFault(t, f.DeleteEventBus(ctx, f.one, "default"), "ValidationException", "Cannot delete event bus default.")
	f.putRule(f.one, "orders", "r", `{"source":["a"]}`)
	wantFault(t, f.DeleteEventBus(ctx, f.one, "orders"), "ValidationException", "Event bus can't be deleted since it has rules.")
	ok(t, f.DeleteRule(ctx, f.one, "orders", "r"))
	ok(t, f.DeleteEventBus(ctx, f.one, "orders"))
	ok(t, f.DeleteEventBus(ctx, f.one, "orders")) // AWS says nothing either
	_, err = f.DescribeEventBus(ctx, f.one, "orders")
	wantFault(t, err, "ResourceNotFoundException", "does not exist")
	f.createBus(f.one, "orders")
}

func TestTheDefaultBusIsAlwaysThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b, err := f.DescribeEventBus(t.Context(), f.one, "")
	ok(t, err)
	if b.Name != "default" || !strings.HasSuffix(b.ARN, ":event-bus/default") {
		t.Errorf("%+v", b)
	}
	buses, next, err := f.ListEventBuses(t.Context(), f.two, "", "", 0)
	ok(t, err)
	if len(buses) != 1 || buses[0].Name != "default" || next != "" {
		t.Errorf("%v, %q", buses, next)
	}
}

func TestListEventBusesPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 5 {
		f.createBus(f.one, fmt.Sprintf("bus-%d", i))
	}
	var names []string
	for after, first := "", true; first || after != ""; first = false {
		buses, next, err := f.ListEventBuses(t.Context(), f.one, "bus-", after, 2)
		ok(t, err)
		if len(buses) > 2 {
			t.Fatalf("%d buses", len(buses))
		}
		for _, b := range buses {
			names = append(names, b.Name)
		}
		after = next
	}
	if got := strings.Join(names, " "); got != "bus-0 bus-1 bus-2 bus-3 bus-4" {
		t.Error(got)
	}
}

func TestEventBusRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for text, p := range map[string]bus.NewEventBus{
		"at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1":         {},
		"Member must have length less than or equal to 256":                                                  {Name: strings.Repeat("a", 257)},
		"Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern": {Name: "a b"},
		"Event bus name must not contain '/'.":                                                               {Name: "a/b"},
		"EventSourceName too":                                                                                {Name: "aws.partner/a.com/b"},
		"regular expression pattern: aws\\.partner":                                                          {Name: "x", SourceName: "y"},
		"Parameter EventSourceName is not valid":                                                             {Name: "x", SourceName: "aws.partner/a.com/b"},
		"at 'description' failed to satisfy constraint":                                                      {Name: "x", Description: strings.Repeat("a", 513)},
		"2 validation errors detected: Value '":                                                              {Name: strings.Repeat("a", 257), Description: strings.Repeat("a", 513)},
		"'deadLetterConfig.arn' failed":                                                                      {Name: "x", DeadLetterARN: "arn:aws:sns:eu-west-1:123456789012:t"},
		"must be the ARN of a standard queue":                                                                {Name: "x", DeadLetterARN: "arn:aws:sqs:eu-west-1:123456789012:q.fifo"},
		"Value 'LOUD' at 'logConfig.level' failed to satisfy constraint: Member must satisfy enum value set: [OFF, ERROR": {Name: "x", Log: &bus.LogConfig{Level: "LOUD"}},
		"must not start with aws:": {Name: "x", Tags: map[string]string{"aws:x": "y"}},
	} {
		_, err := f.CreateEventBus(t.Context(), f.one, p)
		wantFault(t, err, "ValidationException", text)
	}
	_, err := f.CreateEventBus(t.Context(), f.one, bus.NewEventBus{Name: "aws.partner/a.com/b", SourceName: "aws.partner/a.com/b"})
	wantFault(t, err, "ResourceNotFoundException", "Event source aws.partner/a.com/b does not exist.")
}

func TestEventBusQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 100 {
		f.createBus(f.one, fmt.Sprint("b", i))
	}
	_, err := f.CreateEventBus(t.Context(), f.one, bus.NewEventBus{Name: "more"})
	wantFault(t, err, "LimitExceededException", "The requested resource exceeds the maximum number allowed.")
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	f.createBus(f.one, "b")
	arn := "arn:aws:events:eu-west-1:" + f.one.AccountID + ":event-bus/b"
	put := func() string {
		t.Helper()
		results, err := f.PutEvents(ctx, f.two, []bus.Entry{{Source: "s", DetailType: "d", Detail: []byte(`{}`), Bus: arn}})
		ok(t, err)
		return results[0].Code
	}
	if got := put(); got != "AccessDeniedException" {
		t.Errorf("without a policy: %q", got)
	}
	grant := bus.NewPermission{Bus: "b", StatementID: "two", Action: "events:PutEvents", Principal: f.two.AccountID}
	ok(t, f.PutPermission(ctx, f.one, grant))
	if got := put(); got != "" {
		t.Errorf("with a statement: %q", got)
	}
	ok(t, f.PutPermission(ctx, f.one, grant)) // replaces its own
	b, err := f.DescribeEventBus(ctx, f.one, "b")
	ok(t, err)
	want := `{"Version":"2012-10-17","Statement":[{"Sid":"two","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + f.two.AccountID +
		`:root"},"Action":"events:PutEvents","Resource":"` + arn + `"}]}`
	if b.Policy != want {
		t.Errorf("policy %s, want %s", b.Policy, want)
	}
	wantFault(t, f.RemovePermission(ctx, f.one, "b", "other", false), "ResourceNotFoundException", "Statement with the provided id does not exist.")
	ok(t, f.RemovePermission(ctx, f.one, "b", "two", false))
	if got := put(); got != "AccessDeniedException" {
		t.Errorf("after removal: %q", got)
	}
	wantFault(t, f.RemovePermission(ctx, f.one, "b", "two", false), "ResourceNotFoundException", "EventBus does not have a policy.")

	for policy, want := range map[string]string{
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"events:PutEvents","Resource":"*"}]}`:                                                                     "",
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["` + f.two.AccountID + `"]},"Action":["events:*"],"Resource":"*"}]}`:                                           "",
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"events:PutRule","Resource":"*"}]}`:                                                                       "AccessDeniedException",
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"*","Resource":"*"}]}`:                                                                 "AccessDeniedException",
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"events:source":["s"]}}}]}`:                                              "",
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"events:source":"x"}}}]}`:                                                "AccessDeniedException",
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringLike":{"events:detail-type":"*"}}}]}`:                                             "",
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o"}}}]}`:                                           "AccessDeniedException",
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"},{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"StringEquals":{"events:source":"s"}}}]}`: "AccessDeniedException",
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"},{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"StringEquals":{"events:source":"x"}}}]}`: "",
	} {
		ok(t, f.PutPermission(ctx, f.one, bus.NewPermission{Bus: "b", Policy: policy}))
		if got := put(); got != want {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
	}
	ok(t, f.RemovePermission(ctx, f.one, "b", "", true))

	for text, p := range map[string]bus.NewPermission{
		"at 'statementId' failed": {Action: "events:PutEvents", Principal: "*"},
		"at 'principal' failed to satisfy constraint: Member must satisfy regular expression pattern": {StatementID: "s", Action: "events:PutEvents", Principal: "me"},
		"Provided value in parameter 'action' is not supported.":                                      {StatementID: "s", Action: "events:PutRule", Principal: "*"},
		"Parameter Policy is not valid. Reason: it must be":                                           {Policy: "{}"},
		"Parameter Policy is not valid. Reason: each statement":                                       {Policy: `{"Statement":[{"Effect":"Maybe"}]}`},
		"Parameter Policy is not valid. Reason: give either":                                          {Policy: "{}", StatementID: "x"},
	} {
		wantFault(t, f.PutPermission(ctx, f.one, p), "ValidationException", text)
	}
	wantFault(t, f.PutPermission(ctx, f.one, bus.NewPermission{Policy: strings.Repeat(" ", 10241)}), "PolicyLengthExceededException", "too long")
}

func TestTags(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	b := f.createBus(f.one, "b")
	rule := f.putRule(f.one, "b", "r", `{"source":["a"]}`)
	for _, arn := range []string{b.ARN, rule, f.putRule(f.one, "", "d", `{"source":["a"]}`)} {
		ok(t, f.Tag(ctx, f.one, arn, map[string]string{"a": "1", "b": "2"}))
		ok(t, f.Tag(ctx, f.one, arn, map[string]string{"b": "3"}))
		ok(t, f.Untag(ctx, f.one, arn, []string{"a", "none"}))
		tags, err := f.Tags(ctx, f.one, arn)
		ok(t, err)
		if len(tags) != 1 || tags["b"] != "3" {
			t.Errorf("%s: %v", arn, tags)
		}
		wantFault(t, f.Tag(ctx, f.two, arn, map[string]string{"x": ""}), "ResourceNotFoundException", "does not exist")
	}
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint("k", i)] = ""
	}
	wantFault(t, f.Tag(ctx, f.one, rule, many), "ValidationException", "less than or equal to 50")
	wantFault(t, f.Tag(ctx, f.one, "nonsense", nil), "ValidationException", "Provided Arn is not in correct format.")
	_, err := f.Tags(ctx, f.one, strings.Replace(rule, "/r", "/gone", 1))
	wantFault(t, err, "ResourceNotFoundException", "Rule gone does not exist on EventBus b.")
	_, err = f.Tags(ctx, f.one, "arn:aws:events:eu-west-1:"+f.one.AccountID+":archive/a")
	wantFault(t, err, "ValidationException", "only event buses and rules have tags")
}
