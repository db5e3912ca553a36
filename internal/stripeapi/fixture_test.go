package stripeapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/journal"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
	"github.com/waybill-dev/waybill/internal/stripeapi"
	"github.com/waybill-dev/waybill/internal/target"
)

const apiVersion = "2026-03-25.dahlia"

// answer is a response, read.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// json decodes the body into an object.
func (a answer) json() map[string]any {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("answer is not a JSON object: %v\n%s", err, a.body)
	}
	return v
}

// at walks the body by member names.
func (a answer) at(path ...string) any {
	a.t.Helper()
	var v any = a.json()
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			a.t.Fatalf("%v: no object at %q in %s", path, name, a.body)
		}
		v = m[name]
	}
	return v
}

func (a answer) text(path ...string) string {
	a.t.Helper()
	s, ok := a.at(path...).(string)
	if !ok {
		a.t.Fatalf("%v is no string in %s", path, a.body)
	}
	return s
}

func (a answer) data() []any {
	a.t.Helper()
	list, ok := a.at("data").([]any)
	if !ok {
		a.t.Fatalf("no data in %s", a.body)
	}
	return list
}

func (a answer) ok() answer {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("status %d: %s", a.status, a.body)
	}
	return a
}

// refused checks that the answer is an error with this status whose message
// holds all of the texts.
func (a answer) refused(status int, texts ...string) {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/json" {
		a.t.Errorf("Content-Type %q", ct)
	}
	if !strings.HasPrefix(a.header.Get("Request-Id"), "req_") {
		a.t.Errorf("Request-Id %q", a.header.Get("Request-Id"))
	}
	message := a.text("error", "message")
	for _, text := range texts {
		if !strings.Contains(message, text) {
			a.t.Errorf("message %q does not hold %q", message, text)
		}
	}
}

// client sends requests straight to a handler.
type client struct {
	t       testing.TB
	handler http.Handler
	key     string
	header  http.Header
}

func (c client) with(name, value string) client {
	h := c.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set(name, value)
	c.header = h
	return c
}

func (c client) as(key string) client { c.key = key; return c }

