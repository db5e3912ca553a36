package awsapi_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

func TestEventsBuses(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	c, ctx := f.events, t.Context()
	name := aws.String("orders")
	dlq := &types.DeadLetterConfig{Arn: f.arn("sqs", "dlq")}
	made := must[eventbridge.CreateEventBusOutput](t)(c.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{
		Name: name, Description: aws.String("d"), KmsKeyIdentifier: aws.String("k"), DeadLetterConfig: dlq,
		LogConfig: &types.LogConfig{Level: types.LevelError, IncludeDetail: types.IncludeDetailFull},
		Tags:      []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}},
	}))
	if *made.EventBusArn != *f.arn("events", "event-bus/orders") || *made.DeadLetterConfig.Arn != *dlq.Arn || made.LogConfig.Level != types.LevelError {
		t.Errorf("%+v", made)
	}
	_, err := c.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: name})
	if taken := (*types.ResourceAlreadyExistsException)(nil); !errors.As(err, &taken) || taken.ErrorMessage() != "Event bus orders already exists." {
		t.Errorf("taken: %v", err)
	}
	got := must[eventbridge.DescribeEventBusOutput](t)(c.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: made.EventBusArn}))
	if *got.Name != "orders" || *got.Description != "d" || *got.KmsKeyIdentifier != "k" || got.Policy != nil || time.Since(*got.CreationTime) > time.Minute || got.LastModifiedTime == nil {
		t.Errorf("%+v", got)
	}
	changed := must[eventbridge.UpdateEventBusOutput](t)(c.UpdateEventBus(ctx, &eventbridge.UpdateEventBusInput{Name: name, Description: aws.String("e"), DeadLetterConfig: &types.DeadLetterConfig{}}))
	if *changed.Description != "e" || changed.DeadLetterConfig != nil || *changed.Arn != *made.EventBusArn {
		t.Errorf("%+v", changed)
	}
	must[eventbridge.PutPermissionOutput](t)(c.PutPermission(ctx, &eventbridge.PutPermissionInput{
		EventBusName: name, Action: aws.String("events:PutEvents"), Principal: aws.String("*"), StatementId: aws.String("s"),
		Condition: &types.Condition{Type: aws.String("StringEquals"), Key: aws.String("aws:PrincipalOrgID"), Value: aws.String("o-1")},
	}))
	got = must[eventbridge.DescribeEventBusOutput](t)(c.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: name}))
	if got.Policy == nil || !strings.Contains(*got.Policy, `"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`) {
		t.Errorf("%+v", got)
	}
	must[eventbridge.RemovePermissionOutput](t)(c.RemovePermission(ctx, &eventbridge.RemovePermissionInput{EventBusName: name, StatementId: aws.String("s")}))

	must[eventbridge.TagResourceOutput](t)(c.TagResource(ctx, &eventbridge.TagResourceInput{
		ResourceARN: made.EventBusArn, Tags: []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}},
	}))
	must[eventbridge.UntagResourceOutput](t)(c.UntagResource(ctx, &eventbridge.UntagResourceInput{ResourceARN: made.EventBusArn, TagKeys: []string{"a"}}))
	tags := must[eventbridge.ListTagsForResourceOutput](t)(c.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: made.EventBusArn}))
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "b" || *tags.Tags[0].Value != "2" {
		t.Errorf("%+v", tags.Tags)
	}

	for i := range 4 {
		must[eventbridge.CreateEventBusOutput](t)(c.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: aws.String(fmt.Sprint("p", i))}))
	}
	var names []string
	in := &eventbridge.ListEventBusesInput{NamePrefix: aws.String("p"), Limit: aws.Int32(3)}
	for {
		page := must[eventbridge.ListEventBusesOutput](t)(c.ListEventBuses(ctx, in))
		for _, b := range page.EventBuses {
			names = append(names, *b.Name)
		}
		if in.NextToken = page.NextToken; page.NextToken == nil {
			break
		}
		if strings.Contains(*page.NextToken, "p2") {
			t.Errorf("the token tells something: %s", *page.NextToken)
		}
	}
	if !slices.Equal(names, []string{"p0", "p1", "p2", "p3"}) {
		t.Error(names)
	}
	_, err = c.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{NextToken: aws.String("x")})
	wantAWS(t, err, "ValidationException", "Parameter NextToken is not valid.")
	_, err = c.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{Limit: aws.Int32(101)})
	wantAWS(t, err, "ValidationException", "Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100")

	must[eventbridge.DeleteEventBusOutput](t)(c.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: name}))
	_, err = c.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: name})
	if gone := (*types.ResourceNotFoundException)(nil); !errors.As(err, &gone) || gone.ErrorMessage() != "Event bus orders does not exist." {
		t.Errorf("gone: %v", err)
	}
}

