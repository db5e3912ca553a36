package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// head is what a delivery shows of its event: all but the payload.
type head struct {
	seq     event.Seq
	kind    event.Kind
	typ     string
	created time.Time
	object  string
	routes  []event.Route
}

// try is what a delivery's state depends on in one of its attempts.
type try struct {
	run, n  int
	outcome event.Outcome
	status  int
	class   event.Class
	started int64
	detail  []byte // of a discard only
}

// chronological sorts tries into the order in which they were made. Within a
// run that is their number, after which comes 0, a discard; a clock that jumps
// must not change it. Between runs only the clock can tell.
func chronological[T any](tries []T, of func(T) (run, n int, started int64)) {
	slices.SortFunc(tries, func(a, b T) int {
		runA, nA, _ := of(a)
		runB, nB, _ := of(b)
		return cmp.Or(cmp.Compare(runA, runB), cmp.Compare(uint(nA-1), uint(nB-1)))
	})
	type timed struct {
		try T
		at  int64 // not before the tries that precede it in its run
	}
	merged := make([]timed, len(tries))
	for i, t := range tries {
		run, _, at := of(t)
		if i > 0 {
			if before, _, _ := of(tries[i-1]); before == run {
				at = max(at, merged[i-1].at)
			}
		}
		merged[i] = timed{t, at}
	}
	slices.SortStableFunc(merged, func(a, b timed) int { return cmp.Compare(a.at, b.at) })
	for i := range merged {
		tries[i] = merged[i].try
	}
}

// ListDeliveries derives a page of deliveries.
func (db *DB) ListDeliveries(ctx context.Context, p store.ListDeliveries) (store.Page[*event.Delivery], error) {
	created := newSpan(p.CreatedFrom, p.CreatedTo)
	c := candidates{db: db, p: p, low: int64(created.lowest) - 1, high: maxSeq, chunk: max(firstChunk, p.Limit+1)}
	if p.Older != 0 {
		c.high = int64(p.Older)
		if p.OlderSub != 0 {
			c.high++ // the rest of that event comes first
		}
	}
	if p.Seq != 0 {
		c.low, c.high = max(c.low, int64(p.Seq)-1), min(c.high, int64(p.Seq)+1)
	}
	var items []*event.Delivery
	for done := false; !done && len(items) <= p.Limit; {
		err := db.View(ctx, func(q Conn) error {
			seqs, last, err := c.next(ctx, q)
			done = last
			if err != nil {
				return err
			}
			heads, err := queryHeads(ctx, q, p.Scope, created, seqs)
			if err != nil {
				return err
			}
			found, err := derive(ctx, q, p.Scope, p.Subscription, heads)
			if err != nil {
				return err
			}
			for _, d := range found {
				if d.Seq == p.Older && d.Subscription >= p.OlderSub || p.State != "" && d.State != p.State {
					continue
				}
				items = append(items, d)
			}
			return nil
		})
		if err != nil {
			return store.Page[*event.Delivery]{}, fmt.Errorf("list deliveries: %w", err)
		}
	}
	result := page(items, p.Limit, false)
	if err := db.nameEvents(ctx, p.Scope, result.Items); err != nil {
		return store.Page[*event.Delivery]{}, fmt.Errorf("list deliveries: %w", db.ended(ctx, err))
	}
	return result, nil
}

// nameEvents sets the event ids, which stand in the payloads: only what is
// returned is worth reading them for.
func (db *DB) nameEvents(ctx context.Context, scope event.Scope, deliveries []*event.Delivery) error {
	var seqs []event.Seq
	for _, d := range deliveries {
		if len(seqs) == 0 || seqs[len(seqs)-1] != d.Seq {
			seqs = append(seqs, d.Seq)
		}
	}
	events, err := eventsBySeq(ctx, db.Read, scope, seqs)
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if e := events[d.Seq]; e != nil {
			d.EventID = e.ID()
		}
	}
	return nil
}

// candidates walks downwards through the events that may have a delivery that
// is asked for. low and high are what is left to see, both excluded.
type candidates struct {
	db        *DB
	p         store.ListDeliveries
	low, high int64
	chunk     int
}

