package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const eventColumns = "seq, scope, kind, type, created, object_id, bus, hops, routes, cut, payload"

// scanEvent reads eventColumns, with any further columns after them.
func scanEvent(rows *sql.Rows, more ...any) (*event.Event, error) {
	e := new(event.Event)
	var created int64
	var routes []byte
	dest := append([]any{&e.Seq, &e.Scope, &e.Kind, &e.Type, &created, &e.ObjectID, &e.Bus, &e.Hops, &routes, &e.Cut, &e.Payload}, more...)
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	e.Created = time.UnixMilli(created).UTC() // 0 is a time too: a publisher may state it
	var err error
	e.Routes, err = event.ParseRoutes(routes)
	return e, err
}

// queryEvents collects the events of a query that selects eventColumns.
func queryEvents(ctx context.Context, q querier, query string, args ...any) ([]*event.Event, error) {
	return queryBounded(ctx, q, 0, query, args...)
}

// queryBounded stops once it has maxBytes of payload; 0 is no bound.
func queryBounded(ctx context.Context, q querier, maxBytes int, query string, args ...any) ([]*event.Event, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []*event.Event
	bytes := 0
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
		if bytes += len(e.Payload); maxBytes > 0 && bytes >= maxBytes {
			break
		}
	}
	return events, rows.Err()
}

// EventsAfter reads a stretch of the log.
func (db *DB) EventsAfter(ctx context.Context, p store.AfterParams) (events []*event.Event, err error) {
	columns := eventColumns
	if p.Skim {
		columns = strings.NewReplacer("payload", "x''", "bus", "0", "hops", "0").Replace(columns)
	}
	err = db.view(ctx, func(q querier) error {
		events, err = queryBounded(ctx, q, p.MaxBytes, "SELECT "+columns+" FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", int64(p.After), int64(p.UpTo), p.Limit)
		if err != nil || !p.Undone || len(events) == 0 {
			return err
		}
		return dropSettled(ctx, q, events)
	})
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return events, nil
}

type routeKey struct {
	seq event.Seq
	sub int64
}

// dropSettled removes from consecutive events the routes that are closed,
// attempted or waiting. A failed try writes its retry in the same
// transaction, so an attempt of the scheduled run means settled or waiting.
func dropSettled(ctx context.Context, q querier, events []*event.Event) error {
	first, last := int64(events[0].Seq), int64(events[len(events)-1].Seq)
	settled := map[routeKey]bool{}
	mark := func(query string, args ...any) error {
		rows, err := q.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k routeKey
			if err := rows.Scan(&k.seq, &k.sub); err != nil {
				return err
			}
			settled[k] = true
		}
		return rows.Err()
	}
	if err := mark("SELECT seq, sub FROM attempts WHERE seq BETWEEN ? AND ? AND run = 0", first, last); err != nil {
		return err
	}
	scopes := map[event.Scope]bool{}
	for _, e := range events {
		if !scopes[e.Scope] {
			scopes[e.Scope] = true
			if err := mark("SELECT seq, sub FROM retries WHERE scope = ? AND seq BETWEEN ? AND ? AND run = 0", int64(e.Scope), first, last); err != nil {
				return err
			}
		}
	}
	for _, e := range events {
		open := e.Routes[:0]
		for _, r := range e.Routes {
			if r.Disposition == event.Dispatch && !settled[routeKey{e.Seq, r.Subscription}] {
				open = append(open, r)
			}
		}
		e.Routes = open
	}
	return nil
}

const dueQuery = `SELECT e.seq, e.scope, e.kind, e.type, e.created, e.object_id, e.bus, e.hops, e.routes, e.cut, e.payload, r.run, r.n, r.next_at
		FROM retries r JOIN events e ON e.seq = r.seq
		WHERE r.sub = ? AND r.next_at <= ? ORDER BY r.next_at, r.seq LIMIT ?`

// DueRetries returns a subscription's due deliveries, earliest first.
func (db *DB) DueRetries(ctx context.Context, p store.DueParams) ([]store.DueRetry, error) {
	rows, err := db.read.QueryContext(ctx, dueQuery, p.Subscription, millis(p.Before), p.Limit)
	if err != nil {
		return nil, fmt.Errorf("read due retries: %w", ended(ctx, err))
	}
	defer rows.Close()
	var due []store.DueRetry
	bytes := 0
	for rows.Next() {
		d := store.DueRetry{Retry: store.Retry{RetryKey: store.RetryKey{Subscription: p.Subscription}}}
		var next int64
		if d.Event, err = scanEvent(rows, &d.Run, &d.N, &next); err != nil {
			return nil, fmt.Errorf("read due retries: %w", ended(ctx, err))
		}
		d.Scope, d.Seq, d.Next = d.Event.Scope, d.Event.Seq, fromMillis(next)
		due = append(due, d)
		if bytes += len(d.Event.Payload); p.MaxBytes > 0 && bytes >= p.MaxBytes {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read due retries: %w", ended(ctx, err))
	}
	return due, nil
}

// NextRetry looks past what is due.
func (db *DB) NextRetry(ctx context.Context, subscription int64, after time.Time) (time.Time, error) {
	var next sql.NullInt64
	if err := db.read.QueryRowContext(ctx, "SELECT min(next_at) FROM retries WHERE sub = ? AND next_at > ?", subscription, millis(after)).Scan(&next); err != nil {
		return time.Time{}, fmt.Errorf("read next retry: %w", ended(ctx, err))
	}
	return fromMillis(next.Int64), nil
}

// WaitingSubscriptions sums up the retry table by subscription.
func (db *DB) WaitingSubscriptions(ctx context.Context) ([]store.Waiting, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT sub, count(*), min(next_at) FROM retries GROUP BY sub")
	if err != nil {
		return nil, fmt.Errorf("read waiting: %w", ended(ctx, err))
	}
	defer rows.Close()
	var all []store.Waiting
	for rows.Next() {
		var w store.Waiting
		var first int64
		if err := rows.Scan(&w.Subscription, &w.Count, &first); err != nil {
			return nil, fmt.Errorf("read waiting: %w", ended(ctx, err))
		}
		w.First = fromMillis(first)
		all = append(all, w)
	}
	return all, ended(ctx, rows.Err())
}
