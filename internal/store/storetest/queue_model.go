package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

// queueModel is what queues are in the plainest terms: lists in the order of
// arrival that are searched from end to end.
type queueModel struct {
	*fixture
	r        *rand.Rand
	queues   []*store.Resource // a, b and their dead letters
	held     map[int64][]*store.QueueMessage
	receipts []*store.QueueMessage // as received, perhaps long ago
	fifo     bool
	dedups   map[string]time.Time
	sent     int
}

// testQueueModel does random things to queues and to a model, and compares
// what both hand out.
func (f *fixture) testQueueModel() {
	for _, fifo := range []bool{false, true} {
		m := &queueModel{
			fixture: f, r: rand.New(rand.NewPCG(5, 3)), //nolint:gosec // G404: a failure must be repeatable
			held: map[int64][]*store.QueueMessage{}, fifo: fifo, dedups: map[string]time.Time{},
		}
		for _, name := range []string{"a", "b", "dead"} {
			m.queues = append(m.queues, f.resource(store.KindQueue, fmt.Sprint(name, fifo)))
		}
		for range 400 {
			f.now = f.now.Add(time.Duration(m.r.IntN(8)) * time.Second)
			m.step()
			for _, q := range m.queues {
				f.same("depth", f.depth(q), m.depth(q.Number))
			}
		}
	}
}

func (m *queueModel) dead() *store.Resource { return m.queues[2] }

func (m *queueModel) step() {
	m.Helper()
	q := pick(m.r, m.queues...)
	switch m.r.IntN(20) {
	case 0:
		m.move()
	case 1:
		if m.r.IntN(8) == 0 {
			m.ok(m.queueOp(q, store.QueueOp{Drop: &store.QueueDrop{Max: 1000}}))
			m.held[q.Number] = nil
		}
	case 2, 3, 4:
		m.settle(false)
	case 5, 6:
		m.settle(true)
	case 7, 8, 9, 10, 11:
		m.receiveSome(q)
	default:
		m.sendSome(q)
	}
}

func (m *queueModel) sendSome(q *store.Resource) {
	m.Helper()
	m.sent++
	s := &store.QueueSend{FIFO: m.fifo, Message: &store.QueueMessage{Body: []byte(fmt.Sprint(m.sent)), Sent: m.now, VisibleAt: m.now}}
	if m.r.IntN(4) == 0 {
		s.Message.VisibleAt = m.now.Add(time.Duration(m.r.IntN(20)) * time.Second)
	}
	repeated := false
	if m.fifo {
		s.Message.GroupID = pick(m.r, "x", "y", "z")
		if m.r.IntN(2) == 0 {
			s.Message.DedupID = fmt.Sprint(m.r.IntN(60))
			key := fmt.Sprint(q.Number, " ", s.Message.DedupID)
			until, known := m.dedups[key]
			if repeated = known && until.After(m.now); !repeated {
				m.dedups[key] = m.now.Add(5 * time.Minute)
			}
		}
	}
	m.send(q, s)
	m.same("duplicate", s.Duplicate, repeated)
	if !repeated {
		m.held[q.Number] = append(m.held[q.Number], s.Message)
	}
}

func (m *queueModel) hidden(x *store.QueueMessage) bool { return x.VisibleAt.After(m.now) }

// ready lists what a queue could hand out, in order.
func (m *queueModel) ready(queue int64) []*store.QueueMessage {
	var list []*store.QueueMessage
	for i, x := range m.held[queue] {
		closed := m.hidden(x)
		for j, y := range m.held[queue] {
			if m.fifo && y.GroupID == x.GroupID && m.hidden(y) && (j < i || y.Receives > 0) {
				closed = true
			}
		}
		if !closed {
			list = append(list, x)
		}
	}
	if !m.fifo {
		slices.SortStableFunc(list, func(a, b *store.QueueMessage) int { return a.VisibleAt.Compare(b.VisibleAt) })
	}
	return list
}

func (m *queueModel) drop(queue int64, x *store.QueueMessage) {
	m.held[queue] = slices.DeleteFunc(m.held[queue], func(y *store.QueueMessage) bool { return x == y })
}

