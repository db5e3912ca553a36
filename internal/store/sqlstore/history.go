package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const maxSeq = math.MaxInt64

// A list walks its index in chunks, each a read transaction of its own, and
// looks at the caller's context between them. The first is about a page, as
// most lists find what they want at once; a list that filters almost
// everything out soon moves in large ones.
const (
	firstChunk = 64
	lastChunk  = 8192
)

// createdSlack is how far below its creation time an event's sequence number
// can lie: created is at most five minutes after acceptance, and as much again
// is allowed for the clock.
const createdSlack = 10 * time.Minute

// List is a parameter for json_each: one statement for lists of every length.
type List []int64

// Value is what SQLite takes; another driver takes the list itself.
func (l List) Value() (driver.Value, error) {
	if len(l) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal([]int64(l))
	return string(b), err
}

func listOf[T ~int64](list []T) List {
	l := make(List, len(list))
	for i, v := range list {
		l[i] = int64(v)
	}
	return l
}

// span is a range of created, in milliseconds, and the lowest sequence number
// that an event within it can have.
type span struct {
	from, to int64
	lowest   event.Seq
}

func newSpan(from, to time.Time) span {
	s := span{from: math.MinInt64, to: math.MaxInt64}
	if !from.IsZero() {
		s.from = from.UnixMilli()
		if from.Sub(time.UnixMilli(s.from)) > 0 { // created has whole milliseconds
			s.from++
		}
		// Beyond either end the number would not fit its 42 bits.
		switch ms := from.Add(-createdSlack).UnixMilli(); {
		case ms >= 1<<42:
			s.lowest = maxSeq
		case ms > 0:
			s.lowest = event.SeqAt(time.UnixMilli(ms))
		}
	}
	if !to.IsZero() {
		s.to = to.UnixMilli()
	}
	return s
}

