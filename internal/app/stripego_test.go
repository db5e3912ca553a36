package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"
)

const (
	includeSecret = "webhook_endpoint.signing_secret"
	includeURL    = "webhook_endpoint.url"
)

func createParams(name, url string) *stripe.V2CoreEventDestinationCreateParams {
	return &stripe.V2CoreEventDestinationCreateParams{
		Name:            stripe.String(name),
		Type:            stripe.String(string(stripe.V2CoreEventDestinationTypeWebhookEndpoint)),
		EventPayload:    stripe.String(string(stripe.V2CoreEventDestinationEventPayloadThin)),
		EnabledEvents:   stripe.StringSlice([]string{"v1.customer.created"}),
		WebhookEndpoint: &stripe.V2CoreEventDestinationCreateWebhookEndpointParams{URL: stripe.String(url)},
	}
}

func TestStripeGoCreateShowsWhatIsIncluded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()

	p := createParams("My destination", "http://127.0.0.1:9/hook")
	p.EventPayload = stripe.String("snapshot")
	p.EnabledEvents = stripe.StringSlice([]string{"customer.created", "invoice.paid"})
	p.Description = stripe.String("where it goes")
	p.Metadata = map[string]string{"team": "billing"}
	p.EventsFrom = stripe.StringSlice([]string{"@self"})
	p.SnapshotAPIVersion = stripe.String(stripe.APIVersion)
	p.Include = stripe.StringSlice([]string{includeSecret, includeURL})
	before := time.Now().Truncate(time.Millisecond)
	d, err := sc.V2CoreEventDestinations.Create(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case !strings.HasPrefix(d.ID, "ed_test_"), d.Object != "v2.core.event_destination", d.Livemode,
		d.Name != "My destination", d.Description != "where it goes", d.Metadata["team"] != "billing",
		!slices.Equal(d.EnabledEvents, []string{"customer.created", "invoice.paid"}), !slices.Equal(d.EventsFrom, []string{"@self"}),
		d.EventPayload != stripe.V2CoreEventDestinationEventPayloadSnapshot, d.SnapshotAPIVersion != stripe.APIVersion,
		d.Status != stripe.V2CoreEventDestinationStatusEnabled, d.StatusDetails != nil,
		d.Type != stripe.V2CoreEventDestinationTypeWebhookEndpoint, d.AmazonEventbridge != nil,
		d.Created.Before(before), !d.Updated.Equal(d.Created):
		t.Errorf("created %+v", d)
	}
	if w := d.WebhookEndpoint; w == nil || w.URL != "http://127.0.0.1:9/hook" || !strings.HasPrefix(w.SigningSecret, "whsec_") {
		t.Errorf("webhook_endpoint %+v", d.WebhookEndpoint)
	}

	plain, err := sc.V2CoreEventDestinations.Create(ctx, createParams("plain", "http://127.0.0.1:9/hook"))
	if err != nil {
		t.Fatal(err)
	}
	if w := plain.WebhookEndpoint; w == nil || w.URL != "" || w.SigningSecret != "" {
		t.Errorf("without include, webhook_endpoint is %+v", plain.WebhookEndpoint)
	}
}

func TestStripeGoNeverShowsTheSecretAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()
	p := createParams("d", "http://127.0.0.1:9/hook")
	p.Include = stripe.StringSlice([]string{includeSecret})
	made, err := sc.V2CoreEventDestinations.Create(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	secret := made.WebhookEndpoint.SigningSecret
	got, err := sc.V2CoreEventDestinations.Retrieve(ctx, made.ID, &stripe.V2CoreEventDestinationRetrieveParams{Include: stripe.StringSlice([]string{includeURL})})
	if err != nil {
		t.Fatal(err)
	}
	if got.WebhookEndpoint.URL != "http://127.0.0.1:9/hook" || got.WebhookEndpoint.SigningSecret != "" {
		t.Errorf("retrieved %+v", got.WebhookEndpoint)
	}
	_, err = sc.V2CoreEventDestinations.Retrieve(ctx, made.ID, &stripe.V2CoreEventDestinationRetrieveParams{Include: stripe.StringSlice([]string{includeSecret})})
	wantV2Error(t, err, http.StatusBadRequest, "invalid_fields")
	for _, path := range []string{"/v2/core/event_destinations/" + made.ID, "/v2/core/event_destinations?include=" + includeURL} {
		if a := s.get(path).ok(); strings.Contains(string(a.body), secret) {
			t.Errorf("%s shows the secret: %s", path, a.body)
		}
	}
	if a := s.post("/v2/core/event_destinations/"+made.ID, object{"name": "e"}).ok(); strings.Contains(string(a.body), secret) {
		t.Errorf("an update shows the secret: %s", a.body)
	}
}

