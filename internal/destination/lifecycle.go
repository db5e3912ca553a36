package destination

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/store"
)

// Create makes an enabled destination and returns it with its signing secret,
// which nothing shows again but the replay of the same idempotent request.
func (s *Service) Create(ctx context.Context, c account.Caller, p CreateParams) (*Destination, error) {
	id := event.NewDestinationID(c.Scope.Live())
	idem, err := s.record(c, id)
	if err != nil {
		return nil, err
	}
	var made *Destination
	earlier, err := s.once(ctx, idem, func() error {
		d, err := s.create(ctx, c.Scope, id, p, idem)
		made = d
		return err
	})
	if err != nil {
		return nil, err
	}
	if earlier == "" {
		return made, nil
	}
	return s.withSecret(ctx, c.Scope, earlier)
}

func (s *Service) create(ctx context.Context, scope event.Scope, id string, p CreateParams, idem *store.Idempotency) (*Destination, error) {
	d, err := s.validate(p, scope.Live())
	if err != nil {
		return nil, err
	}
	now := s.timestamp()
	d.ID, d.Created, d.Updated = id, now, now
	var v *vault
	if d.Type == TypeWebhookEndpoint {
		d.SigningSecret = sign.NewSecret()
		v = &vault{Signing: []secret{{Secret: d.SigningSecret, Created: now}}}
		if err := d.set(&p.Settings, v); err != nil {
			return nil, err
		}
	} else if p.Settings.given() {
		return nil, notWebhook(d.Type)
	}
	if d.EventBridge != nil {
		// The source comes first: one without a destination expires by itself.
		if err := s.openSource(ctx, scope, d); err != nil {
			return nil, err
		}
	}
	row := &store.Destination{Scope: scope, ID: id, Status: d.Status, Created: now, Updated: now}
	if row.Config, err = encode(d); err != nil {
		return nil, err
	}
	if v != nil {
		if err := s.seal(row, v); err != nil {
			return nil, err
		}
	}
	if err := s.store.CreateDestination(ctx, row, idem); err != nil {
		return nil, failed("create event destination", err)
	}
	d.Number = row.Number
	s.refresh(ctx)
	if d.EventBridge != nil {
		// The customer may have been so fast with the source that there was no
		// destination yet to follow it. If this fails it follows within a minute.
		_ = s.FollowSource(context.WithoutCancel(ctx), d.EventBridge.SourceName)
	}
	return d, nil
}

// Update changes what p names and leaves the rest.
func (s *Service) Update(ctx context.Context, c account.Caller, id string, p UpdateParams) (*Destination, error) {
	return s.modify(ctx, c, id, func(d *Destination, row *store.Destination) error {
		if p.Settings.given() {
			if d.Type != TypeWebhookEndpoint {
				return notWebhook(d.Type)
			}
			v, err := s.unseal(row)
			if err != nil {
				return err
			}
			if err := d.set(&p.Settings, v); err != nil {
				return err
			}
			if err := s.seal(row, v); err != nil {
				return err
			}
		}
		if err := s.apply(d, p); err != nil {
			return err
		}
		switch {
		case p.Disabled == nil:
			return nil
		case *p.Disabled:
			return disableFor(ReasonUser)(d, row)
		default:
			return s.enable(d, row)
		}
	})
}

func notWebhook(typ string) error {
	return fault.Invalidf("waybill", "These settings are for webhook endpoints, but the destination has the type %s. Leave them out.", typ)
}

func (s *Service) apply(d *Destination, p UpdateParams) error {
	if p.Name != nil {
		d.Name = *p.Name
	}
	if p.Description != nil {
		d.Description = *p.Description
	}
	if p.EnabledEvents != nil {
		d.EnabledEvents = slices.Clone(p.EnabledEvents)
	}
	if p.ClearMetadata {
		d.Metadata = map[string]string{}
	}
	if p.Metadata != nil {
		d.Metadata = mergeMetadata(d.Metadata, p.Metadata)
	}
	if p.RetrySchedule != nil {
		d.RetrySchedule = slices.Clone(*p.RetrySchedule)
	}
	if p.URL != nil {
		if d.Type != TypeWebhookEndpoint {
			return foreign("webhook_endpoint", d.Type)
		}
		// A URL that is not sent is not checked: the operator may have closed
		// its network since, and that must not stop other changes.
		if err := s.checkURL(*p.URL, d.Live); err != nil {
			return err
		}
		d.URL = *p.URL
	}
	if err := d.checkCommon(); err != nil {
		return err
	}
	return checkEventBridgeEvents(d)
}

// Disable stops deliveries. A destination that is disabled already keeps its
// reason.
func (s *Service) Disable(ctx context.Context, c account.Caller, id string) (*Destination, error) {
	return s.modify(ctx, c, id, disableFor(ReasonUser))
}

// edit is a change of a destination. What it changes of the row is the secrets.
type edit func(d *Destination, row *store.Destination) error

func disableFor(reason string) edit {
	return func(d *Destination, _ *store.Destination) error {
		if d.Status != event.Disabled {
			d.Status, d.DisabledReason = event.Disabled, reason
		}
		return nil
	}
}

// Enable starts deliveries again, whatever stopped them.
func (s *Service) Enable(ctx context.Context, c account.Caller, id string) (*Destination, error) {
	return s.modify(ctx, c, id, s.enable)
}

// Delete removes a destination for good.
func (s *Service) Delete(ctx context.Context, c account.Caller, id string) error {
	idem, err := s.record(c, id)
	if err != nil {
		return err
	}
	_, err = s.once(ctx, idem, func() error {
		_, err := s.change(ctx, c.Scope, id, idem, func(d *Destination, _ *store.Destination) error {
			d.Status = event.Deleted
			return nil
		})
		return err
	})
	return err
}

