package destination

import (
	"context"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/store"
)

// Load returns what the destinations changed since a configuration version
// compile to, of all accounts, and the present version. With since 0 it
// returns all that matter.
//
// One destination that is broken does not stop the others: if its secrets do
// not open it comes with an empty webhook target, which no opener accepts, so
// that its deliveries fail visibly instead of leaving unsigned.
func (s *Service) Load(ctx context.Context, since int64) ([]event.Subscription, int64, error) {
	rows, version, err := s.store.ChangedDestinations(ctx, since)
	if err != nil {
		return nil, 0, failed("load event destinations", err)
	}
	subs := make([]event.Subscription, len(rows))
	for i, row := range rows {
		subs[i] = s.compile(row)
	}
	return subs, version, nil
}

var origins = map[string]event.Origins{
	fromSelf: event.FromSelf, fromAccounts: event.FromAccounts,
	fromMembers: event.FromMembers, fromMembersAccounts: event.FromMembersAccounts,
}

func (s *Service) compile(row *store.Destination) event.Subscription {
	sub := event.Subscription{ID: row.Number, Name: row.ID, Scope: row.Scope, Status: row.Status}
	if row.Status == event.Deleted {
		gone := &Destination{ID: row.ID, Status: row.Status}
		s.followers.take(row.Scope, gone)
		s.overlaps.take(row.Scope, gone)
		return sub
	}
	sub.Target = event.Target{Kind: event.TargetWebhook, Webhook: &event.WebhookTarget{}}
	d, err := decode(row)
	if err != nil {
		// Without its document nothing says which events it wants. It is kept
		// so that what already waits for it fails visibly.
		return sub
	}
	s.followers.take(row.Scope, d)
	s.overlaps.take(row.Scope, d)
	sub.Kind, sub.APIVersion = d.Payload, d.SnapshotAPIVersion
	sub.Types = d.EnabledEvents
	for _, word := range d.EventsFrom {
		sub.From |= origins[word]
	}
	sub.Retry = s.policy(d)
	if b := d.EventBridge; b != nil {
		sub.Target = event.Target{Kind: event.TargetEventSource, EventSource: &event.SourceTarget{Name: b.SourceName, Region: b.Region, ARN: b.SourceARN}}
		return sub
	}
	if v, err := s.unseal(row); err == nil {
		sub.Target.Webhook.URL = d.URL
		d.Settings.compile(&sub, v)
	}
	return sub
}

// policy is the destination's own schedule. One that was valid when it was
// stored but is no longer gives way to the default.
func (s *Service) policy(d *Destination) retry.Policy {
	if d.RetrySchedule != nil {
		if p, err := retry.FromSeconds(d.RetrySchedule); err == nil {
			return p
		}
	}
	return s.retry(d.Live)
}
