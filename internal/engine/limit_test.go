package engine

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

func TestBucketIsExact(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		limit event.RateLimit
		nodes int
		first int // tokens of a full bucket
		every time.Duration
	}{
		{event.RateLimit{PerSecond: 10, Burst: 1}, 1, 1, 100 * time.Millisecond},
		{event.RateLimit{PerSecond: 10, Burst: 25}, 0, 25, 100 * time.Millisecond},
		{event.RateLimit{PerSecond: 10, Burst: 25}, 4, 6, 400 * time.Millisecond},
		{event.RateLimit{PerSecond: 1000, Burst: 1}, 3, 1, 3 * time.Millisecond},
	} {
		p := partOf(test.limit, test.nodes)
		var b bucket
		start := time.Unix(1760000000, 0)
		now := start
		const more = 50
		for n := range test.first + more {
			want := start
			if n >= test.first {
				want = start.Add(time.Duration(n-test.first+1) * test.every)
			}
			if left := b.tokens(p, now); left != max(0, test.first-n) {
				t.Fatalf("%+v: %d tokens left after %d, want %d", test, left, n, max(0, test.first-n))
			}
			now = b.next(p, now)
			if !now.Equal(want) {
				t.Fatalf("%+v: token %d after %v, want %v", test, n, now.Sub(start), want.Sub(start))
			}
			b.take(p, now)
		}
		now = now.Add(time.Hour)
		if left := b.tokens(p, now); left != test.first {
			t.Errorf("%+v: %d tokens after a pause, want %d", test, left, test.first)
		}
	}
}

func TestProbesGrowRare(t *testing.T) {
	t.Parallel()
	s := newSubscriber(New(Options{}), 1)
	s.configure(&event.Subscription{})
	start := time.Unix(1760000000, 0)
	now := start
	for range 64 { // all that were under way when it broke
		s.noteHealth(1, false, now)
	}
	if !s.failing || s.probeAt.Sub(now) != minProbe {
		t.Fatalf("failing %t, first probe after %v", s.failing, s.probeAt.Sub(now))
	}
	probes := 0
	for now.Sub(start) < time.Hour {
		pause := s.probeAt.Sub(now)
		if away := now.Sub(start); pause < minProbe || pause > maxProbe || away > minProbe*probeShare && pause > away/probeShare {
			t.Fatalf("away for %v, and not probed for %v", away, pause)
		}
		now = s.probeAt
		s.noteHealth(1, false, now)
		probes++
	}
	if probes > 150 {
		t.Errorf("%d probes within an hour", probes)
	}
	s.noteHealth(2, true, now)
	if s.failing || !s.probeAt.IsZero() || s.fails != 0 {
		t.Error("a success does not end it")
	}
}

func TestVitalsRememberDifferentEvents(t *testing.T) {
	t.Parallel()
	var v vital
	now := time.Unix(1760000000, 0)
	for _, seq := range []event.Seq{7, 7, 8, 7, 9, 10} {
		v.note(seq, false, now)
		now = now.Add(time.Second)
	}
	if len(v.failures) != 3 || v.failures[0].Event != 7 || !v.failures[1].At.Equal(time.Unix(1760000002, 0)) || v.failures[2].Event != 9 {
		t.Errorf("failures: %+v", v.failures)
	}
	if v.note(11, true, now); len(v.failures) != 0 || !v.success.Equal(now) {
		t.Errorf("after a success: %+v", v)
	}
}
