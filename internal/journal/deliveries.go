package journal

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// Delivery is one event to one destination.
type Delivery struct {
	*event.Delivery
	// DestinationID is the id of the destination, deleted or not.
	DestinationID string
}

// DeliveryQuery selects deliveries, newest event first.
type DeliveryQuery struct {
	Destination string // id, or "" for all
	Event       string // id, or "" for all
	State       event.State
	// Bounds of the event's creation, both inclusive; zero is unbounded.
	CreatedFrom, CreatedTo time.Time
	// Older and OlderSub name the delivery that the page comes after.
	Older    event.Seq
	OlderSub int64
	Limit    int
}

// Deliveries returns a page of deliveries. A destination or an event that does
// not exist is a fault that names the parameter.
func (s *Service) Deliveries(ctx context.Context, c account.Caller, q DeliveryQuery) (Page[*Delivery], error) {
	p := store.ListDeliveries{
		Scope: c.Scope, State: q.State, CreatedFrom: q.CreatedFrom, CreatedTo: q.CreatedTo,
		Older: q.Older, OlderSub: q.OlderSub, Limit: q.Limit,
	}
	if q.Destination != "" {
		d, err := s.destinations.Retrieve(ctx, c, q.Destination)
		if err != nil {
			return Page[*Delivery]{}, ofParam(err, "destination")
		}
		p.Subscription = d.Number
	}
	if q.Event != "" {
		seq, err := s.cursor(ctx, c, 0, "event", q.Event)
		if err != nil {
			return Page[*Delivery]{}, err
		}
		p.Seq = seq
	}
	page, err := s.deliveries(ctx, p)
	if err != nil {
		return Page[*Delivery]{}, err
	}
	items, err := s.named(ctx, c.Scope, page.Items)
	return Page[*Delivery]{Items: items, More: page.More}, err
}

// ofParam turns the fault that an object was not found into one about the
// parameter that named it.
func ofParam(err error, param string) error {
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound {
		return fault.Invalidf(param, "%s", f.Message)
	}
	return err
}

// Delivery finds a delivery by its id.
func (s *Service) Delivery(ctx context.Context, c account.Caller, id string) (*Delivery, error) {
	d, err := s.delivery(ctx, c, id)
	if err != nil {
		return nil, err
	}
	items, err := s.named(ctx, c.Scope, []*event.Delivery{d})
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// Attempts returns what was tried for a delivery, in the order it was tried.
func (s *Service) Attempts(ctx context.Context, c account.Caller, deliveryID string) ([]*event.Attempt, error) {
	d, err := s.delivery(ctx, c, deliveryID)
	if err != nil {
		return nil, err
	}
	attempts, err := s.store.Attempts(ctx, c.Scope, d.Seq, d.Subscription)
	if err != nil {
		return nil, toFault(err, "read attempts")
	}
	return attempts, nil
}

func (s *Service) delivery(ctx context.Context, c account.Caller, id string) (*event.Delivery, error) {
	seq, subscription, ok := event.ParseDeliveryID(id, c.Scope.Live())
	if ok {
		page, err := s.deliveries(ctx, store.ListDeliveries{
			Scope: c.Scope, Seq: seq, Subscription: subscription, Limit: 1,
		})
		if err != nil {
			return nil, err
		}
		if len(page.Items) > 0 {
			return page.Items[0], nil
		}
	}
	return nil, fault.NotFoundf("No such delivery: %q.", id)
}

// named adds the ids of the destinations, deleted ones too.
func (s *Service) named(ctx context.Context, scope event.Scope, items []*event.Delivery) ([]*Delivery, error) {
	if len(items) == 0 {
		return nil, nil
	}
	var numbers []int64
	known := make(map[int64]bool)
	for _, d := range items {
		if !known[d.Subscription] {
			known[d.Subscription] = true
			numbers = append(numbers, d.Subscription)
		}
	}
	destinations, err := s.registry.DestinationsByNumber(ctx, scope, numbers)
	if err != nil {
		return nil, toFault(err, "find destinations")
	}
	named := make([]*Delivery, len(items))
	for i, d := range items {
		named[i] = &Delivery{Delivery: d}
		if dest := destinations[d.Subscription]; dest != nil {
			named[i].DestinationID = dest.ID
		}
	}
	return named, nil
}

func (s *Service) deliveries(ctx context.Context, p store.ListDeliveries) (Page[*event.Delivery], error) {
	page, err := s.store.ListDeliveries(ctx, p)
	if err != nil {
		return page, toFault(err, "list deliveries")
	}
	return page, nil
}
