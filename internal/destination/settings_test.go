package destination_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
)

func with(p destination.SettingsParams) func(*destination.CreateParams) {
	return func(c *destination.CreateParams) { c.Settings = p }
}

func TestSettingsAreStoredAndCompiled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test, with(destination.SettingsParams{
		Format: ptr("cloudevents"), Signatures: []string{"standard_webhooks_ed25519", "stripe"},
		Headers:   map[string]*string{"x-b": ptr("2"), "Authorization": ptr("Bearer s3cret"), "X-Absent": nil},
		RateLimit: ptr(&event.RateLimit{PerSecond: 5}), Ordering: ptr("related_object"),
	}))
	got := f.retrieve(f.test, d.ID).Settings
	if got.Format != event.FormatCloudEvents || !slices.Equal(got.HeaderNames, []string{"Authorization", "X-B"}) ||
		*got.RateLimit != (event.RateLimit{PerSecond: 5, Burst: 5}) || got.Ordering != destination.OrderObject || !strings.HasPrefix(got.PublicKey, "whpk_") {
		t.Errorf("settings = %+v", got)
	}
	sub := f.load()
	hook := sub.Target.Webhook
	if sub.Format != event.FormatCloudEvents || hook.Format != sub.Format || !sub.Ordered || *sub.RateLimit != *got.RateLimit || !sub.Watched ||
		hook.Name != d.ID || !hook.Stripe || hook.Standard || !hook.Ed25519 || hook.Secrets[0].Key == nil ||
		!slices.Equal(hook.Header, []event.Header{{Name: "Authorization", Value: "Bearer s3cret"}, {Name: "X-B", Value: "2"}}) {
		t.Errorf("compiled to %+v, target %+v", sub, hook)
	}
	row, err := f.db.Destination(t.Context(), f.test.Scope, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(row.Config, []byte("s3cret")) || bytes.Contains(row.Secrets, []byte("s3cret")) {
		t.Error("a header's value is stored in the open")
	}

	// What is not named stays; null removes; the key outlives what used it.
	updated, err := f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{Settings: destination.SettingsParams{
		Headers: map[string]*string{"AUTHORIZATION": nil}, RateLimit: ptr((*event.RateLimit)(nil)), Signatures: []string{"standard_webhooks"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s := updated.Settings; !slices.Equal(s.HeaderNames, []string{"X-B"}) || s.RateLimit != nil || s.Format != got.Format || s.PublicKey != "" || s.Ordering != got.Ordering {
		t.Errorf("updated to %+v", s)
	}
	updated, err = f.Update(t.Context(), f.test, d.ID, destination.UpdateParams{Settings: destination.SettingsParams{
		Headers: map[string]*string{"x-b": nil}, Signatures: []string{"standard_webhooks_ed25519"}, Format: ptr("stripe"), Ordering: ptr("none"),
	}})
	if err != nil || updated.Settings.PublicKey != got.PublicKey {
		t.Errorf("public key %q, was %q; %v", updated.Settings.PublicKey, got.PublicKey, err)
	}
	if sub := f.load(); len(sub.Target.Webhook.Header) != 0 || sub.Target.Webhook.Stripe || sub.Ordered || texts(sub.Target.Webhook.Secrets)[0] != d.SigningSecret {
		t.Errorf("compiled to %+v, target %+v", sub, sub.Target.Webhook)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	many := map[string]*string{}
	for _, c := range "abcdefghijklmnopqrstu" {
		many["X-"+string(c)] = ptr("1")
	}
	header := func(name, value string) destination.SettingsParams {
		return destination.SettingsParams{Headers: map[string]*string{name: &value}}
	}
	for param, tests := range map[string][]destination.SettingsParams{
		"waybill.payload_format": {{Format: ptr("xml")}, {Format: ptr("")}},
		"waybill.signatures":     {{Signatures: []string{}}, {Signatures: []string{"hmac"}}, {Signatures: []string{"stripe", "stripe"}}},
		"waybill.ordering":       {{Ordering: ptr("fifo")}},
		"waybill.rate_limit": {
			{RateLimit: ptr(&event.RateLimit{})},
			{RateLimit: ptr(&event.RateLimit{PerSecond: -1})},
			{RateLimit: ptr(&event.RateLimit{PerSecond: 1, Burst: -1})},
			{RateLimit: ptr(&event.RateLimit{PerSecond: 100_001})},
		},
		"waybill.headers": {{Headers: many}, header("", "x"), header("a b", "x"), header("x:y", "x"), header("é", "x"), header(strings.Repeat("x", 101), "x")},

		"waybill.headers.X-A":  {header("X-A", "a\r\nb"), header("X-A", " a"), header("X-A", "é"), header("X-A", strings.Repeat("x", 2001))},
		"waybill.headers.hOsT": {header("hOsT", "x")}, "waybill.headers.content-type": {header("content-type", "x")},
		"waybill.headers.Stripe-Signature": {header("Stripe-Signature", "x")}, "waybill.headers.webhook-id": {header("webhook-id", "x")},
		"waybill.headers.ce-id": {header("ce-id", "x")}, "waybill.headers.Connection": {header("Connection", "x")},
		"waybill.headers.transfer-encoding": {header("transfer-encoding", "x")}, "waybill.headers.user-agent": {header("user-agent", "x")},
	} {
		for _, p := range tests {
			_, err := f.Create(t.Context(), f.test, webhook(with(p)))
			mustFault(t, err, fault.Invalid, "invalid_fields", param)
		}
	}
}

func TestRollSecret(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := newFixture(t)
	f.Service = destination.New(destination.Options{Store: f.db, Engine: f.engine, Key: f.key, Now: func() time.Time { return now }})
	d := f.create(f.test, with(destination.SettingsParams{Signatures: []string{"standard_webhooks_ed25519"}}))
	roll := func(overlap time.Duration) *destination.Destination {
		t.Helper()
		got, err := f.RollSecret(t.Context(), f.test, d.ID, overlap)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := roll(24 * time.Hour)
	if first.SigningSecret == d.SigningSecret || first.Settings.PublicKey == d.Settings.PublicKey || !first.PreviousSecretsEnd.Equal(now.Add(24*time.Hour)) {
		t.Errorf("rolled to %+v", first)
	}
	now = now.Add(time.Hour)
	second := roll(time.Hour)
	live := f.load().Target.Webhook.Secrets
	if want := []string{second.SigningSecret, first.SigningSecret, d.SigningSecret}; !slices.Equal(texts(live), want) {
		t.Errorf("live: %v, want %v", texts(live), want)
	}
	if !live[0].Until.IsZero() || !live[1].Until.Equal(now.Add(time.Hour)) || !live[2].Until.Equal(now.Add(time.Hour)) {
		t.Errorf("none may outlive the last overlap: %+v", live)
	}
	if got := f.retrieve(f.test, d.ID); got.SigningSecret != "" || !got.PreviousSecretsEnd.Equal(now.Add(time.Hour)) {
		t.Errorf("retrieved %+v", got)
	}

	// In time they are gone from the store too, and not before.
	sealed := func() []byte {
		row, err := f.db.Destination(t.Context(), f.test.Scope, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		return row.Secrets
	}
	before := sealed()
	if err := f.DropSecrets(t.Context()); err != nil || !bytes.Equal(sealed(), before) {
		t.Errorf("dropped early, or %v", err)
	}
	now = now.Add(time.Hour)
	if err := f.DropSecrets(t.Context()); err != nil || bytes.Equal(sealed(), before) || len(sealed()) >= len(before) {
		t.Errorf("not dropped, or %v", err)
	}
	if got := f.load().Target.Webhook.Secrets; len(got) != 1 || got[0].Text != second.SigningSecret {
		t.Errorf("live: %+v", got)
	}

	third := roll(time.Hour)
	if last := roll(0); last.SigningSecret == third.SigningSecret || !last.PreviousSecretsEnd.IsZero() || len(f.load().Target.Webhook.Secrets) != 1 {
		t.Errorf("old secrets survive a roll without overlap")
	}
	for range 4 {
		roll(time.Hour)
	}
	_, err := f.RollSecret(t.Context(), f.test, d.ID, time.Hour)
	mustFault(t, err, fault.Invalid, "too_many_signing_secrets", "")
	_, err = f.RollSecret(t.Context(), f.test, d.ID, 25*time.Hour)
	mustFault(t, err, fault.Invalid, "invalid_fields", "expires_after")
}

func TestRollSecretIsIdempotent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	c := keyed(f.test, "k", "roll")
	one, err := f.RollSecret(t.Context(), c, d.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	two, err := f.RollSecret(t.Context(), c, d.ID, time.Hour)
	if err != nil || two.SigningSecret != one.SigningSecret || one.SigningSecret == d.SigningSecret {
		t.Errorf("repeated: %v", err)
	}
}

// Secrets of before had 43 characters, which is no base64.
func TestEarlierSecretsAreNoStandardWebhooks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.create(f.test)
	row, err := f.db.Destination(t.Context(), f.test.Scope, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	row.Secrets = f.key.Seal([]byte(`[{"secret":"whsec_`+strings.Repeat("a", 43)+`","created":"2026-01-01T00:00:00Z"}]`), destination.SealContext(row.Scope, row.ID))
	if err := f.db.UpdateDestination(t.Context(), row, nil); err != nil {
		t.Fatal(err)
	}
	standard := destination.UpdateParams{Settings: destination.SettingsParams{Signatures: []string{"standard_webhooks"}}}
	_, err = f.Update(t.Context(), f.test, d.ID, standard)
	mustFault(t, err, fault.Invalid, "invalid_fields", "waybill.signatures")
	if _, err := f.RollSecret(t.Context(), f.test, d.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Update(t.Context(), f.test, d.ID, standard); err != nil {
		t.Error(err)
	}
}
