package webhook_test

import (
	"crypto/ed25519"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/webhook"
)

// received is one request, whose body was read.
type received struct {
	http.Header
	body []byte
}

// sender returns what sends an event to a receiver as to says, at the time that
// *now holds, and returns what came.
func sender(t *testing.T, to event.WebhookTarget, now *time.Time) func(*event.Event) received {
	t.Helper()
	var got received
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = received{r.Header, body}
	}))
	t.Cleanup(server.Close)
	c := webhook.New(webhook.Options{Guard: netguard.Policy{AllowPrivate: true}, Now: func() time.Time { return *now }})
	t.Cleanup(c.Close)
	to.URL = server.URL
	tgt, err := c.Open(event.Target{Kind: event.TargetWebhook, Webhook: &to})
	if err != nil {
		t.Fatal(err)
	}
	return func(e *event.Event) received {
		body := e.AppendBody(nil, &event.Subscription{Format: to.Format, Name: to.Name})
		if r := tgt.Send(t.Context(), target.Message{EventID: e.ID(), Type: e.Type, Body: body, Attempt: 1, Event: e}); r.Class != "" {
			t.Fatalf("%+v", r)
		}
		return got
	}
}

func made(typ, object string) *event.Event {
	d := event.Draft{Type: typ, Object: []byte(`{}`), ObjectID: object}
	e := d.Build(event.NewScope(1, false), time.Unix(1760000000, 0), "2026-03-25.dahlia")
	e.Assign(event.SeqAt(time.Unix(1760000000, 0)))
	return e
}

func TestReplacedSecretsEndInTime(t *testing.T) {
	t.Parallel()
	now := time.Unix(1760000000, 0)
	send := sender(t, event.WebhookTarget{Secrets: []event.Secret{
		{Text: "whsec_new"}, {Text: "whsec_old", Until: now.Add(2 * time.Hour)}, {Text: "whsec_oldest", Until: now.Add(time.Hour)},
	}}, &now)
	e := made("a.b", "")
	for _, signed := range []string{"whsec_new whsec_old whsec_oldest", "whsec_new whsec_old", "whsec_new", "whsec_new"} {
		got := send(e)
		header := got.Get(sign.StripeHeader)
		by := strings.Fields(signed)
		if n := strings.Count(header, "v1="); n != len(by) {
			t.Errorf("at %v: %d signatures, want those of %s", now, n, signed)
		}
		for _, secret := range by {
			if err := sign.VerifyStripe(header, got.body, []string{secret}, now, 0); err != nil {
				t.Errorf("at %v, %s: %v", now, secret, err)
			}
		}
		now = now.Add(time.Hour) // exactly when the next one ends
	}
}

func TestStandardWebhooksHeaders(t *testing.T) {
	t.Parallel()
	now := time.Unix(1760000000, 0)
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	secrets := []event.Secret{{Text: sign.NewSecret(), Key: key}, {Text: sign.NewSecret(), Until: now.Add(time.Hour)}}
	e := made("customer.created", "cus_1")
	for _, test := range []struct {
		to                        event.WebhookTarget
		stripe, standard, ed25519 bool
	}{
		{event.WebhookTarget{}, true, false, false},
		{event.WebhookTarget{Stripe: true, Standard: true}, true, true, false},
		{event.WebhookTarget{Standard: true, Ed25519: true}, false, true, true},
		{event.WebhookTarget{Ed25519: true, Format: event.FormatStandard}, false, false, true},
	} {
		test.to.Secrets = secrets
		got := sender(t, test.to, &now)(e)
		if signed := sign.VerifyStripe(got.Get(sign.StripeHeader), got.body, []string{secrets[0].Text}, now, 0) == nil; signed != test.stripe {
			t.Errorf("%+v: Stripe's signature: %t", test.to, signed)
		}
		for _, old := range secrets {
			if signed := sign.VerifyStandard(got.Header, got.body, []string{old.Text}, now, 0) == nil; signed != test.standard {
				t.Errorf("%+v: v1: %t", test.to, signed)
			}
		}
		if signed := sign.VerifyStandard(got.Header, got.body, []string{sign.PublicKey(key)}, now, 0) == nil; signed != test.ed25519 {
			t.Errorf("%+v: v1a: %t", test.to, signed)
		}
		if id := got.Get("Webhook-Id"); (test.standard || test.ed25519) != (id == e.ID()) {
			t.Errorf("webhook-id = %q", id)
		}
	}
}

func TestCloudEventsAndOwnHeaders(t *testing.T) {
	t.Parallel()
	now := time.Unix(1760000000, 0)
	to := event.WebhookTarget{
		Secrets: live(secret), Stripe: true, Name: "ed_test_1",
		Header: []event.Header{{Name: "Authorization", Value: "Bearer x"}, {Name: "X-Tenant", Value: "7"}},
	}
	e := made("customer.created", "cus 1%")
	for format, contentType := range map[event.Format]string{
		event.FormatStripe:            "application/json; charset=utf-8",
		event.FormatStandard:          "application/json; charset=utf-8",
		event.FormatCloudEvents:       "application/cloudevents+json; charset=utf-8",
		event.FormatCloudEventsBinary: "application/json; charset=utf-8",
	} {
		to.Format = format
		got := sender(t, to, &now)(e)
		if got.Get("Content-Type") != contentType || got.Get("Authorization") != "Bearer x" || got.Get("X-Tenant") != "7" {
			t.Errorf("%s: %v", format, got.Header)
		}
		if err := sign.VerifyStripe(got.Get(sign.StripeHeader), got.body, []string{secret}, now, 0); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		want := map[string]string{"Ce-Id": "", "Ce-Subject": ""}
		if format == event.FormatCloudEventsBinary {
			want = map[string]string{
				"Ce-Specversion": "1.0", "Ce-Id": e.ID(), "Ce-Type": "customer.created", "Ce-Subject": "cus%201%25",
				"Ce-Source": "/v2/core/event_destinations/ed_test_1", "Ce-Time": "2025-10-09T08:53:20.000Z",
			}
		}
		for name, value := range want {
			if got.Get(name) != value {
				t.Errorf("%s: %s = %q, want %q", format, name, got.Get(name), value)
			}
		}
	}
}
