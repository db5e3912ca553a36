package destination_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test, func(p *params) {
		p.Description, p.Metadata = "all of them", map[string]string{"team": "a"}
	})
	if !regexp.MustCompile(`^ed_test_[0-9A-Za-z]{24}$`).MatchString(d.ID) || d.Number == 0 || d.Live {
		t.Errorf("created %+v", d)
	}
	if !strings.HasPrefix(d.SigningSecret, "whsec_") {
		t.Errorf("signing secret %q", d.SigningSecret)
	}
	if d.Status != event.Enabled || d.DisabledReason != "" || d.Created.IsZero() || !d.Created.Equal(d.Updated) {
		t.Errorf("created %+v", d)
	}
	if f.engine.refreshes() != 1 {
		t.Errorf("the engine was refreshed %d times, want 1", f.engine.refreshes())
	}
	got := f.retrieve(f.test, d.ID)
	if got.SigningSecret != "" {
		t.Error("Retrieve shows the signing secret")
	}
	if got.Number != d.Number || got.Name != "orders" || got.Description != "all of them" || got.Metadata["team"] != "a" ||
		got.RetrySchedule != nil || !got.Created.Equal(d.Created) || got.Payload != event.Snapshot || got.Type != destination.TypeWebhookEndpoint {
		t.Errorf("retrieved %+v", got)
	}
	if live := f.create(f.live); !regexp.MustCompile(`^ed_[0-9A-Za-z]{24}$`).MatchString(live.ID) || !live.Live {
		t.Errorf("created %+v", live)
	}
	if bare := f.create(f.test); bare.Metadata == nil {
		t.Error("metadata is nil")
	}
}

// TestLifecycle runs each verb in each state.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	type verb = func(*fixture, *destination.Destination) error
	disable := func(f *fixture, d *destination.Destination) error {
		_, err := f.Disable(f.t.Context(), f.test, d.ID)
		return err
	}
	enable := func(f *fixture, d *destination.Destination) error {
		_, err := f.Enable(f.t.Context(), f.test, d.ID)
		return err
	}
	remove := func(f *fixture, d *destination.Destination) error { return f.Delete(f.t.Context(), f.test, d.ID) }
	gone := func(f *fixture, d *destination.Destination) error {
		return f.DisableGone(f.t.Context(), f.test.Scope, d.Number)
	}
	update := func(f *fixture, d *destination.Destination) error {
		_, err := f.Update(f.t.Context(), f.test, d.ID, destination.UpdateParams{Name: ptr("other")})
		return err
	}
	for _, tc := range []struct {
		what     string
		before   []verb
		verb     verb
		notFound bool
		status   event.Status // 0 if it is not found afterwards
		reason   string
		changes  bool
	}{
		{"enabled disable", nil, disable, false, event.Disabled, "user", true},
		{"enabled enable", nil, enable, false, event.Enabled, "", false},
		{"enabled gone", nil, gone, false, event.Disabled, "endpoint_gone", true},
		{"enabled update", nil, update, false, event.Enabled, "", true},
		{"enabled delete", nil, remove, false, 0, "", true},
		{"disabled disable", []verb{disable}, disable, false, event.Disabled, "user", false},
		{"disabled enable", []verb{disable}, enable, false, event.Enabled, "", true},
		{"disabled gone", []verb{disable}, gone, false, event.Disabled, "user", false},
		{"disabled update", []verb{disable}, update, false, event.Disabled, "user", true},
		{"disabled delete", []verb{disable}, remove, false, 0, "", true},
		{"gone disable", []verb{gone}, disable, false, event.Disabled, "endpoint_gone", false},
		{"gone enable", []verb{gone}, enable, false, event.Enabled, "", true},
		{"gone gone", []verb{gone}, gone, false, event.Disabled, "endpoint_gone", false},
		{"deleted disable", []verb{remove}, disable, true, 0, "", false},
		{"deleted enable", []verb{remove}, enable, true, 0, "", false},
		{"deleted gone", []verb{remove}, gone, false, 0, "", false},
		{"deleted update", []verb{remove}, update, true, 0, "", false},
		{"deleted delete", []verb{remove}, remove, true, 0, "", false},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			d := f.create(f.test)
			for _, v := range tc.before {
				if err := v(f, d); err != nil {
					t.Fatal(err)
				}
			}
			before := f.engine.refreshes()
			err := tc.verb(f, d)
			if tc.notFound {
				mustNotFound(t, err)
			} else if err != nil {
				t.Fatal(err)
			}
			if changed := f.engine.refreshes() > before; changed != tc.changes {
				t.Errorf("the engine was refreshed: %t, want %t", changed, tc.changes)
			}
			got, err := f.Retrieve(t.Context(), f.test, d.ID)
			if tc.status == 0 {
				mustNotFound(t, err)
				return
			}
			if err != nil || got.Status != tc.status || got.DisabledReason != tc.reason {
				t.Errorf("now %+v (%v), want status %d, reason %q", got, err, tc.status, tc.reason)
			}
		})
	}
}

