package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/config"
)

// once has failed deliveries tried again after a second or so.
var once = object{"retry_schedule": []int{1}}

var never = object{"retry_schedule": []int{}}

// hourly is a schedule whose retries no test lives to see.
var hourly = object{"retry_schedule": []int{3600}}

// signedAt returns the time in a signature header.
func signedAt(t *testing.T, p post) int64 {
	t.Helper()
	text, _, _ := strings.Cut(strings.TrimPrefix(p.header.Get("Stripe-Signature"), "t="), ",")
	at, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestDevRetriesAfterOneTwoAndFourSeconds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, always(reply{status: 500, header: map[string]string{"X-Trace": "abc"}, body: "out of order"}))
	ed := s.destination(r, "/hook", nil)
	id := s.publish(customer("customer.created", "cus_1"))

	d := s.awaitAttempts(id, 1)
	if d.Status != "pending" || d.NextAttemptAt == nil || d.EventDestination != ed || d.EventType != "customer.created" ||
		d.LastAttempt.StatusCode != 500 || d.LastAttempt.ErrorClass != "http_status" || d.Livemode {
		t.Errorf("after the first try: %+v", d)
	}
	d = s.awaitDelivery(id, "failed")
	if d.AttemptCount != 4 || d.NextAttemptAt != nil {
		t.Errorf("at the end: %+v", d)
	}
	tries := s.attempts(d.ID)
	if len(tries) != 4 {
		t.Fatalf("%d attempts are recorded", len(tries))
	}
	for i, a := range tries {
		if a.Run != 0 || a.Attempt != i+1 || a.Outcome != "failed" || a.ErrorClass != "http_status" || a.StatusCode != 500 ||
			a.Message == "" || a.ResponseHeaders["X-Trace"] != "abc" || a.ResponseBody == nil || *a.ResponseBody != "out of order" || a.Truncated ||
			a.FirstByteMS == nil || *a.FirstByteMS <= 0 || a.DurationMS < *a.FirstByteMS {
			t.Errorf("attempt %d: %+v", i+1, a)
		}
		if i == 3 {
			if a.NextAttemptAt != nil {
				t.Errorf("the last attempt has a next: %v", a.NextAttemptAt)
			}
			continue
		}
		nominal := time.Second << i
		if wait := a.NextAttemptAt.Sub(a.StartedAt); wait < nominal*8/10 || wait > nominal*12/10+time.Second {
			t.Errorf("after attempt %d the next is due in %s, want about %s", i+1, wait, nominal)
		}
		if early := a.NextAttemptAt.Sub(tries[i+1].StartedAt); early > 2*time.Millisecond {
			t.Errorf("attempt %d began %s before it was due", i+2, early)
		}
	}
	// The receiver verified each signature. Here each is to be a new one.
	for previous, i := r.next(), 1; i < 4; i++ {
		p := r.next()
		if signedAt(t, p) <= signedAt(t, previous) || p.header.Get("Stripe-Signature") == previous.header.Get("Stripe-Signature") {
			t.Errorf("attempt %d is signed %q, the one before %q", i+1, p.header.Get("Stripe-Signature"), previous.header.Get("Stripe-Signature"))
		}
		if string(p.body) != string(previous.body) {
			t.Errorf("attempt %d has another body: %s, before %s", i+1, p.body, previous.body)
		}
		previous = p
	}
}

func TestRetrySucceeds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, inTurn(reply{status: 500}, reply{status: 201, body: "made"}))
	s.destination(r, "/hook", once)
	id := s.publish(customer("customer.created", "cus_1"))
	d := s.awaitDelivery(id, "delivered")
	tries := s.attempts(d.ID)
	if d.AttemptCount != 2 || len(tries) != 2 || d.LastAttempt.StatusCode != 201 || d.LastAttempt.ErrorClass != "" || d.NextAttemptAt != nil {
		t.Fatalf("delivery %+v, attempts %+v", d, tries)
	}
	if a := tries[1]; a.Outcome != "succeeded" || a.ErrorClass != "" || a.Message != "" || *a.ResponseBody != "made" || a.NextAttemptAt != nil {
		t.Errorf("second attempt: %+v", a)
	}
}

