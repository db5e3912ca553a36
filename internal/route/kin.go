package route

import (
	"maps"

	"github.com/waybill-dev/waybill/internal/event"
)

// kin is which accounts stand above which.
type kin struct {
	lineages map[int64]event.Lineage
	above    map[event.Scope][]Above
}

// Above is an account whose subscriptions may select the events of another.
type Above struct {
	Scope event.Scope
	// Account is the id of the one below, and Path where an organisation
	// finds it; "" for a platform.
	Account, Path string
	from          event.Origins
}

// Above returns who stands above a scope: nobody, for most.
func (s *Snapshot) Above(scope event.Scope) []Above { return s.kin.above[scope] }

// MatchAbove returns the subscriptions of an account above that select such an
// event, as Match does for the account's own.
func (s *Snapshot) MatchAbove(a *Above, kind event.Kind, typ string) []*event.Subscription {
	return s.match(a.Scope, a.from, kind, typ)
}

// Relate returns a snapshot in which these accounts have another place.
func (s *Snapshot) Relate(changed []event.Lineage) *Snapshot {
	if len(changed) == 0 {
		return s
	}
	next := *s
	next.kin.lineages = maps.Clone(s.kin.lineages)
	if next.kin.lineages == nil {
		next.kin.lineages = make(map[int64]event.Lineage, len(changed))
	}
	for _, l := range changed {
		next.kin.lineages[l.Account] = l
	}
	next.kin.above = map[event.Scope][]Above{}
	for _, l := range next.kin.lineages {
		for _, live := range [...]bool{false, true} {
			if above := next.kin.ascend(l, live); above != nil {
				next.kin.above[event.NewScope(l.Account, live)] = above
			}
		}
	}
	return &next
}

// ascend lists an account's platform, its organisation, and its platform's
// organisation.
func (k *kin) ascend(l event.Lineage, live bool) (above []Above) {
	add := func(number int64, from event.Origins, path string) {
		above = append(above, Above{Scope: event.NewScope(number, live), Account: l.ID, Path: path, from: from})
	}
	if platform, ok := k.lineages[l.Platform]; ok {
		add(l.Platform, event.FromAccounts, "")
		if org, ok := k.lineages[platform.Organization]; ok {
			add(org.Account, event.FromMembersAccounts, org.ID+"/"+platform.ID+"/"+l.ID)
		}
	}
	if org, ok := k.lineages[l.Organization]; ok {
		add(org.Account, event.FromMembers, org.ID+"/"+l.ID)
	}
	return above
}
