package engine

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/route"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// maxBatchEvents and maxBatchBytes bound one transaction; a single
	// submission may exceed them.
	maxBatchEvents = 4096
	maxBatchBytes  = 16 << 20
	// A batch is closed when that many yields in a row brought nobody, or after
	// maxYields.
	quietYields = 2
	maxYields   = 32
	// maxOutcomes is how many outcomes are committed at most while publishers
	// wait for the same commit.
	maxOutcomes = 512
	// settleDelay is how long outcomes wait for others, or for a publish, to
	// share a commit with. Nobody waits for them; a crash meanwhile means
	// that these few are sent again.
	settleDelay = 5 * time.Millisecond
	// maxUnsettled pauses sending when that many outcomes wait for a commit.
	maxUnsettled = 16384
	// markEvery is how often the watermark is computed anew.
	markEvery = 200 * time.Millisecond
	// retryCommit is how long the committer waits after a failure before it
	// tries to commit outcomes again.
	retryCommit = 250 * time.Millisecond
	// idleMark is after how long without work the watermark is stored by
	// itself, so that a successor has less to look through.
	idleMark = time.Second
)

// submission is a publish request on its way through the committer.
type submission struct {
	store.Submission
	p       Publish
	primary []*event.Event // one for each draft
	// primaryAt are the indexes of primary in Events.
	primaryAt []int
	version   int64                 // of the snapshot it was routed by
	onBus     []*event.Subscription // room for what one event matches
	bytes     int
	err       error
	done      chan struct{}
}

func newSubmission(p Publish) *submission {
	s := &submission{p: p, done: make(chan struct{})}
	s.Idempotency = p.Idempotency
	return s
}

// route decides for each event where it goes, and adds the thin twins and
// the copies for accounts above that somebody selects.
func (s *submission) route(snap *route.Snapshot) {
	s.version = snap.Version()
	s.Events = s.Events[:0]
	s.primaryAt = s.primaryAt[:0]
	s.Keys = s.Keys[:0]
	s.bytes = 0
	for i, e := range s.primary {
		at := len(s.Events)
		s.primaryAt = append(s.primaryAt, at)
		s.add(e, s.selected(snap, e, s.p.Drafts[i]))
		if e.Kind != event.OnBus && len(s.p.Only) == 0 {
			s.follow(snap, e, s.p.Drafts[i])
		}
		if d := s.p.Drafts[i]; d.ID != "" {
			s.Keys = append(s.Keys, store.EventKey{Index: at, Followers: len(s.Events) - at - 1, ID: d.ID, Hash: d.Hash})
		}
	}
}

// follow adds what is accepted with an event: its thin twin, and the copies of
// both for the accounts above, each if somebody selects it.
func (s *submission) follow(snap *route.Snapshot, e *event.Event, d *event.Draft) {
	above := snap.Above(e.Scope)
	var twin *event.Event
	if e.Kind == event.Snapshot {
		typ := event.TwinType(e.Type)
		own := snap.Match(e.Scope, event.Thin, typ)
		selected := len(own) > 0
		for i := range above {
			selected = selected || len(snap.MatchAbove(&above[i], event.Thin, typ)) > 0
		}
		if selected {
			twin = d.Twin(e)
			s.add(twin, own)
		}
	}
	for i := range above {
		s.relay(snap, &above[i], e)
		if twin != nil {
			s.relay(snap, &above[i], twin)
		}
	}
}

func (s *submission) relay(snap *route.Snapshot, to *route.Above, e *event.Event) {
	if subs := snap.MatchAbove(to, e.Kind, e.Type); len(subs) > 0 {
		s.add(e.Relay(to.Scope, to.Account, to.Path), subs)
	}
}

func (s *submission) selected(snap *route.Snapshot, e *event.Event, d *event.Draft) []*event.Subscription {
	switch {
	case len(s.p.Only) > 0:
		var subs []*event.Subscription
		for _, id := range s.p.Only {
			if sub := snap.Subscription(id); sub != nil && sub.Scope == e.Scope {
				subs = append(subs, sub)
			}
		}
		return subs
	case e.Kind == event.OnBus:
		s.onBus = snap.OnBus(s.onBus[:0], e.Bus, e.Payload, d.Envelope.Distinct)
		return s.onBus
	}
	return snap.Match(e.Scope, e.Kind, e.Type)
}

func (s *submission) add(e *event.Event, subs []*event.Subscription) {
	e.Routes = e.Routes[:0]
	for _, sub := range subs {
		r := event.Route{Subscription: sub.ID}
		if sub.Status == event.Disabled {
			r.Disposition = event.DiscardedDisabled
		}
		e.Routes = append(e.Routes, r)
	}
	s.Events = append(s.Events, e)
	s.bytes += len(e.Payload)
}

// settlement is the outcome of a delivery on its way into the store: an
// attempt, or a move to the retry table, or both.
type settlement struct {
	d       *delivery
	attempt *event.Attempt // nil when parked untried
	deposit *event.Deposit // left inside Waybill, or nil
	put     bool           // a retry row at next, else the row (if any) goes
	n       int
	next    time.Time
}

// committer gathers, commits, hands on. All that follows the mutex's fields
// belongs to its goroutine.
type committer struct {
	e *Engine

	mu          sync.Mutex
	submitted   []*submission
	settled     []*settlement
	wake        chan struct{}
	settledWait atomic.Int64 // len(settled), plus those a failed commit keeps
	down        atomic.Bool  // the last commit failed
	busySince   atomic.Int64 // Unix ms since when a commit is under way, 0 if none
	stopped     bool
	fenced      bool

	seq     event.Seq
	mark    event.Seq
	marked  time.Time
	batch   store.Batch
	kept    []*settlement // outcomes whose commit failed
	waiting []*submission // taken, but beyond the batch's bounds
	doubt   *doubtful
}

// doubtful is a batch of which it is not known whether it was committed.
type doubtful struct {
	number   int64
	subs     []*submission // which were answered with an error
	outcomes []*settlement
	at       time.Time
}

func (c *committer) init(e *Engine) {
	c.e = e
	c.wake = make(chan struct{}, 1)
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// submit hands a submission over and waits for its end.
func (c *committer) submit(s *submission) error {
	c.mu.Lock()
	if c.stopped || c.fenced {
		defer c.mu.Unlock()
		if c.fenced {
			return errFenced
		}
		return errStopped
	}
	c.submitted = append(c.submitted, s)
	c.mu.Unlock()
	c.signal()
	<-s.done
	if s.err != nil {
		return s.err
	}
	return s.Err
}

var (
	errStopped = errors.Join(store.ErrUnavailable, errors.New("the engine is stopped"))
	errFenced  = errors.Join(store.ErrUnavailable, store.ErrFenced)
)

// settle hands an outcome over. It does not wait.
func (c *committer) settle(s *settlement) {
	c.settledWait.Add(1)
	c.mu.Lock()
	c.settled = append(c.settled, s)
	first := len(c.settled) == 1
	c.mu.Unlock()
	if first {
		c.signal()
	}
}

// congested says that sending should pause: outcomes cannot be recorded as
// fast as they come, or at all.
func (c *committer) congested() bool {
	return c.down.Load() || c.settledWait.Load() > maxUnsettled || c.e.tenure.over(c.e.now())
}

// stalled returns how long the commit under way has taken.
func (c *committer) stalled(now time.Time) time.Duration {
	if since := c.busySince.Load(); since != 0 {
		return now.Sub(time.UnixMilli(since))
	}
	return 0
}

// stop commits what is there and ends the committer.
func (c *committer) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.signal()
}

func (c *committer) run() {
	c.seq = c.e.lane.Last
	c.mark = c.e.lane.Watermark
	var subs []*submission
	var outcomes []*settlement
	for {
		var stopped bool
		subs, outcomes, stopped = c.gather(subs[:0], outcomes[:0])
		if c.doubt != nil { // which may take its time to resolve
			c.failed(store.ErrUnavailable, subs, nil)
			clear(subs)
			subs = subs[:0]
		}
		switch {
		case !c.resolve():
			c.failed(store.ErrUnavailable, nil, outcomes)
		case len(subs) > 0 || len(outcomes) > 0:
			c.commit(subs, outcomes, stopped)
		case stopped || c.e.watermark() > c.mark:
			c.commit(nil, nil, true)
		}
		c.probe(len(subs) > 0)
		clear(subs)
		clear(outcomes)
		if stopped {
			return
		}
	}
}

// gather waits for work and takes what is there.
func (c *committer) gather(subs []*submission, outcomes []*settlement) ([]*submission, []*settlement, bool) {
	if len(c.waiting) == 0 {
		c.await()
	}
	c.linger()
	c.mu.Lock()
	c.waiting = append(c.waiting, c.submitted...)
	clear(c.submitted)
	c.submitted = c.submitted[:0]
	stopped := c.stopped
	n := len(c.settled)
	if len(c.waiting) > 0 && !stopped {
		n = min(n, maxOutcomes)
	}
	outcomes = append(append(outcomes, c.kept...), c.settled[:n]...)
	left := copy(c.settled, c.settled[n:])
	clear(c.settled[left:])
	c.settled = c.settled[:left]
	c.mu.Unlock()
	c.kept = nil

	events, bytes := 0, 0
	n = 0
	for n < len(c.waiting) && (n == 0 || stopped || events < maxBatchEvents && bytes < maxBatchBytes) {
		events += len(c.waiting[n].Events)
		bytes += c.waiting[n].bytes
		n++
	}
	subs = append(subs, c.waiting[:n]...)
	rest := copy(c.waiting, c.waiting[n:])
	clear(c.waiting[rest:])
	c.waiting = c.waiting[:rest]
	return subs, outcomes, stopped
}

