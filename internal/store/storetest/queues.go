package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func (f *fixture) queueOps(ops ...*store.QueueOp) {
	f.Helper()
	f.ok(f.s.ChangeQueues(f.ctx, ops, f.now))
}

// queueOp carries out one operation and returns what it found wrong.
func (f *fixture) queueOp(q *store.Resource, op store.QueueOp) error {
	f.Helper()
	op.Queue = q.Number
	f.queueOps(&op)
	return op.Err
}

func (f *fixture) send(q *store.Resource, s *store.QueueSend) *store.QueueMessage {
	f.Helper()
	f.ok(f.queueOp(q, store.QueueOp{Send: s}))
	return s.Message
}

func (f *fixture) sendText(q *store.Resource, text string) *store.QueueMessage {
	f.Helper()
	return f.send(q, &store.QueueSend{Message: &store.QueueMessage{Body: []byte(text)}})
}

func (f *fixture) sendFIFO(q *store.Resource, group, text string) *store.QueueMessage {
	f.Helper()
	return f.send(q, &store.QueueSend{FIFO: true, Message: &store.QueueMessage{Body: []byte(text), GroupID: group}})
}

// receive hides for half a minute unless told otherwise.
func (f *fixture) receive(q *store.Resource, r *store.QueueReceive) []*store.QueueMessage {
	f.Helper()
	if r.HideUntil.IsZero() {
		r.HideUntil = f.now.Add(30 * time.Second)
	}
	f.ok(f.queueOp(q, store.QueueOp{Receive: r}))
	return r.Messages
}

func (f *fixture) depth(q *store.Resource) store.QueueDepth {
	f.Helper()
	d, err := f.s.QueueDepth(f.ctx, q.Number, f.now)
	f.ok(err)
	return d
}

func bodies(messages []*store.QueueMessage) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Body))
	}
	return all
}

func receipt(m *store.QueueMessage) *store.QueueReceipt {
	return &store.QueueReceipt{ID: m.ID, Receipt: m.Receipt}
}

