package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/sign"
)

// inbox is an endpoint that takes everything as it comes.
type inbox struct {
	t   *testing.T
	url string
	got chan post
}

// newInbox answers each post with a status.
func newInbox(t *testing.T, status func(post) int) *inbox {
	t.Helper()
	in := &inbox{t: t, got: make(chan post, 1024)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		p := post{path: r.URL.Path, header: r.Header, body: body, at: time.Now()}
		w.WriteHeader(status(p))
		in.got <- p
	}))
	t.Cleanup(s.Close)
	in.url = s.URL
	return in
}

func taken(post) int { return http.StatusOK }

func (in *inbox) next() post {
	in.t.Helper()
	select {
	case p := <-in.got:
		return p
	case <-time.After(patience):
		in.t.Fatal("nothing was delivered")
		return post{}
	}
}

// to creates a destination with Waybill's own settings and returns the answer.
func (in *inbox) to(c client, settings object) answer {
	in.t.Helper()
	return c.post("/v2/core/event_destinations", object{
		"name": "d", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{"*"},
		"webhook_endpoint": object{"url": in.url + "/hook"}, "include": []string{"webhook_endpoint.signing_secret"}, "waybill": settings,
	}).ok()
}

func TestSecretsAreRolledWithAnOverlap(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	in := newInbox(t, taken)
	made := in.to(s.client, nil)
	roll := "/v2/core/event_destinations/" + made.text("id") + "/roll_secret"
	old := made.text("webhook_endpoint", "signing_secret")

	s.post(roll, object{}).refused(400, "expires_after")
	s.post(roll, object{"expires_after": 86401}).refused(400, "86400")
	rolled := s.post(roll, object{"expires_after": 3600, "include": []string{"webhook_endpoint.signing_secret"}}).ok()
	fresh := rolled.text("webhook_endpoint", "signing_secret")
	if fresh == old || !strings.HasPrefix(fresh, "whsec_") || rolled.text("waybill", "previous_secrets_end") == "" {
		t.Errorf("rolled to %s", rolled.body)
	}
	if shown := s.get("/v2/core/event_destinations/" + made.text("id")).ok(); strings.Contains(string(shown.body), fresh) {
		t.Error("the secret is shown again")
	}
	s.publish(customer("customer.created", "cus_1"))
	p := in.next()
	for _, secret := range []string{old, fresh} {
		if _, err := webhook.ConstructEvent(p.body, p.header.Get("Stripe-Signature"), secret); err != nil {
			t.Errorf("stripe-go with one of both secrets: %v", err)
		}
	}
	if again := s.post(roll, object{"expires_after": 0}).ok(); again.at("webhook_endpoint", "signing_secret") != nil || again.at("waybill", "previous_secrets_end") != nil {
		t.Errorf("rolled to %s", again.body)
	}
	s.publish(customer("customer.created", "cus_2"))
	p = in.next()
	for _, secret := range []string{old, fresh} {
		if _, err := webhook.ConstructEvent(p.body, p.header.Get("Stripe-Signature"), secret); err == nil {
			t.Error("a secret that was ended still signs")
		}
	}
}

