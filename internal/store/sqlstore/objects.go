package sqlstore

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const objectColumns = "scope, id, kind, parent, made, revision, body"

func queryObjects(ctx context.Context, c Conn, query string, args ...any) (found []*store.Object, err error) {
	err = Each(ctx, c, func(scan func(...any) error) error {
		o := new(store.Object)
		found = append(found, o)
		return scan(&o.Scope, &o.ID, &o.Kind, &o.Parent, &o.Made, &o.Revision, &o.Body)
	}, query, args...)
	return found, err
}

// Object finds one of the sandbox's objects.
func (db *DB) Object(ctx context.Context, scope event.Scope, id string) (*store.Object, error) {
	found, err := queryObjects(ctx, db.Read, "SELECT "+objectColumns+" FROM objects WHERE scope = ? AND id = ?", int64(scope), id)
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("find object: %w", db.ended(ctx, err))
	}
	return found[0], nil
}

// ListObjects returns a page, newest first.
func (db *DB) ListObjects(ctx context.Context, p store.ListObjects) (store.Page[*store.Object], error) {
	query, args := listObjects(p)
	found, err := queryObjects(ctx, db.Read, query, args...)
	if err != nil {
		return store.Page[*store.Object]{}, fmt.Errorf("list objects: %w", db.ended(ctx, err))
	}
	return page(found, p.Limit, p.Newer != 0), nil
}

func listObjects(p store.ListObjects) (query string, args []any) {
	query, args = "SELECT "+objectColumns+" FROM objects WHERE scope = ? AND kind = ?", []any{int64(p.Scope), p.Kind}
	if p.Parent != "" {
		query, args = query+" AND parent = ?", append(args, p.Parent)
	}
	before := p.Older
	if before == 0 {
		before = maxSeq
	}
	query += " AND made > ? AND made < ? ORDER BY made"
	if p.Newer == 0 {
		query += " DESC"
	}
	return query + " LIMIT ?", append(args, p.Newer, before, p.Limit+1)
}

// ChangeObjects writes all changes or none.
func (db *DB) ChangeObjects(ctx context.Context, changes []store.ObjectChange, idem *store.Idempotency) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		if idem != nil {
			known, err := FindIdempotent(ctx, c, idem, idem.Created)
			if err != nil {
				return err
			}
			if known != nil {
				return store.ErrExists
			}
			if err := RecordIdempotency(ctx, c, idem); err != nil {
				return err
			}
		}
		for _, change := range changes {
			if err := changeObject(ctx, c, change); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("change objects: %w", err)
	}
	for _, change := range changes {
		change.Revision++
	}
	return nil
}

func changeObject(ctx context.Context, c Conn, o store.ObjectChange) error {
	var n int
	var err error
	missed := store.ErrConflict
	switch {
	case o.Remove:
		n, err = affected(c.ExecContext(ctx, "DELETE FROM objects WHERE scope = ? AND id = ? AND revision = ?", int64(o.Scope), o.ID, o.Revision))
	case o.Revision == 0:
		missed = store.ErrExists
		n, err = affected(c.ExecContext(ctx, "INSERT INTO objects ("+objectColumns+") VALUES (?,?,?,?,?,1,?) ON CONFLICT (scope, id) DO NOTHING",
			int64(o.Scope), o.ID, o.Kind, o.Parent, o.Made, Blob(o.Body)))
	default:
		n, err = affected(c.ExecContext(ctx, "UPDATE objects SET parent = ?, revision = revision + 1, body = ? WHERE scope = ? AND id = ? AND revision = ?",
			o.Parent, Blob(o.Body), int64(o.Scope), o.ID, o.Revision))
	}
	if err == nil && n == 0 {
		err = missed
	}
	return err
}

// mention is an event that shows an object.
type mention struct {
	created int64
	seq     event.Seq
}

func (m mention) newer(than mention) bool {
	return m.created > than.created || m.created == than.created && m.seq > than.seq
}

// lanesIndexed returns up to where each lane is indexed. Only within a lane is
// the order of commits that of the sequence, so only there can a cursor not
// pass over an event.
func lanesIndexed(ctx context.Context, c Conn) (map[int]event.Seq, error) {
	lanes := map[int]event.Seq{}
	err := Each(ctx, c, func(scan func(...any) error) error {
		var lane int
		var to event.Seq
		err := scan(&lane, &to)
		lanes[lane] = to
		return err
	}, "SELECT lane, mentioned FROM lanes")
	return lanes, err
}

