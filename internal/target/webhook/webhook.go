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
// A Send is one request as far as the endpoint can tell. net/http itself
// repeats a POST only where it has proof that nothing of it was processed: on
// a kept connection that was found closed before a byte was written, and over
// HTTP/2 where the server said that it did not take the stream (GOAWAY,
// REFUSED_STREAM). Both stay on, because the alternative is to report a
// failure that nobody caused. A kept connection that breaks after the request
// was written is a failed try, left to the engine's schedule: the endpoint may
// have acted on it.
//
// # Failure
//
// Send never returns an error: what went wrong is in the Result, as a class
// for programs and a sentence for the person who owns the endpoint. The
// sentence holds no secret, nothing of the URL but its host, and no address
// that the owner did not configure.
package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/target"
)

const (
	defaultTimeout   = 20 * time.Second
	defaultUserAgent = "Waybill/1.0 (+https://github.com/waybill-dev/waybill)"

	// The default of 2 idle connections per host makes every third request
	// dial. The engine bounds how many sends there are at once.
	idlePerHost = 256
	idleTotal   = 2048
	idleTimeout = 90 * time.Second

	maxHeaderBytes = 64 << 10
	tlsSessions    = 512
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
	transport *http.Transport
	timeout   time.Duration
	userAgent []string
	now       func() time.Time
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{timeout: o.Timeout, now: o.Now}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if o.UserAgent == "" {
		o.UserAgent = defaultUserAgent
	}
	c.userAgent = []string{o.UserAgent}

	// A dial goes on after its request has given up, so that another may use
	// the connection: it needs a limit of its own.
	dialer := o.Guard.Dialer(c.timeout)
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    o.RootCAs,
		NextProtos: []string{"h2", "http/1.1"},
		// One cache for all, keyed by server: reconnecting costs a fraction
		// of a full handshake.
		ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions),
	}
	c.transport = &http.Transport{
		Proxy:                  nil, // a proxy would be what the guard checks, instead of the endpoint
		DialContext:            dialer.DialContext,
		DialTLSContext:         dialTLS(dialer, config, c.timeout),
		TLSClientConfig:        config,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           idleTotal,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	return c
}

// handshakeError marks what failed between the connection and the request,
// which its text alone does not always tell.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "tls handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

func dialTLS(dialer *net.Dialer, config *tls.Config, timeout time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		raw, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		own := config.Clone()
		own.ServerName = host
		conn := tls.Client(raw, own)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // the handshake's error is the one that counts
			return nil, &handshakeError{err}
		}
		return conn, nil
	}
}

// Close closes the connections that are not in use. Call it when no more will
// be sent.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// endpoint is one webhook target. All its fields are read-only.
type endpoint struct {
	client *Client
	// request is what is the same in every request; its URL is shared.
	request http.Request
	host    string   // for messages
	auth    []string // the Authorization header, from a URL with a user, or nil
	signer  *sign.Stripe
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
	e := &endpoint{client: c, host: u.Host, signer: sign.NewStripe(t.Webhook.Secrets...)}
	if u.User != nil {
		password, _ := u.User.Password()
		credentials := u.User.Username() + ":" + password
		e.auth = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))}
		u.User = nil
	}
	e.request = http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
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