func (c client) do(method, target, body string) answer {
	c.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(c.t.Context(), method, target, reader)
	for name, values := range c.header {
		r.Header[name] = values
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return answer{c.t, w.Code, w.Header(), w.Body.Bytes()}
}

func (c client) get(target string) answer { c.t.Helper(); return c.do(http.MethodGet, target, "") }

func (c client) post(target, body string) answer {
	c.t.Helper()
	return c.do(http.MethodPost, target, body)
}

// house is the surface over real domains, a real store and a real engine. Only
// what is sent goes nowhere.
type house struct {
	client
	a, b     *account.Created // two accounts
	accounts *account.Service
	wire     *wire
}

// live returns the first account's client in live mode, other the second
// account's in test mode.
func (h house) live() client  { return h.as(h.a.LiveKey) }
func (h house) other() client { return h.as(h.b.TestKey) }

// wire is the target of all destinations. It answers as told, at once.
type wire struct {
	sent   chan target.Message
	result func() target.Result
}

func (w *wire) Send(_ context.Context, m target.Message) target.Result {
	r := w.result()
	if r.Started.IsZero() {
		r.Started = time.Now()
	}
	m.Body = bytes.Clone(m.Body)
	w.sent <- m
	return r
}

func newHouse(t *testing.T, change ...func(*stripeapi.Options)) house {
	t.Helper()
	ctx := t.Context()
	db, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(t.TempDir(), "waybill.db")})
	if err != nil {
		t.Fatal(err)
	}
	h := house{wire: &wire{
		sent: make(chan target.Message, 1000),
		result: func() target.Result {
			return target.Result{Status: 200, FirstByte: time.Millisecond, Total: 2 * time.Millisecond, Body: []byte("thanks")}
		},
	}}
	key, err := seal.ParseKey(strings.Repeat("5a", 32))
	if err != nil {
		t.Fatal(err)
	}
	accounts := account.New(account.Options{Store: db, DefaultAPIVersion: apiVersion})
	h.accounts = accounts
	destinations := destination.New(destination.Options{Store: db, Key: key, Guard: netguard.Policy{}})
	e := engine.New(engine.Options{
		Store: db, Load: destinations.Load, Gone: destinations.DisableGone,
		Open: func(event.Target) (target.Target, error) { return h.wire, nil },
		Log:  slog.New(slog.DiscardHandler),
	})
	destinations.SetEngine(e)
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	o := stripeapi.Options{
		Accounts: accounts, Audit: accounts, Destinations: destinations,
		Journal: journal.New(journal.Options{
			Store: db, Registry: db, Destinations: destinations, Engine: e,
		}),
		CursorKey: [32]byte{2}, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	for name, into := range map[string]**account.Created{"first": &h.a, "second": &h.b} {
		if *into, err = accounts.Create(ctx, name, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	h.client = client{t: t, handler: stripeapi.New(o), key: h.a.TestKey}
	return h
}

// destination creates one and returns its id.
func (h house) destination(payload, types string) string {
	h.t.Helper()
	return h.post("/v2/core/event_destinations", `{"name":"d","type":"webhook_endpoint","event_payload":"`+payload+
		`","enabled_events":`+types+`,"webhook_endpoint":{"url":"https://example.com/hook"}}`).ok().text("id")
}

const customer = `{"type":"customer.created","data":{"object":{"id":"cus_1","object":"customer"}}}`

const thinCustomer = `{"type":"v1.customer.created","related_object":{"id":"cus_1","type":"customer","url":"/v1/customers/cus_1"}}`

// fakes are domains that do as told.
type fakes struct {
	stripeapi.Destinations
	stripeapi.Journal // nil: a verb that is not overridden panics
	publish           func(context.Context, account.Caller, []*event.Draft) ([]*event.Event, error)
	event             func(context.Context, account.Caller, string, event.Kind) (journal.View, error)
	events            func(context.Context, account.Caller, journal.EventQuery) (journal.Page[journal.View], error)
	list              func(context.Context, account.Caller, destination.ListParams) (journal.Page[*destination.Destination], error)
	attempts          []*event.Attempt
}

const (
	fakeKey     = "sk_test_fakefakefakefakefakefake"
	fakeAccount = "acct_fake"
)

func (f *fakes) Act(_ context.Context, c account.Caller, path string) (account.Caller, error) {
	if path != c.AccountID {
		return c, fault.New(fault.Forbidden, "account_invalid", "%s has no account %s below", c.AccountID, path)
	}
	return c, nil
}

func (f *fakes) Authenticate(_ context.Context, key string) (account.Caller, error) {
	if key != fakeKey {
		return account.Caller{}, fault.New(fault.Unauthorized, "unauthorized", "This API key is unknown.")
	}
	return account.Caller{Scope: event.NewScope(7, false), AccountID: fakeAccount, APIVersion: apiVersion}, nil
}

func (f *fakes) Publish(ctx context.Context, c account.Caller, drafts []*event.Draft) ([]*event.Event, error) {
	if f.publish != nil {
		return f.publish(ctx, c, drafts)
	}
	events := make([]*event.Event, len(drafts))
	for i, d := range drafts {
		events[i] = d.Build(c.Scope, time.Now(), c.APIVersion)
		events[i].Assign(event.SeqAt(time.Now()) + event.Seq(i))
	}
	return events, nil
}

func (f *fakes) Event(ctx context.Context, c account.Caller, id string, kind event.Kind) (journal.View, error) {
	return f.event(ctx, c, id, kind)
}

func (f *fakes) Events(ctx context.Context, c account.Caller, q journal.EventQuery) (journal.Page[journal.View], error) {
	return f.events(ctx, c, q)
}

func (f *fakes) List(ctx context.Context, c account.Caller, p destination.ListParams) (journal.Page[*destination.Destination], error) {
	return f.list(ctx, c, p)
}

func (f *fakes) Attempts(context.Context, account.Caller, string) ([]*event.Attempt, error) {
	return f.attempts, nil
}

// newFake returns a client of the surface over fakes.
func newFake(t testing.TB, f *fakes, change ...func(*stripeapi.Options)) client {
	t.Helper()
	o := stripeapi.Options{Accounts: f, Destinations: f, Journal: f, CursorKey: [32]byte{3}, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	return client{t: t, handler: stripeapi.New(o), key: fakeKey}
}
