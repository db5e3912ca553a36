package stripeapi_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/journal"
)

const destinations = "/v2/core/event_destinations"

func TestDestinationLifeCycle(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.post(destinations, `{"name":"Mine","description":"D","type":"webhook_endpoint","event_payload":"snapshot",
		"enabled_events":["*"],"metadata":{"a":"1","b":"2"},"snapshot_api_version":"2025-01-27.acacia","retry_schedule":[60,3600],
		"webhook_endpoint":{"url":"https://example.com/hook"},"amazon_eventbridge":null,
		"include":["webhook_endpoint.signing_secret","webhook_endpoint.url"]}`).ok()
	id := a.text("id")
	for path, want := range map[string]any{
		"object": "v2.core.event_destination", "name": "Mine", "description": "D", "type": "webhook_endpoint",
		"event_payload": "snapshot", "enabled_events": []any{"*"}, "events_from": []any{"@self"}, "livemode": false,
		"metadata": map[string]any{"a": "1", "b": "2"}, "snapshot_api_version": "2025-01-27.acacia", "status": "enabled",
		"status_details": nil, "amazon_eventbridge": nil, "azure_event_grid": nil, "retry_schedule": []any{60.0, 3600.0},
		"waybill": map[string]any{
			"payload_format": "stripe", "signatures": []any{"stripe"}, "header_names": []any{}, "rate_limit": nil, "ordering": "none",
			"public_key": nil, "previous_secrets_end": nil, "failing_since": nil, "disables_at": nil,
		},
	} {
		if got := a.at(path); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if !strings.HasPrefix(id, "ed_test_") || !strings.HasSuffix(a.text("created"), "Z") || len(a.text("created")) != len("2006-01-02T15:04:05.000Z") {
		t.Errorf("%s", a.body)
	}
	if !strings.HasPrefix(a.text("webhook_endpoint", "signing_secret"), "whsec_") || a.text("webhook_endpoint", "url") != "https://example.com/hook" {
		t.Errorf("%s", a.body)
	}
	one := destinations + "/" + id

	a = h.get(one).ok()
	if a.at("webhook_endpoint", "url") != nil || a.at("webhook_endpoint", "signing_secret") != nil {
		t.Errorf("shown unasked: %s", a.body)
	}
	a = h.post(one, `{"name":"Yours","description":"","metadata":{"a":null,"c":"3"},"enabled_events":["x.y"],"retry_schedule":null,
		"webhook_endpoint":{"url":"https://example.com/other"},"include":["webhook_endpoint.url"]}`).ok()
	if a.text("name") != "Yours" || a.text("description") != "" || fmt.Sprint(a.at("metadata")) != "map[b:2 c:3]" ||
		fmt.Sprint(a.at("enabled_events")) != "[x.y]" || a.text("webhook_endpoint", "url") != "https://example.com/other" ||
		a.at("webhook_endpoint", "signing_secret") != nil || a.at("retry_schedule") != nil {
		t.Errorf("%s", a.body)
	}
	h.post(one, ``).ok() // no body changes nothing
	if a = h.post(one, `{"description":null}`).ok(); a.text("description") != "" {
		t.Errorf("%s", a.body)
	}
	for _, body := range []string{``, `{}`, ` { } `} {
		a = h.post(one+"/disable", body).ok()
		if a.text("status") != "disabled" || a.text("status_details", "disabled", "reason") != "user" {
			t.Errorf("%s", a.body)
		}
		h.post(one+"/ping", body).refused(400, "disabled")
		if a = h.post(one+"/enable", body).ok(); a.text("status") != "enabled" || a.at("status_details") != nil {
			t.Errorf("%s", a.body)
		}
		a = h.post(one+"/ping", body).ok()
		if a.text("object") != "v2.core.event" || a.text("type") != destination.PingType || a.text("related_object", "id") != id {
			t.Errorf("%s", a.body)
		}
		h.get("/v2/core/events/" + a.text("id")).ok()
	}
	// A JSON Content-Type without a body is what SDKs send with GET and DELETE.
	h.with("Content-Type", "application/json").get(one).ok()
	a = h.with("Content-Type", "application/json").do("DELETE", one, "").ok()
	if a.text("id") != id || a.text("object") != "v2.core.event_destination" {
		t.Errorf("%s", a.body)
	}
	for _, gone := range []answer{h.get(one), h.do("DELETE", one, ""), h.post(one, `{}`), h.post(one+"/ping", ``), h.post(one+"/enable", ``), h.post(one+"/disable", ``)} {
		gone.refused(404, id)
	}
}

func TestDestinationsOfOthersAreNotFound(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.destination("snapshot", `["*"]`)
	one := destinations + "/" + id
	for _, c := range []client{h.other(), h.live()} {
		for _, a := range []answer{c.get(one), c.do("DELETE", one, ""), c.post(one, `{}`), c.post(one+"/ping", ``), c.post(one+"/disable", ``)} {
			a.refused(404)
		}
		if got := c.get(destinations).ok().data(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	}
	h.get(one).ok()
}

func TestDestinationRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one := destinations + "/" + h.destination("snapshot", `["*"]`)
	const rest = `"type":"webhook_endpoint","event_payload":"snapshot","enabled_events":["*"],"webhook_endpoint":{"url":"https://example.com/"}`
	for name, tc := range map[string]struct {
		path, body string
		want       []string
	}{
		"broken JSON":         {destinations, `{"name":`, []string{"not valid JSON"}},
		"array":               {destinations, `[]`, []string{"must be a JSON object"}},
		"after the end":       {destinations, `{} {}`, []string{"not valid JSON"}},
		"empty":               {destinations, ``, []string{"type:"}},
		"bad UTF-8":           {destinations, `{"name":"` + "\xff" + `",` + rest + `}`, []string{"UTF-8"}},
		"name number":         {destinations, `{"name":1,` + rest + `}`, []string{"name:", "string", "number"}},
		"name twice":          {destinations, `{"name":"a","name":"b",` + rest + `}`, []string{"name:", "more than once"}},
		"name missing":        {destinations, `{` + rest + `}`, []string{"name:"}},
		"unknown":             {destinations, `{"name":"a","colour":1,` + rest + `}`, []string{"colour:", "unknown", "enabled_events"}},
		"unknown nested":      {destinations, `{"webhook_endpoint":{"uri":"x"}}`, []string{"webhook_endpoint.uri:"}},
		"events text":         {destinations, `{"enabled_events":"*"}`, []string{"enabled_events:", "array", "string"}},
		"events number":       {destinations, `{"enabled_events":["a",2]}`, []string{"enabled_events[1]:", "string"}},
		"metadata number":     {destinations, `{"metadata":{"k":1}}`, []string{"metadata.k:", "string"}},
		"metadata twice":      {destinations, `{"metadata":{"k":"1","k":"2"}}`, []string{"metadata.k:", "more than once"}},
		"metadata text":       {destinations, `{"metadata":"x"}`, []string{"metadata:", "object"}},
		"schedule text":       {destinations, `{"retry_schedule":["60"]}`, []string{"retry_schedule[0]:", "integer"}},
		"url number":          {destinations, `{"webhook_endpoint":{"url":1}}`, []string{"webhook_endpoint.url:", "string"}},
		"include unknown":     {destinations, `{"name":"a","include":["secret"],` + rest + `}`, []string{"include:", "secret"}},
		"include text":        {destinations, `{"include":"webhook_endpoint.url"}`, []string{"include:", "array"}},
		"private address":     {destinations, `{"name":"a","type":"webhook_endpoint","event_payload":"snapshot","enabled_events":["*"],"webhook_endpoint":{"url":"https://169.254.169.254/"}}`, []string{"webhook_endpoint.url:"}},
		"query":               {destinations + "?limit=1", `{}`, []string{"limit:", "body"}},
		"immutable type":      {one, `{"type":"webhook_endpoint"}`, []string{"type:", "cannot be changed"}},
		"immutable payload":   {one, `{"event_payload":"thin"}`, []string{"event_payload:", "cannot be changed"}},
		"immutable version":   {one, `{"snapshot_api_version":"x"}`, []string{"snapshot_api_version:", "cannot be changed"}},
		"update name null":    {one, `{"name":null}`, []string{"name:", "null"}},
		"update events null":  {one, `{"enabled_events":null}`, []string{"enabled_events:", "null"}},
		"update meta null":    {one, `{"metadata":null}`, []string{"metadata:", "null"}},
		"update secret":       {one, `{"include":["webhook_endpoint.signing_secret"]}`, []string{"include:", "once"}},
		"update unknown":      {one, `{"status":"disabled"}`, []string{"status:", "unknown"}},
		"disable with fields": {one + "/disable", `{"include":[]}`, []string{"include:", "unknown"}},
		"ping with fields":    {one + "/ping", `{"x":1}`, []string{"x:", "unknown"}},
		"enable no object":    {one + "/enable", `null`, []string{"must be a JSON object"}},
	} {
		a := h.post(tc.path, tc.body)
		if a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
			continue
		}
		a.refused(400, tc.want...)
		if code := a.text("error", "code"); code != "invalid_fields" {
			t.Errorf("%s: code %q", name, code)
		}
	}
	h.get(one+"?include=webhook_endpoint.signing_secret").refused(400, "include:")
	h.get(one+"?include=name").refused(400, "include:", "name")
	h.get(one+"?expand[]=x").refused(400, "expand[]")
	h.do("DELETE", one+"?x=1", "").refused(400, "x:")
}

