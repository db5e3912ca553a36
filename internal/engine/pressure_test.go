package engine

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

func TestOnlyWhatIsSwiftPacesPublishers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		name string
		set  func(*subscriber)
		want bool
	}{
		{"swift with a backlog", func(s *subscriber) { s.noteHealth(1, true, now) }, true},
		{"hangs and never answered", func(*subscriber) {}, false},
		{"answered long ago", func(s *subscriber) { s.noteHealth(1, true, now.Add(-time.Second)) }, false},
		{"slow", func(s *subscriber) { s.noteHealth(1, true, now); s.meanSend = time.Second }, false},
		{"works off retries", func(s *subscriber) {
			s.noteHealth(1, true, now)
			for d := s.inHand.next; d != &s.inHand; d = d.next {
				d.waiting = true
				s.claimed[rowKey{d.ev.Seq, d.run}] = true
			}
		}, false},
		{"keeps failing", func(s *subscriber) {
			s.noteHealth(1, true, now)
			for range failingAfter {
				s.noteHealth(1, false, now)
			}
		}, false},
	} {
		s := newSubscriber(New(Options{Store: clock{}}), 1)
		s.configure(&event.Subscription{})
		for i := range pressed + 1 {
			s.hold(&delivery{sub: s, ev: &event.Event{Seq: event.Seq(i)}})
		}
		test.set(s)
		if got := s.pressed(); got != test.want {
			t.Errorf("%s: paces %v, want %v", test.name, got, test.want)
		}
	}
}

// clock is a store that only tells the time.
type clock struct{ Store }

func (clock) Now() time.Time { return time.Now() }

// Workers for retries make room for publishers while the machine is short, and
// none of the destinations goes without one.
func TestBacklogIsDivided(t *testing.T) {
	t.Parallel()
	var b backlog
	each := func(busy int, short bool, ticks int) int {
		for range ticks {
			b.divide(busy, 64, short)
		}
		return int(b.each.Load())
	}
	if got := each(1, false, 100); got != 64 {
		t.Errorf("%d workers for one destination on an idle machine, want all", got)
	}
	if got := each(1, true, 30); got < 1 || got > 4 {
		t.Errorf("%d workers for one destination on a busy machine", got)
	}
	if got := each(100, false, 100); got != 64 {
		t.Errorf("%d workers for each of a hundred destinations on an idle machine, want all", got)
	}
	if got := each(100, true, 60); got != 1 {
		t.Errorf("%d workers for each of a hundred destinations on a busy machine, want 1", got)
	}
	if got := each(0, true, 1); got != 0 {
		t.Errorf("a bound of %d without retries", got)
	}
}
