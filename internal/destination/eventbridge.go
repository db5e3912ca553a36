package destination

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// A destination of type amazon_eventbridge sends to a partner event source of
// this installation's own event buses. The source has a life of its own: its
// owner associates it with a bus, deactivates it, or lets it expire.
//
//	source     PENDING            ACTIVE    DELETED, or gone
//	destination held (enabled)    enabled   disabled, no_aws_event_source_exists
//
// What is accepted while the destination is held waits in the store. The
// destination follows its source a moment later, which is safe in any order:
// the target asks for the source's state at each send, and keeps what the
// source cannot take yet.

// ReasonNoAWSSource says that the partner event source was deleted or expired.
const ReasonNoAWSSource = "no_aws_event_source_exists"

// authorizationRequest needs an answer, which a bus cannot give.
const authorizationRequest = "issuing_authorization.request"

// Sources are the partner event sources, which the event buses' domain owns.
type Sources interface {
	// CreateSource makes a source for an AWS account, PENDING. It is
	// idempotent for one owner.
	CreateSource(ctx context.Context, owner event.Scope, awsAccountID, region, name string) (arn string, err error)
	// SourceState returns PENDING, ACTIVE, DELETED, or "" if there is none.
	SourceState(name, region string) string
	// DeleteSource deletes a source; it is no error if there is none.
	DeleteSource(ctx context.Context, name, region string) error
	// ActiveSources returns the places of a partner's ACTIVE sources that were
	// made before a time.
	ActiveSources(partner string, before time.Time) []store.ResourceKey
}

// States of a source.
const (
	sourcePending = "PENDING"
	sourceActive  = "ACTIVE"
)

// EventBridge is the part of a destination that is an event source.
type EventBridge struct {
	AccountID  string `json:"account_id"`
	Region     string `json:"region"`
	SourceName string `json:"source_name"`
	SourceARN  string `json:"source_arn"`
}

// SourceStatus is the state of the destination's event source in Stripe's
// words: active, pending, deleted.
func (s *Service) SourceStatus(d *Destination) string {
	if d.EventBridge == nil || s.sources == nil {
		return "unknown"
	}
	switch s.sources.SourceState(d.EventBridge.SourceName, d.EventBridge.Region) {
	case sourceActive:
		return "active"
	case sourcePending:
		return "pending"
	}
	return "deleted"
}

// openSource makes the event source of a new destination.
func (s *Service) openSource(ctx context.Context, scope event.Scope, d *Destination) error {
	b := d.EventBridge
	b.SourceName = "aws.partner/" + s.partner + "/" + d.ID
	var err error
	if b.SourceARN, err = s.sources.CreateSource(ctx, scope, b.AccountID, b.Region, b.SourceName); err != nil {
		if f := fault.As(err); f != nil && f.Kind != fault.Unavailable {
			return fault.Invalidf("amazon_eventbridge.aws_account_id", "%s", f.Message)
		}
		return err
	}
	d.Status = event.Held
	return nil
}

func checkEventBridgeEvents(d *Destination) error {
	if i := slices.Index(d.EnabledEvents, authorizationRequest); d.Type == TypeAmazonEventBridge && i >= 0 {
		return fault.Invalidf(fmt.Sprintf("enabled_events[%d]", i),
			"%s must be answered at once, which an event bus cannot do. Send it to a webhook endpoint.", authorizationRequest)
	}
	return nil
}

// follow gives a destination the status that its source's state calls for. It
// reports false if nothing changes.
func (s *Service) follow(d *Destination) bool {
	if d.EventBridge == nil || d.Status == event.Disabled || d.Status == event.Deleted {
		return false
	}
	want, reason := event.Disabled, ReasonNoAWSSource
	switch s.sources.SourceState(d.EventBridge.SourceName, d.EventBridge.Region) {
	case sourceActive:
		want, reason = event.Enabled, ""
	case sourcePending:
		want, reason = event.Held, ""
	}
	if d.Status == want {
		return false
	}
	d.Status, d.DisabledReason = want, reason
	return true
}