const (
	mentionQuery = "SELECT created, seq FROM mentions WHERE scope = ? AND id = ?"
	// What is not indexed yet.
	recentQuery = "SELECT created, seq FROM events WHERE (seq >> 13) & 255 = ? AND seq > ? AND scope = ? AND object_id = ? AND kind = ?"
	indexQuery  = "SELECT created, seq, scope, object_id, kind FROM events WHERE (seq >> 13) & 255 = ? AND seq > ? ORDER BY seq LIMIT ?"
)

// LatestMention finds the event that shows an object's newest state.
func (db *DB) LatestMention(ctx context.Context, scope event.Scope, objectID string) (found *event.Event, err error) {
	err = db.View(ctx, func(c Conn) error {
		lanes, err := lanesIndexed(ctx, c)
		if err != nil {
			return err
		}
		var latest mention
		note := func(scan func(...any) error) error {
			var m mention
			err := scan(&m.created, &m.seq)
			if m.newer(latest) {
				latest = m
			}
			return err
		}
		if err := Each(ctx, c, note, mentionQuery, int64(scope), objectID); err != nil {
			return err
		}
		for lane, from := range lanes {
			if err := Each(ctx, c, note, recentQuery, lane, int64(from), int64(scope), objectID, int(event.Snapshot)); err != nil {
				return err
			}
		}
		bySeq, err := eventsBySeq(ctx, c, scope, []event.Seq{latest.seq})
		if err == nil && bySeq[latest.seq] == nil {
			err = store.ErrNotFound
		}
		found = bySeq[latest.seq]
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find object in events: %w", err)
	}
	return found, nil
}

var insertMentions = NewInsert("INSERT INTO mentions (scope, id, created, seq)", 4,
	` ON CONFLICT (scope, id) DO UPDATE SET created = excluded.created, seq = excluded.seq
		WHERE excluded.created > mentions.created OR excluded.created = mentions.created AND excluded.seq > mentions.seq`)

// IndexMentions takes note of the next events of each lane.
func (db *DB) IndexMentions(ctx context.Context, limit int) (n int, err error) {
	lanes, err := lanesIndexed(ctx, db.Read)
	if err != nil {
		return 0, fmt.Errorf("index objects: %w", db.ended(ctx, err))
	}
	for lane, from := range lanes {
		more, err := db.indexLane(ctx, lane, from, limit)
		if err != nil {
			return n, fmt.Errorf("index objects: %w", db.ended(ctx, err))
		}
		n += more
	}
	return n, nil
}

func (db *DB) indexLane(ctx context.Context, lane int, from event.Seq, limit int) (n int, err error) {
	type key struct {
		scope event.Scope
		id    string
	}
	// Events never change, so reading needs no part of the transaction.
	newest, to := map[key]mention{}, from
	err = Each(ctx, db.Read, func(scan func(...any) error) error {
		var m mention
		var k key
		var kind event.Kind
		err := scan(&m.created, &m.seq, &k.scope, &k.id, &kind)
		n, to = n+1, m.seq
		if known, ok := newest[k]; kind == event.Snapshot && k.id != "" && (!ok || m.newer(known)) {
			newest[k] = m
		}
		return err
	}, indexQuery, lane, int64(from), limit)
	if err != nil || n == 0 {
		return 0, err
	}
	rows := make([]any, 0, 4*len(newest))
	for k, m := range newest {
		rows = append(rows, int64(k.scope), k.id, m.created, int64(m.seq))
	}
	return n, db.Tx(ctx, func(ctx context.Context, c Conn) error {
		if err := insertMentions.Rows(ctx, c, rows); err != nil {
			return err
		}
		// Another node that leads for a moment may have been here already.
		_, err := c.ExecContext(ctx, "UPDATE lanes SET mentioned = ? WHERE lane = ? AND mentioned < ?", int64(to), lane, int64(to))
		return err
	})
}

// dropMentions removes those of events that are gone, or soon will be.
var dropMentions = chunked("DELETE FROM mentions WHERE (scope, id) IN (SELECT scope, id FROM mentions WHERE seq < ? ORDER BY seq LIMIT ?)",
	func(p store.Retain) int64 { return int64(event.SeqAt(p.Events)) })
