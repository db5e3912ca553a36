package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

func entry(source, busRef string) bus.Entry {
	return bus.Entry{Source: source, DetailType: "t", Detail: []byte(`{"a": 1}`), Bus: busRef}
}

func TestPutEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	b := f.createBus(f.one, "b")
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	long := entry("s", "")
	long.DetailType = strings.Repeat("t", 129)
	results, err := f.PutEvents(ctx, f.one, []bus.Entry{
		{Source: "s", DetailType: "t", Detail: []byte(" {\"a\" : [ 1 , \"x y\" ] } "), Bus: "b", Resources: []string{"r"}, Time: at},
		entry("s", b.ARN),
		entry("s", ""), // the default bus, which nobody has used yet
		{DetailType: "t", Detail: []byte(`{}`)},
		{Source: "s", Detail: []byte(`{}`)},
		{Source: "s", DetailType: "t"},
		{Source: "s", DetailType: "t", Detail: []byte(`[]`)},
		{Source: "s", DetailType: "t", Detail: []byte(`{"a":}`)},
		entry("aws.s3", ""),
		entry("s", "none"),
	})
	ok(t, err)
	events := f.engine.take()
	if len(events) != 3 {
		t.Fatalf("%d events", len(events))
	}
	for i, want := range []string{
		"", "", "",
		"InvalidArgument: Parameter Source is not valid. Reason: Source is a required argument.",
		"InvalidArgument: Parameter DetailType is not valid. Reason: DetailType is a required argument.",
		"InvalidArgument: Parameter Detail is not valid. Reason: Detail is a required argument.",
		"MalformedDetail: Detail is malformed.", "MalformedDetail: Detail is malformed.",
		"NotAuthorizedForSourceException: Not authorized for the source.", "",
	} {
		r := results[i]
		if got := strings.TrimPrefix(r.Code+": "+r.Message, ": "); got != want || (want == "") != (len(r.EventID) == 36) {
			t.Errorf("entry %d: %+v, want %q", i, r, want)
		}
		if i < 3 && events[i].ID() != r.EventID {
			t.Errorf("entry %d: id %s, event %s", i, r.EventID, events[i].ID())
		}
	}
	if got := string(events[0].Payload); !strings.HasSuffix(got, `,"detail-type":"t","source":"s","account":"`+f.one.AccountID+
		`","time":"2026-02-03T04:05:06Z","region":"eu-west-1","resources":["r"],"detail":{"a":[1,"x y"]}}`) {
		t.Error(got)
	}
	if events[0].Bus != b.Number || events[1].Bus != b.Number || events[2].Bus == b.Number || events[2].Bus == 0 || events[0].Scope != f.one.Scope {
		t.Errorf("buses %d %d %d", events[0].Bus, events[1].Bus, events[2].Bus)
	}

	results, err = f.PutEvents(ctx, f.one, []bus.Entry{long})
	ok(t, err)
	if results[0].Code != "InvalidArgument" {
		t.Errorf("%+v", results[0])
	}
	_, err = f.PutEvents(ctx, f.one, nil)
	wantFault(t, err, "ValidationException", "at 'entries' failed to satisfy constraint: Member must have length greater than or equal to 1")
	_, err = f.PutEvents(ctx, f.one, make([]bus.Entry, 11))
	wantFault(t, err, "ValidationException", "at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10")
	big := entry("s", "")
	big.Detail = []byte(`{"a":"` + strings.Repeat("x", 1_000_000) + `"}`)
	_, err = f.PutEvents(ctx, f.one, []bus.Entry{big})
	wantFault(t, err, "ValidationException", "Total size of the entries in the request is over the limit.")

	f.engine.err = store.ErrUnavailable
	_, err = f.PutEvents(ctx, f.one, []bus.Entry{entry("s", "b")})
	if x := fault.As(err); x == nil || x.Kind != fault.Unavailable {
		t.Errorf("store down: %v", err)
	}
}

// TestPutEventsFindsNamesGivenTwice holds that only events without them are
// matched in the way that stops early.
func TestPutEventsFindsNamesGivenTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for detail, want := range map[string]bool{
		`{"a":{"b":1},"b":[{"a":1},{"a":2}]}`: true,
		`{ "a": 1 }`:                          true,
		`{"a":1,"b":2,"a":3}`:                 false,
		`{"a":{"b":1},"a.b":2}`:               false,
	} {
		_, err := f.PutEvents(t.Context(), f.one, []bus.Entry{{Source: "s", DetailType: "t", Detail: []byte(detail)}})
		ok(t, err)
		events := f.engine.take()
		if len(events) != 1 || f.engine.distinct[events[0]] != want {
			t.Errorf("%s: %d events, want one that is distinct: %v", detail, len(events), want)
		}
	}
}

func TestPutEventsOfTwoAccounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := f.createBus(f.two, "shared")
	ok(t, f.PutPermission(t.Context(), f.two, bus.NewPermission{Bus: "shared", StatementID: "all", Action: "events:PutEvents", Principal: "*"}))
	results, err := f.PutEvents(t.Context(), f.one, []bus.Entry{entry("1", b.ARN), entry("2", ""), entry("3", b.ARN)})
	ok(t, err)
	byID := map[string]*event.Event{}
	for _, e := range f.engine.take() {
		byID[e.ID()] = e
	}
	for i, scope := range []event.Scope{f.two.Scope, f.one.Scope, f.two.Scope} {
		e := byID[results[i].EventID]
		if e == nil || e.Scope != scope || envelope(t, e)["account"] != f.one.AccountID || envelope(t, e)["source"] != string(rune('1'+i)) {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
}

const sourceName = "aws.partner/example.com/ed_1"

func TestPartnerSourceLife(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	var heard []string
	arn := f.source(sourceName)
	f.SetSourceHook(sourceHook(f, &heard))
	if arn != "arn:aws:events:eu-west-1::event-source/"+sourceName {
		t.Error(arn)
	}
	state := func(want string) {
		t.Helper()
		s, err := f.DescribeEventSource(ctx, f.two, sourceName)
		ok(t, err)
		seen, err := f.PartnerEventSourceAccount(ctx, f.one, sourceName)
		ok(t, err)
		//nolint:contextcheck // it is asked with a time-out of its own
		if s.State != want || f.SourceState(sourceName, region) != want || seen.State != want || seen.Account != f.two.AccountID {
			t.Errorf("%s and %+v, want %s", s.State, seen, want)
		}
		if (want == "ACTIVE") != s.Expires.IsZero() || s.CreatedBy != "aws.partner/example.com" || s.ARN != arn {
			t.Errorf("%+v", s)
		}
	}
	put := func(want int) {
		t.Helper()
		results, err := f.PutPartnerEvents(ctx, f.one, []bus.Entry{entry(sourceName, "")})
		ok(t, err)
		if results[0].Code != "" || len(results[0].EventID) != 36 {
			t.Errorf("%+v", results[0])
		}
		events := f.engine.take()
		if len(events) != want {
			t.Fatalf("%d events, want %d", len(events), want)
		}
		if want > 0 && (envelope(t, events[0])["account"] != f.two.AccountID || events[0].Scope != f.two.Scope || envelope(t, events[0])["source"] != sourceName) {
			t.Errorf("%s", events[0].Payload)
		}
	}
	state("PENDING")
	put(0)
	if err := f.PutFromSource(ctx, sourceName, region, "t", time.Time{}, nil, []byte("{}")); !errors.Is(err, bus.ErrPending) {
		t.Errorf("PENDING: %v", err)
	}
	wantFault(t, f.ActivateEventSource(ctx, f.two, sourceName), "InvalidStateException", "is not associated with an event bus")
	wantFault(t, f.DeactivateEventSource(ctx, f.two, sourceName), "InvalidStateException", "is not in ACTIVE state")

	associate(t, f)
	state("ACTIVE")
	put(1)
	if err := f.PutFromSource(ctx, sourceName, region, "t", time.Time{}, []string{arn}, []byte(`{"id":"evt"}`)); err != nil {
		t.Error(err)
	}
	if e := f.engine.take(); len(e) != 1 || envelope(t, e[0])["source"] != sourceName || envelope(t, e[0])["detail"].(map[string]any)["id"] != "evt" {
		t.Errorf("%v", e)
	}
	ok(t, f.DeactivateEventSource(ctx, f.two, sourceName))
	state("PENDING")
	put(0)
	ok(t, f.ActivateEventSource(ctx, f.two, sourceName))
	put(1)
	ok(t, f.DeleteEventBus(ctx, f.two, sourceName))
	state("PENDING")
	put(0)
	associate(t, f)
	f.putRule(f.two, sourceName, "r", `{"source":[{"prefix":"aws.partner/example.com"}]}`)
	f.putTargets(f.two, sourceName, "r", bus.Target{ID: "1", ARN: queueARN})

	// The partner deletes it; the customer sees that, and that it comes back.
	ok(t, f.DeletePartnerEventSource(ctx, f.one, sourceName, f.two.AccountID))
	ok(t, f.DeletePartnerEventSource(ctx, f.one, sourceName, f.two.AccountID))
	s, err := f.DescribeEventSource(ctx, f.two, sourceName)
	ok(t, err)
	if s.State != "DELETED" || f.SourceState(sourceName, region) != "DELETED" {
		t.Errorf("%+v", s)
	}
	if err := f.PutFromSource(ctx, sourceName, region, "t", time.Time{}, nil, []byte("{}")); !errors.Is(err, bus.ErrNoSource) {
		t.Errorf("DELETED: %v", err)
	}
	_, err = f.DescribePartnerEventSource(ctx, f.one, sourceName)
	wantFault(t, err, "ResourceNotFoundException", "Event source "+sourceName+" does not exist.")
	f.source(sourceName)
	state("ACTIVE")
	_, err = f.PutPartnerEvents(ctx, f.one, []bus.Entry{entry(sourceName, "")})
	ok(t, err)
	if e := f.engine.take(); len(e) != 1 || len(f.matching(e[0])) != 1 {
		t.Errorf("%v does not reach its rule", e)
	}
	if got := strings.Join(heard, " "); got != "ACTIVE PENDING ACTIVE PENDING ACTIVE DELETED ACTIVE" {
		t.Error(got)
	}
}

func TestPartnerSourceRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	f.source(sourceName)
	_, err := f.CreatePartnerEventSource(ctx, f.one, sourceName, f.two.AccountID)
	wantFault(t, err, "ResourceAlreadyExistsException", "Event source "+sourceName+" already exists.")
	_, err = f.CreatePartnerEventSource(ctx, f.two, sourceName, f.one.AccountID) // a name is one partner's
	wantFault(t, err, "ResourceAlreadyExistsException", "already exists")
	_, err = f.CreatePartnerEventSource(ctx, f.one, "aws.partner/x.com/y", "999999999999")
	wantFault(t, err, "ValidationException", "999999999999 is not the AWS account id of an account")
	for _, name := range []string{"", "aws.partner/x.com", "x.com/a/b", "aws.partner/x.com/a b", "aws.partner/" + strings.Repeat("a/", 150) + "b"} {
		_, err = f.CreatePartnerEventSource(ctx, f.one, name, f.two.AccountID)
		wantFault(t, err, "ValidationException", "at 'name' failed to satisfy constraint")
	}
	_, err = f.CreatePartnerEventSource(ctx, f.one, sourceName, "12")
	wantFault(t, err, "ValidationException", "at 'account' failed to satisfy constraint")

	// The customer is not the partner, and the other way round.
	_, err = f.DescribePartnerEventSource(ctx, f.two, sourceName)
	wantFault(t, err, "ResourceNotFoundException", "does not exist")
	_, err = f.DescribeEventSource(ctx, f.one, sourceName)
	wantFault(t, err, "ResourceNotFoundException", "does not exist")
	_, err = f.CreateEventBus(ctx, f.one, bus.NewEventBus{Name: sourceName, SourceName: sourceName})
	wantFault(t, err, "ResourceNotFoundException", "does not exist")
	results, err := f.PutPartnerEvents(ctx, f.two, []bus.Entry{entry(sourceName, ""), entry("aws.partner/no/ne", "")})
	ok(t, err)
	for _, r := range results {
		if r.Code != "NotAuthorizedForSourceException" {
			t.Errorf("%+v", r)
		}
	}
	ok(t, f.DeletePartnerEventSource(ctx, f.two, sourceName, f.two.AccountID)) // not theirs: nothing happens
	if got := f.SourceState(sourceName, region); got != "PENDING" {
		t.Error(got)
	}
	_, err = f.PutPartnerEvents(ctx, f.one, make([]bus.Entry, 21))
	wantFault(t, err, "ValidationException", "less than or equal to 20")
	associate(t, f)
	_, err = f.CreateEventBus(ctx, f.two, bus.NewEventBus{Name: sourceName, SourceName: sourceName})
	if x := fault.As(err); x == nil || x.Code != "InvalidStateException" && x.Code != "ResourceAlreadyExistsException" {
		t.Errorf("twice: %v", err)
	}
}

