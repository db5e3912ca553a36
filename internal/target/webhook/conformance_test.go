package webhook_test

import (
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/targettest"
	"github.com/waybill-dev/waybill/internal/target/webhook"
)

const secret = "whsec_test"

// open returns a target for url that may reach this machine.
func open(tb testing.TB, url string, o webhook.Options, secrets ...string) target.Target {
	tb.Helper()
	o.Guard.AllowPrivate = true
	return openGuarded(tb, url, o, secrets...)
}

func openGuarded(tb testing.TB, url string, o webhook.Options, secrets ...string) target.Target {
	tb.Helper()
	c := webhook.New(o)
	tb.Cleanup(c.Close)
	if len(secrets) == 0 {
		secrets = []string{secret}
	}
	t, err := c.Open(event.Target{Kind: event.TargetWebhook, Webhook: &event.WebhookTarget{URL: url, Secrets: live(secrets...)}})
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// live are secrets without an end.
func live(texts ...string) []event.Secret {
	secrets := make([]event.Secret, len(texts))
	for i, text := range texts {
		secrets[i].Text = text
	}
	return secrets
}

// Not parallel: the suite measures memory.
func TestConformance(t *testing.T) {
	targettest.RunHTTP(t, targettest.HTTPHarness{Open: func(t *testing.T, e targettest.Endpoint) target.Target {
		return openGuarded(t, e.URL, webhook.Options{Guard: e.Guard, Timeout: e.Timeout, RootCAs: e.RootCAs})
	}})
}