func TestDefaultSchedules(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *config.Config) { c.Dev, c.AllowNetwork = false, []string{"127.0.0.1/32"} })
	r := newReceiver(t, always(reply{status: 500}))
	for key, nominal := range map[string]time.Duration{testKey: 5 * time.Minute, liveKey: 30 * time.Second} {
		c := s.as(key)
		// In live mode this fails for want of TLS, which is as good a failure.
		c.destination(r, "/hook", object{"webhook_endpoint": object{"url": map[string]string{
			testKey: r.url + "/hook", liveKey: "https" + strings.TrimPrefix(r.url, "http") + "/hook",
		}[key]}})
		d := c.awaitAttempts(c.publish(customer("customer.created", "cus_1")), 1)
		if wait := d.NextAttemptAt.Sub(d.LastAttempt.At); d.Status != "pending" || wait < nominal*8/10 || wait > nominal*12/10+patience {
			t.Errorf("%s: the next try is due in %s, want about %s: %+v", key[:8], wait, nominal, d)
		}
	}
}

func TestChangesHoldForWhatWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, func(p post) reply {
		if p.path == "/old" {
			return reply{status: 500}
		}
		return reply{}
	})
	ed := s.destination(r, "/old", object{"retry_schedule": []int{2}, "enabled_events": []string{"customer.created"}})
	id := s.publish(customer("customer.created", "cus_1"))
	s.awaitAttempts(id, 1)
	r.trust("/new", r.secret("/old"))
	s.post("/v2/core/event_destinations/"+ed, object{
		"webhook_endpoint": object{"url": r.url + "/new"}, "enabled_events": []string{"customer.deleted"},
	}).ok()
	// The next event goes by the new configuration, and so does the retry.
	next := s.publish(customer("customer.deleted", "cus_1"))
	if d := s.deliveries("event=" + s.publish(customer("customer.created", "cus_2"))); len(d) != 0 {
		t.Errorf("a type that is no longer selected is delivered: %+v", d)
	}
	s.awaitDelivery(next, "delivered")
	s.awaitDelivery(id, "delivered")
	if got := r.received("/new"); !slices.Equal(got, []string{next, id}) {
		t.Errorf("the new URL received %v, want %s and %s", got, next, id)
	}
}

func TestARecoveredDestinationIsServedAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, always(reply{status: 500}))
	ed := s.destination(r, "/hook", hourly)
	const n = 40
	events := make([]object, n)
	for i := range events {
		events[i] = customer("customer.created", fmt.Sprint("cus_", i))
	}
	ids := s.post("/v2/core/events", batch(events...)).ok().ids()
	until(t, "all have failed once", func() bool { return len(r.received("/hook")) >= n })
	for _, id := range ids {
		s.awaitAttempts(id, 1)
	}
	if got := r.received("/hook"); !same(got, ids) {
		t.Errorf("received %d, want each of %d once", len(got), n)
	}
	r.mu.Lock()
	r.answer = always(reply{})
	r.mu.Unlock()
	before := time.Now()
	s.awaitDelivery(s.publish(customer("customer.created", "cus_new")), "delivered")
	for _, id := range ids {
		s.resend(id, ed).ok()
	}
	until(t, "all resends have succeeded", func() bool { return len(s.deliveries("status=delivered&limit=100")) == n+1 })
	if took := time.Since(before); took > patience/2 {
		t.Errorf("it took %s", took)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, always(reply{status: 307, header: map[string]string{"Location": "/elsewhere"}}))
	s.destination(r, "/hook", never)
	r.trust("/elsewhere", r.secret("/hook"))
	d := s.awaitDelivery(s.publish(customer("customer.created", "cus_1")), "failed")
	a := s.attempts(d.ID)
	if len(a) != 1 || a[0].ErrorClass != "redirect" || a[0].StatusCode != 307 || !strings.Contains(a[0].Message, "never followed") {
		t.Errorf("attempts %+v", a)
	}
	if got := r.received("/elsewhere"); len(got) != 0 {
		t.Errorf("the redirect was followed: %v", got)
	}
}

