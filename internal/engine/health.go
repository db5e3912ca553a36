package engine

import (
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// failingAfter consecutive failures make a subscriber failing: it then
	// holds next to nothing in memory, new events are parked as they are
	// accepted, and single sends probe the destination. One success ends it.
	failingAfter = 10
	// failingRoom is how many deliveries a failing subscriber holds.
	failingRoom = 4
	// The pause before a probe is a part of how long the destination has been
	// failing, so that one that is back is noticed soon in proportion.
	probeShare = 10
	minProbe   = tick / 2
	maxProbe   = time.Minute
)

// vital is what is known of how sending went.
type vital struct {
	success, failure time.Time // the last ones
	// failures since the last success: the first of each of the first events.
	failures []store.Failure
}

// Vital is what this process knows of how sending to a destination goes.
type Vital struct {
	store.Health
	Scope       event.Scope
	LastFailure time.Time
}

// Vitals returns what is known of those subscriptions that ask for it.
func (e *Engine) Vitals() []Vital {
	var all []Vital
	for _, s := range e.allSubscribers(nil) {
		s.mu.Lock()
		if s.way.spec.Watched {
			all = append(all, Vital{
				Health: store.Health{Subscription: s.id, LastSuccess: s.vital.success, Failures: slices.Clone(s.vital.failures)},
				Scope:  s.way.spec.Scope, LastFailure: s.vital.failure,
			})
		}
		s.mu.Unlock()
	}
	return all
}

// Succeeded tells of a delivery that another process made.
func (e *Engine) Succeeded(subscription int64, at time.Time) {
	s := e.subscriber(subscription)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vital.failures = slices.DeleteFunc(s.vital.failures, func(f store.Failure) bool { return !f.At.After(at) })
}

func (v *vital) note(seq event.Seq, ok bool, now time.Time) {
	now = now.Truncate(time.Millisecond) // as it is stored
	if ok {
		v.success, v.failures = now, v.failures[:0]
		return
	}
	v.failure = now
	if len(v.failures) < store.MaxFailures && !slices.ContainsFunc(v.failures, func(f store.Failure) bool { return f.Event == seq }) {
		v.failures = append(v.failures, store.Failure{Event: seq, At: now})
	}
}

// noteHealth draws the conclusions from the outcome of a try.
func (s *subscriber) noteHealth(seq event.Seq, ok bool, now time.Time) {
	s.vital.note(seq, ok, now)
	if ok {
		s.freshChance()
		return
	}
	if s.fails++; s.fails == 1 {
		s.failingSince = now
	}
	if s.fails >= failingAfter {
		s.failing = true
		s.probeAt = now.Add(min(max(now.Sub(s.failingSince)/probeShare, minProbe), maxProbe))
	}
}

func (s *subscriber) freshChance() { s.fails, s.failing, s.probeAt = 0, false, time.Time{} }
