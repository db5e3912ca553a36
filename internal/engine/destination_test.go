package engine_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/target"
)

// change changes the subscription that was added last.
func (f *fixture) change(fn func(*event.Subscription)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(&f.subs[len(f.subs)-1])
}

func TestRateLimitIsKeptAndUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var mu sync.Mutex
		var sent []time.Time
		f.subscribe(1, func(context.Context, target.Message) target.Result {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, time.Now())
			return target.Result{Status: 200}
		}, retry.None())
		f.change(func(s *event.Subscription) { s.RateLimit = &event.RateLimit{PerSecond: 25, Burst: 8} })
		f.subscribe(2, accept, retry.None())
		e, stop := f.start(engine.Options{})
		start := time.Now()
		events := f.publish(e, 600)
		f.await(608)
		if took := time.Since(start); took > time.Second {
			t.Errorf("another destination, and the burst, waited %v", took)
		}
		if d := e.Depth(time.Now()); d.Queued > 8+125 {
			t.Errorf("%d deliveries are queued, where 125 can be sent within five seconds", d.Queued)
		}
		if stalled := e.Stalled(time.Now().Add(time.Hour)); stalled > 0 {
			t.Errorf("a limit counts as a stall of %v", stalled)
		}
		f.await(592)
		stop()
		f.once(1, events)
		f.once(2, events)
		mu.Lock()
		defer mu.Unlock()
		slices.SortFunc(sent, time.Time.Compare)
		for i, at := range sent {
			soonest := sent[0].Add(time.Duration(max(0, i-7)) * 40 * time.Millisecond)
			if at.Before(soonest) {
				t.Fatalf("delivery %d after %v, the limit allows it after %v", i, at.Sub(sent[0]), soonest.Sub(sent[0]))
			}
			if at.After(soonest.Add(500 * time.Millisecond)) {
				t.Fatalf("delivery %d after %v, possible after %v", i, at.Sub(sent[0]), soonest.Sub(sent[0]))
			}
		}
	})
}

// objects publishes each events for each of n objects, all interleaved, and
// returns their ids by object.
func (f *fixture) objects(e *engine.Engine, n, each int) map[string][]string {
	f.t.Helper()
	ids := map[string][]string{}
	for range each {
		drafts := make([]*event.Draft, n)
		for i := range drafts {
			drafts[i] = draft(i)
		}
		events, err := e.Publish(f.t.Context(), engine.Publish{Scope: scope, Drafts: drafts})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, ev := range events {
			ids[ev.ObjectID] = append(ids[ev.ObjectID], ev.ID())
		}
	}
	return ids
}

// sequence checks that the events of an object come one after another. Events
// that a play refuses at first come again, before the next one of their object.
type sequence struct {
	mu     sync.Mutex
	flying map[string]string
	ended  map[string][]string
	wrong  []string
}

func (s *sequence) play(outcome func(m target.Message) target.Result, end func(m target.Message) bool) play {
	s.flying, s.ended = map[string]string{}, map[string][]string{}
	return func(_ context.Context, m target.Message) target.Result {
		s.mu.Lock()
		if other := s.flying[m.Event.ObjectID]; other != "" {
			s.wrong = append(s.wrong, fmt.Sprintf("%s while %s", m.EventID, other))
		}
		s.flying[m.Event.ObjectID] = m.EventID
		s.mu.Unlock()
		r := outcome(m)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.flying, m.Event.ObjectID)
		if end(m) {
			s.ended[m.Event.ObjectID] = append(s.ended[m.Event.ObjectID], m.EventID)
		}
		return r
	}
}

func (s *sequence) check(t *testing.T, want map[string][]string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, wrong := range s.wrong {
		if i < 5 {
			t.Error(wrong)
		}
	}
	for object, ids := range want {
		if got := s.ended[object]; !slices.Equal(got, ids) {
			t.Errorf("%s: %v, want %v", object, got, ids)
		}
	}
}

func TestOrderedDeliveriesFollowEachOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var s sequence
	// Some events are refused twice, and some until no try is left.
	kind := func(m target.Message) uint32 { return crc32.ChecksumIEEE([]byte(m.EventID)) % 16 }
	f.subscribe(1, s.play(func(m target.Message) target.Result {
		if kind(m) == 2 && m.Attempt < 3 || kind(m) == 3 {
			return refuse(t.Context(), m)
		}
		return accept(t.Context(), m)
	}, func(m target.Message) bool { return kind(m) != 2 && kind(m) != 3 || m.Attempt == 3 }), retry.Policy{Delays: []time.Duration{2 * time.Millisecond, 2 * time.Millisecond}})
	f.change(func(sub *event.Subscription) { sub.Ordered = true })
	f.subscribe(2, accept, retry.None())
	e, stop := f.start(engine.Options{MaxQueue: 16, MaxInFlight: 8})
	want := f.objects(e, 20, 30)
	f.eventually("all is settled", func() bool { return f.deliveries(event.StatePending) == 0 })
	stop()
	s.check(t, want)
}

func TestOneObjectDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, func(ctx context.Context, m target.Message) target.Result {
		if m.Event.ObjectID == "or_0" {
			return refuse(ctx, m)
		}
		return accept(ctx, m)
	}, retry.Policy{Delays: []time.Duration{time.Hour}})
	f.change(func(sub *event.Subscription) { sub.Ordered = true })
	e, _ := f.start(engine.Options{MaxQueue: 64, MaxInFlight: 4})
	f.objects(e, 4, 100)
	f.await(300)
	f.eventually("only the 100 of one object wait", func() bool { return f.deliveries(event.StatePending) == 100 })
	if d := e.Depth(time.Now()); d.Queued > 0 {
		t.Errorf("%d of them are in memory", d.Queued)
	}
}

func TestOrderSurvivesARestart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var s sequence
	closed := make(chan struct{})
	f.subscribe(1, until(closed), retry.None())
	f.change(func(sub *event.Subscription) { sub.Ordered = true })
	e, stop := f.start(engine.Options{})
	want := f.objects(e, 5, 20)
	stop()
	f.mu.Lock()
	f.plays["https://example.com/1"] = s.play(func(m target.Message) target.Result { return accept(t.Context(), m) }, func(target.Message) bool { return true })
	f.mu.Unlock()
	_, stop = f.start(engine.Options{})
	f.await(100)
	stop()
	s.check(t, want)
}
