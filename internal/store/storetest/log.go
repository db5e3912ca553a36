package storetest

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func (f *fixture) testLanes() {
	f.same("new lane", f.lane, store.LaneState{Epoch: f.lane.Epoch})
	e := f.accepted(draft{routes: dispatch(1)})
	b := f.batch()
	b.Watermark = e.Seq
	f.commit(b)
	b.Watermark = e.Seq - 1 // a watermark never falls
	f.commit(b)

	next, err := f.s.OpenLane(f.ctx)
	f.ok(err)
	if next.Epoch <= f.lane.Epoch {
		f.Fatalf("epoch %d after %d", next.Epoch, f.lane.Epoch)
	}
	f.same("taken lane", next, store.LaneState{Epoch: next.Epoch, Watermark: e.Seq, Last: e.Seq})

	b = f.batch()
	b.Watermark = e.Seq + 1
	b.Submissions = []*store.Submission{{Events: []*event.Event{f.event(draft{})}}}
	f.is(f.s.Commit(f.ctx, b), store.ErrFenced)
	f.same("log after a fenced commit", f.log(), []*event.Event{e})
	f.lane = next
	f.accepted(draft{})

	unopened := f.batch()
	unopened.Lane = 7
	f.is(f.s.Commit(f.ctx, unopened), store.ErrFenced)
}

func (f *fixture) testStaleRoutes() {
	f.accepted(draft{})
	d := newDestination(scopeA, "ed_1")
	f.ok(f.s.CreateDestination(f.ctx, d, nil))

	e := f.event(draft{routes: []event.Route{{Subscription: 1, Disposition: event.Parked}}})
	b := f.batch()
	b.Submissions = []*store.Submission{{Events: []*event.Event{e}, Idempotency: idempotency("k", "")}}
	b.Attempts = []*event.Attempt{f.try(e, 1, 1, event.Delivered)}
	f.is(f.s.Commit(f.ctx, b), store.ErrStaleRoutes)
	if n := len(f.log()); n != 1 {
		f.Fatalf("%d events after a stale commit, want 1", n)
	}
	f.same("retries after a stale commit", f.waiting(), 0)
	b.Submissions, b.Attempts = nil, nil
	f.commit(b) // outcomes do not depend on routes

	f.reload()
	b = f.batch()
	b.Submissions = []*store.Submission{{Events: []*event.Event{e}, Idempotency: idempotency("k", "")}}
	f.commit(b)
	if b.Submissions[0].Replayed {
		f.Fatal("the refused commit left its idempotency key behind")
	}
	d.Status = event.Disabled
	f.ok(f.s.UpdateDestination(f.ctx, d, nil))
	b = f.batch()
	b.Submissions = []*store.Submission{{Events: []*event.Event{f.event(draft{})}}}
	f.is(f.s.Commit(f.ctx, b), store.ErrStaleRoutes)
}

// A batch whose last event cannot be written leaves nothing, and nothing of it
// slips into the next one.
func (f *fixture) testAllOrNothing() {
	taken := f.accepted(draft{})
	fresh := f.event(draft{id: "evt_mine", routes: []event.Route{{Subscription: 1, Disposition: event.Parked}}})
	double := f.event(draft{})
	double.Seq = taken.Seq
	b := f.batch()
	b.Submissions = []*store.Submission{
		{Events: []*event.Event{fresh}, Keys: []store.EventKey{{ID: "evt_mine", Hash: hash("1")}}, Idempotency: idempotency("k", "r")},
		{Events: []*event.Event{double}},
	}
	b.Attempts = []*event.Attempt{f.try(taken, 1, 1, event.Delivered)}
	b.RetryPut = []store.Retry{retryOf(taken, 2, 0, 1, f.now)}
	if err := f.s.Commit(f.ctx, b); err == nil {
		f.Fatal("a sequence number was given out twice")
	}
	check := func() {
		f.same("retries", f.waiting(), 0)
		_, err := f.s.Event(f.ctx, scopeA, "evt_mine")
		f.is(err, store.ErrNotFound)
		_, err = f.s.Idempotent(f.ctx, scopeA, 1, "k", f.now)
		f.is(err, store.ErrNotFound)
	}
	check()
	f.same("log", f.log(), []*event.Event{taken})
	next := f.accepted(draft{})
	check()
	f.same("log", f.log(), []*event.Event{taken, next})
}

