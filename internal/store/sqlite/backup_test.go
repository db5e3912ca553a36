package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// execute changes a file behind the store's back.
func execute(t *testing.T, path string, statements ...string) {
	t.Helper()
	pool, err := sql.Open("sqlite", dsn(path, "immediate", "busy_timeout(10000)"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := pool.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
}

// A backup that is made while events are committed holds all of one moment:
// what was committed before it began, whole batches, and nothing after the
// last of them.
func TestBackupWhileServing(t *testing.T) {
	t.Parallel()
	path := file(t)
	db := openAt(t, Options{Path: path})
	if _, err := db.BindKey(t.Context(), "the key"); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, db)
	const size = 7
	var batches atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	enough, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := db.Commit(ctx, w.batch(size, 500)); err != nil {
				done <- err
				return
			}
			if batches.Add(1) == 50 {
				close(enough)
			}
		}
		done <- nil
	}()
	<-enough
	before := batches.Load()
	to := filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(to, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Backup(t.Context(), path, to)
	after := batches.Load() + 1 // one may have been committed and not yet counted
	stop()
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if fingerprint, err := Inspect(t.Context(), to); err != nil || fingerprint != "the key" {
		t.Fatalf("inspect: %q, %v", fingerprint, err)
	}
	copied := openAt(t, Options{Path: to}) // which refuses another page size or application id
	events, attempts := count(t, copied, "events"), count(t, copied, "attempts")
	if events != attempts || events%size != 0 || int64(events/size) < before || int64(events/size) > after {
		t.Errorf("the backup has %d events and %d attempts; %d to %d batches of %d were committed", events, attempts, before, after, size)
	}
	var last, theirs int64
	if err := errors.Join(
		copied.read.QueryRowContext(t.Context(), "SELECT max(seq) FROM events").Scan(&last),
		db.read.QueryRowContext(t.Context(), "SELECT seq FROM events ORDER BY seq LIMIT 1 OFFSET ?", events-1).Scan(&theirs),
	); err != nil || last != theirs {
		t.Errorf("event %d is %d in the backup and %d in the store, %v", events, last, theirs, err)
	}
}

func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Backup(t.Context(), filepath.Join(dir, "none.db"), filepath.Join(dir, "to")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no database: %v", err)
	}
	other := filepath.Join(dir, "other.db")
	execute(t, other, "CREATE TABLE theirs (a)")
	if err := Backup(t.Context(), other, filepath.Join(dir, "to")); !errors.Is(err, errNotOurs) {
		t.Errorf("another's database: %v", err)
	}
	if _, err := Inspect(t.Context(), other); !errors.Is(err, errNotOurs) {
		t.Errorf("inspect another's database: %v", err)
	}
}

func TestInspectFindsDamage(t *testing.T) {
	t.Parallel()
	path := file(t)
	db, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Commit(t.Context(), newWriter(t, db).batch(500, 500)), db.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"half":     content[:len(content)/2],
		"a hole":   slices.Concat(content[:10*pageSize], make([]byte, 4*pageSize), content[14*pageSize:]),
		"nothing":  nil,
		"one page": content[:pageSize],
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Inspect(t.Context(), path); err == nil {
			t.Errorf("a file with %s is found whole", name)
		}
	}
}

