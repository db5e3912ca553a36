package bus_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/transform"
)

const queueARN = "arn:aws:sqs:eu-west-1:123456789012:q"

func TestRuleLife(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	f.createBus(f.one, "b")
	arn, err := f.PutRule(ctx, f.one, bus.NewRule{Name: "r", Bus: "b", Pattern: `{"source":["a"]}`, Description: "d", RoleARN: "arn:aws:iam::1:role/x", Tags: map[string]string{"a": "b"}})
	ok(t, err)
	if want := "arn:aws:events:eu-west-1:" + f.one.AccountID + ":rule/b/r"; arn != want {
		t.Errorf("ARN %s, want %s", arn, want)
	}
	if got, want := f.putRule(f.one, "", "r", `{"source":["a"]}`), "arn:aws:events:eu-west-1:"+f.one.AccountID+":rule/r"; got != want {
		t.Errorf("ARN %s, want %s", got, want)
	}
	r, err := f.DescribeRule(ctx, f.one, "b", "r")
	ok(t, err)
	if r.State != "ENABLED" || r.Description != "d" || r.BusName != "b" || r.CreatedBy != f.one.AccountID || r.RoleARN == "" {
		t.Errorf("%+v", r)
	}

	// Put again, it is another rule with the same tags.
	f.putRule(f.one, "b", "r", `{"source":["c"]}`)
	r, err = f.DescribeRule(ctx, f.one, "b", "r")
	ok(t, err)
	tags, err := f.Tags(ctx, f.one, arn)
	ok(t, err)
	if r.Description != "" || r.Pattern != `{"source":["c"]}` || tags["a"] != "b" {
		t.Errorf("%+v, %v", r, tags)
	}

	ok(t, f.SetRuleState(ctx, f.one, "b", "r", false))
	if r, err = f.DescribeRule(ctx, f.one, "b", "r"); err != nil || r.State != "DISABLED" {
		t.Errorf("%+v, %v", r, err)
	}
	ok(t, f.SetRuleState(ctx, f.one, "b", "r", true))
	wantFault(t, f.SetRuleState(ctx, f.one, "b", "x", true), "ResourceNotFoundException", "Rule x does not exist on EventBus b.")

	f.putTargets(f.one, "b", "r", bus.Target{ID: "1", ARN: queueARN})
	wantFault(t, f.DeleteRule(ctx, f.one, "b", "r"), "ValidationException", "Rule can't be deleted since it has targets.")
	bad, err := f.RemoveTargets(ctx, f.one, "b", "r", []string{"1", "2"})
	ok(t, err)
	if len(bad) != 1 || bad[0].ID != "2" || bad[0].Code != "ResourceNotFoundException" {
		t.Error(bad)
	}
	ok(t, f.DeleteRule(ctx, f.one, "b", "r"))
	ok(t, f.DeleteRule(ctx, f.one, "b", "r"))
	_, err = f.DescribeRule(ctx, f.one, "b", "r")
	wantFault(t, err, "ResourceNotFoundException", "Rule r does not exist on EventBus b.")
	_, err = f.DescribeRule(ctx, f.one, "none", "r")
	wantFault(t, err, "ResourceNotFoundException", "Event bus none does not exist.")
}

func TestRuleRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createBus(f.one, "b")
	pattern := `{"source":["a"]}`
	for text, p := range map[string]bus.NewRule{
		"at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1": {Pattern: pattern},
		"Value 'a/b' at 'name' failed":                                                                       {Name: "a/b", Pattern: pattern},
		"Member must have length less than or equal to 64":                                                   {Name: strings.Repeat("a", 65), Pattern: pattern},
		"Parameter(s) EventPattern or ScheduleExpression must be specified.":                                 {Name: "r"},
		"ScheduleExpression is supported only on the default event bus.":                                     {Name: "r", Bus: "b", Schedule: "rate(1 minute)"},
		"Parameter ScheduleExpression is not valid.":                                                         {Name: "r", Schedule: "rate(1 minutes)"},
		"Value 'ON' at 'state' failed to satisfy constraint: Member must satisfy enum value set":             {Name: "r", Pattern: pattern, State: "ON"},
		"at 'eventPattern' failed to satisfy constraint: Member must have length less than or equal to 4096": {Name: "r", Pattern: strings.Repeat(" ", 4097)},
		"at 'eventBusName' failed":                                                                           {Name: "r", Bus: "a b", Pattern: pattern},
	} {
		_, err := f.PutRule(t.Context(), f.one, p)
		wantFault(t, err, "ValidationException", text)
	}
	_, err := f.PutRule(t.Context(), f.one, bus.NewRule{Name: "r", Pattern: `{"source":[]}`})
	wantFault(t, err, "InvalidEventPatternException", "Event pattern is not valid. Reason: Empty arrays are not allowed")
}

func TestTargetRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	f.putRule(f.one, "", "r", `{"source":["a"]}`)
	text, zero, much := "{}", 59, 186
	broken := "{"
	for want, target := range map[string]bus.Target{
		"Value 'a b' at 'targets.1.member.id' failed to satisfy constraint: Member must satisfy regular expression pattern":                                      {ID: "a b", ARN: queueARN},
		"at 'targets.1.member.arn' failed to satisfy constraint: Member must have length greater than or equal to 1":                                             {ID: "1"},
		"Parameter nonsense is not valid. Reason: Provided Arn is not in correct format.":                                                                        {ID: "1", ARN: "nonsense"},
		"Parameter(s) SqsParameters must be specified for target: 1.":                                                                                            {ID: "1", ARN: queueARN + ".fifo"},
		"Parameter(s) SqsParameters is not supported for target: 1.":                                                                                             {ID: "1", ARN: queueARN, GroupID: "g"},
		"Parameter(s) HttpParameters is not supported for target: 1.":                                                                                            {ID: "1", ARN: queueARN, PathValues: []string{"x"}},
		"Only one of Input, InputPath, or InputTransformer must be provided for target 1.":                                                                       {ID: "1", ARN: queueARN, Input: transform.Input{Constant: &text, Path: "$.x"}},
		"InputTemplate for target 1 contains invalid placeholder nope.":                                                                                          {ID: "1", ARN: queueARN, Input: transform.Input{Template: `{"a": <nope>}`}},
		"JSON syntax error in input for target 1.":                                                                                                               {ID: "1", ARN: queueARN, Input: transform.Input{Constant: &broken}},
		"Invalid InputPath for target 1.":                                                                                                                        {ID: "1", ARN: queueARN, Input: transform.Input{Path: "x"}},
		"Invalid InputPathsMap for target 1 : key p":                                                                                                             {ID: "1", ARN: queueARN, Input: transform.Input{Paths: map[string]string{"p": "x"}, Template: `"<p>"`}},
		"InputTemplate must be provided for target 1.":                                                                                                           {ID: "1", ARN: queueARN, Input: transform.Input{Paths: map[string]string{"p": "$.x"}}},
		"Value '59' at 'targets.1.member.retryPolicy.maximumEventAgeInSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60": {ID: "1", ARN: queueARN, EventAge: &zero},
		"Value '186' at 'targets.1.member.retryPolicy.maximumRetryAttempts' failed to satisfy constraint: Member must have value less than or equal to 185":      {ID: "1", ARN: queueARN, RetryAttempts: &much},
		"must be a standard queue": {ID: "1", ARN: queueARN, DeadLetterARN: queueARN + ".fifo"},
		"Parameter arn:aws:sns:eu-west-1:1:t is not valid. Reason: Provided Arn is not in correct format.": {ID: "1", ARN: queueARN, DeadLetterARN: "arn:aws:sns:eu-west-1:1:t"},
	} {
		_, err := f.PutTargets(ctx, f.one, "", "r", []bus.Target{target})
		wantFault(t, err, "ValidationException", want)
	}
	_, err := f.PutTargets(ctx, f.one, "", "r", nil)
	wantFault(t, err, "ValidationException", "at 'targets' failed to satisfy constraint: Member must have length greater than or equal to 1")
	_, err = f.PutTargets(ctx, f.one, "", "r", make([]bus.Target, 11))
	if x := fault.As(err); x == nil || !strings.Contains(x.Message, "less than or equal to 10") {
		t.Error(err)
	}
	_, err = f.PutTargets(ctx, f.one, "", "none", []bus.Target{{ID: "1", ARN: queueARN}})
	wantFault(t, err, "ResourceNotFoundException", "Rule none does not exist on EventBus default.")

	// An API destination must exist.
	gone := "arn:aws:events:eu-west-1:" + f.one.AccountID + ":api-destination/gone/00000000-0000-0000-0000-000000000000"
	bad, err := f.PutTargets(ctx, f.one, "", "r", []bus.Target{{ID: "1", ARN: gone}, {ID: "2", ARN: queueARN}})
	ok(t, err)
	if len(bad) != 1 || bad[0].ID != "1" || bad[0].Code != "ResourceNotFoundException" {
		t.Error(bad)
	}
	targets, _, err := f.ListTargetsByRule(ctx, f.one, "", "r", "", 0)
	ok(t, err)
	if len(targets) != 1 || targets[0].ID != "2" {
		t.Errorf("%v", targets)
	}
}