func (f *fixture) testLog() {
	var want []*event.Event
	for range 45 { // more than one chunk of any driver's inserts
		want = append(want, f.event(draft{routes: dispatch(3, 1<<40), object: "in_1", size: 100}))
	}
	want = append(want, f.event(draft{scope: scopeB, kind: event.Thin, created: f.now.Add(-time.Hour)}),
		f.event(draft{created: time.UnixMilli(0)}))
	f.accept(want...)
	f.same("log", f.log(), want)

	part, err := f.s.EventsAfter(f.ctx, store.AfterParams{After: want[3].Seq, UpTo: want[8].Seq, Limit: 3})
	f.ok(err)
	f.same("part", part, want[4:7])
	part, err = f.s.EventsAfter(f.ctx, store.AfterParams{After: want[3].Seq, UpTo: want[5].Seq, Limit: 30})
	f.ok(err)
	f.same("part", part, want[4:6])
	part, err = f.s.EventsAfter(f.ctx, store.AfterParams{UpTo: want[40].Seq, Limit: 30, MaxBytes: len(want[0].Payload) + 1})
	f.ok(err)
	f.same("part by bytes", part, want[:2])
}

func (f *fixture) testUndone() {
	e := f.event(draft{routes: []event.Route{
		{Subscription: 1},
		{Subscription: 2},
		{Subscription: 3},
		{Subscription: 4},
		{Subscription: 5, Disposition: event.Parked},
		{Subscription: 6, Disposition: event.DiscardedDisabled},
	}})
	whole := f.event(draft{scope: scopeB, routes: dispatch(1, 2)})
	f.accept(e, whole)
	resend := f.try(e, 4, 1, event.FailedFinal)
	resend.Run = 9 // the scheduled run is still to be made
	f.attempted([]*event.Attempt{f.try(e, 1, 1, event.Delivered), f.try(e, 2, 1, event.FailedRetry), resend},
		retryOf(e, 2, 0, 1, f.now), retryOf(e, 3, 0, 0, f.now), retryOf(e, 4, 9, 0, f.now))
	got, err := f.s.EventsAfter(f.ctx, store.AfterParams{UpTo: whole.Seq, Limit: 10, Undone: true})
	f.ok(err)
	open := *e
	open.Routes = dispatch(4)
	f.same("undone", got, []*event.Event{&open, whole})
	f.same("log", f.log(), []*event.Event{e, whole})
}

func keyed(e *event.Event, content string) *store.Submission {
	return &store.Submission{Events: []*event.Event{e}, Keys: []store.EventKey{{ID: e.ID(), Hash: hash(content)}}}
}

func (f *fixture) testEventKeys() {
	mine := func() *event.Event { return f.event(draft{id: "evt_mine", routes: dispatch(1)}) }
	first, other := mine(), f.event(draft{})
	b := f.batch()
	// Across submissions of one batch.
	b.Submissions = []*store.Submission{keyed(first, "a"), keyed(mine(), "a"), keyed(mine(), "b"), {Events: []*event.Event{other}}}
	f.commit(b)
	f.same("first", len(b.Submissions[0].Existing), 0)
	f.same("repeat", b.Submissions[1].Existing, map[int]event.Seq{0: first.Seq})
	f.is(b.Submissions[2].Err, store.ErrEventMismatch)
	f.same("log", f.log(), []*event.Event{first, other})

	// Across batches, beside an event that is new, and a conflict that takes
	// its submission's other events along.
	fresh := f.event(draft{})
	b = f.batch()
	repeat := keyed(mine(), "a")
	repeat.Events = append(repeat.Events, fresh)
	conflict := keyed(mine(), "b")
	conflict.Events = append(conflict.Events, f.event(draft{routes: []event.Route{{Subscription: 1, Disposition: event.Parked}}}))
	conflict.Idempotency = idempotency("k", "")
	elsewhere := f.event(draft{id: "evt_mine", scope: scopeB})
	b.Submissions = []*store.Submission{repeat, conflict, keyed(elsewhere, "c")}
	f.commit(b)
	f.ok(repeat.Err)
	f.same("repeat", repeat.Existing, map[int]event.Seq{0: first.Seq})
	f.is(conflict.Err, store.ErrEventMismatch)
	f.same("retries", f.waiting(), 0)
	f.ok(b.Submissions[2].Err)
	_, err := f.s.Idempotent(f.ctx, scopeA, 1, "k", f.now)
	f.is(err, store.ErrNotFound)
	f.same("log", f.log(), []*event.Event{first, other, fresh, elsewhere})

	// Within one submission.
	one := f.event(draft{id: "evt_two"})
	two := f.event(draft{id: "evt_two"})
	b = f.batch()
	same := &store.Submission{Events: []*event.Event{one, two}, Keys: []store.EventKey{{Index: 0, ID: "evt_two", Hash: hash("x")}, {Index: 1, ID: "evt_two", Hash: hash("x")}}}
	three, four := f.event(draft{id: "evt_three"}), f.event(draft{id: "evt_three"})
	clash := &store.Submission{Events: []*event.Event{three, four}, Keys: []store.EventKey{{Index: 0, ID: "evt_three", Hash: hash("x")}, {Index: 1, ID: "evt_three", Hash: hash("y")}}}
	b.Submissions = []*store.Submission{same, clash}
	f.commit(b)
	f.same("repeat", same.Existing, map[int]event.Seq{1: one.Seq})
	f.is(clash.Err, store.ErrEventMismatch)
	f.same("log", f.log(), []*event.Event{first, other, fresh, elsewhere, one})
}