// DisableGone disables an enabled destination whose endpoint answered 410
// Gone. One that was disabled or deleted meanwhile is left as it is. It calls
// Engine.Refresh, so the engine must not hold what Refresh waits for.
func (s *Service) DisableGone(ctx context.Context, scope event.Scope, number int64) error {
	row, err := s.enabled(ctx, scope, number)
	if row == nil {
		return err
	}
	return s.disable(ctx, row, ReasonGone, "revision "+strconv.FormatInt(row.Revision, 10))
}

// Retrieve returns one destination.
func (s *Service) Retrieve(ctx context.Context, c account.Caller, id string) (*Destination, error) {
	row, err := s.read(ctx, c.Scope, id)
	if err != nil {
		return nil, err
	}
	d, err := decode(row)
	if err != nil {
		return nil, err
	}
	return d, s.healths(ctx, d)
}

// List returns a page of destinations, newest first.
func (s *Service) List(ctx context.Context, c account.Caller, p ListParams) (store.Page[*Destination], error) {
	var page store.Page[*Destination]
	switch {
	case p.Limit == 0:
		p.Limit = DefaultLimit
	case p.Limit < 0 || p.Limit > MaxLimit:
		return page, fault.Invalidf("limit", "The limit is out of range. Send a number from 1 to %d.", MaxLimit)
	}
	rows, err := s.store.ListDestinations(ctx, store.ListDestinations{
		Scope: c.Scope, Older: p.Older, Newer: p.Newer, Limit: p.Limit,
	})
	if err != nil {
		return page, failed("list event destinations", err)
	}
	page.More, page.Items = rows.More, make([]*Destination, len(rows.Items))
	for i, row := range rows.Items {
		if page.Items[i], err = decode(row); err != nil {
			return store.Page[*Destination]{}, err
		}
	}
	return page, s.healths(ctx, page.Items...)
}

// modify is change for a client's request: at most once for its idempotency
// key.
func (s *Service) modify(ctx context.Context, c account.Caller, id string, apply edit) (*Destination, error) {
	idem, err := s.record(c, id)
	if err != nil {
		return nil, err
	}
	var changed *Destination
	earlier, err := s.once(ctx, idem, func() error {
		d, err := s.change(ctx, c.Scope, id, idem, apply)
		changed = d
		return err
	})
	if err != nil {
		return nil, err
	}
	if earlier != "" {
		return s.Retrieve(ctx, c, earlier)
	}
	_ = s.healths(ctx, changed) // what was asked for is done
	return changed, nil
}

// maxTries bounds how often a change is applied again. Each time, another
// change got through, so this many in a row take a crowd.
const maxTries = 32

// change applies a change to the destination as it is now, and again if
// another change came first. A change that changes nothing is written only to
// record idem.
func (s *Service) change(ctx context.Context, scope event.Scope, id string, idem *store.Idempotency, apply edit) (*Destination, error) {
	for range maxTries {
		row, err := s.read(ctx, scope, id)
		if err != nil {
			return nil, err
		}
		d, err := decode(row)
		if err != nil {
			return nil, err
		}
		// Compared as encoded now, not as stored: an older version may have
		// stored the same in another form.
		before, err := encode(d)
		if err != nil {
			return nil, err
		}
		secrets, status, url := row.Secrets, row.Status, d.URL
		if err := apply(d, row); err != nil {
			return nil, err
		}
		after, err := encode(d)
		if err != nil {
			return nil, err
		}
		changed := d.Status != row.Status || !bytes.Equal(before, after) || !bytes.Equal(secrets, row.Secrets)
		if !changed && idem == nil {
			return d, nil
		}
		if changed {
			d.Updated = s.timestamp()
		}
		row.Status, row.Config, row.Updated = d.Status, after, d.Updated
		if d.Status == event.Deleted {
			row.Secrets = nil
		}
		err = s.store.UpdateDestination(ctx, row, idem)
		switch {
		case err == nil:
			if d.Status == event.Deleted {
				s.closeSource(ctx, row)
			}
			if d.Status != status || d.URL != url {
				// A fresh chance. If this fails, the next success is one.
				_ = s.store.ForgetHealth(context.WithoutCancel(ctx), row.Number)
			}
			s.refresh(ctx)
			return d, nil
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
			// Changed or deleted since it was read; reading it again tells.
		default:
			return nil, failed("update event destination", err)
		}
	}
	return nil, fault.New(fault.Conflict, "lock_timeout",
		"Many requests are changing this event destination at once. Send the request again in a moment.")
}

func (s *Service) read(ctx context.Context, scope event.Scope, id string) (*store.Destination, error) {
	row, err := s.store.Destination(ctx, scope, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, notFound(scope, id)
	case err != nil:
		return nil, failed("read event destination", err)
	}
	return row, nil
}

// refreshTimeout bounds how long a request waits for the engine to learn of
// its change.
const refreshTimeout = 5 * time.Second

// refresh lets a committed change hold before its request is answered, also if
// the client has gone. Its failure is not the request's: the change is
// committed, and the engine compares configuration versions in each of its own
// transactions, so it cannot route by the old one for long. A Service without
// an engine (a command that only configures) has nothing to tell.
func (s *Service) refresh(ctx context.Context) {
	if s.engine == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	_ = s.engine.Refresh(ctx)
}

// timestamp is now as the store keeps it.
func (s *Service) timestamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }
