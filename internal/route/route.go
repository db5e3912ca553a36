// Package route owns the compiled snapshot of all subscriptions: which of
// them an event goes to. A snapshot is built aside and swapped as a whole;
// readers take no lock and never see half a change.
package route

import (
	"maps"
	"slices"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/pattern"
)

// Snapshot is immutable, except that it shares with its successors the
// matchers of the event buses, which change in place: what Version says is to
// be read before OnBus is asked. A rule of a later version may then be seen
// early, but the store refuses what was routed by an outdated version, and it
// is routed again.
type Snapshot struct {
	version int64
	byID    index
	scopes  map[event.Scope]*table
	buses   map[int64]*pattern.Matcher
	kin     kin
}

// table is one scope's part of a snapshot.
type table struct {
	subs map[int64]*event.Subscription
	from map[event.Origins]*selection
}

// selection is what subscriptions select of the events of one origin. Under
// each event type stand all that it goes to, those that take every type
// included, so that matching is one look-up.
type selection struct {
	byType map[key][]*event.Subscription
	all    map[event.Kind][]*event.Subscription
}

type key struct {
	kind event.Kind
	typ  string
}

// New returns a snapshot without subscriptions, older than any configuration.
func New() *Snapshot { return &Snapshot{} }

// Version is the configuration version the snapshot was built from.
func (s *Snapshot) Version() int64 { return s.version }

// Subscription finds one by its number; nil if there is none, or it was
// deleted.
func (s *Snapshot) Subscription(id int64) *event.Subscription { return s.byID.get(id) }

// OnBus appends the subscriptions that select an event on a bus by its
// envelope, ordered by number. distinct is as pattern.Matcher.Match has it.
func (s *Snapshot) OnBus(dst []*event.Subscription, bus int64, envelope []byte, distinct bool) []*event.Subscription {
	m := s.buses[bus]
	if m == nil {
		return dst
	}
	var room [16]int64
	ids := m.Match(room[:0], envelope, distinct)
	slices.Sort(ids)
	for _, id := range ids {
		if sub := s.byID.get(id); sub != nil {
			dst = append(dst, sub)
		}
	}
	return dst
}

// Match returns the subscriptions that select such an event of their own
// account, disabled ones too, ordered by number. The slice is shared: do not
// change it.
func (s *Snapshot) Match(scope event.Scope, kind event.Kind, typ string) []*event.Subscription {
	return s.match(scope, event.FromSelf, kind, typ)
}

func (s *Snapshot) match(scope event.Scope, from event.Origins, kind event.Kind, typ string) []*event.Subscription {
	t := s.scopes[scope]
	if t == nil {
		return nil
	}
	sel := t.from[from]
	if sel == nil {
		return nil
	}
	if subs, ok := sel.byType[key{kind, typ}]; ok {
		return subs
	}
	return sel.all[kind]
}

// Apply returns a snapshot with these subscriptions added, replaced, or
// removed if their status is Deleted. Only the scopes they are in are built
// anew.
func (s *Snapshot) Apply(changed []event.Subscription, version int64) *Snapshot {
	next := &Snapshot{version: version, byID: s.byID.edit(), scopes: make(map[event.Scope]*table, len(s.scopes)+1), buses: s.buses, kin: s.kin}
	maps.Copy(next.scopes, s.scopes)
	touched := map[event.Scope]map[int64]*event.Subscription{}
	for i := range changed {
		sub := &changed[i]
		if was := s.byID.get(sub.ID); sub.Bus != 0 || was != nil && was.Bus != 0 {
			next.applyOnBus(s, sub)
			continue
		}
		subs := touched[sub.Scope]
		if subs == nil {
			subs = map[int64]*event.Subscription{}
			if old := s.scopes[sub.Scope]; old != nil {
				maps.Copy(subs, old.subs)
			}
			touched[sub.Scope] = subs
		}
		if sub.Status == event.Deleted {
			delete(subs, sub.ID)
			next.byID.set(sub.ID, nil)
			continue
		}
		subs[sub.ID] = sub
		next.byID.set(sub.ID, sub)
	}
	for scope, subs := range touched {
		next.scopes[scope] = compile(subs)
	}
	return next
}

func compile(subs map[int64]*event.Subscription) *table {
	t := &table{subs: subs, from: map[event.Origins]*selection{}}
	byOrigin := map[event.Origins][]*event.Subscription{}
	for _, sub := range slices.SortedFunc(maps.Values(subs), func(a, b *event.Subscription) int { return int(a.ID - b.ID) }) {
		if sub.From == 0 {
			byOrigin[event.FromSelf] = append(byOrigin[event.FromSelf], sub)
		}
		for from := event.FromSelf; from <= event.FromMembersAccounts; from <<= 1 {
			if sub.From&from != 0 {
				byOrigin[from] = append(byOrigin[from], sub)
			}
		}
	}
	for from, ordered := range byOrigin {
		t.from[from] = selectFrom(ordered)
	}
	return t
}

func selectFrom(ordered []*event.Subscription) *selection {
	sel := &selection{byType: map[key][]*event.Subscription{}, all: map[event.Kind][]*event.Subscription{}}
	for _, sub := range ordered {
		if slices.Contains(sub.Types, "*") {
			sel.all[sub.Kind] = append(sel.all[sub.Kind], sub)
		}
		for _, typ := range sub.Types {
			sel.byType[key{sub.Kind, typ}] = nil
		}
	}
	for k := range sel.byType {
		for _, sub := range ordered {
			if sub.Kind == k.kind && (slices.Contains(sub.Types, k.typ) || slices.Contains(sub.Types, "*")) {
				sel.byType[k] = append(sel.byType[k], sub)
			}
		}
	}
	return sel
}
