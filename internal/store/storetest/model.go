package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// model is what a store is in the plainest terms: lists that are searched from
// end to end.
type model struct {
	*fixture
	r *rand.Rand

	events       []*event.Event
	attempts     []*event.Attempt
	retries      []store.Retry
	keys         map[modelKey]*event.Event
	hashes       map[modelKey][32]byte
	records      map[modelKey]*store.Idempotency
	destinations []*store.Destination
	watermark    event.Seq
	checked      event.Seq // the log was compared up to here
}

type modelKey struct {
	scope event.Scope
	name  string
}

// testModel does random things to the store and to a model, and compares what
// both answer.
func (f *fixture) testModel() {
	const steps, checkEvery = 240, 8
	m := &model{
		fixture: f, r: rand.New(rand.NewPCG(20, 26)), //nolint:gosec // G404: a failure must be repeatable
		keys: map[modelKey]*event.Event{}, hashes: map[modelKey][32]byte{}, records: map[modelKey]*store.Idempotency{},
	}
	for i := range steps {
		m.now = m.now.Add(time.Duration(m.r.IntN(5000)) * time.Millisecond)
		if m.r.IntN(10) == 0 {
			m.changeDestination()
		} else {
			m.commitRandom()
		}
		if i%checkEvery == 0 || i == steps-1 {
			m.checkLog()
			m.checkEvents()
			m.checkDeliveries()
			m.checkRegistry()
		}
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func (m *model) scope() event.Scope { return pick(m.r, scopeA, scopeA, scopeB) }

func (m *model) randomEvent(scope event.Scope, id string) *event.Event {
	d := draft{
		scope: scope, id: id, typ: pick(m.r, "a.b", "a.c", "b.b"), object: pick(m.r, "", "o1", "o2"),
		kind: pick(m.r, event.Snapshot, event.Thin), created: m.now.Add(time.Duration(m.r.IntN(600_000)-300_000) * time.Millisecond),
	}
	for sub := range int64(4) {
		if m.r.IntN(2) == 0 {
			d.routes = append(d.routes, event.Route{Subscription: sub + 1, Disposition: event.Disposition(m.r.IntN(3))})
		}
	}
	return m.event(d)
}

func (m *model) commitRandom() {
	m.Helper()
	b := m.batch()
	for range m.r.IntN(3) {
		scope := m.scope()
		s := new(store.Submission)
		for range 1 + m.r.IntN(3) {
			id := ""
			if m.r.IntN(4) == 0 {
				id = fmt.Sprint("evt_mine", m.r.IntN(12))
				s.Keys = append(s.Keys, store.EventKey{Index: len(s.Events), ID: id, Hash: hash(pick(m.r, "x", "x", "x", "y"))})
			}
			s.Events = append(s.Events, m.randomEvent(scope, id))
		}
		if m.r.IntN(3) == 0 {
			s.Idempotency = &store.Idempotency{
				Scope: scope, Generation: 1, Key: fmt.Sprint(m.r.IntN(9)), Hash: hash(pick(m.r, "x", "y")),
				Result: []byte(s.Events[0].ID()), Created: m.now,
			}
		}
		b.Submissions = append(b.Submissions, s)
	}
	var wanted []func(s *store.Submission)
	for _, s := range b.Submissions {
		wanted = append(wanted, m.submit(s))
	}
	for range m.r.IntN(4) {
		if len(m.events) == 0 {
			break
		}
		m.attemptRandom(b)
	}
	b.Watermark = m.watermark
	m.commit(b)
	for i, check := range wanted {
		check(b.Submissions[i])
	}
}

// submit applies a submission and returns the test of what Commit says of it.
func (m *model) submit(s *store.Submission) func(*store.Submission) {
	want := store.Submission{}
	check := func(s *store.Submission) {
		m.Helper()
		m.is(s.Err, want.Err)
		m.same("replayed", s.Replayed, want.Replayed)
		m.same("result", s.Result, want.Result)
		m.same("existing", s.Existing, want.Existing)
	}
	i := s.Idempotency
	if i != nil {
		if known := m.records[modelKey{i.Scope, i.Key}]; known != nil {
			if want.Replayed = known.Hash == i.Hash; want.Replayed {
				want.Result = known.Result
			} else {
				want.Err = store.ErrIdempotencyMismatch
			}
			return check
		}
	}
	existing := map[int]event.Seq{}
	fresh := map[modelKey]store.EventKey{}
	for _, k := range s.Keys {
		at := modelKey{s.Events[k.Index].Scope, k.ID}
		if before, known := m.keys[at]; known {
			if m.hashes[at] != k.Hash {
				want.Err = store.ErrEventMismatch
			}
			existing[k.Index] = before.Seq
		} else if before, known := fresh[at]; known {
			if before.Hash != k.Hash {
				want.Err = store.ErrEventMismatch
			}
			existing[k.Index] = s.Events[before.Index].Seq
		} else {
			fresh[at] = k
		}
	}
	if want.Err != nil {
		return check
	}
	want.Existing = existing
	for at, k := range fresh {
		m.keys[at], m.hashes[at] = s.Events[k.Index], k.Hash
	}
	for n, e := range s.Events {
		if _, known := existing[n]; known {
			continue
		}
		m.events = append(m.events, e)
		for _, r := range e.Routes {
			if r.Disposition == event.Parked {
				m.putRetry(retryOf(e, r.Subscription, 0, 0, m.now))
			}
		}
	}
	if i != nil {
		m.records[modelKey{i.Scope, i.Key}] = i
	}
	return check
}

func (m *model) putRetry(r store.Retry) {
	m.dropRetry(r.RetryKey)
	m.retries = append(m.retries, r)
}

func (m *model) dropRetry(k store.RetryKey) {
	m.retries = slices.DeleteFunc(m.retries, func(r store.Retry) bool { return r.RetryKey == k })
}

// attemptRandom makes one more try of a route that is open, or resends one.
func (m *model) attemptRandom(b *store.Batch) {
	e := m.events[m.r.IntN(len(m.events))]
	if len(e.Routes) == 0 {
		return
	}
	route := e.Routes[m.r.IntN(len(e.Routes))]
	run, n := 0, 1
	if m.r.IntN(4) == 0 || route.Disposition.Discarded() {
		run = 1 + m.r.IntN(3)
	}
	for _, a := range m.attempts {
		if a.Seq == e.Seq && a.Subscription == route.Subscription && a.Run == run {
			if a.Outcome != event.FailedRetry {
				return // that run is over
			}
			n = a.N + 1
		}
	}
	k := store.RetryKey{Scope: e.Scope, Seq: e.Seq, Subscription: route.Subscription, Run: run}
	for _, put := range b.RetryPut {
		if put.RetryKey == k {
			return // one try a batch
		}
	}
	if m.r.IntN(5) == 0 { // only wait
		r := store.Retry{RetryKey: k, N: n - 1, Next: m.now.Add(time.Duration(m.r.IntN(20)) * time.Second)}
		b.RetryPut = append(b.RetryPut, r)
		m.putRetry(r)
		return
	}
	a := m.try(e, route.Subscription, n, event.Outcome(1+m.r.IntN(5)))
	a.Run = run
	if a.Outcome == event.WasDiscarded {
		a.N = 0
	}
	b.Attempts = append(b.Attempts, a)
	m.attempts = append(m.attempts, a)
	if a.Outcome == event.FailedRetry {
		r := store.Retry{RetryKey: k, N: n, Next: m.now.Add(time.Duration(m.r.IntN(20)) * time.Second)}
		b.RetryPut = append(b.RetryPut, r)
		m.putRetry(r)
	} else {
		b.RetryDelete = append(b.RetryDelete, k)
		m.dropRetry(k)
	}
	m.raiseWatermark()
}

// raiseWatermark moves it to the last event before the first undone one.
func (m *model) raiseWatermark() {
	for _, e := range m.events {
		if len(m.undone(e)) > 0 {
			return
		}
		m.watermark = max(m.watermark, e.Seq)
	}
}

func (m *model) undone(e *event.Event) []event.Route {
	var open []event.Route
	for _, r := range e.Routes {
		tried := slices.ContainsFunc(m.attempts, func(a *event.Attempt) bool {
			return a.Seq == e.Seq && a.Subscription == r.Subscription && a.Run == 0
		})
		waits := slices.ContainsFunc(m.retries, func(w store.Retry) bool {
			return w.Seq == e.Seq && w.Subscription == r.Subscription && w.Run == 0
		})
		if r.Disposition == event.Dispatch && !tried && !waits {
			open = append(open, r)
		}
	}
	return open
}

func (m *model) checkLog() {
	m.Helper()
	fresh, err := m.s.EventsAfter(m.ctx, store.AfterParams{After: m.checked, UpTo: 1<<63 - 1, Limit: 1 << 20})
	m.ok(err)
	m.same("log", fresh, m.events[len(m.events)-len(fresh):])
	if len(fresh) > 0 {
		m.checked = fresh[len(fresh)-1].Seq
	}
	got, err := m.s.EventsAfter(m.ctx, store.AfterParams{UpTo: 1<<63 - 1, Limit: 1 << 20, Undone: true})
	m.ok(err)
	m.same("numbers in the log", slices.Equal(seqs(got), seqs(m.events)), true)
	for i, e := range m.events {
		if want := m.undone(e); !slices.Equal(got[i].Routes, want) {
			m.Fatalf("undone routes of event %d are %v, want %v", i, got[i].Routes, want)
		}
	}
	m.same("backlog", m.waiting(), len(m.retries))
	waiting := map[int64]store.Waiting{}
	for sub := range int64(5) {
		before := m.now.Add(time.Duration(m.r.IntN(10)) * time.Second)
		var want []store.Retry
		for _, r := range m.retries {
			if r.Subscription != sub {
				continue
			}
			w := waiting[sub]
			if w.Subscription = sub; w.Count == 0 || r.Next.Before(w.First) {
				w.First = r.Next
			}
			w.Count++
			waiting[sub] = w
			if !r.Next.After(before) {
				want = append(want, r)
			}
		}
		got := m.due(store.DueParams{Subscription: sub, Before: before, Limit: 1000})
		order := func(a, b store.Retry) int { return cmp.Or(a.Next.Compare(b.Next), cmp.Compare(a.Seq, b.Seq)) }
		if !slices.IsSortedFunc(got, order) {
			m.Fatalf("due retries out of order: %v", got)
		}
		whole := func(a, b store.Retry) int { return cmp.Or(order(a, b), cmp.Compare(a.Run, b.Run)) }
		slices.SortFunc(got, whole)
		slices.SortFunc(want, whole)
		m.same("due", got, want)
	}
	list, err := m.s.WaitingSubscriptions(m.ctx)
	m.ok(err)
	m.same("subscriptions that wait", len(list), len(waiting))
	for _, w := range list {
		m.same("waiting", w, waiting[w.Subscription])
	}
}

func (m *model) checkEvents() {
	m.Helper()
	for range 4 {
		if len(m.events) > 0 {
			e := m.events[m.r.IntN(len(m.events))]
			got, err := m.s.Event(m.ctx, e.Scope, e.ID())
			m.ok(err)
			m.same("event", got, e)
		}
		p := store.ListEvents{Scope: m.scope(), Kind: event.Kind(m.r.IntN(3)), ObjectID: pick(m.r, "", "", "o1"), Limit: 1 + m.r.IntN(20)}
		p.Types = pick(m.r, nil, nil, []string{"a.*"}, []string{"a.b", "b.b"}, []string{"*"})
		p.CreatedFrom, p.CreatedTo = m.bounds()
		if m.r.IntN(3) == 0 {
			undelivered := m.r.IntN(2) == 0
			p.Undelivered = &undelivered
		}
		if len(m.events) > 0 {
			cursor := m.events[m.r.IntN(len(m.events))].Seq
			switch m.r.IntN(3) {
			case 0:
				p.Older = cursor
			case 1:
				p.Newer = cursor
			}
		}
		m.same(fmt.Sprintf("%+v", p), m.fixture.events(p), m.list(p))
	}
	for at, i := range m.records {
		got, err := m.s.Idempotent(m.ctx, at.scope, 1, at.name, m.now)
		m.ok(err)
		m.same("idempotency record", got, i)
	}
}

func (m *model) bounds() (from, to time.Time) {
	if m.r.IntN(3) == 0 {
		from = start.Add(time.Duration(m.r.Int64N(int64(m.now.Sub(start) + time.Second))))
	}
	if m.r.IntN(3) == 0 {
		to = m.now.Add(-time.Duration(m.r.Int64N(int64(m.now.Sub(start) + time.Second))))
	}
	return from, to
}

func within(e *event.Event, from, to time.Time) bool {
	return (from.IsZero() || !e.Created.Before(from)) && (to.IsZero() || !e.Created.After(to))
}

func (m *model) list(p store.ListEvents) store.Page[*event.Event] {
	var all []*event.Event
	for _, e := range m.events {
		typed := len(p.Types) == 0 || slices.ContainsFunc(p.Types, func(t string) bool {
			prefix, wild := strings.CutSuffix(t, "*")
			return t == e.Type || wild && strings.HasPrefix(e.Type, prefix)
		})
		if e.Scope != p.Scope || p.Kind != 0 && e.Kind != p.Kind || !typed || p.ObjectID != "" && e.ObjectID != p.ObjectID ||
			!within(e, p.CreatedFrom, p.CreatedTo) || p.Older != 0 && e.Seq >= p.Older || e.Seq <= p.Newer {
			continue
		}
		open := slices.ContainsFunc(e.Routes, func(r event.Route) bool {
			s := m.delivery(e, r).State
			return s == event.StatePending || s == event.StateFailed || s == event.StateDeadLettered
		})
		if p.Undelivered == nil || open == *p.Undelivered {
			all = append(all, e)
		}
	}
	page := store.Page[*event.Event]{Items: all, More: len(all) > p.Limit}
	if page.More && p.Newer != 0 {
		page.Items = all[:p.Limit]
	} else if page.More {
		page.Items = all[len(all)-p.Limit:]
	}
	page.Items = reversed(page.Items)
	return page
}

// delivery derives a delivery from all that happened, in the order in which
// the model did it.
func (m *model) delivery(e *event.Event, r event.Route) *event.Delivery {
	d := &event.Delivery{
		Seq: e.Seq, Subscription: r.Subscription, Scope: e.Scope, EventID: e.ID(), EventType: e.Type, EventKind: e.Kind, ObjectID: e.ObjectID, Created: e.Created,
		State: event.StatePending,
	}
	if r.Disposition == event.DiscardedDisabled {
		d.State, d.Reason = event.StateDiscarded, event.ReasonDisabled
	}
	delivered := false
	for _, a := range m.attempts {
		if a.Seq != e.Seq || a.Subscription != r.Subscription {
			continue
		}
		if a.N > 0 {
			d.Attempts++
			d.LastStatus, d.LastClass, d.LastAttempt = a.Status, a.Class, a.Started
		}
		delivered = delivered || a.Outcome == event.Delivered
		d.Reason = ""
		switch a.Outcome {
		case event.FailedRetry:
			d.State = event.StatePending
		case event.FailedFinal:
			d.State = event.StateFailed
		case event.DeadLettered:
			d.State = event.StateDeadLettered
		case event.WasDiscarded:
			d.State, d.Reason = event.StateDiscarded, a.Message
		}
	}
	if delivered {
		d.State, d.Reason = event.StateDelivered, ""
		return d
	}
	for _, w := range m.retries {
		if w.Seq == e.Seq && w.Subscription == r.Subscription && (d.Next.IsZero() || w.Next.Before(d.Next)) {
			d.State, d.Reason, d.Next = event.StatePending, "", w.Next
		}
	}
	return d
}

func (m *model) checkDeliveries() {
	m.Helper()
	for range 4 {
		p := store.ListDeliveries{Scope: m.scope(), Subscription: m.r.Int64N(4), Limit: 1 + m.r.IntN(20)}
		p.State = pick(m.r, "", event.StatePending, event.StateDelivered, event.StateFailed, event.StateDiscarded, event.StateDeadLettered)
		p.CreatedFrom, p.CreatedTo = m.bounds()
		if len(m.events) > 0 && m.r.IntN(2) == 0 {
			p.Older, p.OlderSub = m.events[m.r.IntN(len(m.events))].Seq, m.r.Int64N(4)
		}
		if len(m.events) > 0 && m.r.IntN(8) == 0 {
			p.Seq = m.events[m.r.IntN(len(m.events))].Seq
		}
		var want store.Page[*event.Delivery]
		for _, e := range reversed(m.events) {
			if e.Scope != p.Scope || p.Seq != 0 && e.Seq != p.Seq || !within(e, p.CreatedFrom, p.CreatedTo) {
				continue
			}
			for _, r := range reversed(e.Routes) {
				d := m.delivery(e, r)
				after := p.Older == 0 || e.Seq < p.Older || e.Seq == p.Older && r.Subscription < p.OlderSub
				if after && (p.Subscription == 0 || r.Subscription == p.Subscription) && (p.State == "" || d.State == p.State) {
					want.Items = append(want.Items, d)
				}
			}
		}
		if want.More = len(want.Items) > p.Limit; want.More {
			want.Items = want.Items[:p.Limit]
		}
		got, err := m.s.ListDeliveries(m.ctx, p)
		m.ok(err)
		m.same(fmt.Sprintf("%+v", p), got, want)
		for _, d := range got.Items {
			attempts, err := m.s.Attempts(m.ctx, d.Scope, d.Seq, d.Subscription)
			m.ok(err)
			var tries []*event.Attempt
			for _, a := range m.attempts {
				if a.Seq == d.Seq && a.Subscription == d.Subscription {
					tries = append(tries, a)
				}
			}
			m.same("attempts", attempts, tries)
		}
	}
}

func (m *model) changeDestination() {
	m.Helper()
	if len(m.destinations) == 0 || m.r.IntN(3) == 0 {
		d := newDestination(m.scope(), fmt.Sprint("ed_", len(m.destinations)))
		m.ok(m.s.CreateDestination(m.ctx, d, nil))
		m.destinations = append(m.destinations, d)
	} else if d := m.destinations[m.r.IntN(len(m.destinations))]; d.Status == event.Deleted {
		m.is(m.s.UpdateDestination(m.ctx, d, nil), store.ErrNotFound)
	} else {
		d.Status, d.Updated = event.Status(1+m.r.IntN(3)), m.now
		m.ok(m.s.UpdateDestination(m.ctx, d, nil))
	}
	m.reload()
}

func (m *model) checkRegistry() {
	m.Helper()
	scope := m.scope()
	var live []*store.Destination
	for _, d := range m.destinations {
		got, err := m.s.Destination(m.ctx, d.Scope, d.ID)
		if d.Status == event.Deleted {
			m.is(err, store.ErrNotFound)
			continue
		}
		m.ok(err)
		m.same("destination", got, d)
		if d.Scope == scope {
			live = append(live, d)
		}
	}
	listed, err := m.s.ListDestinations(m.ctx, store.ListDestinations{Scope: scope, Limit: 1000})
	m.ok(err)
	m.same("destinations", listed.Items, reversed(live))
	since := 1 + m.r.Int64N(m.config)
	changed, version, err := m.s.ChangedDestinations(m.ctx, since)
	m.ok(err)
	m.same("version", version, m.config)
	var want []*store.Destination
	for _, d := range m.destinations {
		if d.Version > since {
			want = append(want, d)
		}
	}
	slices.SortFunc(changed, func(a, b *store.Destination) int { return cmp.Compare(a.Number, b.Number) })
	m.same("changed destinations", changed, want)
}
