package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func (f *fixture) testFindEvent() {
	own := f.event(draft{})
	// A client's id may read exactly like the next one that Waybill gives out.
	disguise := f.seq.Next(f.now, 0).Next(f.now, 0).ID(false)
	mine := f.event(draft{id: disguise})
	next := f.event(draft{id: "evt_own"})
	b := f.batch()
	b.Submissions = []*store.Submission{{Events: []*event.Event{own}}, keyed(mine, "a"), keyed(next, "b")}
	f.commit(b)
	for _, e := range []*event.Event{own, mine, next} {
		got, err := f.s.Event(f.ctx, scopeA, e.ID())
		f.ok(err)
		f.same("event", got, e)
	}
	for _, id := range []string{"", "evt_", "evt_test_", "evt_mine", mine.Seq.ID(false), own.Seq.ID(true), (f.seq + 1).ID(false), "evt_test_zzzzzzzzzzz"} {
		_, err := f.s.Event(f.ctx, scopeA, id)
		f.is(err, store.ErrNotFound)
	}
	got, err := f.s.EventsBySeq(f.ctx, scopeA, []event.Seq{next.Seq, 5, own.Seq, next.Seq})
	f.ok(err)
	f.same("events by number", got, []*event.Event{next, own, next})
	got, err = f.s.EventsBySeq(f.ctx, scopeA, nil)
	f.ok(err)
	f.same("no events", len(got), 0)
}

func (f *fixture) events(p store.ListEvents) store.Page[*event.Event] {
	f.Helper()
	if p.Scope == 0 {
		p.Scope = scopeA
	}
	if p.Limit == 0 {
		p.Limit = 100
	}
	got, err := f.s.ListEvents(f.ctx, p)
	f.ok(err)
	return got
}

// Pages in both directions, over more events than any driver reads at once,
// most of which are not asked for.
func (f *fixture) testListEvents() {
	var want []*event.Event
	for i := range 900 {
		d := draft{scope: []event.Scope{scopeA, scopeB}[i%2], typ: "noise", object: fmt.Sprint("o", i%14)}
		if i%90 == 0 {
			d.typ = "signal"
		}
		e := f.event(d)
		if d.typ == "signal" {
			want = append(want, e)
		}
		f.accept(e)
	}
	wanted := reversed(seqs(want))
	p := store.ListEvents{Kind: event.Snapshot, Types: []string{"signal"}, Limit: 3}
	var got []event.Seq
	for more := true; more; {
		found := f.events(p)
		got = append(got, seqs(found.Items)...)
		more = found.More
		if more {
			p.Older = found.Items[len(found.Items)-1].Seq
		}
	}
	f.same("downwards", got, wanted)

	got, p.Older, p.Newer = nil, 0, wanted[len(wanted)-1]
	for more := true; more; {
		found := f.events(p)
		got = append(seqs(found.Items), got...)
		more = found.More
		p.Newer = got[0]
	}
	f.same("upwards", got, wanted[:len(wanted)-1])
	p.Newer = wanted[0]
	f.same("nothing newer", f.events(p), store.Page[*event.Event]{})
	p.Newer, p.Limit = 0, len(wanted)
	f.same("a page that just fits", f.events(p).More, false)

	// Together the objects have every event: none may fall between two chunks.
	for _, newer := range []event.Seq{0, 1} {
		found := 0
		for i := 0; i < 14; i += 2 {
			found += len(f.events(store.ListEvents{ObjectID: fmt.Sprint("o", i), Newer: newer}).Items)
		}
		f.same("events of all objects", found, 450)
	}
}

