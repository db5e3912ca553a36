package destination_test

import (
	"context"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const day = 24 * time.Hour

// ward is a fixture with a destination whose health is watched.
type ward struct {
	*fixture
	now time.Time
	d   *destination.Destination
	seq event.Seq
}

func newWard(t *testing.T, disableAfter time.Duration) *ward {
	t.Helper()
	w := &ward{fixture: newFixture(t), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.restart(disableAfter)
	w.d = w.create(w.test)
	return w
}

// restart forgets all but the store.
func (w *ward) restart(disableAfter time.Duration) {
	w.Service = destination.New(destination.Options{
		Store: w.db, Engine: w.engine, Key: w.key, DisableAfter: disableAfter, Now: func() time.Time { return w.now },
	})
	w.engine.vitals = nil
}

// watch has what this node saw noted: failures of n events since the last
// success, the last one now.
func (w *ward) watch(n int, success time.Time) {
	w.t.Helper()
	v := engine.Vital{Health: store.Health{Subscription: w.d.Number, LastSuccess: success}, Scope: w.test.Scope}
	for range n {
		w.seq++
		v.Failures = append(v.Failures, store.Failure{Event: w.seq, At: w.now})
	}
	if n > 0 {
		v.LastFailure = w.now
	}
	w.engine.vitals = []engine.Vital{v}
	if err := w.WatchHealth(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) check(published int, status event.Status, failing bool) {
	w.t.Helper()
	d := w.retrieve(w.test, w.d.ID)
	if len(w.engine.published) != published || d.Status != status || d.Health.FailingSince.IsZero() == failing {
		w.t.Fatalf("%d events published, status %d, health %+v; want %d, %d, failing %t", len(w.engine.published), d.Status, d.Health, published, status, failing)
	}
}

func TestSustainedFailureWarnsAndDisables(t *testing.T) {
	t.Parallel()
	w := newWard(t, 5*day)
	start := w.now
	w.watch(0, w.now) // swift and healthy: nothing is kept
	if all, err := w.db.Healths(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("kept of a healthy destination: %+v, %v", all, err)
	}
	w.watch(2, w.now.Add(-time.Second))
	w.check(0, event.Enabled, true)
	if at := w.retrieve(w.test, w.d.ID).Health.DisablesAt; !at.IsZero() {
		t.Errorf("two events would disable it at %v", at)
	}
	w.now = start.Add(day)
	w.watch(1, time.Time{})
	if h := w.retrieve(w.test, w.d.ID).Health; !h.FailingSince.Equal(start) || !h.DisablesAt.Equal(start.Add(5*day)) {
		t.Errorf("health = %+v", h)
	}
	w.now = start.Add(60*time.Hour - time.Second)
	w.restart(5 * day)
	w.watch(1, time.Time{})
	w.check(0, event.Enabled, true)

	w.now = start.Add(60 * time.Hour)
	for range 3 {
		w.watch(1, time.Time{})
	}
	w.check(1, event.Enabled, true)
	warning := w.engine.published[0]
	if d := warning.Drafts[0]; d.Type != destination.FailingType || d.ObjectID != w.d.ID || warning.Scope != w.test.Scope || len(warning.Only) != 0 || warning.Idempotency == nil ||
		string(d.Data) != `{"disables_at":"2026-03-06T12:00:00.000Z","failing_since":"2026-03-01T12:00:00.000Z"}` {
		t.Errorf("warned by %+v: %s", d, d.Data)
	}

	w.now = start.Add(5*day - time.Second)
	w.watch(1, time.Time{})
	w.check(1, event.Enabled, true)
	w.now = start.Add(5 * day)
	w.watch(0, time.Time{}) // nothing failed since
	w.check(1, event.Enabled, true)
	w.now = w.now.Add(time.Minute)
	w.watch(1, time.Time{})
	w.check(2, event.Disabled, false)
	if d := w.engine.published[1].Drafts[0]; d.Type != destination.DisabledType || string(d.Data) != `{"reason":"webhook_failing"}` {
		t.Errorf("announced by %+v: %s", d, d.Data)
	}
	if d := w.retrieve(w.test, w.d.ID); d.DisabledReason != destination.ReasonFailing {
		t.Errorf("reason = %s", d.DisabledReason)
	}

	if _, err := w.Enable(t.Context(), w.test, w.d.ID); err != nil {
		t.Fatal(err)
	}
	w.watch(3, time.Time{})
	w.check(2, event.Enabled, true)
	if h := w.retrieve(w.test, w.d.ID).Health; !h.FailingSince.Equal(w.now) {
		t.Errorf("enabled again, it is failing since %v", h.FailingSince)
	}
}

func TestSuccessAnywhereEndsThePeriod(t *testing.T) {
	t.Parallel()
	w := newWard(t, 5*day)
	w.watch(3, time.Time{})
	w.now = w.now.Add(4 * day)
	w.watch(1, time.Time{})
	w.check(1, event.Enabled, true)
	w.watch(0, w.now.Add(-time.Hour)) // another node's
	w.check(1, event.Enabled, false)
	w.now = w.now.Add(2 * day)
	w.watch(3, time.Time{})
	w.check(1, event.Enabled, true)
	w.watch(0, w.now)
	w.check(1, event.Enabled, false)
}

func TestOneEventNeverDisables(t *testing.T) {
	t.Parallel()
	w := newWard(t, 5*day)
	for range 20 {
		w.seq = 0 // always the same two
		w.watch(2, time.Time{})
		w.now = w.now.Add(day)
	}
	w.check(0, event.Enabled, true)
}

// Who was not warned, because the server was down at half-time, is warned
// first.
func TestNobodyIsDisabledUnwarned(t *testing.T) {
	t.Parallel()
	w := newWard(t, 5*day)
	w.watch(3, time.Time{})
	w.now = w.now.Add(10 * day)
	w.watch(1, time.Time{})
	w.check(1, event.Enabled, true)
	w.now = w.now.Add(60*time.Hour - time.Second)
	w.watch(1, time.Time{})
	w.check(1, event.Enabled, true)
	w.now = w.now.Add(time.Second)
	w.watch(1, time.Time{})
	w.check(2, event.Disabled, false)
}

func TestDisableAfterZeroIsNever(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	for range 100 {
		w.watch(3, time.Time{})
		w.now = w.now.Add(day)
	}
	w.check(0, event.Enabled, true)
	if at := w.retrieve(w.test, w.d.ID).Health.DisablesAt; !at.IsZero() {
		t.Errorf("disables at %v", at)
	}
}

func TestAnotherURLIsAFreshChance(t *testing.T) {
	t.Parallel()
	w := newWard(t, 5*day)
	w.watch(3, time.Time{})
	if d, err := w.Update(t.Context(), w.test, w.d.ID, destination.UpdateParams{Name: ptr("same")}); err != nil || d.Health.FailingSince.IsZero() {
		t.Errorf("another name ends the period: %v", err)
	}
	if d, err := w.Update(t.Context(), w.test, w.d.ID, destination.UpdateParams{URL: ptr("https://example.com/new")}); err != nil || !d.Health.FailingSince.IsZero() {
		t.Errorf("another URL does not end it: %v", err)
	}
}