func TestFiveTargetsARule(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.putRule(f.one, "", "r", `{"source":["a"]}`)
	for i := range 5 {
		f.putTargets(f.one, "", "r", bus.Target{ID: fmt.Sprint(i), ARN: queueARN})
	}
	f.putTargets(f.one, "", "r", bus.Target{ID: "4", ARN: queueARN + "4"}) // replaces
	_, err := f.PutTargets(t.Context(), f.one, "", "r", []bus.Target{{ID: "5", ARN: queueARN}})
	wantFault(t, err, "LimitExceededException", "The requested resource exceeds the maximum number allowed.")

	var ids []string
	for after, first := "", true; first || after != ""; first = false {
		page, next, err := f.ListTargetsByRule(t.Context(), f.one, "", "r", after, 2)
		ok(t, err)
		for _, target := range page {
			ids = append(ids, target.ID)
		}
		after = next
	}
	if got := strings.Join(ids, ""); got != "01234" {
		t.Error(got)
	}
}

func TestRuleQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 300 {
		f.putRule(f.one, "", fmt.Sprint("r", i), `{"source":["a"]}`)
	}
	f.putRule(f.one, "", "r0", `{"source":["b"]}`) // replaces
	_, err := f.PutRule(t.Context(), f.one, bus.NewRule{Name: "more", Pattern: `{"source":["a"]}`})
	wantFault(t, err, "LimitExceededException", "The requested resource exceeds the maximum number allowed.")
	_, err = f.PutRule(t.Context(), f.one, bus.NewRule{Name: "timed", Schedule: "rate(1 minute)"})
	wantFault(t, err, "LimitExceededException", "")
	f.createBus(f.one, "b")
	f.putRule(f.one, "b", "more", `{"source":["a"]}`)
}

func TestListRules(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	for i := range 5 {
		f.putRule(f.one, "", fmt.Sprint("r", i), `{"source":["a"]}`)
		if i%2 == 0 {
			f.putTargets(f.one, "", fmt.Sprint("r", i), bus.Target{ID: "1", ARN: queueARN})
		}
	}
	f.putRule(f.one, "", "other", `{"source":["a"]}`)
	rules, next, err := f.ListRules(ctx, f.one, "", "r", "", 3)
	ok(t, err)
	if len(rules) != 3 || next != "r2" {
		t.Fatalf("%d rules, next %q", len(rules), next)
	}
	if rules, next, err = f.ListRules(ctx, f.one, "", "r", next, 3); err != nil || len(rules) != 2 || next != "" {
		t.Errorf("%d rules, next %q, %v", len(rules), next, err)
	}
	names, next, err := f.ListRuleNamesByTarget(ctx, f.one, "", queueARN, "", 2)
	ok(t, err)
	if strings.Join(names, " ") != "r0 r2" || next != "r2" {
		t.Errorf("%v, %q", names, next)
	}
	if names, next, err = f.ListRuleNamesByTarget(ctx, f.one, "", queueARN, next, 2); err != nil || strings.Join(names, " ") != "r4" || next != "" {
		t.Errorf("%v, %q, %v", names, next, err)
	}
}