func TestArraySpellings(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one := destinations + "/" + h.destination("snapshot", `["*"]`)
	for _, spelling := range []string{"include[0]=", "include=", "include[]=", "include%5B0%5D=", "include[7]="} {
		for _, path := range []string{one, destinations} {
			a := h.get(path + "?" + spelling + "webhook_endpoint.url").ok()
			if !strings.Contains(string(a.body), `"url":"https://example.com/hook"`) {
				t.Errorf("%s: %s", spelling, a.body)
			}
		}
	}
	h.get(one+"?include[x]=webhook_endpoint.url").refused(400, "include[x]")
	h.get(one+"?include[0=webhook_endpoint.url").refused(400, "include[0")
}

func TestEventsFromSpeaksTheVersionsWords(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	body := func(words string) string {
		return `{"name":"a","type":"webhook_endpoint","event_payload":"snapshot","enabled_events":["*"],"events_from":` + words +
			`,"webhook_endpoint":{"url":"https://example.com/"}}`
	}
	for _, tc := range []struct{ version, in, out string }{
		{"2026-02-25.clover", `["self","other_accounts"]`, "[self other_accounts]"},
		{"2026-02-25.clover", `["@self"]`, "[self]"},
		{"2026-02-25.clover", `["@organization_members"]`, "[@organization_members]"},
		{"2026-03-25.dahlia", `["self","other_accounts"]`, "[@self @accounts]"},
		{"2026-10-28.endive", `["@accounts"]`, "[@accounts]"},
		{"", `["self"]`, "[@self]"}, // the account's own version
		{"unheard of", `["self"]`, "[@self]"},
	} {
		c := h.client
		if tc.version != "" {
			c = c.with("Stripe-Version", tc.version)
		}
		if got := fmt.Sprint(c.post(destinations, body(tc.in)).ok().at("events_from")); got != tc.out {
			t.Errorf("%s %s: %s, want %s", tc.version, tc.in, got, tc.out)
		}
	}
}

