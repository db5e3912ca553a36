package storetest

import (
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// retain does all that is due, in small steps.
func (f *fixture) retain(p store.Retain) {
	f.Helper()
	p.Limit = 3
	for more := true; more; {
		var err error
		more, err = f.s.Retain(f.ctx, p)
		f.ok(err)
	}
}

// What is old is folded into summaries, and what waits is kept however old it
// is.
func (f *fixture) testRetention() {
	many := []event.Route{{Subscription: 1}, {Subscription: 2}, {Subscription: 3}, {Subscription: 4, Disposition: event.DiscardedDisabled}, {Subscription: 5}}
	old := f.event(draft{routes: many, object: "in_1"})
	keyed := f.event(draft{id: "evt_mine", routes: dispatch(1)})
	b := f.batch()
	b.Submissions = []*store.Submission{{Events: []*event.Event{old}}, {
		Events: []*event.Event{keyed}, Keys: []store.EventKey{{ID: "evt_mine", Hash: hash("1")}}, Idempotency: idempotency("k", "r"),
	}}
	f.commit(b)
	for range 7 { // several steps
		f.accepted(draft{scope: scopeB, routes: dispatch(9)})
	}
	gone := f.try(old, 3, 2, event.WasDiscarded)
	f.attempted([]*event.Attempt{
		f.try(old, 1, 1, event.FailedRetry), f.try(old, 1, 2, event.Delivered), f.try(old, 2, 1, event.FailedFinal), gone, f.try(keyed, 1, 1, event.Delivered),
	}, retryOf(old, 5, 0, 3, f.now.Add(time.Hour)))
	day := f.now.Add(24 * time.Hour)
	f.now = day
	young := f.accepted(draft{routes: dispatch(1)})
	f.attempted([]*event.Attempt{f.try(young, 1, 1, event.Delivered)})
	settled := f.batch()
	settled.Watermark = f.seq
	f.commit(settled)

	states := func(seq event.Seq) map[int64]string {
		f.Helper()
		found, err := f.s.DeliveriesOf(f.ctx, scopeA, []event.Seq{seq})
		f.ok(err)
		byID := map[int64]string{}
		for _, d := range found {
			byID[d.Subscription] = string(d.State) + " " + d.Reason
		}
		return byID
	}
	attempts := func(sub int64, want int) {
		f.Helper()
		list, err := f.s.Attempts(f.ctx, scopeA, old.Seq, sub)
		f.ok(err)
		f.same("attempts", len(list), want)
	}
	want := states(old.Seq)
	f.same("before", want, map[int64]string{1: "delivered ", 2: "failed ", 3: "discarded " + event.ReasonDeleted, 4: "discarded " + event.ReasonDisabled, 5: "pending "})

	p := store.Retain{Attempts: day, Events: start.Add(-time.Hour), Summaries: start.Add(-time.Hour)}
	f.retain(p)
	f.same("without attempts", states(old.Seq), want)
	attempts(1, 0)
	f.same("young", states(young.Seq), map[int64]string{1: "delivered "})
	found, err := f.s.DeliveriesOf(f.ctx, scopeA, []event.Seq{old.Seq})
	f.ok(err)
	for _, d := range found {
		if d.Subscription == 1 && (d.Attempts != 2 || d.LastStatus != 200) {
			f.Fatalf("the summary tells of %d attempts, the last %d", d.Attempts, d.LastStatus)
		}
	}
	f.same("events", len(f.log()), 10)

	// A late try is seen as long as it is young, and folded afterwards.
	f.now = day.Add(time.Hour)
	late := f.try(old, 2, 1, event.Delivered)
	late.Run = 77
	f.attempted([]*event.Attempt{late})
	want[2] = "delivered "
	f.same("with a late attempt", states(old.Seq), want)
	attempts(2, 1)
	p.Attempts = f.now.Add(time.Hour)
	f.retain(p)
	f.same("after the late attempt", states(old.Seq), want)
	attempts(2, 0)

	p.Events = day
	f.retain(p)
	log := f.log()
	f.same("what waits and what is young", seqs(log), []event.Seq{old.Seq, young.Seq})
	_, err = f.s.Event(f.ctx, scopeA, "evt_mine")
	f.is(err, store.ErrNotFound)
	f.same("due", len(f.due(store.DueParams{Subscription: 5, Before: f.now.Add(48 * time.Hour), Limit: 9})), 1)

	done := f.batch()
	done.RetryDelete = []store.RetryKey{retryOf(old, 5, 0, 3, f.now).RetryKey}
	f.commit(done)
	f.retain(p)
	f.same("what is young", seqs(f.log()), []event.Seq{young.Seq})
	f.same("deliveries of a removed event", states(old.Seq), map[int64]string{})
	p.Summaries = day
	f.retain(p)
	f.same("the young one", states(young.Seq), map[int64]string{1: "delivered "})
}
