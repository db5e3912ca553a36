package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// Deliveries of a replay wait in the retry table, in runs of their own with
// negative numbers, and go the way of every retry from there: after a kill,
// by another node, as often as the subscription's schedule says. What keeps
// them from being in the way of fresh ones is that few are let in at a time.

// Redelivery is one delivery of a replay.
type Redelivery struct {
	Seq      event.Seq
	ObjectID string // of the event, for a subscription that is ordered
}

// replayRounds is how many deliveries may be due to one subscription, for each
// that can be under way, before a replay adds no more: as many rounds a fresh
// one waits at most.
const replayRounds = 4

// replayRest is how long a replay rests between two additions while the machine
// is short and somebody publishes. It doubles from firstRest to maxRest, and
// halves when that is over.
type replayRest struct {
	d         atomic.Int64
	published atomic.Bool // since the last tick
}

const (
	firstRest = 16 * time.Millisecond
	maxRest   = 256 * time.Millisecond
)

// adjust is called once a tick.
func (r *replayRest) adjust(short bool) {
	d := time.Duration(r.d.Load())
	switch published := r.published.Swap(false); {
	case short && published:
		d = min(maxRest, max(firstRest, 2*d))
	case d <= firstRest:
		d = 0
	default:
		d /= 2
	}
	r.d.Store(int64(d))
}

// ReplayRoom returns how many deliveries a replay may add for a subscription
// now, and how long it is to rest after that. There is no room while others
// that are due wait there, but for a few, and never for more than a second's
// worth of a rate limit. It is none or at least half of what it can be, as each
// addition has its price.
func (e *Engine) ReplayRoom(ctx context.Context, subscription int64) (room int, rest time.Duration, err error) {
	if err := e.ready(ctx); err != nil {
		return 0, 0, err
	}
	most := replayRounds * e.o.MaxInFlight
	s := e.subscriber(subscription)
	s.mu.Lock()
	if p, limited := s.share(); limited {
		most = min(most, max(1, int(time.Second/p.every)))
	}
	s.mu.Unlock()
	due, err := e.o.Store.CountDue(ctx, subscription, e.now(), most)
	if room = most - due; err != nil || room < (most+1)/2 {
		room = 0
	}
	return room, time.Duration(e.rest.d.Load()), err
}

// Replay sends events to one subscription again, each in a run of its own that
// is retried like a first delivery. All of them and idem are durable on return.
// Where idem was recorded before nothing is sent. Either way it returns the
// recorded result.
func (e *Engine) Replay(ctx context.Context, scope event.Scope, subscription int64, list []Redelivery, idem *store.Idempotency) ([]byte, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	to := e.subscriber(subscription)
	to.mu.Lock()
	ordered := to.way.spec.Ordered
	to.mu.Unlock()
	s := newSubmission(Publish{Scope: scope, Idempotency: idem})
	s.version = e.routes.Load().Version()
	for _, r := range list {
		retry := store.Retry{RetryKey: store.RetryKey{Scope: scope, Seq: r.Seq, Subscription: subscription, Run: -1}}
		if ordered {
			retry.Group = group(r.ObjectID)
		}
		s.Retries = append(s.Retries, retry)
	}
	if err := e.committer.submit(s); err != nil {
		return nil, err
	}
	if s.Replayed {
		return s.Result, nil
	}
	return idem.Result, nil
}