// names returns a member of each item of a page.
func names(a answer, member string) string {
	a.t.Helper()
	var out []string
	for _, v := range a.ok().data() {
		out = append(out, v.(map[string]any)[member].(string))
	}
	return strings.Join(out, " ")
}

func TestListDestinationsPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 5 {
		h.post(destinations, fmt.Sprintf(`{"name":"n%d","type":"webhook_endpoint","event_payload":"snapshot","enabled_events":["*"],"webhook_endpoint":{"url":"https://example.com/"}}`, i)).ok()
	}
	first := h.get(destinations + "?limit=2&include[0]=webhook_endpoint.url")
	if got := names(first, "name"); got != "n4 n3" {
		t.Fatalf("first page %s", got)
	}
	if first.at("previous_page_url") != nil || first.at("object") != nil || first.at("has_more") != nil {
		t.Errorf("%s", first.body)
	}
	next := first.text("next_page_url")
	u, err := url.Parse(next)
	if err != nil || !strings.HasPrefix(next, "/v2/core/event_destinations?") || u.Query().Get("limit") != "2" || u.Query().Get("include[0]") != "webhook_endpoint.url" {
		t.Fatalf("next page %s", next)
	}
	second := h.get(next)
	if got := names(second, "name"); got != "n2 n1" || second.data()[0].(map[string]any)["webhook_endpoint"].(map[string]any)["url"] == nil {
		t.Fatalf("second page %s", second.body)
	}
	third := h.get(second.text("next_page_url"))
	if got := names(third, "name"); got != "n0" || third.at("next_page_url") != nil {
		t.Fatalf("third page %s", third.body)
	}
	back := h.get(third.text("previous_page_url"))
	if got := names(back, "name"); got != "n2 n1" {
		t.Fatalf("back to %s", got)
	}
	front := h.get(back.text("previous_page_url"))
	if got := names(front, "name"); got != "n4 n3" || front.at("previous_page_url") != nil {
		t.Fatalf("back to %s", front.body)
	}
	if again := h.get(front.text("next_page_url")); names(again, "name") != "n2 n1" {
		t.Fatalf("forth to %s", again.body)
	}

	token := u.Query().Get("page")
	h.get(destinations + "?limit=50&page=" + token).ok() // the size may change
	h.other().get(next).refused(400, "page:")
	h.live().get(next).refused(400, "page:")
	for i := range token {
		tampered := []byte(token)
		tampered[i] ^= 1
		if tampered[i] == '_'^1 || tampered[i] == '-'^1 {
			tampered[i] = 'A'
		}
		h.get(destinations+"?page="+url.QueryEscape(string(tampered))).refused(400, "page:")
	}
	for _, bad := range []string{"x", "%20", "AAAA", token + "A", token[1:], strings.Repeat("A", 200)} {
		h.get(destinations+"?page="+bad).refused(400, "page:")
	}
	h.get("/v2/core/events?page="+token).refused(400, "page:")
	h.get(destinations + "?page=").ok()
}