const (
	anyEvent = "SELECT seq FROM events INDEXED BY events_by_scope WHERE scope = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4"
	// The partial index holds just what ended badly.
	failedEvent = "SELECT DISTINCT seq FROM attempts INDEXED BY attempts_ended_badly WHERE scope = ?1 AND seq > ?2 AND seq < ?3 AND outcome >= 3 ORDER BY seq DESC LIMIT ?4"
	headsQuery  = `SELECT seq, kind, type, created, object_id, routes FROM events NOT INDEXED
		WHERE seq IN (SELECT value FROM json_each(?)) AND scope = ? AND created BETWEEN ? AND ? ORDER BY seq DESC`
	scanQuery = `SELECT seq, kind, type, created, object_id, routes FROM events INDEXED BY events_by_scope
		WHERE scope = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`
	triesQuery = `SELECT seq, sub, run, n, outcome, status, class, started, CASE outcome WHEN 4 THEN detail END
		FROM attempts WHERE seq IN (SELECT value FROM json_each(?)) AND scope = ?`
	waitingQuery = "SELECT seq, sub, min(next_at) FROM retries WHERE scope = ? AND seq IN (SELECT value FROM json_each(?)) GROUP BY seq, sub"
)

// pendingEvent finds what waits in the table or is in the engine's hands.
func (db *DB) pendingEvent() string {
	return `SELECT seq FROM (
			SELECT * FROM (SELECT DISTINCT seq FROM retries WHERE scope = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4) AS waiting
			UNION
			SELECT * FROM (SELECT seq FROM events INDEXED BY events_by_scope
				WHERE scope = ?1 AND seq > ?2 AND seq > (` + db.SettledBelow + `) AND seq < ?3 ORDER BY seq DESC LIMIT ?4) AS in_hand
		) AS pending ORDER BY seq DESC LIMIT ?4`
}

func (c *candidates) next(ctx context.Context, q Conn) (seqs []event.Seq, done bool, err error) {
	query := anyEvent
	switch c.p.State {
	case event.StateFailed, event.StateDeadLettered:
		query = failedEvent
	case event.StatePending:
		query = c.db.pendingEvent()
	}
	rows, err := q.QueryContext(ctx, query, int64(c.p.Scope), c.low, c.high, c.chunk)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq event.Seq
		if err := rows.Scan(&seq); err != nil {
			return nil, false, err
		}
		seqs = append(seqs, seq)
	}
	if err := rows.Err(); err != nil || len(seqs) < c.chunk {
		return seqs, true, err
	}
	c.high = int64(seqs[len(seqs)-1])
	c.chunk = min(4*c.chunk, lastChunk)
	return seqs, false, nil
}

// queryHeads reads events, newest first.
func queryHeads(ctx context.Context, q Conn, scope event.Scope, created span, seqs []event.Seq) ([]head, error) {
	return scanHeads(ctx, q, headsQuery, listOf(seqs), int64(scope), created.from, created.to)
}

func scanHeads(ctx context.Context, q Conn, query string, args ...any) (heads []head, err error) {
	err = Each(ctx, q, func(scan func(...any) error) error {
		var h head
		var at int64
		var routes []byte
		if err := scan(&h.seq, &h.kind, &h.typ, &at, &h.object, &routes); err != nil {
			return err
		}
		h.created = time.UnixMilli(at).UTC()
		var err error
		h.routes, err = event.ParseRoutes(routes)
		heads = append(heads, h)
		return err
	}, query, args...)
	return heads, err
}

