package stripeapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const endpoints = "/v1/webhook_endpoints"

// form sends a form in the order it is written.
func (c client) form(target, body string) answer {
	c.t.Helper()
	return c.with("Content-Type", "application/x-www-form-urlencoded").post(target, body)
}

// endpoint creates one and returns its id.
func (h house) endpoint(more string) string {
	h.t.Helper()
	return h.form(endpoints, "url=https://example.com/hook&enabled_events[]=charge.failed"+more).ok().text("id")
}

func listed(a answer) []string {
	a.t.Helper()
	var ids []string
	for _, item := range a.ok().data() {
		ids = append(ids, item.(map[string]any)["id"].(string)) //nolint:forcetypeassert // or the test has failed
	}
	return ids
}

func TestEndpointsAreDestinations(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	made := h.form(endpoints, "url=https://example.com/hook&enabled_events[0]=charge.failed&enabled_events[1]=invoice.paid"+
		"&api_version=2026-03-25.dahlia&description=text&metadata[a]=1&metadata[b]=&connect=true&expand[]=x").ok()
	id := made.text("id")
	ed := "ed_" + strings.TrimPrefix(id, "we_")
	if !strings.HasPrefix(id, "we_test_") || !strings.HasPrefix(made.text("secret"), "whsec_") || fmt.Sprint(made.at("metadata")) != "map[a:1]" {
		t.Errorf("created %s", made.body)
	}
	d := h.get("/v2/core/event_destinations/" + ed + "?include=webhook_endpoint.url").ok()
	if d.text("webhook_endpoint", "url") != "https://example.com/hook" || d.text("snapshot_api_version") != "2026-03-25.dahlia" ||
		d.text("event_payload") != "snapshot" || fmt.Sprint(d.at("events_from")) != "[@accounts]" || d.text("name") == "" {
		t.Errorf("in API v2 it is %s", d.body)
	}

	// What API v2 changes, API v1 shows, and the other way round.
	h.post("/v2/core/event_destinations/"+ed+"/disable", "").ok()
	if got := h.get(endpoints + "/" + id).ok(); got.text("status") != "disabled" || strings.Contains(string(got.body), "secret") {
		t.Errorf("disabled, it is %s", got.body)
	}
	h.form(endpoints+"/"+id, "disabled=false&url=https://example.com/new&description=").ok()
	d = h.get("/v2/core/event_destinations/" + ed + "?include=webhook_endpoint.url").ok()
	if d.text("status") != "enabled" || d.at("status_details") != nil || d.text("webhook_endpoint", "url") != "https://example.com/new" || d.text("description") != "" {
		t.Errorf("enabled, it is %s", d.body)
	}
	if got := h.get(endpoints + "/" + id).ok(); got.at("description") != nil || got.at("application") != nil || got.text("url") != "https://example.com/new" {
		t.Errorf("updated, it is %s", got.body)
	}

	other := "we_" + strings.TrimPrefix(h.destination("snapshot", `["*"]`), "ed_")
	thin := "we_" + strings.TrimPrefix(h.destination("thin", `["v1.customer.created"]`), "ed_")
	if got := listed(h.get(endpoints)); !slices.Equal(got, []string{other, id}) {
		t.Errorf("listed %v", got)
	}
	for name, a := range map[string]answer{
		"a thin destination": h.get(endpoints + "/" + thin), "to delete": h.do(http.MethodDelete, endpoints+"/"+thin, ""),
		"an id of API v2": h.get(endpoints + "/" + ed), "in live mode": h.live().get(endpoints + "/" + id), "of a stranger": h.other().get(endpoints + "/" + id),
	} {
		t.Log(name)
		a.refused(http.StatusNotFound, "No such webhook endpoint")
	}

	event := h.post("/v2/core/events", customer).ok().text("id")
	for _, to := range []string{other, "ed_" + strings.TrimPrefix(other, "we_")} {
		h.form("/v1/events/"+event+"/retry", "webhook_endpoint="+to).ok()
	}
	for sent := 0; sent < 3; { // it selected the event too
		if m := <-h.wire.sent; m.EventID == event {
			sent++
		}
	}

	h.form("/v1/events/"+event+"/retry", "webhook_endpoint=we_test_none").refused(http.StatusNotFound, "we_test_none")

	gone := h.do(http.MethodDelete, endpoints+"/"+id, "").ok()
	if deleted, _ := gone.at("deleted").(bool); !deleted || gone.text("id") != id || gone.text("object") != "webhook_endpoint" {
		t.Errorf("deleted %s", gone.body)
	}
	h.get("/v2/core/event_destinations/"+ed).refused(http.StatusNotFound, "No such event destination")
}

