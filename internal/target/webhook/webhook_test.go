package webhook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
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

// serveBytes answers every connection with the same bytes, as soon as a
// request's headers and body are in, and closes it.
func serveBytes(t *testing.T, answer string) (address string) {
	t.Helper()
	return serveConn(t, func(conn net.Conn) {
		if readRequest(conn) {
			_, _ = io.WriteString(conn, answer)
		}
	})
}

func serveConn(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// readRequest reads until the end of message's body.
func readRequest(conn net.Conn) bool {
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(got, message.Body) {
		n, err := conn.Read(buf)
		if err != nil {
			return false
		}
		got = append(got, buf[:n]...)
	}
	return true
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
	send := open(t, "http://user:pa%3Ass@"+host+"/hook/%2Fx?token=t#part", o, "whsec_new", "whsec_old")

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
			"Authorization":  {"Basic dXNlcjpwYTpzcw=="},
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

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	second := serve(t, func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	secondHost := strings.TrimPrefix(second.URL, "http://")
	for _, test := range []struct{ location, says string }{
		{second.URL + "/path?token=s3cret", "redirects to " + secondHost + " ("},
		{"/other?token=s3cret", "another path on the same host"},
		{"http://user:s3cret@" + secondHost + "/", "redirects to " + secondHost + " ("},
		{"mailto:s3cret@example.com", "redirects elsewhere"},
		{"http://[::1", "redirects elsewhere"},
		{"", "redirects ("},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.location != "" {
					w.Header().Set("Location", test.location)
				}
				w.WriteHeader(status)
			})
			r := open(t, server.URL, webhook.Options{}).Send(t.Context(), message)
			if r.Class != event.ClassRedirect || r.Status != status || r.Permanent {
				t.Errorf("%s: %+v", test.location, r)
			}
			if !strings.Contains(r.Message, test.says) || strings.Contains(r.Message, "s3cret") {
				t.Errorf("%s: message %q", test.location, r.Message)
			}
		}
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("the second server got %d requests", n)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	address := serveConn(t, func(net.Conn) { connections.Add(1) })
	_, port, _ := net.SplitHostPort(address)
	for _, scheme := range []string{"http", "https"} {
		for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
			c := webhook.New(webhook.Options{Guard: netguard.Policy{}})
			t.Cleanup(c.Close)
			to, err := c.Open(event.Target{Kind: event.TargetWebhook, Webhook: &event.WebhookTarget{
				URL: scheme + "://" + host + ":" + port + "/?token=s3cret", Secrets: []string{secret},
			}})
			if err != nil {
				t.Fatal(err)
			}
			r := to.Send(t.Context(), message)
			if r.Class != event.ClassBlocked || !strings.Contains(r.Message, "loopback") || !strings.Contains(r.Message, "--allow-network") {
				t.Errorf("%s: %q: %s", host, r.Class, r.Message)
			}
			if strings.Contains(r.Message, "s3cret") || host == "localhost" && strings.Contains(r.Message, "127.0.0.1") {
				t.Errorf("%s: message tells too much: %s", host, r.Message)
			}
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	// The guard lets the proxy through, but not the address that net/http would
	// send there.
	c := webhook.New(webhook.Options{Guard: netguard.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	t.Cleanup(c.Close)
	to, err := c.Open(event.Target{Kind: event.TargetWebhook, Webhook: &event.WebhookTarget{URL: "http://10.1.2.3/", Secrets: []string{secret}}})
	if err != nil {
		t.Fatal(err)
	}
	if r := to.Send(t.Context(), message); r.Class != event.ClassBlocked {
		t.Errorf("%+v", r)
	}
}

func TestConnectionFailures(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	otherName := strings.Replace(untrusted.URL, "127.0.0.1", "localhost", 1)
	reset := serveConn(t, func(conn net.Conn) {
		if readRequest(conn) {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
	})
	bomb := "HTTP/1.1 200 OK\r\nX-Bomb: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"
	many := "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 100_000) + "\r\n"
	trusting := webhook.Options{RootCAs: untrusted.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}

	for _, test := range []struct {
		name, url string
		o         webhook.Options
		class     event.Class
		says      string
	}{
		{"no such name", "http://no-such-host.invalid/", webhook.Options{}, event.ClassDNS, "no-such-host.invalid"},
		{"refused", "http://" + closed, webhook.Options{}, event.ClassConnect, "refused"},
		{"refused TLS", "https://" + closed, webhook.Options{}, event.ClassConnect, "refused"},
		{"reset", "http://" + reset, webhook.Options{}, event.ClassConnect, "reset"},
		{"unknown authority", untrusted.URL, webhook.Options{}, event.ClassTLS, "unknown authority"},
		{"another name", otherName, trusting, event.ClassTLS, "another name"},
		{"HTTP for HTTPS", strings.Replace(plain.URL, "http:", "https:", 1), webhook.Options{}, event.ClassTLS, "plain HTTP"},
		{"garbage for TLS", "https://" + serveConn(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "220 smtp ready\r\n") }), webhook.Options{}, event.ClassTLS, "not TLS"},
		{"hang-up in handshake", "https://" + serveConn(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)) }), webhook.Options{}, event.ClassTLS, "closed"},
		{"no answer", "http://" + serveBytes(t, ""), webhook.Options{}, event.ClassProtocol, "without an answer"},
		{"not HTTP", "http://" + serveBytes(t, "220 smtp \x1b[31mready\r\n"), webhook.Options{}, event.ClassProtocol, "malformed"},
		{"one large header", "http://" + serveBytes(t, bomb), webhook.Options{}, event.ClassProtocol, "exceed"},
		{"many headers", "http://" + serveBytes(t, many), webhook.Options{}, event.ClassProtocol, "exceed"},
		{"half a header", "http://" + serveBytes(t, "HTTP/1.1 200 OK\r\nX-Ha"), webhook.Options{}, event.ClassProtocol, "malformed"},
		{"half a body", "http://" + serveBytes(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), webhook.Options{}, event.ClassProtocol, "broke off"},
		{"broken chunk", "http://" + serveBytes(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), webhook.Options{}, event.ClassProtocol, "chunk"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, test.url+"?token=s3cret", test.o).Send(t.Context(), message)
			if r.Class != test.class || !strings.Contains(r.Message, test.says) {
				t.Errorf("%q: %s", r.Class, r.Message)
			}
			u, _ := url.Parse(test.url)
			if strings.Contains(r.Message, "s3cret") || strings.Contains(strings.ReplaceAll(r.Message, u.Host, ""), "127.0.0.1") ||
				strings.ContainsFunc(r.Message, func(c rune) bool { return c < ' ' }) {
				t.Errorf("message tells too much: %q", r.Message)
			}
		})
	}
}