func TestEventsRules(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	c, ctx := f.events, t.Context()
	name := aws.String("r")
	rule := must[eventbridge.PutRuleOutput](t)(c.PutRule(ctx, &eventbridge.PutRuleInput{
		Name: name, EventPattern: aws.String(`{"source":["shop"]}`), Description: aws.String("d"), RoleArn: aws.String("arn:aws:iam::1:role/r"),
	}))
	if *rule.RuleArn != *f.arn("events", "rule/r") {
		t.Error(*rule.RuleArn)
	}
	_, err := c.PutRule(ctx, &eventbridge.PutRuleInput{Name: name, EventPattern: aws.String(`{"source":"shop"}`)})
	if bad := (*types.InvalidEventPatternException)(nil); !errors.As(err, &bad) || !strings.HasPrefix(bad.ErrorMessage(), "Event pattern is not valid. Reason: ") {
		t.Errorf("pattern: %v", err)
	}
	queue := f.arn("sqs", "q.fifo")
	full := types.Target{
		Id: aws.String("1"), Arn: queue, RoleArn: aws.String("arn:aws:iam::1:role/t"),
		InputTransformer: &types.InputTransformer{InputPathsMap: map[string]string{"n": "$.detail.n"}, InputTemplate: aws.String(`{"got": <n>}`)},
		RetryPolicy:      &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60)},
		DeadLetterConfig: &types.DeadLetterConfig{Arn: f.arn("sqs", "dlq")},
		SqsParameters:    &types.SqsParameters{MessageGroupId: aws.String("g")},
	}
	foreign := types.Target{
		Id: aws.String("2"), Arn: aws.String("arn:aws:kinesis:us-west-2:1:stream/s"), Input: aws.String(`{"x":1}`),
		KinesisParameters: &types.KinesisParameters{PartitionKeyPath: aws.String("$.id")},
	}
	http := types.Target{
		Id: aws.String("3"), Arn: aws.String("arn:aws:execute-api:us-west-2:1:api/x"), InputPath: aws.String("$.detail"),
		HttpParameters: &types.HttpParameters{PathParameterValues: []string{"p"}, HeaderParameters: map[string]string{"h": "v"}, QueryStringParameters: map[string]string{"q": "w"}},
	}
	put := must[eventbridge.PutTargetsOutput](t)(c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: name, Targets: []types.Target{full, foreign, http}}))
	if put.FailedEntryCount != 0 || len(put.FailedEntries) != 0 {
		t.Errorf("%+v", put)
	}
	listed := must[eventbridge.ListTargetsByRuleOutput](t)(c.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: name, Limit: aws.Int32(2)}))
	if len(listed.Targets) != 2 || listed.NextToken == nil {
		t.Fatalf("%+v", listed)
	}
	if x := listed.Targets[0]; *x.InputTransformer.InputTemplate != `{"got": <n>}` || x.InputTransformer.InputPathsMap["n"] != "$.detail.n" || *x.RetryPolicy.MaximumRetryAttempts != 0 ||
		*x.RetryPolicy.MaximumEventAgeInSeconds != 60 || *x.DeadLetterConfig.Arn != *full.DeadLetterConfig.Arn || *x.SqsParameters.MessageGroupId != "g" || *x.RoleArn != *full.RoleArn || x.Input != nil {
		t.Errorf("%+v", x)
	}
	if x := listed.Targets[1]; *x.KinesisParameters.PartitionKeyPath != "$.id" || *x.Input != `{"x":1}` || x.RetryPolicy != nil || x.SqsParameters != nil {
		t.Errorf("%+v", x)
	}
	listed = must[eventbridge.ListTargetsByRuleOutput](t)(c.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: name, NextToken: listed.NextToken}))
	if len(listed.Targets) != 1 || *listed.Targets[0].InputPath != "$.detail" || listed.Targets[0].HttpParameters.HeaderParameters["h"] != "v" ||
		listed.Targets[0].HttpParameters.PathParameterValues[0] != "p" || listed.Targets[0].HttpParameters.QueryStringParameters["q"] != "w" {
		t.Errorf("%+v", listed)
	}
	_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: name, Targets: []types.Target{
		{Id: aws.String("4"), Arn: queue, SqsParameters: full.SqsParameters}, {Id: aws.String("5"), Arn: queue, SqsParameters: full.SqsParameters}, {Id: aws.String("6"), Arn: queue, SqsParameters: full.SqsParameters},
	}})
	if limit := (*types.LimitExceededException)(nil); !errors.As(err, &limit) {
		t.Errorf("six targets: %v", err)
	}
	_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: name, Targets: []types.Target{{Id: aws.String("4"), Arn: queue}}})
	wantAWS(t, err, "ValidationException", "Parameter(s) SqsParameters must be specified for target: 4.")

	names := must[eventbridge.ListRuleNamesByTargetOutput](t)(c.ListRuleNamesByTarget(ctx, &eventbridge.ListRuleNamesByTargetInput{TargetArn: queue}))
	if !slices.Equal(names.RuleNames, []string{"r"}) {
		t.Errorf("%+v", names)
	}
	must[eventbridge.DisableRuleOutput](t)(c.DisableRule(ctx, &eventbridge.DisableRuleInput{Name: name}))
	got := must[eventbridge.DescribeRuleOutput](t)(c.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: name}))
	if got.State != types.RuleStateDisabled || *got.EventBusName != "default" || *got.CreatedBy != f.account || *got.EventPattern != `{"source":["shop"]}` || *got.Description != "d" || got.ScheduleExpression != nil {
		t.Errorf("%+v", got)
	}
	must[eventbridge.EnableRuleOutput](t)(c.EnableRule(ctx, &eventbridge.EnableRuleInput{Name: name}))
	must[eventbridge.PutRuleOutput](t)(c.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("s"), ScheduleExpression: aws.String("rate(5 minutes)"), State: types.RuleStateDisabled}))
	rules := must[eventbridge.ListRulesOutput](t)(c.ListRules(ctx, &eventbridge.ListRulesInput{Limit: aws.Int32(1)}))
	if len(rules.Rules) != 1 || rules.Rules[0].State != types.RuleStateEnabled || rules.NextToken == nil {
		t.Fatalf("%+v", rules)
	}
	rules = must[eventbridge.ListRulesOutput](t)(c.ListRules(ctx, &eventbridge.ListRulesInput{NextToken: rules.NextToken}))
	if len(rules.Rules) != 1 || *rules.Rules[0].ScheduleExpression != "rate(5 minutes)" || rules.Rules[0].State != types.RuleStateDisabled || rules.NextToken != nil {
		t.Errorf("%+v", rules)
	}
	_, err = c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: name})
	wantAWS(t, err, "ValidationException", "Rule can't be deleted since it has targets.")
	removed := must[eventbridge.RemoveTargetsOutput](t)(c.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: name, Ids: []string{"1", "2", "3", "9"}}))
	if removed.FailedEntryCount != 1 || *removed.FailedEntries[0].TargetId != "9" || *removed.FailedEntries[0].ErrorCode != "ResourceNotFoundException" {
		t.Errorf("%+v", removed)
	}
	must[eventbridge.DeleteRuleOutput](t)(c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: name}))
	_, err = c.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: name})
	wantAWS(t, err, "ResourceNotFoundException", "Rule r does not exist on EventBus default.")
}

