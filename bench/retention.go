package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // to fill the file with what is old

	"github.com/waybill-dev/waybill/internal/event"
)

const (
	// oldEvents are more than retention gets done with during a measurement.
	oldEvents = 300_000
	// oldFor is how long ago the first of them was accepted.
	oldFor = 60 * 24 * time.Hour
	// besideRetention is how many events a second are published meanwhile.
	besideRetention = 500
)

// retention compares what publishers see while old events are folded and
// removed with what they see when all of it is kept.
func retention(ctx context.Context, s settings, r *receiver, rep *report) error {
	var p99 [2]float64
	for i, keep := range []string{"87600h", ""} {
		if err := withAged(ctx, s, keep, func(srv *server) error {
			if err := srv.destination(ctx, r.url+"/hook", "*"); err != nil {
				return err
			}
			before := oldRows(ctx, srv.dir)
			m := offered(ctx, s, r, srv, besideRetention, s.window)
			after := oldRows(ctx, srv.dir)
			p99[i] = m.p99
			name := "publish beside 300,000 old events that are kept"
			if keep == "" {
				name = "publish while they are folded and removed"
			}
			rep.add(name, m.String(), fmt.Sprintf("%d attempts and events gone meanwhile", before-after))
			if keep == "" && before == after {
				return fmt.Errorf("nothing was removed meanwhile: there is nothing to compare")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	rep.bound("p99 with retention, of that without", fmt.Sprintf("%.1f", p99[1]/p99[0]), p99[1]/p99[0], 2, "x")
	return nil
}

// withAged runs fn on a server whose file holds old events. keep is how long
// everything is kept, "" the default.
func withAged(ctx context.Context, s settings, keep string, fn func(*server) error) error {
	dir, err := os.MkdirTemp(s.dataDir, "waybill-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	srv, err := startServer(ctx, s, dir)
	if err != nil {
		return err
	}
	srv.stop() // the file is there now
	if err := age(ctx, dir); err != nil {
		return fmt.Errorf("fill with old events: %w", err)
	}
	if keep != "" {
		s.env = []string{"WAYBILL_RETAIN_ATTEMPTS=" + keep, "WAYBILL_RETAIN_EVENTS=" + keep, "WAYBILL_RETAIN_SUMMARIES=" + keep}
	}
	if srv, err = startServer(ctx, s, dir); err != nil {
		return err
	}
	defer srv.stop()
	return fn(srv)
}

func openFile(dir string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+filepath.Join(dir, "waybill.db")+"?_pragma=busy_timeout(10000)")
}

// age writes events that were delivered at the first try.
func age(ctx context.Context, dir string) error {
	db, err := openFile(dir)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // what matters was committed
	from := time.Now().Add(-oldFor)
	step := (oldFor - 45*24*time.Hour).Milliseconds() * 1000 / oldEvents // microseconds: they end 45 days ago
	_, err = db.ExecContext(ctx, `
		CREATE TEMP TABLE old AS WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
			SELECT ?2 + ((i * ?3 / 1000) << 21) + (i % 8192) AS seq, ?4 + i * ?3 / 1000 AS created FROM n;
		BEGIN;
		INSERT INTO events (seq, scope, kind, type, created, object_id, routes, cut, payload)
			SELECT seq, 2, 1, 'old.event', created, 'old_1', x'6400', 0, '{"id":"evt_old","pad":"' || hex(randomblob(400)) || '"}' FROM old;
		INSERT INTO attempts (seq, sub, run, n, scope, outcome, status, started, first_byte, total, next_at, class)
			SELECT seq, 100, 0, 1, 2, 1, 200, created, 1000, 1000, 0, '' FROM old;
		UPDATE lanes SET watermark = (SELECT max(seq) FROM events);
		COMMIT`, oldEvents, int64(event.SeqAt(from)), step, from.UnixMilli())
	return err
}

func oldRows(ctx context.Context, dir string) (n int) {
	db, err := openFile(dir)
	if err != nil {
		return 0
	}
	defer db.Close() //nolint:errcheck // it was only read
	_ = db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM events WHERE type = 'old.event') + (SELECT count(*) FROM attempts WHERE sub = 100)").Scan(&n)
	return n
}
