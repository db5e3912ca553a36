package bus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/schedule"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// scheduleLookBack is how late a schedule is still fired: what fell due
	// while no process ran, longer ago than this, is left out.
	scheduleLookBack = 5 * time.Minute
	scheduleTick     = time.Second
	// scheduleGeneration keeps the idempotency keys of schedules apart from
	// those that clients send.
	scheduleGeneration = 3
)

// RunSchedules fires rules that have a schedule until ctx ends.
//
// A fire is an event that goes to its rule's targets alone. It is published
// with an idempotency key made of the rule and the time it fell due, so that
// it happens once, whatever is killed and however many processes look: after a
// start, what fell due in the last minutes is published again, and what was
// published before is recognised.
func (s *Service) RunSchedules(ctx context.Context) {
	tick := time.NewTicker(scheduleTick)
	defer tick.Stop()
	f := firing{rules: map[int64]*fired{}}
	for {
		s.fireDue(ctx, &f)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// firing is what is known of each rule's schedule.
type firing struct {
	rules map[int64]*fired
	// down is said once, and not each second.
	down bool
}

// fired is up to when a rule's schedule was looked after, and when it falls due
// next.
type fired struct {
	until time.Time
	rule  string // its expression, of which next is
	next  time.Time
	never bool // it does not fall due any more
}

// scheduled is a rule as it is to be fired.
type scheduled struct {
	number, bus      int64
	scope            event.Scope
	account, region  string
	arn, expression  string
	created, updated time.Time
	targets          []int64
}

// fireDue fires what fell due since the last time.
func (s *Service) fireDue(ctx context.Context, f *firing) {
	now := s.now()
	rules := s.scheduledRules()
	known := map[int64]bool{}
	down := false
	for _, rule := range rules {
		known[rule.number] = true
		one := f.rules[rule.number]
		if one == nil {
			// A rule that was changed since did not have this schedule, or was
			// not enabled, before.
			one = &fired{until: now.Add(-scheduleLookBack)}
			if one.until.Before(rule.updated) {
				one.until = rule.updated
			}
			f.rules[rule.number] = one
		}
		err := s.fireRule(ctx, rule, one, now)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !f.down && !down {
				s.log.Warn("a schedule could not be fired; trying again", "rule", rule.arn, "error", err)
			}
			down = true
		}
	}
	f.down = down
	maps.DeleteFunc(f.rules, func(number int64, _ *fired) bool { return !known[number] })
}

// fireRule fires what fell due since the last time and not after now. Of what
// fell due too long ago nothing is fired.
func (s *Service) fireRule(ctx context.Context, rule scheduled, f *fired, now time.Time) error {
	if f.rule == rule.expression && (f.never || f.next.After(now)) {
		return nil
	}
	expression, err := schedule.Parse(rule.expression)
	if err != nil {
		return err
	}
	if f.rule != "" && f.rule != rule.expression && f.until.Before(rule.updated) {
		f.until = rule.updated
	}
	f.rule = rule.expression
	if earliest := now.Add(-scheduleLookBack); f.until.Before(earliest) {
		f.until = earliest
	}
	for {
		next, ok := expression.NextRate(rule.created, f.until)
		f.next, f.never = next, !ok
		if !ok || next.After(now) {
			return nil
		}
		if err := s.fire(ctx, rule, next); err != nil {
			return err
		}
		f.until = next
	}
}

func (s *Service) fire(ctx context.Context, rule scheduled, due time.Time) error {
	if len(rule.targets) == 0 {
		return nil
	}
	key := "schedule/" + strconv.FormatInt(rule.number, 10) + "/" + strconv.FormatInt(due.Unix(), 10)
	err := s.publish(ctx, engine.Publish{
		Scope: rule.scope,
		Drafts: []*event.Draft{{
			Type: "Scheduled Event", Created: due,
			Envelope: &event.Envelope{
				Bus: rule.bus, Source: "aws.events", Account: rule.account, Region: rule.region,
				Resources: []string{rule.arn}, Detail: []byte("{}"),
			},
		}},
		Idempotency: &store.Idempotency{
			Scope: rule.scope, Generation: scheduleGeneration, Key: key, Hash: sha256.Sum256([]byte(key)), Created: s.now(),
		},
		Only: rule.targets,
	})
	if errors.Is(err, store.ErrNotFound) { // it was fired before, and its event is gone by now
		return nil
	}
	if err != nil {
		return fmt.Errorf("fire %s: %w", rule.arn, err)
	}
	return nil
}

// scheduledRules returns the enabled rules with a schedule, which stand on
// default buses only.
func (s *Service) scheduledRules() []scheduled {
	s.loaded.Lock()
	defer s.loaded.Unlock()
	var rules []scheduled
	for number, b := range s.loaded.buses {
		if b.r == nil || b.r.Name != DefaultBus {
			continue
		}
		for _, rule := range b.rules {
			if rule.r == nil || rule.doc.Schedule == "" || rule.doc.State == RuleDisabled {
				continue
			}
			rules = append(rules, scheduled{
				number: rule.r.Number, bus: number, scope: rule.r.Scope, account: b.entry.account, region: rule.r.Region,
				arn: rule.doc.ARN, expression: rule.doc.Schedule, created: rule.r.Created, updated: rule.r.Updated,
				targets: targetNumbers(rule),
			})
		}
	}
	slices.SortFunc(rules, func(a, b scheduled) int { return int(a.number - b.number) })
	return rules
}