func TestGoneDisables(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, always(reply{status: 410}))
	ed := s.destination(r, "/hook", once)
	d := s.awaitDelivery(s.publish(customer("customer.created", "cus_1")), "failed")
	if d.AttemptCount != 1 || d.LastAttempt.ErrorClass != "gone" || d.NextAttemptAt != nil {
		t.Errorf("delivery %+v", d)
	}
	until(t, "the destination is disabled", func() bool {
		return s.get("/v2/core/event_destinations/"+ed).ok().text("status") == "disabled"
	})
	if reason := s.get("/v2/core/event_destinations/"+ed).text("status_details", "disabled", "reason"); reason != "endpoint_gone" {
		t.Errorf("it is disabled because of %q", reason)
	}
	if d := s.awaitDelivery(s.publish(customer("customer.created", "cus_2")), "discarded"); d.Reason != "destination_disabled" {
		t.Errorf("delivery %+v", d)
	}
	if n := len(r.received("/hook")); n != 1 {
		t.Errorf("%d events were sent", n)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			r := newReceiver(t, always(reply{status: status, header: map[string]string{"Retry-After": "120"}}))
			s.destination(r, "/hook", once)
			before := time.Now()
			d := s.awaitAttempts(s.publish(customer("customer.created", "cus_1")), 1)
			if wait := d.NextAttemptAt.Sub(before); wait < 120*time.Second || wait > 120*time.Second+patience {
				t.Errorf("the next try is due in %s", wait)
			}
		})
	}
	t.Run("other statuses have no say", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		r := newReceiver(t, inTurn(reply{status: 500, header: map[string]string{"Retry-After": "120"}}))
		s.destination(r, "/hook", once)
		s.awaitDelivery(s.publish(customer("customer.created", "cus_1")), "delivered")
	})
}

func TestDisabledBeforeARetryStopsIt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, inTurn(reply{status: 500}))
	ed := s.destination(r, "/hook", object{"retry_schedule": []int{2}})
	id := s.publish(customer("customer.created", "cus_1"))
	s.awaitAttempts(id, 1)
	s.post("/v2/core/event_destinations/"+ed+"/disable", "").ok()
	d := s.awaitDelivery(id, "discarded")
	if d.Reason != "destination_disabled" || d.AttemptCount != 1 || d.NextAttemptAt != nil || d.LastAttempt.StatusCode != 500 {
		t.Errorf("delivery %+v", d)
	}
	tries := s.attempts(d.ID)
	if len(tries) != 2 || tries[0].Outcome != "failed" || tries[1].Outcome != "discarded" || tries[1].Message != "destination_disabled" {
		t.Errorf("attempts %+v", tries)
	}
	s.post("/v2/core/event_destinations/"+ed+"/enable", "").ok()
	later := s.publish(customer("customer.created", "cus_2"))
	s.awaitDelivery(later, "delivered")
	if got := r.received("/hook"); !slices.Equal(got, []string{id, later}) {
		t.Errorf("received %v, want %s once and %s", got, id, later)
	}
}

func TestEnabledAgainBeforeARetryGoesAhead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, inTurn(reply{status: 500}))
	ed := s.destination(r, "/hook", object{"retry_schedule": []int{3}})
	id := s.publish(customer("customer.created", "cus_1"))
	s.awaitAttempts(id, 1)
	s.post("/v2/core/event_destinations/"+ed+"/disable", "").ok()
	s.post("/v2/core/event_destinations/"+ed+"/enable", "").ok()
	if d := s.awaitDelivery(id, "delivered"); d.AttemptCount != 2 {
		t.Errorf("delivery %+v", d)
	}
}

