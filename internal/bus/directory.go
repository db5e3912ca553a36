package bus

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/store"
)

// directory is where each bus and each partner event source is, for what is
// done for each event. It is immutable: Load swaps in a new one.
type directory struct {
	buses    map[place]*busEntry
	busByARN map[string]*busEntry
	sources  map[sourceKey]*sourceEntry
	partners map[sourceKey]*partnerEntry
}

// place is where an account has a bus.
type place struct {
	scope        event.Scope
	region, name string
}

type sourceKey struct{ region, name string }

// busEntry is what putting an event needs to know of a bus.
type busEntry struct {
	number  int64
	place   place
	account string
	arn     string
	policy  *policy
}

// sourceEntry is a partner event source as its customer has it. bus is nil as
// long as there is none of its name.
type sourceEntry struct {
	number  int64
	scope   event.Scope
	account string
	state   string
	bus     *busEntry
}

// active tells whether events of the source have a bus to go to.
func (e *sourceEntry) active() bool { return e != nil && e.state == SourceActive && e.bus != nil }

// partnerEntry is a partner event source as its partner has it.
type partnerEntry struct {
	number  int64
	scope   event.Scope
	account string // the customer's
}

func newDirectory() *directory { return &directory{} }

// loaded is everything that events are routed by, as of the last Load. Other
// verbs read it for what they would have to search the store for.
type loaded struct {
	sync.Mutex
	buses    map[int64]*loadedBus
	rules    map[int64]*loadedRule
	sources  map[int64]loadedDoc[sourceDoc]
	partners map[int64]loadedDoc[partnerDoc]
}

type loadedDoc[T any] struct {
	r   *store.Resource
	doc *T
}

type loadedBus struct {
	r     *store.Resource // nil until its turn comes, or if it was deleted
	entry *busEntry
	rules map[int64]*loadedRule
}

type loadedRule struct {
	r       *store.Resource // nil until its turn comes, or if it was deleted
	doc     *ruleDoc
	targets map[int64]*loadedTarget
}

type loadedTarget struct {
	r   *store.Resource
	doc *targetDoc
}

func (l *loaded) reset() {
	l.buses, l.rules = map[int64]*loadedBus{}, map[int64]*loadedRule{}
	l.sources, l.partners = map[int64]loadedDoc[sourceDoc]{}, map[int64]loadedDoc[partnerDoc]{}
}

// bus returns the place for a bus, that of one which is not loaded (yet) too.
func (l *loaded) bus(number int64) *loadedBus {
	b := l.buses[number]
	if b == nil {
		b = &loadedBus{rules: map[int64]*loadedRule{}}
		l.buses[number] = b
	}
	return b
}

func (l *loaded) rule(number int64) *loadedRule {
	r := l.rules[number]
	if r == nil {
		r = &loadedRule{targets: map[int64]*loadedTarget{}}
		l.rules[number] = r
	}
	return r
}

// Load returns the subscriptions that changed after a configuration version,
// of all accounts, and the present version. With since 0 it returns all that
// matter. Loading a change twice does no harm.
//
// A document that cannot be read is logged and left as it was: one that is
// broken does not stop the others.
func (s *Service) Load(ctx context.Context, since int64) ([]event.Subscription, int64, error) {
	s.loaded.Lock()
	defer s.loaded.Unlock()
	changed, version, err := s.store.ChangedResources(ctx, since)
	if err != nil {
		return nil, 0, failed("load event buses", err)
	}
	if since == 0 || s.loaded.buses == nil {
		s.loaded.reset()
	}
	l := &s.loaded
	touched := map[int64]*loadedTarget{}
	touch := func(r *loadedRule) { maps.Copy(touched, r.targets) }
	var subs []event.Subscription
	moved := since == 0 // whether the directory is a new one
	for _, r := range changed {
		switch r.Kind {
		case store.KindBus:
			err = l.takeBus(r, touch)
			moved = true
		case store.KindRule:
			err = l.takeRule(r, touch)
		case store.KindRuleTarget:
			err = l.takeTarget(r, touched)
		case store.KindEventSource:
			err = take(l.sources, r)
			moved = true
		case store.KindPartnerSource:
			err = take(l.partners, r)
			moved = true
		case store.KindLogGroup:
			s.works.logGroups.take(r)
		case store.KindReplay:
			s.works.replays.ring()
		case store.KindConnection:
			err = s.takeConnection(r)
		case store.KindAPIDestination:
			s.works.endpoints.forget()
		case store.KindArchive:
			var sub event.Subscription
			if sub, err = archiveSubscription(r); err == nil {
				subs = append(subs, sub)
			}
		}
		if err != nil {
			s.log.Error("a resource cannot be read and is left as it was", "kind", r.Kind, "number", r.Number, "error", err)
			err = nil
		}
	}
	for number, t := range touched {
		subs = append(subs, l.compile(t))
		if t.r.Status == event.Deleted {
			delete(l.rule(t.r.Parent).targets, number)
		}
	}
	l.forget(changed)
	if moved {
		s.dir.Store(newDirectoryOf(l))
	}
	return subs, version, nil
}