func TestCreateSourceIsIdempotent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	scope := event.NewScope(f.one.Scope.Account(), false)
	for range 2 {
		arn, err := f.CreateSource(ctx, scope, f.two.AccountID, region, sourceName)
		if err != nil || !strings.HasSuffix(arn, sourceName) {
			t.Fatal(arn, err)
		}
	}
	_, err := f.CreateSource(ctx, f.two.Scope, f.two.AccountID, region, sourceName)
	wantFault(t, err, "ResourceAlreadyExistsException", "already exists")
	ok(t, f.DeleteSource(ctx, sourceName, region))
	ok(t, f.DeleteSource(ctx, sourceName, region))
	if got := f.SourceState(sourceName, region) + f.SourceState("aws.partner/a/b", region); got != "DELETED" {
		t.Error(got)
	}
}

func TestSourcesExpire(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	f.source(sourceName)
	f.source("aws.partner/example.com/ed_2")
	associate(t, f)
	var heard []string
	f.SetSourceHook(sourceHook(f, &heard))
	f.ground.Advance(7*24*time.Hour - time.Second)
	ok(t, f.ExpireSources(ctx))
	if got := f.SourceState("aws.partner/example.com/ed_2", region); got != "PENDING" {
		t.Error(got)
	}
	f.ground.Advance(time.Second)
	ok(t, f.ExpireSources(ctx))
	if got := f.SourceState("aws.partner/example.com/ed_2", region) + f.SourceState(sourceName, region); got != "DELETEDACTIVE" {
		t.Error(got)
	}
	_, err := f.CreateEventBus(ctx, f.two, bus.NewEventBus{Name: "aws.partner/example.com/ed_2", SourceName: "aws.partner/example.com/ed_2"})
	wantFault(t, err, "InvalidStateException", "is not in PENDING state")
	names, _, err := f.ListPartnerEventSources(ctx, f.one, "aws.partner/example.com/", "", 0)
	ok(t, err)
	if len(names) != 1 || names[0].Name != sourceName {
		t.Errorf("%v", names)
	}
	f.ground.Advance(7 * 24 * time.Hour)
	ok(t, f.ExpireSources(ctx))
	if got := f.SourceState("aws.partner/example.com/ed_2", region); got != "" {
		t.Error(got)
	}
	if got := strings.Join(heard, " "); got != "DELETED" {
		t.Error(got)
	}
}

