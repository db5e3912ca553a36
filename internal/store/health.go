package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// DestinationHealth is the memory of how destinations do. Only of those that
// have failed is anything kept.
type DestinationHealth interface {
	// NoteHealth adds what one process saw to what is known, and returns what
	// is known then, in the same order.
	NoteHealth(ctx context.Context, seen []Health) ([]Health, error)
	// Healths returns what is known of all destinations.
	Healths(ctx context.Context) ([]Health, error)
	// ForgetHealth forgets a destination, which is given a fresh chance.
	ForgetHealth(ctx context.Context, subscription int64) error
}

// Health is how a destination does.
type Health struct {
	Subscription int64
	LastSuccess  time.Time // zero if none is known
	// Failures are the first failures after LastSuccess, earliest first: at
	// most MaxFailures, each of another event.
	Failures []Failure
	// Warned is when its owner was warned; zero if that has not been, or
	// nothing fails.
	Warned time.Time
}

// Failure is the first failure of an event's delivery.
type Failure struct {
	Event event.Seq
	At    time.Time
}

// MaxFailures is how many failures are remembered: enough to tell a destination
// that fails from an event that does.
const MaxFailures = 3

// Add returns h with what another process saw.
func (h Health) Add(seen Health) Health {
	if seen.LastSuccess.After(h.LastSuccess) {
		h.LastSuccess = seen.LastSuccess
	}
	if seen.Warned.After(h.Warned) {
		h.Warned = seen.Warned
	}
	all := slices.Concat(h.Failures, seen.Failures)
	slices.SortFunc(all, func(a, b Failure) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Event, b.Event)) })
	h.Failures = nil
	for _, f := range all {
		known := slices.ContainsFunc(h.Failures, func(k Failure) bool { return k.Event == f.Event })
		if !known && f.At.After(h.LastSuccess) && len(h.Failures) < MaxFailures {
			h.Failures = append(h.Failures, f)
		}
	}
	if len(h.Failures) == 0 {
		h.Warned = time.Time{}
	}
	return h
}

// Equal says whether both know the same.
func (h Health) Equal(other Health) bool {
	return h.LastSuccess.Equal(other.LastSuccess) && h.Warned.Equal(other.Warned) && slices.EqualFunc(h.Failures, other.Failures, func(a, b Failure) bool {
		return a.Event == b.Event && a.At.Equal(b.At)
	})
}
