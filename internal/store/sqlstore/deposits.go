package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// chunkSizes are the numbers of rows that one INSERT carries. A statement
// costs more than a row, so rows are cut into the largest chunks that fit.
var chunkSizes = [...]int{32, 8, 1}

// Insert writes rows into one table, many with one statement.
type Insert struct {
	columns int
	queries [len(chunkSizes)]string
}

// NewInsert prepares an insert of rows with so many columns. head ends before
// VALUES, tail follows the rows.
func NewInsert(head string, columns int, tail string) *Insert {
	in := &Insert{columns: columns}
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	for i, n := range chunkSizes {
		in.queries[i] = head + " VALUES " + strings.TrimSuffix(strings.Repeat(row+",", n), ",") + tail
	}
	return in
}

// Rows writes the rows whose values follow each other in args.
func (in *Insert) Rows(ctx context.Context, c Conn, args []any) error {
	for i, n := range chunkSizes {
		for len(args) >= n*in.columns {
			if _, err := c.ExecContext(ctx, in.queries[i], args[:n*in.columns]...); err != nil {
				return err
			}
			args = args[n*in.columns:]
		}
	}
	return nil
}

var (
	insertMessages = NewInsert("INSERT INTO messages ("+messageColumns+")", 14, "")
	insertLog      = NewInsert("INSERT INTO log_entries (grp, time, stream, message)", 4, "")
	insertArchived = NewInsert("INSERT INTO archived (archive, time, seq, payload)", 4, " ON CONFLICT DO NOTHING")
)

// holders knows, for the time of one transaction, which queues, log groups
// and archives exist.
type holders struct {
	c     Conn
	known map[int64]store.ResourceKind // "" for one that does not exist
}

func (h *holders) has(ctx context.Context, kind store.ResourceKind, number int64) (bool, error) {
	found, known := h.known[number]
	if !known {
		err := h.c.QueryRowContext(ctx, "SELECT kind FROM resources WHERE number = ? AND status <> 3", number).Scan(&found)
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

// Deposit writes what deliveries left, inside a transaction. Whatever holds it
// may have been deleted since; then it is dropped with it.
func (db *DB) Deposit(ctx context.Context, c Conn, deposits []*event.Deposit, now time.Time) error {
	post, err := db.newPost(ctx, c, now)
	if err != nil {
		return err
	}
	var entries, archived []any
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
			entries = append(entries, d.Into, now.UnixMilli(), "", Blob(d.Body))
		case event.IntoArchive:
			archived = append(archived, d.Into, d.Event.Created.UnixMilli(), int64(d.Event.Seq), Blob(d.Event.Payload))
		default:
			m := store.QueueMessage{Body: d.Body, Attributes: d.Attributes, GroupID: d.GroupID, DedupID: d.DedupID, VisibleAt: d.VisibleAt}
			if _, err := post.add(ctx, d.Into, &m, d.GroupID != "", d.DedupScope); err != nil {
				return err
			}
		}
	}
	if err := post.flush(ctx); err != nil {
		return err
	}
	if err := insertLog.Rows(ctx, c, entries); err != nil {
		return err
	}
	return insertArchived.Rows(ctx, c, archived)
}

// dedupWindow is how long a FIFO queue knows the ids it was sent.
const dedupWindow = 5 * time.Minute

// post adds messages to queues within one transaction. It gives out the ids
// itself, so that many messages can be written at once.
type post struct {
	db      *DB
	c       Conn
	held    holders
	now     time.Time
	ids     []int64 // to be given out
	locked  map[int64]bool
	rows    []any
	deduped bool
}

func (db *DB) newPost(ctx context.Context, c Conn, now time.Time) (*post, error) {
	return &post{db: db, c: c, held: holders{c: c}, now: now}, db.Share(ctx, c)
}

// lock lets no other transaction work on a queue that has an order.
func (p *post) lock(ctx context.Context, queue int64) error {
	if p.locked[queue] {
		return nil
	}
	if p.locked == nil {
		p.locked = map[int64]bool{}
	}
	p.locked[queue] = true
	p.ids = nil // those drawn before may be lower than what others wrote meanwhile
	return p.db.Lock(ctx, p.c, Lock(queue))
}

// idsAtOnce is how many ids are drawn when one is needed: a full chunk of rows.
const idsAtOnce = 32

func (p *post) nextID(ctx context.Context) (id int64, err error) {
	if len(p.ids) == 0 {
		// A driver may find the next ids by looking at what is written.
		if err := p.flush(ctx); err != nil {
			return 0, err
		}
		if p.ids, err = p.db.MessageIDs(ctx, p.c, idsAtOnce); err != nil {
			return 0, err
		}
	}
	id, p.ids = p.ids[0], p.ids[1:]
	return id, nil
}

// add queues a message for writing and sets its id, and what else of it is
// unset. Of a duplicate it sets the earlier one's id and sequence number.
func (p *post) add(ctx context.Context, queue int64, m *store.QueueMessage, fifo bool, within string) (duplicate bool, err error) {
	if fifo {
		if err := p.lock(ctx, queue); err != nil {
			return false, err
		}
	}
	deduping := fifo && m.DedupID != ""
	if deduping {
		var id []byte
		err := p.c.QueryRowContext(ctx, "SELECT message_id, sequence FROM message_dedups WHERE queue = ? AND within = ? AND dedup = ? AND expires > ?",
			queue, within, m.DedupID, Millis(p.now)).Scan(&id, &m.Sequence)
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
	if m.MessageID == (event.UUID{}) {
		m.MessageID = event.NewUUID()
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
	p.rows = append(p.rows, m.ID, queue, Millis(m.VisibleAt), 0, 0, Millis(m.Sent), 0, m.Source, m.Sequence, m.GroupID, m.DedupID,
		messageID, AppendAttributes(nil, m.Attributes), Blob(m.Body))
	if deduping {
		p.deduped = true
		_, err = p.c.ExecContext(ctx, `INSERT INTO message_dedups (queue, within, dedup, expires, message_id, sequence) VALUES (?,?,?,?,?,?)
			ON CONFLICT (queue, within, dedup) DO UPDATE SET expires = excluded.expires, message_id = excluded.message_id, sequence = excluded.sequence`,
			queue, within, m.DedupID, Millis(p.now.Add(dedupWindow)), messageID, m.Sequence)
	}
	return false, err
}

// flush writes what was added.
func (p *post) flush(ctx context.Context) error {
	rows := p.rows
	p.rows = nil
	if err := insertMessages.Rows(ctx, p.c, rows); err != nil || !p.deduped {
		return err
	}
	p.deduped = false
	_, err := p.c.ExecContext(ctx, "DELETE FROM message_dedups WHERE expires <= ?", Millis(p.now))
	return err
}
