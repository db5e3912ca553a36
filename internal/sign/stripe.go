package sign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// StripeHeader is the header that carries a signature of Stripe's scheme:
//
//	t=<unix seconds>,v1=<hex>[,v1=<hex>…]
//
// without spaces. Each v1 is the HMAC-SHA256 of "<t>.<raw body>" in lowercase
// hex. The key is the secret as it is shown, whsec_ prefix included, not
// base64-decoded. See https://docs.stripe.com/webhooks#verify-manually.
const StripeHeader = "Stripe-Signature"

// maxUnix is the last second of the year 9999. A later time is no time, and
// could overflow [time.Unix].
const maxUnix = 253402300799

// Stripe signs with a fixed set of secrets. It is safe for concurrent use.
type Stripe struct {
	states sync.Pool // of *stripeState
}

// stripeState is what one signing needs. The scratch space lives here, on the
// heap, because what passes through the [hash.Hash] interface cannot stay on
// the stack.
type stripeState struct {
	macs    []hash.Hash // one per secret, kept keyed by Reset
	message []byte      // "<t>."
	sum     [sha256.Size]byte
}

// NewStripe returns a signer that adds one v1 per secret, in their order.
// Empty secrets are left out: anyone could sign with them. Without secrets,
// headers carry no signature and no receiver accepts them.
func NewStripe(secrets ...string) *Stripe {
	secrets = usable(secrets)
	s := &Stripe{}
	s.states.New = func() any {
		state := &stripeState{message: make([]byte, 0, 24)}
		for _, secret := range secrets {
			state.macs = append(state.macs, hmac.New(sha256.New, []byte(secret)))
		}
		return state
	}
	return s
}

// AppendHeader appends the value of [StripeHeader] for body, signed at t, to
// dst. It allocates only if dst is too small.
func (s *Stripe) AppendHeader(dst []byte, t time.Time, body []byte) []byte {
	state := s.states.Get().(*stripeState)
	defer s.states.Put(state)

	state.message = append(strconv.AppendInt(state.message[:0], t.Unix(), 10), '.')
	dst = append(dst, "t="...)
	dst = append(dst, state.message[:len(state.message)-1]...)
	for _, mac := range state.macs {
		mac.Reset()
		mac.Write(state.message)
		mac.Write(body)
		dst = append(dst, ",v1="...)
		dst = hex.AppendEncode(dst, mac.Sum(state.sum[:0]))
	}
	return dst
}

// VerifyStripe returns nil if header, the value of [StripeHeader], holds a
// signature of the raw body by any of the secrets, made no longer than
// tolerance before now and no longer than tolerance after it. A tolerance of 0
// or less is [DefaultTolerance].
//
// It is as strict as Stripe's own SDKs, which do not look for times in the
// future, and stricter. It returns [ErrTooOld] and [ErrTooNew] only for genuine
// signatures.
func VerifyStripe(header string, body []byte, secrets []string, now time.Time, tolerance time.Duration) error {
	if tolerance <= 0 {
		tolerance = DefaultTolerance
	}
	if secrets = usable(secrets); len(secrets) == 0 {
		return ErrNoSecret
	}
	parsed, err := parseStripe(header)
	if err != nil {
		return err
	}
	if !parsed.signedBy(secrets, body) {
		return ErrMismatch
	}
	switch age := now.Sub(time.Unix(parsed.unix, 0)); {
	case age > tolerance:
		return ErrTooOld
	case age < -tolerance:
		return ErrTooNew
	}
	return nil
}

// stripeSignature is a parsed header.
type stripeSignature struct {
	stamp string // t as it was written, for that is what was signed
	unix  int64
	v1    [][]byte // decoded; what is not hex is left out, as it cannot match
}

// parseStripe reads a header. Parts of unknown schemes, such as v0, are
// skipped; a part without exactly one = makes the header malformed.
func parseStripe(header string) (stripeSignature, error) {
	var sig stripeSignature
	if header == "" {
		return sig, ErrNoSignature
	}
	signed := false
	for part := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || strings.Contains(value, "=") {
			return sig, fmt.Errorf("%w: each part must be name=value", ErrMalformed)
		}
		switch name {
		case "t":
			unix, err := strconv.ParseUint(value, 10, 63)
			if err != nil || unix > maxUnix || sig.stamp != "" {
				return sig, fmt.Errorf("%w: t must be one time in Unix seconds", ErrMalformed)
			}
			sig.stamp, sig.unix = value, int64(unix)
		case "v1":
			signed = true
			if mac, err := hex.DecodeString(value); err == nil {
				sig.v1 = append(sig.v1, mac)
			}
		}
	}
	switch {
	case sig.stamp == "":
		return sig, fmt.Errorf("%w: it has no t", ErrMalformed)
	case !signed:
		return sig, fmt.Errorf("%w: it has no v1", ErrNoSignature)
	}
	return sig, nil
}

// signedBy compares in constant time, and each secret hashes the body once
// however many signatures a header offers.
func (sig stripeSignature) signedBy(secrets []string, body []byte) bool {
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(sig.stamp + "."))
		mac.Write(body)
		want := mac.Sum(nil)
		if slices.ContainsFunc(sig.v1, func(got []byte) bool { return hmac.Equal(got, want) }) {
			return true
		}
	}
	return false
}

// usable returns the secrets that are not empty, in a slice of its own.
func usable(secrets []string) []string {
	return slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return s == "" })
}
