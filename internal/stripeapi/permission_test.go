package stripeapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/stripeapi"
)

// restricted makes a key of the first account that may do this.
func (h house) restricted(allow ...string) string {
	h.t.Helper()
	text, _, err := h.accounts.CreateKey(h.t.Context(), h.a.Account, account.NewKey{Restricted: true, Allow: allow})
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// Every endpoint with every kind of key.
func TestPermissions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ended := func(revoke bool) string {
		expires := time.Now().Add(time.Hour)
		text, made, err := h.accounts.CreateKey(t.Context(), h.a.Account, account.NewKey{Expires: expires})
		if err != nil {
			t.Fatal(err)
		}
		if revoke {
			_, err = h.accounts.RevokeKey(t.Context(), h.a.Account.Number, made.ID)
		} else {
			_, _, err = h.accounts.RollKey(t.Context(), h.a.Account.Number, text, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	revoked, rolled := ended(true), ended(false)
	keys := map[string]string{} // by what they may do
	may := func(allow ...string) string {
		name := strings.Join(allow, " ")
		if keys[name] == "" {
			keys[name] = h.restricted(allow...)
		}
		return keys[name]
	}
	var used []string
	for _, route := range stripeapi.Routes() {
		resource, access := stripeapi.Needs(route)
		if !slices.Contains(account.Resources, resource) || access != account.Read && access != account.Write {
			t.Errorf("%s does not say what it needs: %q, %q", route, resource, access)
			continue
		}
		used = append(used, resource)
		method, path, _ := strings.Cut(route, " ")
		path = strings.ReplaceAll(path, ":id", "none_1")
		other := "events:write"
		if resource == "events" {
			other = "deliveries:write"
		}
		for _, tc := range []struct {
			what, key string
			status    int // 0: let through
		}{
			{"secret", h.a.TestKey, 0},
			{"secret of the other mode", h.a.LiveKey, 0},
			{"write", may(resource + ":write"), 0},
			{"all", may("*:write"), 0},
			{"read", may(resource + ":read"), map[account.Access]int{account.Read: 0, account.Write: 403}[access]},
			{"none", may("*:write", resource+":none"), 403},
			{"another resource", may(other), 403},
			{"revoked", revoked, 401},
			{"rolled", rolled, 401},
			{"unknown", "sk_test_0000000000000000000000000", 401},
		} {
			a := h.as(tc.key).do(method, path, "")
			switch {
			case tc.status == 0 && (a.status == 401 || a.status == 403):
				t.Errorf("%s, %s: %d %s", route, tc.what, a.status, a.body)
			case tc.status == 403:
				a.refused(403, fmt.Sprintf("%s:%s would allow", resource, access), h.a.Account.ID, "rk_test_…")
				if a.text("error", "code") != "more_permissions_required" {
					t.Errorf("%s: %s", route, a.body)
				}
			case tc.status == 401:
				a.refused(401)
			}
		}
	}
	for _, resource := range account.Resources {
		if !slices.Contains(used, resource) {
			t.Errorf("nothing needs %s", resource)
		}
	}
	if a := h.as(revoked).get("/v1/events"); a.text("error", "code") != "api_key_expired" {
		t.Errorf("revoked: %s", a.body)
	}
}

// Grants can be about some types of events only.
func TestPermissionsByEventType(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.post("/v2/core/events", customer).ok().text("id")
	const charge = `{"type":"charge.dispute.created","data":{"object":{"id":"dp_1"}}}`
	disputed := h.post("/v2/core/events", charge).ok().text("id")

	charges := h.as(h.restricted("events/charge:write"))
	charges.post("/v2/core/events", charge).ok()
	charges.post("/v2/core/events", `{"events":[`+charge+`,`+customer+`]}`).refused(403, "events/customer:write")
	charges.get("/v1/events/" + disputed).ok()
	charges.get("/v1/events/"+id).refused(403, "events/customer:read")
	charges.get("/v1/events").refused(403, "events:read")
	charges.get("/v1/events?type=customer.*").refused(403, "events/customer:read")
	if n := len(charges.get("/v1/events?type=charge.*").ok().data()); n != 2 {
		t.Errorf("%d events", n)
	}
	charges.get("/v2/core/deliveries").refused(403, "deliveries:read")

	but := h.as(h.restricted("events:read", "events/charge.dispute:none"))
	but.get("/v1/events/" + id).ok()
	but.get("/v1/events/"+disputed).refused(403, "events/charge.dispute:read")
	but.get("/v1/events").refused(403, "events:read")
	but.get("/v1/events?type=charge.*").refused(403, "events/charge:read")
	but.get("/v1/events?types[]=customer.created").ok()
	but.post("/v2/core/events", customer).refused(403, "events:write")
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.client = h.with("User-Agent", "a \xfftest")
	id := h.destination("snapshot", `["*"]`)
	event := h.post("/v2/core/events", customer).ok().text("id")
	h.post("/v2/core/event_destinations/"+id, `{"name":"secret name","metadata":{"k":"v"}}`).ok()
	h.post("/v2/core/event_destinations/"+id, `{"name":""}`).refused(400) // changes nothing
	h.post("/v2/core/event_destinations/"+id+"/ping", "").ok()
	h.with("Content-Type", "application/x-www-form-urlencoded").post("/v1/events/"+event+"/retry", "webhook_endpoint="+id).ok()
	h.do("DELETE", "/v2/core/event_destinations/"+id, "").ok()

	all := h.get("/v2/core/audit_log").ok()
	var got []string
	for _, item := range all.data() {
		e := item.(map[string]any)
		got = append(got, fmt.Sprint(e["action"], " ", e["target"], " ", e["fields"]))
	}
	want := []string{
		"event_destination.delete " + id + " []",
		"event.retry " + event + " [webhook_endpoint]",
		"event_destination.ping " + id + " []",
		"event_destination.update " + id + " [name metadata]",
		"event_destination.create " + id + " [name type event_payload enabled_events webhook_endpoint]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(string(all.body), "secret name") {
		t.Error("the log tells values")
	}
	first := all.data()[4].(map[string]any)
	if first["key_hint"] != h.a.TestKey[:8]+"…"+h.a.TestKey[len(h.a.TestKey)-4:] || first["user_agent"] != "a test" || first["ip"] == nil ||
		!strings.HasPrefix(fmt.Sprint(first["request"]), "req_") || first["account"] != h.a.Account.ID || fmt.Sprint(first["livemode"]) != "false" {
		t.Errorf("entry %v", first)
	}
	page := h.get("/v2/core/audit_log?limit=4&object_id=" + id).ok()
	if n := len(page.data()); n != 4 || page.at("next_page_url") != nil {
		t.Errorf("%d entries about the destination: %s", n, page.body)
	}
	page = h.get(h.get("/v2/core/audit_log?limit=3").ok().text("next_page_url")).ok()
	if n := len(page.data()); n != 2 {
		t.Errorf("%d entries on page 2", n)
	}
	for _, key := range []string{h.a.LiveKey, h.b.TestKey} {
		if n := h.as(key).get("/v2/core/audit_log").ok().data(); len(n) > 0 && strings.Contains(fmt.Sprint(n), id) {
			t.Errorf("another scope sees %v", n)
		}
	}
}