func (f *fixture) testTwins() {
	build := func() *store.Submission {
		d := event.Draft{ID: "evt_mine", Type: "invoice.paid", Object: []byte(`{"id":"in_1"}`), ObjectID: "in_1", ObjectType: "invoice"}
		s := d.Build(scopeA, f.now, "v")
		twin := d.Twin(s)
		twin.Routes = []event.Route{{Subscription: 1, Disposition: event.Parked}}
		f.assign(s)
		f.assign(twin)
		return &store.Submission{Events: []*event.Event{s, twin}, Keys: []store.EventKey{{Followers: 1, ID: "evt_mine", Hash: hash("a")}}}
	}
	b := f.batch()
	first, repeat := build(), build()
	b.Submissions = []*store.Submission{first}
	f.commit(b)
	b = f.batch()
	b.Submissions = []*store.Submission{repeat}
	f.commit(b)
	f.same("repeat", repeat.Existing, map[int]event.Seq{0: first.Events[0].Seq, 1: 0})
	f.same("log", f.log(), first.Events)
	f.same("retries", f.waiting(), 1)
}

func idempotency(key, result string) *store.Idempotency {
	i := &store.Idempotency{Scope: scopeA, Generation: 1, Key: key, Hash: hash("request"), Created: start}
	if result != "" {
		i.Result = []byte(result)
	}
	return i
}

func (f *fixture) testIdempotency() {
	send := func(change func(i *store.Idempotency)) *store.Submission {
		f.Helper()
		i := idempotency("k", "evt_1")
		i.Created = f.now
		change(i)
		s := &store.Submission{Events: []*event.Event{f.event(draft{})}, Idempotency: i}
		b := f.batch()
		b.Submissions = []*store.Submission{s}
		f.commit(b)
		return s
	}
	count := func(want int) {
		f.Helper()
		f.same("events", len(f.log()), want)
	}
	if s := send(func(*store.Idempotency) {}); s.Replayed || s.Err != nil {
		f.Fatalf("first use: replayed %v, %v", s.Replayed, s.Err)
	}
	s := send(func(i *store.Idempotency) { i.Result = []byte("evt_2") })
	f.same("replayed result", string(s.Result), "evt_1")
	f.same("replayed", s.Replayed, true)
	count(1)
	f.is(send(func(i *store.Idempotency) { i.Hash = hash("other") }).Err, store.ErrIdempotencyMismatch)
	count(1)
	for _, other := range []func(i *store.Idempotency){
		func(i *store.Idempotency) { i.Scope = scopeB },
		func(i *store.Idempotency) { i.Generation = 2 },
		func(i *store.Idempotency) { i.Key, i.Result = "k2", nil },
	} {
		if s := send(other); s.Replayed || s.Err != nil {
			f.Fatalf("another key: replayed %v, %v", s.Replayed, s.Err)
		}
	}
	count(4)

	got, err := f.s.Idempotent(f.ctx, scopeA, 1, "k", f.now)
	f.ok(err)
	want := idempotency("k", "evt_1")
	f.same("record", got, want)

	// Within one batch.
	b := f.batch()
	b.Submissions = []*store.Submission{
		{Events: []*event.Event{f.event(draft{})}, Idempotency: idempotency("same", "r")},
		{Events: []*event.Event{f.event(draft{})}, Idempotency: idempotency("same", "r")},
	}
	f.commit(b)
	f.same("replayed in one batch", b.Submissions[1].Replayed, true)
	count(5)

	f.now = start.Add(store.IdempotencyWindow)
	f.same("replayed on the last moment", send(func(*store.Idempotency) {}).Replayed, true)
	f.now = f.now.Add(time.Millisecond)
	_, err = f.s.Idempotent(f.ctx, scopeA, 1, "k", f.now)
	f.is(err, store.ErrNotFound)
	if s := send(func(i *store.Idempotency) { i.Hash = hash("other") }); s.Replayed || s.Err != nil {
		f.Fatalf("forgotten key: replayed %v, %v", s.Replayed, s.Err)
	}
	count(6)
	got, err = f.s.Idempotent(f.ctx, scopeA, 1, "k", f.now)
	f.ok(err)
	f.same("hash of the record", got.Hash, hash("other"))
}

