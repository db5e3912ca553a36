package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stripe/stripe-go/v85"

	"github.com/waybill-dev/waybill/internal/app"
)

// stripeCLI is the official one, which scripts/need-stripe installs.
const stripeCLI = "../../.tools/stripe-1.52.0"

// stripeShell runs the Stripe CLI against a server, through a unix socket: that
// is the only way on which it reaches other hosts than the API's.
type stripeShell struct {
	program, socket, home string
}

// newStripeShell is nil where there is no Stripe CLI.
func newStripeShell(t *testing.T, s *server) *stripeShell {
	t.Helper()
	program, err := filepath.Abs(stripeCLI)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI needs the Stripe CLI: scripts/need-stripe installs it")
		}
		t.Log("not tested: there is no Stripe CLI (scripts/need-stripe)")
		return nil
	}
	sh := &stripeShell{program: program, home: t.TempDir()}
	dir, err := os.MkdirTemp("", "wb") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	sh.socket = filepath.Join(dir, "s")
	passOn(t, sh.socket, strings.TrimPrefix(s.url, "http://"))
	return sh
}

// passOn connects a unix socket to a TCP address.
func passOn(t *testing.T, socket, to string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", to)
			if err != nil {
				_ = here.Close()
				continue
			}
			pipe := func(dst, src net.Conn) {
				_, _ = io.Copy(dst, src)
				_, _ = dst.Close(), src.Close()
			}
			go pipe(there, here)
			go pipe(here, there)
		}
	}()
}

