package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

const scope = event.Scope(2)

func openAt(t testing.TB, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "waybill.db") }

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return openAt(t, Options{Path: file(t)}) })
}

// writer commits batches of events with one attempt each.
type writer struct {
	db   *DB
	lane store.LaneState
	seq  event.Seq
	now  time.Time
}

func newWriter(t testing.TB, db *DB) *writer {
	t.Helper()
	lane, err := db.OpenLane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &writer{db: db, lane: lane, seq: lane.Last, now: time.UnixMilli(1_750_000_000_000)}
}

func (w *writer) batch(events, size int) *store.Batch {
	b := &store.Batch{Lane: 0, Epoch: w.lane.Epoch, ConfigVersion: 1, Now: w.now}
	s := new(store.Submission)
	object := []byte(`{"pad":"` + strings.Repeat("x", size) + `"}`)
	for range events {
		d := event.Draft{Type: "invoice.paid", Object: object, ObjectID: "in_1"}
		e := d.Build(scope, w.now, "2025-01-01")
		e.Routes = []event.Route{{Subscription: 1}}
		s.Events = append(s.Events, e)
	}
	w.assign(s.Events)
	for _, e := range s.Events {
		b.Attempts = append(b.Attempts, &event.Attempt{Seq: e.Seq, Subscription: 1, Scope: scope, N: 1, Outcome: event.Delivered, Status: 200, Started: w.now})
	}
	b.Submissions = []*store.Submission{s}
	return b
}

func (w *writer) assign(events []*event.Event) {
	for _, e := range events {
		w.seq = w.seq.Next(w.now, 0)
		e.Assign(w.seq)
	}
}