func (f *fixture) testQueue() {
	q, other := f.resource(store.KindQueue, "q"), f.resource(store.KindQueue, "other")
	f.sendText(other, "not this")
	whole := &store.QueueMessage{
		MessageID: event.UUID{1, 2}, Body: []byte("a\x00\xff"), Sent: f.now.Add(-time.Second), DedupID: "d", GroupID: "g", VisibleAt: f.now,
		Attributes: []event.Attribute{{Name: "trace", Type: "String", Value: "x"}, {Name: "b", Type: "Binary", Value: "\x00\xfe"}, {}},
	}
	f.send(q, &store.QueueSend{Message: whole})
	late := f.send(q, &store.QueueSend{Message: &store.QueueMessage{Body: []byte("late"), VisibleAt: f.now.Add(10 * time.Second)}})
	empty := f.send(q, &store.QueueSend{Message: &store.QueueMessage{}})
	if whole.ID <= 0 || late.ID <= whole.ID || empty.MessageID == (event.UUID{}) || empty.Sequence != 0 || !empty.Sent.Equal(f.now) {
		f.Fatalf("sent %+v, %+v, %+v", whole, late, empty)
	}
	f.same("depth", f.depth(q), store.QueueDepth{Visible: 2, Delayed: 1})
	next, err := f.s.NextVisible(f.ctx, q.Number, f.now)
	f.ok(err)
	f.same("next", next, late.VisibleAt)

	got := f.receive(q, &store.QueueReceive{Max: 10})
	want := *whole
	want.Receives, want.FirstReceived, want.VisibleAt = 1, f.now, f.now.Add(30*time.Second)
	if len(got) != 2 || got[0].Receipt == 0 || got[0].Receipt == got[1].Receipt {
		f.Fatalf("received %+v", got)
	}
	want.Receipt = got[0].Receipt
	f.same("message", got[0], &want)
	f.same("empty", len(got[1].Body)+len(got[1].Attributes), 0)
	f.same("depth", f.depth(q), store.QueueDepth{InFlight: 2, Delayed: 1})
	f.same("while hidden", f.receive(q, &store.QueueReceive{Max: 10}), []*store.QueueMessage(nil))

	f.now = f.now.Add(30 * time.Second)
	again := f.receive(q, &store.QueueReceive{Max: 2})
	f.same("again, by the time they came to sight", bodies(again), []string{"late", "a\x00\xff"})
	f.same("receives", again[1].Receives, 2)
	f.same("first received", again[1].FirstReceived, want.FirstReceived)
	if again[1].Receipt == want.Receipt {
		f.Fatal("a receipt was given twice")
	}
	f.same("rest", len(f.receive(q, &store.QueueReceive{Max: 10, HideUntil: f.now})), 1)
	f.same("hidden for no time", len(f.receive(q, &store.QueueReceive{Max: 10, HideUntil: f.now})), 1)
	next, err = f.s.NextVisible(f.ctx, other.Number, f.now)
	f.ok(err)
	f.same("none hidden", next, time.Time{})

	// Several operations see what those before them did.
	ops := []*store.QueueOp{
		{Queue: q.Number, Drop: &store.QueueDrop{Max: 1000}},
		{Queue: q.Number, Send: &store.QueueSend{Message: &store.QueueMessage{Body: []byte("1")}}},
		{Queue: q.Number, Delete: &store.QueueReceipt{ID: 1, Receipt: 1}},
		{Queue: q.Number, Receive: &store.QueueReceive{Max: 5, HideUntil: f.now.Add(time.Minute)}},
		{Queue: q.Number, Send: &store.QueueSend{Message: &store.QueueMessage{Body: []byte("2")}}},
	}
	f.queueOps(ops...)
	f.is(ops[2].Err, store.ErrNotFound)
	f.same("received between sends", bodies(ops[3].Receive.Messages), []string{"1"})
	f.same("depth", f.depth(q), store.QueueDepth{Visible: 1, InFlight: 1})
	f.same("depth of the other", f.depth(other), store.QueueDepth{Visible: 1})

	// More than one chunk of any driver's inserts, in order.
	f.ok(f.queueOp(q, store.QueueOp{Drop: &store.QueueDrop{Max: 1000}}))
	ops = nil
	for i := range 45 {
		ops = append(ops, &store.QueueOp{Queue: q.Number, Send: &store.QueueSend{Message: &store.QueueMessage{Body: []byte(fmt.Sprint(i))}}})
	}
	f.queueOps(ops...)
	for i, m := range f.receive(q, &store.QueueReceive{Max: 100}) {
		f.same("order", string(m.Body), fmt.Sprint(i))
		f.same("id", m.ID, ops[i].Send.Message.ID)
		f.same("message id", m.MessageID, ops[i].Send.Message.MessageID)
	}
	f.same("depth", f.depth(q), store.QueueDepth{InFlight: 45})
}

func (f *fixture) testQueueReceipts() {
	q, other := f.resource(store.KindQueue, "q"), f.resource(store.KindQueue, "other")
	sent := f.sendText(q, "m")
	f.is(f.queueOp(q, store.QueueOp{Delete: receipt(sent)}), store.ErrNotFound)
	old := f.receive(q, &store.QueueReceive{Max: 1})[0]
	hide := func(m *store.QueueMessage, d time.Duration) error {
		r := receipt(m)
		r.VisibleAt = f.now.Add(d)
		return f.queueOp(q, store.QueueOp{Visibility: r})
	}
	f.ok(hide(old, time.Hour))
	f.now = f.now.Add(time.Minute)
	f.same("hidden longer", f.depth(q), store.QueueDepth{InFlight: 1})
	f.ok(hide(old, 0))
	f.same("given back", f.depth(q), store.QueueDepth{Visible: 1})
	m := f.receive(q, &store.QueueReceive{Max: 1})[0]
	f.is(f.queueOp(q, store.QueueOp{Delete: receipt(old)}), store.ErrNotFound)
	f.is(hide(old, 0), store.ErrNotFound)
	f.is(f.queueOp(other, store.QueueOp{Delete: receipt(m)}), store.ErrNotFound)
	f.ok(f.queueOp(q, store.QueueOp{Delete: receipt(m)}))
	f.is(f.queueOp(q, store.QueueOp{Delete: receipt(m)}), store.ErrNotFound)
	f.is(hide(m, 0), store.ErrNotFound)
	f.same("depth", f.depth(q), store.QueueDepth{})
	// The receipt of a message that is gone never fits another.
	if next := f.sendText(q, "n"); next.ID <= m.ID {
		f.Fatalf("id %d after %d", next.ID, m.ID)
	}
}

func (f *fixture) testQueueExpiry() {
	q := f.resource(store.KindQueue, "q")
	at := f.now
	for i := range 200 {
		f.now = at.Add(time.Duration(i) * time.Second)
		f.sendText(q, fmt.Sprint(i))
	}
	got := f.receive(q, &store.QueueReceive{Max: 3, Expired: at.Add(150 * time.Second)})
	f.same("received", bodies(got), []string{"150", "151", "152"})
	f.same("depth", f.depth(q), store.QueueDepth{Visible: 47, InFlight: 3})

	fifo := f.resource(store.KindQueue, "q.fifo")
	f.sendFIFO(fifo, "g", "1")
	f.now = f.now.Add(time.Second)
	f.sendFIFO(fifo, "g", "2")
	f.same("received", bodies(f.receive(fifo, &store.QueueReceive{Max: 1, FIFO: true, Expired: f.now})), []string{"2"})
	f.same("depth", f.depth(fifo), store.QueueDepth{InFlight: 1})
}

func (f *fixture) testQueueDrop() {
	q, other := f.resource(store.KindQueue, "q"), f.resource(store.KindQueue, "other")
	at := f.now
	f.sendText(other, "not this")
	for i := range 10 {
		f.now = at.Add(time.Duration(i) * time.Second)
		f.sendText(q, fmt.Sprint(i))
	}
	drop := func(d *store.QueueDrop, more bool, left ...string) {
		f.Helper()
		f.ok(f.queueOp(q, store.QueueOp{Drop: d}))
		f.same("more", d.More, more)
		f.same("left", bodies(f.receive(q, &store.QueueReceive{Max: 20, HideUntil: f.now})), left)
	}
	old := &store.QueueDrop{Before: at.Add(3 * time.Second), Max: 2}
	drop(old, true, "2", "3", "4", "5", "6", "7", "8", "9")
	// One that is hidden for longer is dropped later.
	f.same("hidden", bodies(f.receive(q, &store.QueueReceive{Max: 1})), []string{"2"})
	drop(old, false, "3", "4", "5", "6", "7", "8", "9")
	// What is sent meanwhile is not among those to be dropped.
	all := &store.QueueDrop{Max: 5}
	drop(all, true, "8", "9")
	f.sendText(q, "late")
	drop(all, false, "late")
	f.same("depth of the other", f.depth(other), store.QueueDepth{Visible: 1})
}

func (f *fixture) testReadyQueues() {
	q, later, none := f.resource(store.KindQueue, "q"), f.resource(store.KindQueue, "later"), f.resource(store.KindQueue, "none")
	fifo, gone := f.resource(store.KindQueue, "q.fifo"), f.resource(store.KindQueue, "gone")
	ready := func(want ...*store.Resource) {
		f.Helper()
		numbers := []int64{}
		for _, r := range want {
			numbers = append(numbers, r.Number)
		}
		got, err := f.s.ReadyQueues(f.ctx, []int64{gone.Number, fifo.Number, later.Number, q.Number, none.Number, 1 << 40}, f.now)
		f.ok(err)
		slices.Sort(got)
		slices.Sort(numbers)
		f.same("ready", got, numbers)
	}
	ready()
	f.sendText(q, "1")
	f.sendText(gone, "1")
	f.remove(gone)
	f.send(later, &store.QueueSend{Message: &store.QueueMessage{VisibleAt: f.now.Add(time.Second)}})
	f.sendFIFO(fifo, "a", "1")
	f.sendFIFO(fifo, "a", "2")
	ready(q, fifo)
	f.receive(q, &store.QueueReceive{Max: 1})
	first := f.receive(fifo, &store.QueueReceive{Max: 1, FIFO: true})[0]
	ready() // the second waits for the first
	f.sendFIFO(fifo, "b", "3")
	ready(fifo)
	f.receive(fifo, &store.QueueReceive{Max: 1, FIFO: true})
	ready()
	f.ok(f.queueOp(fifo, store.QueueOp{Delete: receipt(first)}))
	f.now = f.now.Add(time.Second)
	ready(fifo, later)
	got, err := f.s.ReadyQueues(f.ctx, nil, f.now)
	f.ok(err)
	f.same("of none", len(got), 0)
}

func (f *fixture) testFIFO() {
	q := f.resource(store.KindQueue, "q.fifo")
	take := func(limit int, want ...string) []*store.QueueMessage {
		f.Helper()
		got := f.receive(q, &store.QueueReceive{Max: limit, FIFO: true})
		f.same("received", bodies(got), want)
		return got
	}
	var last int64
	for i, group := range []string{"a", "a", "b", "a", "c"} {
		m := f.sendFIFO(q, group, fmt.Sprint(group, i))
		if m.Sequence <= last {
			f.Fatalf("sequence number %d after %d", m.Sequence, last)
		}
		last = m.Sequence
	}
	first := take(2, "a0", "a1")
	f.same("sequence", first[0].Sequence < first[1].Sequence && first[1].Sequence < last, true)
	f.ok(f.queueOp(q, store.QueueOp{Delete: receipt(first[0])}))
	second := take(1, "b2") // a1 is in flight, and closes a
	take(10, "c4")
	f.ok(f.queueOp(q, store.QueueOp{Delete: receipt(first[1])}))
	take(10, "a3")
	take(10)
	// Of two in flight the first comes back: the other still closes the group.
	f.sendFIFO(q, "b", "b5")
	f.ok(f.queueOp(q, store.QueueOp{Visibility: &store.QueueReceipt{ID: second[0].ID, Receipt: second[0].Receipt, VisibleAt: f.now}}))
	two := take(10, "b2", "b5")
	f.ok(f.queueOp(q, store.QueueOp{Visibility: &store.QueueReceipt{ID: two[0].ID, Receipt: two[0].Receipt, VisibleAt: f.now}}))
	take(10)
	f.ok(f.queueOp(q, store.QueueOp{Delete: receipt(two[1])}))
	take(10, "b2")
	f.now = f.now.Add(30 * time.Second)
	take(10, "b2", "a3", "c4")

	// A delay holds up what is behind it in its group, and nothing before it.
	f.ok(f.queueOp(q, store.QueueOp{Drop: &store.QueueDrop{Max: 1000}}))
	f.sendFIFO(q, "d", "d1")
	f.send(q, &store.QueueSend{FIFO: true, Message: &store.QueueMessage{Body: []byte("d2"), GroupID: "d", VisibleAt: f.now.Add(time.Second)}})
	f.sendFIFO(q, "d", "d3")
	f.same("depth", f.depth(q), store.QueueDepth{Visible: 2, Delayed: 1})
	d := take(10, "d1")
	f.now = f.now.Add(time.Second)
	take(10)
	f.ok(f.queueOp(q, store.QueueOp{Delete: receipt(d[0])}))
	take(10, "d2", "d3")

	// A long closed group does not hide the others.
	var ops []*store.QueueOp
	for i := range 400 {
		ops = append(ops, &store.QueueOp{Queue: q.Number, Send: &store.QueueSend{FIFO: true, Message: &store.QueueMessage{Body: []byte(fmt.Sprint(i)), GroupID: "d"}}})
	}
	f.queueOps(ops...)
	f.sendFIFO(q, "e", "e1")
	take(1, "e1")
}

func (f *fixture) testFIFODedup() {
	q, other := f.resource(store.KindQueue, "q.fifo"), f.resource(store.KindQueue, "other.fifo")
	send := func(to *store.Resource, dedup, within string) (*store.QueueMessage, bool) {
		f.Helper()
		s := &store.QueueSend{FIFO: true, DedupScope: within, Message: &store.QueueMessage{Body: []byte("x"), GroupID: "g", DedupID: dedup}}
		return f.send(to, s), s.Duplicate
	}
	first, dup := send(q, "d", "")
	f.same("first", dup, false)
	again, dup := send(q, "d", "")
	f.same("second", dup, true)
	f.same("message id", again.MessageID, first.MessageID)
	f.same("sequence", again.Sequence, first.Sequence)
	for name, tt := range map[string]struct {
		q             *store.Resource
		dedup, within string
	}{"other queue": {other, "d", ""}, "other scope": {q, "d", "g"}, "other id": {q, "e", ""}, "none": {q, "", ""}, "none again": {q, "", ""}} {
		_, dup := send(tt.q, tt.dedup, tt.within)
		f.same(name, dup, false)
	}
	_, dup = send(q, "d", "g")
	f.same("same scope", dup, true)
	// The id outlives its message, and ends after five minutes.
	f.ok(f.queueOp(q, store.QueueOp{Drop: &store.QueueDrop{Max: 1000}}))
	f.now = f.now.Add(5*time.Minute - time.Millisecond)
	_, dup = send(q, "d", "")
	f.same("before the end", dup, true)
	f.now = f.now.Add(time.Millisecond)
	_, dup = send(q, "d", "")
	f.same("after the end", dup, false)
	f.same("depth", f.depth(q), store.QueueDepth{Visible: 1})
	// Within one call.
	ops := []*store.QueueOp{
		{Queue: q.Number, Send: &store.QueueSend{FIFO: true, Message: &store.QueueMessage{Body: []byte("1"), GroupID: "g", DedupID: "n"}}},
		{Queue: q.Number, Send: &store.QueueSend{FIFO: true, Message: &store.QueueMessage{Body: []byte("2"), GroupID: "g", DedupID: "n"}}},
	}
	f.queueOps(ops...)
	f.same("twin", ops[1].Send.Duplicate, true)
	f.same("twin's id", ops[1].Send.Message.MessageID, ops[0].Send.Message.MessageID)
	// Deposits have a scope too.
	before := f.depth(q).Visible
	b := f.batch()
	for _, within := range []string{"x", "y", "x", ""} {
		b.Deposits = append(b.Deposits, &event.Deposit{Kind: event.IntoQueue, Into: q.Number, Body: []byte("x"), GroupID: "x", DedupID: "in a group", DedupScope: within})
	}
	f.commit(b)
	f.same("deposited", f.depth(q).Visible-before, 3)
	// A queue that is not FIFO takes an id as a mere label.
	plain := f.resource(store.KindQueue, "plain")
	for range 2 {
		f.send(plain, &store.QueueSend{Message: &store.QueueMessage{DedupID: "d"}})
	}
	f.same("depth", f.depth(plain), store.QueueDepth{Visible: 2})
}

func (f *fixture) testDeadLetters() {
	q, dead := f.resource(store.KindQueue, "q"), f.resource(store.KindQueue, "dead")
	for i := range 70 {
		f.sendText(q, fmt.Sprint(i))
	}
	receive := func() *store.QueueReceive {
		f.Helper()
		r := &store.QueueReceive{Max: 66, DeadLetter: dead.Number, MaxReceives: 2, HideUntil: f.now}
		f.receive(q, r)
		return r
	}
	first := receive()
	f.same("first", len(first.Messages), 66)
	receive()
	sent := f.now
	f.now = f.now.Add(time.Hour)
	r := receive()
	f.same("third", bodies(r.Messages), []string{"66", "67", "68", "69"})
	f.same("moved", r.Moved, 66)
	f.same("depth", f.depth(q), store.QueueDepth{Visible: 4})
	letters := f.receive(dead, &store.QueueReceive{Max: 100})
	f.same("letters", len(letters), 66)
	f.same("message id", letters[0].MessageID, first.Messages[0].MessageID)
	for i, m := range letters {
		f.same("body", string(m.Body), fmt.Sprint(i))
		f.same("source", m.Source, q.Number)
		f.same("receives", m.Receives, 1)
		f.same("sent", m.Sent, sent)
		f.same("first received", m.FirstReceived, f.now)
	}
	// Without a place to put them they go on being handed out.
	f.remove(dead)
	receive()
	r = receive()
	f.same("without dead letters", len(r.Messages), 4)
	f.same("moved", r.Moved, 0)

	fifo, fifoDead := f.resource(store.KindQueue, "q.fifo"), f.resource(store.KindQueue, "dead.fifo")
	for _, text := range []string{"1", "2", "3"} {
		f.sendFIFO(fifo, "g", text)
	}
	r = &store.QueueReceive{Max: 1, FIFO: true, DeadLetter: fifoDead.Number, MaxReceives: 1, HideUntil: f.now}
	f.same("first", bodies(f.receive(fifo, r)), []string{"1"})
	f.now = f.now.Add(time.Hour)
	r.HideUntil = f.now
	f.same("next of the group", bodies(f.receive(fifo, r)), []string{"2"})
	f.same("moved", r.Moved, 1)
	letter := f.receive(fifoDead, &store.QueueReceive{Max: 1, FIFO: true})[0]
	f.same("letter", string(letter.Body), "1")
	f.same("sent anew", letter.Sent, f.now)
	f.same("group", letter.GroupID, "g")
}

