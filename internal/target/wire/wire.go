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
// the caller, because the peer may have acted on it. [Origin.Fail] makes of its
// error a class for programs and a sentence for the person who owns the peer,
// which holds no secret, nothing of the URL but its host, and no address that
// the owner did not configure.
package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/netguard"
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

// Origin returns that of a URL that ParseURL took. All of one host share their
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

// Answer is what came back, beside what is in the target.Result.
type Answer struct {
	Status               int
	Location, RetryAfter string
	// Broken is why the body did not end, nil if it did or was long enough.
	Broken error
}

// Exchange sends a request and reads the answer. It sets what r says of that,
// but for its class, its message and Total. The error is what kept an answer
// from coming.
func (o *Origin) Exchange(ctx context.Context, q Request, r *target.Result) (Answer, error) {
	deadline := q.Deadline
	if deadline.IsZero() {
		deadline = q.Start.Add(o.client.timeout)
	}
	c, err := o.pool.get(ctx, deadline)
	if err != nil {
		return Answer{}, err
	}
	reusable := false
	defer func() {
		if reusable {
			o.pool.put(c)
		} else {
			_ = c.Close() // the answer is judged by what was read
		}
	}()
	lift, err := c.begin(ctx, deadline)
	if err != nil {
		return Answer{}, err
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
		return Answer{}, cmp.Or(unwritten, err)
	}
	r.FirstByte = time.Since(q.Start)
	r.Status = a.status
	r.Headers = a.headers
	var ended bool
	var broken error
	if a.status != http.StatusSwitchingProtocols { // after which comes no body, but no end either
		r.Body, r.Truncated, ended, broken = readBody(a.body)
	}
	// Nothing may be left over that the next exchange would take for its own.
	reusable = lift() && ended && !a.last && unwritten == nil && c.reader.Buffered() == 0
	return Answer{Status: a.status, Location: a.location, RetryAfter: a.retryAfter, Broken: broken}, nil
}

// ParseURL reads an http:// or https:// URL. The error is for the person who
// configured it and does not repeat the URL, which may hold a token.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		// The error quotes the URL; only its cause may be shown.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("parse URL: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("the URL must begin with https:// or http://")
	}
	if u.Opaque != "" || u.Hostname() == "" {
		return nil, errors.New("the URL has no host name")
	}
	if strings.HasSuffix(u.Host, ":") {
		return nil, errors.New("the URL has a colon after its host but no port")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("the URL's port must be a number from 1 to 65535")
		}
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}
