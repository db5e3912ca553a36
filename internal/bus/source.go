package bus

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// A partner event source is two resources: the partner's, which says that it
// exists, and the customer's, which has its state.
//
//	CreatePartnerEventSource ──► PENDING ──CreateEventBus──► ACTIVE
//	                             │  ▲  ▲                     │  │
//	                             │  │  └───DeleteEventBus────┤  │
//	                             │  └──────Deactivate────────┘  │
//	     expires, or the partner └────────► DELETED ◄───────────┘ the partner
//	                  deletes it               │                  deletes it
//	                                           └► gone, with its bus or in time
//
// A source that the partner makes again while the customer still has the bus is
// ACTIVE at once, and the rules of the bus work again.

// States of a partner event source.
const (
	SourcePending = "PENDING"
	SourceActive  = "ACTIVE"
	SourceDeleted = "DELETED"
)

// sourceDoc is the customer's view as stored.
type sourceDoc struct {
	Account   string    `json:"account"` // the customer's, 12 digits
	Partner   string    `json:"partner"` // as CreatedBy shows it
	State     string    `json:"state"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // of PENDING and DELETED
}

// partnerDoc is the partner's view as stored.
type partnerDoc struct {
	Account string      `json:"account"` // the customer's
	Scope   event.Scope `json:"scope"`   // the customer's
}

// EventSource is a partner event source as its customer sees it.
type EventSource struct {
	Name, ARN string
	CreatedBy string
	State     string
	Created   time.Time
	Expires   time.Time // zero if it does not
}

// SourceAccount is the customer of a partner event source, as the partner sees
// it.
type SourceAccount struct {
	Account, State   string
	Created, Expires time.Time
}

// sourceARN has no account: a source is the partner's and the customer's.
func sourceARN(region, name string) string {
	return "arn:aws:events:" + region + "::event-source/" + name
}

// SetSourceHook has fn told of each change of a partner event source's state,
// after it is durable. It is to be called before the service is used.
func (s *Service) SetSourceHook(fn func(ctx context.Context, name string)) { s.onSource = fn }

func (s *Service) sourceChanged(ctx context.Context, name string) {
	if s.onSource != nil {
		s.onSource(context.WithoutCancel(ctx), name)
	}
}

func noSource(name string) error { return notFound("Event source %s does not exist.", name) }

// sourcePair finds both sides of a source. Either may be nil.
func (s *Service) sourcePair(ctx context.Context, name, region string) (partner, customer *store.Resource, err error) {
	d := s.dir.Load()
	k := sourceKey{region, name}
	var numbers []int64
	if p := d.partners[k]; p != nil {
		numbers = append(numbers, p.number)
	}
	if c := d.sources[k]; c != nil {
		numbers = append(numbers, c.number)
	}
	if len(numbers) == 0 {
		return nil, nil, nil
	}
	found, err := s.store.ResourcesByNumber(ctx, numbers)
	if err != nil {
		return nil, nil, failed("read partner event source", err)
	}
	for _, r := range found {
		switch {
		case r.Status == event.Deleted:
		case r.Kind == store.KindPartnerSource:
			partner = r
		default:
			customer = r
		}
	}
	return partner, customer, nil
}

// CreatePartnerEventSource offers an event source to an account of this
// installation, and returns its ARN.
func (s *Service) CreatePartnerEventSource(ctx context.Context, c account.AWSCaller, name, awsAccountID string) (string, error) {
	if err := checkSource(name, awsAccountID); err != nil {
		return "", err
	}
	// A destination whose source is gone would otherwise send its events to
	// whoever makes one of that name.
	if s.o.Partner != "" && partnerName(name) == "aws.partner/"+s.o.Partner {
		return "", invalid("Parameter Name is not valid. Reason: aws.partner/%s/ is for the event destinations of this Waybill installation; use another partner name.", s.o.Partner)
	}
	return s.createSource(ctx, c.Scope, c.Region, name, awsAccountID, false)
}

func checkSource(name, awsAccountID string) error {
	var v checks
	v.sourceName("name", name)
	v.account("account", awsAccountID)
	return v.err()
}

// CreateSource is CreatePartnerEventSource for a partner inside the
// installation. It is idempotent for one partner, account and name.
func (s *Service) CreateSource(ctx context.Context, partner event.Scope, awsAccountID, region, name string) (string, error) {
	if err := checkSource(name, awsAccountID); err != nil {
		return "", err
	}
	return s.createSource(ctx, partner, region, name, awsAccountID, true)
}

func (s *Service) createSource(ctx context.Context, partner event.Scope, region, name, awsAccountID string, idempotent bool) (string, error) {
	customer, err := s.store.AccountByAWSID(ctx, awsAccountID)
	if errors.Is(err, store.ErrNotFound) {
		return "", invalid("Parameter Account is not valid. Reason: %s is not the AWS account id of an account of this Waybill installation.", awsAccountID)
	}
	if err != nil {
		return "", failed("look up account", err)
	}
	taken := exists("Event source %s already exists.", name)
	if err := s.refresh(ctx); err != nil {
		return "", err
	}
	scope := event.NewScope(customer.Number, true)
	if p := s.dir.Load().partners[sourceKey{region, name}]; p != nil {
		if idempotent && p.scope == partner && p.account == awsAccountID {
			return sourceARN(region, name), nil
		}
		return "", taken
	}
	var mine *store.Resource
	err = again(func() error {
		mine = &store.Resource{ResourceKey: store.ResourceKey{Scope: partner, Region: region, Kind: store.KindPartnerSource, Name: name}}
		if err := put(mine, &partnerDoc{awsAccountID, scope}); err != nil {
			return err
		}
		theirs, err := s.offer(ctx, store.ResourceKey{Scope: scope, Region: region, Kind: store.KindEventSource, Name: name}, awsAccountID)
		if err != nil {
			return err
		}
		return s.change(ctx, mine, theirs)
	})
	if errors.Is(err, store.ErrExists) {
		return "", taken
	}
	if err != nil {
		return "", err
	}
	// Another partner may have been as fast in another process: the
	// directory says who was first.
	if p := s.dir.Load().partners[sourceKey{region, name}]; p != nil && p.number != mine.Number {
		bury(mine)
		if err := s.change(ctx, mine); err != nil {
			return "", err
		}
		return "", taken
	}
	s.sourceChanged(ctx, name)
	return sourceARN(region, name), nil
}

// offer prepares the customer's view of a new source: a new one, or the one
// that is left of an earlier life.
func (s *Service) offer(ctx context.Context, k store.ResourceKey, awsAccountID string) (*store.Resource, error) {
	r, err := s.store.Resource(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		r, err = &store.Resource{ResourceKey: k}, nil
	}
	if err != nil {
		return nil, failed("read event source", err)
	}
	if r.Revision != 0 {
		old, err := decode[sourceDoc](r)
		if err != nil {
			return nil, err
		}
		if old.State != SourceDeleted {
			return nil, store.ErrExists
		}
	}
	doc := &sourceDoc{Account: awsAccountID, Partner: partnerName(k.Name), State: SourcePending, ExpiresAt: s.expiry()}
	busKey := k
	busKey.Kind = store.KindBus
	_, err = s.store.Resource(ctx, busKey)
	switch {
	case err == nil:
		doc.State, doc.ExpiresAt = SourceActive, time.Time{}
	case !errors.Is(err, store.ErrNotFound):
		return nil, failed("read event bus", err)
	}
	return r, put(r, doc)
}

func (s *Service) expiry() time.Time {
	return s.now().Add(s.o.SourceExpiry).UTC().Truncate(time.Second)
}

// partnerName is what CreatedBy shows: the part of a source's name that is the
// partner's.
func partnerName(source string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(source, "aws.partner/"), "/")
	return "aws.partner/" + name
}

// associate prepares a source of the caller's to become ACTIVE.
func (s *Service) associate(ctx context.Context, c account.AWSCaller, name string) (*store.Resource, error) {
	r, doc, err := s.source(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if doc.State != SourcePending {
		return nil, invalidState("Event source %s is not in PENDING state. Only a source that is PENDING can be associated with an event bus.", name)
	}
	doc.State, doc.ExpiresAt = SourceActive, time.Time{}
	return r, put(r, doc)
}

// dissociate prepares what is to become of a source whose bus is deleted: it is
// PENDING again, or gone if the partner has deleted it. It returns nil if there
// is no source any more.
func (s *Service) dissociate(ctx context.Context, c account.AWSCaller, name string, state *string) (*store.Resource, error) {
	r, doc, err := get[sourceDoc](ctx, s, key(c, store.KindEventSource, 0, name))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case doc.State == SourceDeleted:
		bury(r)
		return r, nil
	}
	doc.State, doc.ExpiresAt = SourcePending, s.expiry()
	*state = SourcePending
	return r, put(r, doc)
}

func (s *Service) source(ctx context.Context, c account.AWSCaller, name string) (*store.Resource, *sourceDoc, error) {
	r, doc, err := get[sourceDoc](ctx, s, key(c, store.KindEventSource, 0, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, noSource(name)
	}
	return r, doc, err
}

func invalidState(format string, args ...any) error {
	return fault.New(fault.Invalid, codeInvalidState, format, args...)
}

// DescribeEventSource returns a source that is offered to the caller.
func (s *Service) DescribeEventSource(ctx context.Context, c account.AWSCaller, name string) (*EventSource, error) {
	var v checks
	v.sourceName("name", name)
	if err := v.err(); err != nil {
		return nil, err
	}
	r, doc, err := s.source(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return eventSourceOf(r, doc), nil
}

// ListEventSources returns a page of the sources that are offered to the
// caller, by name, and the name to go on after.
func (s *Service) ListEventSources(ctx context.Context, c account.AWSCaller, prefix, after string, limit int) ([]*EventSource, string, error) {
	return pageOf(ctx, s, key(c, store.KindEventSource, 0, prefix), after, limit, func(r *store.Resource, doc *sourceDoc) (*EventSource, error) {
		return eventSourceOf(r, doc), nil
	})
}

func eventSourceOf(r *store.Resource, doc *sourceDoc) *EventSource {
	return &EventSource{
		Name: r.Name, ARN: sourceARN(r.Region, r.Name), CreatedBy: doc.Partner, State: doc.State,
		Created: r.Created, Expires: doc.ExpiresAt,
	}
}

// ActivateEventSource lets the events of a source through again that
// DeactivateEventSource held off.
func (s *Service) ActivateEventSource(ctx context.Context, c account.AWSCaller, name string) error {
	return s.turn(ctx, c, name, SourcePending, SourceActive)
}

// DeactivateEventSource drops a source's events. It is PENDING from then on,
// and so is deleted in time.
func (s *Service) DeactivateEventSource(ctx context.Context, c account.AWSCaller, name string) error {
	return s.turn(ctx, c, name, SourceActive, SourcePending)
}

func (s *Service) turn(ctx context.Context, c account.AWSCaller, name, from, to string) error {
	var v checks
	v.sourceName("name", name)
	if err := v.err(); err != nil {
		return err
	}
	err := again(func() error {
		r, doc, err := s.source(ctx, c, name)
		if err != nil {
			return err
		}
		if doc.State != from {
			return invalidState("Event source %s is not in %s state.", name, from)
		}
		if _, err := s.store.Resource(ctx, key(c, store.KindBus, 0, name)); errors.Is(err, store.ErrNotFound) {
			return invalidState("Event source %s is not associated with an event bus. Create one with its name first.", name)
		} else if err != nil {
			return failed("read event bus", err)
		}
		doc.State, doc.ExpiresAt = to, time.Time{}
		if to == SourcePending {
			doc.ExpiresAt = s.expiry()
		}
		if err := put(r, doc); err != nil {
			return err
		}
		return s.change(ctx, r)
	})
	if err == nil {
		s.sourceChanged(ctx, name)
	}
	return err
}

// partnerSource finds a source of the calling partner's.
func (s *Service) partnerSource(ctx context.Context, c account.AWSCaller, name string) (*store.Resource, *partnerDoc, error) {
	var v checks
	v.sourceName("name", name)
	if err := v.err(); err != nil {
		return nil, nil, err
	}
	r, doc, err := get[partnerDoc](ctx, s, key(c, store.KindPartnerSource, 0, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, noSource(name)
	}
	return r, doc, err
}

// DescribePartnerEventSource returns the ARN of a source of the caller's.
func (s *Service) DescribePartnerEventSource(ctx context.Context, c account.AWSCaller, name string) (string, error) {
	r, _, err := s.partnerSource(ctx, c, name)
	if err != nil {
		return "", err
	}
	return sourceARN(r.Region, r.Name), nil
}

// ListPartnerEventSources returns a page of the names of the caller's sources,
// and the name to go on after. AWS wants a prefix.
func (s *Service) ListPartnerEventSources(ctx context.Context, c account.AWSCaller, prefix, after string, limit int) ([]*EventSource, string, error) {
	var v checks
	v.length("namePrefix", prefix, 1, 256)
	if err := v.err(); err != nil {
		return nil, "", err
	}
	return pageOf(ctx, s, key(c, store.KindPartnerSource, 0, prefix), after, limit, func(r *store.Resource, _ *partnerDoc) (*EventSource, error) {
		return &EventSource{Name: r.Name, ARN: sourceARN(r.Region, r.Name)}, nil
	})
}

// PartnerEventSourceAccount returns the customer of a source of the caller's,
// with the source's state.
func (s *Service) PartnerEventSourceAccount(ctx context.Context, c account.AWSCaller, name string) (*SourceAccount, error) {
	_, doc, err := s.partnerSource(ctx, c, name)
	if err != nil {
		return nil, err
	}
	r, theirs, err := get[sourceDoc](ctx, s, store.ResourceKey{Scope: doc.Scope, Region: c.Region, Kind: store.KindEventSource, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, noSource(name)
	}
	if err != nil {
		return nil, err
	}
	return &SourceAccount{doc.Account, theirs.State, r.Created, theirs.ExpiresAt}, nil
}

// DeletePartnerEventSource deletes a source of the caller's; that there is none
// such is no error. The customer sees it DELETED.
func (s *Service) DeletePartnerEventSource(ctx context.Context, c account.AWSCaller, name, awsAccountID string) error {
	if err := checkSource(name, awsAccountID); err != nil {
		return err
	}
	_, doc, err := s.partnerSource(ctx, c, name)
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound {
		return nil
	}
	if err != nil || doc.Account != awsAccountID {
		return err
	}
	return s.DeleteSource(ctx, name, c.Region)
}

// SourceState is the state of a partner event source: PENDING, ACTIVE, DELETED,
// or "" if there is none.
func (s *Service) SourceState(name, region string) string {
	k := sourceKey{region, name}
	if e := s.dir.Load().sources[k]; e != nil {
		return e.state
	}
	// A time-out of its own: it is asked in the midst of other things.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.catchUp(ctx); err != nil {
		return SourcePending // as what is not known to be gone must not be given up
	}
	if e := s.dir.Load().sources[k]; e != nil {
		return e.state
	}
	return ""
}

// ActiveSources returns the places of a partner's ACTIVE sources that were made
// before a time.
func (s *Service) ActiveSources(partner string, before time.Time) []store.ResourceKey {
	s.loaded.Lock()
	defer s.loaded.Unlock()
	d := s.dir.Load()
	var found []store.ResourceKey
	for _, p := range s.loaded.partners {
		e := d.sources[sourceKey{p.r.Region, p.r.Name}]
		if partnerName(p.r.Name) == "aws.partner/"+partner && e != nil && e.state == SourceActive && p.r.Created.Before(before) {
			found = append(found, p.r.ResourceKey)
		}
	}
	return found
}

// DeleteSource deletes a partner event source, whoever's it is. It is no error
// if there is none.
func (s *Service) DeleteSource(ctx context.Context, name, region string) error {
	if err := s.refresh(ctx); err != nil {
		return err
	}
	deleted := false
	err := again(func() error {
		mine, theirs, err := s.sourcePair(ctx, name, region)
		if err != nil {
			return err
		}
		deleted = false
		changed, err := s.end(mine, theirs)
		if err != nil || len(changed) == 0 {
			return err
		}
		deleted = true
		return s.change(ctx, changed...)
	})
	if err == nil && deleted {
		s.sourceChanged(ctx, name)
	}
	return err
}

// end prepares the deletion of a source. The customer keeps sight of it for a
// while, and as long as there is a bus.
func (s *Service) end(mine, theirs *store.Resource) ([]*store.Resource, error) {
	var changed []*store.Resource
	if mine != nil {
		bury(mine)
		changed = append(changed, mine)
	}
	if theirs != nil {
		doc, err := decode[sourceDoc](theirs)
		if err != nil {
			return nil, err
		}
		if doc.State != SourceDeleted {
			doc.State, doc.ExpiresAt = SourceDeleted, s.expiry()
			if err := put(theirs, doc); err != nil {
				return nil, err
			}
			changed = append(changed, theirs)
		}
	}
	return changed, nil
}

// ExpireSources deletes the sources that have been PENDING for too long, and
// forgets those that were deleted as long ago and have no bus. It is to be
// called every minute or so.
func (s *Service) ExpireSources(ctx context.Context) error {
	all, err := s.everywhere(ctx, store.KindEventSource)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range all {
		doc, err := decode[sourceDoc](r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if doc.ExpiresAt.IsZero() || s.now().Before(doc.ExpiresAt) {
			continue
		}
		if doc.State == SourcePending {
			errs = append(errs, s.expire(ctx, r))
			continue
		}
		busKey := r.ResourceKey
		busKey.Kind = store.KindBus
		if _, err := s.store.Resource(ctx, busKey); errors.Is(err, store.ErrNotFound) {
			bury(r)
			err = s.change(ctx, r)
			if !errors.Is(err, store.ErrConflict) {
				errs = append(errs, err)
			}
		} else if err != nil {
			errs = append(errs, failed("read event bus", err))
		}
	}
	return errors.Join(errs...)
}

// expire deletes one source, unless it has changed since r was read.
func (s *Service) expire(ctx context.Context, r *store.Resource) error {
	mine, _, err := s.sourcePair(ctx, r.Name, r.Region)
	if err != nil {
		return err
	}
	if mine != nil {
		if doc, err := decode[partnerDoc](mine); err != nil || doc.Scope != r.Scope {
			mine = nil
		}
	}
	changed, err := s.end(mine, r)
	if err != nil {
		return err
	}
	if err := s.change(ctx, changed...); errors.Is(err, store.ErrConflict) {
		return nil // it became ACTIVE just in time, or the next call sees to it
	} else if err != nil {
		return err
	}
	s.sourceChanged(ctx, r.Name)
	return nil
}