// Releases of one generation share a database; a later generation's does not
// open.
func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	path := file(t)
	if err := openAt(t, Options{Path: path}).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	execute(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	db := openAt(t, Options{Path: path})
	if err := db.Commit(t.Context(), newWriter(t, db).batch(1, 1)); err != nil {
		t.Error(err)
	}
	list, err := db.Migrations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := list[len(list)-1]
	if last.Version != 99 || last.Name != "" || time.Since(last.Applied) > time.Minute {
		t.Errorf("migrations are %+v", list)
	}
	for _, m := range list[:len(list)-1] {
		if !strings.HasSuffix(m.Name, ".sql") || m.Applied.IsZero() {
			t.Errorf("migration %+v", m)
		}
	}
	execute(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (100, 1)")
	for _, foreign := range []bool{false, true} {
		if _, err := Open(t.Context(), Options{Path: path, Foreign: foreign}); !errors.Is(err, sqlstore.ErrNewer) {
			t.Errorf("a database of a later generation opened: %v", err)
		}
	}
}

func TestMigrationsPending(t *testing.T) {
	t.Parallel()
	path := file(t)
	atVersion(t, path, 1)
	list, err := openAt(t, Options{Path: path, Foreign: true}).Migrations(t.Context())
	if err != nil || len(list) < 2 || list[0].Applied.IsZero() || !list[1].Applied.IsZero() || list[1].Name != "00002_bus.sql" {
		t.Errorf("migrations are %+v, %v", list, err)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	path := file(t)
	db, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, db)
	want := []time.Time{}
	for _, day := range []int{0, 1, 9} {
		w.now = time.Date(2025, 6, 15+day, 23, 59, 59, 999e6, time.UTC)
		want = append(want, w.now.Truncate(24*time.Hour))
		if err := db.Commit(t.Context(), w.batch(3, 10)); err != nil {
			t.Fatal(err)
		}
	}
	run := w.seq.Next(w.now.AddDate(0, 0, 1), 0)
	if err := db.Commit(t.Context(), &store.Batch{Epoch: w.lane.Epoch, Now: w.now, RetryPut: []store.Retry{
		{RetryKey: store.RetryKey{Scope: scope, Seq: w.seq, Subscription: 1, Run: int(run)}, Next: w.now},
	}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, path, "DELETE FROM events WHERE seq < "+fmt.Sprint(int64(event.SeqAt(want[1])))) // their attempts stay

	for range 2 { // what was retired can be exported again
		e, err := OpenExport(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if days, err := e.Days(t.Context()); err != nil || !slices.Equal(days, want) {
			t.Errorf("days are %v, %v, want %v", days, err, want)
		}
		if n, err := e.Count(t.Context(), "attempts"); err != nil || n != 9 {
			t.Errorf("%d attempts, %v", n, err)
		}
		if last, lane := exportedLane(t, e); last != run || lane != 0 {
			t.Errorf("lane %d ends with %d, want 0 with %d", lane, last, run)
		}
		if err := errors.Join(e.Retire(t.Context()), e.Close()); err != nil {
			t.Fatal(err)
		}
		for _, foreign := range []bool{false, true} {
			if _, err := Open(t.Context(), Options{Path: path, Foreign: foreign}); !errors.Is(err, errMoved) {
				t.Errorf("a retired database opened: %v", err)
			}
		}
	}
}

func exportedLane(t *testing.T, e *Export) (last event.Seq, lane int) {
	t.Helper()
	rows, err := e.Rows(t.Context(), "lanes", []string{"last", "lane"})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&last, &lane); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return last, lane
}

// Nobody writes to a database while it is exported, and what ends early leaves
// it as it was.
func TestExportIsExclusive(t *testing.T) {
	t.Parallel()
	path := file(t)
	db := openAt(t, Options{Path: path})
	execute(t, path, "INSERT INTO accounts (id, name, api_version, created, aws_id) VALUES ('acct_1', '', '', 0, '1')")
	e, err := OpenExport(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := e.Highest(t.Context(), "accounts"); err != nil || n != 1 {
		t.Errorf("highest account is %d, %v", n, err)
	}
	if n, err := e.Highest(t.Context(), "messages"); err != nil || n != 0 {
		t.Errorf("highest message is %d, %v", n, err)
	}
	if _, err := db.write.ExecContext(t.Context(), "PRAGMA busy_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.BindKey(t.Context(), "k"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a change while it is exported: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if recorded, err := db.BindKey(t.Context(), "k"); err != nil || recorded != "k" {
		t.Errorf("a change afterwards: %q, %v", recorded, err)
	}
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, other := filepath.Join(dir, "old.db"), filepath.Join(dir, "other.db")
	atVersion(t, old, 1)
	execute(t, other, "CREATE TABLE theirs (a)")
	for path, says := range map[string]string{
		old:                             "waybill migrate up",
		other:                           "not a waybill database",
		filepath.Join(dir, "absent.db"): "no such file",
	} {
		if _, err := OpenExport(t.Context(), path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
