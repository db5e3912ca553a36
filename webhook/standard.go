package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks. A signature is made over
// "<id>.<timestamp>.<raw body>"; the header holds any number of them, parted
// by spaces, each "v1,<base64>" or "v1a,<base64>". See
// https://www.standardwebhooks.com.
const (
	idHeader        = "Webhook-Id"
	timestampHeader = "Webhook-Timestamp" // Unix seconds
	signatureHeader = "Webhook-Signature"
)

// maxSignatures bounds what a stranger's request costs: ed25519 hashes the
// whole body for every signature. Senders have two or three.
const maxSignatures = 16

// standard verifies Standard Webhooks.
type standard struct {
	secrets    [][]byte            // of v1, HMAC-SHA256
	publicKeys []ed25519.PublicKey // of v1a
}

// NewStandard returns a verifier of Standard Webhooks. Each key is a shared
// secret (whsec_ and base64, for signatures v1) or the sender's public key
// (whpk_ and base64, for v1a); a delivery is genuine if any of them signed it.
// It fails if there is no key, or one that is not of this form.
func NewStandard(keys ...string) (*Verifier, error) {
	keys, err := tidy(keys)
	if err != nil {
		return nil, err
	}
	var s standard
	for i, key := range keys {
		if err := s.add(key); err != nil {
			return nil, fmt.Errorf("webhook: key %d of %d: %w", i+1, len(keys), err)
		}
	}
	return &Verifier{verify: s.verify, idHeader: idHeader}, nil
}

func (s *standard) add(key string) error {
	if strings.HasPrefix(key, "whsk_") {
		return errors.New("it is a private key, which only the sender should have; use its public key, whpk_…")
	}
	encoded, public := strings.CutPrefix(key, "whpk_")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(encoded, "whsec_"))
	switch {
	case err != nil:
		return errors.New("it is not base64 after its prefix; if the sender signs as Stripe does, use NewStripe")
	case public && len(raw) != ed25519.PublicKeySize:
		return fmt.Errorf("a public key has %d bytes, this one %d", ed25519.PublicKeySize, len(raw))
	case public:
		s.publicKeys = append(s.publicKeys, raw)
	case len(raw) == 0:
		return errors.New("it is empty after its prefix")
	default:
		s.secrets = append(s.secrets, raw)
	}
	return nil
}

func (s *standard) verify(h http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	id, stamp, signatures := h.Get(idHeader), h.Get(timestampHeader), h.Get(signatureHeader)
	if id == "" || stamp == "" || signatures == "" {
		return fmt.Errorf("%w (expected %s, %s and %s)", ErrNoSignature, idHeader, timestampHeader, signatureHeader)
	}
	// Forty bits are 34,000 years, and do not overflow a time.
	seconds, err := strconv.ParseUint(stamp, 10, 40)
	if err != nil {
		return fmt.Errorf("%w (%s must be Unix seconds)", ErrBadSignature, timestampHeader)
	}
	if strings.Count(signatures, " ") >= maxSignatures {
		return fmt.Errorf("%w (more than %d signatures)", ErrBadSignature, maxSignatures)
	}
	if !s.signed(slices.Concat([]byte(id+"."+stamp+"."), body), signatures) {
		return ErrBadSignature
	}
	switch age := now.Sub(time.Unix(int64(seconds), 0)); {
	case age > tolerance:
		return ErrTooOld
	case age < -tolerance:
		return ErrFromTheFuture
	}
	return nil
}

// signed reports whether any of the signatures is of the message by any of the
// keys. Signatures of unknown versions are skipped.
func (s *standard) signed(message []byte, signatures string) bool {
	macs := make([][]byte, len(s.secrets))
	for i, secret := range s.secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write(message)
		macs[i] = mac.Sum(nil)
	}
	for signature := range strings.SplitSeq(signatures, " ") {
		version, encoded, _ := strings.Cut(signature, ",")
		got, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		switch version {
		case "v1":
			if slices.ContainsFunc(macs, func(want []byte) bool { return hmac.Equal(got, want) }) {
				return true
			}
		case "v1a":
			if slices.ContainsFunc(s.publicKeys, func(key ed25519.PublicKey) bool { return ed25519.Verify(key, message, got) }) {
				return true
			}
		}
	}
	return false
}
