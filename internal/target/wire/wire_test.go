package wire_test

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
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

// What every target must withstand is in package targettest. Here is what only
// this client promises: its sentences, what it keeps of an answer, and when it
// uses a connection again.

// post is the head of a request.
type post struct{}

func (post) AppendHead(dst, body []byte, _ time.Time) []byte {
	return fmt.Appendf(dst, "POST / HTTP/1.1\r\nHost: peer\r\nContent-Length: %d\r\n\r\n", len(body))
}

var body = []byte(`{"id":"evt_1"}`)

// to returns what makes one try to a URL that may lead to this machine. What is
// refused has the class of a status.
func to(t *testing.T, rawURL string, o wire.Options) func(ctx context.Context) target.Result {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	o.Guard.AllowPrivate = true
	c := wire.New(o)
	t.Cleanup(c.Close)
	u, err := wire.ParseURL(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	origin := c.Origin(u)
	return func(ctx context.Context) target.Result {
		r := target.Result{Started: time.Now()}
		if _, refused := origin.Exchange(ctx, wire.Request{Head: post{}, Body: body, Start: r.Started}, &r); refused {
			r.Class = event.ClassStatus
		}
		return r
	}
}

func serve(t *testing.T, handler http.HandlerFunc) (url string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// counting serves and counts the connections.
func counting(t *testing.T, handler http.HandlerFunc) (server *httptest.Server, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	server = httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server, connections
}

// serveConn handles connections; the address is all that is left of them.
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

// serveBytes answers every request with the same bytes and closes.
func serveBytes(t *testing.T, answer string) (address string) {
	t.Helper()
	return serveConn(t, func(conn net.Conn) {
		if readRequest(conn) {
			_, _ = io.WriteString(conn, answer)
		}
	})
}

// readRequest reads until the end of the body.
func readRequest(conn net.Conn) bool {
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(got, body) {
		n, err := conn.Read(buf)
		if err != nil {
			return false
		}
		got = append(got, buf[:n]...)
	}
	return true
}

func TestFailures(t *testing.T) {
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
	mute := serveConn(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	halfBody := serveConn(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		_, _ = io.Copy(io.Discard, conn)
	})
	bomb := "HTTP/1.1 200 OK\r\nX-Bomb: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"
	trusting := wire.Options{RootCAs: untrusted.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	impatient := wire.Options{Timeout: 100 * time.Millisecond}

	for _, test := range []struct {
		name, url string
		o         wire.Options
		class     event.Class
		says      string
	}{
		{"no such name", "http://no-such-host.invalid/", wire.Options{}, event.ClassDNS, "no-such-host.invalid"},
		{"refused", "http://" + closed, wire.Options{}, event.ClassConnect, "refused"},
		{"refused TLS", "https://" + closed, wire.Options{}, event.ClassConnect, "refused"},
		{"reset", "http://" + reset, wire.Options{}, event.ClassConnect, "reset"},
		{"unknown authority", untrusted.URL, wire.Options{}, event.ClassTLS, "unknown authority"},
		{"another name", otherName, trusting, event.ClassTLS, "another name"},
		{"HTTP for HTTPS", strings.Replace(plain, "http:", "https:", 1), wire.Options{}, event.ClassTLS, "plain HTTP"},
		{"garbage for TLS", "https://" + serveConn(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "220 smtp ready\r\n") }), wire.Options{}, event.ClassTLS, "not TLS"},
		{"hang-up in handshake", "https://" + serveConn(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)) }), wire.Options{}, event.ClassTLS, "closed"},
		{"no answer", "http://" + serveBytes(t, ""), wire.Options{}, event.ClassProtocol, "without an answer"},
		{"not HTTP", "http://" + serveBytes(t, "220 smtp ready\r\n"), wire.Options{}, event.ClassProtocol, "malformed"},
		{"large header", "http://" + serveBytes(t, bomb), wire.Options{}, event.ClassProtocol, "exceed"},
		{"half a header", "http://" + serveBytes(t, "HTTP/1.1 200 OK\r\nX-Ha"), wire.Options{}, event.ClassProtocol, "malformed"},
		{"half a body", "http://" + serveBytes(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), wire.Options{}, event.ClassProtocol, "broke off"},
		{"broken chunk", "http://" + serveBytes(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), wire.Options{}, event.ClassProtocol, "chunk"},
		{"nothing in time", "http://" + mute, impatient, event.ClassTimeout, "No answer within 0.1 s"},
		{"no handshake in time", "https://" + mute, impatient, event.ClassTimeout, "No answer within 0.1 s"},
		{"no end in time", "http://" + halfBody, impatient, event.ClassTimeout, "200 OK began but its body did not end within 0.1 s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := to(t, test.url, test.o)(t.Context())
			if r.Class != test.class || !strings.Contains(r.Message, test.says) {
				t.Errorf("%q: %s", r.Class, r.Message)
			}
			// Addresses that nobody configured are nobody's affair.
			if u, _ := url.Parse(test.url); strings.Contains(strings.ReplaceAll(r.Message, u.Host, ""), "127.0.0.1") {
				t.Errorf("message tells too much: %q", r.Message)
			}
		})
	}
}

func TestBlockedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	c := wire.New(wire.Options{Timeout: time.Minute})
	u, err := wire.ParseURL("http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	r := target.Result{Started: time.Now()}
	c.Origin(u).Exchange(t.Context(), wire.Request{Head: post{}, Start: r.Started}, &r)
	if r.Class != event.ClassBlocked || !strings.Contains(r.Message, "loopback") || !strings.Contains(r.Message, "--allow-network") {
		t.Errorf("%q: %s", r.Class, r.Message)
	}
}

func TestRedirectSaysWhereTo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ location, says string }{
		{"https://example.com/path?token=s3cret", "redirects to example.com ("},
		{"/other?token=s3cret", "another path on the same host"},
		{"http://user:s3cret@example.com/", "redirects to example.com ("},
		{"mailto:s3cret@example.com", "redirects elsewhere"},
		{"http://[::1", "redirects elsewhere"},
		{"", "redirects ("},
	} {
		address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if test.location != "" {
				w.Header().Set("Location", test.location)
			}
			w.WriteHeader(307)
		})
		r := to(t, address, wire.Options{})(t.Context())
		if r.Class != event.ClassRedirect || r.Status != 307 || !strings.Contains(r.Message, test.says) || strings.Contains(r.Message, "s3cret") {
			t.Errorf("%s: %d, %q: %s", test.location, r.Status, r.Class, r.Message)
		}
	}
}

// A refusal is one by its status; its body cannot make it anything else.
func TestRefusalWithABrokenBody(t *testing.T) {
	t.Parallel()
	address := serveBytes(t, "HTTP/1.1 410 Gone\r\nContent-Length: 10\r\n\r\nhalf")
	r := to(t, "http://"+address, wire.Options{})(t.Context())
	if r.Class != event.ClassStatus || r.Status != 410 || string(r.Body) != "half" || !r.Truncated {
		t.Errorf("%+v", r)
	}
}

// The caller's own deadline is no fault of the peer.
func TestCallersDeadlineIsAnInterruption(t *testing.T) {
	t.Parallel()
	address := serveConn(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r := to(t, "http://"+address, wire.Options{})(ctx); r.Class != target.Interrupted {
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
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes())
	})
	r := to(t, address, wire.Options{})(t.Context())
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
			server, connections := counting(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
			send := to(t, server.URL, wire.Options{})
			for range 3 {
				r := send(t.Context())
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
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
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
	r := to(t, address, wire.Options{})(t.Context())
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
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("A-Large", strings.Repeat("x", 9<<10))
		for i := range 200 {
			w.Header().Set(fmt.Sprintf("B-%03d", i), strings.Repeat("y", 10))
		}
		w.WriteHeader(204)
	})
	r := to(t, address, wire.Options{})(t.Context())
	if len(r.Headers) != 64 || r.Headers[0].Name != "B-000" || r.Headers[63].Name != "B-063" {
		t.Errorf("%d headers: %q", len(r.Headers), r.Headers)
	}
}

func TestConnectionClosedWhileIdle(t *testing.T) {
	t.Parallel()
	server, connections := counting(t, func(http.ResponseWriter, *http.Request) {})
	send := to(t, server.URL, wire.Options{})
	for i := range 5 {
		if r := send(t.Context()); r.Class != "" {
			t.Fatalf("send %d: %q: %s", i, r.Class, r.Message)
		}
		server.CloseClientConnections()
		<-time.After(15 * time.Millisecond) // idle long enough to be asked after
	}
	if n := connections.Load(); n != 5 {
		t.Errorf("%d connections, want a new one for each send", n)
	}
}
