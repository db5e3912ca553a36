package app_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/waybill-dev/waybill/docs"
)

// walker calls operations of docs/openapi.yaml and holds the answers, and what
// was sent for them, against their schemas.
type walker struct {
	*server
	doc       *openapi3.T
	succeeded map[*openapi3.Operation]bool
}

// call fills an operation's path with args, in order. body is an object of
// JSON, the url.Values of a form, or nil.
func (w *walker) call(method, path, query string, body any, args ...string) answer {
	t := w.t
	t.Helper()
	item := w.doc.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		t.Fatalf("%s %s is not described", method, path)
	}
	op := item.GetOperation(method)
	filled := path
	for _, arg := range args {
		from, to := strings.IndexByte(filled, '{'), strings.IndexByte(filled, '}')
		filled = filled[:from] + arg + filled[to+1:]
	}
	if query != "" {
		filled += "?" + query
	}
	c, kind := w.client, "application/json"
	var raw []byte
	switch body := body.(type) {
	case nil:
	case url.Values:
		kind, raw = "application/x-www-form-urlencoded", []byte(body.Encode())
	default:
		var err error
		if raw, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	a := c.with("Content-Type", kind).do(method, filled, bytes.NewReader(raw))
	described := op.Responses.Status(a.status)
	if described == nil {
		described = op.Responses.Default()
	}
	w.hold(method+" "+filled+" answers", described.Value.Content.Get("application/json").Schema, a.body)
	if a.status == http.StatusOK {
		w.succeeded[op] = true
		if kind == "application/json" && raw != nil {
			w.hold(method+" "+filled+" takes", op.RequestBody.Value.Content.Get(kind).Schema, raw)
		}
	}
	return a
}

func (w *walker) hold(what string, schema *openapi3.SchemaRef, raw []byte) {
	w.t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		w.t.Fatalf("%s no JSON: %v: %s", what, err, raw)
	}
	if err := schema.Value.VisitJSON(v, openapi3.MultiErrors()); err != nil {
		w.t.Errorf("%s what is not described: %v\n%s", what, err, raw)
	}
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		v.Add(pair[0], pair[1])
	}
	return v
}

func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	s, r := newServer(t, withBus), newReceiver(t, nil)
	doc, err := openapi3.NewLoader().LoadFromData(s.get("/openapi.yaml").ok().body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("docs/openapi.yaml: %v", err)
	}
	w := &walker{server: s, doc: doc, succeeded: map[*openapi3.Operation]bool{}}
	w.succeed(r)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !w.succeeded[op] {
				t.Errorf("the test does not call %s %s", method, path)
			}
			w.fail(method, path, op)
		}
	}
}

const (
	destinations = "/v2/core/event_destinations"
	endpoints    = "/v1/webhook_endpoints"
)

