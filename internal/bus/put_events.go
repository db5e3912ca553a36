package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// The errors of putting an event where no client is to be answered.
var (
	// ErrPending: the partner event source has no bus, or was deactivated.
	ErrPending = errors.New("the partner event source is PENDING")
	// ErrNoSource: there is no such partner event source, or it was deleted.
	ErrNoSource = errors.New("the partner event source does not exist")
	// ErrNoBus: there is no such event bus, or its policy does not let events
	// of this account in.
	ErrNoBus = errors.New("the event bus does not exist or does not let this account in")
	// ErrTooManyHops: the event was on too many buses before, which it is when
	// rules send it in a circle.
	ErrTooManyHops = fmt.Errorf("the event was on %d event buses already: rules send it in a circle", maxHops)
)

// maxHops is how many buses an event may come by.
const maxHops = 8

const (
	maxEntries        = 10
	maxPartnerEntries = 20
	maxDetailType     = 128
	// timeSize is what AWS counts for an entry's time.
	timeSize = 14
)

// The codes of an entry that was refused.
const (
	entryInvalid   = "InvalidArgument"
	entryMalformed = "MalformedDetail"
	entryForbidden = "NotAuthorizedForSourceException"
	entryDenied    = "AccessDeniedException"
	entryFailed    = "InternalFailure"
)

// Entry is an event as a client states it.
type Entry struct {
	Source, DetailType string
	Detail             []byte // kept, and changed in place
	Resources          []string
	Bus                string    // name or ARN, "" for the default one
	Time               time.Time // zero is now

	distinct bool // what check found out about Detail
}

// PutResult is what became of an entry: an event id, or a code and what is wrong.
type PutResult struct{ EventID, Code, Message string }

// PutEvents puts events on buses. An entry that is refused does not keep the
// others off; one for a bus that there is not goes nowhere, but gets an id. The
// error is about the request as a whole, of which nothing was then accepted.
func (s *Service) PutEvents(ctx context.Context, c account.AWSCaller, entries []Entry) ([]PutResult, error) {
	if err := s.checkEntries(entries, maxEntries); err != nil {
		return nil, err
	}
	b := batch{results: make([]PutResult, len(entries)), drafts: make([]placed, 0, len(entries))}
	for i := range entries {
		e := &entries[i]
		if !e.check(&b.results[i]) {
			continue
		}
		if strings.HasPrefix(e.Source, "aws.") {
			b.results[i] = PutResult{Code: entryForbidden, Message: "Not authorized for the source."}
			continue
		}
		to, err := s.entryBus(ctx, c, e.Bus)
		if err != nil {
			return nil, err
		}
		switch {
		case to == nil:
			s.log.Debug("an event was put to an event bus that does not exist and is dropped", "bus", e.Bus, "account", c.AccountID, "region", c.Region)
			b.results[i].EventID = event.NewUUID().String()
		case !to.lets(c.Scope, c.AccountID, e.Source, e.DetailType):
			b.results[i] = PutResult{Code: entryDenied, Message: "The policy of the event bus does not let events of this account in."}
		default:
			b.add(i, to.place.scope, e, to.number, c.AccountID, c.Region)
		}
	}
	return b.results, s.accept(ctx, &b)
}

// entryBus finds the bus that an entry names; nil if there is none.
func (s *Service) entryBus(ctx context.Context, c account.AWSCaller, ref string) (*busEntry, error) {
	if e := s.dir.Load().find(c, ref); e != nil {
		return e, nil
	}
	if name, mine := busName(c, ref); mine && name == DefaultBus {
		if _, _, err := s.bus(ctx, c, DefaultBus); err != nil {
			return nil, err
		}
		if e := s.dir.Load().find(c, ref); e != nil {
			return e, nil
		}
		// Somebody else made it, and it is not loaded yet.
		if err := s.refresh(ctx); err != nil {
			return nil, err
		}
	} else if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	return s.dir.Load().find(c, ref), nil
}

