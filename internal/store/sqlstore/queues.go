package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

// ChangeQueues carries out operations on queues.
func (db *DB) ChangeQueues(ctx context.Context, ops []*store.QueueOp, now time.Time) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		post, err := db.newPost(ctx, c, now)
		if err != nil {
			return err
		}
		for _, op := range ops {
			op.Err = nil
			exists, err := post.held.has(ctx, store.KindQueue, op.Queue)
			if err == nil && exists {
				err = db.changeQueue(ctx, post, op)
			} else if err == nil {
				err = store.ErrNotFound
			}
			if errors.Is(err, store.ErrNotFound) {
				op.Err = err
			} else if err != nil {
				return err
			}
		}
		return post.flush(ctx)
	})
	if err != nil {
		return fmt.Errorf("change queues: %w", err)
	}
	return nil
}

func (db *DB) changeQueue(ctx context.Context, p *post, op *store.QueueOp) (err error) {
	if op.Send != nil {
		op.Send.Duplicate, err = p.add(ctx, op.Queue, op.Send.Message, op.Send.FIFO, op.Send.DedupScope)
		return err
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	switch {
	case op.Receive != nil:
		return p.receive(ctx, op.Queue, op.Receive)
	case op.Delete != nil:
		return one(p.c.ExecContext(ctx, "DELETE FROM messages WHERE id = ? AND queue = ? AND receipt = ? AND receives > 0",
			op.Delete.ID, op.Queue, op.Delete.Receipt))
	case op.Visibility != nil:
		return one(p.c.ExecContext(ctx, "UPDATE messages SET visible_at = ? WHERE id = ? AND queue = ? AND receipt = ? AND receives > 0",
			Millis(op.Visibility.VisibleAt), op.Visibility.ID, op.Queue, op.Visibility.Receipt))
	case op.Move != nil:
		return p.move(ctx, op.Queue, op.Move)
	case op.Drop != nil:
		return p.drop(ctx, op.Queue, op.Drop)
	}
	return nil
}

// one makes ErrNotFound of a change that found no row.
func one(result sql.Result, err error) error {
	n, err := affected(result, err)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// selection is what a receive does with the messages that it comes across.
// All is decided before anything is changed: a message that is hidden for no
// time at all would otherwise be come across twice.
type selection struct {
	*store.QueueReceive
	now        time.Time
	deadLetter bool
	dropped    []int64
	dead       []*store.QueueMessage
	taken      []*store.QueueMessage
}

func (s *selection) full() bool { return len(s.taken) >= s.Max }

func (s *selection) decide(m *store.QueueMessage) {
	switch {
	case m.Sent.Before(s.Expired):
		s.dropped = append(s.dropped, m.ID)
	case s.deadLetter && m.Receives >= s.MaxReceives:
		s.dead = append(s.dead, m)
	default:
		s.taken = append(s.taken, m)
	}
}

func (p *post) receive(ctx context.Context, queue int64, r *store.QueueReceive) error {
	r.Messages, r.Moved = nil, 0
	s := &selection{QueueReceive: r, now: p.now}
	if r.DeadLetter != 0 && r.MaxReceives > 0 {
		// Where the dead-letter queue has gone its messages stay.
		var err error
		if s.deadLetter, err = p.held.has(ctx, store.KindQueue, r.DeadLetter); err != nil {
			return err
		}
	}
	var err error
	if r.FIFO {
		if err := p.lock(ctx, queue); err != nil {
			return err
		}
		err = p.walkGroups(ctx, queue, func(id int64) (bool, error) {
			found, err := p.messages(ctx, "SELECT "+messageColumns+" FROM messages WHERE id = ?", id)
			if err != nil {
				return false, err
			}
			s.decide(found[0])
			return !s.full(), nil
		})
	} else {
		err = p.walkVisible(ctx, queue, s)
	}
	if err != nil {
		return err
	}
	if len(s.dropped) > 0 {
		if _, err := p.c.ExecContext(ctx, "DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))", listOf(s.dropped)); err != nil {
			return err
		}
	}
	for _, m := range s.dead {
		sent := m.Sent
		if m.Sequence != 0 {
			sent = p.now
		}
		if err := p.transfer(ctx, m.ID, r.DeadLetter, queue, sent); err != nil {
			return err
		}
	}
	for _, m := range s.taken {
		if m.FirstReceived.IsZero() {
			m.FirstReceived = fromMillis(Millis(p.now))
		}
		m.Receives++
		m.Receipt = 1 + rand.Int64N(1<<62) //nolint:gosec // G404: it tells receives apart and guards nothing
		m.VisibleAt = fromMillis(Millis(r.HideUntil))
		if _, err := p.c.ExecContext(ctx, "UPDATE messages SET visible_at = ?, receives = ?, receipt = ?, first_received = ? WHERE id = ?",
			Millis(m.VisibleAt), m.Receives, m.Receipt, Millis(m.FirstReceived), m.ID); err != nil {
			return err
		}
	}
	r.Messages, r.Moved = s.taken, len(s.dead)
	return nil
}

const (
	messageColumns = "id, queue, visible_at, receives, receipt, sent, first_received, source, sequence, grp, dedup, message_id, attributes, body"
	visibleQuery   = "SELECT " + messageColumns + ` FROM messages INDEXED BY messages_by_visibility
		WHERE queue = ? AND visible_at <= ? AND (visible_at, id) > (?, ?) ORDER BY visible_at, id LIMIT ?`
	inOrderQuery = `SELECT sequence, grp, visible_at FROM messages INDEXED BY messages_in_order
		WHERE queue = ? AND sequence > 0 AND sequence > ? ORDER BY sequence LIMIT ?`
	copyMessage = "INSERT INTO messages (" + messageColumns + `)
		SELECT ?, ?, ?, 0, 0, ?, 0, ?, CASE sequence WHEN 0 THEN 0 ELSE ? END, grp, dedup, message_id, attributes, body FROM messages WHERE id = ?`
	inFlightQuery = `SELECT EXISTS (SELECT 1 FROM messages INDEXED BY messages_in_flight
		WHERE queue = ? AND grp = ? AND sequence > 0 AND receives > 0 AND visible_at > ?)`
)

// walkVisible goes through the visible messages of a queue without order.
func (p *post) walkVisible(ctx context.Context, queue int64, s *selection) error {
	var after, afterID int64
	for limit := s.Max; !s.full(); limit = min(4*limit, lastChunk) {
		found, err := p.messages(ctx, visibleQuery+p.db.SkipLocked, queue, Millis(s.now), after, afterID, limit)
		if err != nil {
			return err
		}
		for _, m := range found {
			if s.full() {
				break
			}
			s.decide(m)
			after, afterID = Millis(m.VisibleAt), m.ID
		}
		if len(found) < limit {
			break
		}
	}
	return nil
}

// walkGroups calls visit with the messages of a FIFO queue that may be handed
// out, in order, while it returns true. Within a group nothing overtakes: a
// message in flight closes its whole group, a delayed one what is behind it.
func (p *post) walkGroups(ctx context.Context, queue int64, visit func(id int64) (bool, error)) error {
	type place struct {
		id, visibleAt int64
		group         string
	}
	closed := map[string]bool{} // absent: not yet looked at
	after := int64(0)
	chunk := func(limit int) ([]place, error) {
		rows, err := p.c.QueryContext(ctx, inOrderQuery, queue, after, limit)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var found []place
		for rows.Next() {
			var at place
			if err := rows.Scan(&at.id, &at.group, &at.visibleAt); err != nil {
				return nil, err
			}
			found = append(found, at)
		}
		return found, rows.Err()
	}
	for limit := firstChunk; ; limit = min(4*limit, lastChunk) {
		found, err := chunk(limit)
		if err != nil {
			return err
		}
		for _, at := range found {
			after = at.id
			if at.visibleAt > Millis(p.now) {
				closed[at.group] = true
			}
			shut, looked := closed[at.group]
			if !looked {
				if err := p.c.QueryRowContext(ctx, inFlightQuery, queue, at.group, Millis(p.now)).Scan(&shut); err != nil {
					return err
				}
				closed[at.group] = shut
			}
			if shut {
				continue
			}
			if more, err := visit(at.id); err != nil || !more {
				return err
			}
		}
		if len(found) < limit {
			return nil
		}
	}
}

// messages reads the messages of a prepared query of messageColumns.
func (p *post) messages(ctx context.Context, query string, args ...any) ([]*store.QueueMessage, error) {
	rows, err := p.c.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []*store.QueueMessage
	for rows.Next() {
		m := new(store.QueueMessage)
		var queue, visibleAt, sent, firstReceived int64
		var messageID, attributes []byte
		if err := rows.Scan(&m.ID, &queue, &visibleAt, &m.Receives, &m.Receipt, &sent, &firstReceived, &m.Source, &m.Sequence,
			&m.GroupID, &m.DedupID, &messageID, &attributes, &m.Body); err != nil {
			return nil, err
		}
		copy(m.MessageID[:], messageID)
		m.VisibleAt, m.Sent, m.FirstReceived = fromMillis(visibleAt), fromMillis(sent), fromMillis(firstReceived)
		if m.Attributes, err = parseAttributes(attributes); err != nil {
			return nil, err
		}
		found = append(found, m)
	}
	return found, rows.Err()
}

// transfer puts a message into another queue, where it is new: it has not been
// received, and comes last.
func (p *post) transfer(ctx context.Context, id, to, source int64, sent time.Time) error {
	next, err := p.nextID(ctx)
	if err != nil {
		return err
	}
	if _, err := p.c.ExecContext(ctx, copyMessage, next, to, Millis(p.now), Millis(sent), source, next, id); err != nil {
		return err
	}
	_, err = p.c.ExecContext(ctx, "DELETE FROM messages WHERE id = ?", id)
	return err
}

// movableQuery finds messages that could be handed out, or only those whose
// home still exists.
const movableQuery = `SELECT id, source FROM messages INDEXED BY messages_by_visibility
	WHERE queue = ? AND visible_at <= ? AND (? <> 0 OR EXISTS (SELECT 1 FROM resources WHERE number = source AND kind = ? AND status <> 3))
	ORDER BY visible_at, id LIMIT ?`

const dropQuery = `DELETE FROM messages WHERE id IN (SELECT id FROM messages INDEXED BY messages_by_visibility
	WHERE queue = ? AND visible_at < ? AND id <= ? ORDER BY visible_at, id LIMIT ?)`

func (p *post) drop(ctx context.Context, queue int64, d *store.QueueDrop) error {
	if d.UpTo == 0 {
		if err := p.c.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM messages").Scan(&d.UpTo); err != nil {
			return err
		}
	}
	before := int64(math.MaxInt64)
	if !d.Before.IsZero() {
		before = Millis(d.Before)
	}
	n, err := affected(p.c.ExecContext(ctx, dropQuery, queue, before, d.UpTo, d.Max))
	d.More = n >= d.Max
	return err
}

func (p *post) move(ctx context.Context, queue int64, m *store.QueueMove) error {
	m.Moved, m.More = 0, false
	if m.To != 0 {
		if ok, err := p.held.has(ctx, store.KindQueue, m.To); err != nil || !ok {
			if err == nil {
				err = store.ErrNotFound
			}
			return err
		}
	}
	legs, err := p.movable(ctx, queue, m.To, m.Max+1)
	if err != nil {
		return err
	}
	if m.More = len(legs) > m.Max; m.More {
		legs = legs[:m.Max]
	}
	for _, l := range legs {
		if err := p.transfer(ctx, l.id, l.to, 0, p.now); err != nil {
			return err
		}
	}
	m.Moved = len(legs)
	return nil
}

// leg is a message on its way to another queue.
type leg struct{ id, to int64 }

// movable finds the first messages that could be handed out, to go to a queue
// or, with to 0, each to where it came from.
func (p *post) movable(ctx context.Context, queue, to int64, most int) (legs []leg, err error) {
	var fifo bool
	if err := p.c.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM messages WHERE queue = ? AND sequence > 0)", queue).Scan(&fifo); err != nil {
		return nil, err
	}
	if fifo {
		if err := p.lock(ctx, queue); err != nil {
			return nil, err
		}
		err := p.walkGroups(ctx, queue, func(id int64) (bool, error) {
			l := leg{id, to}
			if to == 0 {
				if err := p.c.QueryRowContext(ctx, "SELECT source FROM messages WHERE id = ?", id).Scan(&l.to); err != nil {
					return false, err
				}
				if ok, err := p.held.has(ctx, store.KindQueue, l.to); err != nil || !ok {
					return true, err
				}
			}
			legs = append(legs, l)
			return len(legs) < most, nil
		})
		return legs, err
	}
	rows, err := p.c.QueryContext(ctx, movableQuery+p.db.SkipLocked, queue, Millis(p.now), to, string(store.KindQueue), most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var l leg
		if err := rows.Scan(&l.id, &l.to); err != nil {
			return nil, err
		}
		l.to = cmp.Or(to, l.to)
		legs = append(legs, l)
	}
	return legs, rows.Err()
}