func TestDisableGoneOfUnknown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	for what, err := range map[string]error{
		"unknown number": f.DisableGone(t.Context(), f.test.Scope, d.Number+1),
		"other scope":    f.DisableGone(t.Context(), f.live.Scope, d.Number),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := f.retrieve(f.test, d.ID); got.Status != event.Enabled {
		t.Errorf("status = %d", got.Status)
	}
}

func TestDisableGoneLosesARace(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		other  func(f *fixture, id string) error
		reason string
	}{
		"disabled by its owner": {func(f *fixture, id string) error {
			_, err := f.Disable(f.t.Context(), f.test, id)
			return err
		}, "user"},
		"deleted": {func(f *fixture, id string) error { return f.Delete(f.t.Context(), f.test, id) }, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			d := f.create(f.test)
			f.db.before(func() {
				if err := tc.other(f, d.ID); err != nil {
					t.Error(err)
				}
			})
			if err := f.DisableGone(t.Context(), f.test.Scope, d.Number); err != nil {
				t.Fatal(err)
			}
			got, err := f.Retrieve(t.Context(), f.test, d.ID)
			if tc.reason == "" {
				mustNotFound(t, err)
			} else if got.DisabledReason != tc.reason {
				t.Errorf("reason = %q, want %q", got.DisabledReason, tc.reason)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test, func(p *params) {
		p.Description, p.Metadata, p.RetrySchedule = "text", map[string]string{"a": "1", "b": "2"}, []int64{5}
	})
	update := func(p destination.UpdateParams) *destination.Destination {
		t.Helper()
		got, err := f.Update(t.Context(), f.test, d.ID, p)
		if err != nil {
			t.Fatal(err)
		}
		if got.SigningSecret != "" {
			t.Error("Update shows the signing secret")
		}
		return f.retrieve(f.test, d.ID)
	}
	got := update(destination.UpdateParams{})
	if got.Name != d.Name || got.Description != "text" || got.URL != d.URL || !got.Updated.Equal(d.Updated) || f.engine.refreshes() != 1 {
		t.Errorf("an empty update changed %+v", got)
	}
	got = update(destination.UpdateParams{
		Name: ptr("new"), Description: ptr(""), EnabledEvents: []string{"*"}, URL: ptr("https://example.com/2"),
		Metadata: map[string]*string{"a": nil, "c": ptr("3"), "absent": nil},
	})
	if got.Name != "new" || got.Description != "" || !slices.Equal(got.EnabledEvents, []string{"*"}) || got.URL != "https://example.com/2" {
		t.Errorf("updated to %+v", got)
	}
	if want := map[string]string{"b": "2", "c": "3"}; !maps.Equal(got.Metadata, want) {
		t.Errorf("metadata = %v, want %v", got.Metadata, want)
	}
	if !slices.Equal(got.RetrySchedule, []int64{5}) {
		t.Errorf("schedule = %v, want it unchanged", got.RetrySchedule)
	}
	if got = update(destination.UpdateParams{RetrySchedule: &[]int64{}}); got.RetrySchedule == nil || len(got.RetrySchedule) != 0 {
		t.Errorf("schedule = %#v, want no retries", got.RetrySchedule)
	}
	if got = update(destination.UpdateParams{RetrySchedule: ptr([]int64(nil))}); got.RetrySchedule != nil {
		t.Errorf("schedule = %#v, want the default", got.RetrySchedule)
	}
	if secrets := f.load().Target.Webhook.Secrets; !slices.Equal(texts(secrets), []string{d.SigningSecret}) {
		t.Error("updates lost the signing secret")
	}
}

func TestUpdateMovesUpdated(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	f := newFixture(t)
	f.Service = destination.New(destination.Options{Store: f.db, Engine: f.engine, Key: f.key, Now: func() time.Time { return now }})
	d := f.create(f.test)
	created := now.Truncate(time.Millisecond)
	now = now.Add(time.Hour)
	for range 2 { // the second changes nothing
		got, err := f.Disable(t.Context(), f.test, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Created.Equal(created) || !got.Updated.Equal(created.Add(time.Hour)) {
			t.Errorf("created %v, updated %v", got.Created, got.Updated)
		}
		if stored := f.retrieve(f.test, d.ID); !stored.Updated.Equal(got.Updated) {
			t.Errorf("stored %v, returned %v", stored.Updated, got.Updated)
		}
		now = now.Add(time.Nanosecond)
	}
}

func TestUpdateRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test, func(p *params) { p.Metadata = manyKeys(50) })
	small := f.create(f.test, thin)
	for _, tc := range []struct {
		what  string
		id    string
		p     destination.UpdateParams
		param string
	}{
		{"no name", d.ID, destination.UpdateParams{Name: ptr("")}, "name"},
		{"long description", d.ID, destination.UpdateParams{Description: ptr(strings.Repeat("x", 5001))}, "description"},
		{"no events", d.ID, destination.UpdateParams{EnabledEvents: []string{}}, "enabled_events"},
		{"thin wildcard", small.ID, destination.UpdateParams{EnabledEvents: []string{"*"}}, "enabled_events[0]"},
		{"one key too many", d.ID, destination.UpdateParams{Metadata: map[string]*string{"one more": ptr("x")}}, "metadata"},
		{"empty URL", d.ID, destination.UpdateParams{URL: ptr("")}, "webhook_endpoint.url"},
		{"private URL", d.ID, destination.UpdateParams{URL: ptr("https://[::1]/")}, "webhook_endpoint.url"},
		{"bad schedule", d.ID, destination.UpdateParams{RetrySchedule: &[]int64{0}}, "retry_schedule"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			_, err := f.Update(t.Context(), f.test, tc.id, tc.p)
			mustFault(t, err, fault.Invalid, "invalid_fields", tc.param)
		})
	}
	// A full map takes a key if another goes.
	if _, err := f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{
		Metadata: map[string]*string{"another": ptr("x"), "key7": nil},
	}); err != nil {
		t.Error(err)
	}
}

