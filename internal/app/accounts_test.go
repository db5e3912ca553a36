package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/app"
)

// family is a platform with a connected account, an organisation that the
// platform is a member of, and a stranger.
type family struct {
	*server
	platform, shop, holding, stranger *account.Created
}

// accounts runs fn on the accounts beside the server, as the command line does.
func (s *server) accounts(fn func(*account.Service) error) {
	s.t.Helper()
	if err := app.Accounts(s.t.Context(), s.cfg, fn); err != nil {
		s.t.Fatal(err)
	}
}

func newFamily(t *testing.T) *family {
	t.Helper()
	f := &family{server: newServer(t)}
	f.accounts(func(s *account.Service) error {
		for _, one := range []struct {
			to **account.Created
			n  func() account.NewAccount
		}{
			{&f.holding, func() account.NewAccount { return account.NewAccount{Name: "Holding", IsOrganization: true} }},
			{&f.platform, func() account.NewAccount {
				return account.NewAccount{Name: "Platform", Organization: f.holding.Account.ID}
			}},
			{&f.shop, func() account.NewAccount {
				return account.NewAccount{Name: "Shop", Platform: f.platform.Account.ID, APIVersion: "2025-01-27.acacia"}
			}},
			{&f.stranger, func() account.NewAccount { return account.NewAccount{Name: "Stranger"} }},
		} {
			made, err := s.CreateAccount(t.Context(), one.n())
			if err != nil {
				return err
			}
			*one.to = made
		}
		return nil
	})
	return f
}

// from is a destination of events of these origins.
func from(payload string, types []string, origins ...string) object {
	return object{"event_payload": payload, "enabled_events": types, "events_from": origins}
}

func TestConnectedAccounts(t *testing.T) {
	t.Parallel()
	f := newFamily(t)
	platform, shop, holding := f.as(f.platform.TestKey), f.as(f.shop.TestKey), f.as(f.holding.TestKey)
	made := customer("customer.created", "cus_1")
	all, twins := []string{"*"}, []string{"v1.customer.created"}
	receivers := map[string]*receiver{}
	at := func(name string) *receiver {
		r := newReceiver(t, nil)
		r.anyVersion, receivers[name] = true, r
		return r
	}
	to := platform.destination(at("snapshots"), "/", from("snapshot", all, "@accounts"))
	platform.destination(at("thins"), "/", from("thin", twins, "@accounts"))
	platform.destination(at("own"), "/", from("snapshot", all, "@self"))
	shop.destination(at("shop"), "/", from("snapshot", all, "@self"))
	holding.destination(at("above"), "/", from("thin", twins, "@organization_members/@accounts"))
	holding.destination(at("members"), "/", from("snapshot", all, "@organization_members"))

	shopID := f.shop.Account.ID
	id := platform.with("Stripe-Account", shopID).publish(made)
	if got := receivers["snapshots"].next().event; got.ID != id || got.Account != shopID || got.APIVersion != "2025-01-27.acacia" {
		t.Errorf("the platform got %+v", got)
	}
	if got := receivers["shop"].next().event; got.ID != id || got.Account != "" {
		t.Errorf("the account itself got %+v", got)
	}
	thin := receivers["thins"].next().thin
	if thin.Context == nil || *thin.Context.StringPtr() != shopID {
		t.Errorf("thin: %+v", thin)
	}
	path := f.holding.Account.ID + "/" + f.platform.Account.ID + "/" + shopID
	relayed := receivers["above"].next().thin
	if relayed.ID != thin.ID || relayed.Context == nil || *relayed.Context.StringPtr() != path {
		t.Errorf("the organization got %+v", relayed)
	}

	// What was named can be fetched with the account that was named.
	params := &stripe.EventRetrieveParams{}
	params.SetStripeAccount(shopID)
	if e, err := platform.sdk().V1Events.Retrieve(t.Context(), id, params); err != nil || e.ID != id {
		t.Errorf("the platform retrieves %v, %v", e, err)
	}
	thinParams := &stripe.V2CoreEventRetrieveParams{}
	thinParams.SetStripeContextFrom(relayed.Context) // as the SDK's fetchEvent does
	e, err := holding.sdk().V2CoreEvents.Retrieve(t.Context(), thin.ID, thinParams)
	if raw, ok := e.(*stripe.V2CoreRawEvent); err != nil || !ok || raw.ID != thin.ID {
		t.Errorf("the organization retrieves %T, %v", e, err)
	}

	// The delivery is the platform's business, and no one else's.
	if got := platform.deliveries("destination=" + to); len(got) != 1 || got[0].Event != id {
		t.Errorf("deliveries of the platform's destination: %+v", got)
	}
	if got := shop.deliveries("event=" + id); len(got) != 1 || got[0].EventDestination == to {
		t.Errorf("the account sees %+v", got)
	}
	if got := platform.get("/v1/events").ok().ids(); len(got) != 0 {
		t.Errorf("the platform's own events: %v", got)
	}
	platform.resend(id, to).ok()
	if got := receivers["snapshots"].next().event; got.ID != id || got.Account != shopID {
		t.Errorf("resent: %+v", got)
	}
	shop.resend(id, to).refused(http.StatusNotFound, to)

	// An id that the publisher chose is delivered once, here and above.
	chosen := customer("customer.created", "cus_2")
	chosen["id"] = "mine"
	for range 2 {
		shop.publish(chosen)
	}
	for _, name := range []string{"snapshots", "shop", "thins", "above"} {
		if got := receivers[name].next(); got.thin == nil && got.id() != "mine" {
			t.Errorf("%s got %s", name, got.body)
		}
	}

	// What came while the destination was disabled is replayed.
	platform.post("/v2/core/event_destinations/"+to+"/disable", object{}).ok()
	held := shop.publish(made)
	for _, name := range []string{"shop", "thins", "above"} {
		receivers[name].next()
	}
	platform.post("/v2/core/event_destinations/"+to+"/enable", object{}).ok()
	run := platform.replay(to, object{"delivery_status": "discarded"})
	if got := receivers["snapshots"].next().event; got.ID != held || got.Account != shopID {
		t.Errorf("replayed: %+v", got)
	}
	platform.awaitReplay(to, run.ID, "completed")

	// A member's own events go to itself and its organization, with a path of
	// two; and the mode counts.
	own := platform.publish(made)
	if got := receivers["own"].next().event; got.ID != own || got.Account != "" {
		t.Errorf("the platform's own: %+v", got)
	}
	got := receivers["members"].next()
	if want := f.holding.Account.ID + "/" + f.platform.Account.ID; got.id() != own || got.event.Account != f.platform.Account.ID || !strings.Contains(string(got.body), `"context":"`+want+`"`) {
		t.Errorf("of a member: %s", got.body)
	}
	f.as(f.shop.LiveKey).publish(made)
	for name, r := range receivers {
		if n := len(r.got); n != 0 {
			t.Errorf("%s got %d more", name, n)
		}
	}

	// Who leaves is not listened to any more.
	f.accounts(func(s *account.Service) error {
		_, err := s.Update(t.Context(), shopID, account.Changes{Platform: new(string)})
		return err
	})
	shop.publish(made)
	receivers["shop"].next()
	if n := len(receivers["snapshots"].got); n != 0 {
		t.Errorf("after it left, the platform got %d", n)
	}
}