func (f *fixture) due(p store.DueParams) []store.Retry {
	f.Helper()
	found, err := f.s.DueRetries(f.ctx, p)
	f.ok(err)
	var all []store.Retry
	for _, d := range found {
		f.same("event of a retry", d.Event.Seq, d.Seq)
		if len(d.Event.Payload) == 0 || len(d.Event.Routes) == 0 {
			f.Fatal("a due retry's event is incomplete")
		}
		all = append(all, d.Retry)
	}
	return all
}

func (f *fixture) testRetries() {
	parked := []event.Route{{Subscription: 1, Disposition: event.Parked}, {Subscription: 2}}
	a, b, c := f.event(draft{routes: parked, size: 1000}), f.event(draft{routes: parked, size: 1000}), f.event(draft{routes: parked, size: 1000})
	f.accept(a, b, c)
	f.same("parked", f.waiting(), 3)
	t := f.now
	late := retryOf(a, 1, 0, 2, t.Add(time.Hour))
	f.attempted(nil, late, retryOf(c, 2, 0, 0, t.Add(time.Minute))) // replaces a's
	f.same("waiting", f.waiting(), 4)
	bb, cc := retryOf(b, 1, 0, 0, t), retryOf(c, 1, 0, 0, t)
	f.same("due now", f.due(store.DueParams{Subscription: 1, Before: t, Limit: 10}), []store.Retry{bb, cc})
	f.same("due later", f.due(store.DueParams{Subscription: 1, Before: t.Add(time.Hour), Limit: 10}), []store.Retry{bb, cc, late})
	f.same("limit", f.due(store.DueParams{Subscription: 1, Before: t, Limit: 1}), []store.Retry{bb})
	f.same("bytes: at least one", f.due(store.DueParams{Subscription: 1, Before: t, Limit: 9, MaxBytes: 1}), []store.Retry{bb})
	f.same("bytes", f.due(store.DueParams{Subscription: 1, Before: t.Add(time.Hour), Limit: 9, MaxBytes: 1500}), []store.Retry{bb, cc})
	f.same("going on", f.due(store.DueParams{Subscription: 1, Before: t.Add(time.Hour), After: t, AfterSeq: c.Seq, Limit: 9}), []store.Retry{cc, late})
	f.same("going on later", f.due(store.DueParams{Subscription: 1, Before: t.Add(time.Hour), After: t.Add(time.Millisecond), Limit: 9}), []store.Retry{late})
	f.same("nothing due", f.due(store.DueParams{Subscription: 2, Before: t, Limit: 9}), []store.Retry(nil))

	waiting, err := f.s.WaitingSubscriptions(f.ctx)
	f.ok(err)
	byID := map[int64]store.Waiting{}
	for _, w := range waiting {
		byID[w.Subscription] = w
	}
	f.same("waiting subscriptions", byID, map[int64]store.Waiting{
		1: {Subscription: 1, Count: 3, First: t}, 2: {Subscription: 2, Count: 1, First: t.Add(time.Minute)},
	})
	next := func(sub int64, after, want time.Time) {
		f.Helper()
		got, err := f.s.NextRetry(f.ctx, sub, after)
		f.ok(err)
		f.same("next retry", got, want)
	}
	next(1, t, late.Next)
	next(1, t.Add(-time.Second), t)
	next(1, late.Next, time.Time{})
	next(9, t, time.Time{})

	drop := f.batch()
	drop.RetryDelete = []store.RetryKey{bb.RetryKey, {Scope: scopeB, Seq: c.Seq, Subscription: 1}, {Scope: scopeA, Seq: c.Seq, Subscription: 1, Run: 3}}
	f.commit(drop)
	f.same("after deletion", f.due(store.DueParams{Subscription: 1, Before: t, Limit: 10}), []store.Retry{cc})

	resend := f.batch()
	run := retryOf(b, 2, 77, 0, t)
	resend.Submissions = []*store.Submission{{Retries: []store.Retry{run}, Idempotency: idempotency("resend", "r")}}
	f.commit(resend)
	f.commit(resend) // replayed: not made twice
	f.same("replayed", resend.Submissions[0].Replayed, true)
	f.same("resend", f.due(store.DueParams{Subscription: 2, Before: t, Limit: 10}), []store.Retry{run})
}