// followers are the destinations that follow an event source, by id, as of the
// last Load.
type followers struct {
	mu   sync.Mutex
	byID map[string]follower
}

// follower is a destination as far as following its source is concerned.
type follower struct {
	scope event.Scope
	Destination
}

// take takes up a change that was loaded.
func (f *followers) take(scope event.Scope, d *Destination) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.EventBridge == nil || d.Status == event.Deleted {
		delete(f.byID, d.ID)
		return
	}
	if f.byID == nil {
		f.byID = map[string]follower{}
	}
	f.byID[d.ID] = follower{scope, Destination{ID: d.ID, Status: d.Status, EventBridge: d.EventBridge}}
}

func (f *followers) all() []follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.byID))
}

func (f *followers) of(source string) []follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d, ok := f.byID[destinationOf(source)]; ok {
		return []follower{d}
	}
	return nil
}

// FollowSource brings the destination of the event source with this name, if
// it is one's, in line with it. It is to be called when the source has changed.
func (s *Service) FollowSource(ctx context.Context, name string) error {
	return s.followEach(ctx, s.followers.of(name))
}

// FollowSources brings all destinations in line with their sources, and deletes
// the sources of those that were deleted. It is to be called at the start, and
// from time to time.
func (s *Service) FollowSources(ctx context.Context) error {
	s.refresh(ctx) // for what could not be loaded when it changed
	return errors.Join(s.followEach(ctx, s.followers.all()), s.closeSources(ctx))
}

func (s *Service) followEach(ctx context.Context, all []follower) error {
	var errs []error
	for i := range all {
		if !s.follow(&all[i].Destination) {
			continue
		}
		_, err := s.change(ctx, all[i].scope, all[i].ID, nil, func(d *Destination, _ *store.Destination) error {
			s.follow(d)
			return nil
		})
		if !isNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func isNotFound(err error) bool {
	f := fault.As(err)
	return f != nil && f.Kind == fault.NotFound
}

// enable starts deliveries again.
func (s *Service) enable(d *Destination, _ *store.Destination) error {
	if d.EventBridge == nil {
		d.Status, d.DisabledReason = event.Enabled, ""
		return nil
	}
	if s.SourceStatus(d) == "deleted" {
		return fault.New(fault.Invalid, "no_aws_event_source_exists",
			"The partner event source of this destination is gone, so it cannot be enabled again. Create a new event destination.")
	}
	if d.Status == event.Disabled {
		d.Status, d.DisabledReason = event.Held, ""
		s.follow(d)
	}
	return nil
}

// orphanAge is how old a source without a destination is when it is taken for
// one whose destination was deleted: a source is made before its destination.
const orphanAge = 5 * time.Minute

// closeSources deletes the sources whose destinations were deleted while they
// could not be. Those that are PENDING expire by themselves.
func (s *Service) closeSources(ctx context.Context) error {
	if s.sources == nil {
		return nil
	}
	var errs []error
	for _, at := range s.sources.ActiveSources(s.partner, s.now().Add(-orphanAge)) {
		if len(s.followers.of(at.Name)) > 0 {
			continue
		}
		_, err := s.store.Destination(ctx, at.Scope, destinationOf(at.Name))
		if errors.Is(err, store.ErrNotFound) {
			err = s.sources.DeleteSource(ctx, at.Name, at.Region)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// destinationOf is the id of the destination that a source is of.
func destinationOf(source string) string { return source[strings.LastIndexByte(source, '/')+1:] }

// closeSource deletes the source of a deleted destination. If that fails,
// FollowSources does it later; the deletion itself holds.
func (s *Service) closeSource(ctx context.Context, row *store.Destination) {
	d, err := decode(row)
	if err != nil || d.EventBridge == nil || s.sources == nil {
		return
	}
	_ = s.sources.DeleteSource(context.WithoutCancel(ctx), d.EventBridge.SourceName, d.EventBridge.Region)
}
