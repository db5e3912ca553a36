package wire

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

const (
	// Idle connections, for one host and for all.
	idlePerHost = 256
	idleTotal   = 2048
	idleTimeout = 60 * time.Second
	// unchecked is how long an idle connection is taken to be alive without
	// asking the kernel whether the peer has closed it.
	unchecked = 10 * time.Millisecond

	maxHeaderBytes = 64 << 10
	readBuffer     = 4 << 10
	// A larger body is not copied behind the headers but written by itself.
	maxJoined = 16 << 10
)

var errHeaderTooLarge = errors.New("its headers exceed 64 KB")

// conn is a connection in the hands of one exchange, or idle in its pool.
type conn struct {
	net.Conn
	raw    syscall.RawConn // of the TCP connection; nil if it has none
	reader *bufio.Reader
	out    []byte
	// quota is how much more may be read before the answer is too large.
	quota  int
	failed error     // what ended reading, unless the peer did
	since  time.Time // when it became idle
}

// Read keeps an answer's headers from growing without bound; its body is
// bounded by who reads it.
func (c *conn) Read(p []byte) (n int, err error) {
	if err = errHeaderTooLarge; c.quota > 0 {
		n, err = c.Conn.Read(p[:min(len(p), c.quota)])
		c.quota -= n
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}

// abort closes the connection at once. Close of a TLS connection says goodbye
// first, for which a peer that reads nothing can make it wait 5 s.
func (c *conn) abort() {
	if secured, ok := c.Conn.(*tls.Conn); ok {
		_ = secured.NetConn().Close() // whatever became of it is known already
		return
	}
	_ = c.Close() // likewise
}

// pool keeps the idle connections to one address.
type pool struct {
	address string
	tls     *tls.Config // nil for plain HTTP
	dialer  *net.Dialer
	total   *atomic.Int64 // idle connections of all pools

	mu    sync.Mutex
	idle  []*conn // oldest first
	sweep *time.Timer
}

// get returns a connection that was alive a moment ago, or a new one.
func (p *pool) get(ctx context.Context, deadline time.Time) (*conn, error) {
	for {
		c := p.newestIdle()
		if c == nil {
			return p.dial(ctx, deadline)
		}
		if idle := time.Since(c.since); idle < unchecked || idle < idleTimeout && alive(c.raw) {
			return c, nil
		}
		_ = c.Close() // nothing was under way on it
	}
}

func (p *pool) newestIdle() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	p.total.Add(-1)
	return c
}

func (p *pool) dial(ctx context.Context, deadline time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	tcp, err := p.dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: tcp}
	if s, ok := tcp.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	if p.tls != nil {
		secured := tls.Client(tcp, p.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = tcp.Close() // the handshake's error is the one that counts
			return nil, &handshakeError{err}
		}
		c.Conn = secured
	}
	c.reader = bufio.NewReaderSize(c, readBuffer)
	return c, nil
}

// put takes back a connection whose exchange ended cleanly.
func (p *pool) put(c *conn) {
	if cap(c.out) > maxJoined+readBuffer {
		c.out = nil
	}
	c.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= idlePerHost || p.total.Load() >= idleTotal {
		_ = c.Close() // it is idle
		return
	}
	p.idle = append(p.idle, c)
	p.total.Add(1)
	if p.sweep == nil {
		p.sweep = time.AfterFunc(idleTimeout, p.closeOld)
	}
}

// closeOld closes what has been idle too long, and comes again while there is
// something left.
func (p *pool) closeOld() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].since) >= idleTimeout {
		_ = p.idle[n].Close() // it is idle
		n++
	}
	p.total.Add(-int64(n))
	rest := copy(p.idle, p.idle[n:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	p.sweep = nil
	if rest > 0 {
		p.sweep = time.AfterFunc(idleTimeout-time.Since(p.idle[0].since), p.closeOld)
	}
}

func (p *pool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		_ = c.Close() // it is idle
	}
	p.total.Add(-int64(len(p.idle)))
	p.idle = nil
}

// long ago, to end whatever a connection waits for.
var past = time.Unix(1, 0)

// begin puts the deadline in force, and the end of ctx. The function that it
// returns lifts the latter; it is false if ctx ended and the connection can no
// longer be used.
func (c *conn) begin(ctx context.Context, deadline time.Time) (func() bool, error) {
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) }), nil
}

// write sends the head that was put into c.out, and body.
func (c *conn) write(body []byte) error {
	if len(body) <= maxJoined {
		c.out = append(c.out, body...)
		_, err := c.Write(c.out)
		return err
	}
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	_, err := c.Write(body)
	return err
}

// What an answer is to: only the answer to a HEAD request has no body.
var (
	asPOST = &http.Request{Method: http.MethodPost}
	asHEAD = &http.Request{Method: http.MethodHead}
)

// maxInformational is how many answers of 1xx may precede the real one.
const maxInformational = 8

// answer is what came back, up to its body.
type answer struct {
	status               int
	headers              []event.Header // what is kept of them
	location, retryAfter string
	body                 io.Reader
	broken               error // why the body did not end, nil if it did or was long enough
	last                 bool  // the connection cannot serve again
}

// answer reads an answer up to its body.
func (c *conn) answer(to *http.Request) (answer, error) {
	c.quota = maxHeaderBytes
	if _, err := c.reader.Peek(1); err != nil {
		return answer{}, err
	}
	head, _ := c.reader.Peek(c.reader.Buffered()) // what is buffered is there
	if p, ok := parsePlain(head); ok && to == asPOST {
		_, _ = c.reader.Discard(p.size) // as is this
		return c.plainAnswer(&p), nil
	}
	res, err := c.response(to) //nolint:bodyclose // closing would read an endless body to its end; the connection is closed instead
	if err != nil {
		return answer{}, err
	}
	return answer{
		status: res.StatusCode, headers: keepHeaders(res.Header), body: res.Body,
		location: res.Header.Get("Location"), retryAfter: res.Header.Get("Retry-After"),
		last: res.Close || res.StatusCode == http.StatusSwitchingProtocols,
	}, nil
}

func (c *conn) plainAnswer(p *plain) answer {
	c.quota = 2 * maxReadBody
	a := answer{status: p.status, body: &counted{c.reader, p.length}}
	for _, h := range p.headers {
		switch h.Name {
		case "Location":
			a.location = cmp.Or(a.location, h.Value)
		case "Retry-After":
			a.retryAfter = cmp.Or(a.retryAfter, h.Value)
		}
	}
	a.headers = boundHeaders(p.headers)
	return a
}

// counted is a body of known length.
type counted struct {
	from *bufio.Reader
	left int
}

func (b *counted) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	if b.left -= n; errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// response reads an answer of any form.
func (c *conn) response(to *http.Request) (*http.Response, error) {
	for range maxInformational {
		res, err := http.ReadResponse(c.reader, to)
		if err != nil {
			return nil, cmp.Or(c.failed, err) // whatever the parser made of a cut end
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			c.quota = 2 * maxReadBody // chunks and trailers have their own overhead
			return res, nil
		}
	}
	return nil, errors.New("too many informational answers")
}