func take[T any](into map[int64]loadedDoc[T], r *store.Resource) error {
	if r.Status == event.Deleted {
		delete(into, r.Number)
		return nil
	}
	doc, err := decode[T](r)
	if err == nil {
		into[r.Number] = loadedDoc[T]{r, doc}
	}
	return err
}

func (l *loaded) takeBus(r *store.Resource, touch func(*loadedRule)) error {
	b := l.bus(r.Number)
	was := b.r != nil
	if r.Status == event.Deleted {
		b.r, b.entry = nil, nil
	} else {
		doc, err := decode[busDoc](r)
		if err != nil {
			return err
		}
		b.r, b.entry = r, &busEntry{number: r.Number, place: place{r.Scope, r.Region, r.Name}, account: doc.Account, arn: doc.ARN}
		if doc.Policy != nil {
			b.entry.policy = compilePolicy(doc.Policy)
		}
	}
	if was != (b.r != nil) {
		for _, rule := range b.rules {
			touch(rule)
		}
	}
	return nil
}

func (l *loaded) takeRule(r *store.Resource, touch func(*loadedRule)) error {
	rule := l.rule(r.Number)
	if r.Status == event.Deleted {
		rule.r, rule.doc = nil, nil
		delete(l.bus(r.Parent).rules, r.Number)
	} else {
		doc, err := decode[ruleDoc](r)
		if err != nil {
			return err
		}
		rule.r, rule.doc = r, doc
		l.bus(r.Parent).rules[r.Number] = rule
	}
	touch(rule)
	return nil
}

func (l *loaded) takeTarget(r *store.Resource, touched map[int64]*loadedTarget) error {
	doc := &targetDoc{}
	if r.Status != event.Deleted {
		var err error
		if doc, err = decode[targetDoc](r); err != nil {
			return err
		}
	}
	t := &loadedTarget{r, doc}
	l.rule(r.Parent).targets[r.Number] = t
	touched[r.Number] = t
	return nil
}

// forget drops the places of what was deleted and holds nothing any more.
func (l *loaded) forget(changed []*store.Resource) {
	for _, r := range changed {
		if rule := l.rules[r.Number]; rule != nil && rule.r == nil && len(rule.targets) == 0 {
			delete(l.rules, r.Number)
		}
		if b := l.buses[r.Number]; b != nil && b.r == nil && len(b.rules) == 0 {
			delete(l.buses, r.Number)
		}
	}
}

// compile makes the subscription of a rule's target. The target of a rule that
// is disabled, or has a schedule only, stands on no bus: it selects nothing,
// but what it selected before is still delivered, and a schedule can name it.
func (l *loaded) compile(t *loadedTarget) event.Subscription {
	sub := event.Subscription{
		ID: t.r.Number, Name: t.r.Name, Scope: t.r.Scope, Status: event.Deleted, Kind: event.OnBus,
	}
	rule := l.rule(t.r.Parent)
	if t.r.Status == event.Deleted || rule.r == nil {
		return sub
	}
	b := l.bus(rule.r.Parent)
	if b.r == nil {
		return sub
	}
	ruleARN := rule.doc.ARN
	sub.Status = event.Enabled
	sub.Name = ruleARN + "#" + t.r.Name
	if rule.doc.State != RuleDisabled && rule.doc.Pattern != "" {
		sub.Bus, sub.Pattern = rule.r.Parent, []byte(rule.doc.Pattern)
	}
	d := t.doc
	if in := d.Input; in != nil {
		sub.Input = &event.Input{
			Path: in.Path, Paths: in.Paths, Template: in.Template, RuleARN: ruleARN, RuleName: rule.r.Name,
		}
		if in.Constant != nil {
			sub.Input.Constant = *in.Constant
		}
	}
	attempts, age := DefaultRetryAttempts, DefaultEventAge
	if d.RetryAttempts != nil {
		attempts = *d.RetryAttempts
	}
	if d.EventAge != nil {
		age = *d.EventAge
	}
	sub.Retry = retry.EventBridge(attempts, time.Duration(age)*time.Second)
	if d.DeadLetterARN != "" {
		sub.DeadLetter = &event.DeadLetter{
			Queue: event.Queue{Scope: t.r.Scope, ARN: d.DeadLetterARN}, RuleARN: ruleARN, TargetARN: d.ARN,
		}
	}
	sub.Target = targetOf(t.r.Scope, d)
	return sub
}