// What a rule compiles to, for each kind of target.
func TestLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	b := f.createBus(f.one, "b")
	rule := f.putRule(f.one, "b", "r", `{"source":["a"]}`)
	attempts, age := 3, 120
	text := `{"x":1}`
	f.putTargets(f.one, "b", "r",
		bus.Target{ID: "queue", ARN: queueARN + ".fifo", GroupID: "g", RetryAttempts: &attempts, EventAge: &age, HasRetry: true, DeadLetterARN: queueARN},
		bus.Target{ID: "bus", ARN: b.ARN, Input: transform.Input{Constant: &text}},
		bus.Target{ID: "log", ARN: "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/events/x:*"},
		bus.Target{ID: "api", ARN: "arn:aws:events:eu-west-1:999999999999:api-destination/a/b", Header: map[string]string{"h": "v"}, PathValues: []string{"p"}},
		bus.Target{ID: "lambda", ARN: "arn:aws:lambda:eu-west-1:123456789012:function:f"},
	)
	subs := f.engine.targets()
	check := func(id string, kind event.TargetKind) event.Subscription {
		t.Helper()
		s := subs[rule+"#"+id]
		if s.Target.Kind != kind || s.Bus != b.Number || string(s.Pattern) != `{"source":["a"]}` || s.Kind != event.OnBus || s.Scope != f.one.Scope || s.Status != event.Enabled {
			t.Errorf("%s: %+v", id, s)
		}
		return s
	}
	q := check("queue", event.TargetQueue)
	if q.Target.Queue.ARN != queueARN+".fifo" || q.Target.Queue.GroupID != "g" || q.Retry.Tries != 3 || q.Retry.MaxAge != 2*time.Minute ||
		q.DeadLetter.Queue.ARN != queueARN || q.DeadLetter.RuleARN != rule || q.DeadLetter.TargetARN != queueARN+".fifo" || q.Input != nil {
		t.Errorf("%+v", q)
	}
	if s := check("bus", event.TargetBus); s.Target.Bus.ARN != b.ARN || s.Input.Constant != text || s.Input.RuleARN != rule || s.Input.RuleName != "r" ||
		s.Retry.Tries != 185 || s.Retry.MaxAge != 24*time.Hour || s.DeadLetter != nil {
		t.Errorf("%+v", s)
	}
	if s := check("log", event.TargetLog); s.Target.Log.ARN != "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/events/x" {
		t.Errorf("%+v", s.Target.Log)
	}
	if s := check("api", event.TargetAPIDestination); s.Target.APIDestination.Header["h"] != "v" || s.Target.APIDestination.PathValues[0] != "p" {
		t.Errorf("%+v", s.Target.APIDestination)
	}
	if s := check("lambda", event.TargetUnsupported); !strings.Contains(s.Target.Unsupported, "lambda") {
		t.Errorf("%+v", s.Target)
	}

	// A change of the rule reaches its targets; disabled, they select nothing
	// but stay, for what waits for them.
	f.putRule(f.one, "b", "r", `{"source":["c"]}`)
	for name, s := range f.engine.targets() {
		if string(s.Pattern) != `{"source":["c"]}` {
			t.Errorf("%s: %s", name, s.Pattern)
		}
	}
	ok(t, f.SetRuleState(ctx, f.one, "b", "r", false))
	for name, s := range f.engine.targets() {
		if s.Bus != 0 || s.Status != event.Enabled {
			t.Errorf("disabled: %s: %+v", name, s)
		}
	}
	ok(t, f.SetRuleState(ctx, f.one, "b", "r", true))

	// Another process that starts now sees the same.
	before := f.engine.targets()
	f.restart()
	after := f.engine.targets()
	if len(before) != 5 || len(after) != 5 {
		t.Fatalf("%d and %d subscriptions", len(before), len(after))
	}
	for name, s := range after {
		if was := before[name]; was.ID != s.ID || was.Bus != s.Bus || was.Target.Kind != s.Target.Kind {
			t.Errorf("%+v, was %+v", s, was)
		}
	}
	_, err := f.RemoveTargets(ctx, f.one, "b", "r", []string{"queue", "bus", "log", "api", "lambda"})
	ok(t, err)
	if left := f.engine.targets(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A schedule names its rule's targets; no event on a bus goes to them.
func TestScheduleOnlySelectsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.PutRule(t.Context(), f.one, bus.NewRule{Name: "r", Schedule: "rate(5 minutes)"})
	ok(t, err)
	f.putTargets(f.one, "", "r", bus.Target{ID: "1", ARN: queueARN})
	subs := f.engine.targets()
	if len(subs) != 1 {
		t.Fatal(subs)
	}
	for _, s := range subs {
		if s.Bus != 0 || s.Pattern != nil || s.Status != event.Enabled {
			t.Errorf("%+v", s)
		}
	}
}