func TestWhatArrivesWhileDisabledIsDiscarded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, nil)
	ed := s.destination(r, "/hook", nil)
	s.post("/v2/core/event_destinations/"+ed+"/disable", "{}").ok()
	made := s.post("/v2/core/events", customer("customer.created", "cus_1")).ok()
	if n := made.at("pending_webhooks"); n != 0.0 {
		t.Errorf("%v webhooks are pending", n)
	}
	lost := made.text("id")
	listed := s.deliveries("status=discarded&destination=" + ed)
	if len(listed) != 1 || listed[0].Event != lost || listed[0].Reason != "destination_disabled" || listed[0].AttemptCount != 0 || listed[0].LastAttempt != nil {
		t.Errorf("discarded: %+v", listed)
	}
	if tries := s.attempts(listed[0].ID); len(tries) != 0 {
		t.Errorf("attempts %+v", tries)
	}
	s.post("/v2/core/event_destinations/"+ed+"/enable", "{}").ok()
	later := s.publish(customer("customer.created", "cus_2"))
	s.awaitDelivery(later, "delivered")
	if got := r.received("/hook"); !slices.Equal(got, []string{later}) {
		t.Errorf("received %v, want only %s", got, later)
	}
	// Asked for, it is sent after all.
	s.resend(lost, ed).ok()
	if d := s.awaitDelivery(lost, "delivered"); d.AttemptCount != 1 || d.Reason != "" {
		t.Errorf("resent: %+v", d)
	}
}

func TestDeletionClosesWhatWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, always(reply{status: 500}))
	ed := s.destination(r, "/hook", hourly)
	id := s.publish(customer("customer.created", "cus_1"))
	s.awaitAttempts(id, 1)
	s.delete("/v2/core/event_destinations/" + ed).ok()
	d := s.awaitDelivery(id, "discarded")
	if d.Reason != "destination_deleted" || d.EventDestination != ed || d.NextAttemptAt != nil || d.AttemptCount != 1 {
		t.Errorf("delivery %+v", d)
	}
	if d := s.deliveries("event=" + s.publish(customer("customer.created", "cus_2"))); len(d) != 0 {
		t.Errorf("a later event still has deliveries: %+v", d)
	}
	if n := len(r.received("/hook")); n != 1 {
		t.Errorf("%d events were sent", n)
	}
}

func TestThinTwin(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/snapshot", object{"enabled_events": []string{"customer.updated"}})
	s.destination(r, "/thin", object{"event_payload": "thin", "enabled_events": []string{"v1.customer.updated"}})
	e := object{
		"type": "customer.updated", "request": object{"id": "req_1"},
		"data": object{
			"object":              object{"id": "cus_1", "object": "customer", "name": "Jenny Rosen", "email": "j@example.com"},
			"previous_attributes": object{"name": "Jenny"},
		},
	}
	snapshot := s.publish(e)
	byPath := map[string]post{}
	for range 2 {
		p := r.next()
		byPath[p.path] = p
	}
	if byPath["/snapshot"].id() != snapshot {
		t.Errorf("the snapshot is %s, want %s", byPath["/snapshot"].id(), snapshot)
	}
	pushed := byPath["/thin"]
	if pushed.thin == nil || pushed.thin.Type != "v1.customer.updated" || pushed.thin.ID == snapshot {
		t.Fatalf("the twin is %s", pushed.body)
	}
	for _, absent := range []string{"snapshot_event", "changes", `"data"`, snapshot} {
		if strings.Contains(string(pushed.body), absent) {
			t.Errorf("the notification has %s: %s", absent, pushed.body)
		}
	}
	full := s.get("/v2/core/events/" + pushed.id()).ok()
	if full.text("snapshot_event") != snapshot || full.text("related_object", "url") != "/v1/customers/cus_1" ||
		full.text("changes", "before", "name") != "Jenny" || full.text("changes", "after", "name") != "Jenny Rosen" ||
		full.text("reason", "request", "id") != "req_1" || full.at("data") != nil {
		t.Errorf("the twin as retrieved: %s", full.body)
	}
	if after, ok := full.at("changes", "after").(map[string]any); !ok || len(after) != 1 {
		t.Errorf("changes show more than what changed: %s", full.body)
	}
	// Each is found as its own kind only.
	s.get("/v1/events/" + pushed.id()).refused(http.StatusNotFound)
	s.get("/v2/core/events/" + snapshot).refused(http.StatusNotFound)

	// Where nobody selects the twin there is none.
	s.publish(customer("customer.created", "cus_1"))
	if ids := s.get("/v2/core/events").ok().ids(); !slices.Equal(ids, []string{pushed.id()}) {
		t.Errorf("thin events %v, want only %s", ids, pushed.id())
	}
}