// run returns what the CLI prints; it must succeed.
func (sh *stripeShell) run(t *testing.T, key string, args ...string) string {
	t.Helper()
	out, err := sh.try(t, key, args...)
	if err != nil {
		t.Fatalf("stripe %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (sh *stripeShell) try(t *testing.T, key string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sh.program, append(args, "--api-key", key)...) //nolint:gosec // G204: the program is ours to choose
	cmd.Env = []string{"HOME=" + sh.home, "STRIPE_CLI_TELEMETRY_OPTOUT=1", "STRIPE_CLI_UNIX_SOCKET=" + sh.socket}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// fixtures are the events that stripe trigger offers.
func (sh *stripeShell) fixtures(t *testing.T) []string {
	t.Helper()
	out := sh.run(t, testKey, "trigger", "--help")
	_, list, ok := strings.Cut(out, "Supported events:")
	if !ok {
		t.Fatalf("stripe trigger --help lists no events:\n%s", out)
	}
	list, _, _ = strings.Cut(list, "Usage:")
	var names []string
	for _, name := range strings.Fields(list) {
		if strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	return names
}

// yields is the event that a fixture is about, where its name is another.
var yields = map[string]string{
	"subscription.payment_failed":      "invoice.payment_failed",
	"subscription.payment_succeeded":   "invoice.payment_succeeded",
	"issuing_authorization.request.eu": "issuing_authorization.request",
	"issuing_authorization.request.gb": "issuing_authorization.request",
	"issuing_card.created.eu":          "issuing_card.created",
	"issuing_card.created.gb":          "issuing_card.created",
	"issuing_cardholder.created.eu":    "issuing_cardholder.created",
	"issuing_cardholder.created.gb":    "issuing_cardholder.created",
}

// types lists the types of all events of an account, newest first.
func (c client) types() []string {
	c.t.Helper()
	var types []string
	for _, path := range []string{"/v1/events?limit=100", "/v2/core/events?limit=100"} {
		var page struct{ Data []struct{ Type string } }
		c.get(path).ok().into(&page)
		for _, e := range page.Data {
			types = append(types, e.Type)
		}
	}
	return types
}

// Every fixture has an account of its own, so what it led to is all there is.
func TestStripeTriggerEveryFixture(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sh := newStripeShell(t, s)
	if sh == nil {
		return
	}
	names := sh.fixtures(t)
	if len(names) < 121 {
		t.Fatalf("stripe trigger offers %d events only: %v", len(names), names)
	}
	todo := make(chan string)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for name := range todo {
				s.triggers(t, sh, name)
			}
		})
	}
	for _, name := range names {
		todo <- name
	}
	close(todo)
	workers.Wait()
}

// triggers runs a fixture. It reports from several goroutines, so it never
// ends the test.
func (s *server) triggers(t *testing.T, sh *stripeShell, name string) {
	t.Helper()
	made, err := app.CreateAccount(t.Context(), s.cfg, name)
	if err != nil {
		t.Error(err)
		return
	}
	out, err := sh.try(t, made.TestKey, "trigger", name)
	if err != nil || !strings.Contains(out, "Trigger succeeded") {
		t.Errorf("stripe trigger %s: %v\n%s", name, err, out)
		return
	}
	want := yields[name]
	if want == "" {
		want = name
	}
	c := s.as(made.TestKey)
	if types := c.types(); !slices.Contains(types, want) {
		t.Errorf("stripe trigger %s led to %v", name, types)
	}
	var page struct {
		Data []struct {
			Type string
			Data struct{ Object json.RawMessage }
		}
	}
	c.get("/v1/events?limit=100").ok().into(&page)
	for _, e := range page.Data {
		var tag struct{ Object string }
		if err := json.Unmarshal(e.Data.Object, &tag); err != nil {
			t.Error(err)
		}
		build := sdkTypes[tag.Object]
		if build == nil {
			t.Errorf("%s is about a %q, which the test has no type for", e.Type, tag.Object)
			continue
		}
		if err := json.Unmarshal(e.Data.Object, build()); err != nil {
			t.Errorf("%s: stripe-go cannot read %s: %v", name, e.Data.Object, err)
		}
	}
}

func typeOf[T any]() any { return new(T) }

// sdkTypes are what stripe-go reads the objects into.
var sdkTypes = map[string]func() any{
	"account": typeOf[stripe.Account], "application": typeOf[stripe.Application], "balance": typeOf[stripe.Balance],
	"billing.meter": typeOf[stripe.BillingMeter], "billing_portal.configuration": typeOf[stripe.BillingPortalConfiguration],
	"billing_portal.session": typeOf[stripe.BillingPortalSession], "card": typeOf[stripe.Card], "cash_balance": typeOf[stripe.CashBalance],
	"charge": typeOf[stripe.Charge], "checkout.session": typeOf[stripe.CheckoutSession], "coupon": typeOf[stripe.Coupon],
	"credit_note": typeOf[stripe.CreditNote], "customer": typeOf[stripe.Customer],
	"customer_cash_balance_transaction": typeOf[stripe.CustomerCashBalanceTransaction], "discount": typeOf[stripe.Discount],
	"dispute": typeOf[stripe.Dispute], "identity.verification_session": typeOf[stripe.IdentityVerificationSession],
	"invoice": typeOf[stripe.Invoice], "invoice_payment": typeOf[stripe.InvoicePayment], "invoiceitem": typeOf[stripe.InvoiceItem],
	"issuing.authorization": typeOf[stripe.IssuingAuthorization], "issuing.card": typeOf[stripe.IssuingCard],
	"issuing.cardholder": typeOf[stripe.IssuingCardholder], "issuing.transaction": typeOf[stripe.IssuingTransaction],
	"payment_intent": typeOf[stripe.PaymentIntent], "payment_link": typeOf[stripe.PaymentLink], "payment_method": typeOf[stripe.PaymentMethod],
	"payout": typeOf[stripe.Payout], "plan": typeOf[stripe.Plan], "price": typeOf[stripe.Price], "product": typeOf[stripe.Product],
	"promotion_code": typeOf[stripe.PromotionCode], "quote": typeOf[stripe.Quote], "refund": typeOf[stripe.Refund],
	"reporting.report_run": typeOf[stripe.ReportingReportRun], "setup_intent": typeOf[stripe.SetupIntent],
	"subscription": typeOf[stripe.Subscription], "subscription_schedule": typeOf[stripe.SubscriptionSchedule],
	"tax_rate": typeOf[stripe.TaxRate], "test_helpers.test_clock": typeOf[stripe.TestHelpersTestClock], "topup": typeOf[stripe.Topup],
	"transfer": typeOf[stripe.Transfer],
}

// A fixture that nobody has seen, of resources that the table has and of one
// that it has not.
func TestStripeTriggerRaw(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sh := newStripeShell(t, s)
	if sh == nil {
		return
	}
	raw, err := json.Marshal(object{"_meta": object{"template_version": 0}, "fixtures": []object{
		{"name": "who", "path": "/v1/customers", "method": "post", "params": object{"name": "Ada", "metadata": object{"tier": "1"}}},
		{"name": "pay", "path": "/v1/payment_intents", "method": "post", "params": object{
			"amount": 900, "currency": "eur", "customer": "${who:id}", "payment_method": "pm_card_visa", "confirm": true,
		}},
		{"name": "charge", "path": "/v1/charges/${pay:latest_charge}", "method": "get"},
		{"name": "back", "path": "/v1/refunds", "method": "post", "params": object{"charge": "${charge:id}", "amount": 400}},
		{"name": "order", "path": "/v1/climate/orders", "method": "post", "params": object{"metric_tons": "0.5"}},
		{"name": "stop", "path": "/v1/climate/orders/${order:id}/cancel", "method": "post"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	sh.run(t, testKey, "trigger", "mine", "--raw", string(raw))
	want := []string{
		"climate.order.canceled", "climate.order.created", "charge.refunded", "refund.created",
		"payment_intent.succeeded", "charge.succeeded", "payment_intent.created", "customer.created",
	}
	if types := s.types(); !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
	var page struct{ Data []struct{ ID string } }
	s.get("/v1/payment_intents").ok().into(&page)
	if out := sh.run(t, testKey, "get", page.Data[0].ID); !strings.Contains(out, `"amount_received":900`) {
		t.Errorf("stripe get %s: %s", page.Data[0].ID, out)
	}
}

func TestStripeGoPaysInTheSandbox(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	at := newReceiver(t, nil)
	s.destination(at, "/hook", nil)
	sc, ctx := s.sdk(), t.Context()
	who, err := sc.V1Customers.Create(ctx, &stripe.CustomerCreateParams{Name: stripe.String("Ada"), Metadata: map[string]string{"a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	p := &stripe.PaymentIntentCreateParams{
		Amount: stripe.Int64(2000), Currency: stripe.String("usd"), Customer: &who.ID,
		PaymentMethod: stripe.String("pm_card_visa"), Confirm: stripe.Bool(true),
	}
	p.AddExpand("latest_charge")
	p.SetIdempotencyKey("once")
	pi, err := sc.V1PaymentIntents.Create(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if pi.Status != "succeeded" || pi.AmountReceived != 2000 || pi.LatestCharge == nil || pi.LatestCharge.Amount != 2000 || !pi.LatestCharge.Captured {
		t.Errorf("payment intent %+v, charge %+v", pi, pi.LatestCharge)
	}
	again, err := sc.V1PaymentIntents.Create(ctx, p)
	if err != nil || again.ID != pi.ID {
		t.Errorf("repeated with the idempotency key: %v, %v", again, err)
	}
	var got []string
	for range 4 {
		got = append(got, string(at.next().event.Type))
	}
	if want := []string{"customer.created", "payment_intent.created", "charge.succeeded", "payment_intent.succeeded"}; !same(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}

	p.SetIdempotencyKey("declined")
	p.PaymentMethod = stripe.String("pm_card_chargeDeclined")
	for range 2 { // the second is the first's answer again
		_, err = sc.V1PaymentIntents.Create(ctx, p)
		var refused *stripe.Error
		if !errors.As(err, &refused) || refused.HTTPStatusCode != http.StatusPaymentRequired || refused.Type != stripe.ErrorTypeCard ||
			refused.DeclineCode != "generic_decline" || refused.PaymentIntent == nil || refused.PaymentIntent.Status != "requires_payment_method" {
			t.Errorf("declined: %v", err)
		}
	}
	if want := []string{"payment_intent.payment_failed", "charge.failed", "payment_intent.created"}; !slices.Equal(s.types()[:3], want) {
		t.Errorf("declined once, and replayed: %v", s.types())
	}
	_, err = sc.V1PaymentIntents.Retrieve(ctx, "pi_nobody", nil)
	var absent *stripe.Error
	if !errors.As(err, &absent) || absent.Code != stripe.ErrorCodeResourceMissing || absent.HTTPStatusCode != http.StatusNotFound {
		t.Errorf("an unknown id: %v", err)
	}

	product, err := sc.V1Products.Create(ctx, &stripe.ProductCreateParams{Name: stripe.String("Plan"), DefaultPriceData: &stripe.ProductCreateDefaultPriceDataParams{
		Currency: stripe.String("usd"), UnitAmount: stripe.Int64(700), Recurring: &stripe.ProductCreateDefaultPriceDataRecurringParams{Interval: stripe.String("month")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sc.V1PaymentMethods.Attach(ctx, pi.PaymentMethod.ID, &stripe.PaymentMethodAttachParams{Customer: &who.ID}); err != nil {
		t.Fatal(err)
	}
	sp := &stripe.SubscriptionCreateParams{Customer: &who.ID, DefaultPaymentMethod: &pi.PaymentMethod.ID, Items: []*stripe.SubscriptionCreateItemParams{{Price: &product.DefaultPrice.ID, Quantity: stripe.Int64(3)}}}
	sp.AddExpand("latest_invoice.customer")
	sub, err := sc.V1Subscriptions.Create(ctx, sp)
	if err != nil {
		t.Fatal(err)
	}
	if sub.Status != "active" || sub.LatestInvoice.Status != "paid" || sub.LatestInvoice.AmountPaid != 2100 || sub.LatestInvoice.Customer.Name != "Ada" || sub.Items.Data[0].Price.UnitAmount != 700 {
		t.Errorf("subscription %+v, invoice %+v", sub, sub.LatestInvoice)
	}
	var ids []string
	for c, err := range sc.V1Charges.List(ctx, &stripe.ChargeListParams{Customer: &who.ID, ListParams: stripe.ListParams{Limit: stripe.Int64(1)}}).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.ID)
	}
	if len(ids) != 3 || ids[2] != pi.LatestCharge.ID {
		t.Errorf("charges %v", ids)
	}
}

// A notification's related object is what the newest event shows, in live mode
// too, and nobody else's.
func TestStripeGoFetchesRelatedObjects(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	live := s.as(liveKey)
	live.post("/v2/core/event_destinations", object{
		"name": "d", "type": "webhook_endpoint", "event_payload": "thin", "enabled_events": []string{"v1.invoice.paid"},
		"webhook_endpoint": object{"url": "https://127.0.0.1:9/hook"},
	}).ok()
	invoice := func(status string, created int) object {
		return object{"type": "invoice.paid", "created": created, "data": object{"object": object{"id": "in_1", "object": "invoice", "status": status, "amount_due": 12345678901234567}}}
	}
	live.publish(invoice("paid", 1_700_000_500))
	var page struct{ Data []json.RawMessage }
	live.get("/v2/core/events").ok().into(&page)
	note, err := stripe.EventNotificationFromJSON(page.Data[0], *live.sdk())
	if err != nil {
		t.Fatal(err)
	}
	unknown, ok := note.(*stripe.UnknownEventNotification)
	if !ok {
		t.Fatalf("a notification of type %T", note)
	}
	status := func() string {
		t.Helper()
		r, err := unknown.FetchRelatedObject(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Status string }
		if err := json.Unmarshal(r.LastResponse.RawJSON, &got); err != nil {
			t.Fatal(err)
		}
		return got.Status
	}
	if got := status(); got != "paid" {
		t.Errorf("the invoice is %q", got)
	}
	live.publish(invoice("late", 1_700_000_400))
	if got := status(); got != "paid" {
		t.Errorf("an older event made the invoice %q", got)
	}
	live.publish(invoice("void", 1_700_000_600))
	if got := status(); got != "void" {
		t.Errorf("a newer event left the invoice %q", got)
	}
	if a := live.get("/v1/invoices/in_1").ok(); !strings.Contains(string(a.body), "12345678901234567") {
		t.Errorf("a number is not as it was published: %s", a.body)
	}
	other, err := app.CreateAccount(t.Context(), s.cfg, "other")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{testKey, other.LiveKey, other.TestKey} {
		s.as(key).get("/v1/invoices/in_1").refused(http.StatusNotFound, "No such invoice: 'in_1'")
	}
	live.get("/v1/charges/in_1").refused(http.StatusNotFound, "No such charge")
	live.with("Content-Type", "application/x-www-form-urlencoded").post("/v1/invoices", "customer=cus_1").refused(http.StatusForbidden, "test mode only")

	s.publish(object{"type": "v2.core.account.updated", "data": object{"object": object{"id": "acct_1", "object": "v2.core.account", "display_name": "Ada"}}})
	if got := s.get("/v2/core/accounts/acct_1").ok().text("display_name"); got != "Ada" {
		t.Errorf("an object of API v2 is %q", got)
	}
	s.get("/v2/core/accounts/acct_2").refused(http.StatusNotFound)
}
