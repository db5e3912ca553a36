package destination_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// fakeSources are partner event sources whose states a test sets.
type fakeSources struct {
	mu     sync.Mutex
	first  string // state of a source that is created
	states map[string]string
	owner  event.Scope
	down   error // what deleting a source fails with
}

func (s *fakeSources) CreateSource(_ context.Context, owner event.Scope, _, region, name string) (string, error) {
	s.owner = owner
	s.set(name, s.first)
	return "arn:aws:events:" + region + "::event-source/" + name, nil
}

func (s *fakeSources) SourceState(name, _ string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[name]
}

func (s *fakeSources) DeleteSource(_ context.Context, name, _ string) error {
	if s.down == nil {
		s.set(name, "DELETED")
	}
	return s.down
}

// ActiveSources are all that are ACTIVE. They were made a minute ago.
func (s *fakeSources) ActiveSources(_ string, before time.Time) (found []store.ResourceKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before.After(time.Now().Add(-time.Minute)) {
		return nil
	}
	for name, state := range s.states {
		if state == "ACTIVE" {
			found = append(found, store.ResourceKey{Scope: s.owner, Region: "us-east-1", Name: name})
		}
	}
	return found
}

func (s *fakeSources) set(name, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[name] = state
}

// loader is an engine that loads what changed.
type loader struct {
	*fakeEngine
	service *destination.Service
	version int64
}

func (l *loader) Refresh(ctx context.Context) error {
	_, version, err := l.service.Load(ctx, l.version)
	l.version = version
	return err
}

// readCounter counts how destinations are read.
type readCounter struct {
	destination.Store
	lists, reads int
}

func (c *readCounter) Destination(ctx context.Context, scope event.Scope, id string) (*store.Destination, error) {
	c.reads++
	return c.Store.Destination(ctx, scope, id)
}

func (c *readCounter) ChangedDestinations(ctx context.Context, since int64) ([]*store.Destination, int64, error) {
	found, version, err := c.Store.ChangedDestinations(ctx, since)
	c.lists += len(found)
	return found, version, err
}

// followFixture has destinations that follow fakeSources.
type followFixture struct {
	*fixture
	sources *fakeSources
	reads   *readCounter
}

func newFollowing(t *testing.T) *followFixture {
	t.Helper()
	f := &followFixture{fixture: newFixture(t), sources: &fakeSources{first: "PENDING", states: map[string]string{}}}
	f.reads = &readCounter{Store: f.db}
	f.Service = destination.New(destination.Options{Store: f.reads, Key: f.key, Sources: f.sources, Partner: "stripe.com"})
	f.SetEngine(&loader{fakeEngine: f.engine, service: f.Service})
	return f
}

func (f *followFixture) is(d *destination.Destination, want event.Status, reason string) {
	f.t.Helper()
	if now := f.retrieve(f.test, d.ID); now.Status != want || now.DisabledReason != reason {
		f.t.Errorf("the destination is %v for %q, want %v for %q", now.Status, now.DisabledReason, want, reason)
	}
}

func TestDestinationsFollowTheirSources(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	ctx := t.Context()
	d, other := f.create(f.test, amazon), f.create(f.test, amazon)
	name := d.EventBridge.SourceName
	f.is(d, event.Held, "")
	for _, step := range []struct {
		state  string
		want   event.Status
		reason string
	}{
		{"ACTIVE", event.Enabled, ""},
		{"PENDING", event.Held, ""},
		{"ACTIVE", event.Enabled, ""},
		{"DELETED", event.Disabled, destination.ReasonNoAWSSource},
		{"ACTIVE", event.Disabled, destination.ReasonNoAWSSource}, // it has to be enabled by hand
	} {
		f.sources.set(name, step.state)
		if err := f.FollowSource(ctx, name); err != nil {
			t.Fatal(err)
		}
		f.is(d, step.want, step.reason)
		f.is(other, event.Held, "")
	}
	if _, err := f.Enable(ctx, f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	f.is(d, event.Enabled, "")
	for _, name := range []string{"", "aws.partner/other/orders", "aws.partner/stripe.com/" + d.ID + "x"} {
		if err := f.FollowSource(ctx, name); err != nil {
			t.Error(err)
		}
	}
	// What was not told is found.
	f.sources.set(other.EventBridge.SourceName, "ACTIVE")
	if err := f.FollowSources(ctx); err != nil {
		t.Fatal(err)
	}
	f.is(other, event.Enabled, "")
	// Of what is deleted nothing is left to follow.
	if err := f.Delete(ctx, f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	f.reads.reads = 0
	if err := f.FollowSource(ctx, name); err != nil || f.reads.reads != 0 {
		t.Errorf("following the source of a deleted destination: %d reads, %v", f.reads.reads, err)
	}
}

// A source that changes costs what its own destination does, however many
// others there are.
func TestFollowingASourceReadsItsDestinationAlone(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	d := f.create(f.test, amazon)
	for range 50 {
		f.create(f.test)
		f.create(f.test, amazon)
	}
	f.sources.set(d.EventBridge.SourceName, "ACTIVE")
	f.reads.lists, f.reads.reads = 0, 0
	if err := f.FollowSource(t.Context(), d.EventBridge.SourceName); err != nil {
		t.Fatal(err)
	}
	if f.reads.lists != 1 || f.reads.reads != 1 { // the one that changed, which the engine loads
		t.Errorf("%d destinations were listed and %d read, want 1 each", f.reads.lists, f.reads.reads)
	}
	f.is(d, event.Enabled, "")
}

func TestASourceThatIsActiveBeforeItsDestinationIsStored(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.sources.first = "ACTIVE"
	f.is(f.create(f.test, amazon), event.Enabled, "")
}

// A destination whose source is pending is shown as enabled: a ping waits for
// the source as every event does.
func TestPingOfAHeldDestination(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	d := f.create(f.test, amazon)
	ping, err := f.Ping(t.Context(), f.test, d.ID)
	if err != nil || !strings.HasPrefix(ping.ID(), "evt_") {
		t.Fatal(ping, err)
	}
	if published := f.engine.published; len(published) != 1 || len(published[0].Only) != 1 || published[0].Only[0] != d.Number {
		t.Errorf("published %+v", published)
	}
}

// A source that could not be deleted with its destination is deleted later, and
// nobody else's is.
func TestASourceIsDeletedLater(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.sources.first = "ACTIVE"
	gone, kept := f.create(f.test, amazon), f.create(f.test, amazon)
	f.sources.down = errors.New("the store is down")
	if err := f.Delete(t.Context(), f.test, gone.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.FollowSources(t.Context()); !errors.Is(err, f.sources.down) {
		t.Errorf("following while sources cannot be deleted: %v", err)
	}
	f.sources.down = nil
	if err := f.FollowSources(t.Context()); err != nil {
		t.Error(err)
	}
	for d, want := range map[*destination.Destination]string{gone: "DELETED", kept: "ACTIVE"} {
		if got := f.sources.SourceState(d.EventBridge.SourceName, ""); got != want {
			t.Errorf("the source of %s is %s, want %s", d.ID, got, want)
		}
	}
}
