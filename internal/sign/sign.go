// Package sign owns the signature schemes of webhooks, in both directions: a
// delivery is signed when it leaves, an inbound webhook is verified when it
// arrives.
//
// Each scheme is one entry in a table ([Lookup]) and one file. Verification
// fails closed: with no secret, an empty secret or an unreadable header,
// nothing is ever genuine. The errors say what was wrong, without ever holding
// a secret or the signature that was expected.
package sign

import (
	"crypto/rand"
	"errors"
	"net/http"
	"time"
)

// DefaultTolerance is how far a signature's time may be from now, where the
// caller has no wish of its own.
const DefaultTolerance = 300 * time.Second

// The reasons for which a signature is refused.
var (
	ErrNoSecret    = errors.New("no signing secret to verify with")
	ErrNoSignature = errors.New("no signature in the header")
	ErrMalformed   = errors.New("signature header is malformed")
	ErrMismatch    = errors.New("signature does not match; check that the secret belongs to this endpoint and that the body is the raw one, unparsed")
	ErrTooOld      = errors.New("signature is too old; it may be replayed, or this machine's clock is ahead")
	ErrTooNew      = errors.New("signature is from the future; check this machine's clock")
)

// A Scheme is one way of signing an HTTP message.
type Scheme struct {
	Name string

	// Sign sets the scheme's headers in h, signing body at time now with each
	// of the secrets (several during a rotation).
	Sign func(h http.Header, body []byte, secrets []string, now time.Time)

	// Verify returns nil if any secret signed body, and one of this package's
	// errors if not. A tolerance of 0 or less is [DefaultTolerance].
	Verify func(h http.Header, body []byte, secrets []string, now time.Time, tolerance time.Duration) error
}

var schemes = map[string]Scheme{
	"stripe": {
		Name: "stripe",
		Sign: func(h http.Header, body []byte, secrets []string, now time.Time) {
			h.Set(StripeHeader, string(NewStripe(secrets...).AppendHeader(nil, now, body)))
		},
		Verify: func(h http.Header, body []byte, secrets []string, now time.Time, tolerance time.Duration) error {
			return VerifyStripe(h.Get(StripeHeader), body, secrets, now, tolerance)
		},
	},
	"standard": {Name: "standard", Sign: signStandard, Verify: VerifyStandard},
}

// Lookup returns the scheme with the given name, such as "stripe".
func Lookup(name string) (Scheme, bool) {
	s, ok := schemes[name]
	return s, ok
}

const (
	secretPrefix = "whsec_"
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	// secretLen is how many base62 digits hold 256 bits, rounded up to what is
	// also whole base64, as which Standard Webhooks reads them.
	secretLen = 44
)

// NewSecret returns a new signing secret: whsec_ and 44 random letters and
// digits, 262 bits in all.
func NewSecret() string {
	secret := append(make([]byte, 0, len(secretPrefix)+secretLen), secretPrefix...)
	var random [64]byte
	for len(secret) < cap(secret) {
		_, _ = rand.Read(random[:]) // never fails: it crashes the program instead
		for _, b := range random {
			// 248 is the largest multiple of 62 in a byte; taking more would
			// favour some digits.
			if b < 248 && len(secret) < cap(secret) {
				secret = append(secret, base62[b%62])
			}
		}
	}
	return string(secret)
}