func TestEventsPut(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	c, ctx := f.events, t.Context()
	q := f.queue("q", nil)
	f.rule("r", `{"source":["shop"],"detail":{"n":[{"numeric":[">",1]}]}}`, types.Target{Arn: f.arn("sqs", "q")})
	put := must[eventbridge.PutEventsOutput](t)(c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{Source: aws.String("shop"), DetailType: aws.String("t"), Detail: aws.String(`{"n":1}`)},
		{
			Source: aws.String("shop"), DetailType: aws.String("a \"b\" ü"), Detail: aws.String("{ \"n\": 2, \"t\": \"\\u00fc\\n\" }"),
			Resources: []string{"x", "y"}, Time: aws.Time(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), EventBusName: aws.String("default"), TraceHeader: aws.String("Root=1"),
		},
		{Source: aws.String("shop"), DetailType: aws.String("t"), Detail: aws.String(`nonsense`)},
		{DetailType: aws.String("t"), Detail: aws.String(`{}`)},
		{Source: aws.String("shop"), DetailType: aws.String("t"), Detail: aws.String(`{"n":2}`), EventBusName: aws.String("none")},
	}}))
	if put.FailedEntryCount != 2 || len(put.Entries) != 5 || put.Entries[0].EventId == nil || put.Entries[4].EventId == nil ||
		*put.Entries[2].ErrorCode != "MalformedDetail" || *put.Entries[3].ErrorCode != "InvalidArgument" || put.Entries[3].EventId != nil {
		t.Fatalf("%+v", put)
	}
	want := `{"version":"0","id":"` + *put.Entries[1].EventId + `","detail-type":"a \"b\" ü","source":"shop","account":"` + f.account +
		`","time":"2026-01-02T03:04:05Z","region":"us-west-2","resources":["x","y"],"detail":{"n":2,"t":"\u00fc\n"}}`
	if got := f.next(q); got != want {
		t.Errorf("%s, want %s", got, want)
	}

	_, err := c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: make([]types.PutEventsRequestEntry, 11)})
	wantAWS(t, err, "ValidationException", "at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10")
	_, err = c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		Source: aws.String("s"), DetailType: aws.String("t"), Detail: aws.String(`{"a":"` + strings.Repeat("x", 1_000_000) + `"}`),
	}}})
	wantAWS(t, err, "ValidationException", "Total size of the entries in the request is over the limit.")

	test := must[eventbridge.TestEventPatternOutput](t)(c.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{EventPattern: aws.String(`{"source":["shop"]}`), Event: &want}))
	if !test.Result {
		t.Error("the pattern does not match")
	}
	_, err = c.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{EventPattern: aws.String(`{"source":["shop"]}`), Event: aws.String(`{}`)})
	wantAWS(t, err, "ValidationException", "Parameter Event is not valid.")
}

