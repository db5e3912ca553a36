package webhook_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/webhook"
)

var message = target.Message{EventID: "evt_1", Type: "charge.succeeded", Body: []byte(`{"id":"evt_1"}`), Attempt: 1}

func serve(tb testing.TB, handler http.HandlerFunc) *httptest.Server {
	tb.Helper()
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	return server
}

func TestRequest(t *testing.T) {
	t.Parallel()
	type request struct {
		method, uri, host string
		header            http.Header
		length            int64
		body              string
	}
	requests := make(chan request, 1)
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Method, r.RequestURI, r.Host, r.Header, r.ContentLength, string(body)}
	})
	now := time.Unix(1_700_000_000, 0)
	o := webhook.Options{Now: func() time.Time { return now }}
	host := strings.TrimPrefix(server.URL, "http://")
	send := open(t, "http://"+host+"/hook/%2Fx?token=t", o, "whsec_new", "whsec_old")

	for range 2 { // the second over the kept connection, a minute later
		r := send.Send(t.Context(), message)
		if r.Class != event.ClassNone || r.Status != 200 || !r.Started.Equal(now) {
			t.Fatalf("%+v", r)
		}
		got := <-requests
		if got.method != "POST" || got.uri != "/hook/%2Fx?token=t" || got.host != host {
			t.Errorf("%s %s on %s", got.method, got.uri, got.host)
		}
		if got.body != string(message.Body) || got.length != int64(len(message.Body)) {
			t.Errorf("body %q of length %d", got.body, got.length)
		}
		signature := got.header.Get(sign.StripeHeader)
		if !strings.HasPrefix(signature, fmt.Sprintf("t=%d,", now.Unix())) {
			t.Errorf("signature %q is not of %d", signature, now.Unix())
		}
		for _, secret := range []string{"whsec_new", "whsec_old"} {
			if err := sign.VerifyStripe(signature, message.Body, []string{secret}, now, 0); err != nil {
				t.Errorf("%s: %v", secret, err)
			}
		}
		got.header.Del(sign.StripeHeader)
		want := http.Header{
			"Accept":         {"*/*"},
			"Cache-Control":  {"no-cache"},
			"Content-Length": {"14"},
			"Content-Type":   {"application/json; charset=utf-8"},
			"User-Agent":     {"Waybill/1.0 (+https://github.com/waybill-dev/waybill)"},
		}
		if g, w := fmt.Sprint(got.header), fmt.Sprint(want); g != w {
			t.Errorf("headers\n got %s\nwant %s", g, w)
		}
		now = now.Add(time.Minute)
	}
}

func TestEmptyBodyHasALength(t *testing.T) {
	t.Parallel()
	lengths := make(chan int64, 1)
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { lengths <- r.ContentLength })
	if r := open(t, server.URL, webhook.Options{}).Send(t.Context(), target.Message{}); r.Class != event.ClassNone {
		t.Fatalf("%+v", r)
	}
	if n := <-lengths; n != 0 {
		t.Errorf("length %d", n)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		status     int
		retryAfter string
		class      event.Class
		want       time.Duration
		says       string
	}{
		{200, "60", event.ClassNone, 0, ""},
		{202, "", event.ClassNone, 0, ""},
		{204, "", event.ClassNone, 0, ""},
		{299, "", event.ClassNone, 0, ""},
		{300, "", event.ClassRedirect, 0, "300 Multiple Choices"},
		{304, "", event.ClassRedirect, 0, "update the destination's URL"},
		{400, "60", event.ClassStatus, 0, "400 Bad Request; only 2xx counts"},
		{401, "", event.ClassStatus, 0, "check their signature"},
		{404, "", event.ClassStatus, 0, "check the path"},
		{405, "", event.ClassStatus, 0, "must accept POST"},
		{410, "60", event.ClassGone, 0, "410 Gone"},
		{413, "", event.ClassStatus, 0, "limit"},
		{429, "60", event.ClassStatus, time.Minute, "429 Too Many Requests"},
		{429, "soon", event.ClassStatus, 0, "429"},
		{500, "60", event.ClassStatus, 0, "500 Internal Server Error"},
		{503, "120", event.ClassStatus, 2 * time.Minute, "503 Service Unavailable"},
		{503, "", event.ClassStatus, 0, "503"},
		{599, "", event.ClassStatus, 0, "599"},
	} {
		t.Run(fmt.Sprintf("%d %s", test.status, test.retryAfter), func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.retryAfter != "" {
					w.Header().Set("Retry-After", test.retryAfter)
				}
				w.WriteHeader(test.status)
			})
			r := open(t, server.URL, webhook.Options{Now: func() time.Time { return now }}).Send(t.Context(), message)
			if r.Class != test.class || r.Status != test.status || r.RetryAfter != test.want {
				t.Errorf("got %q, %d, retry after %v", r.Class, r.Status, r.RetryAfter)
			}
			if !strings.Contains(r.Message, test.says) || (r.Message == "") != (test.says == "") {
				t.Errorf("message %q", r.Message)
			}
			if r.Permanent != (test.status == 410) {
				t.Errorf("permanent is %t", r.Permanent)
			}
		})
	}
}

func TestRetryAfterDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", now.Add(time.Hour).Format(http.TimeFormat))
		w.WriteHeader(429)
	})
	r := open(t, server.URL, webhook.Options{Now: func() time.Time { return now }}).Send(t.Context(), message)
	if r.RetryAfter > time.Hour || r.RetryAfter < 59*time.Minute {
		t.Errorf("retry after %v", r.RetryAfter)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	c := webhook.New(webhook.Options{})
	some := []string{secret}
	for _, test := range []struct {
		url     string
		secrets []string
		says    string
	}{
		{"ftp://example.com/?token=s3cret", some, "https://"},
		{"https://user:s3cret@example.com/", some, "password"},
		{"https://example.com/?to ken=s3cret", some, "space"},
		{"https://example.com/", nil, "secret"},
		{"https://example.com/", []string{secret, ""}, "secret"},
	} {
		_, err := c.Open(event.Target{Kind: event.TargetWebhook, Webhook: &event.WebhookTarget{URL: test.url, Secrets: live(test.secrets...)}})
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", test.url, err)
		}
	}
	for _, kind := range []event.Target{{}, {Kind: event.TargetWebhook}, {Kind: "queue", Webhook: &event.WebhookTarget{URL: "https://example.com", Secrets: live(some...)}}} {
		if _, err := c.Open(kind); err == nil {
			t.Errorf("%+v: opened", kind)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	server := serve(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusOK)
	})
	to := open(b, server.URL, webhook.Options{})
	m := message
	m.Body = bytes.Repeat([]byte("x"), 1<<10)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := to.Send(b.Context(), m); r.Class != event.ClassNone {
				b.Error(r.Message)
			}
		}
	})
}

// BenchmarkBarePost is the least that net/http needs for the same exchange.
func BenchmarkBarePost(b *testing.B) {
	server := serve(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusOK)
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	b.Cleanup(transport.CloseIdleConnections)
	body := bytes.Repeat([]byte("x"), 1<<10)
	u, err := url.Parse(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			response, err := transport.RoundTrip((&http.Request{
				Method: "POST", URL: u, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
			}).WithContext(b.Context()))
			if err != nil {
				b.Error(err)
				return
			}
			_ = response.Body.Close()
		}
	})
}
