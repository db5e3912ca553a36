package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestPublishOne(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	made := s.post("/v2/core/events", customer("customer.created", "cus_1")).ok()
	id := made.text("id")
	if !strings.HasPrefix(id, "evt_test_") || made.text("object") != "event" || made.at("pending_webhooks") != 1.0 {
		t.Errorf("published %s", made.body)
	}
	if p := r.next(); p.id() != id {
		t.Errorf("received %s, want %s", p.id(), id)
	}
	s.awaitDelivery(id, "delivered")
	if got := s.get("/v1/events/" + id).ok(); got.at("pending_webhooks") != 0.0 || got.text("data", "object", "email") != "jenny@example.com" {
		t.Errorf("retrieved %s", got.body)
	}
}

func TestPublishBatch(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	events := make([]object, 1001)
	for i := range events {
		events[i] = customer("customer.created", fmt.Sprint("cus_", i))
	}
	s.post("/v2/core/events", batch(events...)).refused(http.StatusBadRequest, "1000")
	if ids := s.get("/v1/events").ok().ids(); len(ids) != 0 {
		t.Errorf("a batch that was refused left %v", ids)
	}
	want := s.post("/v2/core/events", batch(events[:1000]...)).ok().ids()
	if len(want) != 1000 || !slices.IsSorted(want) {
		t.Errorf("published %d events, in the order of their ids: %v", len(want), slices.IsSorted(want))
	}
	for range 1000 {
		r.next()
	}
	if got := r.received("/hook"); !same(got, want) {
		t.Errorf("received %d, want each of 1000 once", len(got))
	}
	for i, id := range []int{0, 499, 999} {
		if got := s.get("/v1/events/"+want[id]).ok().text("data", "object", "id"); got != fmt.Sprint("cus_", id) {
			t.Errorf("answer %d is about %s", i, got)
		}
	}
}

func TestPublishIsAllOrNothing(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	taken := customer("customer.created", "cus_0")
	taken["id"] = "evt_taken"
	s.publish(taken)
	conflicting := customer("customer.deleted", "cus_0")
	conflicting["id"] = "evt_taken"
	for name, c := range map[string]struct {
		bad    object
		status int
	}{
		"invalid":  {object{"type": "customer.created"}, http.StatusBadRequest},
		"conflict": {conflicting, http.StatusConflict},
	} {
		own := customer("customer.created", "cus_1")
		own["id"] = "evt_good_" + name
		s.post("/v2/core/events", batch(customer("customer.created", "cus_1"), own, c.bad, customer("customer.created", "cus_2"))).refused(c.status)
		s.get("/v1/events/evt_good_" + name).refused(http.StatusNotFound)
		// The id that was in the refused batch is still free.
		s.post("/v2/core/events", own).ok()
	}
	if ids := s.get("/v1/events").ok().ids(); !same(ids, []string{"evt_taken", "evt_good_invalid", "evt_good_conflict"}) {
		t.Errorf("there are %v", ids)
	}
}

func TestClientIDs(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	e := customer("customer.created", "cus_1")
	e["id"] = "order-4711"
	first := s.post("/v2/core/events", e).ok()
	if first.text("id") != "order-4711" {
		t.Errorf("published %s", first.body)
	}
	// The same in another spelling: white space does not count.
	again := s.post("/v2/core/events", "\n"+`{"data":{"object":{"email":"jenny@example.com", "id":"cus_1","object":"customer"}},`+
		` "id":"order-4711","type":"customer.created"}`).ok()
	if again.at("created") != first.at("created") || again.text("id") != "order-4711" {
		t.Errorf("the repeat is %s, want %s", again.body, first.body)
	}
	other := customer("customer.created", "cus_2")
	other["id"] = "order-4711"
	s.post("/v2/core/events", other).refused(http.StatusConflict, "different content")

	// In a batch, what is new is made and what is known returned, in order.
	fresh := customer("customer.created", "cus_3")
	fresh["id"] = "order-4712"
	ids := s.post("/v2/core/events", batch(fresh, e)).ok().ids()
	if !slices.Equal(ids, []string{"order-4712", "order-4711"}) {
		t.Errorf("the batch answered %v", ids)
	}
	s.post("/v2/core/events", batch(
		object{"id": "twice", "type": "a.b", "data": object{"object": object{}}},
		object{"id": "twice", "type": "a.b", "data": object{"object": object{}}},
	)).refused(http.StatusBadRequest, "events[0].id")
	s.get("/v1/events/twice").refused(http.StatusNotFound)

	for range 2 {
		r.next()
	}
	s.awaitDelivery("order-4711", "delivered")
	s.awaitDelivery("order-4712", "delivered")
	if got := r.received("/hook"); !same(got, []string{"order-4711", "order-4712"}) {
		t.Errorf("received %v, want each once", got)
	}
	// Ids are the account's and the mode's own.
	s.as(liveKey).post("/v2/core/events", other).ok()
}

