package storetest

import (
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func (f *fixture) testScanDeliveries() {
	var all []*event.Event
	for i := range 30 {
		d := draft{routes: dispatch(1, 2), object: "in_1"}
		switch i % 3 {
		case 1:
			d.typ = "invoice.paid"
		case 2:
			d.scope, d.routes = scopeB, dispatch(1)
		}
		e := f.accepted(d)
		all = append(all, e)
		f.now = f.now.Add(time.Second)
	}
	f.attempted([]*event.Attempt{f.try(all[3], 1, 1, event.FailedFinal), f.try(all[4], 1, 1, event.Delivered)})
	last := all[len(all)-1].Seq

	scan := func(p store.ScanDeliveries) (seqs []event.Seq) {
		f.Helper()
		p.Scope, p.Subscription, p.Limit = scopeA, 1, 4
		for p.After < p.UpTo {
			found, upTo, err := f.s.ScanDeliveries(f.ctx, p)
			f.ok(err)
			for _, d := range found {
				seqs = append(seqs, d.Seq)
				f.same("object", d.ObjectID, "in_1")
			}
			if upTo <= p.After {
				f.Fatalf("the scan stands still at %d", upTo)
			}
			p.After = upTo
		}
		f.same("end", p.After, p.UpTo)
		return seqs
	}
	those := func(which func(i int, e *event.Event) bool) (seqs []event.Seq) {
		for i, e := range all {
			if e.Scope == scopeA && which(i, e) {
				seqs = append(seqs, e.Seq)
			}
		}
		return seqs
	}
	f.same("all", scan(store.ScanDeliveries{UpTo: last}), those(func(int, *event.Event) bool { return true }))
	f.same("part", scan(store.ScanDeliveries{After: all[3].Seq, UpTo: all[9].Seq}), those(func(i int, _ *event.Event) bool { return i > 3 && i <= 9 }))
	paid := those(func(_ int, e *event.Event) bool { return e.Type == "invoice.paid" })
	f.same("type", scan(store.ScanDeliveries{UpTo: last, Types: []string{"x", "invoice.paid"}}), paid)
	f.same("types", scan(store.ScanDeliveries{UpTo: last, Types: []string{"invoice.p*"}}), paid)
	f.same("created", scan(store.ScanDeliveries{UpTo: last, CreatedFrom: all[6].Created, CreatedTo: all[10].Created}),
		those(func(i int, _ *event.Event) bool { return i >= 6 && i <= 10 }))
	found, _, err := f.s.ScanDeliveries(f.ctx, store.ScanDeliveries{Scope: scopeA, Subscription: 1, After: all[2].Seq, UpTo: all[4].Seq, Limit: 9})
	f.ok(err)
	f.same("states", []event.State{found[0].State, found[1].State}, []event.State{event.StateFailed, event.StateDelivered})
}

// Replays have negative runs, numbered by the same sequence as events.
func (f *fixture) testReplayRuns() {
	e := f.accepted(draft{routes: dispatch(1)})
	f.attempted([]*event.Attempt{f.try(e, 1, 1, event.FailedFinal)})
	due := func(limit int) int {
		n, err := f.s.CountDue(f.ctx, 1, f.now, limit)
		f.ok(err)
		return n
	}
	f.same("due before", due(10), 0)
	var retries []store.Retry
	for range 3 {
		retries = append(retries, retryOf(e, 1, -int(f.event(draft{}).Seq), 0, f.now))
	}
	retries = append(retries, retryOf(e, 1, -int(f.event(draft{}).Seq), 1, f.now.Add(time.Minute)))
	b := f.batch()
	id := idempotency("replay/1", "placed")
	id.Generation = 0
	b.Submissions = []*store.Submission{{Retries: retries, Idempotency: id}}
	f.commit(b)
	f.same("due", due(10), 3)
	f.same("due, as far as asked", due(2), 2)
	got, err := f.s.DueRetries(f.ctx, store.DueParams{Subscription: 1, Before: f.now, Limit: 10})
	f.ok(err)
	f.same("first run", got[0].Run < 0, true)

	b = f.batch()
	again := idempotency("replay/1", "other")
	again.Generation = 0
	b.Submissions = []*store.Submission{{Retries: []store.Retry{retryOf(e, 1, -int(f.event(draft{}).Seq), 0, f.now)}, Idempotency: again}}
	f.commit(b)
	f.same("replayed", b.Submissions[0].Replayed, true)
	f.same("result", string(b.Submissions[0].Result), "placed")
	f.same("due", due(10), 3)

	done := f.try(e, 1, 1, event.Delivered)
	done.Run = got[0].Run
	b = f.batch()
	b.Attempts, b.RetryDelete = []*event.Attempt{done}, []store.RetryKey{got[0].RetryKey}
	f.commit(b)
	f.same("due", due(10), 2)
	f.same("state", f.deliveries(store.ListDeliveries{Scope: scopeA})[0].State, event.StateDelivered)
}
