// Package storetest owns the conformance suite that every store driver passes:
// each verb, each promise written on the interfaces of package store, and a
// random sequence of operations compared with a model in memory.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// Run tests a driver. open returns an empty store of the test's own and
// arranges for it to be closed.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, tt := range []struct {
		name string
		test func(f *fixture)
	}{
		{"Ping", (*fixture).testPing},
		{"Lanes", (*fixture).testLanes},
		{"StaleRoutes", (*fixture).testStaleRoutes},
		{"AllOrNothing", (*fixture).testAllOrNothing},
		{"Log", (*fixture).testLog},
		{"Undone", (*fixture).testUndone},
		{"EventKeys", (*fixture).testEventKeys},
		{"Twins", (*fixture).testTwins},
		{"Idempotency", (*fixture).testIdempotency},
		{"Retries", (*fixture).testRetries},
		{"AttemptsAppend", (*fixture).testAttempts},
		{"AttemptOrder", (*fixture).testAttemptOrder},
		{"Concurrent", (*fixture).testConcurrent},
		{"Retention", (*fixture).testRetention},
		{"FindEvent", (*fixture).testFindEvent},
		{"ListEvents", (*fixture).testListEvents},
		{"ListEventsFilters", (*fixture).testListEventsFilters},
		{"DeliveryStates", (*fixture).testDeliveryStates},
		{"ListDeliveries", (*fixture).testListDeliveries},
		{"ScanDeliveries", (*fixture).testScanDeliveries},
		{"ReplayRuns", (*fixture).testReplayRuns},
		{"Scopes", (*fixture).testScopes},
		{"BindKey", (*fixture).testBindKey},
		{"Accounts", (*fixture).testAccounts},
		{"OnlyFirstAccount", (*fixture).testOnlyFirst},
		{"AccountFamilies", (*fixture).testAccountFamilies},
		{"Keys", (*fixture).testKeys},
		{"AuditLog", (*fixture).testAuditLog},
		{"Destinations", (*fixture).testDestinations},
		{"DestinationConflict", (*fixture).testDestinationConflict},
		{"DestinationIdempotency", (*fixture).testDestinationIdempotency},
		{"ChangedDestinations", (*fixture).testChangedDestinations},
		{"SharedNumbers", (*fixture).testSharedNumbers},
		{"Resources", (*fixture).testResources},
		{"ResourceConflict", (*fixture).testResourceConflict},
		{"ResourceAllOrNothing", (*fixture).testResourceAllOrNothing},
		{"ResourceLives", (*fixture).testResourceLives},
		{"ResourceParents", (*fixture).testResourceParents},
		{"ListResources", (*fixture).testListResources},
		{"ChangedResources", (*fixture).testChangedResources},
		{"AWSIDs", (*fixture).testAWSIDs},
		{"AWSKeys", (*fixture).testAWSKeys},
		{"BusEvents", (*fixture).testBusEvents},
		{"Queue", (*fixture).testQueue},
		{"QueueReceipts", (*fixture).testQueueReceipts},
		{"QueueExpiry", (*fixture).testQueueExpiry},
		{"QueueDrop", (*fixture).testQueueDrop},
		{"ReadyQueues", (*fixture).testReadyQueues},
		{"FIFO", (*fixture).testFIFO},
		{"FIFODedup", (*fixture).testFIFODedup},
		{"DeadLetters", (*fixture).testDeadLetters},
		{"QueueMove", (*fixture).testQueueMove},
		{"QueueAbsent", (*fixture).testQueueAbsent},
		{"QueueModel", (*fixture).testQueueModel},
		{"Deposits", (*fixture).testDeposits},
		{"LogEntries", (*fixture).testLogEntries},
		{"Archive", (*fixture).testArchive},
		{"Objects", (*fixture).testObjects},
		{"ListObjects", (*fixture).testListObjects},
		{"ObjectIdempotency", (*fixture).testObjectIdempotency},
		{"Mentions", (*fixture).testMentions},
		{"OldMentions", (*fixture).testOldMentions},
		{"Health", (*fixture).testHealth},
		{"Order", (*fixture).testOrder},
		{"Cancelled", (*fixture).testCancelled},
		{"Model", (*fixture).testModel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(newFixture(t, open(t)))
		})
	}
}

// Two accounts' modes, and times that no clock is asked for.
var (
	scopeA = event.NewScope(1, false)
	scopeB = event.NewScope(1, true)
	start  = time.UnixMilli(1_750_000_000_000).UTC()
)

// fixture is a store with an open lane and a committer's state.
type fixture struct {
	*testing.T
	ctx    context.Context
	s      store.Store
	lane   store.LaneState
	seq    event.Seq
	config int64
	now    time.Time
	made   int
}

func newFixture(t *testing.T, s store.Store) *fixture {
	f := &fixture{T: t, ctx: t.Context(), s: s, now: start}
	var err error
	f.lane, err = s.OpenLane(f.ctx)
	f.ok(err)
	f.reload()
	return f
}

func (f *fixture) reload() {
	f.Helper()
	var err error
	_, f.config, err = f.s.ChangedDestinations(f.ctx, 0)
	f.ok(err)
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) is(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

var comparing = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(event.Event{}), cmpopts.EquateErrors(),
}

