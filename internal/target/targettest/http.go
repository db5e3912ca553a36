package targettest

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/target"
)

// Endpoint is what an HTTP target under test is opened with.
type Endpoint struct {
	// URL is where requests have to go. Its query holds Secret.
	URL     string
	Timeout time.Duration
	Guard   netguard.Policy
	RootCAs *x509.CertPool // nil if there is no TLS
}

// HTTPHarness makes the HTTP targets that the suite tests. Only Open is needed
// for one that sends a message as it is and goes by the answer's status.
type HTTPHarness struct {
	// Open returns a target for an endpoint. It cleans up through t.
	Open func(t *testing.T, e Endpoint) target.Target
	// MessageOf returns the message that a request carries; nil is its body.
	MessageOf func(r *http.Request, body []byte) []byte
	// Success is the body of the answer that takes a message; "" is some JSON.
	Success string
	// BodyDecides means that an answer whose body cannot be read to its end
	// takes no message, whatever its status.
	BodyDecides bool
	// Final is the status of an answer by which no further try can succeed;
	// 0 is 410. FinalBody is its body.
	Final     int
	FinalBody string
}

const (
	// patient is a time-out that no test waits for, unless it fails.
	patient = 30 * time.Second
	// short is a time-out that tests do wait for.
	short = 150 * time.Millisecond
	// enough memory for any one try. A flood that is kept passes it at once.
	enough = 8 << 20
)

// RunHTTP runs the suite, Run included, over HTTP and over HTTPS. Do not run it
// in parallel with other tests: it measures memory.
func RunHTTP(t *testing.T, h HTTPHarness) {
	t.Helper()
	if h.MessageOf == nil {
		h.MessageOf = func(_ *http.Request, body []byte) []byte { return body }
	}
	h.Success = cmp.Or(h.Success, `{"received":true}`)
	h.Final = cmp.Or(h.Final, http.StatusGone)
	t.Run("proxy", func(t *testing.T) { testProxy(t, h) })
	for _, s := range []scenes{{h, false}, {h, true}} {
		name := "HTTP"
		if s.overTLS {
			name = "HTTPS"
		}
		t.Run(name, func(t *testing.T) {
			s.floods(t) // first, because they run alone
			t.Run("guard", s.testGuard)
			t.Run("nobody there", s.testNobodyThere)
			s.accepted(t)
			s.refused(t)
			s.timeouts(t)
			Run(t, Harness{New: func(t *testing.T, b Behavior) Peer { return s.start(t, s.behave(b), patient) }})
		})
	}
}

// scenes are the tests of one harness over one protocol.
type scenes struct {
	HTTPHarness
	overTLS bool
}

func (s *scenes) start(t *testing.T, play script, timeout time.Duration) Peer {
	t.Helper()
	p := startHTTPPeer(t, play, s.overTLS, s.MessageOf)
	return Peer{
		Target: s.Open(t, Endpoint{
			URL: hook(p.url), Timeout: timeout, Guard: netguard.Policy{AllowPrivate: true}, RootCAs: p.roots,
		}),
		Received: p.all, Hanging: p.hanging, RetryAfter: play.retryAfter,
	}
}

func hook(url string) string { return url + "/hook?token=" + Secret }

// withLength is a complete answer.
func withLength(status int, headers, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), headers, len(body), body)
}

// half begins an answer that takes a message, and declares more than it has.
const half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"

func (s *scenes) behave(b Behavior) script {
	const wait = 30 * time.Second
	switch b {
	case Refuses:
		return script{answer: withLength(503, fmt.Sprintf("Retry-After: %.0f\r\n", wait.Seconds()), "busy"), retryAfter: wait}
	case RefusesForGood:
		return script{answer: withLength(s.Final, "", s.FinalBody)}
	case Hangs:
		return script{unread: true, hangs: true}
	}
	return script{answer: withLength(200, "", s.Success)}
}

// accepted has the forms that an answer may have which takes a message.
func (s *scenes) accepted(t *testing.T) {
	ok := withLength(200, "", s.Success)
	chunks := fmt.Sprintf("%x;extension\r\n%s\r\n0\r\nTrailer: value\r\n\r\n", len(s.Success), s.Success)
	for name, play := range map[string]script{
		"status 201":            {answer: withLength(201, "", s.Success)},
		"bare reason":           {answer: strings.Replace(ok, " OK", "", 1)},
		"after hints":           {answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok},
		"in chunks":             {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks},
		"to the end":            {answer: "HTTP/1.0 200 OK\r\n\r\n" + s.Success, closes: true},
		"closes":                {answer: withLength(200, "Connection: close\r\n", s.Success), closes: true},
		"more than it declares": {answer: ok + withLength(500, "", "")},
		"hostile headers":       {answer: withLength(200, "X-Bytes: \xc3\x28\xff\r\nSet-Cookie: session="+Secret+"\r\nX-Again: 1\r\nx-again: 2\r\n", s.Success)},
	} {
		t.Run("accepted/"+name, func(t *testing.T) {
			t.Parallel()
			testAccepted(t, s.start(t, play, patient))
		})
	}
}

