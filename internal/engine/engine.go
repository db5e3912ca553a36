// Package engine owns the life of an event from acceptance to the last
// attempt: accept, dispatch, settle, recover. It does not know who publishes
// (every door calls Publish) nor what a target is (it calls target.Send).
//
// # Parts
//
//	Publish ──► committer ──► subscriber ──► target.Send ──► committer
//	  route       one             one a            │            attempt,
//	              transaction     subscription     ▼            retry row
//	              for many                      outcome
//
// The committer is one goroutine. It gathers what was submitted and what was
// settled since its last commit, writes all of it in one transaction, and
// only then answers publishers and hands events to subscribers. A subscriber
// owns one subscription's queue, its workers and its retries; nothing is
// shared between subscribers but the memory bound, so one that hangs costs
// the others nothing.
//
// # Where a delivery is
//
// A fresh delivery that fits is queued in memory. One that does not fit stays
// in the log, which the subscriber then reads by a cursor ("lagging"). What
// has waited too long, or goes to a destination that keeps failing, is parked
// in the retry table. In all three cases it is on disk already: memory only
// holds what will be sent next.
//
// # When things fail
//
//   - kill -9: the next start raises the lane's epoch, reads the log above the
//     watermark and sends what has neither attempt nor retry row. Duplicates
//     are those whose outcome was not committed yet.
//   - The store cannot commit: publishers get store.ErrUnavailable, outcomes
//     are kept and committed later, and sending pauses, because a delivery
//     whose outcome cannot be recorded would be sent again.
//   - The connection is lost during a commit: publishers get
//     store.ErrUnavailable, and before anything else is committed the store
//     finds out whether the batch was. If so it is handed on late.
//   - Another process takes the lane: the committer gets store.ErrFenced,
//     refuses everything from then on, and Fatal reports it. Sending pauses
//     before that, when the lease has not been renewed for too long.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/route"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/target"
)

// Store is what the engine needs of storage.
type Store interface {
	store.Log
	Event(ctx context.Context, scope event.Scope, id string) (*event.Event, error)
	EventsBySeq(ctx context.Context, scope event.Scope, seqs []event.Seq) ([]*event.Event, error)
}

// Options of an engine. Zero limits get the defaults named.
type Options struct {
	Store Store
	// Load returns the subscriptions that changed after a configuration
	// version, and the current version.
	Load func(ctx context.Context, since int64) ([]event.Subscription, int64, error)
	// Kin returns the accounts that changed after a configuration version. It
	// is asked after Load. nil is no accounts that stand above others.
	Kin func(ctx context.Context, since int64) ([]event.Lineage, error)
	// Open makes a subscription's target.
	Open target.Opener
	// Gone is told, after the attempt is committed, of a destination that
	// answered that it is gone for good.
	Gone func(ctx context.Context, scope event.Scope, subscription int64) error
	// DeadLetter prepares what goes into a subscription's dead-letter queue.
	// Its error says why nothing can.
	DeadLetter func(q event.Queue, body []byte, attributes []event.Attribute) (event.Deposit, error)
	// Deposited is told of each deposit once it is committed. It must not
	// block.
	Deposited func(d *event.Deposit)

	MaxInFlight int           // sends at a time to one subscription; 64
	MaxQueue    int           // deliveries in memory for one subscription; 4096
	MaxMemory   int64         // bytes of payload in memory for all; 32 MiB
	MaxWait     time.Duration // in memory or in the log before parking; 30 s

	Log     *slog.Logger
	Metrics *Metrics
}

// Engine accepts and delivers.
type Engine struct {
	o    Options
	lane store.LaneState

	routes    atomic.Pointer[route.Snapshot]
	refreshMu sync.Mutex

	committer committer
	pressure  pressure

	subsMu sync.Mutex
	subs   map[int64]*subscriber

	feeds     chan struct{} // a place for each read from the store under way
	backlog   backlog
	rest      replayRest
	memory    atomic.Int64 // bytes of payload that subscribers hold
	lagging   atomic.Int32
	committed atomic.Int64 // the highest seq whose commit is announced

	recovered chan struct{} // closed when the log above the watermark is read
	sendCtx   context.Context
	endSends  context.CancelFunc
	stopping  chan struct{} // closed by Stop: take up no further work
	life      sync.RWMutex  // guards stopped against a worker that just begins
	stopped   bool
	workers   sync.WaitGroup
	loops     sync.WaitGroup
	fatal     chan error
	tenure    tenure
}

