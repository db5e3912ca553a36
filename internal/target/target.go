// Package target owns the contract between the engine and whatever it sends
// to. Each kind of target has a folder of its own below this one; all pass
// the suite in targettest.
package target

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// Message is one delivery, rendered.
type Message struct {
	EventID string
	Type    string
	// Body is what the destination receives. Nobody changes it any more, so
	// a target may go on reading it after Send has returned.
	Body []byte
	// Attempt counts from 1.
	Attempt int
	// Event is what Body was made of, never nil. It is not to be changed.
	Event *event.Event
}

// Result is what one try brought. Times are measured by the target.
type Result struct {
	Class            event.Class // "" is success
	Status           int
	Message          string // why not, for a person; no secrets
	Started          time.Time
	FirstByte, Total time.Duration
	Headers          []event.Header
	Body             []byte // at most event.MaxKeptBody
	Truncated        bool   // Body is not all there was
	// RetryAfter is the least time the target asked to be left alone.
	RetryAfter time.Duration
	// Permanent means that a further try cannot succeed.
	Permanent bool
	// Deposit, with success, is what the delivery leaves inside Waybill: the
	// engine writes it in the transaction of the attempt.
	Deposit *event.Deposit
}

// Interrupted is the class of a Result that is no attempt: ctx ended, as it
// does at shutdown, before the try was over.
const Interrupted event.Class = "interrupted"

// Interrupt makes r the result of a try that the end of ctx cut short.
func (r *Result) Interrupt() {
	r.Class, r.Message = Interrupted, "Interrupted by shutdown."
	r.RetryAfter, r.Permanent, r.Deposit = 0, false, nil
}

// Held is the class of a Result that is no attempt either: the target is not
// there yet. The delivery is kept and offered again.
const Held event.Class = "held"

// Target sends messages to one place.
//
// Send makes exactly one try and returns when it is over: within the target's
// own time-out, whatever the peer does, and at once when ctx ends. (What lies
// inside Waybill waits for nothing but the store, and needs no time-out.) It
// tries nothing if ctx has ended before. It never panics, never retries, never
// follows a redirect and never reads without bound. It is safe for concurrent
// use.
type Target interface {
	Send(ctx context.Context, m Message) Result
}

// Opener makes the target of a subscription. It fails if the configuration
// cannot be used.
type Opener func(event.Target) (Target, error)