// targetOf tells by its ARN what a target is.
func targetOf(scope event.Scope, d *targetDoc) event.Target {
	a, _ := ParseARN(d.ARN)
	switch {
	case a.Service == "events" && strings.HasPrefix(a.Resource, "event-bus/"):
		return event.Target{Kind: event.TargetBus, Bus: &event.BusTarget{Scope: scope, ARN: d.ARN}}
	case a.Service == "events" && strings.HasPrefix(a.Resource, "api-destination/"):
		return event.Target{Kind: event.TargetAPIDestination, APIDestination: &event.APIDestinationTarget{
			Scope: scope, ARN: d.ARN, PathValues: d.PathValues, Header: d.Header, Query: d.Query,
		}}
	case a.Service == "sqs":
		return event.Target{Kind: event.TargetQueue, Queue: &event.QueueTarget{
			Queue: event.Queue{Scope: scope, ARN: d.ARN}, GroupID: d.GroupID,
		}}
	case a.Service == "logs" && strings.HasPrefix(a.Resource, "log-group:"):
		return event.Target{Kind: event.TargetLog, Log: &event.LogTarget{Scope: scope, ARN: strings.TrimSuffix(d.ARN, ":*")}}
	}
	return event.Target{Kind: event.TargetUnsupported, Unsupported: d.ARN}
}

func newDirectoryOf(l *loaded) *directory {
	d := &directory{
		buses: make(map[place]*busEntry, len(l.buses)), busByARN: make(map[string]*busEntry, len(l.buses)),
		sources: make(map[sourceKey]*sourceEntry, len(l.sources)), partners: make(map[sourceKey]*partnerEntry, len(l.partners)),
	}
	for _, b := range l.buses {
		if e := b.entry; e != nil {
			d.buses[e.place], d.busByARN[e.arn] = e, e
		}
	}
	// A name that two resources have, because two partners were equally fast
	// or because an earlier life of it is still shown, goes to the first one
	// that is not deleted.
	for _, number := range slices.Sorted(maps.Keys(l.partners)) {
		r, doc := l.partners[number].r, l.partners[number].doc
		k := sourceKey{r.Region, r.Name}
		if d.partners[k] == nil {
			d.partners[k] = &partnerEntry{number, r.Scope, doc.Account}
		}
	}
	for _, number := range slices.Sorted(maps.Keys(l.sources)) {
		r, doc := l.sources[number].r, l.sources[number].doc
		k := sourceKey{r.Region, r.Name}
		if d.sources[k] != nil && (doc.State == SourceDeleted || d.sources[k].state != SourceDeleted) {
			continue
		}
		d.sources[k] = &sourceEntry{number, r.Scope, doc.Account, doc.State, d.buses[place{r.Scope, r.Region, r.Name}]}
	}
	return d
}

// rulesWithTarget returns the names of a bus's rules that send to an ARN.
func (s *Service) rulesWithTarget(ctx context.Context, bus int64, targetARN string) ([]string, error) {
	if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	s.loaded.Lock()
	defer s.loaded.Unlock()
	var names []string
	if b := s.loaded.buses[bus]; b != nil {
		for _, rule := range b.rules {
			for _, t := range rule.targets {
				if t.doc.ARN == targetARN {
					names = append(names, rule.r.Name)
					break
				}
			}
		}
	}
	slices.SortFunc(names, cmp.Compare)
	return names, nil
}

// refresh has the engine load what others may have changed.
func (s *Service) refresh(ctx context.Context) error {
	if s.engine == nil {
		return nil
	}
	if err := s.engine.Refresh(context.WithoutCancel(ctx)); err != nil {
		return failed("load event buses", err)
	}
	return nil
}

// catching is shared by those who miss something at a time.
type catching struct {
	begun atomic.Int64
	turn  chan struct{} // holds whoever loads
	err   error         // of the last load
}

// catchUp has the engine load what other processes changed before the call, for
// one who misses something. Those who come while another's load is under way,
// which may have begun too early for them, share the next one: however many
// miss something, one load at a time is asked of the store.
func (s *Service) catchUp(ctx context.Context) error {
	if !s.o.Shared {
		return nil
	}
	c := &s.catching
	seen := c.begun.Load()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turn }()
	if c.begun.Load() == seen {
		c.begun.Add(1)
		c.err = s.refresh(ctx)
	}
	return c.err
}
