package stripeapi_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/stripeapi"
)

// kilobyte is an event of the usual size.
var kilobyte = []byte(`{"type":"customer.updated","api_version":"2026-03-25.dahlia","created":1700000000,"data":{"object":{"id":"cus_9s6XKzkNRiz8i3","object":"customer","address":null,"balance":0,"description":"` +
	strings.Repeat("lorem ipsum ", 55) + `","metadata":{"order":"6735"}},"previous_attributes":{"balance":100}},"request":{"id":"req_abc","idempotency_key":"key"}}`)

func BenchmarkPublishCodec(b *testing.B) {
	scope, now := event.NewScope(1, false), time.Now()
	var out []byte
	b.SetBytes(int64(len(kilobyte)))
	b.ReportAllocs()
	for b.Loop() {
		drafts, batch, err := stripeapi.Decode(kilobyte, now, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		events := []*event.Event{drafts[0].Build(scope, now, apiVersion)}
		out = stripeapi.AppendPublished(out[:0], events, batch)
	}
}

// discard is a response writer that costs nothing itself.
type discard struct {
	h      http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func publishOnce(tb testing.TB) func() {
	tb.Helper()
	handler := newFake(tb, &fakes{}).handler
	body := bytes.NewReader(kilobyte)
	r := httptest.NewRequestWithContext(tb.Context(), "POST", "/v2/core/events", io.NopCloser(body))
	r.ContentLength = int64(len(kilobyte))
	r.Header.Set("Authorization", "Bearer "+fakeKey)
	r.Header.Set("Stripe-Version", apiVersion)
	w := &discard{h: http.Header{}}
	return func() {
		clear(w.h)
		body.Reset(kilobyte)
		handler.ServeHTTP(w, r)
		if w.status != 200 {
			tb.Fatalf("status %d", w.status)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	publish := publishOnce(b)
	b.SetBytes(int64(len(kilobyte)))
	b.ReportAllocs()
	for b.Loop() {
		publish()
	}
}