func TestSlowHeader(t *testing.T) {
	t.Parallel()
	address := serveConn(t, func(conn net.Conn) {
		if !readRequest(conn) {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: ")
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C { // never silent, never done
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
		}
	})
	r := open(t, "http://"+address, webhook.Options{Timeout: 100 * time.Millisecond}).Send(t.Context(), message)
	if r.Class != event.ClassTimeout || !strings.Contains(r.Message, "0.1 s") || r.Status != 0 || r.FirstByte != 0 {
		t.Errorf("%+v", r)
	}
}

func TestSlowHandshake(t *testing.T) {
	t.Parallel()
	address := serveConn(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	r := open(t, "https://"+address, webhook.Options{Timeout: 100 * time.Millisecond}).Send(t.Context(), message)
	if r.Class != event.ClassTimeout {
		t.Errorf("%+v", r)
	}
}

// A refusal is one by its status; its body cannot make it anything else.
func TestRefusalWithABrokenBody(t *testing.T) {
	t.Parallel()
	address := serveBytes(t, "HTTP/1.1 410 Gone\r\nContent-Length: 10\r\n\r\nhalf")
	r := open(t, "http://"+address, webhook.Options{}).Send(t.Context(), message)
	if r.Class != event.ClassGone || !r.Permanent || string(r.Body) != "half" || !r.Truncated {
		t.Errorf("%+v", r)
	}
}

func TestSwitchingProtocols(t *testing.T) {
	t.Parallel()
	address := serveConn(t, func(conn net.Conn) {
		if readRequest(conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}
	})
	r := open(t, "http://"+address, webhook.Options{}).Send(t.Context(), message)
	if r.Class != event.ClassStatus || r.Status != 101 {
		t.Errorf("%+v", r)
	}
}

// The caller's own deadline is no fault of the endpoint.
func TestCallersDeadlineIsAnInterruption(t *testing.T) {
	t.Parallel()
	address := serveConn(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r := open(t, "http://"+address, webhook.Options{}).Send(ctx, message); r.Class != target.Interrupted {
		t.Errorf("%+v", r)
	}
}

func TestBodyIsNotInflated(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(make([]byte, 1<<20))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("the request accepts encodings")
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes())
	})
	r := open(t, server.URL, webhook.Options{}).Send(t.Context(), message)
	if r.Class != event.ClassNone || !bytes.Equal(r.Body, zipped.Bytes()) || r.Truncated {
		t.Errorf("%q, %d bytes of %d", r.Class, len(r.Body), zipped.Len())
	}
}

