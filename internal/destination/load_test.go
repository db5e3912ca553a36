package destination_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/store"
)

func nowMillis() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func TestLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test, func(p *params) {
		p.EnabledEvents, p.SnapshotAPIVersion, p.RetrySchedule = []string{"a.b", "c.d"}, "2026-03-25.dahlia", []int64{5, 60}
	})
	sub := f.load()
	if sub.ID != d.Number || sub.Name != d.ID || sub.Scope != f.test.Scope || sub.Status != event.Enabled ||
		sub.Kind != event.Snapshot || !slices.Equal(sub.Types, d.EnabledEvents) || sub.APIVersion != "2026-03-25.dahlia" {
		t.Errorf("loaded %+v", sub)
	}
	if !slices.Equal(sub.Retry.Delays, []time.Duration{5 * time.Second, time.Minute}) {
		t.Errorf("retries = %v", sub.Retry.Delays)
	}
	if sub.Target.Kind != event.TargetWebhook || sub.Target.Webhook.URL != d.URL || !slices.Equal(texts(sub.Target.Webhook.Secrets), []string{d.SigningSecret}) {
		t.Errorf("target = %+v", sub.Target)
	}

	if _, err := f.Disable(t.Context(), f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	if got := f.load(); got.Status != event.Disabled || !slices.Equal(got.Types, sub.Types) || got.Target.Webhook.URL != d.URL {
		t.Errorf("disabled, loaded %+v", got)
	}

	_, version, err := f.Load(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	subs, next, err := f.Load(t.Context(), version)
	if err != nil || next <= version || len(subs) != 1 || subs[0].Status != event.Deleted || subs[0].ID != d.Number {
		t.Fatalf("deleted, loaded %+v, version %d after %d, %v", subs, next, version, err)
	}
	if subs[0].Target.Webhook != nil {
		t.Errorf("a deleted destination has the target %+v", subs[0].Target)
	}
	if subs, last, err := f.Load(t.Context(), next); err != nil || len(subs) != 0 || last != next {
		t.Errorf("nothing changed, loaded %+v, version %d, %v", subs, last, err)
	}
}

func TestDefaultRetrySchedules(t *testing.T) {
	t.Parallel()
	own := func(live bool) retry.Policy {
		if live {
			return retry.Dev()
		}
		return retry.None()
	}
	for _, tc := range []struct {
		what       string
		retry      func(bool) retry.Policy
		test, live retry.Policy
	}{
		{"built in", nil, retry.Sandbox(), retry.Live()},
		{"configured", own, retry.None(), retry.Dev()},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.Service = destination.New(destination.Options{Store: f.db, Engine: f.engine, Key: f.key, Retry: tc.retry})
			f.create(f.test)
			f.create(f.live)
			f.create(f.live, func(p *params) { p.RetrySchedule = []int64{} })
			subs, _, err := f.Load(t.Context(), 0)
			if err != nil || len(subs) != 3 {
				t.Fatal(subs, err)
			}
			for i, want := range []retry.Policy{tc.test, tc.live, retry.None()} {
				if !slices.Equal(subs[i].Retry.Delays, want.Delays) {
					t.Errorf("destination %d retries %v, want %v", i, subs[i].Retry.Delays, want.Delays)
				}
			}
		})
	}
}

func TestBrokenDestinationsDoNotStopTheOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create(f.test)
	for _, broken := range []*store.Destination{
		{ID: "ed_test_secrets", Config: []byte(`{"name":"x","type":"webhook_endpoint","payload":1,"enabled_events":["a.b"],"events_from":["@self"],"url":"https://example.com"}`), Secrets: []byte("nonsense")},
		{ID: "ed_test_config", Config: []byte(`{`)},
	} {
		broken.Scope, broken.Status, broken.Created, broken.Updated = f.test.Scope, event.Enabled, nowMillis(), nowMillis()
		if err := f.db.CreateDestination(t.Context(), broken, nil); err != nil {
			t.Fatal(err)
		}
	}
	subs, _, err := f.Load(t.Context(), 0)
	if err != nil || len(subs) != 3 {
		t.Fatalf("Load = %+v, %v", subs, err)
	}
	if subs[0].Target.Webhook.URL == "" {
		t.Error("the sound destination has no target")
	}
	for _, sub := range subs[1:] {
		if sub.Status != event.Enabled || sub.Target.Kind != event.TargetWebhook || sub.Target.Webhook == nil ||
			sub.Target.Webhook.URL != "" || len(sub.Target.Webhook.Secrets) != 0 {
			t.Errorf("%s has the target %+v", sub.Name, sub.Target.Webhook)
		}
	}
	if !slices.Equal(subs[1].Types, []string{"a.b"}) {
		t.Errorf("a destination without secrets selects %q", subs[1].Types)
	}
}