func TestTestEventPattern(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	full := `{"id":"1","account":"123456789012","source":"a","time":"2026-01-01T00:00:00Z","region":"eu-west-1","detail-type":"d","detail":{"n":3}}`
	for pattern, want := range map[string]bool{`{"detail":{"n":[3]}}`: true, `{"detail":{"n":[4]}}`: false} {
		if got, err := f.TestEventPattern(pattern, full); err != nil || got != want {
			t.Errorf("%s: %t, %v", pattern, got, err)
		}
	}
	_, err := f.TestEventPattern(`{"source":["a"]}`, `{"source":"a"}`)
	wantFault(t, err, "ValidationException", "Parameter Event is not valid.")
	_, err = f.TestEventPattern(`{"source":"a"}`, full)
	wantFault(t, err, "InvalidEventPatternException", `"source" must be an object or an array`)

	f.putRule(f.one, "", "r", `{"source":["a"],"detail":{"n":[4]}}`)
	x, err := f.Explain(t.Context(), f.one, "", "r", []byte(full))
	ok(t, err)
	if x.Matched || len(x.Branches) != 1 || len(x.Branches[0].Fields) != 2 || x.Branches[0].Fields[0].OK == x.Branches[0].Fields[1].OK {
		t.Errorf("%+v", x)
	}
	_, err = f.PutRule(t.Context(), f.one, bus.NewRule{Name: "timed", Schedule: "rate(1 minute)"})
	ok(t, err)
	_, err = f.Explain(t.Context(), f.one, "", "timed", []byte(full))
	wantFault(t, err, "ValidationException", "Rule timed has a schedule and no event pattern, so no event matches it.")
	_, err = f.Explain(t.Context(), f.one, "", "r", []byte(`[]`))
	wantFault(t, err, "ValidationException", "Parameter Event is not valid.")
}

func TestTargetsAddedAtOnceAreCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.putRule(f.one, "", "r", `{"source":["a"]}`)
	var wg sync.WaitGroup
	var added atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			_, err := f.PutTargets(t.Context(), f.one, "", "r", []bus.Target{{ID: fmt.Sprint(i), ARN: queueARN}})
			if err == nil {
				added.Add(1)
			} else {
				wantFault(t, err, "LimitExceededException", "")
			}
		})
	}
	wg.Wait()
	targets, _, err := f.ListTargetsByRule(t.Context(), f.one, "", "r", "", 0)
	ok(t, err)
	if len(targets) != 5 || added.Load() != 5 || len(f.engine.targets()) != 5 {
		t.Errorf("%d targets, %d answered well, %d loaded", len(targets), added.Load(), len(f.engine.targets()))
	}
}

// Whatever was changed, what was loaded change by change is what a process that
// starts now loads at once.
func TestLoadedByChangesIsLoadedAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	buses, rules := []string{"", "b", "c"}, []string{"r", "s"}
	for range 150 {
		b, r := buses[rng.IntN(3)], rules[rng.IntN(2)]
		// Many of these are refused as things stand, and that is as well.
		switch rng.IntN(9) {
		case 0:
			_, _ = f.CreateEventBus(ctx, f.one, bus.NewEventBus{Name: b})
		case 1:
			_ = f.DeleteEventBus(ctx, f.one, b)
		case 2, 3:
			_, _ = f.PutRule(ctx, f.one, bus.NewRule{Bus: b, Name: r, Pattern: fmt.Sprintf(`{"source":["%d"]}`, rng.IntN(5))})
		case 4:
			_ = f.DeleteRule(ctx, f.one, b, r)
		case 5:
			_ = f.SetRuleState(ctx, f.one, b, r, rng.IntN(2) == 0)
		case 6, 7:
			_, _ = f.PutTargets(ctx, f.one, b, r, []bus.Target{{ID: fmt.Sprint(rng.IntN(3)), ARN: queueARN}})
		case 8:
			_, _ = f.RemoveTargets(ctx, f.one, b, r, []string{"0", "1", "2"}[:1+rng.IntN(3)])
		}
	}
	before := f.engine.targets()
	f.restart()
	after := f.engine.targets()
	if !reflect.DeepEqual(before, after) {
		t.Errorf("seed %d: by changes %v, at once %v", seed, before, after)
	}
}