// ScanDeliveries derives the deliveries in a stretch of the log.
func (db *DB) ScanDeliveries(ctx context.Context, p store.ScanDeliveries) (found []*event.Delivery, upTo event.Seq, err error) {
	created := newSpan(p.CreatedFrom, p.CreatedTo)
	err = db.View(ctx, func(q Conn) error {
		heads, err := scanHeads(ctx, q, scanQuery, int64(p.Scope), max(int64(p.After), int64(created.lowest)-1), int64(p.UpTo), p.Limit)
		if err != nil {
			return err
		}
		upTo = p.UpTo
		if len(heads) == p.Limit {
			upTo = heads[len(heads)-1].seq
		}
		heads = slices.DeleteFunc(heads, func(h head) bool {
			at := h.created.UnixMilli()
			return at < created.from || at > created.to || !ofTypes(p.Types, h.typ)
		})
		found, err = derive(ctx, q, p.Scope, p.Subscription, heads)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("scan deliveries: %w", db.ended(ctx, err))
	}
	return found, upTo, nil
}

func ofTypes(types []string, typ string) bool {
	return len(types) == 0 || slices.ContainsFunc(types, func(t string) bool {
		prefix, wild := strings.CutSuffix(t, "*")
		return t == typ || wild && strings.HasPrefix(typ, prefix)
	})
}

// derive computes the deliveries of events, in their order and by falling
// subscription, of one subscription or (0) all. Their EventID is not set.
func derive(ctx context.Context, q Conn, scope event.Scope, subscription int64, heads []head) ([]*event.Delivery, error) {
	if len(heads) == 0 {
		return nil, nil
	}
	seqs := make([]event.Seq, len(heads))
	for i := range heads {
		seqs[i] = heads[i].seq
	}
	list := listOf(seqs)
	tries, err := queryTries(ctx, q, scope, list)
	if err != nil {
		return nil, err
	}
	waiting, err := queryWaiting(ctx, q, scope, list)
	if err != nil {
		return nil, err
	}
	ended, err := queryEndings(ctx, q, scope, list)
	if err != nil {
		return nil, err
	}
	sent := map[event.Seq][]int64{}
	for k := range tries {
		sent[k.seq] = append(sent[k.seq], k.sub)
	}
	for k := range waiting {
		sent[k.seq] = append(sent[k.seq], k.sub)
	}
	for k := range ended {
		sent[k.seq] = append(sent[k.seq], k.sub)
	}
	var all []*event.Delivery
	for i := range heads {
		h := &heads[i]
		first := len(all)
		for _, r := range h.allRoutes(sent[h.seq]) {
			if subscription != 0 && r.Subscription != subscription {
				continue
			}
			d := &event.Delivery{
				Seq: h.seq, Subscription: r.Subscription, Scope: scope,
				EventType: h.typ, EventKind: h.kind, ObjectID: h.object, Created: h.created,
			}
			k := routeKey{h.seq, r.Subscription}
			next, waits := waiting[k]
			if err := settle(d, r.Disposition, tries[k], next, waits); err != nil {
				return nil, err
			}
			if e, summarised := ended[k]; summarised {
				e.recall(d, len(tries[k]) > 0)
			}
			all = append(all, d)
		}
		slices.SortFunc(all[first:], func(a, b *event.Delivery) int { return cmp.Compare(b.Subscription, a.Subscription) })
	}
	return all, nil
}

// allRoutes adds to what the event matched when it was accepted the
// destinations that it was sent to by hand.
func (h *head) allRoutes(sentTo []int64) []event.Route {
	routes := slices.Clip(h.routes)
	for _, sub := range sentTo {
		if !slices.ContainsFunc(routes, func(r event.Route) bool { return r.Subscription == sub }) {
			routes = append(routes, event.Route{Subscription: sub})
		}
	}
	return routes
}

// settle states where a delivery stands. Any run's success is success; what
// waits is pending; otherwise the last try decides, and without one the
// disposition of the route.
func settle(d *event.Delivery, at event.Disposition, tries []try, next int64, waits bool) error {
	var last *try
	delivered := false
	if len(tries) > 1 {
		chronological(tries, func(t try) (int, int, int64) { return t.run, t.n, t.started })
	}
	for i := range tries {
		last = &tries[i]
		delivered = delivered || last.outcome == event.Delivered
		if last.n > 0 {
			d.Attempts++
			d.LastStatus, d.LastClass, d.LastAttempt = last.status, last.class, fromMillis(last.started)
		}
	}
	switch {
	case delivered:
		d.State = event.StateDelivered
	case waits:
		d.State, d.Next = event.StatePending, fromMillis(next)
	case last == nil && at.Discarded():
		d.State, d.Reason = event.StateDiscarded, event.ReasonDisabled
	case last == nil || last.outcome == event.FailedRetry:
		d.State = event.StatePending
	case last.outcome == event.WasDiscarded:
		var a event.Attempt
		if err := parseDetail(&a, last.detail); err != nil {
			return err
		}
		d.State, d.Reason = event.StateDiscarded, a.Message
	case last.outcome == event.DeadLettered:
		d.State = event.StateDeadLettered
	default:
		d.State = event.StateFailed
	}
	return nil
}

func queryTries(ctx context.Context, q Conn, scope event.Scope, seqs List) (map[routeKey][]try, error) {
	rows, err := q.QueryContext(ctx, triesQuery, seqs, int64(scope))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tries := map[routeKey][]try{}
	for rows.Next() {
		var k routeKey
		var t try
		if err := rows.Scan(&k.seq, &k.sub, &t.run, &t.n, &t.outcome, &t.status, &t.class, &t.started, &t.detail); err != nil {
			return nil, err
		}
		tries[k] = append(tries[k], t)
	}
	return tries, rows.Err()
}

// queryWaiting returns the earliest retry of each delivery.
func queryWaiting(ctx context.Context, q Conn, scope event.Scope, seqs List) (map[routeKey]int64, error) {
	rows, err := q.QueryContext(ctx, waitingQuery, int64(scope), seqs)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	waiting := map[routeKey]int64{}
	for rows.Next() {
		var k routeKey
		var next int64
		if err := rows.Scan(&k.seq, &k.sub, &next); err != nil {
			return nil, err
		}
		waiting[k] = next
	}
	return waiting, rows.Err()
}

// DeliveriesOf derives all deliveries of some events.
func (db *DB) DeliveriesOf(ctx context.Context, scope event.Scope, seqs []event.Seq) (found []*event.Delivery, err error) {
	err = db.View(ctx, func(q Conn) error {
		heads, err := queryHeads(ctx, q, scope, newSpan(time.Time{}, time.Time{}), seqs)
		if err != nil {
			return err
		}
		found, err = derive(ctx, q, scope, 0, heads)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	return found, nil
}

// Attempts returns the attempts of one delivery.
func (db *DB) Attempts(ctx context.Context, scope event.Scope, seq event.Seq, subscription int64) (attempts []*event.Attempt, err error) {
	err = db.View(ctx, func(q Conn) error {
		heads, err := queryHeads(ctx, q, scope, newSpan(time.Time{}, time.Time{}), []event.Seq{seq})
		if err != nil {
			return err
		}
		found, err := derive(ctx, q, scope, subscription, heads)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return store.ErrNotFound
		}
		attempts, err = queryAttempts(ctx, q, scope, seq, subscription)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	chronological(attempts, func(a *event.Attempt) (int, int, int64) { return a.Run, a.N, Millis(a.Started) })
	return attempts, nil
}

func queryAttempts(ctx context.Context, q Conn, scope event.Scope, seq event.Seq, subscription int64) ([]*event.Attempt, error) {
	rows, err := q.QueryContext(ctx, `SELECT run, n, outcome, status, started, first_byte, total, next_at, class, detail
		FROM attempts WHERE seq = ? AND sub = ? AND scope = ?`, int64(seq), subscription, int64(scope))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var attempts []*event.Attempt
	for rows.Next() {
		a := &event.Attempt{Seq: seq, Subscription: subscription, Scope: scope}
		var started, firstByte, total, next int64
		var detail []byte
		if err := rows.Scan(&a.Run, &a.N, &a.Outcome, &a.Status, &started, &firstByte, &total, &next, &a.Class, &detail); err != nil {
			return nil, err
		}
		a.Started, a.Next = fromMillis(started), fromMillis(next)
		a.FirstByte, a.Total = time.Duration(firstByte)*time.Microsecond, time.Duration(total)*time.Microsecond
		if err := parseDetail(a, detail); err != nil {
			return nil, err
		}
		attempts = append(attempts, a)
	}
	return attempts, rows.Err()
}