// QueueDepth counts a queue's messages.
func (db *DB) QueueDepth(ctx context.Context, queue int64, now time.Time) (d store.QueueDepth, err error) {
	err = db.View(ctx, func(q Conn) error {
		if err := q.QueryRowContext(ctx, "SELECT count(*) FROM messages WHERE queue = ? AND visible_at <= ?", queue, Millis(now)).Scan(&d.Visible); err != nil {
			return err
		}
		return q.QueryRowContext(ctx, "SELECT count(*) FILTER (WHERE receives > 0), count(*) FILTER (WHERE receives = 0) FROM messages WHERE queue = ? AND visible_at > ?",
			queue, Millis(now)).Scan(&d.InFlight, &d.Delayed)
	})
	if err != nil {
		return store.QueueDepth{}, fmt.Errorf("measure queue: %w", err)
	}
	return d, nil
}

// NextVisible looks past what is visible.
func (db *DB) NextVisible(ctx context.Context, queue int64, now time.Time) (time.Time, error) {
	next, err := db.QueryTime(ctx, "SELECT min(visible_at) FROM messages WHERE queue = ? AND visible_at > ?", queue, Millis(now))
	if err != nil {
		return time.Time{}, fmt.Errorf("read next message: %w", err)
	}
	return next, nil
}

