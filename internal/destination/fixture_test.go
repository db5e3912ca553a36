package destination_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
)

// fakeEngine remembers what it was asked.
type fakeEngine struct {
	mu        sync.Mutex
	refreshed int
	published []engine.Publish
	vitals    []engine.Vital
	err       error // of Refresh and Publish
}

func (e *fakeEngine) Refresh(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() == nil {
		e.refreshed++
	}
	return e.err
}

func (e *fakeEngine) Publish(_ context.Context, p engine.Publish) ([]*event.Event, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return nil, e.err
	}
	e.published = append(e.published, p)
	made := p.Drafts[0].Build(p.Scope, time.Now(), p.DefaultVersion)
	made.Assign(event.SeqAt(time.Now()))
	return []*event.Event{made}, nil
}

func (e *fakeEngine) Vitals() []engine.Vital {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.vitals
}

func (e *fakeEngine) Succeeded(int64, time.Time) {}

func (e *fakeEngine) refreshes() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refreshed
}

// faultyStore fails where a test tells it to.
type faultyStore struct {
	destination.Store
	mu           sync.Mutex
	beforeUpdate func() // called once, before the next update
	err          error  // of every verb that changes something
	readErr      error  // of every verb that reads
}

func (s *faultyStore) failure() (write, read error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err, s.readErr
}

func (s *faultyStore) fail(write, read error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.readErr = write, read
}

func (s *faultyStore) before(update func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beforeUpdate = update
}

func (s *faultyStore) CreateDestination(ctx context.Context, d *store.Destination, idem *store.Idempotency) error {
	if err, _ := s.failure(); err != nil {
		return err
	}
	return s.Store.CreateDestination(ctx, d, idem)
}

func (s *faultyStore) UpdateDestination(ctx context.Context, d *store.Destination, idem *store.Idempotency) error {
	s.mu.Lock()
	hook := s.beforeUpdate
	s.beforeUpdate = nil
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	if err, _ := s.failure(); err != nil {
		return err
	}
	return s.Store.UpdateDestination(ctx, d, idem)
}

func (s *faultyStore) Destination(ctx context.Context, scope event.Scope, id string) (*store.Destination, error) {
	if _, err := s.failure(); err != nil {
		return nil, err
	}
	return s.Store.Destination(ctx, scope, id)
}

func (s *faultyStore) ListDestinations(ctx context.Context, p store.ListDestinations) (store.Page[*store.Destination], error) {
	if _, err := s.failure(); err != nil {
		return store.Page[*store.Destination]{}, err
	}
	return s.Store.ListDestinations(ctx, p)
}

func (s *faultyStore) Idempotent(ctx context.Context, scope event.Scope, generation int, key string, now time.Time) (*store.Idempotency, error) {
	if _, err := s.failure(); err != nil {
		return nil, err
	}
	return s.Store.Idempotent(ctx, scope, generation, key, now)
}

// fixture is a Service with everything around it.
type fixture struct {
	*destination.Service
	t          *testing.T
	db         *faultyStore
	engine     *fakeEngine
	key        seal.Key
	test, live account.Caller
}

func newKey(t *testing.T, digit string) seal.Key {
	t.Helper()
	key, err := seal.ParseKey(strings.Repeat(digit, 64))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, db: &faultyStore{Store: openStore(t)}, engine: &fakeEngine{}, key: newKey(t, "a")}
	f.Service = destination.New(destination.Options{Store: f.db, Key: f.key, Guard: netguard.Policy{}})
	f.SetEngine(f.engine)
	caller := account.Caller{AccountID: "acct_1", APIVersion: "2026-03-25.dahlia", Generation: 2}
	f.test, f.live = caller, caller
	f.test.Scope, f.live.Scope = event.NewScope(1, false), event.NewScope(1, true)
	return f
}

// keyed is c making the given request with an idempotency key.
func keyed(c account.Caller, key, request string) account.Caller {
	c.IdempotencyKey, c.RequestHash = key, sha256.Sum256([]byte(request))
	return c
}

// webhook is a valid destination, changed as a test wants.
func webhook(change ...func(*destination.CreateParams)) destination.CreateParams {
	p := destination.CreateParams{
		Name: "orders", Type: destination.TypeWebhookEndpoint, EventPayload: "snapshot",
		EnabledEvents:   []string{"customer.created"},
		WebhookEndpoint: &destination.WebhookEndpoint{URL: "https://example.com/hook"},
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func thin(p *destination.CreateParams) {
	p.EventPayload, p.EnabledEvents = "thin", []string{"v1.customer.created"}
}

func (f *fixture) create(c account.Caller, change ...func(*destination.CreateParams)) *destination.Destination {
	f.t.Helper()
	d, err := f.Create(f.t.Context(), c, webhook(change...))
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func (f *fixture) retrieve(c account.Caller, id string) *destination.Destination {
	f.t.Helper()
	d, err := f.Retrieve(f.t.Context(), c, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// load returns the one subscription there is.
func (f *fixture) load() event.Subscription {
	f.t.Helper()
	subs, version, err := f.Load(f.t.Context(), 0)
	if err != nil || len(subs) != 1 || version == 0 {
		f.t.Fatalf("Load = %+v, version %d, %v; want one subscription", subs, version, err)
	}
	return subs[0]
}

func mustFault(t *testing.T, err error, kind fault.Kind, code, param string) (message string) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Kind != kind || f.Code != code || f.Param != param {
		t.Fatalf("error = %v (%+v), want fault kind %d, code %s, param %q", err, f, kind, code, param)
	}
	if len(f.Message) < 20 || len(f.Message) > 600 {
		t.Errorf("message %q does not help", f.Message)
	}
	return f.Message
}

func mustNotFound(t *testing.T, err error) {
	t.Helper()
	mustFault(t, err, fault.NotFound, "not_found", "")
}

func ptr[T any](v T) *T { return &v }

func texts(secrets []event.Secret) []string {
	all := make([]string, len(secrets))
	for i, s := range secrets {
		all[i] = s.Text
	}
	return all
}