// succeed calls every operation as it is meant.
func (w *walker) succeed(r *receiver) {
	w.t.Helper()
	call := w.call

	made := call("POST", destinations, "", object{
		"name": "d", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{"*"}, "description": "text",
		"events_from": []string{"@self"}, "metadata": object{"k": "v"}, "snapshot_api_version": "2026-03-25.dahlia", "retry_schedule": []int{1, 2},
		"waybill": object{
			"signatures": []string{"stripe", "standard_webhooks", "standard_webhooks_ed25519"}, "headers": object{"X-Team": "billing"},
			"rate_limit": object{"per_second": 100, "burst": 10}, "ordering": "related_object",
		},
		"webhook_endpoint": object{"url": r.url + "/snapshot"}, "include": []string{includeSecret, includeURL},
	}).ok()
	r.trust("/snapshot", made.text("webhook_endpoint", "signing_secret"))
	id := made.text("id")
	call("GET", destinations+"/{id}", "include="+includeURL, nil, id).ok()
	call("POST", destinations+"/{id}", "", object{"description": nil, "metadata": object{"k": nil}, "retry_schedule": nil, "waybill": object{"rate_limit": nil}}, id).ok()
	thinID := call("POST", destinations, "", object{
		"name": "t", "type": "webhook_endpoint", "event_payload": "thin", "enabled_events": []string{"v1.customer.deleted"},
		"webhook_endpoint": object{"url": r.url + "/thin"},
	}).ok().text("id")
	call("POST", destinations+"/{id}/disable", "", object{}, thinID).ok()
	call("POST", destinations+"/{id}/enable", "", nil, thinID).ok()
	r.trust("/thin", call("POST", destinations+"/{id}/roll_secret", "", object{"expires_after": 0, "include": []string{includeSecret}}, thinID).ok().
		text("webhook_endpoint", "signing_secret"))
	bus, _ := w.busDestination()
	call("GET", destinations+"/{id}", "", nil, bus).ok()
	call("GET", destinations, "limit=1", nil).ok()
	call("GET", destinations, "", nil).ok()

	updated := customer("customer.updated", "cus_1")
	updated["data"].(object)["previous_attributes"] = object{"email": nil}
	snapshot := call("POST", "/v2/core/events", "", updated).ok().text("id")
	full := thin("v1.customer.deleted", "cus_1")
	full["data"], full["changes"] = object{"some": "data"}, object{"before": object{"name": "a"}, "after": nil}
	full["reason"] = object{"type": "request", "request": object{"id": "req_1", "idempotency_key": nil}}
	event := call("POST", "/v2/core/events", "", full).ok().text("id")
	call("POST", "/v2/core/events", "", batch(customer("invoice.paid", "in_1"), thin("v1.invoice.paid", "in_1"))).ok()
	ping := call("POST", destinations+"/{id}/ping", "", object{}, thinID).ok().text("id")
	call("GET", "/v2/core/events", "limit=1", nil).ok()
	call("GET", "/v2/core/events", "", nil).ok()
	call("GET", "/v2/core/events/{id}", "", nil, event).ok()
	for _, e := range []string{event, ping} {
		d := w.awaitDelivery(e, "delivered")
		call("GET", "/v2/core/deliveries/{id}", "", nil, d.ID).ok()
		call("GET", "/v2/core/deliveries/{id}/attempts", "", nil, d.ID).ok()
	}
	call("GET", "/v2/core/deliveries", "limit=1", nil).ok()
	call("GET", "/v2/core/deliveries", "", nil).ok()

	const replays = destinations + "/{id}/replays"
	w.post("/v2/core/events", batch(slices.Repeat([]object{customer("charge.failed", "ch_1")}, 60)...)).ok() // a minute of work
	replay := call("POST", destinations+"/{id}/replay", "", object{
		"types": []string{"charge.*"}, "delivery_status": "all", "throttle": 1, "created": object{"gte": "2026-01-01T00:00:00Z"},
	}, id).ok().text("id")
	call("GET", replays+"/{replay}", "", nil, id, replay).ok()
	call("POST", replays+"/{replay}/pause", "", object{}, id, replay).ok()
	call("POST", replays+"/{replay}/resume", "", nil, id, replay).ok()
	call("POST", replays+"/{replay}/cancel", "", nil, id, replay).ok()
	call("GET", replays, "limit=1", nil, id).ok()

	endpoint := call("POST", endpoints, "", form("url", r.url+"/snapshot", "enabled_events[]", "charge.failed", "metadata[k]", "v")).ok().text("id")
	call("GET", endpoints+"/{id}", "", nil, endpoint).ok()
	call("POST", endpoints+"/{id}", "", form("description", "text", "disabled", "true"), endpoint).ok()
	call("GET", endpoints, "limit=1", nil).ok()
	call("DELETE", endpoints+"/{id}", "", nil, endpoint).ok()
	call("GET", "/v1/events", "limit=1", nil).ok()
	call("GET", "/v1/events", "type=customer.*", nil).ok()
	call("GET", "/v1/events/{id}", "", nil, snapshot).ok()
	call("POST", "/v1/events/{id}/retry", "", form("webhook_endpoint", id), snapshot).ok()
	call("POST", "/v1/events/{id}/retry", "", form("webhook_endpoint", thinID), event).ok()

	call("POST", "/v1/stripecli/sessions", "", form("device_name", "laptop", "websocket_features[]", "webhooks")).ok()

	w.succeedInTheSandbox()
	call("DELETE", destinations+"/{id}", "", nil, id).ok()
	if len(call("GET", "/v2/core/audit_log", "limit=100", nil).ok().at("data").([]any)) == 0 {
		w.t.Error("the audit log is empty")
	}
}