func TestSnapshotAPIVersionRelabels(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	r.anyVersion = true
	s.destination(r, "/pinned", object{"snapshot_api_version": "2024-06-20"})
	s.destination(r, "/plain", nil)
	e := customer("customer.created", "cus_1")
	e["api_version"] = "2025-09-30.clover"
	id := s.publish(e)
	for range 2 {
		p := r.next()
		want := map[string]string{"/pinned": "2024-06-20", "/plain": "2025-09-30.clover"}[p.path]
		if p.event.APIVersion != want || p.event.ID != id {
			t.Errorf("%s got version %q, want %q", p.path, p.event.APIVersion, want)
		}
	}
	if v := s.get("/v1/events/" + id).ok().text("api_version"); v != "2025-09-30.clover" {
		t.Errorf("the API shows version %q", v)
	}
}

func TestPendingWebhooks(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, func(p post) reply {
		if p.path == "/broken" {
			return reply{status: 500}
		}
		return reply{}
	})
	s.destination(r, "/works", nil)
	broken := s.destination(r, "/broken", never)
	off := s.destination(r, "/off", nil)
	s.post("/v2/core/event_destinations/"+off+"/disable", "").ok()
	made := s.post("/v2/core/events", customer("customer.created", "cus_1")).ok()
	if n := made.at("pending_webhooks"); n != 2.0 {
		t.Errorf("published with %v pending", n)
	}
	for range 2 {
		if p := r.next(); p.event.PendingWebhooks != 2 {
			t.Errorf("pushed with %d pending", p.event.PendingWebhooks)
		}
	}
	id := made.text("id")
	until(t, "both are settled", func() bool { return len(s.deliveries("status=pending&event="+id)) == 0 })
	pending := func() any { t.Helper(); return s.get("/v1/events/" + id).ok().at("pending_webhooks") }
	if n := pending(); n != 1.0 {
		t.Errorf("%v are pending after one failed", n)
	}
	if ids := s.get("/v1/events?delivery_success=false").ok().ids(); !slices.Equal(ids, []string{id}) {
		t.Errorf("undelivered: %v", ids)
	}
	r.mu.Lock()
	r.answer = always(reply{})
	r.mu.Unlock()
	s.resend(id, broken).ok()
	until(t, "none is pending", func() bool { return pending() == 0.0 })
	if ids := s.get("/v1/events?delivery_success=true").ok().ids(); !slices.Equal(ids, []string{id}) {
		t.Errorf("delivered: %v", ids)
	}
}

func TestResendIsARunOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, inTurn(reply{status: 500}, reply{status: 503}))
	ed := s.destination(r, "/hook", object{"retry_schedule": []int{3}})
	id := s.publish(customer("customer.created", "cus_1"))
	due := s.awaitAttempts(id, 1).NextAttemptAt
	if got := s.resend(id, ed).ok().text("id"); got != id {
		t.Errorf("resending answered with %s", got)
	}
	// It fails too, is not tried again, and leaves the schedule as it is.
	d := s.awaitAttempts(id, 2)
	if d.Status != "pending" || d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(*due) {
		t.Errorf("after a failed resend: %+v, was due %s", d, due)
	}
	s.resend(id, ed).ok()
	d = s.awaitAttempts(id, 3)
	if d.Status != "delivered" {
		t.Errorf("after a successful resend: %+v", d)
	}
	d = s.awaitAttempts(id, 4) // the scheduled one
	tries := s.attempts(d.ID)
	if len(tries) != 4 {
		t.Fatalf("%d attempts: %+v", len(tries), tries)
	}
	slices.SortStableFunc(tries, func(a, b attempt) int { return a.StartedAt.Compare(b.StartedAt) })
	for i, want := range []struct {
		scheduled bool
		n         int
		outcome   string
	}{{true, 1, "failed"}, {false, 1, "failed"}, {false, 1, "succeeded"}, {true, 2, "succeeded"}} {
		a := tries[i]
		if (a.Run == 0) != want.scheduled || a.Attempt != want.n || a.Outcome != want.outcome {
			t.Errorf("attempt %d is %+v, want %+v", i, a, want)
		}
	}
	if tries[1].Run == tries[2].Run || tries[1].NextAttemptAt != nil {
		t.Errorf("resends %+v and %+v", tries[1], tries[2])
	}
}

