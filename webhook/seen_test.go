package webhook_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/webhook"
)

var errBroken = errors.New("broken")

func broken(context.Context) error { return errBroken }

// What every Seen must do; the example's is held to it too.
func TestSeen(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) webhook.Seen{
		"memory": func(*testing.T) webhook.Seen { return webhook.NewMemory(0, 0) },
		"sql":    func(t *testing.T) webhook.Seen { return &SQLSeen{db: openDatabase(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := open(t)
			ran := 0
			count := func(context.Context) error { ran++; return nil }

			if err := seen.Once(t.Context(), "a", broken); !errors.Is(err, errBroken) {
				t.Errorf("failing: %v", err)
			}
			for range 3 {
				if err := seen.Once(t.Context(), "a", count); err != nil {
					t.Error(err)
				}
			}
			if err := seen.Once(t.Context(), "a", broken); err != nil {
				t.Errorf("handled before: %v", err)
			}
			if ran != 1 {
				t.Errorf("handled %d times", ran)
			}
			if err := seen.Once(t.Context(), "b", count); err != nil || ran != 2 {
				t.Errorf("another id: %v, handled %d in all", err, ran)
			}
		})
		t.Run(name+", at a time", func(t *testing.T) {
			t.Parallel()
			seen := open(t)
			var tries, running, done atomic.Int32
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					err := seen.Once(t.Context(), "a", func(context.Context) error {
						if running.Add(1) != 1 {
							t.Error("two at a time")
						}
						defer running.Add(-1)
						runtime.Gosched()
						if tries.Add(1) <= 3 {
							return errBroken
						}
						done.Add(1)
						return nil
					})
					if err != nil && !errors.Is(err, errBroken) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if tries.Load() != 4 || done.Load() != 1 {
				t.Errorf("%d tries, %d times done", tries.Load(), done.Load())
			}
		})
	}
}

func TestMemoryWaits(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := webhook.NewMemory(0, 0)
			go func() {
				_ = m.Once(t.Context(), "a", func(context.Context) error {
					<-time.After(time.Minute)
					if fails {
						return errBroken
					}
					return nil
				})
			}()
			synctest.Wait()

			// Whoever is not patient learns that it is not handled.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := m.Once(ctx, "a", broken); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Once = %v", err)
			}
			// Another id waits for nobody.
			start := time.Now()
			if err := m.Once(t.Context(), "b", broken); !errors.Is(err, errBroken) || time.Since(start) != 0 {
				t.Errorf("another id: %v after %v", err, time.Since(start))
			}
			// Whoever waits handles it if it failed.
			ran := false
			err := m.Once(t.Context(), "a", func(context.Context) error { ran = true; return nil })
			if err != nil || ran != fails {
				t.Errorf("Once = %v, ran = %t when the first failed = %t", err, ran, fails)
			}
		})
	}
}

func TestMemoryForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := webhook.NewMemory(3, time.Hour)
		handled := func(id string) bool {
			ran := false
			if err := m.Once(t.Context(), id, func(context.Context) error { ran = true; return errBroken }); (err == nil) == ran {
				t.Errorf("%s: %v", id, err)
			}
			return !ran
		}
		handle := func(id string) {
			if err := m.Once(t.Context(), id, func(context.Context) error { return nil }); err != nil {
				t.Error(err)
			}
		}
		for i := range 5 {
			handle(fmt.Sprint(i))
			<-time.After(time.Minute)
		}
		for i := range 5 {
			if got, want := handled(fmt.Sprint(i)), i >= 2; got != want {
				t.Errorf("%d: remembered = %t", i, got)
			}
		}
		<-time.After(57 * time.Minute) // 2 is now 60 minutes old, 3 is 59
		if handled("2") || !handled("3") {
			t.Error("the time to live is not kept")
		}
		<-time.After(time.Hour)
		if handled("4") {
			t.Error("4 is too old")
		}
	})
}

// What panics is not remembered, and leaves nobody waiting.
func TestMemorySurvivesAPanic(t *testing.T) {
	t.Parallel()
	m := webhook.NewMemory(0, 0)
	func() {
		defer func() { _ = recover() }()
		_ = m.Once(t.Context(), "a", func(context.Context) error { panic("!") })
	}()
	ran := false
	if err := m.Once(t.Context(), "a", func(context.Context) error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("Once = %v, ran = %t", err, ran)
	}
}

// openDatabase returns one for SQLSeen, with many connections.
func openDatabase(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "seen.db"))+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.ExecContext(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	return db
}