func TestConcurrentUpdatesAllHold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	const n = 12
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{
				Metadata: map[string]*string{fmt.Sprint("key", i): ptr(fmt.Sprint(i))},
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := f.retrieve(f.test, d.ID)
	if len(got.Metadata) != n {
		t.Errorf("%d of %d updates hold: %v", len(got.Metadata), n, got.Metadata)
	}
}

func TestUpdatesOfDifferentFieldsBothHold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	f.db.before(func() {
		if _, err := f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{Name: ptr("first")}); err != nil {
			t.Error(err)
		}
	})
	got, err := f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{Description: ptr("second")})
	if err != nil || got.Name != "first" || got.Description != "second" {
		t.Errorf("returned %+v, %v", got, err)
	}
	if got := f.retrieve(f.test, d.ID); got.Name != "first" || got.Description != "second" {
		t.Errorf("stored %+v", got)
	}
}

func TestEndlessConflictsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	f.db.fail(fmt.Errorf("update: %w", store.ErrConflict), nil)
	_, err := f.Disable(t.Context(), f.test, d.ID)
	mustFault(t, err, fault.Conflict, "lock_timeout", "")
}

func TestScopesAreApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	other := f.test
	other.Scope = event.NewScope(2, false)
	for _, c := range []struct {
		what   string
		caller func() error
	}{
		{"retrieve", func() error { _, err := f.Retrieve(t.Context(), other, d.ID); return err }},
		{"retrieve live", func() error { _, err := f.Retrieve(t.Context(), f.live, d.ID); return err }},
		{"update", func() error {
			_, err := f.Update(t.Context(), other, d.ID, destination.UpdateParams{Name: ptr("x")})
			return err
		}},
		{"disable", func() error { _, err := f.Disable(t.Context(), f.live, d.ID); return err }},
		{"enable", func() error { _, err := f.Enable(t.Context(), other, d.ID); return err }},
		{"delete", func() error { return f.Delete(t.Context(), other, d.ID) }},
		{"ping", func() error { _, err := f.Ping(t.Context(), other, d.ID); return err }},
		{"odd id", func() error {
			_, err := f.Retrieve(t.Context(), f.test, "ed_test_\xff"+strings.Repeat("x", 1000))
			return err
		}},
		{"empty id", func() error { _, err := f.Retrieve(t.Context(), f.test, ""); return err }},
	} {
		t.Run(c.what, func(t *testing.T) { mustNotFound(t, c.caller()) })
	}
	_, err := f.Retrieve(t.Context(), f.live, d.ID)
	if !strings.Contains(err.Error(), "live mode key") {
		t.Errorf("error %q does not say that the modes differ", err)
	}
	if got := f.retrieve(f.test, d.ID); got.Status != event.Enabled || got.Name != d.Name {
		t.Errorf("now %+v", got)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var ids []string
	var numbers []int64
	for range 5 {
		d := f.create(f.test)
		ids, numbers = append(ids, d.ID), append(numbers, d.Number)
	}
	f.create(f.live)
	if err := f.Delete(t.Context(), f.test, ids[2]); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what string
		p    destination.ListParams
		want []int // indexes of ids
		more bool
	}{
		{"all", destination.ListParams{}, []int{4, 3, 1, 0}, false},
		{"first page", destination.ListParams{Limit: 2}, []int{4, 3}, true},
		{"second page", destination.ListParams{Limit: 2, Older: numbers[3]}, []int{1, 0}, false},
		{"back", destination.ListParams{Limit: 1, Newer: numbers[1]}, []int{3}, true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			page, err := f.List(t.Context(), f.test, tc.p)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range page.Items {
				got = append(got, d.ID)
				if d.SigningSecret != "" {
					t.Error("List shows a signing secret")
				}
			}
			var want []string
			for _, i := range tc.want {
				want = append(want, ids[i])
			}
			if !slices.Equal(got, want) || page.More != tc.more {
				t.Errorf("got %q, more %t; want %q, %t", got, page.More, want, tc.more)
			}
		})
	}
	for _, limit := range []int{-1, 101} {
		_, err := f.List(t.Context(), f.test, destination.ListParams{Limit: limit})
		mustFault(t, err, fault.Invalid, "invalid_fields", "limit")
	}
}

