package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/sandbox"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
)

// fixture is a sandbox on a database of its own, whose events are kept.
type fixture struct {
	*testing.T
	service *sandbox.Service
	store   *sqlite.DB
	caller  account.Caller

	mu     sync.Mutex
	drafts []event.Draft
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "waybill.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{T: t, store: db, caller: account.Caller{Scope: event.NewScope(1, false), AccountID: "acct_1", APIVersion: "2025-01-01", Generation: 1}}
	f.service = sandbox.New(sandbox.Options{Store: db, Publisher: f})
	return f
}

// Publish keeps copies of what is published.
func (f *fixture) Publish(_ context.Context, _ account.Caller, drafts []*event.Draft) ([]*event.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range drafts {
		f.drafts = append(f.drafts, *d)
	}
	return nil, nil
}

// published returns the types of the events since it was last called.
func (f *fixture) published() []string {
	var types []string
	for _, d := range f.take() {
		types = append(types, d.Type)
	}
	return types
}

func (f *fixture) take() []event.Draft {
	f.mu.Lock()
	defer f.mu.Unlock()
	drafts := f.drafts
	f.drafts = nil
	return drafts
}

type object = map[string]any

func (f *fixture) try(m sandbox.Method, path string, params object) (object, error) {
	f.Helper()
	if params == nil {
		params = object{}
	}
	raw, err := f.service.Do(f.Context(), f.caller, sandbox.Request{Method: m, Path: "/v1/" + path, Params: params, ID: "req_1"})
	if err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		f.Fatal(err)
	}
	return o, nil
}

func (f *fixture) do(m sandbox.Method, path string, params object) object {
	f.Helper()
	o, err := f.try(m, path, params)
	if err != nil {
		f.Fatalf("%s %s: %v", m, path, err)
	}
	return o
}

func (f *fixture) post(path string, params object) object {
	f.Helper()
	return f.do(sandbox.Post, path, params)
}

func (f *fixture) get(path string, params object) object {
	f.Helper()
	return f.do(sandbox.Get, path, params)
}

// refused checks that a request is refused in Stripe's words.
func (f *fixture) refused(m sandbox.Method, path string, params object, text string) {
	f.Helper()
	_, err := f.try(m, path, params)
	var r *sandbox.Refusal
	if !errors.As(err, &r) || r.Declined || !strings.Contains(r.Error(), text) {
		f.Fatalf("%s %s: %v, want a refusal that says %q", m, path, err, text)
	}
}

// declined makes a payment that fails, and returns the error object.
func (f *fixture) declined(path string, params object) object {
	f.Helper()
	_, err := f.try(sandbox.Post, path, params)
	var r *sandbox.Refusal
	if !errors.As(err, &r) || !r.Declined || r.Body["code"] != "card_declined" {
		f.Fatalf("POST %s: %v, want a declined card", path, err)
	}
	return r.Body
}

func (f *fixture) same(what string, got, want any) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(object)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	return v
}

func TestParametersGetTheirTypes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.post("charges", object{
		"amount": "1500", "currency": "usd", "description": "42", "metadata": object{"amount": "7", "on": "true"}, "capture": "true",
		"shipping": object{"address": object{"postal_code": "94103"}}, "transfer_data": object{"amount": "12"}, "_outcome": "decline", "statement_descriptor": "",
	})
	f.same("amount", o["amount"], 1500.0)
	f.same("description", o["description"], "42")
	f.same("metadata", o["metadata"], object{"amount": "7", "on": "true"})
	f.same("postal code", at(o, "shipping", "address", "postal_code"), "94103")
	f.same("nested amount", at(o, "transfer_data", "amount"), 12.0)
	f.same("cleared", o["statement_descriptor"], nil)
	f.same("status", o["status"], "succeeded")
	for k := range o {
		if strings.HasPrefix(k, "_") {
			t.Errorf("%s is shown", k)
		}
	}
}

