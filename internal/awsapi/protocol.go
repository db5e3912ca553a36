package awsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
)

// operation answers the body of one request, JSON of an object, with what is
// to be encoded; nil is an answer without members. The body is not to be kept.
type operation func(ctx context.Context, c account.AWSCaller, body []byte) (any, error)

// op is an operation that decodes In and encodes Out. Members that In lacks are
// ignored; a member of the wrong type is a SerializationException.
func op[In, Out any](fn func(context.Context, account.AWSCaller, *In) (*Out, error)) operation {
	return func(ctx context.Context, c account.AWSCaller, body []byte) (any, error) {
		in, err := decode[In](body)
		if err != nil {
			return nil, err
		}
		out, err := fn(ctx, c, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// act is an operation whose answer has no members.
func act[In any](fn func(context.Context, account.AWSCaller, *In) error) operation {
	return func(ctx context.Context, c account.AWSCaller, body []byte) (any, error) {
		in, err := decode[In](body)
		if err != nil {
			return nil, err
		}
		return nil, fn(ctx, c, in)
	}
}

const codeSerialization = "SerializationException"

func decode[In any](body []byte) (*In, error) {
	in := new(In)
	if len(bytes.TrimSpace(body)) == 0 {
		return in, nil
	}
	err := json.Unmarshal(body, in)
	if err == nil {
		return in, nil
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		at := ""
		if wrong.Field != "" {
			at = " at " + wrong.Field
		}
		return nil, fault.New(fault.Invalid, codeSerialization, "A %s cannot be read as the type expected%s.", wrong.Value, at)
	}
	return nil, fault.New(fault.Invalid, codeSerialization, "The body is not the JSON expected: %s.", err)
}

// stamp is a moment on the wire: a number, the seconds since 1970 with up to
// three decimals. Read is RFC 3339 too, which some clients send. Use omitzero
// where it may be absent.
type stamp time.Time

// IsZero is for omitzero.
func (s stamp) IsZero() bool { return time.Time(s).IsZero() }

// MarshalJSON writes the number; the zero stamp is null.
func (s stamp) MarshalJSON() ([]byte, error) {
	if s.IsZero() {
		return []byte("null"), nil
	}
	ms := time.Time(s).UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(nil, ms/1000, 10), nil
	}
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', 3, 64), nil
}

// The moments that RFC 3339 can write: the years 0 to 9999.
const (
	minStamp = -62167219200
	maxStamp = 253402300799
)

// UnmarshalJSON reads a number or RFC 3339.
func (s *stamp) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if raw[0] == '"' {
		var t time.Time
		if err := json.Unmarshal(raw, &t); err != nil {
			return fmt.Errorf("%s is not a time; send seconds since 1970", raw)
		}
		*s = stamp(t.UTC())
		return nil
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds < minStamp || seconds > maxStamp {
		return fmt.Errorf("%s is not a time; send seconds since 1970", raw)
	}
	*s = stamp(time.UnixMilli(int64(math.Round(seconds * 1000))).UTC())
	return nil
}

// readBody reads the whole body, as signatures cover it.
func (c *call) readBody(into *bytes.Buffer) error {
	limit := c.api.o.MaxBody
	tooLarge := fault.New(fault.TooLarge, "RequestEntityTooLarge", "The body is over the limit of %d bytes. Send fewer or smaller entries.", limit)
	if c.r.ContentLength > limit {
		c.w.Header().Set("Connection", "close") // or the rest would be read in vain
		return tooLarge
	}
	_, err := into.ReadFrom(http.MaxBytesReader(c.w, c.r.Body, limit))
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return tooLarge
	}
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || c.r.Context().Err() == nil {
			return fault.New(fault.Invalid, "IncompleteBody", "The body ended early.")
		}
		return fmt.Errorf("read body: %w", context.Canceled)
	}
	return nil
}

// reply sends what an operation returned.
func (c *call) reply(out any) error {
	if c.query {
		return c.replyXML(out)
	}
	if out == nil {
		// As AWS does where an operation has no output at all.
		c.write(http.StatusOK, c.service.json, nil)
		return nil
	}
	body, err := encode(out)
	if err != nil {
		return err
	}
	c.write(http.StatusOK, c.service.json, body)
	return nil
}

// encode returns v as JSON.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// write sends the answer in one piece.
func (c *call) write(status int, contentType string, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.wrote = true
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // a client that went away cannot be told
}