func TestResendIsRefusedClearly(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	ed := s.destination(r, "/hook", nil)
	light := s.destination(r, "/thin", object{"event_payload": "thin", "enabled_events": []string{"v1.invoice.paid"}})
	id := s.publish(customer("customer.created", "cus_1"))
	s.awaitDelivery(id, "delivered")
	s.post("/v2/core/event_destinations/"+ed+"/disable", "").ok()
	s.resend(id, ed).refused(http.StatusBadRequest, "disabled", "Enable it")
	s.resend(id, light).refused(http.StatusBadRequest, "thin")
	s.resend(id, "ed_test_none").refused(http.StatusNotFound, "ed_test_none")
	s.resend("evt_test_none", ed).refused(http.StatusNotFound, "evt_test_none")
	if n := len(r.received("/hook")); n != 1 {
		t.Errorf("%d events were sent", n)
	}
}

func TestResendReachesWhoDidNotSelectTheEvent(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, func(p post) reply {
		if p.path == "/fails" {
			return reply{status: 500}
		}
		return reply{}
	})
	fails := s.destination(r, "/fails", never)
	id := s.publish(customer("customer.created", "cus_1"))
	s.awaitDelivery(id, "failed")
	r.next()
	works := s.destination(r, "/works", object{"enabled_events": []string{"invoice.paid"}})
	s.resend(id, works).ok()
	if p := r.next(); p.id() != id || p.path != "/works" {
		t.Errorf("received %s at %s", p.id(), p.path)
	}
	// What was sent must be found: nothing happens out of sight.
	until(t, "the delivery is listed", func() bool {
		d := s.deliveries("destination=" + works)
		return len(d) == 1 && d[0].Event == id && d[0].Status == "delivered" && d[0].AttemptCount == 1 && len(s.attempts(d[0].ID)) == 1
	})
	if d := s.deliveries("event=" + id); len(d) != 2 {
		t.Errorf("deliveries %+v", d)
	}
	// But it makes up for nothing that the event was meant for.
	if d := s.deliveries("status=failed"); len(d) != 1 || d[0].EventDestination != fails {
		t.Errorf("failed: %+v", d)
	}
	if n := s.get("/v1/events/" + id).ok().at("pending_webhooks"); n != 1.0 {
		t.Errorf("%v webhooks are pending", n)
	}
}

func TestModesAreSeparate(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	live := s.as(liveKey)
	ed := s.destination(r, "/test", nil)
	liveED := live.post("/v2/core/event_destinations", object{
		"name": "live", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{"*"},
		"webhook_endpoint": object{"url": "https" + strings.TrimPrefix(r.url, "http") + "/live"}, "retry_schedule": []int{},
	}).ok()
	if liveED.at("livemode") != any(true) || strings.HasPrefix(liveED.text("id"), "ed_test_") {
		t.Errorf("a live destination: %s", liveED.body)
	}
	inTest := s.publish(customer("customer.created", "cus_1"))
	inLive := live.publish(customer("customer.created", "cus_1"))
	if d := s.awaitDelivery(inTest, "delivered"); d.EventDestination != ed || d.Livemode {
		t.Errorf("in test mode: %+v", d)
	}
	// The receiver speaks no TLS; that it was tried is what counts.
	if d := live.awaitDelivery(inLive, "failed"); d.EventDestination != liveED.text("id") || !d.Livemode || d.LastAttempt.ErrorClass != "tls_error" {
		t.Errorf("in live mode: %+v", d)
	}
	for _, path := range []string{"/v2/core/event_destinations/" + ed, "/v1/events/" + inTest} {
		live.get(path).refused(http.StatusNotFound)
		s.get(path).ok()
	}
	for _, path := range []string{"/v2/core/event_destinations/" + liveED.text("id"), "/v1/events/" + inLive} {
		s.get(path).refused(http.StatusNotFound)
		live.get(path).ok()
	}
	if ids := s.get("/v1/events").ok().ids(); !slices.Equal(ids, []string{inTest}) {
		t.Errorf("test mode lists %v", ids)
	}
	if ids := live.get("/v2/core/event_destinations").ok().ids(); !slices.Equal(ids, []string{liveED.text("id")}) {
		t.Errorf("live mode lists %v", ids)
	}
}

