// Package apidestination owns the target that sends an event to an HTTP
// endpoint with the credentials of a connection: EventBridge's API destination.
//
// What an API destination is (its URL, its method, its credentials) is resolved
// anew for each try, because it changes without the rule that sends to it. The
// HTTP client is package wire's, and so is its caution.
//
// # One try
//
// A try first waits its turn: an API destination gets no more requests a second
// than it allows, from all rules together. The time-out begins then. A token is
// asked for where there is none, or the one there is has run out. An endpoint
// that answers 401 or 407 to a kept token is asked once more with a new one;
// nothing else is tried twice.
//
// # Failure
//
// 401, 407, 409, 429, every 5xx and whatever brought no answer is tried again
// by the engine's schedule, the rest of the answers is final. So is an API
// destination that does not exist, or whose connection was taken away. No
// message holds a credential, a token, or anything of a URL but its host.
package apidestination

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

// Endpoint is what is needed to send to an API destination. Lists are of names
// and values; a later one of the same name counts.
type Endpoint struct {
	// URL may have *s in its path. "" means that there is no such API
	// destination.
	URL    string
	Method string
	Rate   int // requests a second; 0 is 300
	// Inactive says why nothing can be sent now, "" if it can; Final that this
	// will not pass by itself.
	Inactive string
	Final    bool
	// Header, Query and Body are the connection's; Header includes the
	// credentials, unless those are a token.
	Header, Query, Body [][2]string

	// TokenURL is where a token comes from, "" if none is needed.
	TokenURL, TokenMethod              string
	ClientID, ClientSecret             string
	TokenHeader, TokenQuery, TokenBody [][2]string
}

const (
	defaultTimeout = 5 * time.Second
	defaultRate    = 300
	// maxTurn is how long a try waits for its turn; who would have to wait
	// longer comes back then.
	maxTurn = 30 * time.Second
)

// Options configure a Client.
type Options struct {
	// Resolve finds an API destination by its ARN. An error means that it
	// could not be read now.
	Resolve func(scope event.Scope, arn string) (Endpoint, error)
	// Guard decides which addresses may be connected to.
	Guard netguard.Policy
	// Timeout covers a whole try, from its turn to the last byte of the
	// answer's body. 0 means 5 s.
	Timeout time.Duration
	// RootCAs are trusted instead of the system's, unless nil.
	RootCAs *x509.CertPool
}

// Client opens API destinations. It is safe for concurrent use.
type Client struct {
	resolve func(scope event.Scope, arn string) (Endpoint, error)
	wire    *wire.Client
	timeout time.Duration

	tokens tokens
	mu     sync.Mutex
	turns  map[turnKey]*turns
}

// New returns a client.
func New(o Options) *Client {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	w := wire.New(wire.Options{Guard: o.Guard, Timeout: o.Timeout, RootCAs: o.RootCAs})
	return &Client{
		resolve: o.Resolve, wire: w, timeout: o.Timeout, turns: map[turnKey]*turns{},
		tokens: tokens{wire: w, known: map[[32]byte]*token{}},
	}
}

// Close closes the connections that are not in use. Call it when no more will
// be sent.
func (c *Client) Close() { c.wire.Close() }

// destination is one subscription's API destination.
type destination struct {
	client *Client
	to     *event.APIDestinationTarget
	turns  *turns
	fixed  bool // see fixed
	last   atomic.Pointer[prepared]
}

// Open returns the target for an API destination. It is a target.Opener.
func (c *Client) Open(t event.Target) (target.Target, error) {
	if t.Kind != event.TargetAPIDestination || t.APIDestination == nil {
		return nil, errors.New("open API destination: the target is of kind " + string(t.Kind))
	}
	return &destination{client: c, to: t.APIDestination, turns: c.turnsOf(t.APIDestination), fixed: fixed(t.APIDestination)}, nil
}

// Send implements target.Target.
func (d *destination) Send(ctx context.Context, m target.Message) target.Result {
	called := time.Now()
	r := target.Result{Started: called}
	e, err := d.client.resolve(d.to.Scope, d.to.ARN)
	if err != nil {
		return end(ctx, r, called, event.ClassRefused, "The API destination's configuration cannot be read right now.")
	}
	switch {
	case e.URL == "":
		r.Permanent = true
		return end(ctx, r, called, event.ClassNoTarget, "The API destination does not exist; create it, or remove the rule's target.")
	case e.Inactive != "":
		r.Permanent = e.Final
		return end(ctx, r, called, event.ClassRefused, "The API destination is inactive: "+e.Inactive+".")
	}
	q, err := d.build(&e, &m)
	if err != nil {
		r.Permanent = true
		return end(ctx, r, called, event.ClassConfig, "The request cannot be made: "+err.Error()+".")
	}
	if wait, ok := d.turns.take(ctx, cmp.Or(e.Rate, defaultRate)); !ok {
		r.RetryAfter = wait
		return end(ctx, r, called, event.ClassRefused, "Too many events wait for the API destination, which takes few requests a second.")
	}
	r.Started = time.Now()
	d.client.try(ctx, &e, q, &r)
	r.Total = time.Since(r.Started)
	return r
}

// end is the result of a try that sent nothing.
func end(ctx context.Context, r target.Result, called time.Time, class event.Class, message string) target.Result {
	r.Class, r.Message = class, message
	if ctx.Err() != nil {
		r.Interrupt()
	}
	r.Total = time.Since(called)
	return r
}

// try sends the request, a second time if a kept token is no longer taken.
func (c *Client) try(ctx context.Context, e *Endpoint, q *request, r *target.Result) {
	deadline := r.Started.Add(c.timeout)
	for again := false; ; again = true {
		fresh := false
		if e.TokenURL != "" {
			var err error
			if q.token, fresh, err = c.tokens.get(ctx, e, deadline); err != nil {
				tokenFailed(ctx, r, err)
				return
			}
		}
		wait, refused := q.origin.Exchange(ctx, wire.Request{
			Head: q, Body: q.body, NoAnswerBody: e.Method == http.MethodHead, Start: r.Started, Deadline: deadline,
		}, r)
		if unauthorized(r.Status) && e.TokenURL != "" {
			c.tokens.drop(e, q.token)
			if !fresh && !again {
				*r = target.Result{Started: r.Started}
				continue
			}
		}
		if refused {
			refuse(r, wait)
		}
		r.Permanent = r.Permanent || r.Class == event.ClassRedirect
		return
	}
}

func tokenFailed(ctx context.Context, r *target.Result, err error) {
	r.Class, r.Message = event.ClassConfig, err.Error()
	if failed, ok := errors.AsType[*tokenError](err); ok {
		r.Class = failed.class
	}
	if ctx.Err() != nil {
		r.Interrupt()
	}
}

// refuse says what an answer means that is no success and no redirect.
func refuse(r *target.Result, wait time.Duration) {
	r.Class = event.ClassStatus
	r.Permanent = !passes(r.Status)
	r.Message = "The endpoint answered " + wire.StatusText(r.Status)
	switch {
	case r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden:
		r.Message += "; check the credentials of the API destination's connection."
	case r.Permanent:
		r.Message += ", which is final; only 2xx counts as delivered."
	default:
		r.Message += "; only 2xx counts as delivered."
	}
	if !r.Permanent {
		r.RetryAfter = wait
	}
}

func unauthorized(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusProxyAuthRequired
}

// passes tells whether another try may bring another status.
func passes(status int) bool {
	return unauthorized(status) || status == http.StatusConflict || status == http.StatusTooManyRequests || status >= 500
}
