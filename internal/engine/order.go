package engine

import (
	"hash/fnv"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// An ordered subscription gets the events of one object one after another: the
// next one is sent after the last one is settled in the store, delivered or
// given up. Each of its deliveries is parked when it is accepted, in a group
// made of the object's id, and the store returns only the first of each group.
// So the order holds on all nodes, over restarts and takeovers, and what waits
// is not in memory.
//
// What it costs: a row in the retry table for each delivery, and one query for
// the next one of its group. That the first of a group has become another
// node's to send, that node finds out by looking.

const (
	// lookEvery is how often a node looks for what another one has made the
	// first of its group, and lookShare how much longer than it takes.
	lookEvery = 250 * time.Millisecond
	lookShare = 10
)

// group is that of an object's deliveries; 0 is none. Two objects may share
// one, which costs them time and nothing else.
func group(objectID string) int64 {
	if objectID == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(objectID)) // never fails
	return int64(h.Sum64()>>1) | 1
}

// feedGroups reads the next delivery of each group whose last one is settled.
func (s *subscriber) feedGroups(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.groups) > 0 && !s.held() {
		if s.room() == 0 {
			s.groups = nil
			s.readAll(now)
			return nil
		}
		g := s.groups[len(s.groups)-1]
		s.groups = s.groups[:len(s.groups)-1]
		p := store.DueParams{Subscription: s.id, Before: s.dueBefore(now), Ordered: true, Group: g, Limit: 1}
		s.settledMeanwhile = map[rowKey]bool{}
		s.mu.Unlock()
		due, err := s.e.o.Store.DueRetries(s.e.sendCtx, p)
		s.mu.Lock()
		meanwhile := s.settledMeanwhile
		s.settledMeanwhile = nil
		if err != nil {
			s.groups = append(s.groups, g)
			return err
		}
		if len(due) > 0 && !s.takeDue(&due[0], meanwhile, now) {
			s.readAll(now)
		}
		s.spawn()
	}
	return nil
}

// readAll has the table read from the first again, once there is room.
func (s *subscriber) readAll(now time.Time) {
	s.noteDue(now)
	s.rewind()
}

// lookAround reads the table from the first again, where other nodes may have
// settled what the deliveries in it waited for.
func (s *subscriber) lookAround(now time.Time) {
	if !s.way.spec.Ordered || s.feeding || s.e.tenure.nodes.Load() < 2 || now.Before(s.lookAt) {
		return
	}
	s.lookAt = now.Add(max(lookEvery, lookShare*s.lookTook))
	s.readAll(now)
}

// groupOf is the group of an event's delivery.
func (s *subscriber) groupOf(ev *event.Event) int64 {
	if !s.way.spec.Ordered {
		return 0
	}
	return group(ev.ObjectID)
}
