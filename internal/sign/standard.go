package sign

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks
// (https://github.com/standard-webhooks/standard-webhooks):
//
//	webhook-id: <id of the message, the same in every attempt>
//	webhook-timestamp: <unix seconds>
//	webhook-signature: v1,<base64> v1a,<base64> …
//
// What is signed is "<id>.<timestamp>.<raw body>". v1 is an HMAC-SHA256 whose
// key is what follows whsec_, base64-decoded; v1a is an Ed25519 signature.
const (
	StandardID        = "Webhook-Id"
	StandardTimestamp = "Webhook-Timestamp"
	StandardSignature = "Webhook-Signature"
)

const (
	privatePrefix = "whsk_"
	publicPrefix  = "whpk_"
)

// Standard signs with a fixed set of keys. It is safe for concurrent use.
type Standard struct {
	macs [][]byte
	keys []ed25519.PrivateKey
}

// NewStandard returns a signer that adds one v1 for each secret and one v1a for
// each key. Secrets that are not whsec_ and base64 are left out; see
// CheckStandard.
func NewStandard(secrets []string, keys []ed25519.PrivateKey) *Standard {
	s := &Standard{keys: keys}
	for _, secret := range secrets {
		if mac, err := standardSecret(secret); err == nil {
			s.macs = append(s.macs, mac)
		}
	}
	return s
}

// AppendSignature appends the value of the signature's header for a message
// sent at t.
func (s *Standard) AppendSignature(dst []byte, id string, t time.Time, body []byte) []byte {
	message := standardMessage(id, strconv.FormatInt(t.Unix(), 10), body)
	start := len(dst)
	add := func(version string, signature []byte) {
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = base64.StdEncoding.AppendEncode(append(dst, version...), signature)
	}
	for _, key := range s.macs {
		add("v1,", standardMAC(key, message))
	}
	for _, key := range s.keys {
		add("v1a,", ed25519.Sign(key, message))
	}
	return dst
}

func standardMessage(id, stamp string, body []byte) []byte {
	m := make([]byte, 0, len(id)+len(stamp)+len(body)+2)
	m = append(append(m, id...), '.')
	m = append(append(m, stamp...), '.')
	return append(m, body...)
}

func standardMAC(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}

// CheckStandard returns an error if libraries for Standard Webhooks could not
// read a secret. The error does not hold it.
func CheckStandard(secret string) error {
	_, err := standardSecret(secret)
	return err
}

func standardSecret(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) == 0 {
		return nil, fmt.Errorf("%w: it is not whsec_ and base64", ErrNoSecret)
	}
	return key, nil
}

// PublicKey returns the public half of a key as receivers write it: whpk_ and
// base64.
func PublicKey(key ed25519.PrivateKey) string {
	return publicPrefix + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

// signStandard signs with each secret: whsec_ for v1, whsk_ (a key pair in
// base64) for v1a. It keeps the id that h has.
func signStandard(h http.Header, body []byte, secrets []string, now time.Time) {
	var keys []ed25519.PrivateKey
	for _, secret := range secrets {
		if text, ok := strings.CutPrefix(secret, privatePrefix); ok {
			if key, err := base64.StdEncoding.DecodeString(text); err == nil && len(key) == ed25519.PrivateKeySize {
				keys = append(keys, key)
			}
		}
	}
	if h.Get(StandardID) == "" {
		h.Set(StandardID, "msg_"+rand.Text())
	}
	h.Set(StandardTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.Set(StandardSignature, string(NewStandard(secrets, keys).AppendSignature(nil, h.Get(StandardID), now, body)))
}

// VerifyStandard returns nil if h holds a Standard Webhooks signature of the
// raw body by any of the secrets, each whsec_ or whpk_, made no longer than
// tolerance before now or after it. A tolerance of 0 or less is
// [DefaultTolerance]. It returns [ErrTooOld] and [ErrTooNew] only for genuine
// signatures.
func VerifyStandard(h http.Header, body []byte, secrets []string, now time.Time, tolerance time.Duration) error {
	if tolerance <= 0 {
		tolerance = DefaultTolerance
	}
	header := h.Get(StandardSignature)
	if header == "" {
		return ErrNoSignature
	}
	id, stamp := h.Get(StandardID), h.Get(StandardTimestamp)
	unix, err := strconv.ParseUint(stamp, 10, 63)
	if err != nil || unix > maxUnix || id == "" {
		return fmt.Errorf("%w: %s and %s must be an id and a time in Unix seconds", ErrMalformed, StandardID, StandardTimestamp)
	}
	genuine, usable := false, false
	message := standardMessage(id, stamp, body)
	for _, secret := range secrets {
		matches := verifier(secret, message)
		if matches == nil {
			continue
		}
		usable = true
		for part := range strings.SplitSeq(header, " ") {
			version, text, _ := strings.Cut(part, ",")
			if signature, err := base64.StdEncoding.DecodeString(text); err == nil && matches(version, signature) {
				genuine = true
			}
		}
	}
	switch age := now.Sub(time.Unix(int64(unix), 0)); {
	case !usable:
		return ErrNoSecret
	case !genuine:
		return ErrMismatch
	case age > tolerance:
		return ErrTooOld
	case age < -tolerance:
		return ErrTooNew
	}
	return nil
}

// verifier returns what tells whether a signature of a message is by a secret;
// nil for what is no secret.
func verifier(secret string, message []byte) func(version string, signature []byte) bool {
	if text, ok := strings.CutPrefix(secret, publicPrefix); ok {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil
		}
		return func(version string, signature []byte) bool {
			return version == "v1a" && ed25519.Verify(key, message, signature)
		}
	}
	key, err := standardSecret(secret)
	if err != nil {
		return nil
	}
	want := standardMAC(key, message)
	return func(version string, signature []byte) bool {
		return version == "v1" && hmac.Equal(signature, want)
	}
}
