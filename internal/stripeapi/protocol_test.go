package stripeapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/journal"
	"github.com/waybill-dev/waybill/internal/stripeapi"
)

func TestErrorsAreJSONInTheFormOfTheGeneration(t *testing.T) {
	t.Parallel()
	c := newFake(t, &fakes{})
	for _, tc := range []struct {
		method, path string
		status       int
		typ, code    string // "" is absent
		allow        string
	}{
		{"GET", "/v1/nothing", 404, "invalid_request_error", "resource_missing", ""},
		{"GET", "/v1/", 404, "invalid_request_error", "resource_missing", ""},
		{"GET", "/v1/events/", 404, "invalid_request_error", "resource_missing", ""},
		{"GET", "/v1/events/a/b", 404, "invalid_request_error", "resource_missing", ""},
		{"GET", "/v2/nothing", 404, "", "not_found", ""},
		{"GET", "/v2/core/events/", 404, "", "not_found", ""},
		{"GET", "/v2//core/events", 404, "", "not_found", ""},
		{"POST", "/v2/core/event_destinations/ed_1/explode", 404, "", "not_found", ""},
		{"POST", "/v1/events", 405, "invalid_request_error", "method_not_allowed", "GET"},
		{"DELETE", "/v1/events/evt_1", 405, "invalid_request_error", "method_not_allowed", "GET"},
		{"PUT", "/v2/core/events", 405, "", "method_not_allowed", "GET, POST"},
		{"PATCH", "/v2/core/event_destinations/ed_1", 405, "", "method_not_allowed", "GET, POST, DELETE"},
		{"GET", "/v2/core/event_destinations/ed_1/ping", 405, "", "method_not_allowed", "POST"},
		{"POST", "/v2/core/deliveries", 405, "", "method_not_allowed", "GET"},
	} {
		a := c.do(tc.method, tc.path, "")
		a.refused(tc.status)
		e := a.json()["error"].(map[string]any)
		if typ, _ := e["type"].(string); typ != tc.typ {
			t.Errorf("%s %s: type %q, want %q", tc.method, tc.path, typ, tc.typ)
		}
		if code, _ := e["code"].(string); code != tc.code {
			t.Errorf("%s %s: code %q, want %q", tc.method, tc.path, code, tc.code)
		}
		if allow := a.header.Get("Allow"); allow != tc.allow {
			t.Errorf("%s %s: Allow %q, want %q", tc.method, tc.path, allow, tc.allow)
		}
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, header := range map[string]string{
		"none": "", "unknown": "Bearer sk_test_0000000000000000000000000", "scheme": "Digest x",
		"empty": "Bearer ", "basic without user": "Basic Og==", "basic garbage": "Basic ***",
	} {
		for _, path := range []string{"/v1/events", "/v2/core/events", "/v2/core/event_destinations"} {
			c := h.as("")
			if header != "" {
				c = c.with("Authorization", header)
			}
			a := c.get(path)
			a.refused(401)
			if a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: no WWW-Authenticate", name)
			}
		}
		c := h.as("")
		if header != "" {
			c = c.with("Authorization", header)
		}
		c.post("/v2/core/events", customer).refused(401)
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/events", nil)
	r.SetBasicAuth(h.a.TestKey, "")
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Errorf("HTTP Basic: %d %s", w.Code, w.Body)
	}
	h.as("").with("Authorization", "bearer "+h.a.TestKey).get("/v1/events").ok()
}

func TestAccountHeaders(t *testing.T) {
	t.Parallel()
	c := newFake(t, &fakes{})
	for _, name := range []string{"Stripe-Account", "Stripe-Context"} {
		c.with(name, "acct_other").post("/v2/core/events", customer).refused(403, name, fakeAccount)
		c.with(name, "acct_other").get("/v1/events").refused(403, name)
		c.with(name, fakeAccount).post("/v2/core/events", customer).ok()
		c.with(name, "").post("/v2/core/events", customer).ok()
	}
}

