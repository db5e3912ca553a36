package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
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
func queryEvents(ctx context.Context, q Conn, query string, args ...any) ([]*event.Event, error) {
	return queryBounded(ctx, q, 0, query, args...)
}

// queryBounded stops once it has maxBytes of payload; 0 is no bound.
func queryBounded(ctx context.Context, q Conn, maxBytes int, query string, args ...any) ([]*event.Event, error) {
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
	err = db.View(ctx, func(q Conn) error {
		events, err = queryBounded(ctx, q, p.MaxBytes, "SELECT "+columns+" FROM events WHERE (seq >> 13) & 255 = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
			p.Lane, int64(p.After), int64(p.UpTo), p.Limit)
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
func dropSettled(ctx context.Context, q Conn, events []*event.Event) error {
	settled := map[routeKey]bool{}
	var scopes []event.Scope
	for _, e := range events {
		if !slices.Contains(scopes, e.Scope) {
			scopes = append(scopes, e.Scope)
		}
	}
	for _, query := range []string{
		"SELECT seq, sub FROM attempts WHERE scope IN (SELECT value FROM json_each(?)) AND seq BETWEEN ? AND ? AND run = 0",
		"SELECT seq, sub FROM retries WHERE scope IN (SELECT value FROM json_each(?)) AND seq BETWEEN ? AND ? AND run = 0",
	} {
		if err := Each(ctx, q, func(scan func(...any) error) error {
			var k routeKey
			err := scan(&k.seq, &k.sub)
			settled[k] = true
			return err
		}, query, listOf(scopes), int64(events[0].Seq), int64(events[len(events)-1].Seq)); err != nil {
			return err
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

// DueColumns are what QueryDue reads, of retries r and events e.
const DueColumns = "e.seq, e.scope, e.kind, e.type, e.created, e.object_id, e.bus, e.hops, e.routes, e.cut, e.payload, r.run, r.n, r.next_at, r.grp"

// QueryDue collects the waiting deliveries of a query for DueColumns, until it
// has maxBytes of payload.
func (db *DB) QueryDue(ctx context.Context, p store.DueParams, query string, args ...any) ([]store.DueRetry, error) {
	rows, err := db.Read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read due retries: %w", db.ended(ctx, err))
	}
	defer rows.Close()
	var due []store.DueRetry
	bytes := 0
	for rows.Next() {
		d := store.DueRetry{Retry: store.Retry{RetryKey: store.RetryKey{Subscription: p.Subscription}}}
		var next int64
		if d.Event, err = scanEvent(rows, &d.Run, &d.N, &next, &d.Group); err != nil {
			return nil, fmt.Errorf("read due retries: %w", db.ended(ctx, err))
		}
		d.Scope, d.Seq, d.Next = d.Event.Scope, d.Event.Seq, fromMillis(next)
		due = append(due, d)
		if bytes += len(d.Event.Payload); p.MaxBytes > 0 && bytes >= p.MaxBytes {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read due retries: %w", db.ended(ctx, err))
	}
	return due, nil
}

// QueryTime reads the time that a query selects, zero if there is none.
func (db *DB) QueryTime(ctx context.Context, query string, args ...any) (time.Time, error) {
	var ms sql.NullInt64
	if err := db.Read.QueryRowContext(ctx, query, args...).Scan(&ms); err != nil {
		return time.Time{}, db.ended(ctx, err)
	}
	return fromMillis(ms.Int64), nil
}

// QueryCount runs a query for a count.
func (db *DB) QueryCount(ctx context.Context, query string, args ...any) (n int, err error) {
	if err := db.Read.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count due retries: %w", db.ended(ctx, err))
	}
	return n, nil
}

// QueryWaiting collects what a query for subscription, count and earliest time
// finds.
func (db *DB) QueryWaiting(ctx context.Context, query string, args ...any) ([]store.Waiting, error) {
	rows, err := db.Read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read waiting: %w", db.ended(ctx, err))
	}
	defer rows.Close()
	var all []store.Waiting
	for rows.Next() {
		var w store.Waiting
		var first int64
		if err := rows.Scan(&w.Subscription, &w.Count, &first); err != nil {
			return nil, fmt.Errorf("read waiting: %w", db.ended(ctx, err))
		}
		w.First = fromMillis(first)
		all = append(all, w)
	}
	return all, db.ended(ctx, rows.Err())
}
