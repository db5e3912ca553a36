package stripeapi_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/journal"
	"github.com/waybill-dev/waybill/internal/target"
)

func snapshotOf(typ, object string) string {
	return `{"type":"` + typ + `","data":{"object":{"id":"` + object + `"}}}`
}

func thinOf(typ, object string) string {
	return `{"type":"` + typ + `","related_object":{"id":"` + object + `","type":"t","url":"/u"}}`
}

func TestEachGenerationShowsItsKind(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	snapshot := h.post("/v2/core/events", customer).ok().text("id")
	thin := h.post("/v2/core/events", thinCustomer).ok().text("id")
	h.get("/v1/events/" + snapshot).ok()
	h.get("/v1/events/" + snapshot + "?expand[]=data.object").ok()
	h.get("/v2/core/events/" + thin).ok()
	a := h.get("/v1/events/" + thin)
	a.refused(404, thin)
	if a.text("error", "type") != "invalid_request_error" || a.text("error", "code") != "resource_missing" {
		t.Errorf("%s", a.body)
	}
	a = h.get("/v2/core/events/" + snapshot)
	a.refused(404, snapshot)
	if a.text("error", "code") != "not_found" {
		t.Errorf("%s", a.body)
	}
	for _, c := range []client{h.other(), h.live()} {
		c.get("/v1/events/" + snapshot).refused(404)
		c.get("/v2/core/events/" + thin).refused(404)
	}
	h.get("/v1/events/"+snapshot+"?include=x").refused(400, "include")
	h.get("/v2/core/events/"+thin+"?expand[]=x").refused(400, "expand[]")
	if got := names(h.get("/v1/events"), "id"); got != snapshot {
		t.Errorf("v1 lists %s", got)
	}
	if got := names(h.get("/v2/core/events"), "id"); got != thin {
		t.Errorf("v2 lists %s", got)
	}
}

func TestListSnapshotEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var ids []string
	for i, typ := range []string{"customer.created", "customer.updated", "invoice.paid", "charge.failed", "invoice.voided"} {
		ids = append(ids, h.post("/v2/core/events", snapshotOf(typ, fmt.Sprint("o", i))).ok().text("id"))
	}
	all := h.get("/v1/events").ok()
	if all.text("object") != "list" || all.text("url") != "/v1/events" || fmt.Sprint(all.at("has_more")) != "false" {
		t.Errorf("%s", all.body)
	}
	for _, tc := range []struct{ query, want string }{
		{"", "4 3 2 1 0"},
		{"type=invoice.paid", "2"},
		{"type=invoice.*", "4 2"},
		{"type=*", "4 3 2 1 0"},
		{"types[]=invoice.paid&types[]=charge.failed", "3 2"},
		{"types[0]=invoice.paid&types[1]=customer.*", "2 1 0"},
		{"limit=2", "4 3"},
		{"limit=2&starting_after=" + ids[3], "2 1"},
		{"limit=2&ending_before=" + ids[1], "3 2"},
		{"ending_before=" + ids[4], ""},
		{"created=1", ""},
		{"created[gte]=2020-01-01T00:00:00Z&expand[]=data", "4 3 2 1 0"},
		{"created[lt]=2020-01-01T00:00:00Z", ""},
		{"delivery_success=true", "4 3 2 1 0"},
		{"delivery_success=false", ""},
	} {
		var want2 []string
		for _, i := range strings.Fields(tc.want) {
			want2 = append(want2, ids[i[0]-'0'])
		}
		if got := names(h.get("/v1/events?"+tc.query), "id"); got != strings.Join(want2, " ") {
			t.Errorf("%s: %s, want %s", tc.query, got, tc.want)
		}
	}
	if a := h.get("/v1/events?limit=2").ok(); fmt.Sprint(a.at("has_more")) != "true" {
		t.Errorf("%s", a.body)
	}
	for query, want := range map[string]string{
		"limit=0": "limit:", "limit=101": "limit:", "type=a b": "type:", "type=a*b": "type:", "type=": "type:",
		"type=a&types[]=b": "type:", "types[]=" + strings.Repeat("&types[]=a.b", 20): "types",
		"created=x": "created:", "created=-5": "created:", "created[foo]=1": "created[foo]", "created=1&created[gt]=1": "created:",
		"delivery_success=1": "delivery_success:", "starting_after=evt_none": "starting_after:",
		"starting_after=a&ending_before=b": "ending_before:", "page=x": "page", "object_id=x": "object_id",
	} {
		a := h.get("/v1/events?" + strings.ReplaceAll(query, " ", "+"))
		a.refused(400, want)
		if a.text("error", "type") != "invalid_request_error" || a.at("error", "param") == nil {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	h.get("/v1/events?types[]=a" + strings.Repeat("&types[]=a.b", 19)).ok()
	h.other().get("/v1/events?starting_after="+ids[0]).refused(400, "starting_after:")
}

func TestListThinEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var ids []string
	for i, typ := range []string{"v1.a", "v1.b", "v2.core.account[x].updated", "v1.a", "v1.b"} {
		ids = append(ids, h.post("/v2/core/events", thinOf(typ, fmt.Sprint("o", i%2))).ok().text("id"))
	}
	for query, want := range map[string]string{
		"":                                      "4 3 2 1 0",
		"object_id=o1":                          "3 1",
		"types=v1.a&types=v1.b":                 "4 3 1 0",
		"types[0]=v2.core.account[x].updated":   "2",
		"types=v1.a&object_id=o0":               "0",
		"created[gt]=1700000000&types[]=v1.b":   "4 1",
		"created[lte]=2020-01-01T00:00:00.000Z": "",
	} {
		var want2 []string
		for _, i := range strings.Fields(want) {
			want2 = append(want2, ids[i[0]-'0'])
		}
		if got := names(h.get("/v2/core/events?"+query), "id"); got != strings.Join(want2, " ") {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	first := h.get("/v2/core/events?types=v1.a&types=v1.b&limit=3&created[gt]=1700000000")
	if got := names(first, "id"); got != ids[4]+" "+ids[3]+" "+ids[1] {
		t.Fatalf("%s", got)
	}
	second := h.get(first.text("next_page_url"))
	if got := names(second, "id"); got != ids[0] || second.at("next_page_url") != nil {
		t.Fatalf("%s", second.body)
	}
	if back := h.get(second.text("previous_page_url")); names(back, "id") != names(first, "id") || back.at("previous_page_url") != nil {
		t.Fatalf("%s", back.body)
	}
	u, err := url.Parse(first.text("next_page_url"))
	if err != nil {
		t.Fatal(err)
	}
	page := u.Query().Get("page")
	h.get("/v2/core/events?types[]=v1.b&types[]=v1.a&created[gt]=1700000000&page=" + page).ok() // same filters
	h.get("/v2/core/events?types=v1.a&limit=3&page="+page).refused(400, "page:")
	h.get("/v2/core/deliveries?page="+page).refused(400, "page:")
	for query, want := range map[string]string{
		"types=v1.*": "types[0]:", "include=data": "include:", "limit=101": "limit:", "type=v1.a": "type:",
		"delivery_success=true": "delivery_success:", "starting_after=x": "starting_after:", "object_id=a&object_id=b": "object_id:",
	} {
		h.get("/v2/core/events?"+query).refused(400, want)
	}
}

func TestCreatedRanges(t *testing.T) {
	t.Parallel()
	var asked journal.EventQuery
	f := &fakes{events: func(_ context.Context, _ account.Caller, q journal.EventQuery) (journal.Page[journal.View], error) {
		asked = q
		return journal.Page[journal.View]{}, nil
	}}
	c := newFake(t, f)
	for _, tc := range []struct {
		path, query string
		from, to    string // "" is unbounded
	}{
		{"/v1/events", "created=5", "00:00:05.000", "00:00:05.999"},
		{"/v1/events", "created[gt]=5", "00:00:06.000", ""},
		{"/v1/events", "created[gte]=5", "00:00:05.000", ""},
		{"/v1/events", "created[lt]=5", "", "00:00:04.999"},
		{"/v1/events", "created[lte]=5", "", "00:00:05.999"},
		{"/v1/events", "created[gt]=1970-01-01T00:00:05.3Z", "00:00:06.000", ""},
		{"/v1/events", "created[gte]=1970-01-01T00:00:05.3Z", "00:00:06.000", ""},
		{"/v1/events", "created[lt]=1970-01-01T00:00:05.3Z", "", "00:00:05.999"},
		{"/v1/events", "created[gte]=3&created[gt]=7&created[lt]=9&created[lte]=20", "00:00:08.000", "00:00:08.999"},
		{"/v2/core/events", "created[gt]=5", "00:00:05.001", ""},
		{"/v2/core/events", "created[gte]=5", "00:00:05.000", ""},
		{"/v2/core/events", "created[lt]=5", "", "00:00:04.999"},
		{"/v2/core/events", "created[lte]=5", "", "00:00:05.000"},
		{"/v2/core/events", "created=5", "00:00:05.000", "00:00:05.999"},
		{"/v2/core/events", "created[gte]=1970-01-01T01:00:05.0005%2B01:00", "00:00:05.001", ""},
		{"/v2/core/events", "created[lte]=1970-01-01T00:00:05.0005Z", "", "00:00:05.000"},
		{"/v2/core/events", "created=1970-01-01T00:00:05.250Z", "00:00:05.250", "00:00:05.250"},
	} {
		c.get(tc.path + "?" + tc.query).ok()
		for _, bound := range []struct {
			got  time.Time
			want string
		}{{asked.CreatedFrom, tc.from}, {asked.CreatedTo, tc.to}} {
			got := ""
			if !bound.got.IsZero() {
				got = bound.got.Format("15:04:05.000")
			}
			if got != bound.want {
				t.Errorf("%s?%s: bound %q, want %q", tc.path, tc.query, got, bound.want)
			}
		}
	}
}

func TestResend(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	snapshots, thins := h.destination("snapshot", `["*"]`), h.destination("thin", `["v1.customer.created"]`)
	snapshot := h.post("/v2/core/events", snapshotOf("a.b", "x")).ok().text("id")
	if got := (<-h.wire.sent).EventID; got != snapshot {
		t.Fatalf("sent %s", got)
	}
	thin := h.post("/v2/core/events", thinCustomer).ok().text("id")
	<-h.wire.sent

	a := h.with("Content-Type", "application/x-www-form-urlencoded").post("/v1/events/"+snapshot+"/retry", "webhook_endpoint="+snapshots).ok()
	if a.text("id") != snapshot || a.text("object") != "event" {
		t.Errorf("%s", a.body)
	}
	if got := (<-h.wire.sent).EventID; got != snapshot {
		t.Errorf("sent %s again", got)
	}
	keyed := h.with("Idempotency-Key", "r1")
	keyed.post("/v1/events/"+thin+"/retry", "webhook_endpoint="+thins+"&account="+h.a.Account.ID).ok()
	if got := (<-h.wire.sent).EventID; got != thin {
		t.Errorf("sent %s again", got)
	}
	h.post(destinations+"/"+thins+"/disable", ``).ok()
	keyed.post("/v1/events/"+thin+"/retry", "webhook_endpoint="+thins+"&account="+h.a.Account.ID).ok() // changes nothing
	conflict := keyed.post("/v1/events/"+thin+"/retry", "webhook_endpoint="+thins)
	conflict.refused(400, "Idempotency-Key")
	if conflict.text("error", "type") != "idempotency_error" || conflict.header.Get("Stripe-Should-Retry") != "false" {
		t.Errorf("%v %s", conflict.header, conflict.body)
	}

	retry := "/v1/events/" + snapshot + "/retry"
	h.post(retry, "webhook_endpoint="+thins).refused(400, "disabled")
	h.post(destinations+"/"+thins+"/enable", ``).ok()
	h.post(retry, "webhook_endpoint="+thins).refused(400, "thin", "snapshot")
	h.post(retry, "").refused(400, "listening")
	h.post(retry, "for_stripecli=true").refused(400, "listening", "webhook-endpoint")
	h.post(retry, "for_stripecli=maybe").refused(400, "for_stripecli")
	h.post(retry, "webhook_endpoint=we_1").refused(404, "we_1")
	h.post(retry, "webhook_endpoint=ed_test_none").refused(404, "ed_test_none")
	h.post(retry, "webhook_endpoint="+snapshots+"&x=1").refused(400, "x:")
	h.post(retry, "webhook_endpoint=a&webhook_endpoint=b").refused(400, "more than once")
	h.post(retry, "webhook_endpoint=%zz").refused(400, "webhook_endpoint")
	h.post(retry, "account=acct_other&webhook_endpoint="+snapshots).refused(403, "account")
	h.post(retry+"?webhook_endpoint="+snapshots, "for_stripecli=true").refused(400, "body")
	h.with("Content-Type", "application/json").post(retry, `{"webhook_endpoint":"x"}`).refused(400, "form-encoded")
	h.post("/v1/events/evt_none/retry", "webhook_endpoint="+snapshots).refused(404, "evt_none")
	h.other().post(retry, "webhook_endpoint="+snapshots).refused(404, snapshot)
	if n := len(h.wire.sent); n != 0 {
		t.Errorf("%d more were sent", n)
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	fail := false
	h.wire.result = func() target.Result {
		r := target.Result{
			Status: 200, FirstByte: 1500 * time.Microsecond, Total: 2 * time.Millisecond, Body: []byte("thanks"),
			Headers: []event.Header{{Name: "X-A", Value: "1"}, {Name: "X-A", Value: "2"}},
		}
		if fail {
			r.Class, r.Status, r.Message = event.ClassStatus, 500, "The endpoint answered 500."
		}
		return r
	}
	first, second := h.destination("snapshot", `["*"]`), h.destination("snapshot", `["a.b"]`)
	one := h.post("/v2/core/events", snapshotOf("a.b", "x")).ok().text("id")
	<-h.wire.sent
	<-h.wire.sent
	eventually(t, func() bool { return len(h.get("/v2/core/deliveries?status=delivered").ok().data()) == 2 })
	fail = true
	two := h.post("/v2/core/events", snapshotOf("c.d", "x")).ok().text("id")
	<-h.wire.sent
	eventually(t, func() bool {
		return strings.Contains(string(h.get("/v2/core/deliveries?event="+two).ok().body), `"attempt_count":1`)
	})
	for query, want := range map[string]string{
		"":                                       two + " " + one + " " + one,
		"destination=" + second:                  one,
		"destination=" + first:                   two + " " + one,
		"event=" + one:                           one + " " + one,
		"event=" + one + "&destination=" + first: one,
		"status=pending":                         two,
		"status=failed":                          "",
		"status=discarded":                       "",
		"created[gt]=2020-01-01T00:00:00Z&limit=1": two,
		"created[lt]=2020-01-01T00:00:00Z":         "",
	} {
		if got := names(h.get("/v2/core/deliveries?"+query), "event"); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	seen := ""
	for path := "/v2/core/deliveries?limit=1"; path != ""; {
		a := h.get(path).ok()
		seen += names(a, "event") + " "
		path, _ = a.at("next_page_url").(string)
	}
	if seen != two+" "+one+" "+one+" " {
		t.Errorf("paged through %s", seen)
	}

	item := h.get("/v2/core/deliveries?event=" + two).ok().data()[0].(map[string]any)
	id := item["id"].(string)
	a := h.get("/v2/core/deliveries/" + id).ok()
	if a.text("object") != "waybill.delivery" || a.text("status") != "pending" || a.text("event") != two || a.text("event_type") != "c.d" ||
		a.text("event_destination") != first || a.at("reason") != nil || a.at("attempt_count") != 1.0 || fmt.Sprint(a.at("livemode")) != "false" ||
		!strings.HasSuffix(a.text("next_attempt_at"), "Z") || a.at("last_attempt", "status_code") != 500.0 || a.text("last_attempt", "error_class") != "http_status" {
		t.Errorf("%s", a.body)
	}
	a = h.get("/v2/core/deliveries/" + id + "/attempts").ok()
	attempt := a.data()[0].(map[string]any)
	for member, want := range map[string]any{
		"object": "waybill.attempt", "run": 0.0, "attempt": 1.0, "outcome": "failed", "error_class": "http_status", "status_code": 500.0,
		"message": "The endpoint answered 500.", "duration_ms": 2.0, "first_byte_ms": 1.5, "response_body": "thanks",
		"response_body_truncated": false, "response_headers": map[string]any{"X-A": "1, 2"},
	} {
		if fmt.Sprint(attempt[member]) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", member, attempt[member], want)
		}
	}
	if a.at("next_page_url") != nil || a.at("previous_page_url") != nil {
		t.Errorf("%s", a.body)
	}
	if got := h.get("/v1/events/" + two).ok().at("pending_webhooks"); got != 1.0 {
		t.Errorf("pending_webhooks %v", got)
	}
	if got := names(h.get("/v1/events?delivery_success=false"), "id"); got != two {
		t.Errorf("undelivered: %s", got)
	}
	for _, c := range []client{h.other(), h.live()} {
		c.get("/v2/core/deliveries/"+id).refused(404, id)
		c.get("/v2/core/deliveries/"+id+"/attempts").refused(404, id)
		c.get("/v2/core/deliveries?destination="+first).refused(400, "destination:")
		c.get("/v2/core/deliveries?event="+one).refused(400, "event:")
		if got := c.get("/v2/core/deliveries").ok().data(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	}
	h.get("/v2/core/deliveries/dlv_none").refused(404)
	h.get("/v2/core/deliveries?status=lost").refused(400, "status:")
	h.get("/v2/core/deliveries?types=x").refused(400, "types:")
	h.get("/v2/core/deliveries/"+id+"?x=1").refused(400, "x:")
	h.get("/v2/core/deliveries/"+id+"/attempts?x=1").refused(400, "x:")
	h.do("DELETE", destinations+"/"+second, "").ok()
	if a := h.get("/v2/core/deliveries?event=" + one).ok(); !strings.Contains(string(a.body), second) {
		t.Errorf("a deleted destination's id is lost: %s", a.body)
	}
}

// eventually asks until the engine has settled what a test is about.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if done() {
			return
		}
	}
	t.Fatal("it did not happen")
}

func TestAttemptsOnTheWire(t *testing.T) {
	t.Parallel()
	f := &fakes{attempts: []*event.Attempt{
		{N: 1, Outcome: event.Delivered, Status: 204, Started: time.Unix(5, 0)},
		{N: 1, Run: 1, Outcome: event.FailedFinal, Class: event.ClassTimeout, Started: time.Unix(6, 0)},
		{Outcome: event.WasDiscarded, Class: event.ClassDiscard, Message: event.ReasonDisabled, Started: time.Unix(7, 0)},
		{N: 2, Outcome: event.FailedRetry, Status: 500, Body: []byte("\xff\xfe"), Started: time.Unix(8, 0), Next: time.Unix(9, 0)},
		{N: 3, Outcome: event.FailedRetry, Status: 500, Body: []byte("grün\xc3"), Truncated: true, Started: time.Unix(8, 0)},
	}}
	data := newFake(t, f).get("/v2/core/deliveries/dlv_test_x/attempts").ok().data()
	for i, want := range []string{
		"outcome succeeded status_code 204 started_at 1970-01-01T00:00:05.000Z error_class <nil> message <nil> first_byte_ms <nil> response_body  next_attempt_at <nil>",
		"outcome failed run 1 status_code <nil> error_class timeout response_body <nil> response_body_truncated false",
		"outcome discarded attempt 0 message destination_disabled",
		"outcome failed response_body <nil> response_body_base64 //4= next_attempt_at 1970-01-01T00:00:09.000Z",
		"response_body grün response_body_truncated true response_body_base64 <nil>",
	} {
		item := data[i].(map[string]any)
		words := strings.Split(want, " ")
		for j := 0; j < len(words); j += 2 {
			if got := fmt.Sprint(item[words[j]]); got != words[j+1] {
				t.Errorf("attempt %d: %s is %s, want %s", i, words[j], got, words[j+1])
			}
		}
	}
}
