package sqlstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// ending is how a delivery stood when its attempts were folded.
type ending struct {
	state    event.State
	attempts int
	status   int
	reason   string
}

// recall says of a delivery what is known of the attempts that are gone. Those
// that are left, or were made since, say more; but what was delivered is.
func (e *ending) recall(d *event.Delivery, tried bool) {
	d.Attempts = max(d.Attempts, e.attempts)
	if tried && e.state != event.StateDelivered {
		return
	}
	if d.State == event.StatePending && !d.Next.IsZero() { // it waits
		return
	}
	d.State, d.Reason = e.state, e.reason
	if d.LastStatus == 0 {
		d.LastStatus = e.status
	}
}

func appendEndings(dst []byte, deliveries []*event.Delivery) []byte {
	for _, d := range deliveries {
		dst = binary.AppendUvarint(dst, uint64(d.Subscription))
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(d.Attempts)), uint64(d.LastStatus))
		dst = appendText(appendText(dst, string(d.State)), d.Reason)
	}
	return dst
}

var errEndings = errors.New("parse summary: damaged endings")

func parseEndings(data []byte, add func(sub int64, e ending)) error {
	for len(data) > 0 {
		var numbers [3]uint64
		for i := range numbers {
			n, width := binary.Uvarint(data)
			if width <= 0 {
				return errEndings
			}
			numbers[i], data = n, data[width:]
		}
		state, rest, ok := cutText(data)
		if !ok {
			return errEndings
		}
		reason, rest, ok := cutText(rest)
		if !ok {
			return errEndings
		}
		data = rest
		add(int64(numbers[0]), ending{state: event.State(state), attempts: int(numbers[1]), status: int(numbers[2]), reason: reason})
	}
	return nil
}

const endingsQuery = "SELECT seq, endings FROM summaries WHERE scope = ? AND seq IN (SELECT value FROM json_each(?))"

func queryEndings(ctx context.Context, q Conn, scope event.Scope, seqs List) (map[routeKey]ending, error) {
	rows, err := q.QueryContext(ctx, endingsQuery, int64(scope), seqs)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[routeKey]ending{}
	for rows.Next() {
		var seq event.Seq
		var data []byte
		if err := rows.Scan(&seq, &data); err != nil {
			return nil, err
		}
		if err := parseEndings(data, func(sub int64, e ending) { found[routeKey{seq, sub}] = e }); err != nil {
			return nil, err
		}
	}
	return found, rows.Err()
}