// equal is a short cut: a comparison that can explain itself is slow, and
// nearly always finds nothing.
func equal(got, want any) bool {
	switch got := got.(type) {
	case *event.Event:
		want, ok := want.(*event.Event)
		return ok && sameEvent(got, want)
	case []*event.Event:
		want, ok := want.([]*event.Event)
		return ok && slices.EqualFunc(got, want, sameEvent)
	case store.Page[*event.Event]:
		want, ok := want.(store.Page[*event.Event])
		return ok && got.More == want.More && slices.EqualFunc(got.Items, want.Items, sameEvent)
	}
	return reflect.DeepEqual(got, want)
}

func sameEvent(a, b *event.Event) bool {
	return a.Seq == b.Seq && a.Scope == b.Scope && a.Kind == b.Kind && a.Type == b.Type && a.Created.Equal(b.Created) &&
		a.ObjectID == b.ObjectID && a.Bus == b.Bus && a.Hops == b.Hops && a.Cut == b.Cut && bytes.Equal(a.Payload, b.Payload) && slices.Equal(a.Routes, b.Routes)
}

// same compares everything but what only a driver could know.
func (f *fixture) same(what string, got, want any) {
	f.Helper()
	if equal(got, want) {
		return
	}
	if diff := cmp.Diff(want, got, comparing); diff != "" {
		f.Fatalf("%s differs (-want +got):\n%s", what, diff)
	}
}

// draft is what a test states of an event.
type draft struct {
	scope   event.Scope // 0 is scopeA
	id      string
	typ     string
	object  string
	kind    event.Kind
	created time.Time
	routes  []event.Route
	size    int
}

func dispatch(subs ...int64) []event.Route {
	var routes []event.Route
	for _, s := range subs {
		routes = append(routes, event.Route{Subscription: s})
	}
	return routes
}

// event builds an event and gives it the next sequence number.
func (f *fixture) event(d draft) *event.Event {
	f.made++
	if d.scope == 0 {
		d.scope = scopeA
	}
	if d.typ == "" {
		d.typ = "invoice.paid"
	}
	made := event.Draft{ID: d.id, Type: d.typ, Created: d.created, ObjectID: d.object}
	body := fmt.Sprintf(`{"n":%d,"pad":"%0*d"}`, f.made, d.size, 0)
	if d.kind == event.Thin {
		made.RelatedObject, made.Data = []byte(`{"id":"x"}`), []byte(body)
	} else {
		made.Object = []byte(body)
	}
	e := made.Build(d.scope, f.now, "2025-01-01")
	e.Routes = d.routes
	f.assign(e)
	return e
}

func (f *fixture) assign(e *event.Event) {
	f.seq = f.seq.Next(f.now, f.lane.Lane)
	e.Assign(f.seq)
}

func (f *fixture) batch() *store.Batch {
	return &store.Batch{Lane: f.lane.Lane, Epoch: f.lane.Epoch, ConfigVersion: f.config, Now: f.now}
}

func (f *fixture) commit(b *store.Batch) {
	f.Helper()
	f.ok(f.s.Commit(f.ctx, b))
}

// accept commits events as one submission.
func (f *fixture) accept(events ...*event.Event) {
	f.Helper()
	b := f.batch()
	b.Submissions = []*store.Submission{{Events: events}}
	f.commit(b)
	if err := b.Submissions[0].Err; err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) accepted(d draft) *event.Event {
	f.Helper()
	e := f.event(d)
	f.accept(e)
	return e
}

// attempted commits tries, and retries beside them.
func (f *fixture) attempted(attempts []*event.Attempt, put ...store.Retry) {
	f.Helper()
	b := f.batch()
	b.Attempts, b.RetryPut = attempts, put
	f.commit(b)
}

func (f *fixture) try(e *event.Event, sub int64, n int, outcome event.Outcome) *event.Attempt {
	f.now = f.now.Add(time.Second)
	a := &event.Attempt{
		Seq: e.Seq, Subscription: sub, Scope: e.Scope, N: n, Outcome: outcome, Started: f.now,
		FirstByte: 1500 * time.Microsecond, Total: 2 * time.Millisecond,
	}
	switch outcome {
	case event.Delivered:
		a.Status = 200
	case event.WasDiscarded:
		a.Class, a.Message = event.ClassDiscard, event.ReasonDeleted
	default:
		a.Status, a.Class, a.Message = 503, event.ClassStatus, "the destination answered 503"
		a.Headers = []event.Header{{Name: "Retry-After", Value: "1"}, {Name: "X", Value: ""}}
		a.Body, a.Truncated = []byte("busy"), true
		if outcome == event.FailedRetry {
			a.Next = f.now.Add(time.Minute)
		}
	}
	return a
}

func retryOf(e *event.Event, sub int64, run, n int, next time.Time) store.Retry {
	return store.Retry{RetryKey: store.RetryKey{Scope: e.Scope, Seq: e.Seq, Subscription: sub, Run: run}, N: n, Next: next}
}

// log returns everything in the store.
func (f *fixture) log() []*event.Event {
	f.Helper()
	all, err := f.s.EventsAfter(f.ctx, store.AfterParams{UpTo: 1<<63 - 1, Limit: 1 << 20})
	f.ok(err)
	return all
}

func (f *fixture) waiting() int {
	f.Helper()
	b, err := f.s.Backlog(f.ctx)
	f.ok(err)
	return b.Retries
}

func seqs(events []*event.Event) []event.Seq {
	var list []event.Seq
	for _, e := range events {
		list = append(list, e.Seq)
	}
	return list
}

func reversed[T any](list []T) []T {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

func hash(s string) [32]byte { return sha256.Sum256([]byte(s)) }

func (f *fixture) testPing() { f.ok(f.s.Ping(f.ctx)) }
