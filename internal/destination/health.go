package destination

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// A webhook endpoint that keeps failing is disabled, but never because of a
// single event, and not without a warning:
//
//	first failure ──half of DisableAfter──► warned ──the other half──► disabled
//	      ▲                                     │
//	      └──────── any success ◄───────────────┘
//
// The period begins with the first failure after the last success. It counts
// only if store.MaxFailures different events have failed in it, and only while
// deliveries fail: an endpoint that gets nothing is left alone. Each node
// notes what it sees from time to time; a success on any of them ends the
// period.

// The events by which an owner hears of it, beside PingType.
const (
	FailingType  = "v2.core.event_destination.failing"
	DisabledType = "v2.core.event_destination.disabled"
)

// Health is how a webhook endpoint does.
type Health struct {
	// FailingSince is when the first of the deliveries failed that were not
	// followed by a success; zero while none is known.
	FailingSince time.Time
	// DisablesAt is when the destination is disabled unless a delivery
	// succeeds; zero if it is not going to be.
	DisablesAt time.Time
}

func (s *Service) health(h store.Health) Health {
	if len(h.Failures) == 0 {
		return Health{}
	}
	shown := Health{FailingSince: h.Failures[0].At}
	if s.disableAfter > 0 && len(h.Failures) == store.MaxFailures {
		shown.DisablesAt = shown.FailingSince.Add(s.disableAfter)
		if notice := h.Warned.Add(s.disableAfter / 2); !h.Warned.IsZero() && notice.After(shown.DisablesAt) {
			shown.DisablesAt = notice
		}
	}
	return shown
}

// healths sets the health of destinations.
func (s *Service) healths(ctx context.Context, all ...*Destination) error {
	if !slices.ContainsFunc(all, func(d *Destination) bool { return d.Type == TypeWebhookEndpoint }) {
		return nil
	}
	known, err := s.store.Healths(ctx)
	if err != nil {
		return failed("read health of event destinations", err)
	}
	for _, h := range known {
		for _, d := range all {
			if d.Number == h.Subscription {
				d.Health = s.health(h)
			}
		}
	}
	return nil
}

// HealthEvery is how often WatchHealth is to be called on each node: often
// enough for DisableAfter, and seldom enough that the store does not notice.
func (s *Service) HealthEvery() time.Duration {
	const most = 2 * time.Minute
	if s.disableAfter == 0 {
		return most
	}
	return min(most, max(s.disableAfter/20, 10*time.Millisecond))
}

// WatchHealth notes how deliveries went on this node, warns the owners of
// destinations that keep failing, and disables those that did so for too long.
// Only one goroutine may call it.
func (s *Service) WatchHealth(ctx context.Context) error {
	began := s.now()
	list, err := s.store.Healths(ctx)
	if err != nil {
		return failed("read health of event destinations", err)
	}
	known := make(map[int64]store.Health, len(list))
	for _, h := range list {
		known[h.Subscription] = h
	}
	vitals := s.engine.Vitals()
	var seen []store.Health
	for i := range vitals {
		v := &vitals[i]
		// A success is worth a note only where it ends something.
		was := known[v.Subscription]
		if len(was.Failures)+len(v.Failures) > 0 && !was.Add(v.Health).Equal(was) {
			seen = append(seen, v.Health)
		}
	}
	noted, err := s.store.NoteHealth(ctx, seen)
	if err != nil {
		return failed("note health of event destinations", err)
	}
	for _, h := range noted {
		known[h.Subscription] = h
	}
	var errs []error
	for i := range vitals {
		v := &vitals[i]
		h := known[v.Subscription]
		if len(v.Failures) > 0 {
			s.engine.Succeeded(v.Subscription, h.LastSuccess)
		}
		if !v.LastFailure.Before(s.watched) && len(h.Failures) == store.MaxFailures && s.disableAfter > 0 {
			errs = append(errs, s.judge(ctx, v, h))
		}
	}
	s.watched = began
	return errors.Join(errs...)
}

// judge does what the health of a destination that fails calls for.
func (s *Service) judge(ctx context.Context, v *engine.Vital, h store.Health) error {
	now, since := s.now(), h.Failures[0].At
	disable := !h.Warned.IsZero() && !now.Before(s.health(h).DisablesAt)
	if !disable && (!h.Warned.IsZero() || now.Sub(since) < s.disableAfter/2) {
		return nil
	}
	row, err := s.enabled(ctx, v.Scope, v.Subscription)
	if row == nil {
		return err
	}
	period := strconv.FormatInt(since.UnixMilli(), 10)
	if disable {
		return s.disable(ctx, row, ReasonFailing, period)
	}
	h.Warned = now
	if err := s.announce(ctx, row, FailingType, period, map[string]string{
		"failing_since": timeText(since), "disables_at": timeText(s.health(h).DisablesAt),
	}); err != nil {
		return err
	}
	_, err = s.store.NoteHealth(ctx, []store.Health{{Subscription: v.Subscription, LastSuccess: h.LastSuccess, Failures: h.Failures, Warned: now}})
	if err != nil {
		return failed("note health of event destinations", err)
	}
	return nil
}

func timeText(t time.Time) string { return string(event.AppendTime(nil, t)) }

// enabled finds a destination that is enabled; nil if it is not.
func (s *Service) enabled(ctx context.Context, scope event.Scope, number int64) (*store.Destination, error) {
	rows, err := s.store.DestinationsByNumber(ctx, scope, []int64{number})
	if err != nil {
		return nil, failed("find event destination", err)
	}
	if row := rows[number]; row != nil && row.Status == event.Enabled {
		return row, nil
	}
	return nil, nil //nolint:nilnil // absence is an ordinary answer here
}

// disable disables a destination for a reason of ours, after announcing it. If
// that is interrupted, all of it is done again and announced once.
func (s *Service) disable(ctx context.Context, row *store.Destination, reason, occasion string) error {
	if err := s.announce(ctx, row, DisabledType, occasion, map[string]string{"reason": reason}); err != nil {
		return err
	}
	if _, err := s.change(ctx, row.Scope, row.ID, nil, disableFor(reason)); !isNotFound(err) {
		return err
	}
	return nil
}

// ownGeneration keeps our idempotency keys apart from those of clients.
const ownGeneration = 0

// announce publishes a thin event about a destination, once for each occasion.
func (s *Service) announce(ctx context.Context, row *store.Destination, typ, occasion string, data map[string]string) error {
	d, err := relatedDraft(row.ID, typ)
	if err != nil {
		return err
	}
	if d.Data, err = json.Marshal(data); err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	key := typ + "/" + row.ID + "/" + occasion
	_, err = s.engine.Publish(ctx, engine.Publish{
		Scope: row.Scope, Drafts: []*event.Draft{d},
		Idempotency: &store.Idempotency{Scope: row.Scope, Generation: ownGeneration, Key: key, Hash: sha256.Sum256([]byte(key)), Created: s.now()},
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) { // announced so long ago that it is no longer kept
		return failed("announce "+typ, err)
	}
	return nil
}

// relatedDraft is a thin event about a destination.
func relatedDraft(id, typ string) (*event.Draft, error) {
	related, err := json.Marshal(struct {
		ID   string `json:"id"`
		Type string `json:"type"`
		URL  string `json:"url"`
	}{id, "event_destination", "/v2/core/event_destinations/" + id})
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return &event.Draft{Type: typ, RelatedObject: related, ObjectID: id}, nil
}
