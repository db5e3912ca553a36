package bus_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/pattern"
)

// fixture is a service with an engine that keeps what it is given.
type fixture struct {
	*bus.Service
	t        *testing.T
	ground   *bus.Ground
	engine   *keeper
	one, two account.AWSCaller // in the same region
}

// keeper stands for the engine: it loads subscriptions as the engine does, and
// keeps the events.
type keeper struct {
	mu      sync.Mutex
	load    func(context.Context, int64) ([]event.Subscription, int64, error)
	version int64
	subs    map[int64]event.Subscription
	events  []*event.Event
	// distinct is what the drafts say, by event.
	distinct map[*event.Event]bool
	err      error
}

func (k *keeper) Refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	changed, version, err := k.load(ctx, k.version)
	if err != nil {
		return err
	}
	k.version = version
	for _, s := range changed {
		if s.Status == event.Deleted {
			delete(k.subs, s.ID)
		} else {
			k.subs[s.ID] = s
		}
	}
	return nil
}

func (k *keeper) Publish(_ context.Context, p engine.Publish) ([]*event.Event, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return nil, k.err
	}
	var events []*event.Event
	for _, d := range p.Drafts {
		e := d.Build(p.Scope, time.Unix(1_700_000_000, 0), "")
		k.events = append(k.events, e)
		k.distinct[e] = d.Envelope.Distinct
		e.Assign(event.Seq(len(k.events)))
		events = append(events, e)
	}
	return events, nil
}

// targets are the subscriptions of rules' targets and archives, by name.
func (k *keeper) targets() map[string]event.Subscription {
	k.mu.Lock()
	defer k.mu.Unlock()
	byName := map[string]event.Subscription{}
	for _, s := range k.subs {
		byName[s.Name] = s
	}
	return byName
}

// take returns the events since the last call.
func (k *keeper) take() []*event.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	events := k.events
	k.events = nil
	return events
}

const region = "eu-west-1"

func newFixture(t *testing.T) *fixture {
	t.Helper()
	g := bus.NewGround(t, time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC))
	t.Cleanup(g.Close)
	f := &fixture{t: t, ground: g, one: g.One, two: g.Two}
	f.restart()
	return f
}

// restart makes another service and engine on the same store.
func (f *fixture) restart() {
	f.t.Helper()
	f.Service = bus.New(bus.Options{Store: f.ground.DB, Key: f.ground.Key, Now: f.ground.Now})
	f.engine = &keeper{load: f.Load, subs: map[int64]event.Subscription{}, distinct: map[*event.Event]bool{}}
	f.SetEngine(f.engine)
	if err := f.engine.Refresh(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) createBus(c account.AWSCaller, name string) *bus.EventBus {
	f.t.Helper()
	b, err := f.CreateEventBus(f.t.Context(), c, bus.NewEventBus{Name: name})
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *fixture) putRule(c account.AWSCaller, busName, name, pattern string) string {
	f.t.Helper()
	arn, err := f.PutRule(f.t.Context(), c, bus.NewRule{Name: name, Bus: busName, Pattern: pattern})
	if err != nil {
		f.t.Fatal(err)
	}
	return arn
}

func (f *fixture) putTargets(c account.AWSCaller, busName, rule string, targets ...bus.Target) {
	f.t.Helper()
	bad, err := f.PutTargets(f.t.Context(), c, busName, rule, targets)
	if err != nil || len(bad) > 0 {
		f.t.Fatal(bad, err)
	}
}

func (f *fixture) source(name string) string {
	f.t.Helper()
	arn, err := f.CreatePartnerEventSource(f.t.Context(), f.one, name, f.two.AccountID)
	if err != nil {
		f.t.Fatal(err)
	}
	return arn
}

func wantFault(t *testing.T, err error, code, text string) {
	t.Helper()
	if f := fault.As(err); f == nil || f.Code != code || !strings.Contains(f.Message, text) {
		t.Errorf("error %v, want %s: …%s…", err, code, text)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func envelope(t *testing.T, e *event.Event) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(e.Payload, &v); err != nil {
		t.Fatalf("%s: %v", e.Payload, err)
	}
	return v
}

// matching counts the subscriptions that an event goes to.
func (f *fixture) matching(e *event.Event) []string {
	var names []string
	for name, s := range f.engine.targets() {
		if s.Bus != e.Bus || s.Bus == 0 {
			continue
		}
		if s.Pattern != nil {
			p, err := pattern.Parse(s.Pattern)
			if err != nil || !p.Matches(e.Payload) {
				continue
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
