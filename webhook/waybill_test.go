package webhook_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	sender "github.com/waybill-dev/waybill/internal/target/webhook"
	"github.com/waybill-dev/waybill/webhook"
)

// What Waybill renders, signs and sends is what this package takes.
func TestDeliveriesOfWaybill(t *testing.T) {
	t.Parallel()
	const old, created = "whsec_old", "2026-01-02T03:04:05.678Z"
	at, err := time.Parse(time.RFC3339, created)
	if err != nil {
		t.Fatal(err)
	}
	draft := event.Draft{
		Type: "invoice.paid", Created: at, Object: []byte(`{"id":"in_1","object":"invoice","total":150}`),
		PreviousAttributes: []byte(`{"status":"open"}`), RequestID: "req_1", IdempotencyKey: `k"1`,
		ObjectID: "in_1", ObjectType: "invoice",
	}
	fromServer := draft.Build(event.NewScope(1, true), at, "2026-03-25.dahlia")
	fromServer.Assign(event.SeqAt(at))
	twin := draft.Twin(fromServer)
	twin.Assign(event.SeqAt(at).Next(at, 1))

	verifier, err := webhook.NewStripe(secret)
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan *webhook.Event, 1)
	server := httptest.NewServer(webhook.Handler(verifier, func(_ context.Context, e *webhook.Event) error {
		events <- e
		return nil
	}, webhook.WithLogger(quiet)))
	t.Cleanup(server.Close)

	options := sender.Options{}
	options.Guard.AllowPrivate = true
	client := sender.New(options)
	t.Cleanup(client.Close)
	send := func(e *event.Event, secrets ...string) target.Result {
		t.Helper()
		hook := &event.WebhookTarget{URL: server.URL}
		for _, secret := range secrets {
			hook.Secrets = append(hook.Secrets, event.Secret{Text: secret})
		}
		to, err := client.Open(event.Target{Kind: event.TargetWebhook, Webhook: hook})
		if err != nil {
			t.Fatal(err)
		}
		return to.Send(t.Context(), target.Message{EventID: e.ID(), Type: e.Type, Body: e.AppendPush(nil, ""), Attempt: 1, Event: e})
	}

	if r := send(fromServer, old); r.Class != event.ClassStatus || r.Status != 400 {
		t.Fatalf("with another secret: %+v", r)
	}
	if r := send(fromServer, secret, old); r.Class != event.ClassNone {
		t.Fatalf("%+v", r)
	}
	e := <-events
	if e.Kind != webhook.Snapshot || e.ID != fromServer.ID() || e.Type != "invoice.paid" || !e.Livemode ||
		!e.Created.Equal(at.Truncate(time.Second)) || e.APIVersion != "2026-03-25.dahlia" ||
		string(e.Object) != string(draft.Object) || string(e.PreviousAttributes) != string(draft.PreviousAttributes) ||
		*e.Request != (webhook.Request{ID: "req_1", IdempotencyKey: `k"1`}) {
		t.Errorf("snapshot %+v", e)
	}

	for range 2 { // the second is a duplicate, which nobody receives
		if r := send(twin, secret); r.Class != event.ClassNone {
			t.Fatalf("%+v", r)
		}
	}
	e = <-events
	if e.Kind != webhook.Thin || e.ID != twin.ID() || e.Type != "v1.invoice.paid" || !e.Created.Equal(at) || !e.Livemode ||
		*e.RelatedObject != (webhook.RelatedObject{ID: "in_1", Type: "invoice", URL: "/v1/invoices/in_1"}) ||
		e.Reason.Type != "request" || *e.Reason.Request != (webhook.Request{ID: "req_1", IdempotencyKey: `k"1`}) {
		t.Errorf("thin %+v", e)
	}
	select {
	case e := <-events:
		t.Errorf("received twice: %+v", e)
	default:
	}
}