func TestHeadersAreEchoed(t *testing.T) {
	t.Parallel()
	c := newFake(t, &fakes{}).with("Stripe-Version", "2099-01-01.future").with("Idempotency-Key", "k1").with("Stripe-Account", fakeAccount)
	for _, a := range []answer{c.post("/v2/core/events", customer), c.get("/v2/core/nothing"), c.as("no").get("/v1/events")} {
		for name, want := range map[string]string{
			"Stripe-Version": "2099-01-01.future", "Idempotency-Key": "k1", "Stripe-Account": fakeAccount,
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if id := a.header.Get("Request-Id"); len(id) != 18 || !strings.HasPrefix(id, "req_") {
			t.Errorf("Request-Id %q", id)
		}
		if a.header.Get("Stripe-Notice") != "" || a.header.Get("Stripe-Should-Retry") != "" {
			t.Errorf("headers that were not asked for: %v", a.header)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	var calls []account.Caller
	f := &fakes{}
	f.publish = func(ctx context.Context, c account.Caller, d []*event.Draft) ([]*event.Event, error) {
		calls = append(calls, c)
		return (&fakes{}).Publish(ctx, c, d)
	}
	c := newFake(t, f)
	c.with("Idempotency-Key", strings.Repeat("é", 255)).post("/v2/core/events", customer).ok()
	c.with("Idempotency-Key", strings.Repeat("k", 256)).post("/v2/core/events", customer).refused(400, "Idempotency-Key", "255")
	c.with("Idempotency-Key", "\xff").post("/v2/core/events", customer).refused(400, "Idempotency-Key", "UTF-8")
	c.post("/v2/core/events", customer).ok()
	c.with("Idempotency-Key", "a").post("/v2/core/events", customer).ok()
	c.with("Idempotency-Key", "a").post("/v2/core/events", customer).ok()
	c.with("Idempotency-Key", "a").post("/v2/core/events", customer+" ").ok()
	if n := len(calls); n != 5 {
		t.Fatalf("%d calls reached the domain, want 5", n)
	}
	if calls[1].IdempotencyKey != "" || calls[1].RequestHash != [32]byte{} {
		t.Errorf("without a key: %+v", calls[1])
	}
	if calls[2].IdempotencyKey != "a" || calls[2].Generation != 2 || calls[2].RequestHash != calls[3].RequestHash {
		t.Errorf("repeats differ: %+v %+v", calls[2], calls[3])
	}
	if calls[3].RequestHash == calls[4].RequestHash {
		t.Error("another body has the same hash")
	}
}

func TestFaultsOnTheWire(t *testing.T) {
	t.Parallel()
	outage := fault.Unavailablef(errors.New("disk full"), "Try again.")
	limited := fault.New(fault.Limited, "rate_limit", "Slow down.")
	limited.RetryAfter = 1500 * time.Millisecond
	for _, tc := range []struct {
		name           string
		err            error
		v1, v2         int
		typ1, typ2     string
		header, expect string
	}{
		{"idempotency", fault.New(fault.Idempotency, "idempotency_error", "Used."), 400, 409, "idempotency_error", "idempotency_error", "Stripe-Should-Retry", "false"},
		{"outage", outage, 503, 503, "api_error", "", "Retry-After", "1"},
		{"limited", limited, 429, 429, "invalid_request_error", "rate_limit", "Retry-After", "2"},
		{"not found", fault.NotFoundf("No."), 404, 404, "invalid_request_error", "", "", ""},
		{"conflict", fault.New(fault.Conflict, "event_id_in_use", "Taken."), 409, 409, "invalid_request_error", "", "", ""},
		{"forbidden", fault.New(fault.Forbidden, "forbidden", "No."), 403, 403, "invalid_request_error", "", "", ""},
		{"wrapped", fmt.Errorf("publish: %w", fault.Invalidf("type", "Bad.")), 400, 400, "invalid_request_error", "", "", ""},
		{"deadline", fmt.Errorf("publish: %w", context.DeadlineExceeded), 503, 503, "api_error", "", "Retry-After", "1"},
		{"gone client", context.Canceled, 503, 503, "invalid_request_error", "", "", ""},
		{"our own", errors.New("secret detail"), 500, 500, "api_error", "", "", ""},
	} {
		f := &fakes{
			publish: func(context.Context, account.Caller, []*event.Draft) ([]*event.Event, error) { return nil, tc.err },
			event: func(context.Context, account.Caller, string, event.Kind) (journal.View, error) {
				return journal.View{}, tc.err
			},
		}
		c := newFake(t, f)
		for generation, a := range map[int]answer{1: c.get("/v1/events/evt_1"), 2: c.post("/v2/core/events", customer)} {
			want, typ := tc.v1, tc.typ1
			if generation == 2 {
				want, typ = tc.v2, tc.typ2
			}
			a.refused(want)
			if got, _ := a.json()["error"].(map[string]any)["type"].(string); got != typ {
				t.Errorf("%s, v%d: type %q, want %q", tc.name, generation, got, typ)
			}
			if tc.header != "" && a.header.Get(tc.header) != tc.expect {
				t.Errorf("%s, v%d: %s %q, want %q", tc.name, generation, tc.header, a.header.Get(tc.header), tc.expect)
			}
			if bytes.Contains(a.body, []byte("secret")) || bytes.Contains(a.body, []byte("disk")) {
				t.Errorf("%s: the answer tells too much: %s", tc.name, a.body)
			}
			if tc.name == "our own" && !bytes.Contains(a.body, []byte(a.header.Get("Request-Id"))) {
				t.Errorf("the 500 does not tell its request id: %s", a.body)
			}
		}
	}
}

func TestPanicsAreAnsweredAndLoggedWithoutSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := &fakes{publish: func(context.Context, account.Caller, []*event.Draft) ([]*event.Event, error) { panic("boom") }}
	c := newFake(t, f, func(o *stripeapi.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	a := c.with("Idempotency-Key", "key-of-client").post("/v2/core/events", customer)
	a.refused(500, a.header.Get("Request-Id"))
	if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), a.header.Get("Request-Id")) {
		t.Errorf("the log does not tell: %s", log.String())
	}
	for _, secret := range []string{fakeKey, "key-of-client", "cus_1"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// counted counts what is read of a body that would never end.
type counted struct{ n int }

func (r *counted) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	r.n += len(p)
	return len(p), nil
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	c := newFake(t, &fakes{}, func(o *stripeapi.Options) { o.MaxRequest = limit })
	big := `{"type":"a.b","data":{"object":{"x":"` + strings.Repeat("x", limit) + `"}}}`
	for _, path := range []string{"/v2/core/events", "/v2/core/event_destinations", "/v1/events/evt_1/retry"} {
		c.post(path, big).refused(413, "100000")
	}
	c.post("/v2/core/events", customer+strings.Repeat(" ", limit-len(customer))).ok()
	c.post("/v2/core/events", customer+strings.Repeat(" ", limit-len(customer)+1)).refused(413)

	endless := new(counted)
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/v2/core/events", io.NopCloser(endless))
	r.Header.Set("Authorization", "Bearer "+fakeKey)
	r.ContentLength = -1
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	answer{t, w.Code, w.Header(), w.Body.Bytes()}.refused(413)
	if endless.n > limit+1 {
		t.Errorf("read %d bytes, the limit is %d", endless.n, limit)
	}

	// A length that is announced and too large is refused unread.
	announced := new(counted)
	r = httptest.NewRequestWithContext(t.Context(), "POST", "/v2/core/events", io.NopCloser(announced))
	r.Header.Set("Authorization", "Bearer "+fakeKey)
	r.ContentLength = limit + 1
	w = httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	if w.Code != 413 || announced.n != 0 {
		t.Errorf("status %d after %d bytes", w.Code, announced.n)
	}

	// Without a good key nothing is read at all.
	unread := new(counted)
	r = httptest.NewRequestWithContext(t.Context(), "POST", "/v2/core/events", io.NopCloser(unread))
	r.ContentLength = -1
	w = httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	if w.Code != 401 || unread.n != 0 {
		t.Errorf("status %d after %d bytes", w.Code, unread.n)
	}
}

type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestBrokenAndCompressedBodies(t *testing.T) {
	t.Parallel()
	c := newFake(t, &fakes{})
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/v2/core/events", broken{strings.NewReader(customer[:20])})
	r.Header.Set("Authorization", "Bearer "+fakeKey)
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	answer{t, w.Code, w.Header(), w.Body.Bytes()}.refused(400, "broke off")
	c.with("Content-Encoding", "gzip").post("/v2/core/events", customer).refused(400, "Content-Encoding")
}

// TestOverNetwork checks what only a real server shows: that headers and
// lengths fit and a connection can be used again.
func TestOverNetwork(t *testing.T) {
	t.Parallel()
	c := newFake(t, &fakes{}, func(o *stripeapi.Options) { o.MaxRequest = 4 << 20 })
	srv := httptest.NewServer(c.handler)
	t.Cleanup(srv.Close)
	for _, tc := range []struct {
		body   string
		status int
	}{
		{customer, 200},
		{`{"type":"a","data":{"object":{"x":"` + strings.Repeat("y", 900_000) + `"}}}`, 200},
		{`{`, 400},
		{strings.Repeat(" ", 5<<20), 413},
		{customer, 200},
	} {
		// A reader of unknown type makes the client send chunks.
		for _, body := range []io.Reader{strings.NewReader(tc.body), struct{ io.Reader }{strings.NewReader(tc.body)}} {
			r, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/v2/core/events", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+fakeKey)
			resp, err := srv.Client().Do(r)
			if err != nil {
				if tc.status == 413 { // the server may cut the upload off
					continue
				}
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.status || int64(len(got)) != resp.ContentLength {
				t.Errorf("status %d, want %d; %d bytes of %d", resp.StatusCode, tc.status, len(got), resp.ContentLength)
			}
		}
	}
}