func (f *fixture) testAttempts() {
	e := f.accepted(draft{routes: dispatch(1, 2)})
	first, second := f.try(e, 1, 1, event.FailedRetry), f.try(e, 1, 2, event.Delivered)
	f.attempted([]*event.Attempt{first}, retryOf(e, 1, 0, 1, f.now))
	again := *first
	again.Status = 1 // what is written stays
	f.attempted([]*event.Attempt{&again, second})
	got, err := f.s.Attempts(f.ctx, scopeA, e.Seq, 1)
	f.ok(err)
	f.same("attempts", got, []*event.Attempt{first, second})
	got, err = f.s.Attempts(f.ctx, scopeA, e.Seq, 2)
	f.ok(err)
	f.same("attempts", len(got), 0)
	for _, k := range []struct {
		scope event.Scope
		seq   event.Seq
		sub   int64
	}{{scopeB, e.Seq, 1}, {scopeA, e.Seq + 1, 1}, {scopeA, e.Seq, 3}} {
		_, err = f.s.Attempts(f.ctx, k.scope, k.seq, k.sub)
		f.is(err, store.ErrNotFound)
	}
}

// Within a run the number decides, and a discard is last; the clock may jump.
func (f *fixture) testAttemptOrder() {
	e := f.accepted(draft{routes: dispatch(1)})
	at := func(n, run, second int, o event.Outcome) *event.Attempt {
		a := f.try(e, 1, n, o)
		a.Run, a.Started = run, start.Add(time.Duration(second)*time.Second)
		return a
	}
	want := []*event.Attempt{at(1, 0, 10, event.FailedRetry), at(1, 5, 20, event.FailedFinal), at(2, 0, 30, event.FailedRetry), at(3, 0, 5, event.FailedRetry), at(0, 0, 6, event.WasDiscarded)}
	f.attempted(reversed(want))
	got, err := f.s.Attempts(f.ctx, scopeA, e.Seq, 1)
	f.ok(err)
	f.same("attempts", got, want)
	f.same("delivery", f.deliveries(store.ListDeliveries{})[0].State, event.StateDiscarded)
}

// One committer commits while others read and change destinations: each read
// sees whole batches, and everything committed before it began.
func (f *fixture) testConcurrent() {
	const batches, size = 30, 7
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for seen := 0; ; {
				n := 0
				all, err := f.s.EventsAfter(f.ctx, store.AfterParams{UpTo: 1<<63 - 1, Limit: 1 << 20})
				if n = len(all); err != nil || n%size != 0 || n < seen {
					f.Errorf("read %d events after %d: %v", n, seen, err)
					return
				}
				seen = n
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 5 {
			if err := f.s.CreateDestination(f.ctx, newDestination(scopeB, string(rune('a'+i))), nil); err != nil {
				f.Errorf("create destination: %v", err)
			}
		}
	})
	for range batches {
		b := f.batch()
		s := new(store.Submission)
		for range size {
			s.Events = append(s.Events, f.event(draft{}))
		}
		b.Submissions = []*store.Submission{s}
		for {
			_, version, err := f.s.ChangedDestinations(f.ctx, 0)
			f.ok(err)
			b.ConfigVersion = version
			if err = f.s.Commit(f.ctx, b); err == nil {
				break
			}
			f.is(err, store.ErrStaleRoutes)
		}
	}
	close(done)
	wg.Wait()
	f.same("events", len(f.log()), batches*size)
}

func (f *fixture) testCancelled() {
	for range 3 {
		f.accepted(draft{routes: dispatch(1)})
	}
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.s.ListEvents(ctx, store.ListEvents{Scope: scopeA, Limit: 1})
	f.is(err, context.Canceled)
	_, err = f.s.ListDeliveries(ctx, store.ListDeliveries{Scope: scopeA, Limit: 1})
	f.is(err, context.Canceled)
	_, err = f.s.EventsAfter(ctx, store.AfterParams{UpTo: 1<<63 - 1, Limit: 1})
	f.is(err, context.Canceled)
	f.same("events after cancelled reads", len(f.log()), 3)
}
