package route

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
)

var (
	scopeA = event.NewScope(1, true)
	scopeB = event.NewScope(1, false)
)

func sub(id int64, scope event.Scope, kind event.Kind, types ...string) event.Subscription {
	return event.Subscription{ID: id, Scope: scope, Status: event.Enabled, Kind: kind, Types: types}
}

func with(s event.Subscription, status event.Status) event.Subscription {
	s.Status = status
	return s
}

func ids(subs []*event.Subscription) []int64 {
	var out []int64
	for _, s := range subs {
		out = append(out, s.ID)
	}
	return out
}

func TestMatch(t *testing.T) {
	t.Parallel()
	s := New().Apply([]event.Subscription{
		sub(9, scopeA, event.Snapshot, "*"),
		sub(3, scopeA, event.Snapshot, "charge.failed", "charge.succeeded"),
		with(sub(5, scopeA, event.Snapshot, "charge.failed"), event.Disabled),
		sub(4, scopeA, event.Thin, "charge.failed"),
		sub(2, scopeA, event.Snapshot, "charge.failed", "*", "charge.failed"),
		sub(6, scopeB, event.Snapshot, "charge.failed"),
		with(sub(7, scopeA, event.Snapshot, "*"), event.Deleted),
		sub(8, scopeA, event.Snapshot),
	}, 1)
	for _, tc := range []struct {
		name  string
		scope event.Scope
		kind  event.Kind
		typ   string
		want  []int64
	}{
		{"exact and all, disabled too, in order", scopeA, event.Snapshot, "charge.failed", []int64{2, 3, 5, 9}},
		{"second type of a list", scopeA, event.Snapshot, "charge.succeeded", []int64{2, 3, 9}},
		{"all only", scopeA, event.Snapshot, "invoice.paid", []int64{2, 9}},
		{"no prefix match", scopeA, event.Snapshot, "charge", []int64{2, 9}},
		{"other kind", scopeA, event.Thin, "charge.failed", []int64{4}},
		{"other kind, none", scopeA, event.Thin, "invoice.paid", nil},
		{"other mode", scopeB, event.Snapshot, "charge.failed", []int64{6}},
		{"other mode, none", scopeB, event.Snapshot, "invoice.paid", nil},
		{"unknown scope", event.NewScope(2, true), event.Snapshot, "charge.failed", nil},
	} {
		if got := ids(s.Match(tc.scope, tc.kind, tc.typ)); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	if s.Subscription(7) != nil {
		t.Error("a deleted subscription is found")
	}
	if got := s.Subscription(5); got == nil || got.Status != event.Disabled {
		t.Errorf("Subscription(5) = %v", got)
	}
	if s.Version() != 1 {
		t.Errorf("version %d", s.Version())
	}
}

func TestNewIsEmpty(t *testing.T) {
	t.Parallel()
	s := New()
	if s.Match(scopeA, event.Snapshot, "x") != nil || s.Subscription(1) != nil || s.Version() != 0 {
		t.Error("a new snapshot is not empty")
	}
}

func TestApplyCopiesOnWrite(t *testing.T) {
	t.Parallel()
	first := New().Apply([]event.Subscription{
		sub(1, scopeA, event.Snapshot, "a"), sub(2, scopeA, event.Snapshot, "*"), sub(3, scopeB, event.Snapshot, "a"),
	}, 1)
	second := first.Apply([]event.Subscription{
		with(sub(1, scopeA, event.Snapshot, "a"), event.Deleted),
		with(sub(2, scopeA, event.Snapshot, "b"), event.Disabled),
		sub(4, scopeA, event.Snapshot, "a"),
	}, 2)

	if got := ids(first.Match(scopeA, event.Snapshot, "a")); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("the old snapshot now matches %v", got)
	}
	if first.Subscription(1) == nil || first.Subscription(4) != nil || first.Subscription(2).Status != event.Enabled || first.Version() != 1 {
		t.Error("the old snapshot changed")
	}
	if got := ids(second.Match(scopeA, event.Snapshot, "a")); !slices.Equal(got, []int64{4}) {
		t.Errorf("a goes to %v, want 4", got)
	}
	if got := ids(second.Match(scopeA, event.Snapshot, "b")); !slices.Equal(got, []int64{2}) {
		t.Errorf("b goes to %v, want 2", got)
	}
	if got := ids(second.Match(scopeB, event.Snapshot, "a")); !slices.Equal(got, []int64{3}) {
		t.Errorf("an untouched scope matches %v", got)
	}
	if second.Version() != 2 {
		t.Errorf("version %d", second.Version())
	}
}