func (f *fixture) testListEventsFilters() {
	at := func(d draft, after time.Duration) *event.Event {
		d.created = start.Add(after)
		d.routes = append(d.routes, dispatch(9)...)
		return f.accepted(d)
	}
	a := at(draft{typ: "invoice.paid", object: "in_1"}, 0)
	b := at(draft{typ: "invoice.voided", object: "in_2", routes: dispatch(1)}, -time.Hour)
	c := at(draft{typ: "invoicé.paid"}, time.Millisecond)
	d := at(draft{typ: "v1.invoice.paid", object: "in_1", kind: event.Thin}, 5*time.Minute)
	g := at(draft{typ: "a%_*b", routes: []event.Route{{Subscription: 2, Disposition: event.DiscardedDisabled}}}, time.Second)
	f.attempted([]*event.Attempt{
		f.try(a, 9, 1, event.Delivered), f.try(b, 9, 1, event.Delivered), f.try(b, 1, 1, event.FailedFinal),
		f.try(d, 9, 1, event.FailedRetry), f.try(g, 9, 1, event.Delivered),
	}, retryOf(d, 9, 0, 1, f.now))
	yes, no := true, false
	for name, tt := range map[string]struct {
		p    store.ListEvents
		want []*event.Event
	}{
		"all":             {store.ListEvents{}, []*event.Event{g, d, c, b, a}},
		"kind":            {store.ListEvents{Kind: event.Snapshot}, []*event.Event{g, c, b, a}},
		"thin":            {store.ListEvents{Kind: event.Thin}, []*event.Event{d}},
		"type":            {store.ListEvents{Types: []string{"invoice.paid"}}, []*event.Event{a}},
		"types":           {store.ListEvents{Types: []string{"invoice.paid", "none", "v1.*"}}, []*event.Event{d, a}},
		"prefix":          {store.ListEvents{Types: []string{"invoice.*"}}, []*event.Event{b, a}},
		"wide prefix":     {store.ListEvents{Types: []string{"invoicé*"}}, []*event.Event{c}},
		"literal prefix":  {store.ListEvents{Types: []string{"a%_**"}}, []*event.Event{g}},
		"no wildcard":     {store.ListEvents{Types: []string{"a%*c*"}}, nil},
		"star":            {store.ListEvents{Types: []string{"*"}}, []*event.Event{g, d, c, b, a}},
		"object":          {store.ListEvents{ObjectID: "in_1"}, []*event.Event{d, a}},
		"object and kind": {store.ListEvents{ObjectID: "in_1", Kind: event.Snapshot}, []*event.Event{a}},
		"from":            {store.ListEvents{CreatedFrom: start}, []*event.Event{g, d, c, a}},
		"from within ms":  {store.ListEvents{CreatedFrom: start.Add(1)}, []*event.Event{g, d, c}},
		"to":              {store.ListEvents{CreatedTo: start}, []*event.Event{b, a}},
		"between":         {store.ListEvents{CreatedFrom: start, CreatedTo: start.Add(time.Second)}, []*event.Event{g, c, a}},
		"far future":      {store.ListEvents{CreatedFrom: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		"before the seq":  {store.ListEvents{CreatedFrom: start.Add(5 * time.Minute)}, []*event.Event{d}},
		"long ago":        {store.ListEvents{CreatedFrom: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)}, []*event.Event{g, d, c, b, a}},
		"undelivered":     {store.ListEvents{Undelivered: &yes}, []*event.Event{d, c, b}},
		"delivered":       {store.ListEvents{Undelivered: &no}, []*event.Event{g, a}},
	} {
		f.same(name, f.events(tt.p), store.Page[*event.Event]{Items: tt.want})
	}
	f.same("undelivered, paged", f.events(store.ListEvents{Undelivered: &yes, Limit: 2}), store.Page[*event.Event]{Items: []*event.Event{d, c}, More: true})
	f.same("undelivered, paged up", f.events(store.ListEvents{Undelivered: &yes, Limit: 1, Newer: b.Seq}), store.Page[*event.Event]{Items: []*event.Event{c}, More: true})
	f.same("between cursors", f.events(store.ListEvents{Newer: a.Seq, Older: d.Seq}), store.Page[*event.Event]{Items: []*event.Event{c, b}})
}

func (f *fixture) deliveries(p store.ListDeliveries) []*event.Delivery {
	f.Helper()
	if p.Scope == 0 {
		p.Scope = scopeA
	}
	p.Limit = 100
	got, err := f.s.ListDeliveries(f.ctx, p)
	f.ok(err)
	f.same("more", got.More, false)
	return got.Items
}

// Every way into every state, one event each.
func (f *fixture) testDeliveryStates() {
	later := start.Add(48 * time.Hour)
	run := func(n int, a *event.Attempt) *event.Attempt { a.Run = n; return a }
	for _, tt := range []struct {
		name  string
		at    event.Disposition
		tries func(e *event.Event) ([]*event.Attempt, []store.Retry)
		want  event.Delivery
	}{
		{"accepted", event.Dispatch, nil, event.Delivery{State: event.StatePending}},
		{"parked", event.Parked, nil, event.Delivery{State: event.StatePending, Next: start}},
		{"disabled", event.DiscardedDisabled, nil, event.Delivery{State: event.StateDiscarded, Reason: event.ReasonDisabled}},
		{"disabled, resent", event.DiscardedDisabled, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return nil, []store.Retry{retryOf(e, 1, 4, 0, later)}
		}, event.Delivery{State: event.StatePending, Next: later}},
		{"delivered", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.Delivered)}, nil
		}, event.Delivery{State: event.StateDelivered, Attempts: 1, LastStatus: 200}},
		{"delivered, resent", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.Delivered), run(3, f.try(e, 1, 1, event.FailedFinal))}, []store.Retry{retryOf(e, 1, 4, 0, later)}
		}, event.Delivery{State: event.StateDelivered, Attempts: 2, LastStatus: 503, LastClass: event.ClassStatus}},
		{"retrying", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.FailedRetry)}, []store.Retry{retryOf(e, 1, 0, 1, later), retryOf(e, 1, 2, 0, later.Add(-time.Hour))}
		}, event.Delivery{State: event.StatePending, Next: later.Add(-time.Hour), Attempts: 1, LastStatus: 503, LastClass: event.ClassStatus}},
		{"in hand", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.FailedRetry)}, nil
		}, event.Delivery{State: event.StatePending, Attempts: 1, LastStatus: 503, LastClass: event.ClassStatus}},
		{"failed", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.FailedRetry), f.try(e, 1, 2, event.FailedFinal)}, nil
		}, event.Delivery{State: event.StateFailed, Attempts: 2, LastStatus: 503, LastClass: event.ClassStatus}},
		{"dead-lettered", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.FailedRetry), f.try(e, 1, 2, event.DeadLettered)}, nil
		}, event.Delivery{State: event.StateDeadLettered, Attempts: 2, LastStatus: 503, LastClass: event.ClassStatus}},
		{"dead-lettered, resent well", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.DeadLettered), run(6, f.try(e, 1, 1, event.Delivered))}, nil
		}, event.Delivery{State: event.StateDelivered, Attempts: 2, LastStatus: 200}},
		{"dead-lettered, then failed", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.DeadLettered), run(6, f.try(e, 1, 1, event.FailedFinal))}, nil
		}, event.Delivery{State: event.StateFailed, Attempts: 2, LastStatus: 503, LastClass: event.ClassStatus}},
		{"failed, resent", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.FailedFinal)}, []store.Retry{retryOf(e, 1, 6, 0, later)}
		}, event.Delivery{State: event.StatePending, Next: later, Attempts: 1, LastStatus: 503, LastClass: event.ClassStatus}},
		{"failed, resent well", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.FailedFinal), run(6, f.try(e, 1, 1, event.Delivered))}, nil
		}, event.Delivery{State: event.StateDelivered, Attempts: 2, LastStatus: 200}},
		{"discarded", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 1, event.FailedRetry), f.try(e, 1, 0, event.WasDiscarded)}, nil
		}, event.Delivery{State: event.StateDiscarded, Reason: event.ReasonDeleted, Attempts: 1, LastStatus: 503, LastClass: event.ClassStatus}},
		{"discarded, then failed", event.Dispatch, func(e *event.Event) ([]*event.Attempt, []store.Retry) {
			return []*event.Attempt{f.try(e, 1, 0, event.WasDiscarded), run(2, f.try(e, 1, 1, event.FailedFinal))}, nil
		}, event.Delivery{State: event.StateFailed, Attempts: 1, LastStatus: 503, LastClass: event.ClassStatus}},
	} {
		scope := event.NewScope(int64(f.made+1), false)
		f.now = start
		e := f.accepted(draft{scope: scope, routes: []event.Route{{Subscription: 1, Disposition: tt.at}}})
		tt.want.Seq, tt.want.Subscription, tt.want.Scope, tt.want.EventID = e.Seq, 1, scope, e.ID()
		tt.want.EventType, tt.want.EventKind, tt.want.ObjectID, tt.want.Created = e.Type, e.Kind, e.ObjectID, e.Created
		if tt.tries != nil {
			attempts, retries := tt.tries(e)
			for _, a := range attempts {
				if a.N > 0 {
					tt.want.LastAttempt = a.Started
				}
			}
			f.attempted(attempts, retries...)
		}
		want := []*event.Delivery{&tt.want}
		f.same(tt.name, f.deliveries(store.ListDeliveries{Scope: scope}), want)
		for _, state := range []event.State{event.StatePending, event.StateDelivered, event.StateFailed, event.StateDiscarded, event.StateDeadLettered} {
			var listed []*event.Delivery
			if state == tt.want.State {
				listed = want
			}
			f.same(tt.name+" among "+string(state), f.deliveries(store.ListDeliveries{Scope: scope, State: state}), listed)
			f.same(tt.name+" as "+string(state), f.deliveries(store.ListDeliveries{Scope: scope, State: state, Seq: e.Seq}), listed)
		}
	}
}

