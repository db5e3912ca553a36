package storetest

import (
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func (f *fixture) testHealth() {
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	failed := func(seq event.Seq, seconds int) store.Failure { return store.Failure{Event: seq, At: at(seconds)} }
	note := func(seen ...store.Health) []store.Health {
		f.Helper()
		known, err := f.s.NoteHealth(f.ctx, seen)
		f.ok(err)
		return known
	}
	known := note()
	f.same("nothing", known, []store.Health(nil))
	known = note(
		store.Health{Subscription: 2, LastSuccess: at(1), Failures: []store.Failure{failed(7, 3), failed(8, 5)}},
		store.Health{Subscription: 1, Failures: []store.Failure{failed(9, 2)}},
	)
	f.same("first", known, []store.Health{
		{Subscription: 2, LastSuccess: at(1), Failures: []store.Failure{failed(7, 3), failed(8, 5)}},
		{Subscription: 1, Failures: []store.Failure{failed(9, 2)}},
	})
	// Another node saw other events, and one of them earlier.
	known = note(store.Health{Subscription: 2, Failures: []store.Failure{failed(8, 2), failed(5, 4), failed(6, 6)}, Warned: at(9)})
	two := store.Health{Subscription: 2, LastSuccess: at(1), Failures: []store.Failure{failed(8, 2), failed(7, 3), failed(5, 4)}, Warned: at(9)}
	f.same("added", known, []store.Health{two})
	one := store.Health{Subscription: 1, Failures: []store.Failure{failed(9, 2)}}
	all := func(want ...store.Health) {
		f.Helper()
		got, err := f.s.Healths(f.ctx)
		f.ok(err)
		if len(got) == 2 && got[0].Subscription > got[1].Subscription {
			got[0], got[1] = got[1], got[0]
		}
		f.same("all", got, want)
	}
	all(one, two)
	note(store.Health{Subscription: 2, LastSuccess: at(3)})
	two.LastSuccess, two.Failures = at(3), []store.Failure{failed(5, 4)}
	all(one, two)
	note(store.Health{Subscription: 2, LastSuccess: at(10)}, store.Health{Subscription: 2, LastSuccess: at(8)})
	all(one, store.Health{Subscription: 2, LastSuccess: at(10)})
	f.ok(f.s.ForgetHealth(f.ctx, 1))
	f.ok(f.s.ForgetHealth(f.ctx, 1))
	all(store.Health{Subscription: 2, LastSuccess: at(10)})
}

func (f *fixture) testOrder() {
	park := func(sub, group int64) *event.Event {
		return f.event(draft{routes: []event.Route{{Subscription: sub, Disposition: event.Parked, Group: group}}})
	}
	due := func(group int64) []event.Seq {
		f.Helper()
		found, err := f.s.DueRetries(f.ctx, store.DueParams{Subscription: 1, Before: f.now, Ordered: true, Group: group, Limit: 10})
		f.ok(err)
		var seqs []event.Seq
		for _, d := range found {
			seqs = append(seqs, d.Seq)
		}
		return seqs
	}
	a1, a2, b1, none1, none2, other := park(1, 5), park(1, 5), park(1, 6), park(1, 0), park(1, 0), park(2, 5)
	f.accept(a1, a2, b1, none1, none2, other)
	a3 := park(1, 5)
	f.accept(a3)
	f.same("the first of each group, and what has none", due(0), seqs([]*event.Event{a1, b1, none1, none2}))
	f.same("the first of one", due(5), seqs([]*event.Event{a1}))
	f.same("of no group", due(7), []event.Seq(nil))

	// A failure keeps its place.
	later := retryOf(a1, 1, 0, 1, f.now.Add(time.Minute))
	later.Group = 5
	f.attempted([]*event.Attempt{f.try(a1, 1, 1, event.FailedRetry)}, later)
	f.same("while the first waits", due(0), seqs([]*event.Event{b1, none1, none2}))
	f.same("of its group", due(5), []event.Seq(nil))
	f.now = f.now.Add(time.Hour)
	f.same("once it is due", due(5), seqs([]*event.Event{a1}))

	done := func(e *event.Event) {
		f.Helper()
		b := f.batch()
		b.Attempts = []*event.Attempt{f.try(e, 1, 2, event.Delivered)}
		b.RetryDelete = []store.RetryKey{{Scope: e.Scope, Seq: e.Seq, Subscription: 1}}
		f.commit(b)
	}
	done(a1)
	f.same("the second", due(5), seqs([]*event.Event{a2}))
	done(a2)
	f.same("the third", due(5), seqs([]*event.Event{a3}))
	found, err := f.s.DueRetries(f.ctx, store.DueParams{Subscription: 1, Before: f.now, Limit: 10, Ordered: true, Group: 5})
	f.ok(err)
	if len(found) != 1 || found[0].Group != 5 {
		f.Fatalf("found %+v", found)
	}
}
