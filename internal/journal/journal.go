// Package journal owns what happened, as the account that it happened to reads
// and writes it: events, the deliveries they led to, and the attempts that were
// made. It publishes events, finds them again, and sends one again on request.
//
// It has no state of its own: events enter through the engine, everything is
// read from the store. What it returns belongs to the caller's scope; another
// account's event, or one of the other mode, is not found. Events can be
// retrieved and sent again for 30 days after they were accepted; deliveries and
// attempts can be read for as long as they are kept.
//
// A store that cannot be reached is a fault of kind Unavailable, and the same
// call can be made again. Anything else that is not a *fault.Error is a defect.
package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// Visible is how long an event can be retrieved and sent again after it was
// Visible is how long an event can be retrieved and sent again after it was
// accepted, unless Options say otherwise.
const Visible = 30 * 24 * time.Hour

// Engine is the way in for events.
type Engine interface {
	// Publish returns after the events were committed, one per draft in
	// order, and keeps nothing of the drafts when it returns nil.
	Publish(ctx context.Context, p engine.Publish) ([]*event.Event, error)
	// Redeliver starts a run of one try for an event and a subscription. The
	// run is durable on return. A replay of idem returns nil and starts none.
	Redeliver(ctx context.Context, scope event.Scope, seq event.Seq, subscription int64, idem *store.Idempotency) error
}

// Destinations finds a destination that was not deleted, or a fault.
type Destinations interface {
	Retrieve(ctx context.Context, c account.Caller, id string) (*destination.Destination, error)
}

// Options are what a Service works with. Now defaults to time.Now, and without
// Listeners nobody listens; all other fields are required.
type Options struct {
	Store        store.History
	Registry     store.Registry
	Destinations Destinations
	Engine       Engine
	// Visible is how long events can be seen; 0 is the constant.
	Visible time.Duration
	Now     func() time.Time
	// Listeners are the subscriptions of those who listen to a kind of event
	// with `stripe listen`.
	Listeners func(ctx context.Context, scope event.Scope, kind event.Kind) ([]int64, error)
}

// Service answers for the journal of all accounts. It is safe for concurrent
// use.
type Service struct {
	store        store.History
	registry     store.Registry
	destinations Destinations
	engine       Engine
	visible      time.Duration
	now          func() time.Time
	listeners    func(ctx context.Context, scope event.Scope, kind event.Kind) ([]int64, error)
}

// New returns a Service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Visible == 0 {
		o.Visible = Visible
	}
	return &Service{store: o.Store, registry: o.Registry, destinations: o.Destinations, engine: o.Engine, visible: o.Visible, now: o.Now, listeners: o.Listeners}
}

// Page is part of a list, in the order of the listing.
type Page[T any] = store.Page[T]

// oldest returns the lowest sequence number that is still visible.
func (s *Service) oldest() event.Seq { return event.SeqAt(s.now().Add(-s.visible)) }

// idempotency returns the record for the caller's key, or nil without one.
func (s *Service) idempotency(c account.Caller, result string) *store.Idempotency {
	if c.IdempotencyKey == "" {
		return nil
	}
	idem := &store.Idempotency{
		Scope: c.Scope, Generation: c.Generation, Key: c.IdempotencyKey, Hash: c.RequestHash, Created: s.now(),
	}
	if result != "" {
		idem.Result = []byte(result)
	}
	return idem
}

// toFault gives the errors of store and engine the form that a user sees.
// doing is the verb and object for those that stay our own failure.
func toFault(err error, doing string) error {
	switch {
	case fault.As(err) != nil:
		return err
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return fault.Unavailablef(fmt.Errorf("%s: %w", doing, err),
			"The event store cannot be reached right now. Send the request again; with an Idempotency-Key it takes effect once only.")
	case errors.Is(err, store.ErrIdempotencyMismatch):
		return fault.New(fault.Idempotency, "idempotency_error",
			"This Idempotency-Key was used before with different parameters. Use a new key for a different request.")
	case errors.Is(err, store.ErrEventMismatch):
		return fault.New(fault.Conflict, "event_id_in_use",
			"An event with this id and different content exists already, and events never change. Nothing was published; choose another id, or leave it out.")
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func noSuchEvent(id string) error {
	return fault.NotFoundf("No such event: %q. Events can be retrieved for 30 days (or as this installation is configured), in the mode they were published in.", id)
}