// linger lets publishers that already run join the batch, by yielding to them.
// It never waits by a timer, which would cost a quiet system its latency; on a
// busy one it brought nothing that could be measured.
func (c *committer) linger() {
	size, quiet := -1, 0
	for range maxYields {
		c.mu.Lock()
		n := len(c.submitted)
		c.mu.Unlock()
		if n != size {
			size, quiet = n, 0
		} else if quiet++; quiet == quietYields {
			return
		}
		if n >= maxBatchEvents {
			return
		}
		runtime.Gosched()
	}
}

// await returns when something is submitted or the engine stops, or a little
// after an outcome arrived.
func (c *committer) await() {
	late, hurried := time.After(idleMark), false
	if c.down.Load() {
		late, hurried = time.After(retryCommit), true
	}
	for {
		c.mu.Lock()
		now := len(c.submitted) > 0 || c.stopped
		outcomes := len(c.settled) > 0
		c.mu.Unlock()
		if now {
			return
		}
		if outcomes && !hurried {
			late, hurried = time.After(settleDelay), true
		}
		select {
		case <-c.wake:
		case <-late:
			return
		}
	}
}

// commit writes one batch and follows it up. A configuration that changed
// under it is loaded and the batch routed again.
func (c *committer) commit(subs []*submission, outcomes []*settlement, stopping bool) {
	now := c.e.now()
	began := time.Now()
	c.busySince.Store(now.UnixMilli())
	defer c.busySince.Store(0)
	c.advanceMark(now, stopping)
	var err error
	for {
		c.fill(subs, outcomes, now)
		err = c.e.o.Store.Commit(context.Background(), &c.batch)
		if !errors.Is(err, store.ErrStaleRoutes) {
			break
		}
		if err = c.e.Refresh(context.Background()); err != nil {
			break
		}
	}
	m := c.e.o.Metrics
	m.CommitSeconds.Observe(time.Since(began).Seconds())
	m.BatchEvents.Observe(float64(c.events(subs)))
	switch {
	case errors.Is(err, store.ErrUnknown):
		c.doubt = &doubtful{number: c.batch.Number, subs: slices.Clone(subs), outcomes: slices.Clone(outcomes), at: now}
		c.failed(err, subs, nil)
	case err != nil:
		c.failed(err, subs, outcomes)
	default:
		c.followUp(subs, outcomes, now, true)
	}
}

// followUp hands on what is committed, and answers publishers who still wait.
func (c *committer) followUp(subs []*submission, outcomes []*settlement, at time.Time, answer bool) {
	if len(subs) > 0 {
		c.recovered()
		c.e.committed.Store(int64(c.seq))
	}
	for _, s := range subs {
		c.handOn(s, at)
		if answer {
			close(s.done)
		}
	}
	for _, o := range outcomes {
		if o.deposit != nil && c.e.o.Deposited != nil {
			c.e.o.Deposited(o.deposit)
		}
		o.d.sub.settled(o)
	}
	c.settledWait.Add(-int64(len(outcomes)))
}

// resolve finds out what became of a batch in doubt; false while it cannot.
func (c *committer) resolve() bool {
	d := c.doubt
	if d == nil {
		return true
	}
	committed, epoch, err := c.e.o.Store.Resolve(context.Background(), &store.Batch{Lane: c.e.lane.Lane, Number: d.number})
	if err != nil {
		c.fenceIf(err)
		return false
	}
	c.doubt = nil
	c.e.lane.Epoch = epoch
	if committed {
		c.followUp(d.subs, d.outcomes, d.at, false)
	} else {
		c.kept = append(c.kept, d.outcomes...)
	}
	return true
}

func (c *committer) events(subs []*submission) (n int) {
	for _, s := range subs {
		n += len(s.Events)
	}
	return n
}