func TestStripeGoListsAllPages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()
	var want []string
	for i := range 8 {
		d, err := sc.V2CoreEventDestinations.Create(ctx, createParams(fmt.Sprint(i), fmt.Sprintf("http://127.0.0.1:9/%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, d.ID)
	}
	slices.Reverse(want) // newest first
	var got []string
	for d, err := range sc.V2CoreEventDestinations.List(ctx, &stripe.V2CoreEventDestinationListParams{
		Limit: stripe.Int64(3), Include: stripe.StringSlice([]string{includeURL}),
	}).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.ID)
		if d.WebhookEndpoint.URL != "http://127.0.0.1:9/"+d.Name {
			t.Errorf("include did not reach the page of %s: %+v", d.Name, d.WebhookEndpoint)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

func TestStripeGoUpdates(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()
	p := createParams("before", "http://127.0.0.1:9/before")
	p.Description = stripe.String("a text")
	p.Metadata = map[string]string{"keep": "1", "change": "2", "drop": "3"}
	made, err := sc.V2CoreEventDestinations.Create(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	d, err := sc.V2CoreEventDestinations.Update(ctx, made.ID, &stripe.V2CoreEventDestinationUpdateParams{
		Name:            stripe.String("after"),
		EnabledEvents:   stripe.StringSlice([]string{"v1.customer.updated", "v1.customer.deleted"}),
		Metadata:        map[string]*string{"change": stripe.String("two"), "drop": nil, "new": stripe.String("4")},
		WebhookEndpoint: &stripe.V2CoreEventDestinationUpdateWebhookEndpointParams{URL: stripe.String("http://127.0.0.1:9/after")},
		Include:         stripe.StringSlice([]string{includeURL}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "after" || d.Description != "a text" || !slices.Equal(d.EnabledEvents, []string{"v1.customer.updated", "v1.customer.deleted"}) ||
		d.WebhookEndpoint.URL != "http://127.0.0.1:9/after" || d.Updated.Before(made.Updated) || !d.Created.Equal(made.Created) {
		t.Errorf("updated %+v", d)
	}
	if fmt.Sprint(d.Metadata) != "map[change:two keep:1 new:4]" {
		t.Errorf("metadata %v", d.Metadata)
	}
	if d, err = sc.V2CoreEventDestinations.Update(ctx, made.ID, &stripe.V2CoreEventDestinationUpdateParams{Description: stripe.String("")}); err != nil {
		t.Fatal(err)
	}
	if d.Description != "" || d.Name != "after" {
		t.Errorf("an empty description did not just clear it: %+v", d)
	}
	got, err := sc.V2CoreEventDestinations.Retrieve(ctx, made.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "after" || got.Description != "" || !got.Updated.Equal(d.Updated) || got.WebhookEndpoint.URL != "" {
		t.Errorf("retrieved %+v", got)
	}
}

func TestStripeGoDisablesEnablesAndDeletes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()
	made, err := sc.V2CoreEventDestinations.Create(ctx, createParams("d", "http://127.0.0.1:9/hook"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := sc.V2CoreEventDestinations.Disable(ctx, made.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.Status != stripe.V2CoreEventDestinationStatusDisabled || d.StatusDetails == nil || d.StatusDetails.Disabled == nil ||
		d.StatusDetails.Disabled.Reason != stripe.V2CoreEventDestinationStatusDetailsDisabledReasonUser {
		t.Errorf("disabled %+v, details %+v", d, d.StatusDetails)
	}
	if d, err = sc.V2CoreEventDestinations.Enable(ctx, made.ID, nil); err != nil {
		t.Fatal(err)
	}
	if d.Status != stripe.V2CoreEventDestinationStatusEnabled || d.StatusDetails != nil {
		t.Errorf("enabled %+v", d)
	}
	gone, err := sc.V2CoreEventDestinations.Delete(ctx, made.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if gone.ID != made.ID || gone.Object != "v2.core.event_destination" {
		t.Errorf("deleted %+v", gone)
	}
	_, err = sc.V2CoreEventDestinations.Retrieve(ctx, made.ID, nil)
	wantV2Error(t, err, http.StatusNotFound, "not_found")
	for d, err := range sc.V2CoreEventDestinations.List(ctx, nil).All(ctx) {
		t.Errorf("still listed: %+v, %v", d, err)
	}
}

func TestStripeGoPings(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	sc, ctx := s.sdk(), t.Context()
	id := s.destination(r, "/thin", object{"event_payload": "thin", "enabled_events": []string{"v1.customer.created"}})
	pinged, err := sc.V2CoreEventDestinations.Ping(ctx, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := pinged.(*stripe.V2CoreEventDestinationPingEvent)
	if !ok {
		t.Fatalf("the ping is a %T", pinged)
	}
	if e.RelatedObject.ID != id || e.RelatedObject.URL != "/v2/core/event_destinations/"+id || e.RelatedObject.Type == "" {
		t.Errorf("related object %+v", e.RelatedObject)
	}

	p := r.next()
	parsed, err := sc.ParseEventNotification(p.body, p.header.Get("Stripe-Signature"), r.secret("/thin"))
	if err != nil {
		t.Fatal(err)
	}
	n, ok := parsed.(*stripe.V2CoreEventDestinationPingEventNotification)
	if !ok {
		t.Fatalf("the notification is a %T", parsed)
	}
	if n.ID != e.ID || n.RelatedObject.ID != id || n.Livemode {
		t.Errorf("notification %+v", n)
	}
	fetched, err := n.FetchEvent(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if fetched.ID != e.ID || !fetched.Created.Equal(e.Created) {
		t.Errorf("fetched %+v, want %+v", fetched, e)
	}
	d, err := n.FetchRelatedObject(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d.ID != id {
		t.Errorf("the related object is %s", d.ID)
	}
	if got := s.awaitDelivery(e.ID, "delivered"); got.EventDestination != id {
		t.Errorf("delivery %+v", got)
	}
}

func TestStripeGoReadsThinDeliveries(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	sc := s.sdk()
	s.destination(r, "/thin", object{"event_payload": "thin", "enabled_events": []string{"v1.customer.created"}})
	e := thin("v1.customer.created", "cus_1")
	e["data"], e["changes"] = object{"some": "data"}, object{"before": object{"name": nil}, "after": object{"name": "Jenny"}}
	e["reason"] = object{"type": "request", "request": object{"id": "req_1", "idempotency_key": "k"}}
	id := s.publish(e)
	p := r.next()
	for _, absent := range []string{`"data"`, `"changes"`, `"snapshot_event"`} {
		if strings.Contains(string(p.body), absent) {
			t.Errorf("the notification has %s: %s", absent, p.body)
		}
	}
	parsed, err := sc.ParseEventNotification(p.body, p.header.Get("Stripe-Signature"), r.secret("/thin"))
	if err != nil {
		t.Fatal(err)
	}
	n, ok := parsed.(*stripe.UnknownEventNotification)
	if !ok {
		t.Fatalf("the notification is a %T", parsed)
	}
	if n.ID != id || n.Type != "v1.customer.created" || n.RelatedObject.ID != "cus_1" || n.Reason.Request.ID != "req_1" || n.Context != nil {
		t.Errorf("notification %+v", n)
	}
	full, err := n.FetchEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := full.(*stripe.V2CoreRawEvent)
	if !ok {
		t.Fatalf("the event is a %T", full)
	}
	if raw.ID != id || raw.Reason.Request.IdempotencyKey != "k" || fmt.Sprint(raw.Changes["after"]) != "map[name:Jenny]" {
		t.Errorf("event %+v", raw)
	}
}

func TestStripeGoReadsSnapshotDeliveries(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	e := customer("customer.updated", "cus_1")
	e["data"] = object{
		"object": object{"id": "cus_1", "object": "customer", "name": "Jenny Rosen"}, "previous_attributes": object{"name": "Jenny"},
	}
	e["request"] = object{"id": "req_1", "idempotency_key": nil}
	id := s.publish(e)
	p := r.next()
	got := p.event // constructed by the receiver with webhook.ConstructEvent
	switch {
	case got.ID != id, got.APIVersion != "2026-03-25.dahlia", got.APIVersion != stripe.APIVersion, got.Object != "event",
		got.Type != stripe.EventTypeCustomerUpdated, got.Livemode, got.PendingWebhooks != 1,
		got.GetObjectValue("name") != "Jenny Rosen", got.GetPreviousValue("name") != "Jenny", got.Request.ID != "req_1",
		time.Since(time.Unix(got.Created, 0)) > time.Minute:
		t.Errorf("event %+v", got)
	}
	if p.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", p.header.Get("Content-Type"))
	}
	signature := p.header.Get("Stripe-Signature")
	if _, err := webhook.ConstructEvent(p.body, signature, "whsec_another"); !errors.Is(err, webhook.ErrNoValidSignature) {
		t.Errorf("another secret verifies too: %v", err)
	}
	if _, err := webhook.ConstructEvent(append(p.body, ' '), signature, r.secret("/hook")); !errors.Is(err, webhook.ErrNoValidSignature) {
		t.Errorf("another body verifies too: %v", err)
	}
}

func TestStripeGoReadsThinEvents(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()
	old := thin("v1.customer.created", "cus_old")
	old["created"] = "2025-01-02T03:04:05.678Z"
	oldID := s.publish(old)
	var created, deleted []string
	for i := range 5 {
		created = append(created, s.publish(thin("v1.customer.created", fmt.Sprintf("cus_%d", i))))
		deleted = append(deleted, s.publish(thin("v1.customer.deleted", fmt.Sprintf("cus_%d", i))))
	}
	s.publish(customer("customer.created", "cus_1")) // a snapshot, which is not listed here

	list := func(p *stripe.V2CoreEventListParams) []string {
		t.Helper()
		p.Limit = stripe.Int64(2)
		var ids []string
		for e, err := range sc.V2CoreEvents.List(ctx, p).All(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, e.(*stripe.V2CoreRawEvent).ID)
		}
		slices.Reverse(ids) // oldest first, as they were made
		return ids
	}
	types := func(t ...string) []*string { return stripe.StringSlice(t) }
	since := time.Now().Add(-time.Hour).Unix()
	for name, c := range map[string]struct {
		params stripe.V2CoreEventListParams
		want   []string
	}{
		"one type":            {stripe.V2CoreEventListParams{Types: types("v1.customer.deleted")}, deleted},
		"type and time":       {stripe.V2CoreEventListParams{Types: types("v1.customer.created"), Created: &stripe.RangeQueryParams{GreaterThanOrEqual: since}}, created},
		"before":              {stripe.V2CoreEventListParams{Created: &stripe.RangeQueryParams{LesserThan: since}}, []string{oldID}},
		"one object":          {stripe.V2CoreEventListParams{ObjectID: stripe.String("cus_3")}, []string{created[3], deleted[3]}},
		"type and object":     {stripe.V2CoreEventListParams{ObjectID: stripe.String("cus_3"), Types: types("v1.customer.deleted")}, deleted[3:4]},
		"no such type":        {stripe.V2CoreEventListParams{Types: types("v1.invoice.paid")}, nil},
		"no such object":      {stripe.V2CoreEventListParams{ObjectID: stripe.String("cus_9")}, nil},
		"range that is empty": {stripe.V2CoreEventListParams{Created: &stripe.RangeQueryParams{GreaterThan: time.Now().Add(time.Hour).Unix()}}, nil},
	} {
		if got := list(&c.params); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := list(&stripe.V2CoreEventListParams{}); len(got) != 11 {
		t.Errorf("listed %d events, want 11", len(got))
	}

	e, err := sc.V2CoreEvents.Retrieve(ctx, oldID, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := e.(*stripe.V2CoreRawEvent)
	if raw.ID != oldID || raw.Object != "v2.core.event" || raw.RelatedObject.ID != "cus_old" ||
		!raw.Created.Equal(time.Date(2025, 1, 2, 3, 4, 5, 678e6, time.UTC)) {
		t.Errorf("retrieved %+v", raw)
	}
}

func TestStripeGoReadsSnapshotEvents(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()
	var customers, invoices []string
	for i := range 4 {
		customers = append(customers,
			s.publish(customer("customer.created", fmt.Sprint("cus_", i))),
			s.publish(customer("customer.updated", fmt.Sprint("cus_", i))))
		invoices = append(invoices, s.publish(customer("invoice.paid", fmt.Sprint("in_", i))))
	}
	list := func(p *stripe.EventListParams) []string {
		t.Helper()
		p.Limit = stripe.Int64(3)
		var ids []string
		for e, err := range sc.V1Events.List(ctx, p).All(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, e.ID)
		}
		slices.Reverse(ids)
		return ids
	}
	for name, c := range map[string]struct {
		params stripe.EventListParams
		want   []string
	}{
		"wildcard":  {stripe.EventListParams{Type: stripe.String("customer.*")}, customers},
		"one type":  {stripe.EventListParams{Type: stripe.String("invoice.paid")}, invoices},
		"two types": {stripe.EventListParams{Types: stripe.StringSlice([]string{"customer.created", "customer.updated"})}, customers},
		"future":    {stripe.EventListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThan: time.Now().Add(time.Hour).Unix()}}, nil},
		"delivered": {stripe.EventListParams{Type: stripe.String("invoice.paid"), DeliverySuccess: stripe.Bool(true)}, invoices},
		"pending":   {stripe.EventListParams{DeliverySuccess: stripe.Bool(false)}, nil},
	} {
		if got := list(&c.params); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := list(&stripe.EventListParams{}); len(got) != 12 {
		t.Errorf("listed %d events, want 12", len(got))
	}
	backwards := &stripe.EventListParams{}
	backwards.EndingBefore = stripe.String(customers[0])
	if got := list(backwards); len(got) != 11 || slices.Contains(got, customers[0]) {
		t.Errorf("before the first: %v", got)
	}

	e, err := sc.V1Events.Retrieve(ctx, invoices[2], nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != invoices[2] || e.Type != stripe.EventTypeInvoicePaid || e.GetObjectValue("id") != "in_2" || e.PendingWebhooks != 0 {
		t.Errorf("retrieved %+v", e)
	}
}

func TestStripeGoFetchesWhatAnEventIsAbout(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/thin", object{"event_payload": "thin", "enabled_events": []string{"v1.billing.meter.error_report_triggered"}})
	s.publish(object{"type": "billing.meter.updated", "data": object{"object": object{"id": "mtr_1", "object": "billing.meter", "display_name": "Tokens"}}})
	e := thin("v1.billing.meter.error_report_triggered", "")
	e["related_object"] = object{"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"}
	e["data"] = object{"developer_message_summary": "a message", "reason": object{"error_count": 1}}
	id := s.publish(e)
	p := r.next()
	parsed, err := s.sdk().ParseEventNotification(p.body, p.header.Get("Stripe-Signature"), r.secret("/thin"))
	if err != nil {
		t.Fatal(err)
	}
	n, ok := parsed.(*stripe.V1BillingMeterErrorReportTriggeredEventNotification)
	if !ok {
		t.Fatalf("the notification is a %T", parsed)
	}
	full, err := n.FetchEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if full.ID != id || full.Data.DeveloperMessageSummary != "a message" || full.Data.Reason.ErrorCount != 1 {
		t.Errorf("event %+v", full)
	}
	meter, err := n.FetchRelatedObject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if meter.ID != "mtr_1" || meter.DisplayName != "Tokens" {
		t.Errorf("the related object is %+v", meter)
	}
}

func TestStripeGoWebhookEndpoints(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()
	create := func(path string) *stripe.WebhookEndpoint {
		t.Helper()
		made, err := sc.V1WebhookEndpoints.Create(ctx, &stripe.WebhookEndpointCreateParams{
			URL: stripe.String("http://127.0.0.1:9" + path), EnabledEvents: stripe.StringSlice([]string{"charge.failed", "invoice.paid"}),
			APIVersion: stripe.String(stripe.APIVersion), Description: stripe.String("text"), Metadata: map[string]string{"a": "1", "b": "2"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	made := create("/1")
	if !strings.HasPrefix(made.ID, "we_") || made.Object != "webhook_endpoint" || !strings.HasPrefix(made.Secret, "whsec_") || made.Livemode ||
		made.URL != "http://127.0.0.1:9/1" || made.APIVersion != stripe.APIVersion || made.Status != "enabled" || made.Description != "text" ||
		fmt.Sprint(made.Metadata) != "map[a:1 b:2]" || !slices.Equal(made.EnabledEvents, []string{"charge.failed", "invoice.paid"}) {
		t.Errorf("created %+v", made)
	}
	p := &stripe.WebhookEndpointUpdateParams{
		URL: stripe.String("http://127.0.0.1:9/new"), Disabled: stripe.Bool(true), EnabledEvents: stripe.StringSlice([]string{"*"}),
	}
	p.AddMetadata("a", "")
	p.AddMetadata("c", "3")
	if _, err := sc.V1WebhookEndpoints.Update(ctx, made.ID, p); err != nil {
		t.Fatal(err)
	}
	got, err := sc.V1WebhookEndpoints.Retrieve(ctx, made.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Secret != "" || got.URL != "http://127.0.0.1:9/new" || got.Status != "disabled" || fmt.Sprint(got.Metadata) != "map[b:2 c:3]" ||
		!slices.Equal(got.EnabledEvents, []string{"*"}) || got.Description != "text" {
		t.Errorf("updated %+v", got)
	}
	d, err := sc.V2CoreEventDestinations.Retrieve(ctx, strings.Replace(made.ID, "we_", "ed_", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.Status != "disabled" || fmt.Sprint(d.Metadata) != "map[b:2 c:3]" {
		t.Errorf("in API v2 it is %+v", d)
	}

	second := create("/2")
	want := []string{create("/3").ID, second.ID, made.ID}
	var listed []string
	list := &stripe.WebhookEndpointListParams{}
	list.Limit = stripe.Int64(1)
	for e, err := range sc.V1WebhookEndpoints.List(ctx, list).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, e.ID)
	}
	if !slices.Equal(listed, want) {
		t.Errorf("listed %v, want %v", listed, want)
	}
	gone, err := sc.V1WebhookEndpoints.Delete(ctx, made.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if gone.ID != made.ID || !gone.Deleted {
		t.Errorf("deleted %+v", gone)
	}
	var failure *stripe.Error
	if _, err = sc.V1WebhookEndpoints.Retrieve(ctx, made.ID, nil); !errors.As(err, &failure) ||
		failure.HTTPStatusCode != http.StatusNotFound || failure.Code != stripe.ErrorCodeResourceMissing {
		t.Errorf("afterwards: %v", err)
	}
}

func TestStripeGoErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()

	_, err := sc.V2CoreEventDestinations.Retrieve(ctx, "ed_test_none", nil)
	wantV2Error(t, err, http.StatusNotFound, "not_found")
	_, err = sc.V2CoreEventDestinations.Update(ctx, "ed_test_none", &stripe.V2CoreEventDestinationUpdateParams{Name: stripe.String("x")})
	wantV2Error(t, err, http.StatusNotFound, "not_found")
	for _, call := range []func() error{
		func() error { _, err := sc.V2CoreEventDestinations.Disable(ctx, "ed_test_none", nil); return err },
		func() error { _, err := sc.V2CoreEventDestinations.Enable(ctx, "ed_test_none", nil); return err },
		func() error { _, err := sc.V2CoreEventDestinations.Ping(ctx, "ed_test_none", nil); return err },
		func() error { _, err := sc.V2CoreEventDestinations.Delete(ctx, "ed_test_none", nil); return err },
		func() error { _, err := sc.V2CoreEvents.Retrieve(ctx, "evt_test_none", nil); return err },
	} {
		wantV2Error(t, call(), http.StatusNotFound, "not_found")
	}
	_, err = sc.V2CoreEventDestinations.Create(ctx, createParams("", "http://127.0.0.1:9/hook"))
	wantV2Error(t, err, http.StatusBadRequest, "invalid_fields")

	var v1 *stripe.Error
	if _, err = sc.V1Events.Retrieve(ctx, "evt_none", nil); !errors.As(err, &v1) {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	if v1.HTTPStatusCode != http.StatusNotFound || v1.Type != stripe.ErrorTypeInvalidRequest || v1.Code != stripe.ErrorCodeResourceMissing || v1.RequestID == "" {
		t.Errorf("v1: %+v", v1)
	}

	stranger := s.as("sk_test_0000000000000000000000000").sdk()
	_, err = stranger.V2CoreEventDestinations.Retrieve(ctx, "ed_test_none", nil)
	wantV2Error(t, err, http.StatusUnauthorized, "unauthorized")
	if _, err = stranger.V1Events.Retrieve(ctx, "evt_none", nil); !errors.As(err, &v1) || v1.HTTPStatusCode != http.StatusUnauthorized {
		t.Errorf("v1: %v", err)
	}
}

// wantV2Error checks the error that stripe-go makes of an API v2 error body.
func wantV2Error(t *testing.T, err error, status int, code string) {
	t.Helper()
	var raw *stripe.V2RawError
	if !errors.As(err, &raw) {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	if raw.HTTPStatusCode != status || raw.Code != code || raw.Message == "" || raw.RequestID == "" {
		t.Errorf("the error is %+v, want %d %s", raw, status, code)
	}
}

func TestStripeGoIdempotency(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sc, ctx := s.sdk(), t.Context()
	create := func(name string) (*stripe.V2CoreEventDestination, error) {
		p := createParams(name, "http://127.0.0.1:9/hook")
		p.IdempotencyKey = stripe.String("create-once")
		p.Include = stripe.StringSlice([]string{includeSecret})
		return sc.V2CoreEventDestinations.Create(ctx, p)
	}
	first, err := create("d")
	if err != nil {
		t.Fatal(err)
	}
	again, err := create("d")
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != first.ID || again.WebhookEndpoint.SigningSecret != first.WebhookEndpoint.SigningSecret {
		t.Errorf("the repeat is %+v, want %+v", again, first)
	}
	_, err = create("another")
	wantV2Error(t, err, http.StatusConflict, "idempotency_error")
	if ids := s.get("/v2/core/event_destinations").ok().ids(); !slices.Equal(ids, []string{first.ID}) {
		t.Errorf("there are %v", ids)
	}

	// A request that failed takes no key: corrected, it may use it.
	p := createParams("", "http://127.0.0.1:9/hook")
	p.IdempotencyKey = stripe.String("failed-first")
	_, err = sc.V2CoreEventDestinations.Create(ctx, p)
	wantV2Error(t, err, http.StatusBadRequest, "invalid_fields")
	p.Name = stripe.String("corrected")
	if _, err = sc.V2CoreEventDestinations.Create(ctx, p); err != nil {
		t.Error(err)
	}

	// API v2 repeats a delete too.
	for range 2 {
		p := &stripe.V2CoreEventDestinationDeleteParams{}
		p.IdempotencyKey = stripe.String("delete-once")
		gone, err := sc.V2CoreEventDestinations.Delete(ctx, first.ID, p)
		if err != nil {
			t.Fatal(err)
		}
		if gone.ID != first.ID {
			t.Errorf("deleted %s", gone.ID)
		}
	}
	ids := s.get("/v2/core/event_destinations").ok().ids()
	ping := func() string {
		t.Helper()
		p := &stripe.V2CoreEventDestinationPingParams{}
		p.IdempotencyKey = stripe.String("ping-once")
		e, err := sc.V2CoreEventDestinations.Ping(ctx, ids[0], p)
		if err != nil {
			t.Fatal(err)
		}
		return e.(*stripe.V2CoreEventDestinationPingEvent).ID
	}
	if a, b := ping(), ping(); a != b {
		t.Errorf("the same ping made %s and %s", a, b)
	}
}
