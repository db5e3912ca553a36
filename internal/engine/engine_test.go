package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/target"
)

func TestDeliversOnceAndRemembers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, accept, retry.None())
	f.subscribe(2, accept, retry.None())
	e, stop := f.start(engine.Options{})
	events := f.publish(e, 500)
	f.await(1000)
	stop()
	e, stop = f.start(engine.Options{})
	more := f.publish(e, 1) // arrives after anything that the restart sends again
	f.await(2)
	stop()
	f.once(1, append(events, more...))
	f.once(2, append(events, more...))
	if n := f.deliveries(event.StateDelivered); n != 1002 {
		t.Errorf("%d deliveries are shown as delivered, want 1002", n)
	}
}

func TestOverflowIsReadFromTheLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gate := make(chan struct{})
	f.subscribe(1, until(gate), retry.None())
	f.subscribe(2, accept, retry.None())
	e, _ := f.start(engine.Options{MaxQueue: 50, MaxInFlight: 4})
	events := f.publish(e, 3000)
	f.await(3000) // the second destination has all of them while the first hangs
	if d := e.Depth(time.Now()); d.Queued > 50 {
		t.Errorf("%d deliveries are queued, want at most 50", d.Queued)
	}
	close(gate)
	f.await(3000)
	f.once(1, events)
	f.once(2, events)
}

func TestMoreLaggardsThanReadersArePaidForInParking(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gate := make(chan struct{})
	const subs = 12
	for id := range subs {
		f.subscribe(int64(id+1), until(gate), retry.None())
	}
	e, _ := f.start(engine.Options{MaxQueue: 10, MaxInFlight: 2})
	events := f.publish(e, 300)
	close(gate)
	f.await(300 * subs)
	for id := range subs {
		f.once(int64(id+1), events)
	}
}

func TestWhatWaitsTooLongIsParkedAndStillSent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gate := make(chan struct{})
	f.subscribe(1, until(gate), retry.None())
	e, _ := f.start(engine.Options{MaxQueue: 40, MaxInFlight: 2, MaxWait: 20 * time.Millisecond})
	events := f.publish(e, 1000)
	f.eventually("all but what is being sent or queued is in the retry table", func() bool {
		b, err := f.db.Backlog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return b.Retries >= 1000-42
	})
	close(gate)
	f.await(1000)
	f.once(1, events)
}

func TestFailingDestinationHoldsNoMemoryAndRecovers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var mended sync.Map
	f.subscribe(1, func(ctx context.Context, m target.Message) target.Result {
		if _, ok := mended.Load("yes"); ok {
			return accept(ctx, m)
		}
		return refuse(ctx, m)
	}, retry.Policy{Delays: []time.Duration{50 * time.Millisecond, 50 * time.Millisecond, time.Hour}})
	f.subscribe(2, accept, retry.None())
	e, _ := f.start(engine.Options{})
	events := f.publish(e, 200)
	f.await(200)
	f.eventually("the failing destination's events leave memory", func() bool {
		return e.Depth(time.Now()).Queued <= 4
	})
	events = append(events, f.publish(e, 800)...)
	f.await(800)
	if d := e.Depth(time.Now()); d.Queued > 8 {
		t.Errorf("%d deliveries are queued for a destination that keeps failing", d.Queued)
	}
	if stalled := e.Stalled(time.Now().Add(time.Hour)); stalled > 0 {
		t.Errorf("a customer's failing destination counts as a stall of %v", stalled)
	}
	mended.Store("yes", true)
	f.eventually("what was parked is delivered, but for what waits an hour", func() bool {
		return f.deliveries(event.StateDelivered) >= 1600
	})
	f.once(2, events)
}