func (f *fixture) testListDeliveries() {
	var want []string
	var all []*event.Event
	for i := range 200 {
		d := draft{scope: scopeB, routes: dispatch(1, 2)}
		if i%4 == 0 {
			d = draft{routes: dispatch(2, 1, 3)}
		}
		e := f.accepted(d)
		all = append(all, e)
		if i%4 != 0 {
			continue
		}
		var attempts []*event.Attempt
		for _, sub := range []int64{1, 2, 3} {
			o := []event.Outcome{event.Delivered, event.FailedFinal, event.WasDiscarded}[sub-1]
			n := 1
			if o == event.WasDiscarded {
				n = 0
			}
			attempts = append(attempts, f.try(e, sub, n, o))
			want = append(want, event.DeliveryID(e.Seq, sub, false))
		}
		f.attempted(attempts)
	}
	slices.Reverse(want)
	b := f.batch()
	b.Watermark = all[len(all)-9].Seq
	f.commit(b)
	walk := func(p store.ListDeliveries) []string {
		f.Helper()
		p.Scope, p.Limit = scopeA, 7
		var ids []string
		for {
			got, err := f.s.ListDeliveries(f.ctx, p)
			f.ok(err)
			for _, d := range got.Items {
				ids = append(ids, d.ID())
				p.Older, p.OlderSub = d.Seq, d.Subscription
			}
			if !got.More {
				return ids
			}
			f.same("length of a full page", len(got.Items), p.Limit)
		}
	}
	only := func(sub int) []string {
		var ids []string
		for i := 3 - sub; i < len(want); i += 3 {
			ids = append(ids, want[i])
		}
		return ids
	}
	f.same("all", walk(store.ListDeliveries{}), want)
	f.same("one destination", walk(store.ListDeliveries{Subscription: 2}), only(2))
	f.same("delivered", walk(store.ListDeliveries{State: event.StateDelivered}), only(1))
	f.same("failed", walk(store.ListDeliveries{State: event.StateFailed}), only(2))
	f.same("failed of one", walk(store.ListDeliveries{State: event.StateFailed, Subscription: 2}), only(2))
	f.same("failed of another", walk(store.ListDeliveries{State: event.StateFailed, Subscription: 1}), []string(nil))
	f.same("discarded", walk(store.ListDeliveries{State: event.StateDiscarded}), only(3))
	f.same("pending", walk(store.ListDeliveries{State: event.StatePending}), []string(nil))
	f.same("one event", walk(store.ListDeliveries{Seq: all[8].Seq}), want[len(want)-9:len(want)-6])
	f.same("another scope's event", walk(store.ListDeliveries{Seq: all[9].Seq}), []string(nil))
	f.same("created", walk(store.ListDeliveries{CreatedFrom: all[4].Created, CreatedTo: all[8].Created}), want[len(want)-9:len(want)-3])

	var retries []store.Retry
	for i := 0; i < 160; i += 4 {
		retries = append(retries, retryOf(all[i], 2, 5, 0, f.now))
	}
	f.attempted(nil, retries...)
	unsettled := f.accepted(draft{routes: dispatch(1)})
	pending := append([]string{event.DeliveryID(unsettled.Seq, 1, false)}, only(2)[10:]...)
	f.same("pending", walk(store.ListDeliveries{State: event.StatePending}), pending)
	f.same("failed", walk(store.ListDeliveries{State: event.StateFailed}), only(2)[:10])
}