// find returns the bus that a client names; nil if there is none.
func (d *directory) find(c account.AWSCaller, ref string) *busEntry {
	if strings.HasPrefix(ref, "arn:") {
		return d.busByARN[ref]
	}
	return d.buses[place{c.Scope, c.Region, cmp.Or(ref, DefaultBus)}]
}

// lets reports whether an account may put such an event on the bus.
func (b *busEntry) lets(scope event.Scope, awsAccountID, source, detailType string) bool {
	if b.place.scope == scope {
		return true
	}
	return b.policy != nil && b.policy.allows(awsAccountID, source, detailType)
}

// PutPartnerEvents puts events of the caller's partner event sources on the
// buses of their customers. What comes while a source is PENDING is accepted
// and goes nowhere.
func (s *Service) PutPartnerEvents(ctx context.Context, c account.AWSCaller, entries []Entry) ([]PutResult, error) {
	if err := s.checkEntries(entries, maxPartnerEntries); err != nil {
		return nil, err
	}
	b := batch{results: make([]PutResult, len(entries)), drafts: make([]placed, 0, len(entries))}
	d, late := s.dir.Load(), false
	for i := range entries {
		e := &entries[i]
		if !e.check(&b.results[i]) {
			continue
		}
		k := sourceKey{c.Region, e.Source}
		if !d.sources[k].active() && !late {
			if err := s.catchUp(ctx); err != nil {
				return nil, err
			}
			d, late = s.dir.Load(), true
		}
		partner, source := d.partners[k], d.sources[k]
		switch {
		case partner == nil || partner.scope != c.Scope:
			b.results[i] = PutResult{Code: entryForbidden, Message: "Not authorized for the source."}
		case !source.active():
			b.results[i].EventID = event.NewUUID().String()
		default:
			b.add(i, source.scope, e, source.bus.number, source.account, c.Region)
		}
	}
	return b.results, s.accept(ctx, &b)
}

func (s *Service) checkEntries(entries []Entry, most int) error {
	var v checks
	v.count("entries", len(entries), 1, most)
	if err := v.err(); err != nil {
		return err
	}
	size := 0
	for i := range entries {
		size += entries[i].size()
	}
	if size > s.o.MaxEntrySize {
		return invalid("Total size of the entries in the request is over the limit.")
	}
	return nil
}

// size is an entry's as AWS counts it.
func (e *Entry) size() int {
	n := len(e.Source) + len(e.DetailType) + len(e.Detail)
	for _, r := range e.Resources {
		n += len(r)
	}
	if !e.Time.IsZero() {
		n += timeSize
	}
	return n
}

// check says in r what is wrong with an entry, and makes its detail compact.
func (e *Entry) check(r *PutResult) bool {
	refuse := func(parameter, reason string) bool {
		*r = PutResult{Code: entryInvalid, Message: "Parameter " + parameter + " is not valid. Reason: " + reason}
		return false
	}
	switch {
	case e.Source == "":
		return refuse("Source", "Source is a required argument.")
	case e.DetailType == "":
		return refuse("DetailType", "DetailType is a required argument.")
	case len(e.Detail) == 0:
		return refuse("Detail", "Detail is a required argument.")
	case len(e.Source) > 256:
		return refuse("Source", "Source must not be longer than 256 characters.")
	case len(e.DetailType) > maxDetailType:
		return refuse("DetailType", "DetailType must not be longer than 128 characters.")
	}
	sc := rawjson.New(e.Detail)
	isObject := sc.Kind() == rawjson.Object
	raw, form, err := sc.RawForm()
	if !isObject || err != nil || sc.End() != nil {
		*r = PutResult{Code: entryMalformed, Message: "Detail is malformed."}
		return false
	}
	if !form.Compact {
		raw = rawjson.AppendCompact(raw[:0], raw)
	}
	e.Detail, e.distinct = raw, form.Distinct
	return true
}