// Retain does one step: one transaction about at most p.Limit events.
func (db *DB) Retain(ctx context.Context, p store.Retain) (more bool, err error) {
	for _, step := range []struct {
		doing string
		do    func(context.Context, Conn, store.Retain) (int, error)
	}{
		{"summarise events", db.summarise},
		{"fold late attempts", db.foldLate},
		{"remove old events", db.dropEvents},
		{"remove old event ids", chunked("DELETE FROM event_keys WHERE (scope, id) IN (SELECT scope, id FROM event_keys WHERE seq < ? ORDER BY seq LIMIT ?)",
			func(p store.Retain) int64 { return int64(event.SeqAt(p.Events)) })},
		{"remove old idempotency keys", chunked("DELETE FROM idempotency WHERE (scope, generation, key) IN (SELECT scope, generation, key FROM idempotency WHERE created < ? ORDER BY created LIMIT ?)",
			func(store.Retain) int64 { return Millis(db.Now().Add(-store.IdempotencyWindow)) })},
		{"remove old mentions of objects", dropMentions},
		{"remove old summaries", chunked("DELETE FROM summaries WHERE (scope, seq) IN (SELECT scope, seq FROM summaries WHERE seq < ? ORDER BY seq LIMIT ?)",
			func(p store.Retain) int64 { return int64(event.SeqAt(p.Summaries)) })},
		{"remove old audit entries", chunked("DELETE FROM audit_log WHERE number IN (SELECT number FROM audit_log WHERE at < ? ORDER BY at LIMIT ?)",
			func(p store.Retain) int64 { return Millis(p.Audit) })},
	} {
		n := 0
		if err := db.Tx(ctx, func(ctx context.Context, c Conn) (err error) {
			n, err = step.do(ctx, c, p)
			return err
		}); err != nil {
			return false, fmt.Errorf("%s: %w", step.doing, err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}

func chunked(query string, before func(store.Retain) int64) func(context.Context, Conn, store.Retain) (int, error) {
	return func(ctx context.Context, c Conn, p store.Retain) (int, error) {
		return affected(c.ExecContext(ctx, query, before(p), p.Limit))
	}
}

// summarise takes the next events of a lane that has old ones, and lets go of
// their attempts.
func (db *DB) summarise(ctx context.Context, c Conn, p store.Retain) (int, error) {
	before := int64(event.SeqAt(p.Attempts))
	type place struct{ lane, at int64 }
	var lanes []place
	if err := Each(ctx, c, func(scan func(...any) error) error {
		var l place
		err := scan(&l.lane, &l.at)
		lanes = append(lanes, l)
		return err
	}, "SELECT lane, summarised FROM lanes WHERE summarised < ?", before); err != nil {
		return 0, err
	}
	for _, l := range lanes {
		events, err := queryEvents(ctx, c, "SELECT "+eventColumns+" FROM events WHERE (seq >> 13) & 255 = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT ?", l.lane, l.at, before, p.Limit)
		if err != nil {
			return 0, err
		}
		to := before
		if len(events) == p.Limit {
			to = int64(events[len(events)-1].Seq)
		}
		if err := db.fold(ctx, c, events, p.Attempts); err != nil {
			return 0, err
		}
		// Last, because the lane's committer waits for this row.
		if _, err := c.ExecContext(ctx, "UPDATE lanes SET summarised = ? WHERE lane = ?", to, l.lane); err != nil {
			return 0, err
		}
		if len(events) > 0 {
			return len(events), nil
		}
	}
	return 0, nil
}

// foldLate does the same for attempts that were made after their event was
// summarised, once they are old themselves.
func (db *DB) foldLate(ctx context.Context, c Conn, p store.Retain) (int, error) {
	var seqs []event.Seq
	if err := Each(ctx, c, func(scan func(...any) error) error {
		var seq event.Seq
		err := scan(&seq)
		seqs = append(seqs, seq)
		return err
	}, "SELECT DISTINCT seq FROM "+db.LooseAttempts+" WHERE seq <= (SELECT coalesce(min(summarised), 0) FROM lanes) AND started < ? LIMIT ?", Millis(p.Attempts), p.Limit); err != nil || len(seqs) == 0 {
		return 0, err
	}
	events, err := queryEvents(ctx, c, "SELECT "+eventColumns+" FROM events WHERE seq IN (SELECT value FROM json_each(?))", listOf(seqs))
	if err != nil {
		return 0, err
	}
	if err := db.fold(ctx, c, events, p.Attempts); err != nil {
		return 0, err
	}
	// Of events that are gone themselves nothing is told any more.
	_, err = c.ExecContext(ctx, "DELETE FROM "+db.LooseAttempts+" WHERE seq IN (SELECT value FROM json_each(?)) AND started < ?", listOf(seqs), Millis(p.Attempts))
	return len(seqs), err
}

var insertSummaries = NewInsert("INSERT INTO summaries (scope, seq, kind, type, created, object_id, id, endings)", 8,
	" ON CONFLICT (scope, seq) DO UPDATE SET endings = excluded.endings")

// fold writes the summaries of events, and removes the loose attempts made
// before a time.
func (db *DB) fold(ctx context.Context, c Conn, events []*event.Event, before time.Time) error {
	byScope := map[event.Scope][]*event.Event{}
	seqs := make([]event.Seq, len(events))
	for i, e := range events {
		byScope[e.Scope] = append(byScope[e.Scope], e)
		seqs[i] = e.Seq
	}
	for scope, events := range byScope {
		heads := make([]head, len(events))
		for i, e := range events {
			heads[i] = head{seq: e.Seq, kind: e.Kind, typ: e.Type, created: e.Created, routes: e.Routes}
		}
		deliveries, err := derive(ctx, c, scope, 0, heads)
		if err != nil {
			return err
		}
		bySeq := map[event.Seq][]*event.Delivery{}
		for _, d := range deliveries {
			bySeq[d.Seq] = append(bySeq[d.Seq], d)
		}
		var rows []any
		for _, e := range events {
			id := e.ID()
			if seq, own := event.ParseID(id, scope.Live()); own && seq == e.Seq || e.Kind == event.OnBus {
				id = ""
			}
			rows = append(rows, int64(scope), int64(e.Seq), int(e.Kind), e.Type, e.Created.UnixMilli(), e.ObjectID, id, Blob(appendEndings(nil, bySeq[e.Seq])))
		}
		if err := insertSummaries.Rows(ctx, c, rows); err != nil {
			return err
		}
	}
	if len(events) == 0 {
		return nil
	}
	_, err := c.ExecContext(ctx, "DELETE FROM "+db.LooseAttempts+" WHERE seq IN (SELECT value FROM json_each(?)) AND started < ?", listOf(seqs), Millis(before))
	return err
}

// dropEvents removes loose events that are summarised and for which nothing waits.
func (db *DB) dropEvents(ctx context.Context, c Conn, p store.Retain) (int, error) {
	return affected(c.ExecContext(ctx, `DELETE FROM `+db.LooseEvents+` WHERE seq IN (SELECT seq FROM `+db.LooseEvents+` e
		WHERE seq < ? AND seq <= (SELECT coalesce(min(summarised), 0) FROM lanes) AND seq <= (`+db.SettledBelow+`)
			AND NOT EXISTS (SELECT 1 FROM retries r WHERE r.scope = e.scope AND r.seq = e.seq) ORDER BY seq LIMIT ?)`,
		int64(event.SeqAt(p.Events)), p.Limit))
}
