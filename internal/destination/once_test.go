package destination_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

func TestCreateIsReplayed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := keyed(f.test, "key", "create")
	d := f.create(c)
	if _, err := f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{Name: ptr("renamed")}); err != nil {
		t.Fatal(err)
	}
	again := f.create(c)
	if again.ID != d.ID || again.SigningSecret != d.SigningSecret || d.SigningSecret == "" {
		t.Errorf("replayed %+v, want %s with its secret", again, d.ID)
	}
	if again.Name != "renamed" {
		t.Errorf("replayed name %q, want the present one", again.Name)
	}
	// A request that would be refused today is not judged again.
	replayed, err := f.Create(t.Context(), c, webhook(func(p *params) { p.Name = "" }))
	if err != nil || replayed.ID != d.ID {
		t.Errorf("replay = %+v, %v", replayed, err)
	}
	if err := f.Delete(t.Context(), f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	_, err = f.Create(t.Context(), c, webhook())
	mustNotFound(t, err)
	if page, err := f.List(t.Context(), f.test, destination.ListParams{}); err != nil || len(page.Items) != 0 {
		t.Errorf("there are %d destinations (%v), want none", len(page.Items), err)
	}
}

func TestReplayOfEachVerb(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	name := func() string { return f.retrieve(f.test, d.ID).Name }
	status := func() event.Status { return f.retrieve(f.test, d.ID).Status }
	must := func(d *destination.Destination, err error) *destination.Destination {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}

	update := func() *destination.Destination {
		return must(f.Update(t.Context(), keyed(f.test, "u", "update"), d.ID, destination.UpdateParams{Name: ptr("second")}))
	}
	update()
	must(f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{Name: ptr("third")}))
	if got := update(); got.Name != "third" || name() != "third" {
		t.Errorf("replayed update returned %q and left %q", got.Name, name())
	}

	disable := func() *destination.Destination {
		return must(f.Disable(t.Context(), keyed(f.test, "d", "disable"), d.ID))
	}
	enable := func() *destination.Destination {
		return must(f.Enable(t.Context(), keyed(f.test, "e", "enable"), d.ID))
	}
	enable() // changes nothing, and is remembered all the same
	disable()
	if got := enable(); got.Status != event.Disabled || status() != event.Disabled {
		t.Error("a replayed enable enabled")
	}
	must(f.Enable(t.Context(), f.test, d.ID))
	if got := disable(); got.Status != event.Enabled || status() != event.Enabled {
		t.Error("a replayed disable disabled")
	}

	for range 2 {
		if err := f.Delete(t.Context(), keyed(f.test, "x", "delete"), d.ID); err != nil {
			t.Fatal(err)
		}
	}
	mustNotFound(t, f.Delete(t.Context(), keyed(f.test, "x2", "delete"), d.ID))
	_, err := f.Update(t.Context(), keyed(f.test, "u", "update"), d.ID, destination.UpdateParams{Name: ptr("second")})
	mustNotFound(t, err)
}

func TestAKeyBelongsToOneRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(keyed(f.test, "key", "create"))
	other := keyed(f.test, "key", "something else")
	_, createErr := f.Create(t.Context(), other, webhook(func(p *params) { p.Name = "" }))
	_, updateErr := f.Update(t.Context(), other, d.ID, destination.UpdateParams{Name: ptr("x")})
	_, disableErr := f.Disable(t.Context(), other, d.ID)
	_, enableErr := f.Enable(t.Context(), other, d.ID)
	for _, err := range []error{createErr, updateErr, disableErr, enableErr, f.Delete(t.Context(), other, d.ID)} {
		mustFault(t, err, fault.Idempotency, "idempotency_error", "")
	}
	if got := f.retrieve(f.test, d.ID); got.Name != d.Name || got.Status != event.Enabled {
		t.Errorf("now %+v", got)
	}
}

func TestKeysAreApartByScopeAndGeneration(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.create(keyed(f.test, "key", "create"))
	older := f.test
	older.Generation = 1
	if d := f.create(keyed(older, "key", "create")); d.ID == first.ID {
		t.Error("API v1 replayed a request of API v2")
	}
	if d := f.create(keyed(f.live, "key", "create")); d.ID == first.ID {
		t.Error("live mode replayed a request of test mode")
	}
}

func TestFailedRequestsRunAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := keyed(f.test, "key", "create")
	_, err := f.Create(t.Context(), c, webhook(func(p *params) { p.Name = "" }))
	mustFault(t, err, fault.Invalid, "invalid_fields", "name")
	f.db.fail(store.ErrUnavailable, nil)
	_, err = f.Create(t.Context(), c, webhook())
	mustFault(t, err, fault.Unavailable, "service_unavailable", "")
	f.db.fail(nil, nil)
	d := f.create(c)

	u := keyed(f.test, "update", "update")
	_, err = f.Update(t.Context(), u, d.ID, destination.UpdateParams{Name: ptr("")})
	mustFault(t, err, fault.Invalid, "invalid_fields", "name")
	if got, err := f.Update(t.Context(), u, d.ID, destination.UpdateParams{Name: ptr("new")}); err != nil || got.Name != "new" {
		t.Errorf("Update = %+v, %v", got, err)
	}
}

func TestConcurrentDuplicates(t *testing.T) {
	t.Parallel()
	const n = 12
	run := func(t *testing.T, do func() error) {
		t.Helper()
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range n {
			wg.Go(func() {
				<-start
				if err := do(); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
	}

	t.Run("create", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var mu sync.Mutex
		var seen []string
		run(t, func() error {
			d, err := f.Create(t.Context(), keyed(f.test, "key", "create"), webhook())
			if err == nil {
				mu.Lock()
				seen = append(seen, d.ID+" "+d.SigningSecret)
				mu.Unlock()
			}
			return err
		})
		slices.Sort(seen)
		if len(slices.Compact(seen)) != 1 {
			t.Errorf("the duplicates got %d different answers", len(slices.Compact(seen)))
		}
		if page, err := f.List(t.Context(), f.test, destination.ListParams{}); err != nil || len(page.Items) != 1 {
			t.Errorf("there are %d destinations (%v), want 1", len(page.Items), err)
		}
	})
	t.Run("update", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		d := f.create(f.test)
		run(t, func() error {
			got, err := f.Update(t.Context(), keyed(f.test, "key", "update"), d.ID, destination.UpdateParams{Name: ptr("new")})
			if err == nil && got.Name != "new" {
				return errors.New("a duplicate got the old name")
			}
			return err
		})
		if f.engine.refreshes() != 2 {
			t.Errorf("the engine was refreshed %d times, want once for each of two changes", f.engine.refreshes())
		}
	})
	t.Run("delete", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		d := f.create(f.test)
		run(t, func() error { return f.Delete(t.Context(), keyed(f.test, "key", "delete"), d.ID) })
	})
}

// TestARaceOfDuplicates has the other duplicate win after this one looked for
// its record.
func TestARaceOfDuplicates(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)

	c := keyed(f.test, "disable", "disable")
	f.db.before(func() {
		if _, err := f.Disable(t.Context(), c, d.ID); err != nil {
			t.Error(err)
		}
		if _, err := f.Enable(t.Context(), f.test, d.ID); err != nil {
			t.Error(err)
		}
	})
	if got, err := f.Disable(t.Context(), c, d.ID); err != nil || got.Status != event.Enabled {
		t.Errorf("Disable = %+v, %v; want a replay that leaves it enabled", got, err)
	}

	c = keyed(f.test, "delete", "delete")
	f.db.before(func() {
		if err := f.Delete(t.Context(), c, d.ID); err != nil {
			t.Error(err)
		}
	})
	if err := f.Delete(t.Context(), c, d.ID); err != nil {
		t.Errorf("Delete = %v, want a replay", err)
	}
}

func TestARecordOfSomethingElse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := keyed(f.test, "key", "create")
	if err := f.db.CreateDestination(t.Context(), &store.Destination{
		Scope: c.Scope, ID: "ed_test_x", Status: event.Enabled, Config: []byte("{}"),
	}, &store.Idempotency{Scope: c.Scope, Generation: 2, Key: "key", Hash: c.RequestHash, Result: []byte("evt_1"), Created: nowMillis()}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create(t.Context(), c, webhook()); err == nil || fault.As(err) != nil {
		t.Errorf("Create = %v, want an error of our own", err)
	}
}
