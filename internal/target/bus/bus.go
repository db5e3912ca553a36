// Package bus owns the targets that put events on a bus of this installation:
// what a rule forwards to another bus, and what an event destination sends
// through its partner event source. No HTTP lies in between; the buses' domain
// is injected as functions.
package bus

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
)

// The errors by which an injected function says that a put was refused.
var (
	// ErrHeld: the event source has no bus yet. The delivery is kept.
	ErrHeld = errors.New("the partner event source is not associated with an event bus yet")
	// ErrAbsent: there is no such bus or event source (any more).
	ErrAbsent = errors.New("there is no such event bus or event source")
	// ErrRefused: the event may not go there; no retry will change that.
	ErrRefused = errors.New("the event bus refused the event")
)

// Options are the ways onto a bus. Each returns when the event is durable, or
// soon after ctx has ended. Errors that wrap ErrHeld, ErrAbsent and ErrRefused
// mean what those say, to whoever owns the rule or the destination; any other is
// tried again and not shown.
type Options struct {
	// PutFromBus puts an event on a further bus, by the envelope that it came
	// in: a rule's input could state any account, source and id.
	PutFromBus func(ctx context.Context, t event.BusTarget, e *event.Event) error
	// PutFromSource puts an event destination's event on its source's bus.
	PutFromSource func(ctx context.Context, t event.SourceTarget, detailType string, at time.Time, detail []byte) error
}

// Opener opens both kinds of target.
func (o Options) Opener(t event.Target) (target.Target, error) {
	switch {
	case t.Kind == event.TargetBus && t.Bus != nil:
		to := *t.Bus
		return put(func(ctx context.Context, m target.Message) error { return o.PutFromBus(ctx, to, m.Event) }), nil
	case t.Kind == event.TargetEventSource && t.EventSource != nil:
		to := *t.EventSource
		return put(func(ctx context.Context, m target.Message) error {
			return o.PutFromSource(ctx, to, m.Type, m.Event.Created, m.Body)
		}), nil
	}
	return nil, errors.New("open bus: the target names no event bus")
}

type put func(ctx context.Context, m target.Message) error

// Send puts the event on the bus.
func (p put) Send(ctx context.Context, m target.Message) target.Result {
	r := target.Result{Started: time.Now()}
	err := ctx.Err()
	if err == nil {
		err = p(ctx, m)
	}
	r.Total = time.Since(r.Started)
	switch {
	case err == nil:
	case errors.Is(err, ErrHeld):
		r.Class, r.Message = target.Held, err.Error()
	case errors.Is(err, ErrAbsent):
		r.Class, r.Message, r.Permanent = event.ClassNoTarget, err.Error(), true
	case errors.Is(err, ErrRefused):
		r.Class, r.Message, r.Permanent = event.ClassRefused, err.Error(), true
	case ctx.Err() != nil:
		r.Interrupt()
	default: // a failure of our own, whose text is for the log
		r.Class, r.Message = event.ClassConnect, "Waybill cannot put the event on the bus right now."
	}
	return r
}
