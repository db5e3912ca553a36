package engine

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/transform"
)

// Bounds of one read from the store.
const (
	feedRows  = 512
	feedBytes = 4 << 20
)

// delivery is one that is held in memory.
type delivery struct {
	sub     *subscriber
	ev      *event.Event
	run     int
	n       int       // tries made in this run
	waiting bool      // it has a row in the retry table
	group   int64     // of that row
	since   time.Time // when it was taken into memory
	// prev and next link everything the subscriber holds.
	prev, next *delivery
}

func (d *delivery) key() store.RetryKey {
	return store.RetryKey{Scope: d.ev.Scope, Seq: d.ev.Seq, Subscription: d.sub.id, Run: d.run}
}

// way is how deliveries are made at present.
type way struct {
	spec  *event.Subscription
	shape *transform.Transform // nil sends the event as it is
	tgt   target.Target
	// unusable says why there is no tgt.
	unusable string
}

type rowKey struct {
	seq event.Seq
	run int
}

// subscriber runs one subscription. See the package comment for the ways a
// delivery can wait.
type subscriber struct {
	e  *Engine
	id int64

	mu  sync.Mutex
	way way

	queue []*delivery // head first
	head  int
	// inHand is the ring of all deliveries in memory: queued, being sent, or
	// with an outcome not yet committed. The root is a sentinel.
	inHand  delivery
	holding int
	workers int

	meanSend time.Duration // moving average
	relief   chan struct{} // see pace

	vital        vital
	fails        int       // consecutive
	failingSince time.Time // the first of them
	failing      bool
	probeAt      time.Time // a failing subscriber sends nothing before

	bucket  bucket // of the rate limit
	alarmed bool   // something will spawn when there is a token

	groups   []int64 // whose last delivery in hand is settled
	lookAt   time.Time
	lookTook time.Duration

	// cursor: everything in the log up to it has been handed to this
	// subscriber, so nothing at or below it is taken again.
	cursor  event.Seq
	lagging bool

	// retryDue is when the earliest delivery in the retry table that is not
	// in memory falls due, as far as known; zero if there is none.
	retryDue time.Time
	claimed  map[rowKey]bool // rows that are in memory
	// readTo is up to where the due rows have been read; all before it are in
	// memory or settled.
	readTo  time.Time
	readSeq event.Seq
	rewinds int
	feeding bool
	// settledMeanwhile are the rows whose outcome was committed while a read
	// of the table was under way, which may still show them.
	settledMeanwhile map[rowKey]bool
}

func newSubscriber(e *Engine, id int64) *subscriber {
	s := &subscriber{e: e, id: id, claimed: map[rowKey]bool{}, relief: make(chan struct{})}
	s.inHand.prev, s.inHand.next = &s.inHand, &s.inHand
	return s
}

