package destination

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// Ping publishes a thin event of PingType to one destination alone, whatever
// events it selects, and returns it once it is durable. The destination must
// not be disabled, except where an earlier ping is replayed; one whose event
// source is pending gets it when that is associated.
func (s *Service) Ping(ctx context.Context, c account.Caller, id string) (*event.Event, error) {
	row, err := s.read(ctx, c.Scope, id)
	if err != nil {
		return nil, err
	}
	if s.engine == nil {
		return nil, errors.New("publish ping: there is no engine")
	}
	idem, err := s.record(c, id)
	if err != nil {
		return nil, err
	}
	if idem != nil {
		idem.Result = nil // the engine fills it with the event
	}
	if row.Status == event.Disabled {
		replay, err := s.pinged(ctx, idem)
		if err != nil {
			return nil, err
		}
		if !replay {
			return nil, fault.New(fault.Invalid, "event_destination_disabled",
				"The event destination %s is disabled, so a ping would not be delivered. Enable it first.", show(id))
		}
	}
	draft, err := relatedDraft(row.ID, PingType)
	if err != nil {
		return nil, err
	}
	events, err := s.engine.Publish(ctx, engine.Publish{
		Scope:          c.Scope,
		Drafts:         []*event.Draft{draft},
		DefaultVersion: c.APIVersion,
		Idempotency:    idem,
		Only:           []int64{row.Number},
	})
	switch {
	case errors.Is(err, store.ErrIdempotencyMismatch):
		return nil, keyReused()
	case errors.Is(err, store.ErrNotFound):
		return nil, fault.NotFoundf("This ping was sent before, and its event is no longer kept. Use a new idempotency key for a new ping.")
	case err != nil:
		return nil, failed("publish ping", err)
	case len(events) != 1:
		return nil, fmt.Errorf("publish ping: the engine returned %d events", len(events))
	}
	return events[0], nil
}

// pinged tells whether this very ping was published before. The engine then
// replays it.
func (s *Service) pinged(ctx context.Context, idem *store.Idempotency) (bool, error) {
	if idem == nil {
		return false, nil
	}
	seen, err := s.store.Idempotent(ctx, idem.Scope, idem.Generation, idem.Key, idem.Created)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, failed("look up idempotency key", err)
	case seen.Hash != idem.Hash:
		return false, keyReused()
	}
	return true, nil
}