func count(t *testing.T, db *DB, table string) (n int) {
	t.Helper()
	if err := db.read.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReopenKeepsAll(t *testing.T) {
	t.Parallel()
	path := file(t)
	db, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, db)
	b := w.batch(3, 10)
	b.Watermark = b.Submissions[0].Events[1].Seq
	b.RetryPut = []store.Retry{{RetryKey: store.RetryKey{Scope: scope, Seq: w.seq, Subscription: 1}, N: 1, Next: w.now}}
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = openAt(t, Options{Path: path})
	for table, want := range map[string]int{"events": 3, "attempts": 3, "retries": 1} {
		if got := count(t, db, table); got != want {
			t.Errorf("%d rows in %s after reopening, want %d", got, table, want)
		}
	}
	lane, err := db.OpenLane(t.Context())
	want := store.LaneState{Epoch: w.lane.Epoch + 1, Watermark: b.Watermark, Last: w.seq}
	if err != nil || lane != want {
		t.Errorf("lane is %+v, want %+v (%v)", lane, want, err)
	}
	if got := count(t, db, "installation WHERE config_version = 1"); got != 1 {
		t.Error("migrated twice")
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := file(t)
	db, err := Open(t.Context(), Options{Path: path, MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, db)
	var full error
	committed := 0
	for full == nil {
		// Without the table's room this takes well under a hundred rounds.
		if committed > 10_000 {
			t.Fatal("the file grew past its bound")
		}
		if full = db.Commit(t.Context(), w.batch(20, 1000)); full == nil {
			committed += 20
		}
	}
	if !errors.Is(full, store.ErrUnavailable) {
		t.Fatalf("a full disk gave %v, want ErrUnavailable", full)
	}
	check := func(db *DB) {
		t.Helper()
		for _, table := range []string{"events", "attempts"} {
			if got := count(t, db, table); got != committed {
				t.Errorf("%d rows in %s, want %d", got, table, committed)
			}
		}
	}
	check(db)
	if err := db.Commit(t.Context(), w.batch(20, 1000)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a disk still full gave %v, want ErrUnavailable", err)
	}
	check(db)
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	// Room appears while the file is open.
	if _, err := db.write.ExecContext(t.Context(), "PRAGMA max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(t.Context(), w.batch(20, 1000)); err != nil {
		t.Fatalf("commit after room was made: %v", err)
	}
	committed += 20
	check(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = openAt(t, Options{Path: path, MaxSize: 16 << 20})
	check(db)
	if err := db.Commit(t.Context(), newWriter(t, db).batch(200, 1000)); err != nil {
		t.Fatalf("commit after reopening with room: %v", err)
	}
	committed += 200
	check(db)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.db")
	pool, err := sql.Open("sqlite", other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.ExecContext(t.Context(), "CREATE TABLE theirs (a)"); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o    Options
		says string
		is   error
	}{
		"a text file":           {Options{Path: text}, "not a database", store.ErrUnavailable},
		"another's database":    {Options{Path: other}, "not a waybill database", errNotOurs},
		"a directory":           {Options{Path: dir}, "unable to open", store.ErrUnavailable},
		"no directory":          {Options{Path: filepath.Join(dir, "none", "waybill.db")}, "unable to open", store.ErrUnavailable},
		"below a file":          {Options{Path: filepath.Join(text, "waybill.db")}, "unable to open", store.ErrUnavailable},
		"foreign, no file":      {Options{Path: filepath.Join(dir, "none.db"), Foreign: true}, "no such file", os.ErrNotExist},
		"foreign, empty file":   {Options{Path: empty, Foreign: true}, "not a waybill database", errNotOurs},
		"foreign, another's":    {Options{Path: other, Foreign: true}, "not a waybill database", errNotOurs},
		"foreign, a text file":  {Options{Path: text, Foreign: true}, "not a database", store.ErrUnavailable},
		"a path with ? and %41": {Options{Path: filepath.Join(dir, "none?", "%41")}, "%41", store.ErrUnavailable},
	} {
		before, _ := os.ReadFile(tt.o.Path)
		db, err := Open(t.Context(), tt.o)
		if err == nil {
			_ = db.Close()
			t.Errorf("%s was opened", name)
			continue
		}
		if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.o.Path) {
			t.Errorf("%s: error %q, want one that says %q and names %s", name, err, tt.says, tt.o.Path)
		}
		if after, _ := os.ReadFile(tt.o.Path); !bytes.Equal(before, after) {
			t.Errorf("%s was changed", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db")); err == nil {
		t.Error("foreign mode created a file")
	}
}

func TestOddPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?c%41#d;.db")
	openAt(t, Options{Path: path})
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// Another process makes accounts while the first one serves.
func TestForeign(t *testing.T) {
	t.Parallel()
	path := file(t)
	db := openAt(t, Options{Path: path})
	w := newWriter(t, db)
	foreign := openAt(t, Options{Path: path, Foreign: true})

	var won atomic.Int32
	var wg sync.WaitGroup
	for i, handle := range []*DB{db, foreign, db, foreign} {
		wg.Go(func() {
			p := &store.CreateAccount{Account: store.Account{ID: fmt.Sprint("acct_", i), Created: w.now}, OnlyFirst: true}
			switch err := handle.CreateAccount(context.WithoutCancel(t.Context()), p); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrExists):
				t.Errorf("create account: %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d first accounts", won.Load())
	}
	if all, err := db.Accounts(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("accounts are %v, %v", all, err)
	}
	d := &store.Destination{Scope: scope, ID: "ed_1", Status: event.Enabled, Config: []byte("{}")}
	if err := foreign.CreateDestination(t.Context(), d, nil); err != nil {
		t.Fatal(err)
	}
	b := w.batch(1, 10)
	if err := db.Commit(t.Context(), b); !errors.Is(err, store.ErrStaleRoutes) {
		t.Errorf("commit after another process changed the routes: %v, want ErrStaleRoutes", err)
	}
	b.ConfigVersion = d.Version
	if err := db.Commit(t.Context(), b); err != nil {
		t.Error(err)
	}
	if _, err := foreign.OpenLane(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(t.Context(), b); !errors.Is(err, store.ErrFenced) {
		t.Errorf("commit after the lane was taken: %v, want ErrFenced", err)
	}
}

func TestDamagedDetail(t *testing.T) {
	t.Parallel()
	db := openAt(t, Options{Path: file(t)})
	w := newWriter(t, db)
	b := w.batch(1, 10)
	b.Attempts[0].Outcome, b.Attempts[0].N, b.Attempts[0].Message = event.WasDiscarded, 0, event.ReasonDeleted
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.ExecContext(t.Context(), "UPDATE attempts SET detail = x'00ff'"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Attempts(t.Context(), scope, w.seq, 1); err == nil || !strings.Contains(err.Error(), "damaged detail") {
		t.Errorf("attempts: %v", err)
	}
	if _, err := db.ListDeliveries(t.Context(), store.ListDeliveries{Scope: scope, Limit: 1}); err == nil || !strings.Contains(err.Error(), "damaged detail") {
		t.Errorf("deliveries: %v", err)
	}
	if _, err := db.write.ExecContext(t.Context(), "UPDATE events SET routes = x'ff'"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.EventsBySeq(t.Context(), scope, []event.Seq{w.seq}); err == nil {
		t.Error("damaged routes were read")
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, index := range []bool{true, false} {
		for _, size := range []int{1, 64, 1000} {
			name := fmt.Sprintf("events=%d/index=%v", size, index)
			b.Run(name, func(b *testing.B) {
				db := openAt(b, Options{Path: file(b)})
				if !index {
					if _, err := db.write.ExecContext(b.Context(), "DROP INDEX events_by_scope"); err != nil {
						b.Fatal(err)
					}
				}
				w := newWriter(b, db)
				batch := w.batch(size, 850)
				b.SetBytes(int64(size * len(batch.Submissions[0].Events[0].Payload)))
				for b.Loop() {
					w.assign(batch.Submissions[0].Events)
					for i, e := range batch.Submissions[0].Events {
						batch.Attempts[i].Seq = e.Seq
					}
					if err := db.Commit(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "us/event")
			})
		}
	}
}