func TestFormatsSignaturesAndHeaders(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	in := newInbox(t, taken)
	made := in.to(s.client, object{
		"payload_format": "standard_webhooks", "signatures": []string{"standard_webhooks", "standard_webhooks_ed25519"},
		"headers": object{"authorization": "Bearer s3cret", "X-Tenant": "7"},
	})
	path := "/v2/core/event_destinations/" + made.text("id")
	secret, public := made.text("webhook_endpoint", "signing_secret"), made.text("waybill", "public_key")
	if strings.Contains(string(made.body), "s3cret") || fmt.Sprint(made.at("waybill", "header_names")) != "[Authorization X-Tenant]" {
		t.Errorf("made %s", made.body)
	}
	id := s.publish(customer("customer.created", "cus_1"))
	p := in.next()
	var wrapped struct {
		Type, Timestamp string
		Data            stripe.Event
	}
	if err := json.Unmarshal(p.body, &wrapped); err != nil || wrapped.Type != "customer.created" || wrapped.Data.ID != id {
		t.Errorf("%v: %s", err, p.body)
	}
	if p.header.Get("Stripe-Signature") != "" || p.header.Get("Webhook-Id") != id || p.header.Get("Authorization") != "Bearer s3cret" || p.header.Get("X-Tenant") != "7" {
		t.Errorf("headers: %v", p.header)
	}
	for _, with := range []string{secret, public} {
		if err := sign.VerifyStandard(p.header, p.body, []string{with}, time.Now(), 0); err != nil {
			t.Errorf("%s: %v", with[:6], err)
		}
	}

	s.post(path, object{"waybill": object{"payload_format": "cloudevents", "signatures": []string{"stripe"}, "headers": object{"X-Tenant": nil}}}).ok()
	id = s.publish(customer("customer.created", "cus_2"))
	p = in.next()
	var cloud struct {
		SpecVersion, ID, Source, Type, Subject string
		Data                                   stripe.Event
	}
	if err := json.Unmarshal(p.body, &cloud); err != nil || cloud.SpecVersion != "1.0" || cloud.ID != id || cloud.Subject != "cus_2" || cloud.Data.ID != id ||
		p.header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("%v: %s", err, p.body)
	}
	if err := webhook.ValidatePayload(p.body, p.header.Get("Stripe-Signature"), secret); err != nil || p.header.Get("X-Tenant") != "" || p.header.Get("Webhook-Id") != "" {
		t.Errorf("%v, headers %v", err, p.header)
	}

	s.post(path, object{"waybill": object{"payload_format": "cloudevents_binary"}}).ok()
	id = s.publish(customer("customer.created", "cus_3"))
	p = in.next()
	if got, err := webhook.ConstructEvent(p.body, p.header.Get("Stripe-Signature"), secret); err != nil || got.ID != id || p.header.Get("Ce-Id") != id || p.header.Get("Ce-Subject") != "cus_3" {
		t.Errorf("%v, headers %v", err, p.header)
	}

	// A restart opens what was sealed; the SDK sees nothing that disturbs it.
	s.restart()
	s.publish(customer("customer.created", "cus_4"))
	if p = in.next(); p.header.Get("Authorization") != "Bearer s3cret" {
		t.Errorf("headers: %v", p.header)
	}
	d, err := s.sdk().V2CoreEventDestinations.Update(t.Context(), made.text("id"), &stripe.V2CoreEventDestinationUpdateParams{Name: stripe.String("renamed")})
	if err != nil || d.Name != "renamed" || s.get(path).ok().text("waybill", "payload_format") != "cloudevents_binary" {
		t.Errorf("%+v, %v", d, err)
	}
	s.post(path, object{"waybill": object{"headers": object{"Stripe-Signature": "x"}}}).refused(400, "waybill.headers.Stripe-Signature", "reserved")
	s.post(path, object{"waybill": object{"public_key": "x"}}).refused(400, "waybill.public_key")
}