func TestPutFromBus(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	a, b := f.createBus(f.one, "a"), f.createBus(f.one, "b")
	_, err := f.PutEvents(ctx, f.one, []bus.Entry{entry("s", a.ARN)})
	ok(t, err)
	first := f.engine.take()[0]
	ok(t, f.PutFromBus(ctx, f.one.Scope, b.ARN, first.Payload, first.Type, first.Hops))
	second := f.engine.take()[0]
	if second.ID() != first.ID() || second.Bus != b.Number || second.Hops != 1 || string(second.Payload) != string(first.Payload) || second.Type != "t" {
		t.Errorf("%+v", second)
	}
	if err := f.PutFromBus(ctx, f.one.Scope, b.ARN, first.Payload, "t", 6); err != nil {
		t.Error(err)
	}
	if err := f.PutFromBus(ctx, f.one.Scope, b.ARN, first.Payload, "t", 7); !errors.Is(err, bus.ErrTooManyHops) {
		t.Errorf("in a circle: %v", err)
	}
	if err := f.PutFromBus(ctx, f.one.Scope, b.ARN+"x", first.Payload, "t", 0); !errors.Is(err, bus.ErrNoBus) {
		t.Errorf("no bus: %v", err)
	}
	c := f.createBus(f.two, "c")
	if err := f.PutFromBus(ctx, f.one.Scope, c.ARN, first.Payload, "t", 0); !errors.Is(err, bus.ErrNoBus) {
		t.Errorf("another account's: %v", err)
	}
	ok(t, f.PutPermission(ctx, f.two, bus.NewPermission{Bus: "c", StatementID: "s", Action: "events:PutEvents", Principal: f.one.AccountID}))
	if err := f.PutFromBus(ctx, f.one.Scope, c.ARN, first.Payload, "t", 0); err != nil {
		t.Errorf("let in: %v", err)
	}
}

func associate(t *testing.T, f *fixture) {
	t.Helper()
	_, err := f.CreateEventBus(t.Context(), f.two, bus.NewEventBus{Name: sourceName, SourceName: sourceName})
	ok(t, err)
}

// sourceHook notes the states that sources are in when they have changed.
func sourceHook(f *fixture, heard *[]string) func(context.Context, string) {
	//nolint:contextcheck // it is asked with a time-out of its own
	return func(_ context.Context, name string) { *heard = append(*heard, f.SourceState(name, region)) }
}