// transfer models a move; the id that the message gets is not known.
func (m *queueModel) transfer(from, to int64, x *store.QueueMessage, source int64, sent time.Time) {
	m.drop(from, x)
	moved := *x
	moved.ID, moved.Receives, moved.Receipt, moved.FirstReceived = 0, 0, 0, time.Time{}
	moved.Source, moved.Sent, moved.VisibleAt = source, sent, m.now
	m.held[to] = append(m.held[to], &moved)
}

func (m *queueModel) receiveSome(q *store.Resource) {
	m.Helper()
	r := &store.QueueReceive{Max: 1 + m.r.IntN(5), FIFO: m.fifo, HideUntil: m.now.Add(time.Duration(m.r.IntN(30)) * time.Second)}
	if q != m.dead() && m.r.IntN(3) > 0 {
		r.DeadLetter, r.MaxReceives = m.dead().Number, 2
	}
	if m.r.IntN(4) == 0 {
		r.Expired = m.now.Add(-10 * time.Minute)
	}
	var want []*store.QueueMessage
	moved := 0
	for _, x := range m.ready(q.Number) {
		switch {
		case len(want) == r.Max:
		case x.Sent.Before(r.Expired):
			m.drop(q.Number, x)
		case r.DeadLetter != 0 && x.Receives >= r.MaxReceives:
			sent := x.Sent
			if m.fifo {
				sent = m.now
			}
			m.transfer(q.Number, r.DeadLetter, x, q.Number, sent)
			moved++
		default:
			want = append(want, x)
		}
	}
	got := m.receive(q, r)
	m.same("moved", r.Moved, moved)
	m.same("received", bodies(got), bodies(want))
	for i, x := range want {
		if x.ID != 0 {
			m.same("id", got[i].ID, x.ID)
		}
		x.Receives++
		if x.FirstReceived.IsZero() {
			x.FirstReceived = m.now
		}
		x.VisibleAt = r.HideUntil
		x.ID, x.Receipt, x.Sequence = got[i].ID, got[i].Receipt, got[i].Sequence
		m.same("message", got[i], x)
		m.receipts = append(m.receipts, got[i])
	}
}

// settle deletes a message, or changes its visibility, by a receipt that may
// be old.
func (m *queueModel) settle(hide bool) {
	m.Helper()
	if len(m.receipts) == 0 {
		return
	}
	q, given := pick(m.r, m.queues...), m.receipts[max(0, len(m.receipts)-1-m.r.IntN(8))]
	var found *store.QueueMessage
	for _, x := range m.held[q.Number] {
		if x.ID == given.ID && x.Receipt == given.Receipt {
			found = x
		}
	}
	to := receipt(given)
	op := store.QueueOp{Delete: to}
	if hide {
		to.VisibleAt = m.now.Add(time.Duration(m.r.IntN(20)) * time.Second)
		op = store.QueueOp{Visibility: to}
	}
	err := m.queueOp(q, op)
	switch {
	case found == nil:
		m.is(err, store.ErrNotFound)
		return
	case hide:
		found.VisibleAt = to.VisibleAt
	default:
		m.drop(q.Number, found)
	}
	m.ok(err)
}

func (m *queueModel) move() {
	m.Helper()
	move := &store.QueueMove{Max: m.r.IntN(4), To: pick(m.r, 0, m.queues[0].Number)}
	var want store.QueueMove
	for _, x := range m.ready(m.dead().Number) {
		to := move.To
		if to == 0 {
			to = x.Source
		}
		switch {
		case to == 0:
		case want.Moved < move.Max:
			want.Moved++
			m.transfer(m.dead().Number, to, x, 0, m.now)
		default:
			want.More = true
		}
	}
	m.ok(m.queueOp(m.dead(), store.QueueOp{Move: move}))
	m.same("moved", move.Moved, want.Moved)
	m.same("more", move.More, want.More)
}

func (m *queueModel) depth(queue int64) (d store.QueueDepth) {
	for _, x := range m.held[queue] {
		switch {
		case !m.hidden(x):
			d.Visible++
		case x.Receives > 0:
			d.InFlight++
		default:
			d.Delayed++
		}
	}
	return d
}
