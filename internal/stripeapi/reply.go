package stripeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/sandbox"
)

// Shared by all answers; net/http only reads it.
var jsonType = []string{"application/json"}

// write sends the answer in one piece.
func (c *call) write(status int, body []byte) {
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.wrote = true
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // a client that went away cannot be told
}

// encode returns v as JSON.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return buf.Bytes(), nil
}

// methodError is a path that exists for other methods.
type methodError struct{ method, path, allowed string }

func (e *methodError) Error() string {
	return fmt.Sprintf("%s is not possible at %s. It takes: %s.", e.method, e.path, e.allowed)
}

// wireError is the error object of both generations.
type wireError struct {
	Type    string `json:"type,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Param   string `json:"param,omitempty"` // API v1 only
}

// fail answers with err.
func (c *call) fail(err error) {
	if m := (*methodError)(nil); errors.As(err, &m) {
		c.writeError(http.StatusMethodNotAllowed, c.plain("method_not_allowed", m.Error()))
		return
	}
	if r := (*sandbox.Refusal)(nil); errors.As(err, &r) {
		c.refused(r)
		return
	}
	f := fault.As(err)
	switch {
	case f == nil && errors.Is(err, context.Canceled):
		// The client has gone, so hardly anybody reads this; it is no failure.
		c.writeError(http.StatusServiceUnavailable, c.plain("request_cancelled", "The request was given up before it was answered."))
		return
	case f == nil && errors.Is(err, context.DeadlineExceeded):
		f = fault.Unavailablef(err, "The request took too long. Send it again.")
	case f == nil:
		c.api.log.Error("request failed", "request_id", c.id, "method", c.r.Method, "path", c.r.URL.Path, "error", err)
		c.writeError(http.StatusInternalServerError, c.internal())
		return
	}
	status := c.status(f)
	h := c.w.Header()
	switch f.Kind {
	case fault.Idempotency:
		// Otherwise stripe-node sends the same request twice more.
		h.Set("Stripe-Should-Retry", "false")
	case fault.Unauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case fault.Unavailable, fault.Limited:
		seconds := int64((f.RetryAfter + time.Second - 1) / time.Second)
		h.Set("Retry-After", strconv.FormatInt(max(seconds, 1), 10))
		if f.Kind == fault.Unavailable {
			// Debug: the engine says once that the store fails, and a busy
			// publisher would say it again ten thousand times a second.
			c.api.log.Debug("request refused", "request_id", c.id, "method", c.r.Method, "path", c.r.URL.Path,
				"error", f.Message, "cause", f.Unwrap())
		}
	}
	c.writeError(status, c.wireError(f))
}

func (c *call) status(f *fault.Error) int {
	switch f.Kind {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthorized:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Idempotency:
		if c.generation() == 1 {
			return http.StatusBadRequest
		}
		return http.StatusConflict
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// wireError puts a fault into the form of its generation. API v2 errors mostly
// have no type: their code decides which class an SDK raises.
func (c *call) wireError(f *fault.Error) wireError {
	e := wireError{Code: f.Code, Message: f.Error()}
	if c.generation() == 2 {
		switch f.Kind {
		case fault.Idempotency:
			e.Type = "idempotency_error"
		case fault.Limited:
			e.Type = "rate_limit"
		}
		return e
	}
	e.Type, e.Param = "invalid_request_error", f.Param
	switch f.Kind {
	case fault.Invalid:
		if e.Code == "invalid_fields" { // a word of API v2
			e.Code = ""
		}
	case fault.NotFound:
		e.Code = "resource_missing"
	case fault.Idempotency:
		e.Type, e.Code = "idempotency_error", ""
	case fault.Unavailable:
		e.Type = "api_error"
	}
	return e
}

// plain is an error that no fault stands for.
func (c *call) plain(code, message string) wireError {
	e := wireError{Code: code, Message: message}
	if c.generation() == 1 {
		e.Type = "invalid_request_error"
	}
	return e
}

func (c *call) internal() wireError {
	e := wireError{Code: "internal_error", Message: "Something failed on our side. The log tells more under " + c.id + "."}
	if c.generation() == 1 {
		e.Type = "api_error"
	}
	return e
}

func (c *call) writeError(status int, e wireError) {
	body, err := encode(struct {
		Error wireError `json:"error"`
	}{e})
	if err != nil { // three strings always encode
		body = []byte(`{"error":{"message":"internal error"}}`)
	}
	c.write(status, body)
}
