package engine

import (
	"context"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// Accepting an event in a batch costs a fraction of delivering it. A publisher
// that sends batches as fast as they are answered could therefore take all of
// the machine for accepting, and what is accepted would have to be read again
// from the log later. When the machine is what is short, publishers are
// answered a little later instead: at most maxPace, and only while a
// subscription they publish to has a backlog that more CPU would clear.
//
// A destination that is slow or failing never counts, and nobody is paced
// while the machine has time to spare, so no destination delays another.
const (
	// pressed is how many deliveries a subscription holds at least. What 64
	// publishers of 100 events each add before they notice still fits in its
	// queue.
	pressed = 512
	maxPace = time.Second
	// swift is the longest that sends may take on average, and that the last
	// success may lie back, for the backlog to be put down to the machine. A
	// destination that hangs has shown neither.
	swift = 50 * time.Millisecond
	// The machine is short when more than one in saturatedShare goroutines
	// that could run waited longer than saturatedWait for a processor. Under
	// full load it is about one in six (most are run at once by the one that
	// woke them); on a machine with time to spare hardly any.
	saturatedWait  = 300 * time.Microsecond
	saturatedShare = 20
)

// pressure watches how long goroutines wait for a processor.
type pressure struct {
	high   atomic.Bool
	sample [1]metrics.Sample
	before []uint64
}

func (p *pressure) init() { p.sample[0].Name = "/sched/latencies:seconds" }

// measure compares with the previous call. Only the ticker's goroutine calls it.
func (p *pressure) measure() {
	metrics.Read(p.sample[:])
	if p.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return
	}
	h := p.sample[0].Value.Float64Histogram()
	if p.before == nil {
		p.before = make([]uint64, len(h.Counts))
	}
	var total, below uint64
	for i, n := range h.Counts {
		d := n - p.before[i]
		total += d
		if h.Buckets[i+1] <= saturatedWait.Seconds() {
			below += d
		}
		p.before[i] = n
	}
	p.high.Store((total-below)*saturatedShare > total)
}

// pace holds a publisher up while that helps.
func (e *Engine) pace(ctx context.Context, s *submission) {
	if !e.pressure.high.Load() {
		return
	}
	var timeout <-chan time.Time
	for _, ev := range s.Events {
		for _, r := range ev.Routes {
			if r.Disposition != event.Dispatch {
				continue
			}
			sub := e.subscriber(r.Subscription)
			for sub.pressed() {
				if timeout == nil {
					timeout = time.After(maxPace)
				}
				select {
				case <-sub.relief:
				case <-timeout:
					return
				case <-ctx.Done():
					return
				}
			}
		}
	}
}

// pressed says whether the subscription has a backlog that more CPU would
// clear.
func (s *subscriber) pressed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, limited := s.share()
	return s.fresh() > pressed && !limited && !s.failing && s.meanSend < swift && s.e.now().Sub(s.vital.success) < swift
}

// fresh is how many deliveries are held that never waited in the retry table:
// it is those that publishers add to.
func (s *subscriber) fresh() int { return s.holding - len(s.claimed) }

// relieve lets one publisher go on. The caller holds the mutex.
func (s *subscriber) relieve() {
	if s.fresh() <= pressed {
		select {
		case s.relief <- struct{}{}:
		default:
		}
	}
}

// backlog divides what the machine has to spare among the subscriptions that
// work off retries. A million of them that fall due at once would otherwise
// have as many workers as there are destinations times MaxInFlight, and
// whoever publishes would wait behind them all.
type backlog struct {
	total int          // workers for all; only the ticker's goroutine knows it
	each  atomic.Int32 // for one subscription; 0 is no bound
}

// leastSlow is what a subscription has in any case whose sends are slow: they
// wait for something else than the machine, such as a target that waits for
// commits, and with one worker would come to a crawl.
const leastSlow = 4

// divide is called once a tick. While the machine is short there are fewer
// workers from tick to tick, else soon more again.
func (b *backlog) divide(busy, most int, short bool) {
	if busy == 0 {
		b.total = 0
		b.each.Store(0)
		return
	}
	switch {
	case b.total == 0:
		b.total = most
	case short:
		b.total -= b.total / 4
	default:
		b.total = min(b.total+b.total/4+4, most*busy)
	}
	b.each.Store(int32(max(1, b.total/busy)))
}
