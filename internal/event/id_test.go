package event

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 25, 12, 0, 0, 123_000_000, time.UTC)

func TestSeqNext(t *testing.T) {
	t.Parallel()
	const lane = 5
	at := func(now time.Time, lane, counter int) Seq {
		return Seq(now.UnixMilli()<<21 | int64(lane)<<13 | int64(counter))
	}
	for _, tc := range []struct {
		name string
		s    Seq
		now  time.Time
		want Seq
	}{
		{"first", 0, noon, at(noon, lane, 0)},
		{"same millisecond", at(noon, lane, 0), noon, at(noon, lane, 1)},
		{"within the millisecond", at(noon, lane, 7), noon.Add(999 * time.Microsecond), at(noon, lane, 8)},
		{"next millisecond starts anew", at(noon, lane, 7), noon.Add(time.Millisecond), at(noon.Add(time.Millisecond), lane, 0)},
		{"clock jumps back", at(noon, lane, 7), noon.Add(-time.Hour), at(noon, lane, 8)},
		{"counter overflows", at(noon, lane, 8191), noon, at(noon.Add(time.Millisecond), lane, 0)},
		{"counter overflows, clock behind", at(noon, lane, 8191), noon.Add(-time.Hour), at(noon.Add(time.Millisecond), lane, 0)},
		{"clock catches up with an overflow", at(noon.Add(time.Millisecond), lane, 0), noon.Add(time.Millisecond), at(noon.Add(time.Millisecond), lane, 1)},
	} {
		if got := tc.s.Next(tc.now, lane); got != tc.want {
			t.Errorf("%s: Next = %d, want %d", tc.name, got, tc.want)
		}
	}
}

// Whatever the clocks do, each lane's sequence only grows, stays in its lane,
// is never behind its clock, and no number is given out twice.
func TestSeqNextProperty(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	lanes := []int{0, 1, 2, 127, 254, 255}
	last := make([]Seq, len(lanes))
	clock := make([]time.Time, len(lanes))
	for i := range clock {
		clock[i] = noon
	}
	seen := map[Seq]int{}
	for range 20_000 {
		i := r.IntN(len(lanes))
		switch r.IntN(20) {
		case 0:
			clock[i] = clock[i].Add(-time.Duration(r.Int64N(int64(time.Second))))
		case 1, 2, 3:
			clock[i] = clock[i].Add(time.Duration(r.Int64N(int64(5 * time.Millisecond))))
		case 4:
			if last[i] != 0 {
				// As after a burst: a few short of the millisecond's end.
				last[i] = last[i]&^counterMask | Seq(max(int64(last[i]&counterMask), counterMask-r.Int64N(3)))
			}
		}
		s := last[i].Next(clock[i], lanes[i])
		if s <= last[i] {
			t.Fatalf("lane %d: %d follows %d", lanes[i], s, last[i])
		}
		if got := int(s & laneMask >> counterBits); got != lanes[i] {
			t.Fatalf("lane %d was given a number of lane %d", lanes[i], got)
		}
		if s < SeqAt(clock[i]) {
			t.Fatalf("lane %d: %d is behind its clock %v", lanes[i], s, clock[i])
		}
		if other, dup := seen[s]; dup {
			t.Fatalf("lanes %d and %d both gave out %d", lanes[i], other, s)
		}
		seen[s], last[i] = lanes[i], s
		for _, live := range []bool{false, true} {
			if got, ok := ParseID(s.ID(live), live); !ok || got != s {
				t.Fatalf("ParseID(%q) = %d, %v, want %d", s.ID(live), got, ok, s)
			}
		}
	}
}

func TestSeqTime(t *testing.T) {
	t.Parallel()
	s := SeqAt(noon.Add(456*time.Microsecond)).Next(noon, 255)
	if got := s.Time(); !got.Equal(noon) {
		t.Errorf("Time = %v, want %v", got, noon)
	}
}

func TestSeqID(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		s    Seq
		live bool
		want string
	}{
		{0, true, "evt_00000000000"},
		{61, true, "evt_0000000000z"},
		{62, false, "evt_test_00000000010"},
		{math.MaxInt64, true, "evt_AzL8n0Y58m7"},
		{math.MaxInt64, false, "evt_test_AzL8n0Y58m7"},
	} {
		if got := tc.s.ID(tc.live); got != tc.want {
			t.Errorf("ID of %d = %q, want %q", tc.s, got, tc.want)
		}
		if got, ok := ParseID(tc.want, tc.live); !ok || got != tc.s {
			t.Errorf("ParseID(%q) = %d, %v", tc.want, got, ok)
		}
		if _, ok := ParseID(tc.want, !tc.live); ok {
			t.Errorf("ParseID(%q) passes in the other mode", tc.want)
		}
	}
	// Ids sort as their numbers do.
	if a, b := SeqAt(noon).ID(true), SeqAt(noon.Add(time.Millisecond)).ID(true); a >= b {
		t.Errorf("%q does not sort before %q", a, b)
	}
}

