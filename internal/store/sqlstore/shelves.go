package sqlstore

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// AppendLog adds entries to a log group.
func (db *DB) AppendLog(ctx context.Context, group int64, entries []store.LogEntry) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		if err := db.Share(ctx, c); err != nil {
			return err
		}
		held := holders{c: c}
		if ok, err := held.has(ctx, store.KindLogGroup, group); err != nil || !ok {
			if err == nil {
				err = store.ErrNotFound
			}
			return err
		}
		rows := make([]any, 0, 4*len(entries))
		for i := range entries {
			e := &entries[i]
			rows = append(rows, group, e.Time.UnixMilli(), e.Stream, Blob(e.Message))
		}
		return insertLog.Rows(ctx, c, rows)
	})
	if err != nil {
		return fmt.Errorf("append to log: %w", err)
	}
	return nil
}

// bounds are milliseconds with from <= ms < to.
func bounds(from, to time.Time) (low, high int64) {
	low, high = math.MinInt64, math.MaxInt64
	if !from.IsZero() {
		low = ceilMillis(from)
	}
	if !to.IsZero() {
		high = ceilMillis(to)
	}
	return low, high
}

func ceilMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

// LogEntries returns a page of a log group.
func (db *DB) LogEntries(ctx context.Context, p store.LogQuery) ([]store.LogEntry, error) {
	low, high := bounds(p.From, p.To)
	var q strings.Builder
	q.WriteString("SELECT id, time, stream, message FROM log_entries INDEXED BY log_entries_by_group WHERE grp = ? AND id > ? AND time >= ? AND time < ?")
	args := []any{p.Group, p.After, low, high}
	if p.Stream != "" {
		q.WriteString(" AND stream = ?")
		args = append(args, p.Stream)
	}
	if p.Contains != "" {
		q.WriteString(" AND instr(message, ?) > 0")
		args = append(args, []byte(p.Contains))
	}
	q.WriteString(" ORDER BY id LIMIT ?")
	rows, err := db.Read.QueryContext(ctx, q.String(), append(args, p.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", db.ended(ctx, err))
	}
	defer rows.Close()
	var entries []store.LogEntry
	for rows.Next() {
		var e store.LogEntry
		var at int64
		if err := rows.Scan(&e.ID, &at, &e.Stream, &e.Message); err != nil {
			return nil, fmt.Errorf("read log: %w", db.ended(ctx, err))
		}
		e.Time = time.UnixMilli(at).UTC()
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read log: %w", db.ended(ctx, err))
	}
	return entries, nil
}

const (
	trimLogQuery     = "DELETE FROM log_entries WHERE id IN (SELECT id FROM log_entries WHERE grp = ? AND time < ? ORDER BY time LIMIT ?)"
	trimArchiveQuery = `DELETE FROM archived WHERE (archive, time, seq) IN
		(SELECT archive, time, seq FROM archived INDEXED BY archived_by_seq WHERE archive = ? AND seq < ? ORDER BY seq LIMIT ?)`
	archivedQuery = "SELECT time, seq, payload FROM archived WHERE archive = ? AND time >= ? AND time < ? AND (time, seq) > (?, ?) ORDER BY time, seq LIMIT ?"
)

// TrimLog removes old entries.
func (db *DB) TrimLog(ctx context.Context, group int64, before time.Time, limit int) (n int, err error) {
	err = db.Tx(ctx, func(ctx context.Context, c Conn) error {
		n, err = affected(c.ExecContext(ctx, trimLogQuery, group, ceilMillis(before), limit))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("trim log: %w", err)
	}
	return n, nil
}

// ArchivedEvents returns a stretch of an archive.
func (db *DB) ArchivedEvents(ctx context.Context, p store.ArchiveQuery) ([]store.ArchivedEvent, error) {
	low, high := bounds(p.From, p.To)
	after := int64(math.MinInt64)
	if !p.AfterTime.IsZero() {
		after = p.AfterTime.UnixMilli()
	}
	rows, err := db.Read.QueryContext(ctx, archivedQuery, p.Archive, max(low, after), high, after, int64(p.AfterSeq), p.Limit)
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", db.ended(ctx, err))
	}
	defer rows.Close()
	var events []store.ArchivedEvent
	for rows.Next() {
		var e store.ArchivedEvent
		var at int64
		if err := rows.Scan(&at, &e.Seq, &e.Payload); err != nil {
			return nil, fmt.Errorf("read archive: %w", db.ended(ctx, err))
		}
		e.Time = time.UnixMilli(at).UTC()
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read archive: %w", db.ended(ctx, err))
	}
	return events, nil
}

// ArchiveSize counts what an archive holds.
func (db *DB) ArchiveSize(ctx context.Context, archive int64) (count, bytes int64, err error) {
	err = db.Read.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(length(payload)), 0) FROM archived NOT INDEXED WHERE archive = ?", archive).Scan(&count, &bytes)
	if err != nil {
		return 0, 0, fmt.Errorf("measure archive: %w", db.ended(ctx, err))
	}
	return count, bytes, nil
}

// TrimArchive removes events that were accepted long ago.
func (db *DB) TrimArchive(ctx context.Context, archive int64, before time.Time, limit int) (n int, err error) {
	err = db.Tx(ctx, func(ctx context.Context, c Conn) error {
		n, err = affected(c.ExecContext(ctx, trimArchiveQuery, archive, int64(event.SeqAt(before)), limit))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("trim archive: %w", err)
	}
	return n, nil
}