func TestEventsPartner(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	ctx := t.Context()
	name := aws.String("aws.partner/example.com/shop/1")
	made := must[eventbridge.CreatePartnerEventSourceOutput](t)(f.events.CreatePartnerEventSource(ctx, &eventbridge.CreatePartnerEventSourceInput{Name: name, Account: &f.customer.account}))
	if *made.EventSourceArn != "arn:aws:events:us-west-2::event-source/"+*name {
		t.Error(*made.EventSourceArn)
	}
	_, err := f.events.CreatePartnerEventSource(ctx, &eventbridge.CreatePartnerEventSourceInput{Name: name, Account: aws.String("000000000000")})
	wantAWS(t, err, "ValidationException", "Parameter Account is not valid.")
	described := must[eventbridge.DescribePartnerEventSourceOutput](t)(f.events.DescribePartnerEventSource(ctx, &eventbridge.DescribePartnerEventSourceInput{Name: name}))
	if *described.Arn != *made.EventSourceArn || *described.Name != *name {
		t.Errorf("%+v", described)
	}
	listed := must[eventbridge.ListPartnerEventSourcesOutput](t)(f.events.ListPartnerEventSources(ctx, &eventbridge.ListPartnerEventSourcesInput{NamePrefix: aws.String("aws.partner/example.com")}))
	if len(listed.PartnerEventSources) != 1 || *listed.PartnerEventSources[0].Name != *name {
		t.Errorf("%+v", listed)
	}
	state := func(want types.EventSourceState) {
		t.Helper()
		mine := must[eventbridge.ListPartnerEventSourceAccountsOutput](t)(f.events.ListPartnerEventSourceAccounts(ctx, &eventbridge.ListPartnerEventSourceAccountsInput{EventSourceName: name}))
		if a := mine.PartnerEventSourceAccounts; len(a) != 1 || a[0].State != want || *a[0].Account != f.customer.account || a[0].CreationTime == nil || (a[0].ExpirationTime == nil) != (want == types.EventSourceStateActive) {
			t.Errorf("%+v, want %s", a, want)
		}
		theirs := must[eventbridge.DescribeEventSourceOutput](t)(f.customer.events.DescribeEventSource(ctx, &eventbridge.DescribeEventSourceInput{Name: name}))
		if theirs.State != want || *theirs.CreatedBy != "aws.partner/example.com" {
			t.Errorf("%+v, want %s", theirs, want)
		}
	}
	put := func() {
		t.Helper()
		out := must[eventbridge.PutPartnerEventsOutput](t)(f.events.PutPartnerEvents(ctx, &eventbridge.PutPartnerEventsInput{Entries: []types.PutPartnerEventsRequestEntry{
			{Source: name, DetailType: aws.String("t"), Detail: aws.String(`{"n":1}`)},
		}}))
		if out.FailedEntryCount != 0 || len(out.Entries) != 1 || out.Entries[0].EventId == nil {
			t.Errorf("%+v", out)
		}
	}
	state(types.EventSourceStatePending)
	put() // accepted, and dropped
	must[eventbridge.CreateEventBusOutput](t)(f.customer.events.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: name, EventSourceName: name}))
	state(types.EventSourceStateActive)
	must[eventbridge.PutRuleOutput](t)(f.customer.events.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("r"), EventBusName: name, EventPattern: aws.String(`{"source":[{"prefix":"aws.partner/example.com"}]}`)}))
	q := f.customer.queue("q", nil)
	must[eventbridge.PutTargetsOutput](t)(f.customer.events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("r"), EventBusName: name, Targets: []types.Target{{
		Id: aws.String("1"), Arn: f.customer.arn("sqs", "q"), InputPath: aws.String("$.source"),
	}}}))
	put()
	if got := f.customer.next(q); got != `"`+*name+`"` {
		t.Error(got)
	}
	must[eventbridge.DeactivateEventSourceOutput](t)(f.customer.events.DeactivateEventSource(ctx, &eventbridge.DeactivateEventSourceInput{Name: name}))
	state(types.EventSourceStatePending)
	_, err = f.customer.events.DeactivateEventSource(ctx, &eventbridge.DeactivateEventSourceInput{Name: name})
	if bad := (*types.InvalidStateException)(nil); !errors.As(err, &bad) {
		t.Errorf("twice: %v", err)
	}
	must[eventbridge.ActivateEventSourceOutput](t)(f.customer.events.ActivateEventSource(ctx, &eventbridge.ActivateEventSourceInput{Name: name}))
	state(types.EventSourceStateActive)
	must[eventbridge.DeletePartnerEventSourceOutput](t)(f.events.DeletePartnerEventSource(ctx, &eventbridge.DeletePartnerEventSourceInput{Name: name, Account: &f.customer.account}))
	sources := must[eventbridge.ListEventSourcesOutput](t)(f.customer.events.ListEventSources(ctx, &eventbridge.ListEventSourcesInput{NamePrefix: aws.String("aws.partner/")}))
	if len(sources.EventSources) != 1 || sources.EventSources[0].State != types.EventSourceStateDeleted {
		t.Errorf("%+v", sources)
	}
	_, err = f.events.DescribePartnerEventSource(ctx, &eventbridge.DescribePartnerEventSourceInput{Name: name})
	wantAWS(t, err, "ResourceNotFoundException", "does not exist")
}

func TestEventsGlobalEndpoints(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	_, err := f.customer.events.ListEndpoints(t.Context(), &eventbridge.ListEndpointsInput{})
	wantAWS(t, err, "OperationDisabledException", "Waybill has no global endpoints")
	_, err = f.customer.events.DeleteEndpoint(t.Context(), &eventbridge.DeleteEndpointInput{Name: aws.String("e")})
	wantAWS(t, err, "OperationDisabledException", "Waybill has no global endpoints")
}