// batch is what one request puts, and what becomes of it.
type batch struct {
	results []PutResult
	drafts  []placed
}

// placed is a draft with whose it is, and the entry it is of.
type placed struct {
	at       int
	scope    event.Scope
	draft    event.Draft
	envelope event.Envelope
}

func (b *batch) add(at int, scope event.Scope, e *Entry, bus int64, awsAccountID, region string) {
	b.drafts = append(b.drafts, placed{
		at: at, scope: scope, draft: event.Draft{Type: e.DetailType, Created: e.Time},
		envelope: event.Envelope{
			Bus: bus, Source: e.Source, Account: awsAccountID, Region: region, Resources: e.Resources, Detail: e.Detail, Distinct: e.distinct,
		},
	})
}

// accept hands a batch to the engine, one account's events at a time. Once
// some are accepted, others that cannot be are failures of their entries.
func (s *Service) accept(ctx context.Context, b *batch) error {
	accepted := false
	for left := b.drafts; len(left) > 0; {
		scope := left[0].scope
		var drafts []*event.Draft
		var at []int
		var others []placed
		for i := range left {
			p := &left[i]
			if p.scope != scope {
				others = append(others, *p)
				continue
			}
			p.draft.Envelope = &p.envelope
			drafts, at = append(drafts, &p.draft), append(at, p.at)
		}
		left = others
		events, err := s.engine.Publish(ctx, engine.Publish{Scope: scope, Drafts: drafts})
		switch {
		case err != nil && !accepted && len(others) == 0:
			return failed("accept events", err)
		case err != nil:
			s.log.Error("events were not accepted", "error", err)
			for _, i := range at {
				b.results[i] = PutResult{Code: entryFailed, Message: "Waybill cannot reach its database right now. Send the entry again in a moment."}
			}
			continue
		}
		accepted = true
		for j, i := range at {
			b.results[i].EventID = events[j].ID()
		}
	}
	return nil
}

// PutFromSource puts an event on the bus of a partner event source inside this
// installation. detail is a JSON object. It returns ErrPending or ErrNoSource as
// the source stands at this moment.
func (s *Service) PutFromSource(ctx context.Context, name, region, detailType string, at time.Time, resources []string, detail []byte) error {
	e := s.dir.Load().sources[sourceKey{region, name}]
	switch {
	case e == nil || e.state == SourceDeleted:
		return ErrNoSource
	case !e.active():
		return ErrPending
	}
	return s.publishOne(ctx, e.scope, &event.Draft{
		Type: detailType, Created: at,
		Envelope: &event.Envelope{
			Bus: e.bus.number, Source: name, Account: e.account, Region: region, Resources: resources, Detail: detail,
		},
	})
}

// PutFromBus puts an event that was on a bus of the account behind scope on a
// further one; it keeps its id. hops is how many buses it was on before the
// one it comes from. It returns ErrNoBus or ErrTooManyHops.
func (s *Service) PutFromBus(ctx context.Context, scope event.Scope, busARN string, envelope []byte, detailType string, hops int) error {
	if hops+1 >= maxHops {
		return ErrTooManyHops
	}
	e := s.dir.Load().busByARN[busARN]
	if e == nil {
		return ErrNoBus
	}
	if e.place.scope != scope {
		said := statedIn(envelope)
		if !e.lets(scope, said.Account, said.Source, detailType) {
			return ErrNoBus
		}
	}
	return s.publishOne(ctx, e.place.scope, &event.Draft{
		Type: detailType, Created: event.EnvelopeTime(envelope),
		Envelope: &event.Envelope{Bus: e.number, Raw: envelope, Hops: hops + 1},
	})
}

func (s *Service) publishOne(ctx context.Context, scope event.Scope, d *event.Draft) error {
	if _, err := s.engine.Publish(ctx, engine.Publish{Scope: scope, Drafts: []*event.Draft{d}}); err != nil {
		return failed("accept event", err)
	}
	return nil
}