func TestEndpointMetadata(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.endpoint("&metadata[a]=1&metadata[b]=2&metadata[c]=3")
	for _, step := range []struct{ body, want string }{
		{"description=x", "map[a:1 b:2 c:3]"},
		{"metadata[a]=&metadata[b]=two&metadata[e]=4", "map[b:two c:3 e:4]"},
		{"metadata=", "map[]"},
		{"metadata[f]=5", "map[f:5]"},
	} {
		if got := fmt.Sprint(h.form(endpoints+"/"+id, step.body).ok().at("metadata")); got != step.want {
			t.Errorf("after %s it is %s, want %s", step.body, got, step.want)
		}
	}
}

// Destinations that are no endpoints lie between, more than a page of them.
func TestEndpointsPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var all []string // newest first
	for i := range 4 {
		all = slices.Insert(all, 0, h.endpoint(""))
		for range []int{1, 101, 0, 1}[i] {
			h.destination("thin", `["v1.customer.created"]`)
		}
	}
	for _, c := range []struct {
		query string
		want  []string
		more  bool
	}{
		{"", all, false},
		{"limit=3", all[:3], true},
		{"limit=4", all, false},
		{"limit=2&starting_after=" + all[0], all[1:3], true},
		{"limit=2&starting_after=" + all[1], all[2:], false},
		{"starting_after=" + all[3], nil, false},
		{"limit=2&ending_before=" + all[3], all[1:3], true},
		{"limit=2&ending_before=" + all[2], all[:2], false},
		{"limit=1&ending_before=" + all[1], all[:1], false},
		{"ending_before=" + all[0], nil, false},
	} {
		a := h.get(endpoints + "?" + c.query)
		if got := listed(a); !slices.Equal(got, c.want) || a.at("has_more") != c.more || a.text("url") != endpoints || a.text("object") != "list" {
			t.Errorf("%s: %v, more %v; want %v, %v", c.query, got, a.at("has_more"), c.want, c.more)
		}
	}
}

func TestEndpointsRefuse(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.endpoint("")
	const good = "url=https://example.com&enabled_events[]=charge.failed"
	for _, c := range []struct {
		target, body, param string
	}{
		{"", "enabled_events[]=charge.failed", "url"},
		{"", "url=example&enabled_events[]=charge.failed", "url"},
		{"", "url=https://example.com", "enabled_events"},
		{"", "url=https://example.com&enabled_events[]=charge.*", "enabled_events[0]"},
		{"", good + "&api_version=latest", "api_version"},
		{"", good + "&connect=maybe", "connect"},
		{"", good + "&metadata=text", "metadata"},
		{"", good + "&metadata[k]=1&metadata[k]=2", "metadata[k]"},
		{"", good + "&metadata[k]=" + strings.Repeat("x", 501), "metadata[k]"},
		{"", good + "&metadata[k][l]=1", "metadata[k][l]"},
		{"", good + "&disabled=true", "disabled"},
		{"", good + "&url=https://example.com", "url"},
		{"/" + id, "api_version=2026-03-25.dahlia", "api_version"},
		{"/" + id, "connect=true", "connect"},
		{"/" + id, "enabled_events=", "enabled_events[0]"},
		{"/" + id, "disabled=1", "disabled"},
		{"/" + id, "url=", "url"},
	} {
		a := h.form(endpoints+c.target, c.body)
		a.refused(http.StatusBadRequest)
		if a.text("error", "param") != c.param || a.text("error", "type") != "invalid_request_error" {
			t.Errorf("%s %s: %s, want it about %s", c.target, c.body, a.body, c.param)
		}
	}
	for _, query := range []string{"limit=0", "limit=101", "starting_after=we_none", "ending_before=" + url.QueryEscape("evt_1"), "page=x", "starting_after=a&ending_before=b"} {
		h.get(endpoints + "?" + query).refused(http.StatusBadRequest)
	}
	h.with("Content-Type", "application/json").post(endpoints, `{"url":"https://example.com"}`).refused(http.StatusBadRequest, "form-encoded")
}

func TestEndpointIdempotency(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	keyed := h.with("Idempotency-Key", "k")
	const body = "url=https://example.com&enabled_events[]=charge.failed"
	first, again := keyed.form(endpoints, body).ok(), keyed.form(endpoints, body).ok()
	if first.text("id") != again.text("id") || first.text("secret") != again.text("secret") {
		t.Errorf("the repeat is %s, want %s", again.body, first.body)
	}
	keyed.form(endpoints, body+"&description=other").refused(http.StatusBadRequest)
	// API v1 has no keys for DELETE, but stripe-go sends them.
	keyed.do(http.MethodDelete, endpoints+"/"+first.text("id"), "").ok()
	keyed.do(http.MethodDelete, endpoints+"/"+h.endpoint(""), "").ok()
}