func TestLiveModeNeedsHTTPS(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	create := object{
		"name": "d", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{"*"},
		"webhook_endpoint": object{"url": "http://127.0.0.1:9/hook"},
	}
	s.post("/v2/core/event_destinations", create).ok()
	s.as(liveKey).post("/v2/core/event_destinations", create).refused(http.StatusBadRequest, "https://")
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *config.Config) { c.Dev = false })
	for _, url := range []string{
		"http://127.0.0.1/hook", "http://10.1.2.3/", "http://192.168.0.1:8080/", "http://169.254.169.254/latest/meta-data",
		"http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[fd00::1]/", "http://0.0.0.0/", "http://localhost/", "http://a.localhost./",
		"http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/",
	} {
		s.post("/v2/core/event_destinations", object{
			"name": "d", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{"*"},
			"webhook_endpoint": object{"url": url},
		}).refused(http.StatusBadRequest, "--dev")
	}
	if ids := s.get("/v2/core/event_destinations").ok().ids(); len(ids) != 0 {
		t.Errorf("made %v", ids)
	}
}

func TestPrivateAddressesAreNotDialled(t *testing.T) {
	t.Parallel()
	// What was allowed when it was configured need not be any more.
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", never)
	s.restart(func(c *config.Config) { c.Dev = false })
	d := s.awaitDelivery(s.publish(customer("customer.created", "cus_1")), "failed")
	a := s.attempts(d.ID)
	if len(a) != 1 || a[0].ErrorClass != "address_blocked" || a[0].StatusCode != 0 || !strings.Contains(a[0].Message, "--allow-network") {
		t.Errorf("attempts %+v", a)
	}
	s.restart(func(c *config.Config) { c.AllowNetwork = []string{"127.0.0.1/32"} })
	s.awaitDelivery(s.publish(customer("customer.created", "cus_2")), "delivered")
	if got := r.received("/hook"); len(got) != 1 {
		t.Errorf("received %v", got)
	}
}

func TestTimeoutCoversTheWholeExchange(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]reply{
		"before the answer": {hold: make(chan struct{})},
		"inside the body":   {hold: make(chan struct{}), after: true, body: "and"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, func(c *config.Config) { c.DeliveryTimeout = 300 * time.Millisecond })
			s.destination(newReceiver(t, always(answer)), "/hook", never)
			d := s.awaitDelivery(s.publish(customer("customer.created", "cus_1")), "failed")
			a := s.attempts(d.ID)
			if len(a) != 1 || a[0].ErrorClass != "timeout" || a[0].DurationMS < 250 || a[0].DurationMS > 10_000 {
				t.Errorf("attempts %+v", a)
			}
		})
	}
}

func TestAnswersAreCut(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.destination(newReceiver(t, always(reply{body: strings.Repeat("x", 40<<10)})), "/hook", nil)
	d := s.awaitDelivery(s.publish(customer("customer.created", "cus_1")), "delivered")
	if a := s.attempts(d.ID); len(*a[0].ResponseBody) != 16<<10 || !a[0].Truncated {
		t.Errorf("kept %d bytes, truncated %v", len(*a[0].ResponseBody), a[0].Truncated)
	}
}

