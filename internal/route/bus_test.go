package route

import (
	"fmt"
	"slices"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
)

func rule(id, bus int64, pattern string) event.Subscription {
	s := event.Subscription{ID: id, Scope: scopeA, Status: event.Enabled, Bus: bus}
	if pattern != "" {
		s.Pattern = []byte(pattern)
	}
	return s
}

func TestOnBus(t *testing.T) {
	t.Parallel()
	s := New().Apply([]event.Subscription{
		rule(1, 7, `{"a":["x"]}`), rule(300, 7, `{"a":["x","y"]}`), rule(3, 7, ""), rule(4, 8, `{"a":["x"]}`), rule(5, 7, `not a pattern`),
		sub(6, scopeA, event.Snapshot, "*"),
	}, 1)
	check := func(bus int64, ev string, want ...int64) {
		t.Helper()
		if got := ids(s.OnBus(nil, bus, []byte(ev), true)); !slices.Equal(got, want) {
			t.Errorf("bus %d, %s: %v, want %v", bus, ev, got, want)
		}
	}
	check(7, `{"a":"x"}`, 1, 3, 300)
	check(7, `{"a":"y"}`, 3, 300)
	check(8, `{"a":"x"}`, 4)
	check(9, `{"a":"x"}`)
	if got := ids(s.OnBus(nil, 8, []byte(`{"a":"y","a":"x"}`), false)); !slices.Equal(got, []int64{4}) {
		t.Errorf("a name twice: %v, want both values to count", got)
	}
	s = s.Apply([]event.Subscription{rule(1, 7, `{"a":["z"]}`), {ID: 300, Scope: scopeA, Status: event.Deleted}, rule(3, 8, "")}, 2)
	check(7, `{"a":"x"}`)
	check(7, `{"a":"z"}`, 1)
	check(8, `{"a":"z"}`, 3)
	if s.Subscription(300) != nil || s.Subscription(6) == nil {
		t.Error("the index is wrong after a deletion")
	}
}

func BenchmarkApplyOneOf100000(b *testing.B) {
	var subs []event.Subscription
	for i := range 100_000 {
		subs = append(subs, rule(int64(i+1), 7, fmt.Sprintf(`{"a":["v%d"]}`, i)))
	}
	s := New().Apply(subs, 1)
	for i := 0; b.Loop(); i++ {
		s = s.Apply([]event.Subscription{rule(int64(i%100_000+1), 7, fmt.Sprintf(`{"a":["w%d"]}`, i))}, int64(i+2))
	}
}