func TestPayments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		card, status string
		manual       bool
		events       []string
	}{
		{"pm_card_visa", "succeeded", false, []string{"charge.succeeded", "payment_intent.succeeded"}},
		{"pm_card_visa", "requires_capture", true, []string{"charge.succeeded", "payment_intent.amount_capturable_updated"}},
		{"pm_card_bypassPending", "succeeded", false, []string{"charge.succeeded", "payment_intent.succeeded", "balance.available"}},
		{"pm_card_createDispute", "succeeded", false, []string{"charge.succeeded", "payment_intent.succeeded", "charge.dispute.created", "charge.dispute.funds_withdrawn"}},
		{"pm_card_authenticationRequired", "requires_action", false, []string{"payment_intent.requires_action"}},
		{"pm_card_chargeDeclined", "requires_payment_method", false, []string{"charge.failed", "payment_intent.payment_failed"}},
		{"pm_card_chargeCustomerFail", "requires_payment_method", false, []string{"charge.failed", "payment_intent.payment_failed"}},
	} {
		t.Run(fmt.Sprint(tt.card, tt.manual), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			params := object{"amount": "100", "currency": "usd"}
			if tt.manual {
				params["capture_method"] = "manual"
			}
			id := f.post("payment_intents", params)["id"].(string)
			f.same("created", f.published(), []string{"payment_intent.created"})
			confirm := object{"payment_method": tt.card}
			if tt.status == "requires_payment_method" {
				refusal := f.declined("payment_intents/"+id+"/confirm", confirm)
				f.same("shown with the refusal", at(refusal, "payment_intent", "id"), any(id))
			} else {
				f.post("payment_intents/"+id+"/confirm", confirm)
			}
			// A refusal of this kind has happened all the same.
			f.same("status", f.get("payment_intents/"+id, nil)["status"], tt.status)
			f.same("events", f.published(), tt.events)
		})
	}
}

func TestRefusalsChangeNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pi := f.post("payment_intents", object{"amount": "100"})
	path := "payment_intents/" + pi["id"].(string)
	f.published()
	f.refused(sandbox.Post, path+"/capture", nil, "could not be captured because it has a status of requires_payment_method")
	f.refused(sandbox.Post, path+"/confirm", nil, "missing a payment method")
	f.refused(sandbox.Get, "payment_intents/pi_none", nil, "No such payment_intent: 'pi_none'")
	f.refused(sandbox.Get, "refunds/"+pi["id"].(string), nil, "No such refund")
	f.refused(sandbox.Post, "coupons/none", nil, "No such coupon")
	for _, name := range []string{"_succeed", "explode"} {
		if _, err := f.try(sandbox.Post, path+"/"+name, nil); fault.As(err) == nil || fault.As(err).Kind != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.same("object", f.get(path, nil), pi)
	f.same("events", f.published(), []string(nil))
}

func TestUpdatesTellWhatWasBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.post("customers", object{"name": "Ada", "metadata": object{"keep": "1", "drop": "2"}, "address": object{"city": "Paris"}})["id"].(string)
	f.take()
	o := f.post("customers/"+id, object{"name": "Bob", "phone": "1", "metadata": object{"drop": "", "new": "3"}, "address": object{"line1": "x"}})
	f.same("metadata", o["metadata"], object{"keep": "1", "new": "3"})
	f.same("address", o["address"], object{"city": "Paris", "line1": "x"})
	drafts := f.take()
	if len(drafts) != 1 {
		t.Fatalf("%d events", len(drafts))
	}
	d := drafts[0]
	var before object
	if err := json.Unmarshal(d.PreviousAttributes, &before); err != nil {
		t.Fatal(err)
	}
	f.same("previous attributes", before, object{"name": "Ada", "phone": nil, "metadata": object{"drop": "2", "new": nil}, "address": object{"line1": nil}})
	f.same("draft", []string{d.Type, d.ObjectID, d.ObjectType, d.RequestID}, []string{"customer.updated", id, "customer", "req_1"})
	f.same("cleared", f.post("customers/"+id, object{"metadata": ""})["metadata"], object{})
	f.same("deleted", f.do(sandbox.Delete, "customers/"+id, nil), object{"id": id, "object": "customer", "deleted": true})
	f.refused(sandbox.Get, "customers/"+id, nil, "No such customer")
	f.same("events", f.published(), []string{"customer.updated", "customer.deleted"})
}

func TestLists(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var ids []string
	for i := range 5 {
		o := f.post("tax_rates", object{"display_name": fmt.Sprint(i % 2), "percentage": fmt.Sprint(i)})
		ids = append([]string{o["id"].(string)}, ids...)
	}
	list := func(params object) (got []string, more bool) {
		t.Helper()
		page := f.get("tax_rates", params)
		for _, o := range page["data"].([]any) {
			got = append(got, at(o, "id").(string))
		}
		return got, page["has_more"].(bool)
	}
	for _, tt := range []struct {
		params object
		want   []string
		more   bool
	}{
		{nil, ids, false},
		{object{"limit": "2"}, ids[:2], true},
		{object{"limit": "2", "starting_after": ids[1]}, ids[2:4], true},
		{object{"limit": "2", "starting_after": ids[3]}, ids[4:], false},
		{object{"limit": "2", "ending_before": ids[3]}, ids[1:3], true},
		{object{"limit": "3", "ending_before": ids[2]}, ids[:2], false},
		{object{"display_name": "1"}, []string{ids[1], ids[3]}, false},
		{object{"display_name": "1", "limit": "1"}, ids[1:2], true},
		{object{"percentage": "3"}, ids[1:2], false},
		{object{"active": "false"}, nil, false},
		{object{"created": object{"gte": "1", "lt": "99999999999"}}, ids, false},
		{object{"created": object{"gt": "99999999999"}}, nil, false},
		{object{"created": "1"}, nil, false},
	} {
		got, more := list(tt.params)
		f.same(fmt.Sprint("list ", tt.params), got, tt.want)
		f.same(fmt.Sprint("more of ", tt.params), more, tt.more)
	}
	f.refused(sandbox.Get, "tax_rates", object{"starting_after": "txr_none"}, "No such tax_rate")
	if _, err := f.try(sandbox.Get, "tax_rates", object{"limit": "101"}); fault.As(err) == nil {
		t.Errorf("limit 101: %v", err)
	}
}

