// Package fault is the error that reaches a user: what kind it is, which
// parameter it is about, what is wrong and what to do. Domains return it,
// surfaces put it into their own wire form. Anything that is not a fault is
// our own failure, and is shown as such without its text.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind decides the status a surface answers with.
type Kind uint8

// The kinds of fault.
const (
	Invalid      Kind = iota + 1 // 400: the request cannot be carried out as sent
	Unauthorized                 // 401: no valid key
	Forbidden                    // 403: a valid key that may not
	NotFound                     // 404: no such object for this caller
	Conflict                     // 409: another object or request is in the way
	Idempotency                  // 409 in API v2, 400 in v1: key reused with other parameters
	TooLarge                     // 413
	Limited                      // 429
	Unavailable                  // 503: try again after RetryAfter
)

// Error is a fault.
type Error struct {
	Kind Kind
	// Code is a stable word for programs, such as "invalid_fields".
	Code string
	// Param is the path of the parameter at fault, or "".
	Param string
	// Message says what is wrong and what to do about it, in full sentences.
	Message string
	// RetryAfter is set for Unavailable and Limited.
	RetryAfter time.Duration
	cause      error
}

func (e *Error) Error() string {
	if e.Param != "" {
		return e.Param + ": " + e.Message
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// Invalidf reports a bad parameter.
func Invalidf(param, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Code: "invalid_fields", Param: param, Message: fmt.Sprintf(format, args...)}
}

// NotFoundf reports an object that does not exist for this caller.
func NotFoundf(format string, args ...any) *Error {
	return &Error{Kind: NotFound, Code: "not_found", Message: fmt.Sprintf(format, args...)}
}

// New makes a fault of any kind.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Unavailablef reports that storage or another part cannot work right now;
// cause is kept for the log and not shown.
func Unavailablef(cause error, format string, args ...any) *Error {
	return &Error{
		Kind: Unavailable, Code: "service_unavailable", Message: fmt.Sprintf(format, args...),
		RetryAfter: time.Second, cause: cause,
	}
}

// As returns the fault inside err, or nil.
func As(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return nil
}