func TestDeliveriesOfOneObjectKeepTheirOrder(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var mu sync.Mutex
	failed := map[string]bool{}
	in := newInbox(t, func(p post) int {
		mu.Lock()
		defer mu.Unlock()
		if id := string(p.body[:30]); strings.Contains(string(p.body), `"n":3`) && !failed[id] {
			failed[id] = true
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	in.to(s.client, object{"ordering": "related_object", "rate_limit": object{"per_second": 1000}})
	for n := range 6 {
		for _, id := range []string{"cus_1", "cus_2", "cus_3"} {
			s.publish(object{"type": "customer.updated", "data": object{"object": object{"id": id, "object": "customer", "n": n}}})
		}
	}
	got := map[string][]int{}
	for range 3 * 7 {
		var e struct {
			Data struct {
				Object struct {
					ID string
					N  int
				}
			}
		}
		if err := json.Unmarshal(in.next().body, &e); err != nil {
			t.Fatal(err)
		}
		got[e.Data.Object.ID] = append(got[e.Data.Object.ID], e.Data.Object.N)
	}
	for id, order := range got {
		if !slices.Equal(order, []int{0, 1, 2, 3, 3, 4, 5}) {
			t.Errorf("%s: %v", id, order)
		}
	}
}

func TestWhatKeepsFailingIsWarnedAndDisabled(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *config.Config) { c.DisableAfter = 2 * time.Second })
	var mended atomic.Bool
	in := newInbox(t, func(post) int {
		if mended.Load() {
			return http.StatusOK
		}
		return http.StatusInternalServerError
	})
	told := newInbox(t, taken)
	made := s.post("/v2/core/event_destinations", object{
		"name": "ops", "type": "webhook_endpoint", "event_payload": "thin", "webhook_endpoint": object{"url": told.url},
		"enabled_events": []string{"v2.core.event_destination.failing", "v2.core.event_destination.disabled"},
	})
	made.ok()
	ed := in.to(s.client, nil).text("id")
	path := "/v2/core/event_destinations/" + ed
	for i := range 4 {
		s.publish(customer("customer.created", fmt.Sprint("cus_", i)))
	}
	until(t, "it is shown to fail", func() bool { return s.get(path).ok().at("waybill", "failing_since") != nil })
	hear := func(typ string) {
		t.Helper()
		var n struct {
			ID, Type      string
			RelatedObject struct{ ID, URL string } `json:"related_object"`
		}
		if err := json.Unmarshal(told.next().body, &n); err != nil || n.Type != typ || n.RelatedObject.ID != ed || n.RelatedObject.URL != path {
			t.Fatalf("%v: %+v, want %s", err, n, typ)
		}
		if _, err := s.sdk().V2CoreEvents.Retrieve(t.Context(), n.ID, nil); err != nil {
			t.Errorf("stripe-go cannot retrieve it: %v", err)
		}
	}
	// Deliveries go on failing while somebody publishes.
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
				s.publish(customer("customer.created", "cus_9"))
			}
		}
	})
	hear("v2.core.event_destination.failing")
	if s.get(path).ok().at("waybill", "disables_at") == nil {
		t.Error("it is not shown when it is going to be disabled")
	}
	hear("v2.core.event_destination.disabled")
	close(stop)
	publishing.Wait()
	until(t, "it is disabled", func() bool { return s.get(path).ok().text("status") == "disabled" })
	if reason := s.get(path).ok().text("status_details", "disabled", "reason"); reason != "webhook_failing" {
		t.Errorf("reason %s", reason)
	}
	mended.Store(true)
	enabled := s.post(path+"/enable", object{}).ok()
	if enabled.text("status") != "enabled" || enabled.at("waybill", "failing_since") != nil {
		t.Errorf("enabled: %s", enabled.body)
	}
	s.awaitDeliveryTo(s.publish(customer("customer.created", "cus_5")), ed)
}

// awaitDeliveryTo waits until an event is delivered to a destination.
func (c client) awaitDeliveryTo(event, destination string) {
	c.t.Helper()
	until(c.t, "delivered", func() bool {
		return slices.ContainsFunc(c.deliveries("event="+event), func(d delivery) bool {
			return d.EventDestination == destination && d.Status == "delivered"
		})
	})
}

// Events of one object that two nodes accept in turn come in that order.
func TestOrderHoldsAcrossNodes(t *testing.T) {
	t.Parallel()
	nodes := newNodes(t, 2)
	in := newInbox(t, taken)
	in.to(nodes[0].client, object{"ordering": "related_object"})
	var want []string
	for i := range 12 {
		want = append(want, nodes[i%2].publish(customer("customer.updated", "cus_1")))
	}
	for i, id := range want {
		var e struct{ ID string }
		if err := json.Unmarshal(in.next().body, &e); err != nil || e.ID != id {
			t.Fatalf("delivery %d is of %s, want %s (%v)", i, e.ID, id, err)
		}
	}
}
