package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
)

// The reasons for which a delivery is not taken as genuine. Errors wrap them.
// None holds a secret or the signature that was expected, but they are for you
// and not for the sender.
var (
	ErrNoSignature   = errors.New("webhook: the request has no signature; it is no delivery, or something on the way drops its headers")
	ErrBadSignature  = errors.New("webhook: the signature does not match; check that the secret is this destination's, and that the body is the raw one, not parsed and encoded again")
	ErrTooOld        = errors.New("webhook: the signature is too old; the delivery is a replay, or this machine's clock is ahead")
	ErrFromTheFuture = errors.New("webhook: the signature is from the future; check this machine's clock")
)

// A Verifier tells genuine deliveries from others. [NewStripe] and
// [NewStandard] make one. It is safe for concurrent use; set its fields before.
type Verifier struct {
	// Tolerance is how far a signature's time may be from now, either way.
	// 0 or less means 5 minutes: without a limit, whoever has seen a delivery
	// could send it again for ever.
	Tolerance time.Duration
	// Now is the clock. nil means [time.Now].
	Now func() time.Time

	verify func(h http.Header, body []byte, now time.Time, tolerance time.Duration) error
	// idHeader is the signed header with the message's id, or "" where only
	// the body has one.
	idHeader string
}

// NewStripe returns a verifier of Stripe's scheme, the header Stripe-Signature,
// by which Waybill signs. The secrets are used as they were shown, whsec_
// included; a delivery is genuine if any of them signed it, so give both while
// one replaces the other. It fails if there is none, or an empty one.
func NewStripe(secrets ...string) (*Verifier, error) {
	secrets, err := tidy(secrets)
	if err != nil {
		return nil, err
	}
	return &Verifier{verify: func(h http.Header, body []byte, now time.Time, tolerance time.Duration) error {
		err := sign.VerifyStripe(h.Get(sign.StripeHeader), body, secrets, now, tolerance)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, sign.ErrNoSignature):
			return fmt.Errorf("%w (expected v1 in %s)", ErrNoSignature, sign.StripeHeader)
		case errors.Is(err, sign.ErrTooOld):
			return ErrTooOld
		case errors.Is(err, sign.ErrTooNew):
			return ErrFromTheFuture
		case errors.Is(err, sign.ErrMalformed):
			return fmt.Errorf("%w (%w)", ErrBadSignature, err)
		}
		return ErrBadSignature
	}}, nil
}

// tidy returns the secrets without the space around them, such as the line
// feed at the end of a file.
func tidy(secrets []string) ([]string, error) {
	if len(secrets) == 0 {
		return nil, errors.New("webhook: no secret to verify with")
	}
	tidied := make([]string, len(secrets))
	for i, secret := range secrets {
		tidied[i] = strings.TrimSpace(secret)
		if tidied[i] == "" {
			return nil, fmt.Errorf("webhook: secret %d of %d is empty; is its environment variable set?", i+1, len(secrets))
		}
	}
	return tidied, nil
}

// Verify returns nil if the delivery with these headers and this raw body is
// genuine, and otherwise [ErrNoSignature], [ErrBadSignature], [ErrTooOld] or
// [ErrFromTheFuture]. The latter two are only for signatures that match.
func (v *Verifier) Verify(h http.Header, body []byte) error {
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	return v.verify(h, body, now(), cmp.Or(max(v.Tolerance, 0), sign.DefaultTolerance))
}

// Event verifies a delivery and reads it. Besides the errors of
// [Verifier.Verify] it returns [ErrNotAnEvent]. The event has an id: that of
// a [Message] is the header webhook-id, so it exists in Standard Webhooks only.
func (v *Verifier) Event(h http.Header, body []byte) (*Event, error) {
	if err := v.Verify(h, body); err != nil {
		return nil, err
	}
	e, err := Parse(body)
	if err != nil {
		return nil, err
	}
	if e.Kind == Message {
		if v.idHeader == "" {
			return nil, fmt.Errorf("%w: its object is neither %q nor %q", ErrNotAnEvent, snapshotTag, thinTag)
		}
		e.ID = h.Get(v.idHeader)
	}
	return e, nil
}
