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

// Options are the ways onto a bus. Each returns when the event is durable.
// Errors that wrap ErrHeld, ErrAbsent and ErrRefused mean what those say; any
// other is tried again.
type Options struct {
	// PutFromBus puts the envelope of an event on a further bus.
	PutFromBus func(ctx context.Context, t event.BusTarget, e *event.Event, envelope []byte) error
	// PutFromSource puts an event destination's event on its source's bus.
	PutFromSource func(ctx context.Context, t event.SourceTarget, detailType string, at time.Time, detail []byte) error
}

// Opener opens both kinds of target.
func (o Options) Opener(t event.Target) (target.Target, error) {
	switch {
	case t.Kind == event.TargetBus && t.Bus != nil:
		to := *t.Bus
		return put(func(ctx context.Context, m target.Message) error { return o.PutFromBus(ctx, to, m.Event, m.Body) }), nil
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
	err := p(ctx, m)
	r.Total = time.Since(r.Started)
	if err == nil {
		return r
	}
	r.Message = err.Error()
	switch {
	case errors.Is(err, ErrHeld):
		r.Class = target.Held
	case errors.Is(err, ErrAbsent):
		r.Class, r.Permanent = event.ClassNoTarget, true
	case errors.Is(err, ErrRefused):
		r.Class, r.Permanent = event.ClassRefused, true
	case ctx.Err() != nil:
		r.Class = target.Interrupted
	default:
		r.Class = event.ClassConnect
	}
	return r
}