// configure puts a changed subscription in force. Whatever was wrong with the
// destination gets a fresh chance.
func (s *subscriber) configure(spec *event.Subscription) {
	w := way{spec: spec}
	if spec.Status == event.Enabled {
		var err error
		if w.tgt, err = s.e.o.Open(spec.Target); err != nil {
			w.tgt, w.unusable = nil, err.Error()
		}
		if spec.Input != nil && err == nil {
			if w.shape, err = transform.Compile(input(spec.Input)); err != nil {
				w.tgt, w.unusable = nil, err.Error()
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.way = w
	s.freshChance()
	s.vital.failures = nil
	if spec.Status == event.Deleted {
		s.noteDue(s.e.now())
	}
}

func input(in *event.Input) transform.Input {
	t := transform.Input{Path: in.Path, Paths: in.Paths, Template: in.Template}
	if in.Constant != "" {
		t.Constant = &in.Constant
	}
	return t
}

func (s *subscriber) held() bool { return s.way.spec.Status == event.Held }

// room is how many more deliveries may be held.
func (s *subscriber) room() int {
	if s.e.memory.Load() >= s.e.o.MaxMemory {
		return 0
	}
	return max(0, s.capacity()-s.holding)
}

// admit says, before an event is committed, whether its delivery will be
// dispatched or is to be parked in the same transaction, and in which group.
func (s *subscriber) admit(ev *event.Event) (event.Disposition, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groupOf(ev); g != 0 {
		return event.Parked, g
	}
	_, limited := s.share()
	if s.failing || s.held() || !s.lagging && s.room() == 0 && (limited || s.e.lagging.Load() >= maxLagging) {
		return event.Parked, 0
	}
	return event.Dispatch, 0
}

// offer hands on a committed event. If there is no room the subscriber reads
// the log from here on by itself.
func (s *subscriber) offer(ev *event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lagging || ev.Seq <= s.cursor {
		return
	}
	if s.room() == 0 {
		s.cursor = ev.Seq - 1
		s.lagging = true
		s.e.lagging.Add(1)
		return
	}
	s.enqueue(&delivery{sub: s, ev: ev, since: s.e.now()})
	s.spawn()
}

func (s *subscriber) isLagging() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lagging
}

// expect notes that a row was written to the retry table, due at t.
func (s *subscriber) expect(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteDue(t)
}

func (s *subscriber) noteDue(t time.Time) {
	if s.way.spec.Status == event.Deleted {
		// Whatever still waits is closed now, however far in the future it is
		// due, and also if a try that was under way has just put it there.
		t = s.e.now()
	}
	if s.retryDue.IsZero() || t.Before(s.retryDue) {
		s.retryDue = t
	}
	s.rewindTo(t)
}

// rewindTo has the due rows read from t on again, if reading was beyond it.
func (s *subscriber) rewindTo(t time.Time) {
	if t = t.Truncate(time.Millisecond); !t.After(s.readTo) { // rows have no more than milliseconds
		s.readTo, s.readSeq = t, 0
	}
}

// rewind has the due rows read from the first again.
func (s *subscriber) rewind() {
	s.readTo, s.readSeq = time.Time{}, 0
	s.rewinds++
}

func (s *subscriber) enqueue(d *delivery) {
	s.hold(d)
	if s.head > 0 && len(s.queue) == cap(s.queue) {
		n := copy(s.queue, s.queue[s.head:])
		clear(s.queue[n:])
		s.queue, s.head = s.queue[:n], 0
	}
	s.queue = append(s.queue, d)
}

func (s *subscriber) queued() int { return len(s.queue) - s.head }

func (s *subscriber) hold(d *delivery) {
	d.prev, d.next = s.inHand.prev, &s.inHand
	d.prev.next, d.next.prev = d, d
	s.holding++
	s.e.memory.Add(int64(len(d.ev.Payload)))
	if d.waiting {
		s.claimed[rowKey{d.ev.Seq, d.run}] = true
	}
}

func (s *subscriber) release(d *delivery) {
	d.prev.next, d.next.prev = d.next, d.prev
	d.prev, d.next = nil, nil
	s.holding--
	s.e.memory.Add(-int64(len(d.ev.Payload)))
	if d.waiting {
		k := rowKey{d.ev.Seq, d.run}
		delete(s.claimed, k)
		if s.settledMeanwhile != nil {
			s.settledMeanwhile[k] = true
		}
	}
}

// limit is how many sends may be under way.
func (s *subscriber) limit() int {
	if s.failing {
		return 1
	}
	if each := int(s.e.backlog.each.Load()); each > 0 && len(s.claimed) > 0 {
		if s.meanSend >= swift {
			each = max(each, leastSlow)
		}
		return min(each, s.e.o.MaxInFlight)
	}
	return s.e.o.MaxInFlight
}

// spawn starts a worker if there is work for one more.
func (s *subscriber) spawn() {
	if s.queued() > 0 && s.workers < s.limit() && s.mayWork() && s.e.work(s.work) {
		s.workers++
	}
}

func (s *subscriber) mayWork() bool {
	select {
	case <-s.e.stopping:
		return false
	default:
	}
	now := s.e.now()
	return !s.held() && !s.e.committer.congested() && (s.probeAt.IsZero() || !now.Before(s.probeAt)) && !s.awaitsToken(now)
}

func (s *subscriber) work() {
	for {
		d, w := s.take()
		if d == nil {
			return
		}
		s.deliver(d, w)
	}
}

// take gives a worker its next delivery, or ends it.
func (s *subscriber) take() (*delivery, way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued() == 0 || s.workers > s.limit() || !s.mayWork() {
		s.workers--
		return nil, way{}
	}
	d := s.queue[s.head]
	s.queue[s.head] = nil
	s.head++
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	if p, limited := s.share(); limited {
		s.bucket.take(p, s.e.now())
	}
	s.spawn()
	s.feedIfLow(s.e.now())
	return d, s.way
}

// heldAgain is how long a delivery waits whose target is not there yet, where
// the subscription does not say so.
const heldAgain = time.Second

// deliver makes one try and hands its outcome to the committer.
func (s *subscriber) deliver(d *delivery, w way) {
	switch w.spec.Status {
	case event.Disabled:
		s.discard(d, event.ReasonDisabled)
		return
	case event.Deleted:
		s.discard(d, event.ReasonDeleted)
		return
	}
	res := s.try(d, w)
	switch res.Class {
	case target.Interrupted: // still in hand, still undone: the next start sends it
	case target.Held:
		s.e.committer.settle(&settlement{d: d, put: true, n: d.n, next: s.e.now().Add(heldAgain)})
	default:
		s.judge(d, w.spec, &res)
	}
}

func (s *subscriber) try(d *delivery, w way) target.Result {
	if w.tgt == nil {
		return target.Result{Class: event.ClassConfig, Message: w.unusable, Started: s.e.now()}
	}
	body := make([]byte, 0, len(d.ev.Payload)+64)
	if w.shape == nil {
		body = d.ev.AppendBody(body, w.spec)
	} else {
		var err error
		body, err = w.shape.Apply(body, d.ev.Payload, transform.Vars{RuleARN: w.spec.Input.RuleARN, RuleName: w.spec.Input.RuleName, Ingested: d.ev.Seq.Time()})
		if err != nil {
			return target.Result{Class: event.ClassInput, Message: err.Error(), Started: s.e.now(), Permanent: true}
		}
	}
	return w.tgt.Send(s.e.sendCtx, target.Message{EventID: d.ev.ID(), Type: d.ev.Type, Body: body, Attempt: d.n + 1, Event: d.ev})
}

func (s *subscriber) discard(d *delivery, reason string) {
	s.e.o.Metrics.Discarded.Inc()
	s.e.committer.settle(&settlement{d: d, attempt: &event.Attempt{
		Seq: d.ev.Seq, Subscription: s.id, Scope: d.ev.Scope, Run: d.run, N: 0,
		Outcome: event.WasDiscarded, Class: event.ClassDiscard, Message: reason, Started: s.e.now(),
	}})
}

// judge decides what follows from a try.
func (s *subscriber) judge(d *delivery, spec *event.Subscription, res *target.Result) {
	a := &event.Attempt{
		Seq: d.ev.Seq, Subscription: s.id, Scope: d.ev.Scope, Run: d.run, N: d.n + 1,
		Outcome: event.Delivered, Class: res.Class, Status: res.Status, Message: res.Message,
		Started: res.Started, FirstByte: res.FirstByte, Total: res.Total,
		Headers: res.Headers, Body: res.Body, Truncated: res.Truncated,
	}
	o := &settlement{d: d, attempt: a, deposit: res.Deposit}
	now := s.e.now()
	if res.Class != event.ClassNone {
		policy := spec.Retry
		if d.run > 0 {
			policy = retry.None()
		}
		next, again := policy.Next(a.N, now, res.RetryAfter, jitter())
		limit := retry.LimitAttempts
		if again && !policy.Within(d.ev.Seq.Time(), next) {
			again, limit = false, retry.LimitAge
		}
		a.Outcome = event.FailedFinal
		switch {
		case res.Permanent:
			s.deadLetter(o, spec, "")
		case again:
			a.Outcome, a.Next = event.FailedRetry, next
			o.put, o.n, o.next = true, a.N, next
		default:
			s.deadLetter(o, spec, limit)
		}
	}
	s.e.o.Metrics.attempted(a)
	s.mu.Lock()
	s.meanSend += (res.Total - s.meanSend) / 16
	if !unsendable(res.Class) {
		s.noteHealth(d.ev.Seq, a.Outcome == event.Delivered, now)
	}
	s.mu.Unlock()
	s.e.committer.settle(o)
}

// unsendable says of a failure that it cost nothing and tells nothing of the
// next: there is no reason to go easy on the target.
func unsendable(c event.Class) bool { return c == event.ClassInput || c == event.ClassNoTarget }

// deadLetter sends the event of a delivery that failed for good to the
// subscription's dead-letter queue, if it has one.
func (s *subscriber) deadLetter(o *settlement, spec *event.Subscription, limit retry.Limit) {
	dl, a := spec.DeadLetter, o.attempt
	if dl == nil {
		return
	}
	text := func(name, value string) event.Attribute {
		return event.Attribute{Name: name, Type: "String", Value: value}
	}
	code := strings.ToUpper(string(a.Class))
	if a.Status != 0 {
		code = strconv.Itoa(a.Status)
	}
	attributes := []event.Attribute{text("RULE_ARN", dl.RuleARN), text("TARGET_ARN", dl.TargetARN), text("ERROR_CODE", code)}
	if a.Message != "" {
		attributes = append(attributes, text("ERROR_MESSAGE", a.Message))
	}
	attributes = append(attributes, event.Attribute{Name: "RETRY_ATTEMPTS", Type: "Number", Value: strconv.Itoa(a.N - 1)})
	if limit != "" {
		attributes = append(attributes, text("EXHAUSTED_RETRY_CONDITION", string(limit)))
	}
	deposit, err := s.e.o.DeadLetter(dl.Queue, o.d.ev.Payload, attributes)
	if err != nil {
		a.Message += "; it could not go to the dead-letter queue: " + err.Error()
		return
	}
	a.Outcome, o.deposit = event.DeadLettered, &deposit
}

// settled is told that an outcome is committed.
func (s *subscriber) settled(o *settlement) {
	s.mu.Lock()
	s.release(o.d)
	s.relieve()
	switch {
	case o.put:
		s.noteDue(o.next)
	case o.d.group != 0:
		s.groups = append(s.groups, o.d.group)
	}
	s.feedIfLow(s.e.now())
	s.mu.Unlock()
	if o.attempt != nil && o.attempt.Class == event.ClassGone && s.e.o.Gone != nil {
		s.e.work(func() {
			if err := s.e.o.Gone(s.e.sendCtx, o.d.ev.Scope, s.id); err != nil {
				s.e.o.Log.Error("could not disable a destination that answered 410; its next answer will try again", "subscription", s.id, "error", err)
			}
		})
	}
}

// tick looks after what no event wakes: retries that fall due, deliveries that
// have waited too long, workers that paused. It tells whether the subscriber
// works off retries.
func (s *subscriber) tick(now time.Time) (busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putBack(now)
	s.lookAround(now)
	s.feedIfLow(now)
	s.spawn()
	return len(s.claimed) > 0 && !s.failing
}

// putBack takes out of the queue what has waited too long, or everything if
// the destination keeps failing: memory is for what will be sent soon.
func (s *subscriber) putBack(now time.Time) {
	if s.queued() == 0 || !s.failing && !s.held() && now.Sub(s.queue[s.head].since) < s.e.o.MaxWait {
		return
	}
	keep := s.queue[:0]
	for _, d := range s.queue[s.head:] {
		switch {
		case !s.held() && (s.failing && d.waiting && len(keep) < failingRoom || !s.failing && now.Sub(d.since) < s.e.o.MaxWait):
			keep = append(keep, d)
		case d.waiting: // its row is still there
			s.release(d)
			s.noteDue(now)
			s.rewind()
		default:
			s.e.committer.settle(&settlement{d: d, put: true, next: now})
		}
	}
	clear(s.queue[len(keep):])
	s.queue, s.head = keep, 0
}

// feedIfLow starts reading from the store if there is something to read and
// room for a good part of it.
func (s *subscriber) feedIfLow(now time.Time) {
	if s.feeding || !s.lagging && (s.held() || len(s.groups) == 0 && (s.retryDue.IsZero() || now.Before(s.retryDue))) {
		return
	}
	_, limited := s.share()
	overdue := s.lagging && (limited || now.Sub(s.cursor.Time()) > s.e.o.MaxWait)
	if !overdue && (s.room() == 0 || s.queued() > s.capacity()/2) {
		return
	}
	if !s.lagging && (s.queued() > feedRows || s.retriesFull()) {
		return
	}
	s.feeding = s.e.work(s.feed)
}

func (s *subscriber) feed() {
	var err error
	select {
	case s.e.feeds <- struct{}{}:
		err = s.read()
		<-s.e.feeds
	case <-s.e.sendCtx.Done():
	}
	if err != nil {
		s.e.o.Log.Error("reading deliveries from the store", "subscription", s.id, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeding = false
	s.spawn()
	if err == nil && len(s.groups) > 0 {
		s.feedIfLow(s.e.now())
	}
}

func (s *subscriber) read() error {
	s.mu.Lock()
	lagging := s.lagging
	s.mu.Unlock()
	if lagging {
		if err := s.feedFromLog(); err != nil {
			return err
		}
	}
	if err := s.feedGroups(s.e.now()); err != nil {
		return err
	}
	return s.feedFromRetries(s.e.now())
}

// retriesFull says that retries hold as much memory as they may: the rest is
// for what is fresh.
func (s *subscriber) retriesFull() bool { return s.e.memory.Load() >= s.e.o.MaxMemory/2 }

// feedFromLog reads on from the cursor. What has lain in the log too long is
// parked instead of queued, so that the watermark can pass it.
func (s *subscriber) feedFromLog() error {
	for {
		s.mu.Lock()
		after := s.cursor
		s.mu.Unlock()
		upTo := event.Seq(s.e.committed.Load())
		events, err := s.e.o.Store.EventsAfter(s.e.sendCtx, store.AfterParams{
			Lane: s.e.lane.Lane, After: after, UpTo: upTo, Limit: feedRows, MaxBytes: feedBytes, Undone: after < s.e.lane.Last,
		})
		if err != nil {
			return err
		}
		if more := s.takeFromLog(events, upTo); !more {
			return nil
		}
	}
}

func (s *subscriber) takeFromLog(events []*event.Event, upTo event.Seq) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.e.now()
	_, limited := s.share()
	for _, ev := range events {
		if s.routed(ev) {
			d := &delivery{sub: s, ev: ev, since: now}
			switch {
			case s.room() > 0 && !s.held():
				s.enqueue(d)
				s.spawn()
			case (s.held() || limited || now.Sub(ev.Seq.Time()) > s.e.o.MaxWait) && s.holding < s.e.o.MaxQueue+feedRows:
				s.hold(d)
				s.e.committer.settle(&settlement{d: d, put: true, next: now})
			default:
				return false
			}
		}
		s.cursor = ev.Seq
	}
	if len(events) > 0 {
		return true
	}
	s.cursor = max(s.cursor, upTo)
	// The committer raises this before it offers, so what it offers from now
	// on is either above the cursor or is left out by it.
	if event.Seq(s.e.committed.Load()) > s.cursor {
		return true
	}
	s.lagging = false
	s.e.lagging.Add(-1)
	return false
}

func (s *subscriber) routed(ev *event.Event) bool {
	for _, r := range ev.Routes {
		if r.Subscription == s.id {
			return r.Disposition == event.Dispatch
		}
	}
	return false
}

// farFuture makes everything due: what a deleted destination left behind.
var farFuture = time.UnixMilli(1 << 50)

func (s *subscriber) feedFromRetries(now time.Time) error {
	s.mu.Lock()
	if s.held() || s.retryDue.IsZero() || now.Before(s.retryDue) || s.room() == 0 || s.retriesFull() {
		s.mu.Unlock()
		return nil
	}
	before := s.dueBefore(now)
	p := store.DueParams{
		Subscription: s.id, Before: before, After: s.readTo, AfterSeq: s.readSeq, Ordered: s.way.spec.Ordered,
		Limit: min(s.room(), feedRows) + 1, MaxBytes: feedBytes, // the first is where the last read ended
	}
	rewinds := s.rewinds
	s.retryDue = time.Time{}
	s.settledMeanwhile = map[rowKey]bool{}
	s.mu.Unlock()

	began := time.Now()
	due, err := s.e.o.Store.DueRetries(s.e.sendCtx, p)
	took := time.Since(began)
	var next time.Time
	if err == nil {
		next, err = s.e.o.Store.NextRetry(s.e.sendCtx, s.id, before)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	meanwhile := s.settledMeanwhile
	s.settledMeanwhile = nil
	if err != nil {
		s.noteDue(now)
		return err
	}
	noted, bytes, full := s.retryDue, 0, len(due) == p.Limit
	for _, r := range due {
		if bytes += len(r.Event.Payload); !s.takeDue(&r, meanwhile, now) {
			full = true
			break
		}
		s.readTo, s.readSeq = r.Next, r.Seq
	}
	full = full || bytes >= feedBytes
	if p.Ordered && !full { // whatever of it is due waits for its group
		s.readTo, s.readSeq, s.lookTook = before.Truncate(time.Millisecond), 0, took
	}
	// What was written meanwhile, and due earlier than what was read, is still
	// to be seen: an outcome can be committed long after it was due again.
	switch {
	case rewinds != s.rewinds:
		s.readTo, s.readSeq = time.Time{}, 0
	case !noted.IsZero():
		s.rewindTo(noted)
	}
	if rewinds != s.rewinds || full {
		s.retryDue = now
		return nil
	}
	if !next.IsZero() && (s.retryDue.IsZero() || next.Before(s.retryDue)) {
		s.retryDue = next
	}
	return nil
}

// dueBefore is up to when what waits is due.
func (s *subscriber) dueBefore(now time.Time) time.Time {
	if s.way.spec.Status == event.Deleted {
		return farFuture
	}
	return now
}

// takeDue queues a delivery that was read from the retry table, unless it is in
// hand or was settled meanwhile; false if there is no room for it.
func (s *subscriber) takeDue(r *store.DueRetry, meanwhile map[rowKey]bool, now time.Time) bool {
	if k := (rowKey{r.Seq, r.Run}); s.claimed[k] || meanwhile[k] {
		return true
	}
	if s.room() == 0 {
		return false
	}
	s.enqueue(&delivery{sub: s, ev: r.Event, run: r.Run, n: r.N, waiting: true, group: r.Group, since: now})
	return true
}

// settledBelow is the highest sequence number up to which this subscriber has
// nothing undone.
func (s *subscriber) settledBelow() event.Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := event.Seq(1<<63 - 1)
	if s.lagging {
		low = s.cursor
	}
	for d := s.inHand.next; d != &s.inHand; d = d.next {
		if !d.waiting {
			low = min(low, d.ev.Seq-1)
		}
	}
	return low
}

// stalled returns how long a delivery has waited for a worker that it could
// have had.
func (s *subscriber) stalled(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, limited := s.share(); limited || s.failing || s.held() || s.workers >= s.limit() {
		return 0
	}
	var worst time.Duration
	if s.queued() > 0 {
		worst = now.Sub(s.queue[s.head].since)
	}
	if !s.retryDue.IsZero() && s.queued() == 0 {
		worst = max(worst, now.Sub(s.retryDue))
	}
	return worst
}

func (s *subscriber) depth(now time.Time) (queued, inFlight int, oldest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := s.inHand.next; d != &s.inHand; d = d.next {
		if !d.waiting {
			oldest = max(oldest, now.Sub(d.ev.Seq.Time()))
		}
	}
	if s.lagging {
		oldest = max(oldest, now.Sub(s.cursor.Time()))
	}
	return s.queued(), s.workers, oldest
}