func TestBelowAnotherObject(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ada, bob := f.post("customers", nil)["id"].(string), f.post("customers", nil)["id"].(string)
	card := f.post("customers/"+ada+"/sources", object{"source": "tok_mastercard"})
	f.same("card", []any{card["brand"], card["customer"]}, []any{"mastercard", ada})
	f.same("the customer's", f.get("customers/"+ada, object{"expand": []any{"default_source"}})["default_source"], any(card))
	f.same("listed", f.get("customers/"+ada+"/sources", nil)["data"], any([]any{card}))
	f.same("listed of another", f.get("customers/"+bob+"/sources", nil)["data"], any([]any{}))
	f.get("customers/"+ada+"/sources/"+card["id"].(string), nil)
	f.refused(sandbox.Get, "customers/"+bob+"/sources/"+card["id"].(string), nil, "No such card")
	f.refused(sandbox.Post, "customers/cus_none/sources", object{"source": "tok_visa"}, "No such customer")
}

func TestWhatTheTableDoesNotKnow(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.post("treasury/financial_accounts", object{"supported_currencies": []any{"usd"}})
	id := o["id"].(string)
	f.same("object", o["object"], "treasury.financial_account")
	f.post("treasury/financial_accounts/"+id, object{"nickname": "n"})
	f.post("treasury/financial_accounts/"+id+"/close", nil)
	f.same("status", f.get("treasury/financial_accounts/"+id, nil)["status"], "closed")
	// It was updated too, but Stripe has no event for that.
	f.same("events", f.published(), []string{"treasury.financial_account.created", "treasury.financial_account.closed"})
	f.post("issuing/disputes", nil)
	f.same("events", f.published(), []string{"issuing_dispute.created"})
	f.same("object of its own", f.post("gizmos", nil)["object"], "gizmo")
	for _, path := range []string{"", "Gizmos", "gizmo", "webhook_endpoints", "events/evt_1/x", "gizmos//x", "gizmos/giz_1/x/y", "treasury"} {
		if _, err := f.try(sandbox.Post, path, nil); err == nil {
			t.Errorf("POST /v1/%s is possible", path)
		}
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.caller.IdempotencyKey, f.caller.RequestHash = "k", [32]byte{1}
	first := f.post("customers", object{"name": "Ada"})
	f.same("again", f.post("customers", object{"name": "Ada"}), first)
	f.same("events", f.published(), []string{"customer.created"})
	f.caller.RequestHash = [32]byte{2}
	if _, err := f.try(sandbox.Post, "customers", nil); fault.As(err) == nil || fault.As(err).Kind != fault.Idempotency {
		t.Errorf("with other parameters: %v", err)
	}
	f.get("customers", nil) // where a key means nothing
	f.caller.IdempotencyKey = "declined"
	pay := object{"amount": "1", "payment_method": "pm_card_chargeDeclined", "confirm": "true"}
	f.same("declined again", f.declined("payment_intents", pay)["charge"], f.declined("payment_intents", pay)["charge"])
	f.same("events", f.published(), []string{"payment_intent.created", "charge.failed", "payment_intent.payment_failed"})
	f.same("what was declined", len(f.get("payment_intents", nil)["data"].([]any)), 1)
}

// Requests that change one object at a time all take effect.
func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.post("payment_intents", object{"amount": "100", "payment_method": "pm_card_visa", "confirm": "true"})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := f.try(sandbox.Post, "refunds", object{"payment_intent": o["id"], "amount": "25"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	charge := f.get("charges/"+o["latest_charge"].(string), nil)
	f.same("refunded", []any{charge["amount_refunded"], charge["refunded"], len(at(charge, "refunds", "data").([]any))}, []any{100.0, true, 4})
	f.refused(sandbox.Post, "refunds", object{"payment_intent": o["id"], "amount": "1"}, "less left to refund")
	refunds := 0
	for _, name := range f.published() {
		if name == "charge.refunded" {
			refunds++
		}
	}
	f.same("events", refunds, 4)
}

func TestNotInLiveMode(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.post("customers", nil)["id"].(string)
	f.caller.Scope = event.NewScope(1, true)
	for _, m := range []sandbox.Method{sandbox.Post, sandbox.Get} {
		if _, err := f.try(m, "customers", nil); fault.As(err) == nil || fault.As(err).Code != "testmode_only" {
			t.Errorf("%s: %v", m, err)
		}
	}
	f.refused(sandbox.Get, "customers/"+id, nil, "No such customer")
	f.refused(sandbox.Get, "payment_methods/pm_card_visa", nil, "No such payment_method")
	f.refused(sandbox.Get, "payment_methods/pm_1", object{"expand": []any{"x"}, "payment_method": "pm_card_visa"}, "No such payment_method")
	if page, err := f.store.ListObjects(f.Context(), store.ListObjects{Scope: f.caller.Scope, Kind: "payment_method", Limit: 1}); err != nil || len(page.Items) > 0 {
		t.Errorf("reading made %v, %v", page.Items, err)
	}
	f.caller.Scope = event.NewScope(2, false)
	f.refused(sandbox.Get, "customers/"+id, nil, "No such customer")
	if len(f.take()) != 1 {
		t.Error("there are more events than the first")
	}
}

func TestInvoicesAddUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	who := f.post("customers", object{"payment_method": "pm_card_visa", "invoice_settings": object{"default_payment_method": "pm_card_visa"}})["id"].(string)
	other := f.post("customers", nil)["id"].(string)
	for _, amount := range []string{"1000", "250"} {
		f.post("invoiceitems", object{"customer": who, "amount": amount, "currency": "eur"})
	}
	f.post("invoiceitems", object{"customer": other, "amount": "9"})
	invoice := f.post("invoices", object{"customer": who})
	f.same("invoice", []any{invoice["total"], invoice["currency"], invoice["status"]}, []any{1250.0, "eur", "draft"})
	f.same("first line", at(invoice, "lines", "data", 0, "amount"), 1000.0)
	f.published()
	paid := f.post("invoices/"+invoice["id"].(string)+"/pay", nil)
	f.same("paid", []any{paid["status"], paid["amount_paid"], paid["amount_remaining"]}, []any{"paid", 1250.0, 0.0})
	events := f.published()
	for _, want := range []string{"invoice.finalized", "charge.succeeded", "payment_intent.succeeded", "invoice.paid", "invoice.payment_succeeded"} {
		if !slices.Contains(events, want) {
			t.Errorf("there is no %s in %v", want, events)
		}
	}
	f.same("the next invoice", f.post("invoices", object{"customer": who})["total"], 0.0)
}

func TestMeterEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	meter := f.post("billing/meters", object{"event_name": "calls", "display_name": "Calls"})["id"].(string)
	f.refused(sandbox.Post, "billing/meters", object{"event_name": "calls"}, "exists already")
	f.same("meter", f.published(), []string{"billing.meter.created"})
	err := f.service.MeterEvents(f.Context(), f.caller, []sandbox.MeterEvent{
		{Name: "calls", Payload: map[string]string{"stripe_customer_id": "cus_1", "value": "1"}},
		{Name: "calls", Payload: map[string]string{"value": "1"}},
		{Name: "unheard", Identifier: "i"},
	})
	if err != nil {
		t.Fatal(err)
	}
	drafts := f.take()
	f.same("events", []string{drafts[0].Type, drafts[1].Type}, []string{"v1.billing.meter.no_meter_found", "v1.billing.meter.error_report_triggered"})
	f.same("about", drafts[1].ObjectID, meter)
	if !json.Valid(drafts[0].Data) || !strings.Contains(string(drafts[0].Data), "unheard") {
		t.Errorf("data %s", drafts[0].Data)
	}
}

// down is a store that cannot be written.
type down struct{ *sqlite.DB }

func (down) ChangeObjects(context.Context, []store.ObjectChange, *store.Idempotency) error {
	return store.ErrUnavailable
}

func TestAStoreThatFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.service = sandbox.New(sandbox.Options{Store: down{f.store}, Publisher: f, Now: time.Now})
	if _, err := f.try(sandbox.Post, "customers", nil); fault.As(err) == nil || fault.As(err).Kind != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	f.same("events", f.published(), []string(nil))
}