// fail answers with err.
func (c *call) fail(err error) {
	f := fault.As(err)
	switch {
	case f == nil && errors.Is(err, context.Canceled):
		// The client has gone, so hardly anybody reads this; it is no failure.
		f = fault.Unavailablef(err, "The request was given up before it was answered.")
	case f == nil && errors.Is(err, context.DeadlineExceeded):
		f = fault.Unavailablef(err, "The request took too long. Send it again.")
	case f == nil:
		c.api.o.Log.Error("request failed", "request_id", c.id, "operation", c.action, "error", err)
		c.internal()
		return
	}
	if f.Kind == fault.Unavailable || f.Kind == fault.Limited && f.RetryAfter > 0 {
		seconds := int64((f.RetryAfter + time.Second - 1) / time.Second)
		c.w.Header().Set("Retry-After", strconv.FormatInt(max(seconds, 1), 10))
		// Debug: the engine says once that the store fails, and a busy
		// publisher would say it again ten thousand times a second.
		c.api.o.Log.Debug("request refused", "request_id", c.id, "operation", c.action, "error", f.Message, "cause", f.Unwrap())
	}
	code, message := awsCode(f)
	c.writeError(c.status(f, code), code, message)
}

func (c *call) internal() {
	c.writeError(http.StatusInternalServerError, "InternalFailure", "Something failed on our side. The log tells more under "+c.id+".")
}

// awsCode is the code and message of a fault. A code in small letters is one of
// Waybill's own API, which AWS's clients do not know.
func awsCode(f *fault.Error) (code, message string) {
	if f.Code != "" && f.Code[0] >= 'A' && f.Code[0] <= 'Z' {
		return f.Code, f.Message
	}
	switch f.Kind {
	case fault.Invalid:
		code = "ValidationException"
	case fault.Unauthorized:
		code = codeUnknownKey
	case fault.Forbidden:
		code = "AccessDeniedException"
	case fault.NotFound:
		code = "ResourceNotFoundException"
	case fault.Conflict, fault.Idempotency:
		code = "ConcurrentModificationException"
	case fault.TooLarge:
		code = "RequestEntityTooLarge"
	case fault.Limited:
		code = "ThrottlingException"
	case fault.Unavailable:
		code = "ServiceUnavailable"
	default:
		code = "InternalFailure"
	}
	return code, f.Error()
}

// status is the status of a fault. AWS's JSON protocols answer nearly all that
// a client did wrong with 400; SQS refuses strangers with 403, as the query
// protocol always did.
func (c *call) status(f *fault.Error, code string) int {
	switch {
	case code == codeUnknownOperation:
		return http.StatusNotFound
	case f.Kind == fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case f.Kind == fault.Unavailable:
		return http.StatusServiceUnavailable
	case c.service == nil || c.service.queryCodes == nil || code == codeIncomplete || code == codeExpired:
		return http.StatusBadRequest
	case f.Kind == fault.Unauthorized, f.Kind == fault.Forbidden:
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

// queryCode is a code as the query protocol has it.
func (c *call) queryCode(code string) string {
	if legacy := c.service.queryCodes[code]; legacy != "" {
		return legacy
	}
	if legacy := commonQueryCodes[code]; legacy != "" {
		return legacy
	}
	return code
}

// blame is whose mistake a status is, in the query protocol's words.
func blame(status int) string {
	if status >= http.StatusInternalServerError {
		return "Receiver"
	}
	return "Sender"
}

func (c *call) writeError(status int, code, message string) {
	if c.query {
		c.writeXMLError(status, c.queryCode(code), message)
		return
	}
	contentType, namespace := json11, ""
	if c.service != nil {
		contentType, namespace = c.service.json, c.service.namespace
		if c.service.queryCodes != nil {
			// Clients from before the JSON protocol know the other codes, and
			// their successors still raise errors by them.
			c.w.Header().Set("X-Amzn-Query-Error", c.queryCode(code)+";"+blame(status))
		}
	}
	body, err := encode(struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}{namespace + code, message})
	if err != nil { // two strings always encode
		body = []byte(`{"__type":"InternalFailure"}`)
	}
	c.write(status, contentType, body)
}

// newRequestID returns a UUID of version 4. It needs to differ, not to be
// unguessable.
func newRequestID() string {
	a, b := rand.Uint64(), rand.Uint64() //nolint:gosec // a name for log lines, no secret
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}