// naive is the specification: look at every subscription.
func naive(model map[int64]event.Subscription, scope event.Scope, kind event.Kind, typ string) []int64 {
	var out []int64
	for id, s := range model {
		if s.Scope == scope && s.Kind == kind && (slices.Contains(s.Types, typ) || slices.Contains(s.Types, "*")) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return out
}

func TestAgainstNaiveMatcher(t *testing.T) {
	t.Parallel()
	types := []string{"*", "a", "b", "a.b", "a.b.c"}
	scopes := []event.Scope{scopeA, scopeB, event.NewScope(2, true)}
	kinds := []event.Kind{event.Snapshot, event.Thin}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		model := map[int64]event.Subscription{}
		s := New()
		for version := int64(1); version <= 30; version++ {
			var changed []event.Subscription
			for range r.IntN(5) {
				id := r.Int64N(12) + 1
				// A subscription never changes scope.
				c := sub(id, scopes[id%3], kinds[r.IntN(2)])
				for range r.IntN(4) {
					c.Types = append(c.Types, types[r.IntN(len(types))])
				}
				c.Status = event.Status(r.IntN(3) + 1)
				changed = append(changed, c)
				if c.Status == event.Deleted {
					delete(model, id)
				} else {
					model[id] = c
				}
			}
			s = s.Apply(changed, version)
			for id := range int64(14) {
				want, ok := model[id]
				if got := s.Subscription(id); (got != nil) != ok || ok && fmt.Sprint(*got) != fmt.Sprint(want) {
					t.Fatalf("seed %d version %d: subscription %d is %v, want %v", seed, version, id, got, want)
				}
			}
			for _, scope := range scopes {
				for _, kind := range kinds {
					for _, typ := range append(types, "unheard.of") {
						if got, want := ids(s.Match(scope, kind, typ)), naive(model, scope, kind, typ); !slices.Equal(got, want) {
							t.Fatalf("seed %d version %d: %v %v %q goes to %v, want %v", seed, version, scope, kind, typ, got, want)
						}
					}
				}
			}
		}
	}
}

// Readers hold whichever snapshot they loaded; each must be whole.
func TestReadersDuringApply(t *testing.T) {
	t.Parallel()
	pair := func(version int64) []event.Subscription {
		return []event.Subscription{
			{ID: 1, Scope: scopeA, Status: event.Enabled, Kind: event.Snapshot, Types: []string{"a"}, Name: fmt.Sprint(version)},
			{ID: 2, Scope: scopeA, Status: event.Enabled, Kind: event.Snapshot, Types: []string{"*"}, Name: fmt.Sprint(version)},
		}
	}
	var current atomic.Pointer[Snapshot]
	current.Store(New().Apply(pair(1), 1))
	const last = 500
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for version := int64(0); version < last; {
				s := current.Load()
				if s.Version() < version {
					t.Errorf("version %d after %d", s.Version(), version)
					return
				}
				version = s.Version()
				want := fmt.Sprint(version)
				got := s.Match(scopeA, event.Snapshot, "a")
				if len(got) != 2 || got[0].Name != want || got[1].Name != want || s.Subscription(1) != got[0] {
					t.Errorf("version %d is not whole: %v", version, got)
					return
				}
			}
		})
	}
	for v := int64(2); v <= last; v++ {
		current.Store(current.Load().Apply(pair(v), v))
	}
	wg.Wait()
}
