// Package webhook owns the target that sends an event as a signed HTTP POST.
//
// One Client serves all webhook targets of a process and shares its
// connections among them. It is built for hostile endpoints; see package wire,
// the HTTP client below it.
//
// # Failure
//
// Whatever is not 2xx is tried again by the engine's schedule, but for 410,
// which is final. 429 and 503 may ask to be left alone for a while.
package webhook

import (
	"cmp"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

const defaultTimeout = 20 * time.Second

// Options configure a Client. The zero value is safe and complete.
type Options struct {
	// Guard decides which addresses may be connected to.
	Guard netguard.Policy
	// Timeout covers a whole exchange, from name resolution to the last byte
	// of the answer's body. 0 means 20 s.
	Timeout time.Duration
	// RootCAs are trusted instead of the system's, unless nil.
	RootCAs *x509.CertPool
	// Now gives signatures their time. nil means time.Now.
	Now func() time.Time
}

// Client opens webhook targets. It is safe for concurrent use.
type Client struct {
	wire *wire.Client
	now  func() time.Time
}

// New returns a client.
func New(o Options) *Client {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	return &Client{wire: wire.New(wire.Options{Guard: o.Guard, Timeout: o.Timeout, RootCAs: o.RootCAs}), now: o.Now}
}

// Close closes the connections that are not in use. Call it when no more will
// be sent.
func (c *Client) Close() { c.wire.Close() }

// endpoint is one webhook target. All its fields are read-only.
type endpoint struct {
	client *Client
	origin *wire.Origin
	to     *event.WebhookTarget
	head   string // what is the same in every request, up to the length of the body
	// byMessage says that more of the head depends on the message than what
	// Stripe's signature does.
	byMessage bool
	phases    []phase // in their order; the last one has no end
}

// phase is a stretch of time in which the same secrets sign.
type phase struct {
	until    time.Time
	stripe   *sign.Stripe
	standard *sign.Standard
}

// signers are those of a moment.
func (e *endpoint) signers(at time.Time) *phase {
	last := len(e.phases) - 1
	for i := range last {
		if at.Before(e.phases[i].until) {
			return &e.phases[i]
		}
	}
	return &e.phases[last]
}

// phases divides time by when secrets end. Secrets that never end sign in all.
func phases(to *event.WebhookTarget) []phase {
	var ends []time.Time
	for _, s := range to.Secrets {
		if !s.Until.IsZero() {
			ends = append(ends, s.Until)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	ends = append(slices.Compact(ends), time.Time{})
	all := make([]phase, len(ends))
	for i, until := range ends {
		var secrets, standard []string
		var keys []ed25519.PrivateKey
		for _, s := range to.Secrets {
			if !s.Until.IsZero() && (until.IsZero() || s.Until.Before(until)) {
				continue
			}
			secrets = append(secrets, s.Text)
			if to.Standard {
				standard = append(standard, s.Text)
			}
			if to.Ed25519 && s.Key != nil {
				keys = append(keys, s.Key)
			}
		}
		all[i] = phase{until: until, stripe: sign.NewStripe(secrets...), standard: sign.NewStandard(standard, keys)}
	}
	return all
}

// Open returns the target for an http:// or https:// URL, signing with every
// one of its secrets that has not ended. It is a target.Opener. The error is
// for the person who configured the destination and does not repeat the URL,
// which may hold a token.
func (c *Client) Open(t event.Target) (target.Target, error) {
	if t.Kind != event.TargetWebhook || t.Webhook == nil {
		return nil, fmt.Errorf("open webhook: target is of kind %q", t.Kind)
	}
	to := t.Webhook
	u, err := wire.ParseURL(to.URL)
	if err != nil {
		return nil, fmt.Errorf("open webhook: %w", err)
	}
	if len(to.Secrets) == 0 {
		return nil, errors.New("open webhook: no signing secret; roll the destination's secret to get one")
	}
	for _, secret := range to.Secrets {
		if secret.Text == "" {
			return nil, errors.New("open webhook: a signing secret is empty; roll the destination's secret")
		}
	}
	head := "POST " + u.RequestURI() + " HTTP/1.1\r\n" +
		"Host: " + u.Host + "\r\n" +
		"User-Agent: " + wire.UserAgent + "\r\n" +
		"Accept: */*\r\n" +
		"Cache-Control: no-cache\r\n" +
		"Content-Type: " + to.Format.ContentType() + "\r\n"
	for _, h := range to.Header {
		head += h.Name + ": " + h.Value + "\r\n"
	}
	return &endpoint{
		client: c, origin: c.wire.Origin(u), to: to, head: head + "Content-Length: ", phases: phases(to),
		byMessage: to.Standard || to.Ed25519 || to.Format == event.FormatCloudEventsBinary,
	}, nil
}