func TestConcurrentRepeatsMakeOneEvent(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := customer("customer.created", "cus_1")
	e["id"] = "order-1"
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if a := s.post("/v2/core/events", e); a.status != http.StatusOK || a.text("id") != "order-1" {
				t.Errorf("status %d: %s", a.status, a.body)
			}
			if a := s.with("Idempotency-Key", "k").post("/v2/core/events", customer("customer.deleted", "cus_1")); a.status != http.StatusOK {
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
	all.Wait()
	if ids := s.get("/v1/events").ok().ids(); len(ids) != 2 {
		t.Errorf("there are %v, want order-1 and another", ids)
	}
}

func TestPublishIdempotencyOutlivesARestart(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	keyed := func() client { return s.with("Idempotency-Key", "once") }
	first := keyed().post("/v2/core/events", batch(customer("customer.created", "cus_1"), customer("customer.created", "cus_2"))).ok()
	if first.header.Get("Idempotency-Key") != "once" {
		t.Errorf("the key is not echoed: %v", first.header)
	}
	for range 2 {
		r.next()
	}
	until(t, "both are delivered", func() bool { return len(s.deliveries("status=delivered")) == 2 })
	repeat := func() {
		t.Helper()
		again := keyed().post("/v2/core/events", batch(customer("customer.created", "cus_1"), customer("customer.created", "cus_2"))).ok()
		if !slices.Equal(again.ids(), first.ids()) {
			t.Errorf("the repeat answered %v, want %v", again.ids(), first.ids())
		}
		keyed().post("/v2/core/events", customer("customer.created", "cus_1")).refused(http.StatusConflict, "Idempotency-Key")
	}
	repeat()
	s.restart()
	repeat()
	last := s.publish(customer("customer.created", "cus_3"))
	s.awaitDelivery(last, "delivered")
	if got := r.received("/hook"); !same(got, append(first.ids(), last)) {
		t.Errorf("received %v, want each once", got)
	}
	// In the other mode the key is another.
	if ids := s.as(liveKey).with("Idempotency-Key", "once").post("/v2/core/events", batch(customer("customer.created", "cus_9"))).ok().ids(); len(ids) != 1 {
		t.Errorf("in live mode: %v", ids)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	big := func(n int) object {
		return object{"type": "a.b", "data": object{"object": object{"text": strings.Repeat("x", n)}}}
	}
	s.post("/v2/core/events", big(1<<20)).refused(http.StatusRequestEntityTooLarge, "1048576")
	s.post("/v2/core/events", batch(big(1), big(1<<20))).refused(http.StatusRequestEntityTooLarge, "1048576")
	ids := s.post("/v2/core/events", batch(big(1<<20-100))).ok().ids()
	if p := r.next(); p.id() != ids[0] || len(p.body) < 1<<20-100 {
		t.Errorf("received %s with %d bytes", p.id(), len(p.body))
	}
	many := make([]object, 17)
	for i := range many {
		many[i] = big(1 << 20 * 99 / 100)
	}
	s.post("/v2/core/events", batch(many...)).refused(http.StatusRequestEntityTooLarge, "several requests")
	if got := s.get("/v1/events").ok().ids(); !slices.Equal(got, ids) {
		t.Errorf("there are %v, want only %v", got, ids)
	}
}

func TestPublishRefusesWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for body, text := range map[string]string{
		`{"type":"a.b","data":{"object":{}}`:  "not valid JSON",
		`[]`:                                  "object",
		``:                                    "type",
		`{"type":7,"data":{"object":{}}}`:     "string",
		`{"type":"a.b","data":{"object":[]}}`: "object",
		`{"type":"a.b","data":{"object":{}},"colour":"red"}`: "colour",
		`{"type":"a.b","data":{"object":{},"extra":1}}`:      "extra",
		`{"events":[]}`: "empty",
		`{"events":[{"type":"a.b","data":{"object":{}}}],"type":"a.b"}`:    "type",
		"{\"type\":\"a.b\",\"data\":{\"object\":{\"x\":\"\xff\"}}}":        "UTF-8",
		`{"type":"a.b","data":{"object":{}},"livemode":true}`:              "mode",
		`{"type":"a.b","data":{"object":{}},"id":"evt_test_4U7QBMPA9lw"}`:  "gives out itself",
		`{"type":"a.b","data":{"object":{}}}{}`:                            "JSON",
		`{"type":"a.b","type":"a.b","data":{"object":{}}}`:                 "more than once",
		`{"type":"a.b","related_object":{"id":"x","type":"y"}}`:            "url",
		`{"type":"a.b","related_object":null,"changes":{},"data":{"a":1}}`: "related_object",
	} {
		s.post("/v2/core/events", body).refused(http.StatusBadRequest, text)
	}
	if ids := s.get("/v1/events").ok().ids(); len(ids) != 0 {
		t.Errorf("left %v", ids)
	}
	if ids := s.get("/v2/core/events").ok().ids(); len(ids) != 0 {
		t.Errorf("left %v", ids)
	}
}
