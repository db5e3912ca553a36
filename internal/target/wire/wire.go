// Package wire owns the HTTP/1.1 client that targets send with. It is no target
// itself.
//
// It is built for hostile peers: it connects only where the guard allows,
// follows no redirect, uses no proxy, keeps no cookies, inflates nothing, and
// reads a bounded part of an answer within one time-out over the whole
// exchange.
//
// One goroutine writes the request and reads the answer. net/http's client
// needs two more a connection and hands every exchange through both, which
// cost a third of the processor time of a delivery. What is difficult, parsing
// an answer, is still net/http's (http.ReadResponse).
//
// # One exchange
//
// An idle connection that the peer has closed is noticed before it is used;
// one that breaks after the request was written is a failed exchange, left to
// the engine's schedule, because the peer may have acted on it. What went wrong
// becomes a class for programs and a sentence for the person who owns the peer,
// which holds no secret, nothing of the URL but its host, and no address that
// the owner did not configure.
package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/target"
)

// UserAgent is how Waybill names itself.
const UserAgent = "Waybill/1.0 (+https://github.com/waybill-dev/waybill)"

const tlsSessions = 512

// Options configure a Client.
type Options struct {
	// Guard decides which addresses may be connected to.
	Guard netguard.Policy
	// Timeout covers a whole exchange, from name resolution to the last byte
	// of the answer's body.
	Timeout time.Duration
	// RootCAs are trusted instead of the system's, unless nil.
	RootCAs *x509.CertPool
}

// Client keeps connections. It is safe for concurrent use.
type Client struct {
	dialer  *net.Dialer
	tls     *tls.Config
	timeout time.Duration
	idle    atomic.Int64

	mu    sync.Mutex
	pools map[string]*pool // by scheme and address
}

// New returns a client.
func New(o Options) *Client {
	return &Client{
		dialer: o.Guard.Dialer(o.Timeout), timeout: o.Timeout, pools: map[string]*pool{},
		tls: &tls.Config{
			MinVersion: tls.VersionTLS12,
			RootCAs:    o.RootCAs,
			NextProtos: []string{"http/1.1"},
			// One cache for all, keyed by server: reconnecting costs a fraction
			// of a full handshake.
			ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions),
		},
	}
}

// Close closes the connections that are not in use. Call it when no more will
// be sent.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pools {
		p.closeIdle()
	}
}

// Origin is where requests go: a scheme, a host and a port.
type Origin struct {
	client *Client
	pool   *pool
	host   string // for messages
}

// Origin returns that of a URL of ParseURL. All of one host share their
// connections.
func (c *Client) Origin(u *url.URL) *Origin { return &Origin{client: c, pool: c.pool(u), host: u.Host} }

func (c *Client) pool(u *url.URL) *pool {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	key := u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port)
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pools[key]
	if p == nil {
		p = &pool{address: net.JoinHostPort(u.Hostname(), port), dialer: c.dialer, total: &c.idle}
		if u.Scheme == "https" {
			p.tls = c.tls.Clone()
			p.tls.ServerName = u.Hostname()
		}
		c.pools[key] = p
	}
	return p
}

// handshakeError marks what failed between the connection and the request,
// which its text alone does not always tell.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "tls handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// Head writes a request up to the empty line before its body.
type Head interface {
	AppendHead(dst, body []byte, at time.Time) []byte
}

// Request is one request.
type Request struct {
	Head Head
	Body []byte
	// NoAnswerBody is that of a HEAD request.
	NoAnswerBody bool
	Start        time.Time // of the try
	Deadline     time.Time // zero is the client's time-out after Start
}

// Exchange sends a request, reads the answer and sets all of r but Total. The
// class is that of a success if the answer is 2xx and its body ended, or was
// long enough; a redirect is a failure. An answer outside 2xx and 3xx is a
// refusal by its status alone, whatever becomes of its body: what its class and
// message are is for the caller to say. wait is how long it asked to be left
// alone.
func (o *Origin) Exchange(ctx context.Context, q Request, r *target.Result) (wait time.Duration, refused bool) {
	if ctx.Err() != nil {
		r.Interrupt()
		return 0, false
	}
	a, err := o.exchange(ctx, q, r)
	if err == nil {
		switch r.Status / 100 {
		case 2:
			err = a.broken
		case 3:
			r.Class = event.ClassRedirect
			r.Message = redirectMessage(r.Status, a.location)
		default:
			return retry.ParseRetryAfter(a.retryAfter, r.Started.Add(r.FirstByte)), true
		}
	}
	if err != nil {
		o.fail(ctx, r, err)
	}
	return 0, false
}

// exchange returns what an answer said beside what r keeps of it. The error is
// what kept an answer from coming.
func (o *Origin) exchange(ctx context.Context, q Request, r *target.Result) (answer, error) {
	deadline := q.Deadline
	if deadline.IsZero() {
		deadline = q.Start.Add(o.client.timeout)
	}
	c, err := o.pool.get(ctx, deadline)
	if err != nil {
		return answer{}, err
	}
	reusable := false
	defer func() {
		if reusable {
			o.pool.put(c)
		} else {
			c.abort()
		}
	}()
	lift, err := c.begin(ctx, deadline)
	if err != nil {
		return answer{}, err
	}
	c.out = q.Head.AppendHead(c.out[:0], q.Body, r.Started)
	unwritten := c.write(q.Body)
	to := asPOST
	if q.NoAnswerBody {
		to = asHEAD
	}
	// A peer may answer and close before it has read everything, which fails
	// the write; its answer is what counts then.
	a, err := c.answer(to)
	if err != nil {
		lift()
		return answer{}, cmp.Or(unwritten, err)
	}
	r.FirstByte = time.Since(q.Start)
	r.Status = a.status
	r.Headers = a.headers
	var ended bool
	if a.status != http.StatusSwitchingProtocols { // after which comes no body, but no end either
		r.Body, r.Truncated, ended, a.broken = readBody(a.body)
	}
	// Nothing may be left over that the next exchange would take for its own.
	reusable = lift() && ended && !a.last && unwritten == nil && c.reader.Buffered() == 0
	return a, nil
}

// ParseURL reads the URL of a target. Its address is judged where it is
// connected to, after its name has been resolved. The error is for the person
// who configured it and does not repeat the URL, which may hold a token.
func ParseURL(text string) (*url.URL, error) {
	return netguard.Policy{AllowPrivate: true}.CheckURL(text)
}
