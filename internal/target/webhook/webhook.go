// Package webhook owns the target that sends an event as a signed HTTP POST.
//
// One Client serves all webhook targets of a process and shares its
// connections among them. It is built for hostile endpoints: it connects only
// where the guard allows, follows no redirect, uses no proxy, keeps no
// cookies, inflates nothing, and reads a bounded part of an answer within one
// time-out over the whole exchange.
//
// # One try
//
// A Send is one request, over HTTP/1.1. An idle connection that the peer has
// closed is noticed before it is used; one that breaks after the request was
// written is a failed try, left to the engine's schedule, because the endpoint
// may have acted on it.
//
// # Failure
//
// Send never returns an error: what went wrong is in the Result, as a class
// for programs and a sentence for the person who owns the endpoint. The
// sentence holds no secret, nothing of the URL but its host, and no address
// that the owner did not configure.
package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/target"
)

const (
	defaultTimeout   = 20 * time.Second
	defaultUserAgent = "Waybill/1.0 (+https://github.com/waybill-dev/waybill)"

	tlsSessions = 512
)

// Options configure a Client. The zero value is safe and complete.
type Options struct {
	// Guard decides which addresses may be connected to.
	Guard netguard.Policy
	// Timeout covers a whole exchange, from name resolution to the last byte
	// of the answer's body. 0 means 20 s.
	Timeout time.Duration
	// UserAgent is sent as it is. "" means Waybill's own.
	UserAgent string
	// RootCAs are trusted instead of the system's, unless nil.
	RootCAs *x509.CertPool
	// Now gives signatures their time. nil means time.Now.
	Now func() time.Time
}

// Client opens webhook targets. It is safe for concurrent use.
type Client struct {
	dialer    *net.Dialer
	tls       *tls.Config
	timeout   time.Duration
	userAgent string
	now       func() time.Time
	idle      atomic.Int64

	mu    sync.Mutex
	pools map[string]*pool // by scheme and address
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{timeout: o.Timeout, userAgent: o.UserAgent, now: o.Now, pools: map[string]*pool{}}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.userAgent == "" {
		c.userAgent = defaultUserAgent
	}
	c.dialer = o.Guard.Dialer(c.timeout)
	c.tls = &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    o.RootCAs,
		NextProtos: []string{"http/1.1"},
		// One cache for all, keyed by server: reconnecting costs a fraction
		// of a full handshake.
		ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions),
	}
	return c
}

// pool returns the connections to where u leads. Destinations on one host
// share them.
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

// Close closes the connections that are not in use. Call it when no more will
// be sent.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pools {
		p.closeIdle()
	}
}

// endpoint is one webhook target. All its fields are read-only.
type endpoint struct {
	client *Client
	pool   *pool
	head   string // what is the same in every request, up to the length of the body
	host   string // for messages
	signer *sign.Stripe
}

// Open returns the target for an http:// or https:// URL, signing with every
// one of its secrets. It is a target.Opener. The error is for the person who
// configured the destination and does not repeat the URL, which may hold a
// token.
func (c *Client) Open(t event.Target) (target.Target, error) {
	if t.Kind != event.TargetWebhook || t.Webhook == nil {
		return nil, fmt.Errorf("open webhook: target is of kind %q", t.Kind)
	}
	u, err := parseURL(t.Webhook.URL)
	if err != nil {
		return nil, fmt.Errorf("open webhook: %w", err)
	}
	if len(t.Webhook.Secrets) == 0 {
		return nil, errors.New("open webhook: no signing secret; roll the destination's secret to get one")
	}
	for _, secret := range t.Webhook.Secrets {
		if secret == "" {
			return nil, errors.New("open webhook: a signing secret is empty; roll the destination's secret")
		}
	}
	e := &endpoint{client: c, pool: c.pool(u), host: u.Host, signer: sign.NewStripe(t.Webhook.Secrets...)}
	authorization := ""
	if u.User != nil {
		password, _ := u.User.Password()
		credentials := u.User.Username() + ":" + password
		authorization = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(credentials)) + "\r\n"
	}
	e.head = "POST " + u.RequestURI() + " HTTP/1.1\r\n" +
		"Host: " + u.Host + "\r\n" +
		"User-Agent: " + c.userAgent + "\r\n" +
		"Accept: */*\r\n" +
		"Cache-Control: no-cache\r\n" +
		authorization +
		"Content-Type: application/json; charset=utf-8\r\n" +
		"Content-Length: "
	return e, nil
}

func parseURL(text string) (*url.URL, error) {
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