// fill builds the batch, giving out sequence numbers in the order of commit.
func (c *committer) fill(subs []*submission, outcomes []*settlement, now time.Time) {
	snap := c.e.routes.Load()
	b := &c.batch
	clear(b.Submissions)
	clear(b.Attempts)
	clear(b.Deposits)
	*b = store.Batch{
		Lane: c.e.lane.Lane, Epoch: c.e.lane.Epoch, ConfigVersion: snap.Version(), Watermark: c.mark, Now: now,
		Submissions: b.Submissions[:0], Attempts: b.Attempts[:0], RetryPut: b.RetryPut[:0], RetryDelete: b.RetryDelete[:0],
		Deposits: b.Deposits[:0],
	}
	for _, s := range subs {
		if s.version != snap.Version() {
			s.route(snap)
		}
		c.sequence(s, now)
		b.Submissions = append(b.Submissions, &s.Submission)
	}
	for _, o := range outcomes {
		if o.attempt != nil {
			b.Attempts = append(b.Attempts, o.attempt)
		}
		if o.deposit != nil {
			b.Deposits = append(b.Deposits, o.deposit)
		}
		switch {
		case o.put:
			b.RetryPut = append(b.RetryPut, store.Retry{RetryKey: o.d.key(), N: o.n, Next: o.next, Group: o.d.group})
		case o.d.waiting:
			b.RetryDelete = append(b.RetryDelete, o.d.key())
		}
	}
}

func (c *committer) sequence(s *submission, now time.Time) {
	for _, e := range s.Events {
		c.seq = c.seq.Next(now, c.e.lane.Lane)
		e.Assign(c.seq)
		for i := range e.Routes {
			r := &e.Routes[i]
			if r.Disposition != event.DiscardedDisabled {
				r.Disposition, r.Group = c.e.subscriber(r.Subscription).admit(e)
			}
		}
	}
	for i := range s.Retries {
		c.seq = c.seq.Next(now, c.e.lane.Lane)
		run := int(c.seq) // unique, and in the order of the resends
		if s.Retries[i].Run < 0 {
			run = -run
		}
		s.Retries[i].Run = run
		s.Retries[i].Next = now
	}
	if s.Idempotency != nil && len(s.primary) > 0 {
		ids := make([]string, len(s.primary))
		for i, e := range s.primary {
			ids[i] = e.ID()
		}
		s.Idempotency.Result = []byte(strings.Join(ids, "\n"))
	}
}

// handOn gives a committed submission to the subscribers.
func (c *committer) handOn(s *submission, now time.Time) {
	if s.Err != nil || s.Replayed {
		return
	}
	accepted := 0
	for i, e := range s.Events {
		if _, known := s.Existing[i]; known {
			continue
		}
		accepted++
		for _, r := range e.Routes {
			switch r.Disposition {
			case event.Dispatch:
				c.e.subscriber(r.Subscription).offer(e)
			case event.Parked:
				c.e.subscriber(r.Subscription).expect(now)
			case event.DiscardedDisabled:
				c.e.o.Metrics.Discarded.Inc()
			}
		}
	}
	for _, r := range s.Retries {
		c.e.subscriber(r.Subscription).expect(now)
	}
	if accepted > 0 {
		c.e.rest.published.Store(true)
	}
	c.e.o.Metrics.Accepted.Add(float64(accepted))
}

// failed answers publishers with the error and keeps the outcomes.
func (c *committer) failed(err error, subs []*submission, outcomes []*settlement) {
	if !c.down.Swap(true) {
		c.e.o.Log.Error("the store cannot commit; publishing answers 503 and sending pauses until it can", "error", err)
	}
	c.fenceIf(err)
	for _, s := range subs {
		s.err = errors.Join(store.ErrUnavailable, err)
		close(s.done)
	}
	c.kept = append(c.kept, outcomes...)
}

func (c *committer) fenceIf(err error) {
	if errors.Is(err, store.ErrFenced) {
		c.mu.Lock()
		c.fenced = true
		c.mu.Unlock()
		c.e.fail(err)
	}
}

// probe finds out when a store that failed is back, although nobody may publish
// to a server that is not ready. Outcomes prove nothing: they may fit where an
// event does not.
func (c *committer) probe(published bool) {
	if c.down.Load() && !c.fenced && c.doubt == nil && !published && c.e.o.Store.Probe(context.Background()) == nil {
		c.recovered()
	}
}

func (c *committer) recovered() {
	if c.down.Swap(false) {
		c.e.o.Log.Info("the store works again")
	}
}

// advanceMark computes the watermark from time to time.
func (c *committer) advanceMark(now time.Time, force bool) {
	if force || now.Sub(c.marked) >= markEvery {
		c.mark = max(c.mark, c.e.watermark())
		c.marked = now
	}
}