// readyQuery passes over what a message in flight holds up, as a receive does.
// A delayed message in the way is left for the receive to find.
const readyQuery = `SELECT number FROM resources WHERE number IN (SELECT value FROM json_each(?)) AND EXISTS (
	SELECT 1 FROM messages m INDEXED BY messages_by_visibility WHERE m.queue = number AND m.visible_at <= ? AND (m.sequence = 0 OR NOT EXISTS (
		SELECT 1 FROM messages f INDEXED BY messages_in_flight WHERE f.queue = m.queue AND f.grp = m.grp AND f.sequence > 0 AND f.receives > 0 AND f.visible_at > ?)))`

// ReadyQueues looks into several queues at once.
func (db *DB) ReadyQueues(ctx context.Context, queues []int64, now time.Time) (ready []int64, err error) {
	rows, err := db.Read.QueryContext(ctx, readyQuery, listOf(queues), Millis(now), Millis(now))
	if err != nil {
		return nil, fmt.Errorf("look into queues: %w", db.ended(ctx, err))
	}
	defer rows.Close()
	for rows.Next() {
		var number int64
		if err := rows.Scan(&number); err != nil {
			return nil, fmt.Errorf("look into queues: %w", db.ended(ctx, err))
		}
		ready = append(ready, number)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look into queues: %w", db.ended(ctx, err))
	}
	return ready, nil
}
