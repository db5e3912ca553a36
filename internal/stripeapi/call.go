package stripeapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
)

// call is one request on its way through the surface.
type call struct {
	api    *api
	w      http.ResponseWriter
	r      *http.Request
	id     string // req_…
	arg    string // the id in the path
	arg2   string // the second one
	caller account.Caller
	// acting is the path to the account that the caller acts in; "" is its own.
	acting string
	actor  *account.Actor // of a change
	wrote  bool
}

// The headers that matter here, in canonical form, so that the header map can
// be used directly.
const (
	headerRequestID   = "Request-Id"
	headerVersion     = "Stripe-Version"
	headerIdempotency = "Idempotency-Key"
	headerAccount     = "Stripe-Account"
	headerContext     = "Stripe-Context"
)

// maxHeader bounds the values that are echoed or stored, in bytes.
const maxHeader = 255

// begin names the request and echoes the headers that clients look for.
func (c *call) begin() {
	c.id = newRequestID()
	in, out := c.r.Header, c.w.Header()
	out[headerRequestID] = []string{c.id}
	for _, name := range [...]string{headerVersion, headerIdempotency, headerAccount} {
		if v := in[name]; len(v) == 1 && v[0] != "" && len(v[0]) <= maxHeader {
			out[name] = v
		}
	}
}

const requestIDChars = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newRequestID returns req_ and 14 characters. They need to differ, not to be
// unguessable.
func newRequestID() string {
	id := [18]byte{'r', 'e', 'q', '_'}
	a, b := rand.Uint64(), rand.Uint64() //nolint:gosec // a name for log lines, no secret
	for i := 4; i < len(id); i++ {
		if i == 11 {
			a = b
		}
		id[i] = requestIDChars[a%62]
		a /= 62
	}
	return string(id[:])
}

// generation is the API that the path belongs to. Paths outside of both get
// the older one's error form.
func (c *call) generation() int {
	if strings.HasPrefix(c.r.URL.Path, "/v2/") {
		return 2
	}
	return 1
}

// authenticate finds out who calls, whether they may, and whether the headers
// can be honoured.
func (c *call) authenticate(ctx context.Context, need permission) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	caller, err := c.identify(ctx, key)
	if err != nil {
		return err
	}
	caller.Generation = c.generation()
	if err := c.permit(&caller, need); err != nil {
		return err
	}
	if caller, err = c.act(ctx, caller); err != nil {
		return err
	}
	if v := c.r.Header[headerIdempotency]; len(v) > 0 && c.r.Method != http.MethodGet {
		switch {
		case len(v) > 1:
			return fault.Invalidf(headerIdempotency, "The header is there %d times. Send it once.", len(v))
		case utf8.RuneCountInString(v[0]) > maxHeader:
			return fault.Invalidf(headerIdempotency, "The key has more than %d characters. Send a shorter one.", maxHeader)
		case !utf8.ValidString(v[0]):
			return fault.Invalidf(headerIdempotency, "The key is not valid UTF-8. Send letters and digits.")
		}
		caller.IdempotencyKey = v[0]
	}
	c.caller = caller
	return nil
}

// act applies the headers that name the account to act in.
func (c *call) act(ctx context.Context, caller account.Caller) (account.Caller, error) {
	own := caller
	for _, name := range [...]string{headerAccount, headerContext} {
		v := c.r.Header[name]
		if len(v) == 0 || v[0] == "" {
			continue
		}
		acting, err := c.api.accounts.Act(ctx, own, v[0])
		if f := fault.As(err); f != nil && f.Kind == fault.Forbidden {
			f.Param = name
		}
		switch {
		case err != nil:
			return caller, err
		case c.acting != "" && acting.Scope != caller.Scope:
			return caller, fault.Invalidf(headerContext, "Stripe-Account and Stripe-Context name different accounts. Send one of them.")
		}
		caller, c.acting = acting, v[0]
	}
	return caller, nil
}

