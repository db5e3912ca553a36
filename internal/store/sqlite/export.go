package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// movedID marks a file whose contents went to another store. No release takes
// it for its own, so that nobody delivers from it a second time.
const movedID = 0x5742766d // "WBvm"

var errMoved = errors.New("its contents were imported into PostgreSQL: serve that with --database, or restore a backup of this one")

// Export reads a whole database for another store. From OpenExport to Close
// nobody can write to the file.
type Export struct {
	pool *sql.DB
	conn *sql.Conn
}

// OpenExport opens a database that no server uses. It changes nothing, and
// refuses one whose schema is older than this program's.
func OpenExport(ctx context.Context, path string) (*Export, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	pool, err := sql.Open("sqlite", dsn(path, "immediate", "busy_timeout(10000)", "synchronous(FULL)", "cache_size(-8192)", "temp_store(2)"))
	if err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	pool.SetMaxOpenConns(1)
	e := &Export{pool: pool}
	if err := e.begin(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open export of %s: %w", path, classify(err)), e.Close())
	}
	return e, nil
}

func (e *Export) begin(ctx context.Context) error {
	var id int64
	if err := e.pool.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if id != applicationID && id != movedID { // once exported, it can be again
		return errNotOurs
	}
	p, err := newMigrator(e.pool)
	if err != nil {
		return err
	}
	current, known, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current != known {
		return fmt.Errorf("its schema is at migration %05d, and this program is at %05d: bring both to the same release, by `waybill migrate up`", current, known)
	}
	if e.conn, err = e.pool.Conn(ctx); err != nil {
		return err
	}
	_, err = e.conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	return err
}

// Days are those on which the events were accepted that something is known of.
func (e *Export) Days(ctx context.Context) ([]time.Time, error) {
	var days []time.Time
	for after := event.Seq(-1); ; {
		var next sql.NullInt64
		if err := e.conn.QueryRowContext(ctx, `SELECT min(seq) FROM (SELECT min(seq) AS seq FROM events WHERE seq > ?1
			UNION ALL SELECT min(seq) FROM attempts WHERE seq > ?1)`, int64(after)).Scan(&next); err != nil {
			return nil, fmt.Errorf("find days: %w", classify(err))
		}
		if !next.Valid {
			return days, nil
		}
		day := event.Seq(next.Int64).Time().Truncate(24 * time.Hour)
		days = append(days, day)
		after = event.SeqAt(day.AddDate(0, 0, 1)) - 1
	}
}

// Count returns how many rows a table has.
func (e *Export) Count(ctx context.Context, table string) (n int64, err error) {
	if err := e.conn.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		return 0, fmt.Errorf("count %s: %w", table, classify(err))
	}
	return n, nil
}

// implied are columns that a store with many lanes has and this one need not.
var implied = map[string]string{
	"retries.lane": "0",
	"retries.turn": "0",
	"lanes.batch":  "0",
	// Manual resends are numbered by the same sequence.
	"lanes.last": `(SELECT max(watermark, (SELECT coalesce(max(seq), 0) FROM events),
		(SELECT coalesce(max(run), 0) FROM attempts), (SELECT coalesce(max(run), 0) FROM retries)))`,
}

// Rows reads the named columns of a table, in the order of its key: integers,
// texts (of any bytes) and blobs. Truth is 0 or 1.
func (e *Export) Rows(ctx context.Context, table string, columns []string) (*sql.Rows, error) {
	list := make([]string, len(columns))
	for i, column := range columns {
		if list[i] = implied[table+"."+column]; list[i] == "" {
			list[i] = column
		}
	}
	rows, err := e.conn.QueryContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+table) //nolint:gosec // G202: names, not values
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", table, classify(err))
	}
	return rows, nil
}

// Highest returns the highest number that was ever given out in a table whose
// numbers are given out once.
func (e *Export) Highest(ctx context.Context, table string) (n int64, err error) {
	if err := e.conn.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", table).Scan(&n); err != nil {
		return 0, fmt.Errorf("read sequence of %s: %w", table, classify(err))
	}
	return n, nil
}

// Retire marks the file, which can then be exported but not served.
func (e *Export) Retire(ctx context.Context) error {
	for _, statement := range []string{fmt.Sprintf("PRAGMA application_id = %d", movedID), "COMMIT"} {
		if _, err := e.conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("retire store: %w", classify(err))
		}
	}
	return nil
}

// Close lets others write again.
func (e *Export) Close() error {
	if e.conn == nil {
		return e.pool.Close()
	}
	return errors.Join(e.conn.Close(), e.pool.Close())
}