func TestTakeoverSendsWhatWasUndone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	closed := make(chan struct{})
	f.subscribe(1, until(closed), retry.None())
	old, _ := f.start(engine.Options{MaxQueue: 64, MaxInFlight: 4})
	events := f.publish(old, 1000)

	f.mu.Lock()
	f.plays["https://example.com/1"] = accept
	f.mu.Unlock()
	young, _ := f.start(engine.Options{MaxQueue: 64})
	f.await(1000)
	f.once(1, events)

	_, err := old.Publish(t.Context(), engine.Publish{Scope: scope, Drafts: []*event.Draft{draft(1)}})
	if !errors.Is(err, store.ErrFenced) {
		t.Errorf("the old owner's publish: %v, want %v", err, store.ErrFenced)
	}
	select {
	case err := <-old.Fatal():
		if !errors.Is(err, store.ErrFenced) {
			t.Errorf("fatal: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the old owner does not report that it lost the lane")
	}
	f.publish(young, 1)
	f.await(1)
}

func TestRecoveryFindsTheFewAmongTheMany(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	closed := make(chan struct{})
	f.subscribe(1, until(closed), retry.None())
	f.subscribe(2, until(closed), retry.None())
	f.subs[1].Types = []string{"rare"}
	old, _ := f.start(engine.Options{MaxQueue: 64, MaxInFlight: 4})
	events := f.publish(old, 2500)
	rare, err := old.Publish(t.Context(), engine.Publish{Scope: scope, Drafts: []*event.Draft{{Type: "rare", Object: []byte(`{}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	events = append(append(events, rare...), f.publish(old, 500)...)

	f.mu.Lock()
	f.plays["https://example.com/1"] = accept
	f.plays["https://example.com/2"] = accept
	f.mu.Unlock()
	f.start(engine.Options{MaxQueue: 64})
	f.await(len(events) + 1)
	f.once(1, events)
	f.once(2, rare)
}

func TestStoreOutageLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gate := make(chan struct{})
	f.subscribe(1, until(gate), retry.None())
	e, _ := f.start(engine.Options{MaxInFlight: 8})
	events := f.publish(e, 100)
	f.store.broken.Store(true)
	if _, err := e.Publish(t.Context(), engine.Publish{Scope: scope, Drafts: []*event.Draft{draft(1)}}); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("publish while the store is down: %v, want %v", err, store.ErrUnavailable)
	}
	if e.Writable() == nil {
		t.Error("the engine calls itself writable")
	}
	close(gate) // outcomes come in that cannot be committed
	f.eventually("commits are tried", func() bool { return f.store.refused.Load() > 2 })
	if n := f.deliveries(event.StateDelivered); n != 0 {
		t.Errorf("%d deliveries are shown as delivered while nothing can be committed", n)
	}
	f.store.broken.Store(false)
	f.await(100)
	f.once(1, events)
	f.eventually("all are delivered", func() bool { return f.deliveries(event.StateDelivered) == 100 })
	if e.Writable() != nil {
		t.Error("the engine does not notice that the store is back")
	}
	page, err := f.db.ListEvents(t.Context(), store.ListEvents{Scope: scope, Kind: event.Snapshot, Limit: 1000})
	if err != nil || len(page.Items) != 100 {
		t.Errorf("%d events are stored (%v), want the 100 that were accepted", len(page.Items), err)
	}
}

func TestNothingIsRoutedByAnOldConfiguration(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, accept, retry.None())
	e, _ := f.start(engine.Options{})
	f.publish(e, 10)
	f.await(10)
	// The configuration changes, and nobody tells the engine.
	f.setStatus(nil, 1, event.Disabled)
	ev := f.publish(e, 1)[0]
	if len(ev.Routes) != 1 || !ev.Routes[0].Disposition.Discarded() {
		t.Errorf("routes %+v, want one that was discarded", ev.Routes)
	}
	f.setStatus(e, 1, event.Enabled)
	f.publish(e, 5)
	f.await(5)
}

func TestDisabledWhileWaiting(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, refuse, retry.Policy{Delays: []time.Duration{300 * time.Millisecond}})
	e, _ := f.start(engine.Options{})
	f.publish(e, 3)
	f.eventually("three wait", func() bool {
		b, err := f.db.Backlog(t.Context())
		return err == nil && b.Retries == 3
	})
	f.setStatus(e, 1, event.Disabled)
	f.eventually("their retries are stopped", func() bool { return f.deliveries(event.StateDiscarded) == 3 })
	f.setStatus(e, 1, event.Enabled)
	if n := f.deliveries(event.StatePending); n != 0 {
		t.Errorf("%d deliveries still wait", n)
	}
}

func TestDeletedDestinationsWaitingDeliveriesAreClosed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, refuse, retry.Policy{Delays: []time.Duration{24 * time.Hour}})
	e, _ := f.start(engine.Options{})
	f.publish(e, 20)
	f.eventually("twenty wait for tomorrow", func() bool {
		b, err := f.db.Backlog(t.Context())
		return err == nil && b.Retries == 20
	})
	f.setStatus(e, 1, event.Deleted)
	f.eventually("they are closed today", func() bool { return f.deliveries(event.StateDiscarded) == 20 })
}

func TestRedeliverIsARunOfItsOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, refuse, retry.Policy{Delays: []time.Duration{24 * time.Hour}})
	e, _ := f.start(engine.Options{})
	ev := f.publish(e, 1)[0]
	f.eventually("it waits", func() bool { return f.deliveries(event.StatePending) == 1 })
	for range 3 {
		if err := e.Redeliver(t.Context(), scope, ev.Seq, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	var attempts []*event.Attempt
	f.eventually("three more attempts", func() bool {
		var err error
		attempts, err = f.db.Attempts(t.Context(), scope, ev.Seq, 1)
		return err == nil && len(attempts) == 4
	})
	runs := map[int]bool{}
	for _, a := range attempts {
		runs[a.Run] = true
	}
	if len(runs) != 4 {
		t.Errorf("%d runs, want 4", len(runs))
	}
	if b, err := f.db.Backlog(t.Context()); err != nil || b.Retries != 1 {
		t.Errorf("%d retries wait (%v), want the scheduled one alone", b.Retries, err)
	}
}

func TestClientsIDs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, accept, retry.None())
	e, _ := f.start(engine.Options{})
	one := func(hash byte) *event.Draft {
		d := draft(1)
		d.ID, d.Hash = "evt_mine", [32]byte{hash}
		return d
	}
	publish := func(drafts ...*event.Draft) ([]*event.Event, error) {
		return e.Publish(t.Context(), engine.Publish{Scope: scope, Drafts: drafts})
	}
	first, err := publish(one(1), draft(2), one(1))
	if err != nil || first[0].Seq != first[2].Seq {
		t.Fatalf("a repeat in one request: %v, %v", first, err)
	}
	again, err := publish(one(1))
	if err != nil || again[0].Seq != first[0].Seq {
		t.Fatalf("a repeat: %v, %v", again, err)
	}
	if _, err := publish(draft(3), one(2)); !errors.Is(err, store.ErrEventMismatch) {
		t.Fatalf("other content: %v", err)
	}
	f.await(2)
	if n := f.deliveries(""); n != 2 {
		t.Errorf("%d deliveries, want 2: the conflict's request must not be half stored", n)
	}
}

func TestTwins(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, accept, retry.None())
	f.subscribe(2, accept, retry.None())
	f.subs[1].Kind, f.subs[1].Types = event.Thin, []string{"v1.order.paid"}
	e, _ := f.start(engine.Options{})
	d := draft(1)
	d.ObjectType = "order"
	events, err := e.Publish(t.Context(), engine.Publish{Scope: scope, Drafts: []*event.Draft{d}})
	if err != nil || len(events) != 1 {
		t.Fatalf("%v, %v", events, err)
	}
	f.await(2)
	page, err := f.db.ListEvents(t.Context(), store.ListEvents{Scope: scope, Kind: event.Thin, Limit: 10})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("%d thin events, %v", len(page.Items), err)
	}
	want := `"snapshot_event":"` + events[0].ID() + `"}`
	if got := string(page.Items[0].AppendFull(nil, 0)); got[len(got)-len(want):] != want {
		t.Errorf("the twin is %s, want it to end in %s", got, want)
	}
}