var notIDs = []string{
	"", "evt_", "evt_test_", "evt_0000000000", "evt_000000000000", "evt_0000000000-", "EVT_00000000000",
	"evt_AzL8n0Y58m8", "evt_zzzzzzzzzzz", "evt_test_zzzzzzzzzzz", "evt_0000000000é", "dlv_00000000000", " evt_00000000000",
}

func TestParseIDRefuses(t *testing.T) {
	t.Parallel()
	for _, id := range notIDs {
		for _, live := range []bool{false, true} {
			if s, ok := ParseID(id, live); ok {
				t.Errorf("ParseID(%q, %v) = %d", id, live, s)
			}
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, id := range append(notIDs, SeqAt(noon).ID(true), SeqAt(noon).ID(false), Seq(math.MaxInt64).ID(true)) {
		f.Add(id, true)
		f.Add(id, false)
	}
	f.Fuzz(func(t *testing.T, id string, live bool) {
		s, ok := ParseID(id, live)
		if !ok {
			return
		}
		if s < 0 || s.ID(live) != id {
			t.Fatalf("ParseID(%q) = %d, which is %q", id, s, s.ID(live))
		}
		if _, ok := ParseID(id, !live); ok {
			t.Fatalf("ParseID(%q) passes in both modes", id)
		}
	})
}

func TestDeliveryID(t *testing.T) {
	t.Parallel()
	for _, s := range []Seq{0, 1, SeqAt(noon), math.MaxInt64} {
		for _, sub := range []int64{1, 61, 62, 3844, math.MaxInt64} {
			for _, live := range []bool{false, true} {
				id := DeliveryID(s, sub, live)
				if strings.HasPrefix(id, "dlv_test_") == live || !strings.HasPrefix(id, "dlv_") {
					t.Errorf("live %v has id %q", live, id)
				}
				gotSeq, gotSub, ok := ParseDeliveryID(id, live)
				if !ok || gotSeq != s || gotSub != sub {
					t.Errorf("ParseDeliveryID(%q) = %d, %d, %v, want %d, %d", id, gotSeq, gotSub, ok, s, sub)
				}
				if _, _, ok := ParseDeliveryID(id, !live); ok {
					t.Errorf("ParseDeliveryID(%q) passes in the other mode", id)
				}
				d := Delivery{Seq: s, Subscription: sub, Scope: NewScope(7, live)}
				if d.ID() != id {
					t.Errorf("Delivery.ID = %q, want %q", d.ID(), id)
				}
			}
		}
	}
}

var notDeliveryIDs = []string{
	"", "dlv_", "dlv_test_", "dlv_00000000000", "dlv_000000000000", "dlv_0000000000001", "dlv_00000000000-",
	"dlv_zzzzzzzzzzz1", "dlv_00000000001AzL8n0Y58m8", "dlv_00000000001zzzzzzzzzzzz", "evt_000000000001",
}

func TestParseDeliveryIDRefuses(t *testing.T) {
	t.Parallel()
	for _, id := range notDeliveryIDs {
		if s, sub, ok := ParseDeliveryID(id, true); ok {
			t.Errorf("ParseDeliveryID(%q) = %d, %d", id, s, sub)
		}
	}
}

func FuzzParseDeliveryID(f *testing.F) {
	for _, id := range append(notDeliveryIDs, DeliveryID(SeqAt(noon), 42, true), DeliveryID(0, math.MaxInt64, false)) {
		f.Add(id, true)
		f.Add(id, false)
	}
	f.Fuzz(func(t *testing.T, id string, live bool) {
		s, sub, ok := ParseDeliveryID(id, live)
		if !ok {
			return
		}
		if s < 0 || sub <= 0 {
			t.Fatalf("ParseDeliveryID(%q) = %d, %d", id, s, sub)
		}
		if again := DeliveryID(s, sub, live); again != id {
			t.Fatalf("ParseDeliveryID(%q) = %d, %d, which is %q", id, s, sub, again)
		}
	})
}

func TestNewID(t *testing.T) {
	t.Parallel()
	for live, prefix := range map[bool]string{true: "ed_", false: "ed_test_"} {
		a, b := NewDestinationID(live), NewDestinationID(live)
		if a == b {
			t.Errorf("the same id twice: %q", a)
		}
		rest, ok := strings.CutPrefix(a, prefix)
		if !ok || len(rest) != 24 || strings.Trim(rest, base62) != "" {
			t.Errorf("live %v: id %q", live, a)
		}
	}
}

func TestScopeAndNames(t *testing.T) {
	t.Parallel()
	for _, account := range []int64{0, 1, 7, math.MaxInt64 >> 1} {
		for _, live := range []bool{false, true} {
			if s := NewScope(account, live); s.Account() != account || s.Live() != live {
				t.Errorf("NewScope(%d, %v) is account %d, live %v", account, live, s.Account(), s.Live())
			}
		}
	}
	if got := fmt.Sprint(Snapshot, Thin, Kind(9)); got != "snapshot thin kind(9)" {
		t.Errorf("kinds print as %q", got)
	}
}