func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := keyed(f.test, "key", "create")
	d := f.create(c)
	row, err := f.db.Destination(t.Context(), f.test.Scope, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	random := []byte(strings.TrimPrefix(d.SigningSecret, "whsec_"))
	idem, err := f.db.Idempotent(t.Context(), f.test.Scope, 2, "key", nowMillis())
	if err != nil {
		t.Fatal(err)
	}
	for what, stored := range map[string][]byte{"config": row.Config, "secrets": row.Secrets, "idempotency record": idem.Result} {
		if len(stored) == 0 || bytes.Contains(stored, random) || bytes.Contains(stored, []byte("whsec")) {
			t.Errorf("the %s is %q", what, stored)
		}
	}

	// With another key nothing is replayed, nothing sent, and nothing said.
	stranger := destination.New(destination.Options{Store: f.db, Engine: f.engine, Key: newKey(t, "b")})
	_, err = stranger.Create(t.Context(), c, webhook())
	if err == nil || fault.As(err) != nil || strings.Contains(err.Error(), "whsec") {
		t.Errorf("replay with another key = %v", err)
	}

	// Secrets of one destination do not open for another.
	other := f.create(f.test)
	moved, err := f.db.Destination(t.Context(), f.test.Scope, other.ID)
	if err != nil {
		t.Fatal(err)
	}
	moved.Secrets = row.Secrets
	if err := f.db.UpdateDestination(t.Context(), moved, nil); err != nil {
		t.Fatal(err)
	}
	subs, _, err := f.Load(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range subs {
		if usable := len(sub.Target.Webhook.Secrets) > 0; usable != (sub.Name == d.ID) {
			t.Errorf("%s can be signed for: %t", sub.Name, usable)
		}
	}

	if err := f.Delete(t.Context(), f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	rows, err := f.db.DestinationsByNumber(t.Context(), f.test.Scope, []int64{d.Number})
	if err != nil || rows[d.Number] == nil || len(rows[d.Number].Secrets) != 0 {
		t.Errorf("deleted, the row is %+v (%v), want it without secrets", rows[d.Number], err)
	}
}

func TestLiveSecretsNewestFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	now := time.Now()
	type secret struct {
		Secret  string    `json:"secret"`
		Created time.Time `json:"created"`
		Expires time.Time `json:"expires,omitzero"`
	}
	store := func(secrets any) {
		t.Helper()
		plain, err := json.Marshal(secrets)
		if err != nil {
			t.Fatal(err)
		}
		row, err := f.db.Destination(t.Context(), f.test.Scope, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		row.Secrets = f.key.Seal(plain, destination.SealContext(f.test.Scope, d.ID))
		if err := f.db.UpdateDestination(t.Context(), row, nil); err != nil {
			t.Fatal(err)
		}
	}
	store([]secret{
		{"whsec_expired", now.Add(-3 * time.Hour), now.Add(-time.Hour)},
		{"whsec_old", now.Add(-2 * time.Hour), now.Add(time.Hour)},
		{"whsec_new", now.Add(-time.Hour), time.Time{}},
	})
	if got := texts(f.load().Target.Webhook.Secrets); !slices.Equal(got, []string{"whsec_new", "whsec_old"}) {
		t.Errorf("secrets = %q", got)
	}
	for _, none := range []any{[]secret{}, []secret{{"whsec_expired", now, now.Add(-time.Second)}}, "whsec_not_a_list"} {
		store(none)
		if got := f.load().Target.Webhook; got.URL != "" || len(got.Secrets) != 0 {
			t.Errorf("with %v the target is %+v", none, got)
		}
	}
}

func TestLoadFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Load(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Load = %v", err)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	ev, err := f.Ping(t.Context(), keyed(f.test, "key", "ping"), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if ev.Type != "v2.core.event_destination.ping" || ev.Kind != event.Thin || ev.ObjectID != d.ID {
		t.Errorf("event %+v", ev)
	}
	var body struct {
		Data          any               `json:"data"`
		RelatedObject map[string]string `json:"related_object"`
	}
	if err := json.Unmarshal(ev.Payload, &body); err != nil {
		t.Fatal(err)
	}
	if r := body.RelatedObject; body.Data != nil || len(r) != 3 || r["id"] != d.ID || r["type"] != "event_destination" || r["url"] != "/v2/core/event_destinations/"+d.ID {
		t.Errorf("payload %s", ev.Payload)
	}
	p := f.engine.published[0]
	if !slices.Equal(p.Only, []int64{d.Number}) || p.Scope != f.test.Scope || p.DefaultVersion != f.test.APIVersion {
		t.Errorf("published %+v", p)
	}
	if i := p.Idempotency; i == nil || i.Key != "key" || i.Generation != 2 || i.Hash != keyed(f.test, "key", "ping").RequestHash || i.Scope != f.test.Scope || i.Created.IsZero() {
		t.Errorf("idempotency %+v", i)
	}
	if _, err := f.Ping(t.Context(), f.test, d.ID); err != nil || f.engine.published[1].Idempotency != nil {
		t.Errorf("without a key: %v, published %+v", err, f.engine.published[1])
	}
}

func TestPingRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(keyed(f.test, "used", "create"))
	if _, err := f.Disable(t.Context(), f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	_, err := f.Ping(t.Context(), keyed(f.test, "key", "ping"), d.ID)
	got := mustFault(t, err, fault.Invalid, "event_destination_disabled", "")
	if !strings.Contains(got, "Enable it") {
		t.Errorf("message %q", got)
	}
	_, err = f.Ping(t.Context(), keyed(f.test, "used", "ping"), d.ID)
	mustFault(t, err, fault.Idempotency, "idempotency_error", "")
	// Where the record is this request's own, the engine is left to replay it.
	if _, err := f.Ping(t.Context(), keyed(f.test, "used", "create"), d.ID); err != nil {
		t.Errorf("replay on a disabled destination: %v", err)
	}

	if _, err := f.Enable(t.Context(), f.test, d.ID); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		cause error
		kind  fault.Kind // 0 is our own failure
	}{
		{store.ErrIdempotencyMismatch, fault.Idempotency},
		{store.ErrUnavailable, fault.Unavailable},
		{store.ErrNotFound, fault.NotFound},
		{errors.New("surprise"), 0},
	} {
		f.engine.err = tc.cause
		_, err := f.Ping(t.Context(), f.test, d.ID)
		if got := fault.As(err); err == nil || (got == nil) != (tc.kind == 0) || got != nil && got.Kind != tc.kind {
			t.Errorf("with %v: %v", tc.cause, err)
		}
	}

	idle := destination.New(destination.Options{Store: f.db, Key: f.key})
	if _, err := idle.Ping(t.Context(), f.test, d.ID); err == nil {
		t.Error("pinged without an engine")
	}
}

var _ destination.Engine = (*engine.Engine)(nil)