// Event finds an event by its id.
func (db *DB) Event(ctx context.Context, scope event.Scope, id string) (found *event.Event, err error) {
	bySeq := func(seq event.Seq) (*event.Event, error) {
		events, err := queryEvents(ctx, db.Read, "SELECT "+eventColumns+" FROM events WHERE seq = ? AND scope = ?", int64(seq), int64(scope))
		// A client may choose an id that reads like one of ours, and the event
		// with that number then has another.
		if err == nil && (len(events) == 0 || events[0].ID() != id) {
			err = store.ErrNotFound
		}
		if err != nil {
			return nil, err
		}
		return events[0], nil
	}
	err = store.ErrNotFound
	if seq, ok := event.ParseID(id, scope.Live()); ok {
		found, err = bySeq(seq)
	} else if seq, ok := event.ParseBusID(id); ok {
		found, err = bySeq(seq)
	}
	if errors.Is(err, store.ErrNotFound) {
		var seq event.Seq
		if err = db.Read.QueryRowContext(ctx, "SELECT seq FROM event_keys WHERE scope = ? AND id = ?", int64(scope), id).Scan(&seq); err == nil {
			found, err = bySeq(seq)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("find event: %w", db.absent(ctx, err))
	}
	return found, nil
}

// EventsBySeq returns those that exist in the scope, in the order asked.
func (db *DB) EventsBySeq(ctx context.Context, scope event.Scope, seqs []event.Seq) ([]*event.Event, error) {
	bySeq, err := eventsBySeq(ctx, db.Read, scope, seqs)
	if err != nil {
		return nil, fmt.Errorf("find events: %w", db.ended(ctx, err))
	}
	events := make([]*event.Event, 0, len(seqs))
	for _, s := range seqs {
		if e := bySeq[s]; e != nil {
			events = append(events, e)
		}
	}
	return events, nil
}

func eventsBySeq(ctx context.Context, q Conn, scope event.Scope, seqs []event.Seq) (map[event.Seq]*event.Event, error) {
	found, err := queryEvents(ctx, q, "SELECT "+eventColumns+" FROM events WHERE seq IN (SELECT value FROM json_each(?)) AND scope = ?", listOf(seqs), int64(scope))
	if err != nil {
		return nil, err
	}
	bySeq := make(map[event.Seq]*event.Event, len(found))
	for _, e := range found {
		bySeq[e.Seq] = e
	}
	return bySeq, nil
}

// eventWalk goes through one scope's events by the index, downwards or
// upwards. low and high are what is left to see, both excluded.
type eventWalk struct {
	scope     int64
	low, high int64
	ascending bool
	chunk     int
}

// next returns the bounds, both excluded, of the next chunk, and narrows the
// rest. done tells that it is the last.
func (w *eventWalk) next(ctx context.Context, q Conn) (low, high int64, done bool, err error) {
	query := "SELECT seq FROM events INDEXED BY events_by_scope WHERE scope = ? AND seq > ? AND seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
	if w.ascending {
		query = "SELECT seq FROM events INDEXED BY events_by_scope WHERE scope = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT 1 OFFSET ?"
	}
	low, high = w.low, w.high
	var end int64
	switch err := q.QueryRowContext(ctx, query, w.scope, low, high, w.chunk).Scan(&end); {
	case errors.Is(err, sql.ErrNoRows):
		return low, high, true, nil
	case err != nil:
		return 0, 0, false, err
	}
	w.chunk = min(4*w.chunk, lastChunk)
	// end itself begins the next chunk.
	if w.ascending {
		w.low = end - 1
		return low, end, false, nil
	}
	w.high = end + 1
	return end, high, false, nil
}

// ListEvents returns a page of a scope's events.
func (db *DB) ListEvents(ctx context.Context, p store.ListEvents) (store.Page[*event.Event], error) {
	created := newSpan(p.CreatedFrom, p.CreatedTo)
	w := eventWalk{
		scope: int64(p.Scope), low: max(int64(p.Newer), int64(created.lowest)-1), high: maxSeq,
		ascending: p.Newer != 0, chunk: max(firstChunk, p.Limit+1),
	}
	if p.Older != 0 {
		w.high = int64(p.Older)
	}
	batch := p.Limit + 1
	if p.Undelivered != nil { // tested after reading
		batch = max(batch, firstChunk)
	}
	var items []*event.Event
	for done := false; !done && len(items) <= p.Limit; {
		err := db.View(ctx, func(q Conn) error {
			low, high, last, err := w.next(ctx, q)
			done = last
			if err != nil {
				return err
			}
			for len(items) <= p.Limit {
				found, err := queryEvents(ctx, q, listQuery(p, w.ascending), listArgs(p, created, low, high, batch)...)
				if err != nil {
					return err
				}
				if n := len(found); n > 0 && w.ascending {
					low = int64(found[n-1].Seq)
				} else if n > 0 {
					high = int64(found[n-1].Seq)
				}
				full := len(found) == batch
				if p.Undelivered != nil {
					if found, err = withDelivery(ctx, q, p.Scope, found, *p.Undelivered); err != nil {
						return err
					}
				}
				if items = append(items, found...); !full {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			return store.Page[*event.Event]{}, fmt.Errorf("list events: %w", err)
		}
	}
	items = items[:min(len(items), p.Limit+1)]
	return page(items, p.Limit, w.ascending), nil
}

// listQuery and listArgs select one chunk. What the index holds is tested
// first; SQLite then turns to the row for the rest.
func listQuery(p store.ListEvents, ascending bool) string {
	var q strings.Builder
	q.WriteString("SELECT " + eventColumns + " FROM events INDEXED BY events_by_scope WHERE scope = ? AND seq > ? AND seq < ? AND created BETWEEN ? AND ?")
	if p.Kind != 0 {
		q.WriteString(" AND kind = ?")
	}
	if p.ObjectID != "" {
		q.WriteString(" AND object_id = ?")
	}
	for i, t := range p.Types {
		if i == 0 {
			q.WriteString(" AND (")
		} else {
			q.WriteString(" OR ")
		}
		if strings.HasSuffix(t, "*") {
			q.WriteString("substr(type, 1, ?) = ?")
		} else {
			q.WriteString("type = ?")
		}
	}
	if len(p.Types) > 0 {
		q.WriteString(")")
	}
	if ascending {
		q.WriteString(" ORDER BY seq LIMIT ?")
	} else {
		q.WriteString(" ORDER BY seq DESC LIMIT ?")
	}
	return q.String()
}

func listArgs(p store.ListEvents, created span, low, high int64, batch int) []any {
	args := []any{int64(p.Scope), low, high, created.from, created.to}
	if p.Kind != 0 {
		args = append(args, int(p.Kind))
	}
	if p.ObjectID != "" {
		args = append(args, p.ObjectID)
	}
	for _, t := range p.Types {
		if prefix, ok := strings.CutSuffix(t, "*"); ok {
			args = append(args, utf8.RuneCountInString(prefix), prefix)
		} else {
			args = append(args, t)
		}
	}
	return append(args, batch)
}

// withDelivery keeps the events that have, or lack, a delivery that is pending
// or failed, also if a dead-letter queue has it. A discarded one is none of them:
// nobody waits for it.
func withDelivery(ctx context.Context, q Conn, scope event.Scope, events []*event.Event, undelivered bool) ([]*event.Event, error) {
	heads := make([]head, len(events))
	for i, e := range events {
		heads[i] = head{seq: e.Seq, kind: e.Kind, typ: e.Type, created: e.Created, routes: e.Routes}
	}
	deliveries, err := derive(ctx, q, scope, 0, heads)
	if err != nil {
		return nil, err
	}
	open := map[event.Seq]bool{}
	for _, d := range deliveries {
		if d.State == event.StatePending || d.State == event.StateFailed || d.State == event.StateDeadLettered {
			open[d.Seq] = true
		}
	}
	return slices.DeleteFunc(events, func(e *event.Event) bool { return open[e.Seq] != undelivered }), nil
}

// Backlog counts what waits.
func (db *DB) Backlog(ctx context.Context) (store.Backlog, error) {
	var b store.Backlog
	if err := db.Read.QueryRowContext(ctx, "SELECT count(*) FROM retries").Scan(&b.Retries); err != nil {
		return b, fmt.Errorf("read backlog: %w", db.ended(ctx, err))
	}
	return b, nil
}
