package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// View is an event as retrieved.
type View struct {
	*event.Event
	// Pending counts the deliveries that were meant to happen and have not
	// succeeded. Thin events do not show it and have 0.
	Pending int
}

// Publish accepts events: all of them or none. It returns one event per draft
// in order, after the commit; the earlier event where a chosen id was published
// before with the same content. Faults: Conflict if an id is taken by other
// content, Idempotency, Invalid, Unavailable.
func (s *Service) Publish(ctx context.Context, c account.Caller, drafts []*event.Draft) ([]*event.Event, error) {
	if err := checkIDs(drafts, c.Scope.Live()); err != nil {
		return nil, err
	}
	events, err := s.engine.Publish(ctx, engine.Publish{
		Scope: c.Scope, Drafts: drafts, DefaultVersion: c.APIVersion, Idempotency: s.idempotency(c, ""),
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fault.NotFoundf("These events were published before with this Idempotency-Key, and are no longer kept. Use a new key for new events.")
	case err != nil:
		return nil, toFault(err, "publish events")
	}
	return events, nil
}

// checkIDs refuses ids that could not be told from Waybill's own, and an id
// that is used twice in one request.
func checkIDs(drafts []*event.Draft, live bool) error {
	var seen map[string]int
	for i, d := range drafts {
		if d.ID == "" {
			continue
		}
		if _, own := event.ParseID(d.ID, live); own {
			return fault.Invalidf(idParam(drafts, i),
				"%q has the form of the ids that Waybill gives out itself. Choose another id, or leave it out.", d.ID)
		}
		if len(drafts) == 1 {
			return nil
		}
		if first, ok := seen[d.ID]; ok {
			return fault.Invalidf(idParam(drafts, i), "is the same as events[%d].id. Each event needs an id of its own.", first)
		}
		if seen == nil {
			seen = make(map[string]int, len(drafts))
		}
		seen[d.ID] = i
	}
	return nil
}

func idParam(drafts []*event.Draft, i int) string {
	if len(drafts) == 1 {
		return "id"
	}
	return fmt.Sprintf("events[%d].id", i)
}

// Event finds an event of this kind, or of any kind if kind is 0.
func (s *Service) Event(ctx context.Context, c account.Caller, id string, kind event.Kind) (View, error) {
	e, err := s.event(ctx, c, id, kind)
	if err != nil {
		return View{}, err
	}
	views, err := s.views(ctx, c.Scope, []*event.Event{e})
	if err != nil {
		return View{}, err
	}
	return views[0], nil
}

func (s *Service) event(ctx context.Context, c account.Caller, id string, kind event.Kind) (*event.Event, error) {
	e, err := s.store.Event(ctx, c.Scope, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, noSuchEvent(id)
	case err != nil:
		return nil, toFault(err, "find event")
	case kind != 0 && e.Kind != kind, e.Seq < s.oldest():
		return nil, noSuchEvent(id)
	}
	return e, nil
}

// EventQuery selects events of one kind, newest first.
type EventQuery struct {
	Kind event.Kind
	// Types, if any, are exact names, or prefixes where they end in "*".
	Types    []string
	ObjectID string
	// Created bounds, both inclusive; zero is unbounded.
	CreatedFrom, CreatedTo time.Time
	// Undelivered, if set, selects events that have (true) or lack (false)
	// deliveries that did not succeed.
	Undelivered *bool
	// Older asks for the page after this event, Newer for the one before.
	Older, Newer event.Seq
	// StartingAfter and EndingBefore are the same by id, as API v1 pages.
	StartingAfter, EndingBefore string
	Limit                       int
}

// Events returns a page of events.
func (s *Service) Events(ctx context.Context, c account.Caller, q EventQuery) (Page[View], error) {
	var err error
	if q.StartingAfter != "" {
		if q.Older, err = s.cursor(ctx, c, q.Kind, "starting_after", q.StartingAfter); err != nil {
			return Page[View]{}, err
		}
	}
	if q.EndingBefore != "" {
		if q.Newer, err = s.cursor(ctx, c, q.Kind, "ending_before", q.EndingBefore); err != nil {
			return Page[View]{}, err
		}
	}
	oldest := s.oldest()
	if q.Newer != 0 && q.Newer < oldest {
		q.Newer = oldest - 1
	}
	page, err := s.store.ListEvents(ctx, store.ListEvents{
		Scope: c.Scope, Kind: q.Kind, Types: q.Types, ObjectID: q.ObjectID,
		CreatedFrom: q.CreatedFrom, CreatedTo: q.CreatedTo, Undelivered: q.Undelivered,
		Older: q.Older, Newer: q.Newer, Limit: q.Limit,
	})
	if err != nil {
		return Page[View]{}, toFault(err, "list events")
	}
	for i, e := range page.Items {
		if e.Seq < oldest {
			page.Items, page.More = page.Items[:i], false
			break
		}
	}
	views, err := s.views(ctx, c.Scope, page.Items)
	return Page[View]{Items: views, More: page.More}, err
}

func (s *Service) cursor(ctx context.Context, c account.Caller, kind event.Kind, param, id string) (event.Seq, error) {
	e, err := s.event(ctx, c, id, kind)
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound {
		return 0, fault.Invalidf(param, "%s", f.Message)
	}
	if err != nil {
		return 0, err
	}
	return e.Seq, nil
}

// views counts what is pending of each event. events are newest first.
func (s *Service) views(ctx context.Context, scope event.Scope, events []*event.Event) ([]View, error) {
	views := make([]View, len(events))
	open := make(map[event.Seq]*View)
	var seqs []event.Seq
	for i, e := range events {
		views[i].Event = e
		if e.Kind == event.Snapshot && e.Open() > 0 {
			open[e.Seq] = &views[i]
			seqs = append(seqs, e.Seq)
		}
	}
	if len(seqs) == 0 {
		return views, nil
	}
	deliveries, err := s.store.DeliveriesOf(ctx, scope, seqs)
	if err != nil {
		return nil, toFault(err, "read deliveries")
	}
	for _, d := range deliveries {
		v := open[d.Seq]
		v.Pending += undelivered(v.Event, d)
	}
	return views, nil
}

// undelivered counts a delivery that was meant to happen when the event was
// accepted. What somebody sends by hand to others does not count.
func undelivered(e *event.Event, d *event.Delivery) int {
	if d.State != event.StatePending && d.State != event.StateFailed {
		return 0
	}
	for _, r := range e.Routes {
		if r.Subscription == d.Subscription {
			return 1
		}
	}
	return 0
}