// key returns the API key from Authorization: as a Bearer token, or as the user
// of HTTP Basic, which is what curl -u sends.
func (c *call) key() (string, error) {
	header := c.r.Header["Authorization"]
	if len(header) == 0 || header[0] == "" {
		return "", fault.New(fault.Unauthorized, "unauthorized",
			"There is no API key. Send it as Authorization: Bearer sk_…, or as the user name of HTTP Basic.")
	}
	const bearer = "Bearer "
	if v := header[0]; len(v) > len(bearer) && strings.EqualFold(v[:len(bearer)], bearer) {
		return strings.TrimSpace(v[len(bearer):]), nil
	}
	if user, _, ok := c.r.BasicAuth(); ok && user != "" {
		return user, nil
	}
	return "", fault.New(fault.Unauthorized, "unauthorized",
		"The Authorization header holds no API key. Send Bearer sk_…, or the key as the user name of HTTP Basic.")
}

// buffers are what a publish request works in.
type buffers struct{ in, out, hash []byte }

// maxPooled bounds what a pooled buffer may have grown to. A few requests at
// the limit must not leave their size behind.
const maxPooled = 1 << 20

// release gives buffers back. keepIn is false if somebody may still read the
// body: then it is left to the garbage collector.
func (a *api) release(b *buffers, keepIn bool) {
	if !keepIn || cap(b.in) > maxPooled {
		b.in = nil
	}
	if cap(b.out) > maxPooled {
		b.out = nil
	}
	if cap(b.hash) > maxPooled {
		b.hash = nil
	}
	a.buffers.Put(b)
}

// firstRead is how much is set aside before any of a body has come. A client
// that announces much and sends nothing must not cost memory.
const firstRead = 16 << 10

// readBody reads the whole body into buf, which it grows as needed, and
// fingerprints the request if it has an idempotency key.
func (c *call) readBody(buf []byte) ([]byte, error) {
	if enc := c.r.Header["Content-Encoding"]; len(enc) > 0 && enc[0] != "" && !strings.EqualFold(enc[0], "identity") {
		return buf, fault.Invalidf("Content-Encoding", "Compressed bodies are not understood. Send the body as it is.")
	}
	limit := c.api.maxRequest
	length := c.r.ContentLength
	if length > int64(limit) {
		return buf, c.bodyTooLarge()
	}
	buf = buf[:0]
	if cap(buf) == 0 {
		buf = make([]byte, 0, firstRead)
	}
	for c.r.Body != nil {
		if len(buf) == cap(buf) {
			if int64(len(buf)) == length {
				break // all that was announced is there
			}
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := c.r.Body.Read(buf[len(buf):min(cap(buf), limit+1)])
		buf = buf[:len(buf)+n]
		if len(buf) > limit {
			return buf, c.bodyTooLarge()
		}
		if errors.Is(err, io.EOF) || (err == nil && int64(len(buf)) == length) {
			break
		}
		if err != nil {
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				return buf, c.bodyTooLarge()
			}
			return buf, fault.Invalidf("", "The request body broke off before its end. Send the request again.")
		}
	}
	c.fingerprint(buf)
	return buf, nil
}

func (c *call) bodyTooLarge() error {
	c.w.Header().Set("Connection", "close") // rather than read the rest of it
	return fault.New(fault.TooLarge, "request_too_large",
		"The request body is larger than %d bytes. Send the events in several requests.", c.api.maxRequest)
}

// fingerprint tells repeats of a request from other requests with its key.
func (c *call) fingerprint(body []byte) {
	if c.caller.IdempotencyKey == "" {
		return
	}
	h := sha256.New()
	_, _ = io.WriteString(h, c.r.Method+"\n"+c.r.URL.Path+"\n") // a hash never fails
	_, _ = h.Write(body)
	h.Sum(c.caller.RequestHash[:0])
}
