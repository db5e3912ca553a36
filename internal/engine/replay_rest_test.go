package engine

import (
	"testing"
	"time"
)

// A replay rests the longer the more the machine is short beside publishers,
// and not at all for its own sake.
func TestReplayRests(t *testing.T) {
	t.Parallel()
	var r replayRest
	after := func(short, published bool, ticks int) time.Duration {
		for range ticks {
			r.published.Store(published)
			r.adjust(short)
		}
		return time.Duration(r.d.Load())
	}
	if d := after(true, false, 5); d != 0 {
		t.Errorf("a rest of %v where nobody publishes", d)
	}
	if d := after(false, true, 5); d != 0 {
		t.Errorf("a rest of %v on an idle machine", d)
	}
	if d := after(true, true, 2); d != 2*firstRest {
		t.Errorf("a rest of %v after two ticks, want %v", d, 2*firstRest)
	}
	if d := after(true, true, 9); d != maxRest {
		t.Errorf("a rest of %v at last, want %v", d, maxRest)
	}
	if d := after(false, true, 5); d != 0 {
		t.Errorf("a rest of %v when it is over", d)
	}
}
