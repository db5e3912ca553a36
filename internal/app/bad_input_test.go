package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/app"
)

// twoAccounts is a server with a second account, and a client of that one.
func twoAccounts(t *testing.T) (*server, client) {
	t.Helper()
	s := newServer(t)
	created, err := app.CreateAccount(t.Context(), s.cfg, "second")
	if err != nil {
		t.Fatal(err)
	}
	return s, s.as(created.TestKey)
}

func TestAnotherAccountsObjectsAreNotFound(t *testing.T) {
	t.Parallel()
	s, other := twoAccounts(t)
	r := newReceiver(t, nil)
	ed := s.destination(r, "/hook", nil)
	light := s.destination(r, "/thin", object{"event_payload": "thin", "enabled_events": []string{"v1.customer.created"}})
	theirs := other.destination(r, "/other", nil)
	snapshot := s.publish(customer("customer.created", "cus_1"))
	twin := r.next()
	if other := r.next(); twin.thin == nil {
		twin = other
	}
	until(t, "both are delivered", func() bool { return len(s.deliveries("status=delivered")) == 2 })
	del := s.deliveries("event=" + snapshot)[0].ID
	theirEvent := other.publish(customer("customer.created", "cus_2"))

	live := s.as(liveKey)
	for _, stranger := range []client{other, live} {
		for _, path := range []string{
			"/v2/core/event_destinations/" + ed, "/v2/core/events/" + twin.id(), "/v1/events/" + snapshot,
			"/v2/core/deliveries/" + del, "/v2/core/deliveries/" + del + "/attempts",
		} {
			s.get(path).ok()
			stranger.get(path).refused(http.StatusNotFound)
		}
		for path, body := range map[string]string{
			"/v2/core/event_destinations/" + ed:              `{"name":"mine now"}`,
			"/v2/core/event_destinations/" + ed + "/disable": "",
			"/v2/core/event_destinations/" + ed + "/enable":  "",
			"/v2/core/event_destinations/" + ed + "/ping":    "",
		} {
			stranger.post(path, body).refused(http.StatusNotFound)
		}
		stranger.delete("/v2/core/event_destinations/" + ed).refused(http.StatusNotFound)
		stranger.resend(snapshot, ed).refused(http.StatusNotFound)
		// Filters tell no more than paths do.
		stranger.get("/v2/core/deliveries?event="+snapshot).refused(http.StatusBadRequest, snapshot)
		stranger.get("/v2/core/deliveries?destination="+ed).refused(http.StatusBadRequest, ed)
		if ids := stranger.get("/v2/core/events?object_id=cus_1").ok().ids(); len(ids) != 0 {
			t.Errorf("listed %v", ids)
		}
	}
	// One's own event does not go to another's destination, nor the reverse.
	other.resend(theirEvent, ed).refused(http.StatusNotFound)
	other.resend(snapshot, theirs).refused(http.StatusNotFound)

	if d := s.get("/v2/core/event_destinations/" + ed).ok(); d.text("name") != "d" || d.text("status") != "enabled" {
		t.Errorf("a stranger changed it: %s", d.body)
	}
	s.get("/v2/core/event_destinations/" + light).ok()
	if n := len(r.received("/hook")); n != 1 {
		t.Errorf("%d events were sent to it", n)
	}
}

func TestCannotActForAnotherAccount(t *testing.T) {
	t.Parallel()
	s, other := twoAccounts(t)
	for _, header := range []string{"Stripe-Account", "Stripe-Context"} {
		other.with(header, "acct_another").get("/v1/events").refused(http.StatusForbidden, "acct_")
	}
	id := s.publish(customer("customer.created", "cus_1"))
	s.with("Content-Type", "application/x-www-form-urlencoded").
		post("/v1/events/"+id+"/retry", "account=acct_another").refused(http.StatusForbidden, "acct_")
}

func TestForeignCursors(t *testing.T) {
	t.Parallel()
	s, other := twoAccounts(t)
	r := newReceiver(t, nil)
	var snapshots []string
	for range 3 {
		for _, c := range []client{s.client, other, s.as(liveKey)} {
			c.publish(thin("v1.customer.created", "cus_1"))
			id := c.publish(customer("customer.created", "cus_1"))
			if c.key == testKey {
				snapshots = append(snapshots, id)
			}
		}
		for _, c := range []client{s.client, other} {
			c.destination(r, "/hook", object{"enabled_events": []string{"none"}})
		}
	}
	s.destination(r, "/all", nil)
	for range 3 {
		s.publish(customer("customer.created", "cus_1"))
	}
	token := func(next string) string {
		t.Helper()
		u, err := url.Parse(next)
		if err != nil || !strings.HasPrefix(next, "/v2/") {
			t.Fatalf("next_page_url %q: %v", next, err)
		}
		return u.Query().Get("page")
	}
	const events, destinations, deliveries = "/v2/core/events", "/v2/core/event_destinations", "/v2/core/deliveries"
	for _, list := range []string{events, destinations, deliveries} {
		next := s.get(list + "?limit=1").ok().text("next_page_url")
		s.get(next).ok()
		page := token(next)
		changed := []byte(page)
		changed[len(changed)/2] ^= 1
		for name, a := range map[string]answer{
			"another account":   other.get(next),
			"another mode":      s.as(liveKey).get(next),
			"another list":      s.get(map[string]string{events: destinations, destinations: deliveries, deliveries: events}[list] + "?page=" + page),
			"changed":           s.get(list + "?page=" + string(changed)),
			"made up":           s.get(list + "?page=AAAA"),
			"not even a token":  s.get(list + "?page=%00"),
			"of an event's id":  s.get(list + "?page=" + snapshots[0]),
			"cut off":           s.get(list + "?page=" + page[:len(page)-2]),
			"there twice":       s.get(list + "?page=" + page + "&page=" + page),
			"with other limits": s.get(list + "?limit=1000&page=" + page),
		} {
			if a.status != http.StatusBadRequest {
				t.Errorf("a token of %s, %s: status %d: %s", list, name, a.status, a.body)
			}
		}
		// The size of the page may change under way.
		s.get(list + "?limit=2&page=" + page).ok()
	}
	filtered := s.get(events + "?limit=1&types=v1.customer.created").ok().text("next_page_url")
	s.get(events+"?limit=1&types=v1.customer.deleted&page="+token(filtered)).refused(http.StatusBadRequest, "page token")

	for _, param := range []string{"starting_after", "ending_before"} {
		s.get("/v1/events?" + param + "=" + snapshots[1]).ok()
		other.get("/v1/events?"+param+"="+snapshots[1]).refused(http.StatusBadRequest, snapshots[1])
		s.get("/v1/events?"+param+"=evt_none").refused(http.StatusBadRequest, "evt_none")
	}
}