func TestUnreachableEndpoint(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", object{"retry_schedule": []int{}, "webhook_endpoint": object{"url": "http://127.0.0.1:1/hook"}})
	d := s.awaitDelivery(s.publish(customer("customer.created", "cus_1")), "failed")
	a := s.attempts(d.ID)
	if len(a) != 1 || a[0].ErrorClass != "connection_failed" || a[0].StatusCode != 0 || a[0].FirstByteMS != nil || a[0].ResponseBody != nil || a[0].Message == "" {
		t.Errorf("attempts %+v", a)
	}
}

func TestASlowDestinationDelaysNobody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	hang := make(chan struct{})
	r := newReceiver(t, func(p post) reply {
		switch p.path {
		case "/hangs":
			return reply{hold: hang}
		case "/fails":
			return reply{status: 500}
		}
		return reply{}
	})
	hangs := s.destination(r, "/hangs", nil)
	s.destination(r, "/fails", hourly)
	s.destination(r, "/works", nil)
	const n = 300
	want := make([]string, 0, n)
	for i := range n / 100 {
		events := make([]object, 100)
		for j := range events {
			events[j] = customer("customer.created", fmt.Sprintf("cus_%d_%d", i, j))
		}
		want = append(want, s.post("/v2/core/events", batch(events...)).ok().ids()...)
	}
	until(t, "the healthy one has them all", func() bool { return len(r.received("/works")) >= n })
	if got := r.received("/works"); !same(got, want) {
		t.Errorf("received %d, want each of %d once", len(got), n)
	}
	if d := s.deliveries("status=delivered&destination=" + hangs); len(d) != 0 {
		t.Errorf("the one that hangs took %+v", d)
	}
	close(hang)
	until(t, "the one that hung has them all too", func() bool { return len(s.deliveries("status=pending&limit=1&destination="+hangs)) == 0 })
	if got := r.received("/hangs"); !same(got, want) {
		t.Errorf("it received %d, want each of %d once", len(got), n)
	}
}

func TestDeliveriesAreFiltered(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, func(p post) reply {
		if p.path == "/fails" {
			return reply{status: 500}
		}
		return reply{}
	})
	works, fails := s.destination(r, "/works", nil), s.destination(r, "/fails", never)
	ids := s.post("/v2/core/events", batch(customer("customer.created", "cus_1"), customer("customer.updated", "cus_1"))).ok().ids()
	until(t, "all is settled", func() bool { return len(s.deliveries("status=pending")) == 0 })
	hourAgo := time.Now().Add(-time.Hour).Unix()
	for query, want := range map[string]int{
		"":                     4,
		"destination=" + works: 2,
		"event=" + ids[0]:      2,
		"event=" + ids[0] + "&destination=" + fails:                             1,
		"status=delivered":                                                      2,
		"status=failed&destination=" + works:                                    0,
		"status=failed&event=" + ids[1]:                                         1,
		fmt.Sprintf("created[gte]=%d", hourAgo):                                 4,
		fmt.Sprintf("created[lt]=%d", hourAgo):                                  0,
		"created[gte]=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339): 4,
	} {
		if got := s.deliveries(query); len(got) != want {
			t.Errorf("%q lists %d, want %d: %+v", query, len(got), want, got)
		}
	}
	// Page by page it is the same list.
	var paged []string
	for next := "/v2/core/deliveries?limit=1&status=delivered"; next != ""; {
		page := s.get(next).ok()
		paged = append(paged, page.ids()...)
		next, _ = page.at("next_page_url").(string)
	}
	var whole []string
	for _, d := range s.deliveries("status=delivered") {
		whole = append(whole, d.ID)
		if got := s.get("/v2/core/deliveries/" + d.ID).ok(); got.text("event") != d.Event {
			t.Errorf("retrieved %s", got.body)
		}
	}
	if !slices.Equal(paged, whole) || len(whole) != 2 {
		t.Errorf("paged %v, whole %v", paged, whole)
	}
	s.get("/v2/core/deliveries?status=lost").refused(http.StatusBadRequest, "pending, delivered, failed or discarded")
}
