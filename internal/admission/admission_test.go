package admission

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		length int64
		fit    int
	}{
		{"by their length", 256 << 10, 8},
		{"a large one counts for a part", 100 << 20, 4},
		{"so does one of unknown length", -1, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(time.Minute)
				start := time.Now()
				enter := func(length int64, want error) (leave func()) {
					t.Helper()
					leave, err := g.Enter(t.Context(), length)
					if !errors.Is(err, want) {
						t.Fatalf("error %v, want %v", err, want)
					}
					return leave
				}
				var leave func()
				for range tc.fit {
					leave = enter(tc.length, nil)
				}
				for range 1000 {
					enter(weightless, nil) // small ones are not counted
				}
				if waited := time.Since(start); waited != 0 {
					t.Errorf("waited %v though there was room", waited)
				}
				enter(tc.length, ErrFull)
				if waited := time.Since(start); waited != time.Minute {
					t.Errorf("gave up after %v", waited)
				}
				time.AfterFunc(time.Second, leave)
				enter(tc.length, nil)
				if waited := time.Since(start); waited != time.Minute+time.Second {
					t.Errorf("let in after %v", waited)
				}
			})
		})
	}
}

func TestGivingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for range 4 {
			if _, err := g.Enter(ctx, -1); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := g.Enter(ctx, -1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}
