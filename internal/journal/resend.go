package journal

import (
	"context"
	"errors"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// Resend sends an event to one destination again: one try, in a run of its own
// that neither waits for scheduled tries nor cancels them. It returns when the
// run is durable, before the try. The event need not have matched the
// destination when it was published. API v1's id of the destination will do.
func (s *Service) Resend(ctx context.Context, c account.Caller, eventID, destinationID string) (View, error) {
	e, err := s.event(ctx, c, eventID, 0)
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound {
		e, err = s.relayed(ctx, c, eventID, err)
	}
	if err != nil {
		return View{}, err
	}
	replay, err := s.replayed(ctx, c)
	if err != nil {
		return View{}, err
	}
	if !replay {
		if err := s.resend(ctx, c, e, destinationID); err != nil {
			return View{}, err
		}
	}
	views, err := s.views(ctx, c.Scope, []*event.Event{e})
	if err != nil {
		return View{}, err
	}
	return views[0], nil
}

// near is how far a copy lies at most from the event it is a copy of.
const near = 16

// relayed finds the copy of a connected account's event. It was accepted right
// after the event, which the id tells the place of; absent is returned if there
// is none.
func (s *Service) relayed(ctx context.Context, c account.Caller, id string, absent error) (*event.Event, error) {
	seq, ok := event.ParseID(id, c.Scope.Live())
	if !ok || seq < s.oldest() {
		return nil, absent
	}
	for _, kind := range [...]event.Kind{event.RelayedSnapshot, event.RelayedThin} {
		page, err := s.store.ListEvents(ctx, store.ListEvents{Scope: c.Scope, Kind: kind, Newer: seq, Limit: near})
		if err != nil {
			return nil, toFault(err, "find event")
		}
		for _, e := range page.Items {
			if e.ID() == id {
				return e, nil
			}
		}
	}
	return nil, absent
}

// replayed tells whether this request was carried out before, so that a repeat
// succeeds even if the destination has been disabled or deleted since.
func (s *Service) replayed(ctx context.Context, c account.Caller) (bool, error) {
	if c.IdempotencyKey == "" {
		return false, nil
	}
	known, err := s.store.Idempotent(ctx, c.Scope, c.Generation, c.IdempotencyKey, s.now())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, toFault(err, "look up idempotency key")
	case known.Hash != c.RequestHash:
		return false, toFault(store.ErrIdempotencyMismatch, "look up idempotency key")
	}
	return true, nil
}

func (s *Service) resend(ctx context.Context, c account.Caller, e *event.Event, destinationID string) error {
	if destinationID == "" {
		return s.resendToListeners(ctx, c, e)
	}
	d, err := s.destinations.Retrieve(ctx, c, destination.IDOf(destinationID))
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound {
		return fault.NotFoundf("No such webhook endpoint or event destination: %q.", destinationID)
	}
	if err != nil {
		return toFault(err, "find destination")
	}
	if d.Status == event.Disabled {
		return fault.Invalidf("webhook_endpoint", "%s is disabled. Enable it, then resend.", d.ID)
	}
	if d.Payload != e.Kind.Form() {
		return fault.Invalidf("webhook_endpoint", "%s receives %s events, and %s is a %s event.", d.ID, d.Payload, e.ID(), e.Kind)
	}
	err = s.engine.Redeliver(ctx, c.Scope, e.Seq, d.Number, s.idempotency(c, e.ID()))
	if err != nil {
		return toFault(err, "resend event")
	}
	return nil
}

// resendToListeners sends an event to all sessions that listen to its kind.
func (s *Service) resendToListeners(ctx context.Context, c account.Caller, e *event.Event) error {
	var listeners []int64
	if s.listeners != nil {
		var err error
		if listeners, err = s.listeners(ctx, c.Scope, e.Kind.Form()); err != nil {
			return err
		}
	}
	if len(listeners) == 0 {
		return fault.Invalidf("webhook_endpoint",
			"No Stripe CLI session is listening to %s events. Begin one with stripe listen, or name the event destination to resend to, such as --webhook-endpoint=ed_….", e.Kind.Form())
	}
	for i, number := range listeners {
		var idem *store.Idempotency
		if i == len(listeners)-1 { // a repeat, if one before it fails, sends to all of them
			idem = s.idempotency(c, e.ID())
		}
		if err := s.engine.Redeliver(ctx, c.Scope, e.Seq, number, idem); err != nil {
			return toFault(err, "resend event")
		}
	}
	return nil
}