// What an account is told of another must not depend on whether it exists.
func TestAccountsAreIsolated(t *testing.T) {
	t.Parallel()
	f := newFamily(t)
	shop, stranger := f.as(f.shop.TestKey), f.as(f.stranger.TestKey)
	r := newReceiver(t, nil)
	r.anyVersion = true
	d := shop.destination(r, "/", nil)
	id := shop.publish(customer("customer.created", "cus_1"))
	r.next()
	dlv := shop.deliveries("")[0].ID
	shop.destination(r, "/", nil)
	page := shop.get("/v2/core/event_destinations?limit=1").ok().text("next_page_url")
	for _, path := range []string{
		"/v2/core/event_destinations/" + d, "/v1/events/" + id, "/v2/core/deliveries/" + dlv, "/v2/core/deliveries/" + dlv + "/attempts",
		"/v2/core/deliveries?event=" + id, "/v2/core/deliveries?destination=" + d, "/v1/events?starting_after=" + id, page,
		"/v1/webhook_endpoints/we_" + strings.TrimPrefix(d, "ed_"), "/v2/core/event_destinations/" + d + "/replays",
	} {
		a := stranger.get(path)
		if a.status == http.StatusOK || strings.Contains(string(a.body), f.shop.Account.ID) || strings.Contains(string(a.body), r.url) {
			t.Errorf("a stranger gets %s: %d %s", path, a.status, a.body)
		}
	}
	stranger.post("/v2/core/event_destinations/"+d+"/ping", object{}).refused(http.StatusNotFound)
	stranger.resend(id, d).refused(http.StatusNotFound)
	for _, list := range []string{"/v1/events", "/v2/core/deliveries", "/v2/core/event_destinations", "/v2/core/audit_log", "/v1/webhook_endpoints"} {
		if got := stranger.get(list).ok().at("data").([]any); len(got) != 0 {
			t.Errorf("a stranger sees %v in %s", got, list)
		}
	}
	for _, other := range []string{f.shop.Account.ID, "acct_none", f.holding.Account.ID + "/" + f.platform.Account.ID} {
		known := stranger.with("Stripe-Account", other).get("/v1/events")
		known.refused(http.StatusForbidden)
		if want := strings.ReplaceAll(string(stranger.with("Stripe-Account", "acct_none").get("/v1/events").body), "acct_none", other); string(known.body) != want {
			t.Errorf("%s: %s, want %s", other, known.body, want)
		}
	}
	// Nor does the connected account reach its platform, or the member its
	// organisation.
	shop.with("Stripe-Account", f.platform.Account.ID).get("/v1/events").refused(http.StatusForbidden)
	f.as(f.platform.TestKey).with("Stripe-Context", f.holding.Account.ID).get("/v1/events").refused(http.StatusForbidden)
	// The page token of a connected account's list does not need its header.
	first := f.as(f.platform.TestKey).with("Stripe-Account", f.shop.Account.ID).get("/v2/core/event_destinations?limit=1").ok()
	second := f.as(f.platform.TestKey).get(first.text("next_page_url")).ok()
	if rest := second.ids(); len(rest) != 1 || rest[0] != d {
		t.Errorf("page 2 is %s", second.body)
	}
}

// A key that is revoked beside the server stops within about a second.
func TestRevokedKeysStop(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.get("/v1/events").ok()
	s.accounts(func(accounts *account.Service) error {
		one, err := accounts.Find(t.Context(), "")
		if err != nil {
			return err
		}
		_, err = accounts.RevokeKey(t.Context(), one.Number, testKey)
		return err
	})
	revoked := time.Now()
	for s.get("/v1/events").status == http.StatusOK {
		if time.Since(revoked) > patience {
			t.Fatal("the key is still good")
		}
	}
	s.get("/v1/events").refused(http.StatusUnauthorized)
	if took := time.Since(revoked); took > 5*time.Second { // positiveTTL would be 30
		t.Errorf("it took %s", took)
	}
	s.as(liveKey).get("/v1/events").ok()
}
