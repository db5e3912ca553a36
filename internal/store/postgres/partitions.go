package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// partitionsAhead is for how many days partitions are made in advance: a
// leaderless weekend, or a clock that is far ahead, costs nothing.
const partitionsAhead = 4

// makePartitionsDaily is for the leader to call whenever it likes.
func (db *DB) makePartitionsDaily(ctx context.Context) error {
	now := db.o.Clock()
	db.mu.Lock()
	due := now.Sub(db.made) > time.Hour
	db.mu.Unlock()
	if !due {
		return nil
	}
	return db.makePartitions(ctx)
}

// makePartitions makes the partitions of today and the next days, where they
// are missing.
func (db *DB) makePartitions(ctx context.Context) error {
	today := db.Now().UTC().Truncate(24 * time.Hour)
	for i := range partitionsAhead + 1 {
		from := today.AddDate(0, 0, i)
		for _, table := range []string{"events", "attempts"} {
			if err := db.makePartition(ctx, table, from, from.AddDate(0, 0, 1)); err != nil {
				return fmt.Errorf("make partition of %s for %s: %w", table, from.Format(time.DateOnly), err)
			}
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.made = db.o.Clock()
	return nil
}

func (db *DB) makePartition(ctx context.Context, table string, from, to time.Time) error {
	name := table + "_" + from.Format("20060102")
	// A query, as to_regclass can answer from what its session knew before it
	// waited for the lock.
	exists := func(c sqlstore.Conn) (exists bool, err error) {
		err = c.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = ? AND pg_table_is_visible(oid))", name).Scan(&exists)
		return exists, err
	}
	if there, err := exists(db.Read); err != nil || there {
		return classify(err)
	}
	return db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error {
		if err := lockFor(ctx, c, lockLanes); err != nil {
			return err
		}
		if there, err := exists(c); err != nil || there {
			return err
		}
		low, high := int64(event.SeqAt(from)), int64(event.SeqAt(to))
		for _, statement := range []string{
			lockPatience,
			// Vacuuming what only grows finds no dead rows, but gaps that a small
			// row fits in. New ones would be put there: a page read and logged
			// in full for each.
			fmt.Sprintf("CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING STORAGE) WITH (autovacuum_vacuum_insert_threshold = -1)", name, table),
			// What came too early for its partition lies in the default one.
			fmt.Sprintf("WITH moved AS (DELETE FROM %s_default WHERE seq >= %d AND seq < %d RETURNING *) INSERT INTO %s SELECT * FROM moved", table, low, high, name),
			fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)", table, name, low, high),
		} {
			if _, err := c.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// Retain does a step row by row, and drops partitions when there is none left.
func (db *DB) Retain(ctx context.Context, p store.Retain) (more bool, err error) {
	if more, err := db.DB.Retain(ctx, p); more || err != nil {
		return more, err
	}
	for _, old := range []struct {
		table string
		// keep selects the rows of a partition that stay: in the default one.
		keep   string
		before time.Time
		args   []any
	}{
		{"attempts", "started >= ?", p.Attempts, []any{sqlstore.Millis(p.Attempts)}},
		{"events", "EXISTS (SELECT 1 FROM retries r WHERE r.scope = old.scope AND r.seq = old.seq)", p.Events, nil},
	} {
		name, err := db.oldest(ctx, old.table, old.before)
		if err == nil && name != "" {
			return true, db.dropPartition(ctx, old.table, name, old.keep, old.args)
		}
		if err != nil {
			return false, fmt.Errorf("find old partitions of %s: %w", old.table, err)
		}
	}
	return false, nil
}

// oldest finds a partition that lies wholly before a time, and is summarised
// and settled.
func (db *DB) oldest(ctx context.Context, table string, before time.Time) (string, error) {
	var settled int64
	if err := db.Read.QueryRowContext(ctx, "SELECT least((SELECT coalesce(min(summarised), 0) FROM lanes), ("+db.SettledBelow+"))").Scan(&settled); err != nil {
		return "", classify(err)
	}
	if at := event.Seq(settled).Time(); at.Before(before) {
		before = at
	}
	var name string
	err := db.Read.QueryRowContext(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = ?::regclass AND c.relname > ? AND c.relname <= ? ORDER BY c.relname LIMIT 1`,
		table, table+"_0", table+"_"+before.UTC().AddDate(0, 0, -1).Format("20060102")).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return name, classify(err)
}

// lockPatience is how long a partition waits to be taken out or put in:
// meanwhile whoever comes to the table waits behind it.
const lockPatience = "SET LOCAL lock_timeout = '300ms'"

func (db *DB) dropPartition(ctx context.Context, table, name, keep string, args []any) error {
	err := db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error {
		for _, statement := range []string{lockPatience, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s", table, name)} {
			if _, err := c.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		if _, err := c.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s_default SELECT * FROM %s AS old WHERE %s", table, name, keep), args...); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, "DROP TABLE "+name)
		return err
	})
	if err != nil {
		return fmt.Errorf("drop partition %s: %w", name, err)
	}
	return nil
}