// maxLagging is how many subscriptions may read the log by a cursor at a
// time. Each reads everybody's events, so beyond a few it is cheaper to park.
const maxLagging = 4

// maxFeeds is how many subscriptions may read from the store at a time: more
// would only take memory, and the machine from publishers.
const maxFeeds = 2

// tick is how often due retries and stalls are looked for.
const tick = 100 * time.Millisecond

// New makes an engine; Start sets it going.
func New(o Options) *Engine {
	o.MaxInFlight = orDefault(o.MaxInFlight, 64)
	o.MaxQueue = orDefault(o.MaxQueue, 4096)
	o.MaxMemory = orDefault(o.MaxMemory, 32<<20)
	o.MaxWait = orDefault(o.MaxWait, 30*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	e := &Engine{
		o: o, subs: map[int64]*subscriber{},
		recovered: make(chan struct{}), feeds: make(chan struct{}, maxFeeds), stopping: make(chan struct{}), fatal: make(chan error, 1),
	}
	e.routes.Store(route.New())
	e.committer.init(e)
	e.pressure.init()
	return e
}

func orDefault[T int | int64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Start takes the lane, loads the configuration and begins to deliver what an
// earlier process left undone. Publish waits until that has been found.
func (e *Engine) Start(ctx context.Context) error {
	lane, err := e.o.Store.OpenLane(ctx)
	if err != nil {
		return fmt.Errorf("start engine: %w", err)
	}
	e.lane = lane
	e.committed.Store(int64(lane.Last))
	e.sendCtx, e.endSends = context.WithCancel(context.WithoutCancel(ctx))
	if err := e.Refresh(ctx); err != nil {
		return fmt.Errorf("start engine: %w", err)
	}
	if err := e.tend(ctx); err != nil {
		return fmt.Errorf("start engine: %w", err)
	}
	if err := e.expectWaiting(ctx); err != nil {
		return fmt.Errorf("start engine: %w", err)
	}
	e.loops.Go(e.committer.run)
	e.loops.Go(e.ticks)
	e.loops.Go(e.tendAll)
	e.loops.Go(e.recover)
	return nil
}

// Stop takes up no further work, lets the sends under way finish until ctx
// ends, commits their outcomes and returns. What is queued is on disk.
func (e *Engine) Stop(ctx context.Context) error {
	e.life.Lock()
	e.stopped = true
	e.life.Unlock()
	close(e.stopping)
	done := make(chan struct{})
	go func() {
		e.workers.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("stop engine: %w", ctx.Err())
	}
	e.endSends()
	<-done
	e.committer.stop()
	e.loops.Wait()
	return errors.Join(err, e.o.Store.ReleaseLanes(context.WithoutCancel(ctx)))
}

// work runs fn as one of those whose end Stop waits for. Once Stop has begun
// it does nothing and returns false.
func (e *Engine) work(fn func()) bool {
	e.life.RLock()
	defer e.life.RUnlock()
	if e.stopped {
		return false
	}
	e.workers.Go(fn)
	return true
}

// Fatal yields the error after which this process can no longer work: another
// one owns its lane.
func (e *Engine) Fatal() <-chan error { return e.fatal }

// Publish is one request to accept events.
type Publish struct {
	Scope          event.Scope
	Drafts         []*event.Draft
	DefaultVersion string
	// Idempotency is recorded with the events if set; its Result is the
	// engine's to fill.
	Idempotency *store.Idempotency
	// Only, if not empty, delivers to these subscriptions alone, whatever they
	// select.
	Only []int64
}

// Publish accepts events: all of them or none. It returns when they are
// durable, with one event per draft in order: an existing one where the id was
// seen before with the same content, the recorded ones where the idempotency
// key was. Errors: store.ErrEventMismatch, store.ErrIdempotencyMismatch,
// store.ErrUnavailable, and the context's while it waits to begin; once the
// events are with the committer they are decided whatever the context does.
func (e *Engine) Publish(ctx context.Context, p Publish) ([]*event.Event, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	s := newSubmission(p)
	now := e.now()
	s.primary = make([]*event.Event, len(p.Drafts))
	for i, d := range p.Drafts {
		s.primary[i] = d.Build(p.Scope, now, p.DefaultVersion)
	}
	s.route(e.routes.Load())
	e.pace(ctx, s)
	if err := e.committer.submit(s); err != nil {
		return nil, err
	}
	if s.Replayed {
		return e.recorded(ctx, p.Scope, s.Result)
	}
	if len(s.Existing) > 0 {
		return e.withExisting(ctx, s)
	}
	return s.primary, nil
}

// recorded loads the events that an idempotent request made the first time.
func (e *Engine) recorded(ctx context.Context, scope event.Scope, result []byte) ([]*event.Event, error) {
	ids := strings.Split(string(result), "\n")
	events := make([]*event.Event, len(ids))
	for i, id := range ids {
		var err error
		if events[i], err = e.o.Store.Event(ctx, scope, id); err != nil {
			return nil, fmt.Errorf("replay publish: %w", err)
		}
	}
	return events, nil
}

// withExisting replaces those events that had been accepted before.
func (e *Engine) withExisting(ctx context.Context, s *submission) ([]*event.Event, error) {
	events := make([]*event.Event, len(s.primary))
	for i, at := range s.primaryAt {
		events[i] = s.primary[i]
		seq, ok := s.Existing[at]
		if !ok {
			continue
		}
		known, err := e.o.Store.EventsBySeq(ctx, s.p.Scope, []event.Seq{seq})
		if err != nil {
			return nil, fmt.Errorf("load known event: %w", err)
		}
		if len(known) == 1 {
			events[i] = known[0]
		}
	}
	return events, nil
}

// Redeliver sends an event to one subscription again, in a run of its own with
// a single try. It is durable on return, is neither deduplicated nor routed to
// anyone else, and leaves scheduled retries as they are.
func (e *Engine) Redeliver(ctx context.Context, scope event.Scope, seq event.Seq, subscription int64, idem *store.Idempotency) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	s := newSubmission(Publish{Scope: scope, Idempotency: idem})
	s.version = e.routes.Load().Version()
	s.Retries = []store.Retry{{RetryKey: store.RetryKey{Scope: scope, Seq: seq, Subscription: subscription}}}
	return e.committer.submit(s)
}

// ready waits until the engine may accept.
func (e *Engine) ready(ctx context.Context) error {
	select {
	case <-e.stopping:
		return fmt.Errorf("%w: shutting down", store.ErrUnavailable)
	default:
	}
	select {
	case <-e.recovered:
		return nil
	default:
	}
	select {
	case <-e.recovered:
		return nil
	case <-e.stopping:
		return fmt.Errorf("%w: shutting down", store.ErrUnavailable)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Refresh loads configuration changes. It is to be called after each change,
// so that the change holds when its caller is answered; one that was missed
// is found out by the next commit.
func (e *Engine) Refresh(ctx context.Context) error {
	e.refreshMu.Lock()
	defer e.refreshMu.Unlock()
	old := e.routes.Load()
	changed, version, err := e.o.Load(ctx, old.Version())
	if err != nil {
		return fmt.Errorf("load subscriptions: %w", err)
	}
	if version == old.Version() {
		return nil
	}
	next := old.Apply(changed, version)
	if e.o.Kin != nil {
		kin, err := e.o.Kin(ctx, old.Version())
		if err != nil {
			return fmt.Errorf("load accounts: %w", err)
		}
		next = next.Relate(kin)
	}
	e.routes.Store(next)
	e.subsMu.Lock()
	defer e.subsMu.Unlock()
	for i := range changed {
		if s := e.subs[changed[i].ID]; s != nil {
			s.configure(&changed[i])
		}
	}
	return nil
}

// subscriber returns the running state of a subscription, making it at its
// first use.
func (e *Engine) subscriber(id int64) *subscriber {
	e.subsMu.Lock()
	defer e.subsMu.Unlock()
	s := e.subs[id]
	if s == nil {
		s = newSubscriber(e, id)
		spec := e.routes.Load().Subscription(id)
		if spec == nil {
			spec = &event.Subscription{ID: id, Status: event.Deleted}
		}
		s.configure(spec)
		e.subs[id] = s
	}
	return s
}

func (e *Engine) allSubscribers(dst []*subscriber) []*subscriber {
	e.subsMu.Lock()
	defer e.subsMu.Unlock()
	for _, s := range e.subs {
		dst = append(dst, s)
	}
	return dst
}

// ticks looks after every subscriber at intervals.
func (e *Engine) ticks() {
	t := time.NewTicker(tick)
	defer t.Stop()
	var subs []*subscriber
	for {
		select {
		case <-e.stopping:
			return
		case <-t.C:
			now := e.now()
			e.pressure.measure()
			e.rest.adjust(e.pressure.high.Load())
			subs = e.allSubscribers(subs[:0])
			busy := 0
			for _, s := range subs {
				if s.tick(now) {
					busy++
				}
			}
			e.backlog.divide(busy, e.o.MaxInFlight, e.pressure.high.Load())
		}
	}
}

// recoveryChunk is how many events of the log recovery reads at a time.
const recoveryChunk = 512

// recover hands to the subscribers what an earlier process accepted and did
// not settle. A subscriber that is full goes on by its own cursor.
func (e *Engine) recover() {
	after := e.lane.Watermark
	skim := false
	for after < e.lane.Last {
		events, err := e.o.Store.EventsAfter(e.sendCtx, store.AfterParams{
			Lane: e.lane.Lane, After: after, UpTo: e.lane.Last, Limit: recoveryChunk, MaxBytes: feedBytes, Undone: true, Skim: skim,
		})
		end := err == nil && len(events) == 0
		done, taken := 0, 0
		if err == nil {
			done, taken, err = e.handBack(events, skim)
		}
		if done > 0 {
			after = events[done-1].Seq
		}
		if err != nil {
			e.o.Log.Error("recovery waits for the store", "error", err)
			select {
			case <-e.stopping:
				return
			case <-time.After(time.Second):
				continue
			}
		}
		if end {
			break
		}
		// Where all subscribers go on by themselves, only what is for others
		// is still looked for.
		skim = taken == 0
	}
	close(e.recovered)
}

// handBack offers undone events to those of their subscribers that do not go on
// by a cursor already. It returns how many events are done with, and how many
// offers that took.
func (e *Engine) handBack(events []*event.Event, skimmed bool) (done, taken int, err error) {
	for i, ev := range events {
		full := ev
		for _, r := range ev.Routes {
			s := e.subscriber(r.Subscription)
			if s.isLagging() {
				continue
			}
			if skimmed && full == ev {
				found, err := e.o.Store.EventsBySeq(e.sendCtx, ev.Scope, []event.Seq{ev.Seq})
				if err != nil {
					return i, taken, err
				}
				if len(found) == 0 {
					break // retention took it meanwhile
				}
				full = found[0]
			}
			s.offer(full)
			taken++
		}
	}
	return len(events), taken, nil
}

// watermark is the highest sequence number below which nothing is undone.
// Only the committer calls it: what it has committed it has also handed on.
func (e *Engine) watermark() event.Seq {
	select {
	case <-e.recovered:
	default:
		return e.lane.Watermark
	}
	low := event.Seq(e.committed.Load())
	for _, s := range e.allSubscribers(nil) {
		low = min(low, s.settledBelow())
	}
	return low
}

// now is the time by which everything is due.
func (e *Engine) now() time.Time { return e.o.Store.Now() }

func jitter() float64 { return rand.Float64() } //nolint:gosec // spreads retries, protects nothing

// Stalled returns how long the delivery has waited that was due longest ago
// without being taken up, although its destination would have had a worker for
// it: that is a fault of ours and not of a slow or dead destination.
func (e *Engine) Stalled(now time.Time) time.Duration {
	var worst time.Duration
	for _, s := range e.allSubscribers(nil) {
		worst = max(worst, s.stalled(now))
	}
	return max(worst, e.committer.stalled(now))
}

// Depth is what the engine holds at a moment.
type Depth struct {
	Queued, InFlight int
	Bytes            int64
	// Oldest is the age of the oldest fresh delivery not yet settled.
	Oldest time.Duration
}

// Depth sums up all subscribers.
func (e *Engine) Depth(now time.Time) Depth {
	d := Depth{Bytes: e.memory.Load()}
	for _, s := range e.allSubscribers(nil) {
		queued, inFlight, oldest := s.depth(now)
		d.Queued += queued
		d.InFlight += inFlight
		d.Oldest = max(d.Oldest, oldest)
	}
	return d
}

// Writable returns an error while the last commit failed, or for good once
// another process took the lane.
func (e *Engine) Writable() error {
	if e.committer.down.Load() {
		return store.ErrUnavailable
	}
	return nil
}
