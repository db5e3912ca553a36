package engine

import (
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// A subscription's rate limit holds for the installation: each of several nodes
// takes an equal part of it. What is over it waits in the retry table, where it
// is parked when it is accepted, but for what can be sent soon.

// soon is how far ahead a limited subscriber takes deliveries into memory.
const soon = 5 * time.Second

// bucket is a token bucket, kept as the moment from which it is full.
type bucket struct{ full time.Time }

// part is a limit as it is for one of several nodes: the time between two
// tokens, and how many the bucket holds.
type part struct {
	every time.Duration
	burst int
}

func partOf(limit event.RateLimit, nodes int) part {
	nodes = max(nodes, 1)
	return part{limit.Every() * time.Duration(nodes), max(1, limit.Burst/nodes)}
}

// next is when the bucket has a token: now, or later.
func (b *bucket) next(p part, now time.Time) time.Time {
	if at := b.full.Add(-time.Duration(p.burst-1) * p.every); at.After(now) {
		return at
	}
	return now
}

// take takes a token, which must be there.
func (b *bucket) take(p part, now time.Time) {
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(p.every)
}

// tokens is how many there are.
func (b *bucket) tokens(p part, now time.Time) int {
	missing := max(0, b.full.Sub(now))
	return p.burst - int((missing+p.every-1)/p.every)
}

// share is this node's part of the subscriber's limit; false if there is none.
func (s *subscriber) share() (part, bool) {
	if spec := s.way.spec; spec.RateLimit != nil && spec.Status == event.Enabled {
		return partOf(*spec.RateLimit, int(s.e.tenure.nodes.Load())), true
	}
	return part{}, false
}

// awaitsToken says that nothing may be sent now because of the rate limit. It
// sees to it that sending goes on in time, which a tick would be too coarse for.
func (s *subscriber) awaitsToken(now time.Time) bool {
	p, limited := s.share()
	if !limited {
		return false
	}
	at := s.bucket.next(p, now)
	if !at.After(now) {
		return false
	}
	if !s.alarmed {
		s.alarmed = true
		time.AfterFunc(at.Sub(now), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.alarmed = false
			s.spawn()
		})
	}
	return true
}

// capacity is how many deliveries the subscriber may hold in memory.
func (s *subscriber) capacity() int {
	if s.failing {
		return failingRoom
	}
	most := s.e.o.MaxQueue
	if p, limited := s.share(); limited {
		most = min(most, max(1, s.bucket.tokens(p, s.e.now())+int(soon/p.every)))
	}
	return most
}