// Nothing of one scope is seen in another, by any verb.
func (f *fixture) testScopes() {
	b := f.batch()
	e := f.event(draft{id: "evt_mine", object: "o", routes: dispatch(1)})
	s := keyed(e, "a")
	s.Idempotency = idempotency("k", "r")
	b.Submissions = []*store.Submission{s}
	b.RetryPut = []store.Retry{retryOf(e, 1, 0, 1, f.now)}
	b.Attempts = []*event.Attempt{f.try(e, 1, 1, event.FailedFinal)}
	f.commit(b)
	d := newDestination(scopeA, "ed_1")
	f.ok(f.s.CreateDestination(f.ctx, d, nil))
	for _, scope := range []event.Scope{scopeB, event.NewScope(2, false)} {
		_, err := f.s.Event(f.ctx, scope, "evt_mine")
		f.is(err, store.ErrNotFound)
		_, err = f.s.Attempts(f.ctx, scope, e.Seq, 1)
		f.is(err, store.ErrNotFound)
		_, err = f.s.Idempotent(f.ctx, scope, 1, "k", f.now)
		f.is(err, store.ErrNotFound)
		_, err = f.s.Destination(f.ctx, scope, "ed_1")
		f.is(err, store.ErrNotFound)
		foreign := *d
		foreign.Scope = scope
		f.is(f.s.UpdateDestination(f.ctx, &foreign, nil), store.ErrNotFound)
		found, err := f.s.EventsBySeq(f.ctx, scope, []event.Seq{e.Seq})
		f.ok(err)
		numbers, err := f.s.DestinationsByNumber(f.ctx, scope, []int64{d.Number})
		f.ok(err)
		listed, err := f.s.ListDestinations(f.ctx, store.ListDestinations{Scope: scope, Limit: 9})
		f.ok(err)
		for name, n := range map[string]int{
			"events by number": len(found), "destinations by number": len(numbers), "destinations": len(listed.Items),
			"events":                len(f.events(store.ListEvents{Scope: scope}).Items),
			"events by object":      len(f.events(store.ListEvents{Scope: scope, ObjectID: "o"}).Items),
			"deliveries":            len(f.deliveries(store.ListDeliveries{Scope: scope})),
			"failed deliveries":     len(f.deliveries(store.ListDeliveries{Scope: scope, State: event.StateFailed})),
			"pending deliveries":    len(f.deliveries(store.ListDeliveries{Scope: scope, State: event.StatePending})),
			"an event's deliveries": len(f.deliveries(store.ListDeliveries{Scope: scope, Seq: e.Seq})),
		} {
			f.same(name, n, 0)
		}
	}
}
