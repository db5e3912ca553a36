package engine_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
	"github.com/waybill-dev/waybill/internal/target"
)

const scope = event.Scope(2)

// fixture is an engine on a real store, with targets that the test plays.
type fixture struct {
	t     *testing.T
	db    *sqlite.DB
	store *faultyStore

	mu      sync.Mutex
	subs    []event.Subscription
	version int64
	plays   map[string]play // by URL
	got     map[string]int  // sends by "url event"
	arrived chan string     // one value for each send that was accepted
}

// play is what a target does with a message.
type play func(ctx context.Context, m target.Message) target.Result

func newFixture(t *testing.T) *fixture {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "waybill.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{
		t: t, db: db, store: &faultyStore{DB: db}, version: 1, plays: map[string]play{}, got: map[string]int{},
		arrived: make(chan string, 100_000),
	}
}

// subscribe adds a snapshot subscription to everything.
func (f *fixture) subscribe(id int64, p play, policy retry.Policy) {
	url := fmt.Sprintf("https://example.com/%d", id)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plays[url] = p
	f.subs = append(f.subs, event.Subscription{
		ID: id, Name: fmt.Sprintf("ed_%d", id), Scope: scope, Status: event.Enabled, Kind: event.Snapshot, Types: []string{"*"}, Retry: policy,
		Target: event.Target{Kind: event.TargetWebhook, Webhook: &event.WebhookTarget{URL: url, Secrets: []event.Secret{{Text: "whsec_x"}}}},
	})
}

// setStatus changes a subscription as a domain would: version raised in the
// store, then the engine told.
func (f *fixture) setStatus(e *engine.Engine, id int64, status event.Status) {
	f.t.Helper()
	d := store.Destination{Scope: scope, ID: event.NewDestinationID(false), Status: event.Enabled, Created: time.Now(), Updated: time.Now(), Config: []byte("{}")}
	if err := f.db.CreateDestination(f.t.Context(), &d, nil); err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	f.version = d.Version
	for i := range f.subs {
		if f.subs[i].ID == id {
			f.subs[i].Status = status
		}
	}
	f.mu.Unlock()
	if e != nil {
		if err := e.Refresh(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) load(context.Context, int64) ([]event.Subscription, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]event.Subscription(nil), f.subs...), f.version, nil
}

type playTarget struct {
	f   *fixture
	url string
	p   play
}

func (p playTarget) Send(ctx context.Context, m target.Message) target.Result {
	start := time.Now()
	r := p.p(ctx, m)
	r.Started = start
	r.Total = time.Since(start)
	if r.Class == event.ClassNone {
		p.f.mu.Lock()
		p.f.got[p.url+" "+m.EventID]++
		p.f.mu.Unlock()
		p.f.arrived <- m.EventID
	}
	return r
}

func (f *fixture) open(t event.Target) (target.Target, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.plays[t.Webhook.URL]
	if !ok {
		return nil, errors.New("no such play")
	}
	return playTarget{f, t.Webhook.URL, p}, nil
}

// start runs an engine until the test's end or the returned stop.
func (f *fixture) start(o engine.Options) (*engine.Engine, func()) {
	f.t.Helper()
	if o.Store == nil {
		o.Store = f.store
	}
	o.Load, o.Open = f.load, f.open
	e := engine.New(o)
	if err := e.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	var once sync.Once
	stop := func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_ = e.Stop(ctx) // sends that hang are cut off, which is no failure here
		})
	}
	f.t.Cleanup(stop)
	return e, stop
}

func draft(n int) *event.Draft {
	return &event.Draft{Type: "order.paid", Object: fmt.Appendf(nil, `{"id":"or_%d"}`, n), ObjectID: fmt.Sprintf("or_%d", n)}
}

// publish accepts n events in requests of up to 100.
func (f *fixture) publish(e *engine.Engine, n int) []*event.Event {
	f.t.Helper()
	var all []*event.Event
	for n > 0 {
		k := min(n, 100)
		drafts := make([]*event.Draft, k)
		for i := range drafts {
			drafts[i] = draft(i)
		}
		events, err := e.Publish(f.t.Context(), engine.Publish{Scope: scope, Drafts: drafts, DefaultVersion: "2026-03-25.dahlia"})
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, events...)
		n -= k
	}
	return all
}

// await waits for n accepted sends.
func (f *fixture) await(n int) {
	f.t.Helper()
	timeout := time.After(30 * time.Second)
	for i := range n {
		select {
		case <-f.arrived:
		case <-timeout:
			f.t.Fatalf("%d of %d sends arrived within 30 s", i, n)
		}
	}
}

// once checks that each event was sent exactly once to the subscription.
func (f *fixture) once(id int64, events []*event.Event) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		if n := f.got[fmt.Sprintf("https://example.com/%d %s", id, e.ID())]; n != 1 {
			f.t.Fatalf("event %s was sent %d times to %d, want once", e.ID(), n, id)
		}
	}
}

// eventually waits for a condition that has no signal of its own: rows in the
// store.
func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	deadline := time.After(30 * time.Second)
	for t := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-t.C:
		case <-deadline:
			f.t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func (f *fixture) deliveries(state event.State) int {
	f.t.Helper()
	page, err := f.db.ListDeliveries(f.t.Context(), store.ListDeliveries{Scope: scope, State: state, Limit: 100_000})
	if err != nil {
		f.t.Fatal(err)
	}
	return len(page.Items)
}

func accept(context.Context, target.Message) target.Result { return target.Result{Status: 200} }

func refuse(context.Context, target.Message) target.Result {
	return target.Result{Status: 500, Class: event.ClassStatus, Message: "refused"}
}

// until hangs as long as the gate is closed, then accepts.
func until(gate <-chan struct{}) play {
	return func(ctx context.Context, _ target.Message) target.Result {
		select {
		case <-gate:
			return target.Result{Status: 200}
		case <-ctx.Done():
			return target.Result{Class: target.Interrupted}
		}
	}
}

// faultyStore fails commits while broken is set.
type faultyStore struct {
	*sqlite.DB
	broken  atomic.Bool
	refused atomic.Int64
}

func (s *faultyStore) Commit(ctx context.Context, b *store.Batch) error {
	if s.broken.Load() {
		s.refused.Add(1)
		return fmt.Errorf("%w: the test broke it", store.ErrUnavailable)
	}
	return s.DB.Commit(ctx, b)
}

func (s *faultyStore) Probe(ctx context.Context) error {
	if s.broken.Load() {
		return store.ErrUnavailable
	}
	return s.DB.Probe(ctx)
}