func (f *fixture) testQueueMove() {
	a, b, dead := f.resource(store.KindQueue, "a"), f.resource(store.KindQueue, "b"), f.resource(store.KindQueue, "dead")
	gone := f.resource(store.KindQueue, "gone")
	die := func(q *store.Resource, text string) {
		f.Helper()
		f.sendText(q, text)
		f.receive(q, &store.QueueReceive{Max: 1, HideUntil: f.now})
		r := &store.QueueReceive{Max: 1, DeadLetter: dead.Number, MaxReceives: 1}
		f.receive(q, r)
		f.same("moved", r.Moved, 1)
	}
	die(a, "a1")
	die(gone, "g1")
	die(b, "b1")
	f.sendText(dead, "own")
	die(a, "a2")
	f.remove(gone)
	f.now = f.now.Add(time.Hour)
	hidden := f.receive(dead, &store.QueueReceive{Max: 1})
	f.same("hidden", bodies(hidden), []string{"a1"})

	m := &store.QueueMove{Max: 1}
	f.ok(f.queueOp(dead, store.QueueOp{Move: m}))
	f.same("moved one home", *m, store.QueueMove{Max: 1, Moved: 1, More: true})
	f.ok(f.queueOp(dead, store.QueueOp{Move: m}))
	f.same("moved the rest", *m, store.QueueMove{Max: 1, Moved: 1})
	f.same("what came from nowhere stays", f.depth(dead), store.QueueDepth{Visible: 2, InFlight: 1})
	home := f.receive(a, &store.QueueReceive{Max: 9})
	f.same("home", bodies(home), []string{"a2"})
	f.same("receives", home[0].Receives, 1)
	f.same("source", home[0].Source, int64(0))
	f.same("sent", home[0].Sent, f.now)
	f.same("home of the other", bodies(f.receive(b, &store.QueueReceive{Max: 9})), []string{"b1"})

	f.now = f.now.Add(time.Hour)
	m = &store.QueueMove{To: b.Number, Max: 10}
	f.ok(f.queueOp(dead, store.QueueOp{Move: m}))
	f.same("moved elsewhere", m.Moved, 3)
	f.same("left", f.depth(dead), store.QueueDepth{})
	f.same("elsewhere", f.depth(b), store.QueueDepth{Visible: 4})
	f.is(f.queueOp(b, store.QueueOp{Move: &store.QueueMove{To: gone.Number, Max: 1}}), store.ErrNotFound)
	f.same("still there", f.depth(b), store.QueueDepth{Visible: 4})

	// A FIFO queue keeps its order however often its messages were tried.
	from, to := f.resource(store.KindQueue, "from.fifo"), f.resource(store.KindQueue, "to.fifo")
	last := int64(0)
	for _, text := range []string{"1", "2", "3"} {
		last = f.sendFIFO(from, "g", text).Sequence
	}
	f.receive(from, &store.QueueReceive{Max: 1, FIFO: true})
	m = &store.QueueMove{To: to.Number, Max: 2}
	f.ok(f.queueOp(from, store.QueueOp{Move: m}))
	f.same("while one is in flight", *m, store.QueueMove{To: to.Number, Max: 2})
	f.now = f.now.Add(time.Minute)
	f.ok(f.queueOp(from, store.QueueOp{Move: m}))
	f.same("moved", *m, store.QueueMove{To: to.Number, Max: 2, Moved: 2, More: true})
	f.ok(f.queueOp(from, store.QueueOp{Move: m}))
	got := f.receive(to, &store.QueueReceive{Max: 9, FIFO: true})
	f.same("in order", bodies(got), []string{"1", "2", "3"})
	if got[0].Sequence <= last {
		f.Fatal("moved messages kept their sequence numbers")
	}
}

func (f *fixture) testQueueAbsent() {
	q, gone, group := f.resource(store.KindQueue, "q"), f.resource(store.KindQueue, "gone"), f.resource(store.KindLogGroup, "l")
	f.sendText(gone, "1")
	f.remove(gone)
	message := func() *store.QueueSend { return &store.QueueSend{Message: &store.QueueMessage{Body: []byte("x")}} }
	ops := []*store.QueueOp{
		{Queue: gone.Number, Send: message()},
		{Queue: group.Number, Send: message()},
		{Queue: 1 << 40, Send: message()},
		{Queue: gone.Number, Receive: &store.QueueReceive{Max: 1, HideUntil: f.now}},
		{Queue: gone.Number, Drop: &store.QueueDrop{Max: 1000}},
		{Queue: q.Number, Send: message()},
	}
	f.queueOps(ops...)
	for _, op := range ops[:5] {
		f.is(op.Err, store.ErrNotFound)
	}
	f.ok(ops[5].Err)
	f.same("depth", f.depth(q), store.QueueDepth{Visible: 1})
	f.same("depth of the deleted", f.depth(gone), store.QueueDepth{})
}