func TestAFailedRefreshIsNotTheRequestsFailure(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.engine.err = errors.New("no")
	d := f.create(f.test)
	if got, err := f.Disable(t.Context(), f.test, d.ID); err != nil || got.Status != event.Disabled {
		t.Errorf("Disable = %+v, %v", got, err)
	}
}

func TestRefreshThoughTheClientHasGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	ctx, cancel := context.WithCancel(t.Context())
	f.db.before(cancel) // after the reads, before the commit
	if _, err := f.Disable(ctx, f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	if f.engine.refreshes() != 2 {
		t.Errorf("the engine was refreshed %d times, want 2", f.engine.refreshes())
	}
}

func TestStoreFailures(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	verbs := map[string]func() error{
		"create": func() error { _, err := f.Create(t.Context(), f.test, webhook()); return err },
		"update": func() error {
			_, err := f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{Name: ptr("x")})
			return err
		},
		"delete":   func() error { return f.Delete(t.Context(), keyed(f.test, "key", "x"), d.ID) },
		"gone":     func() error { return f.DisableGone(t.Context(), f.test.Scope, d.Number) },
		"retrieve": func() error { _, err := f.Retrieve(t.Context(), f.test, d.ID); return err },
		"list":     func() error { _, err := f.List(t.Context(), f.test, destination.ListParams{}); return err },
	}
	check := func(cause error, wantFault bool, names ...string) {
		t.Helper()
		for _, name := range names {
			err := verbs[name]()
			got := fault.As(err)
			if !errors.Is(err, cause) || (got != nil) != wantFault || got != nil && (got.Kind != fault.Unavailable || got.RetryAfter == 0) {
				t.Errorf("%s with %v = %v (fault %+v)", name, cause, err, got)
			}
		}
	}
	f.db.fail(store.ErrUnavailable, nil)
	check(store.ErrUnavailable, true, "create", "update", "delete", "gone")
	surprise := errors.New("surprise")
	f.db.fail(surprise, nil)
	check(surprise, false, "create", "update", "delete", "gone")
	f.db.fail(nil, store.ErrUnavailable)
	check(store.ErrUnavailable, true, "update", "delete", "gone", "retrieve", "list")
	f.db.fail(nil, nil)
	check(nil, false, "create", "update", "gone", "retrieve", "list", "delete")
}
