package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

// ChangeQueues carries out operations on queues.
func (db *DB) ChangeQueues(ctx context.Context, ops []*store.QueueOp, now time.Time) error {
	err := db.tx(ctx, func(ctx context.Context) error {
		post := newPost(db, now)
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
	s := &db.stmts
	if op.Send != nil {
		op.Send.Duplicate, err = p.add(ctx, op.Queue, op.Send.Message, op.Send.FIFO, op.Send.DedupScope)
		return err
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	switch {
	case op.Receive != nil:
		return db.receive(ctx, p, op.Queue, op.Receive)
	case op.Delete != nil:
		return one(s.deleteMessage.ExecContext(ctx, op.Delete.ID, op.Queue, op.Delete.Receipt))
	case op.Visibility != nil:
		return one(s.hideMessage.ExecContext(ctx, millis(op.Visibility.VisibleAt), op.Visibility.ID, op.Queue, op.Visibility.Receipt))
	case op.Move != nil:
		return db.move(ctx, p, op.Queue, op.Move)
	case op.Purge:
		_, err := db.write.ExecContext(ctx, "DELETE FROM messages WHERE queue = ?", op.Queue)
		return err
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

func (db *DB) receive(ctx context.Context, p *post, queue int64, r *store.QueueReceive) error {
	r.Messages, r.Moved = nil, 0
	if r.Max <= 0 {
		_, err := db.write.ExecContext(ctx, "DELETE FROM messages WHERE queue = ? AND sent < ?", queue, millis(r.Expired))
		return err
	}
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
		err = db.walkGroups(ctx, queue, p.now, func(id int64) (bool, error) {
			found, err := db.messages(ctx, db.stmts.message, id)
			if err != nil {
				return false, err
			}
			s.decide(found[0])
			return !s.full(), nil
		})
	} else {
		err = db.walkVisible(ctx, queue, s)
	}
	if err != nil {
		return err
	}
	if len(s.dropped) > 0 {
		if _, err := db.write.ExecContext(ctx, "DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))", jsonList(s.dropped)); err != nil {
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
			m.FirstReceived = fromMillis(millis(p.now))
		}
		m.Receives++
		m.Receipt = 1 + rand.Int64N(1<<62) //nolint:gosec // G404: it tells receives apart and guards nothing
		m.VisibleAt = fromMillis(millis(r.HideUntil))
		if _, err := db.stmts.takeMessage.ExecContext(ctx, millis(m.VisibleAt), m.Receives, m.Receipt, millis(m.FirstReceived), m.ID); err != nil {
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
	inFlightQuery = `SELECT EXISTS (SELECT 1 FROM messages INDEXED BY messages_in_flight
		WHERE queue = ? AND grp = ? AND sequence > 0 AND receives > 0 AND visible_at > ?)`
)

// walkVisible goes through the visible messages of a queue without order.
func (db *DB) walkVisible(ctx context.Context, queue int64, s *selection) error {
	var after, afterID int64
	for limit := s.Max; !s.full(); limit = min(4*limit, lastChunk) {
		found, err := db.messages(ctx, db.stmts.visible, queue, millis(s.now), after, afterID, limit)
		if err != nil {
			return err
		}
		for _, m := range found {
			if s.full() {
				break
			}
			s.decide(m)
			after, afterID = millis(m.VisibleAt), m.ID
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
func (db *DB) walkGroups(ctx context.Context, queue int64, now time.Time, visit func(id int64) (bool, error)) error {
	type place struct {
		id, visibleAt int64
		group         string
	}
	closed := map[string]bool{} // absent: not yet looked at
	after := int64(0)
	chunk := func(limit int) ([]place, error) {
		rows, err := db.stmts.inOrder.QueryContext(ctx, queue, after, limit)
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
			if at.visibleAt > millis(now) {
				closed[at.group] = true
			}
			shut, looked := closed[at.group]
			if !looked {
				if err := db.stmts.inFlight.QueryRowContext(ctx, queue, at.group, millis(now)).Scan(&shut); err != nil {
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
func (db *DB) messages(ctx context.Context, stmt *sql.Stmt, args ...any) ([]*store.QueueMessage, error) {
	rows, err := stmt.QueryContext(ctx, args...)
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
	if _, err := p.db.stmts.copyMessage.ExecContext(ctx, next, to, millis(p.now), millis(sent), source, next, id); err != nil {
		return err
	}
	_, err = p.db.stmts.dropMessage.ExecContext(ctx, id)
	return err
}

const movableQuery = `SELECT id, source FROM messages INDEXED BY messages_by_visibility
	WHERE queue = ? AND visible_at <= ? AND (? <> 0 OR source <> 0) ORDER BY visible_at, id`

func (db *DB) move(ctx context.Context, p *post, queue int64, m *store.QueueMove) error {
	m.Moved, m.Left = 0, 0
	if m.To != 0 {
		if ok, err := p.held.has(ctx, store.KindQueue, m.To); err != nil || !ok {
			if err == nil {
				err = store.ErrNotFound
			}
			return err
		}
	}
	all, err := db.movable(ctx, queue, p.now, m.To)
	if err != nil {
		return err
	}
	var legs []leg
	for _, l := range all {
		if m.To != 0 {
			l.to = m.To
		} else if ok, err := p.held.has(ctx, store.KindQueue, l.to); err != nil {
			return err
		} else if !ok {
			continue
		}
		if len(legs) < m.Max {
			legs = append(legs, l)
		} else {
			m.Left++
		}
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

// movable finds the messages that could be handed out, to go where they came
// from. With to 0 those that came from nowhere are left out.
func (db *DB) movable(ctx context.Context, queue int64, now time.Time, to int64) (legs []leg, err error) {
	var fifo bool
	if err := db.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM messages WHERE queue = ? AND sequence > 0)", queue).Scan(&fifo); err != nil {
		return nil, err
	}
	if fifo {
		err := db.walkGroups(ctx, queue, now, func(id int64) (bool, error) {
			l := leg{id: id}
			err := db.write.QueryRowContext(ctx, "SELECT source FROM messages WHERE id = ?", id).Scan(&l.to)
			if to != 0 || l.to != 0 {
				legs = append(legs, l)
			}
			return true, err
		})
		return legs, err
	}
	rows, err := db.write.QueryContext(ctx, movableQuery, queue, millis(now), to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var l leg
		if err := rows.Scan(&l.id, &l.to); err != nil {
			return nil, err
		}
		legs = append(legs, l)
	}
	return legs, rows.Err()
}

// QueueDepth counts a queue's messages.
func (db *DB) QueueDepth(ctx context.Context, queue int64, now time.Time) (d store.QueueDepth, err error) {
	err = db.view(ctx, func(q querier) error {
		if err := q.QueryRowContext(ctx, "SELECT count(*) FROM messages WHERE queue = ? AND visible_at <= ?", queue, millis(now)).Scan(&d.Visible); err != nil {
			return err
		}
		return q.QueryRowContext(ctx, "SELECT count(*) FILTER (WHERE receives > 0), count(*) FILTER (WHERE receives = 0) FROM messages WHERE queue = ? AND visible_at > ?",
			queue, millis(now)).Scan(&d.InFlight, &d.Delayed)
	})
	if err != nil {
		return store.QueueDepth{}, fmt.Errorf("measure queue: %w", err)
	}
	return d, nil
}

// NextVisible looks past what is visible.
func (db *DB) NextVisible(ctx context.Context, queue int64, now time.Time) (time.Time, error) {
	var next sql.NullInt64
	if err := db.read.QueryRowContext(ctx, "SELECT min(visible_at) FROM messages WHERE queue = ? AND visible_at > ?", queue, millis(now)).Scan(&next); err != nil {
		return time.Time{}, fmt.Errorf("read next message: %w", ended(ctx, err))
	}
	return fromMillis(next.Int64), nil
}
