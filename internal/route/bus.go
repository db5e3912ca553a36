package route

import (
	"maps"
	"slices"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/pattern"
)

// everything is the pattern of a subscription that has none.
var everything = &pattern.Pattern{Branches: []pattern.Branch{{}}}

// applyOnBus changes the matcher of a subscription's bus. A pattern that does
// not parse selects nothing; its domain has refused it before it came here.
func (s *Snapshot) applyOnBus(old *Snapshot, sub *event.Subscription) {
	if was := old.byID.get(sub.ID); was != nil && was.Bus != 0 && (sub.Status == event.Deleted || was.Bus != sub.Bus) {
		if m := s.buses[was.Bus]; m != nil {
			m.Remove(sub.ID)
		}
	}
	if sub.Status == event.Deleted {
		s.byID.set(sub.ID, nil)
		return
	}
	s.byID.set(sub.ID, sub)
	p := everything
	if sub.Pattern != nil {
		var err error
		if p, err = pattern.Parse(sub.Pattern); err != nil {
			p = &pattern.Pattern{}
		}
	}
	m := s.buses[sub.Bus]
	if m == nil {
		m = pattern.NewMatcher()
		s.buses = maps.Clone(s.buses)
		if s.buses == nil {
			s.buses = map[int64]*pattern.Matcher{}
		}
		s.buses[sub.Bus] = m
	}
	m.Add(sub.ID, p)
}

// index finds subscriptions by number. It is a vector of pages, of which a
// copy shares all but those that are changed: a change among 100,000 costs no
// copy of 100,000.
type index struct {
	pages []*page
	own   map[int]bool // pages that edit's result may change
}

const pageSize = 256

type page [pageSize]*event.Subscription

func (x *index) get(id int64) *event.Subscription {
	if p := id / pageSize; id >= 0 && p < int64(len(x.pages)) && x.pages[p] != nil {
		return x.pages[p][id%pageSize]
	}
	return nil
}

// edit returns a copy whose changes x does not see.
func (x *index) edit() index { return index{slices.Clone(x.pages), map[int]bool{}} }

func (x *index) set(id int64, sub *event.Subscription) {
	at := int(id / pageSize)
	for len(x.pages) <= at {
		x.pages = append(x.pages, nil)
	}
	if !x.own[at] {
		x.own[at] = true
		fresh := new(page)
		if old := x.pages[at]; old != nil {
			*fresh = *old
		}
		x.pages[at] = fresh
	}
	x.pages[at][id%pageSize] = sub
}