func TestListLimits(t *testing.T) {
	t.Parallel()
	var asked destination.ListParams
	f := &fakes{list: func(_ context.Context, _ account.Caller, p destination.ListParams) (journal.Page[*destination.Destination], error) {
		asked = p
		return journal.Page[*destination.Destination]{}, nil
	}}
	c := newFake(t, f)
	for query, want := range map[string]int{"": 20, "?limit=1": 1, "?limit=100": 100} {
		a := c.get(destinations + query).ok()
		if asked.Limit != want || string(a.body) != `{"data":[],"next_page_url":null,"previous_page_url":null}`+"\n" {
			t.Errorf("%q: limit %d, %s", query, asked.Limit, a.body)
		}
	}
	for _, query := range []string{"limit=0", "limit=101", "limit=-1", "limit=x", "limit=", "limit=1&limit=2", "limit=9999999999999999999", "limit[]=3", "limits=3", "%zz=1", "limit=%zz", "%ff=1", "limit=%ff"} {
		c.get(destinations + "?" + query).refused(400)
	}
	c.get(destinations+"?limits=3").refused(400, "limits:")
	c.get(destinations+"?limit=%ff").refused(400, "limit:")
}

func TestIdempotentDelete(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.destination("snapshot", `["*"]`), h.destination("snapshot", `["*"]`)
	keyed := h.with("Idempotency-Key", "once")
	keyed.do("DELETE", destinations+"/"+a, "").ok()
	keyed.do("DELETE", destinations+"/"+a, "").ok()
	conflict := keyed.do("DELETE", destinations+"/"+b, "")
	conflict.refused(409)
	if conflict.header.Get("Stripe-Should-Retry") != "false" {
		t.Error("clients would retry")
	}
	h.get(destinations + "/" + b).ok()
}