// refused has answers that take no message, although some begin well.
func (s *scenes) refused(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	moved := "Location: /elsewhere?token=" + Secret + "\r\n"
	for name, test := range map[string]struct {
		script
		want permanence
	}{
		"hangs up":              {script{closes: true}, passes},
		"breaks off":            {script{answer: half, closes: true}, passes},
		"breaks off in headers": {script{answer: "HTTP/1.1 200 OK\r\nX-Ha", closes: true}, passes},
		"breaks off in chunks":  {script{answer: chunked + "4\r\nhalf\r\n", closes: true}, passes},
		"breaks off after 100":  {script{answer: "HTTP/1.1 100 Continue\r\n\r\n", closes: true}, passes},
		"broken chunk":          {script{answer: chunked + "zz\r\n", closes: true}, passes},
		"no HTTP":               {script{answer: "220 smtp \x1b[31mready\r\n", closes: true}, passes},
		"two lengths":           {script{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk", closes: true}, passes},
		"negative length":       {script{answer: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", closes: true}, passes},
		"broken refusal":        {script{answer: strings.Replace(half, "200 OK", "500 No", 1), closes: true}, passes},
		"switches protocols":    {script{answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"}, eitherWay},
		"moved to GET":          {script{answer: withLength(302, moved, "")}, eitherWay},
		"moved":                 {script{answer: withLength(308, moved, "")}, eitherWay},
		"not modified":          {script{answer: "HTTP/1.1 304 Not Modified\r\n\r\n"}, eitherWay},
	} {
		t.Run("refused/"+name, func(t *testing.T) {
			t.Parallel()
			testRefused(t, s.start(t, test.script, patient), test.want)
		})
	}
	t.Run("refused/before it has read", func(t *testing.T) {
		t.Parallel()
		p := s.start(t, script{unread: true, answer: withLength(413, "Connection: close\r\n", ""), closes: true}, patient)
		r := send(t.Context(), t, p, large())
		checkRefused(t, p, &r, eitherWay)
	})
	if s.overTLS {
		t.Run("refused/impostor", func(t *testing.T) {
			t.Parallel()
			p := s.start(t, script{impostor: true, answer: withLength(200, "", s.Success)}, patient)
			r := send(t.Context(), t, p, []byte(`{}`))
			checkRefused(t, p, &r, passes)
			if got := p.Received(); len(got) != 0 {
				t.Errorf("an impostor got %d messages", len(got))
			}
		})
	}
}

func (s *scenes) timeouts(t *testing.T) {
	for name, play := range map[string]script{
		"nothing":       {mute: true},
		"no answer":     {unread: true, hangs: true},
		"half a body":   {answer: half, hangs: true},
		"half a header": {answer: "HTTP/1.1 200 OK\r\nX-Ha", hangs: true},
		"slow headers":  {answer: "HTTP/1.1 200 OK\r\nX-Slow: ", endless: "x", slow: true},
		"slow body":     {answer: "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", endless: "x", slow: true},
	} {
		t.Run("timeout/"+name, func(t *testing.T) {
			t.Parallel()
			p := s.start(t, play, short)
			body := []byte(`{}`)
			if play.unread {
				body = large()
			}
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			start := time.Now()
			r := send(ctx, t, p, body)
			if elapsed := time.Since(start); elapsed < short || elapsed > prompt {
				t.Errorf("returned after %v with a time-out of %v", elapsed, short)
			}
			if r.Class != event.ClassTimeout || r.Permanent {
				t.Errorf("got %q, permanent %t: %s", r.Class, r.Permanent, r.Message)
			}
			if got := p.Received(); len(got) > 1 {
				t.Errorf("the peer got %d messages", len(got))
			}
		})
	}
	t.Run("interrupted/half a body", func(t *testing.T) {
		t.Parallel()
		testInterrupted(t, s.start(t, script{answer: half, hangs: true}, patient), []byte(`{}`))
	})
}

// floods has answers that have no end, or declare one that is far off. Each
// must run alone: what the whole process allocates is counted.
func (s *scenes) floods(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	piece := strings.Repeat("0123456789abcdef", 1<<10)
	for name, test := range map[string]struct {
		script
		body bool // is what floods, behind good headers
	}{
		"body":           {script{answer: ok + "\r\n", endless: piece}, true},
		"body of 2 GB":   {script{answer: ok + "Content-Length: 2000000000\r\n\r\n", endless: piece}, true},
		"chunks":         {script{answer: ok + "Transfer-Encoding: chunked\r\n\r\n", endless: "4000\r\n" + piece + "\r\n"}, true},
		"refusal":        {script{answer: "HTTP/1.1 500 No\r\n\r\n", endless: piece}, true},
		"headers":        {script{answer: ok, endless: "X-Bomb: 1\r\n"}, false},
		"one header":     {script{answer: ok + "X-Bomb: ", endless: piece}, false},
		"trailers":       {script{answer: ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n", endless: "X-Bomb: 1\r\n"}, false},
		"chunk length":   {script{answer: ok + "Transfer-Encoding: chunked\r\n\r\n", endless: "0"}, false},
		"early hints":    {script{endless: "HTTP/1.1 103 Early Hints\r\n\r\n"}, false},
		"no HTTP at all": {script{endless: piece}, false},
	} {
		t.Run("bounded/"+name, func(t *testing.T) {
			p := s.start(t, test.script, patient)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := send(t.Context(), t, p, []byte(`{}`))
			runtime.ReadMemStats(&after)

			if used := after.TotalAlloc - before.TotalAlloc; used > enough {
				t.Errorf("allocated %d bytes", used)
			}
			if test.body && (len(r.Body) != event.MaxKeptBody || !r.Truncated) {
				t.Errorf("%d bytes kept, truncated is %t", len(r.Body), r.Truncated)
			}
			if taken := test.body && name != "refusal" && !s.BodyDecides; !taken {
				checkRefused(t, p, &r, passes)
			} else if r.Class != event.ClassNone {
				t.Errorf("got %s: %s", r.Class, r.Message)
			}
			if got := p.Received(); len(got) != 1 {
				t.Errorf("the peer got %d messages", len(got))
			}
		})
	}
}

// testGuard sends to this machine, which the guard does not allow unless told.
func (s *scenes) testGuard(t *testing.T) {
	p := startHTTPPeer(t, script{answer: withLength(200, "", s.Success)}, s.overTLS, s.MessageOf)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		to := s.Open(t, Endpoint{URL: hook(strings.Replace(p.url, "127.0.0.1", host, 1)), Timeout: patient, RootCAs: p.roots})
		r := send(t.Context(), t, Peer{Target: to}, []byte(`{}`))
		if r.Class != event.ClassBlocked || r.Permanent {
			t.Errorf("%s: got %q, permanent %t: %s", host, r.Class, r.Permanent, r.Message)
		}
		if host == "localhost" && strings.Contains(r.Message, "127.0.0.1") {
			t.Errorf("the message tells an address that was not configured: %s", r.Message)
		}
	}
	if n := p.connected(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func (s *scenes) testNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := url.URL{Scheme: "http", Host: listener.Addr().String()}
	if s.overTLS {
		at.Scheme = "https"
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	to := s.Open(t, Endpoint{URL: hook(at.String()), Timeout: patient, Guard: netguard.Policy{AllowPrivate: true}})
	r := send(t.Context(), t, Peer{Target: to}, []byte(`{}`))
	if r.Class != event.ClassConnect || r.Permanent {
		t.Errorf("got %q, permanent %t: %s", r.Class, r.Permanent, r.Message)
	}
}

// testProxy offers a proxy in the environment that the guard lets through. Its
// use would hide from the guard where a message goes.
func testProxy(t *testing.T, h HTTPHarness) {
	p := startHTTPPeer(t, script{answer: withLength(200, "", h.Success)}, false, h.MessageOf)
	t.Setenv("HTTP_PROXY", p.url)
	t.Setenv("http_proxy", p.url)
	to := h.Open(t, Endpoint{
		URL: hook("http://10.1.2.3"), Timeout: patient,
		Guard: netguard.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if r := send(t.Context(), t, Peer{Target: to}, []byte(`{}`)); r.Class != event.ClassBlocked {
		t.Errorf("got %q: %s", r.Class, r.Message)
	}
	if n := p.connected(); n != 0 {
		t.Errorf("%d connections to the proxy", n)
	}
}