func (w *walker) succeedInTheSandbox() {
	w.t.Helper()
	call := w.call
	meter := object{"event_name": "tokens", "payload": object{"stripe_customer_id": "cus_1", "value": "1"}}
	token := call("POST", "/v2/billing/meter_event_session", "", object{}).ok().text("authentication_token")
	streaming := *w
	streaming.server = &server{client: w.as(token)}
	streaming.call("POST", "/v2/billing/meter_event_stream", "", object{"events": []object{meter}}).ok()
	call("POST", "/v2/billing/meter_events", "", meter).ok()

	const one = "/v1/{resource}/{id}"
	customer := call("POST", "/v1/{resource}", "", form("email", "jenny@example.com"), "customers").ok().text("id")
	call("GET", "/v1/{resource}", "", nil, "customers").ok()
	call("GET", one, "", nil, "customers", customer).ok()
	call("POST", one, "", form("name", "Jenny"), "customers", customer).ok()
	payment := call("POST", "/v1/{resource}", "", form("amount", "100", "currency", "usd", "payment_method", "pm_card_visa"), "payment_intents").ok().text("id")
	call("POST", one+"/{action}", "", form(), "payment_intents", payment, "confirm").ok()
	call("DELETE", one, "", nil, "customers", customer).ok()
	declined := call("POST", "/v1/{resource}", "", form("amount", "100", "currency", "usd", "confirm", "true", "payment_method", "pm_card_chargeDeclined"), "payment_intents")
	declined.refused(http.StatusPaymentRequired)
}

// fail calls an operation as a stranger, with a parameter that nobody knows,
// and for an object that does not exist.
func (w *walker) fail(method, path string, op *openapi3.Operation) {
	w.t.Helper()
	stranger := *w
	stranger.server = &server{client: w.as("sk_test_0000000000000000000000000")}
	args := slices.Repeat([]string{"none"}, strings.Count(path, "{"))
	if strings.HasPrefix(path, "/v1/{resource}") {
		args[0] = "customers"
	}
	stranger.call(method, path, "", nil, args...).refused(http.StatusUnauthorized)
	if slices.Contains(args, "none") {
		if a := w.call(method, path, "", nil, args...); a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
			w.t.Errorf("%s %s of nothing: %d: %s", method, path, a.status, a.body)
		}
	}
	switch {
	case strings.Contains(path, "{resource}"), path == "/v1/stripecli/sessions": // these keep or ignore what they do not know
	case method != http.MethodPost:
		w.call(method, path, "nobody_knows=1", nil, args...).refused(http.StatusBadRequest, "nobody_knows")
	case op.RequestBody.Value.Content.Get("application/json") != nil:
		w.call(method, path, "", object{"nobody_knows": 1}, args...).refused(http.StatusBadRequest, "nobody_knows")
	default:
		w.call(method, path, "", form("nobody_knows", "1"), args...).refused(http.StatusBadRequest, "nobody_knows")
	}
}

func TestDescriptionIsServed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	response, err := s.http.Get(s.url + "/openapi.yaml") //nolint:noctx // by anybody, without a key
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if raw, err := io.ReadAll(response.Body); err != nil || !bytes.Equal(raw, docs.OpenAPI) || response.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("served %s, %v: %.100s", response.Header, err, raw)
	}
}