// Bodies up to 64 KB leave the connection usable, longer ones cost it.
func TestBodiesAndConnections(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		size        int
		connections int32
	}{{0, 1}, {1, 1}, {event.MaxKeptBody, 1}, {event.MaxKeptBody + 1, 1}, {64<<10 - 1, 1}, {64<<10 + 1, 3}, {1 << 20, 3}} {
		t.Run(fmt.Sprint(test.size), func(t *testing.T) {
			t.Parallel()
			body := make([]byte, test.size)
			for i := range body {
				body[i] = byte(i * i >> 8)
			}
			var connections atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					connections.Add(1)
				}
			}
			server.Start()
			t.Cleanup(server.Close)
			to := open(t, server.URL, webhook.Options{})
			for range 3 {
				r := to.Send(t.Context(), message)
				want := body[:min(len(body), event.MaxKeptBody)]
				if r.Class != event.ClassNone || !bytes.Equal(r.Body, want) || r.Truncated != (len(body) > len(want)) {
					t.Fatalf("%q: %s, %d bytes, truncated %t", r.Class, r.Message, len(r.Body), r.Truncated)
				}
			}
			if n := connections.Load(); n != test.connections {
				t.Errorf("%d connections for 3 sends", n)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Date"] = nil
		h.Set("Content-Type", "text/plain")
		h.Set("X-Request-Id", "req_1")
		h.Add("Set-Cookie", "session=s3cret")
		h.Add("Vary", "B")
		h.Add("Vary", "A")
		h.Set("A-Latin", "caf\xe9")
		w.WriteHeader(204)
	})
	r := open(t, server.URL, webhook.Options{}).Send(t.Context(), message)
	want := []event.Header{
		{Name: "A-Latin", Value: "caf\uFFFD"},
		{Name: "Content-Type", Value: "text/plain"},
		{Name: "Set-Cookie", Value: "[redacted]"},
		{Name: "Vary", Value: "B"},
		{Name: "Vary", Value: "A"},
		{Name: "X-Request-Id", Value: "req_1"},
	}
	if !slices.Equal(r.Headers, want) {
		t.Errorf("got %q", r.Headers)
	}
}

func TestHeaderLimits(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("A-Large", strings.Repeat("x", 9<<10))
		for i := range 200 {
			w.Header().Set(fmt.Sprintf("B-%03d", i), strings.Repeat("y", 10))
		}
		w.WriteHeader(204)
	})
	r := open(t, server.URL, webhook.Options{}).Send(t.Context(), message)
	if len(r.Headers) != 64 || r.Headers[0].Name != "B-000" || r.Headers[63].Name != "B-063" {
		t.Errorf("%d headers: %q", len(r.Headers), r.Headers)
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
		{"", some, "https://"},
		{"example.com", some, "https://"},
		{"ftp://example.com/", some, "https://"},
		{"https:example.com", some, "host"},
		{"https://", some, "host"},
		{"https://:443/", some, "host"},
		{"https://example.com:/", some, "port"},
		{"https://example.com:0/", some, "port"},
		{"https://example.com:65536/", some, "port"},
		{"https://exa mple.com/?token=s3cret", some, "URL"},
		{"https://example.com/\x00?token=s3cret", some, "URL"},
		{"https://example.com/%zz?token=s3cret", some, "URL"},
		{"https://example.com/", nil, "secret"},
		{"https://example.com/", []string{secret, ""}, "secret"},
	} {
		_, err := c.Open(event.Target{Kind: event.TargetWebhook, Webhook: &event.WebhookTarget{URL: test.url, Secrets: test.secrets}})
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", test.url, err)
		}
	}
	for _, kind := range []event.Target{{}, {Kind: event.TargetWebhook}, {Kind: "queue", Webhook: &event.WebhookTarget{URL: "https://example.com", Secrets: some}}} {
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

func TestConnectionClosedWhileIdle(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	target := open(t, server.URL, webhook.Options{})
	for i := range 5 {
		if r := target.Send(t.Context(), message); r.Class != "" {
			t.Fatalf("send %d: %q: %s", i, r.Class, r.Message)
		}
		server.CloseClientConnections()
		<-time.After(15 * time.Millisecond) // idle long enough to be asked after
	}
	if n := connections.Load(); n != 5 {
		t.Errorf("%d connections, want a new one for each send", n)
	}
}

func TestEarlyHintsPrecedeTheAnswer(t *testing.T) {
	t.Parallel()
	address := serveBytes(t, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
	if r := open(t, "http://"+address, webhook.Options{}).Send(t.Context(), message); r.Status != 204 || r.Class != "" {
		t.Errorf("status %d, %q: %s", r.Status, r.Class, r.Message)
	}
}
