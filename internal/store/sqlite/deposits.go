package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// holders knows, for the time of one transaction, which queues, log groups
// and archives exist.
type holders struct {
	db    *DB
	known map[int64]store.ResourceKind // "" for one that does not exist
}

func (h *holders) has(ctx context.Context, kind store.ResourceKind, number int64) (bool, error) {
	found, known := h.known[number]
	if !known {
		err := h.db.stmts.holder.QueryRowContext(ctx, number).Scan(&found)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
		if h.known == nil {
			h.known = map[int64]store.ResourceKind{}
		}
		h.known[number] = found
	}
	return found == kind, nil
}

// deposit writes what deliveries left. Whatever holds it may have been deleted
// since; then it is dropped with it.
func (db *DB) deposit(ctx context.Context, deposits []*event.Deposit, now time.Time) error {
	s := &db.stmts
	post := newPost(db, now)
	s.logEntries.reset()
	s.archived.reset()
	for _, d := range deposits {
		kind := store.KindQueue
		switch d.Kind {
		case event.IntoLog:
			kind = store.KindLogGroup
		case event.IntoArchive:
			kind = store.KindArchive
		}
		if ok, err := post.held.has(ctx, kind, d.Into); err != nil {
			return err
		} else if !ok {
			continue
		}
		switch d.Kind {
		case event.IntoLog:
			s.logEntries.add(d.Into, now.UnixMilli(), "", blob(d.Body))
		case event.IntoArchive:
			s.archived.add(d.Into, d.Event.Created.UnixMilli(), int64(d.Event.Seq), blob(d.Event.Payload))
		default:
			m := store.QueueMessage{Body: d.Body, Attributes: d.Attributes, GroupID: d.GroupID, DedupID: d.DedupID, VisibleAt: d.VisibleAt}
			if _, err := post.add(ctx, d.Into, &m, d.GroupID != "", ""); err != nil {
				return err
			}
		}
	}
	if err := post.flush(ctx); err != nil {
		return err
	}
	if err := s.logEntries.flush(ctx); err != nil {
		return err
	}
	return s.archived.flush(ctx)
}

// dedupWindow is how long a FIFO queue knows the ids it was sent.
const dedupWindow = 5 * time.Minute

// post adds messages to queues within one transaction. It gives out the ids
// itself, so that many messages can be written at once.
type post struct {
	db      *DB
	held    holders
	now     time.Time
	last    int64 // id given out; 0 before the first
	deduped bool
}

func newPost(db *DB, now time.Time) *post {
	db.stmts.messages.reset()
	return &post{db: db, held: holders{db: db}, now: now}
}

func (p *post) nextID(ctx context.Context) (int64, error) {
	if p.last == 0 {
		if err := p.db.stmts.lastMessage.QueryRowContext(ctx).Scan(&p.last); err != nil {
			return 0, err
		}
	}
	p.last++
	return p.last, nil
}

// add queues a message for writing and sets its id, and what else of it is
// unset. Of a duplicate it sets the earlier one's id and sequence number.
func (p *post) add(ctx context.Context, queue int64, m *store.QueueMessage, fifo bool, within string) (duplicate bool, err error) {
	s := &p.db.stmts
	deduping := fifo && m.DedupID != ""
	if deduping {
		var id []byte
		err := s.dedup.QueryRowContext(ctx, queue, within, m.DedupID, millis(p.now)).Scan(&id, &m.Sequence)
		if err == nil {
			copy(m.MessageID[:], id)
			m.ID = m.Sequence
			return true, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
	}
	if m.ID, err = p.nextID(ctx); err != nil {
		return false, err
	}
	if m.MessageID == [16]byte{} {
		m.MessageID = newUUID()
	}
	if m.Sent.IsZero() {
		m.Sent = p.now
	}
	if m.VisibleAt.IsZero() {
		m.VisibleAt = m.Sent
	}
	m.Sequence = 0
	if fifo {
		m.Sequence = m.ID
	}
	messageID := append([]byte(nil), m.MessageID[:]...)
	s.messages.add(m.ID, queue, millis(m.VisibleAt), 0, 0, millis(m.Sent), 0, m.Source, m.Sequence, m.GroupID, m.DedupID,
		messageID, appendAttributes(nil, m.Attributes), blob(m.Body))
	if deduping {
		p.deduped = true
		_, err = s.rememberDedup.ExecContext(ctx, queue, within, m.DedupID, millis(p.now.Add(dedupWindow)), messageID, m.Sequence)
	}
	return false, err
}

// flush writes what was added.
func (p *post) flush(ctx context.Context) error {
	if err := p.db.stmts.messages.flush(ctx); err != nil || !p.deduped {
		return err
	}
	p.deduped = false
	_, err := p.db.stmts.forgetDedups.ExecContext(ctx, millis(p.now))
	return err
}

func newUUID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// blob is for columns that must not be NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// appendAttributes encodes message attributes, whose values may be any bytes.
// Nil when there are none.
func appendAttributes(dst []byte, attributes []event.Attribute) []byte {
	if len(attributes) == 0 {
		return nil
	}
	dst = binary.AppendUvarint(dst, uint64(len(attributes)))
	for _, a := range attributes {
		dst = appendText(appendText(appendText(dst, a.Name), a.Type), a.Value)
	}
	return dst
}

var errAttributes = errors.New("parse message: damaged attributes")

// parseAttributes is the reverse of appendAttributes.
func parseAttributes(data []byte) ([]event.Attribute, error) {
	if len(data) == 0 {
		return nil, nil
	}
	count, n := binary.Uvarint(data)
	if n <= 0 || count > uint64(len(data)) {
		return nil, errAttributes
	}
	data = data[n:]
	attributes := make([]event.Attribute, count)
	for i := range attributes {
		a := &attributes[i]
		for _, to := range []*string{&a.Name, &a.Type, &a.Value} {
			var ok bool
			if *to, data, ok = cutText(data); !ok {
				return nil, errAttributes
			}
		}
	}
	if len(data) > 0 {
		return nil, errAttributes
	}
	return attributes, nil
}
