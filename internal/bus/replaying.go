package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/pattern"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// replayChunk is how many events are put back at a time. It is what a kill
	// can have put back twice, and what is in memory.
	replayChunk = 64
	// replayIdle is how often replays are looked for that a Load did not tell
	// of.
	replayIdle = 15 * time.Second
	// replayAgain is how long a replay waits after a failure that will pass.
	replayAgain = time.Second
	// replayHops keeps what a replay put back from going around as long as a
	// new event could.
	replayHops = 1
)

// RunReplays carries out replays until ctx ends, several by turns. It is to
// run once in an installation.
//
// Events come in the order of their times, and those of the same time in the
// order they were accepted; the next chunk only after the one before it is
// durable. Progress is saved after each chunk: after a kill, a replay goes on
// behind the last chunk that was saved. An event is put back at least once, and
// those of one chunk twice at worst.
func (s *Service) RunReplays(ctx context.Context) {
	var active []int64
	look := true
	for ctx.Err() == nil {
		if look {
			found, err := s.activeReplays(ctx)
			if err != nil && ctx.Err() == nil {
				s.log.Warn("replays cannot be read; trying again soon", "error", err)
			} else {
				active = found
			}
		}
		pause := replayIdle
		for _, number := range slices.Clone(active) {
			done, err := s.replayStep(ctx, number)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				s.log.Warn("a replay waits", "replay", number, "error", err)
				pause = min(pause, replayAgain)
			case done:
				active = slices.DeleteFunc(active, func(n int64) bool { return n == number })
			default:
				pause = 0
			}
		}
		if pause > 0 {
			s.works.replays.wait(ctx, pause)
			look = true
			continue
		}
		select {
		case <-s.works.replays.rung():
			look = true
		default:
			look = false
		}
	}
}

func (s *Service) activeReplays(ctx context.Context) ([]int64, error) {
	all, err := s.everywhere(ctx, store.KindReplay)
	if err != nil {
		return nil, err
	}
	var active []int64
	for _, r := range all {
		doc, err := decode[replayDoc](r)
		switch {
		case err != nil:
			s.log.Error("a replay cannot be read", "replay", r.Number, "error", err)
		case doc.active():
			active = append(active, r.Number)
		}
	}
	return active, nil
}

// replayStep puts back one chunk. done means that the replay needs no more
// steps; an error will pass.
func (s *Service) replayStep(ctx context.Context, number int64) (done bool, err error) {
	r, doc, err := s.replayByNumber(ctx, number)
	if err != nil || r == nil {
		return r == nil, err
	}
	if doc.State == ReplayCancelling {
		return true, s.endReplay(ctx, number, ReplayCancelled, "")
	}
	if !doc.active() {
		return true, nil
	}
	around, err := s.store.ResourcesByNumber(ctx, []int64{doc.Archive, doc.Bus})
	if err != nil {
		return false, failed("read archive", err)
	}
	for _, needed := range []struct {
		number int64
		name   string
	}{{doc.Archive, "archive"}, {doc.Bus, "event bus"}} {
		if found := around[needed.number]; found == nil || isDeleted(found) {
			return true, s.endReplay(ctx, number, ReplayFailed, "The "+needed.name+" was deleted.")
		}
	}
	events, err := s.store.ArchivedEvents(ctx, store.ArchiveQuery{
		Archive: doc.Archive, From: doc.From, To: doc.To,
		AfterTime: doc.AfterTime, AfterSeq: event.Seq(doc.AfterSeq), Limit: replayChunk,
	})
	if err != nil {
		return false, failed("read archive", err)
	}
	if len(events) == 0 {
		return true, s.endReplay(ctx, number, ReplayCompleted, "")
	}
	if err := s.putBack(ctx, r, doc, events); err != nil {
		return false, err
	}
	last := events[len(events)-1]
	return false, s.editReplay(ctx, number, func(doc *replayDoc) {
		// Another process may have taken over meanwhile, and be further.
		if last.Time.After(doc.AfterTime) || last.Time.Equal(doc.AfterTime) && int64(last.Seq) > doc.AfterSeq {
			doc.AfterTime, doc.AfterSeq = last.Time, int64(last.Seq)
		}
		if doc.State == ReplayStarting {
			doc.State = ReplayRunning
		}
	})
}

// replayByNumber returns nil for one that was deleted.
func (s *Service) replayByNumber(ctx context.Context, number int64) (*store.Resource, *replayDoc, error) {
	found, err := s.store.ResourcesByNumber(ctx, []int64{number})
	if err != nil {
		return nil, nil, failed("read replay", err)
	}
	r := found[number]
	if r == nil || isDeleted(r) {
		return nil, nil, nil
	}
	doc, err := decode[replayDoc](r)
	return r, doc, err
}

func (s *Service) editReplay(ctx context.Context, number int64, edit func(*replayDoc)) error {
	return again(func() error {
		r, doc, err := s.replayByNumber(ctx, number)
		if err != nil || r == nil {
			return err
		}
		edit(doc)
		return s.saveReplay(ctx, r, doc)
	})
}

func (s *Service) endReplay(ctx context.Context, number int64, state, reason string) error {
	return s.editReplay(ctx, number, func(doc *replayDoc) {
		if doc.active() {
			doc.State, doc.Reason, doc.Ended = state, reason, s.now().UTC().Truncate(time.Millisecond)
		}
	})
}

// putBack publishes a chunk: to everybody at once, or by runs of events that
// go to the same targets.
func (s *Service) putBack(ctx context.Context, r *store.Resource, doc *replayDoc, events []store.ArchivedEvent) error {
	drafts := make([]*event.Draft, len(events))
	for i, e := range events {
		drafts[i] = &event.Draft{
			Type:     detailType(e.Payload),
			Envelope: &event.Envelope{Bus: doc.Bus, Raw: e.Payload, Replay: r.Name, Hops: replayHops},
		}
	}
	if len(doc.Rules) == 0 {
		return s.publish(ctx, engine.Publish{Scope: r.Scope, Drafts: drafts})
	}
	rules := s.rulesOf(doc.Bus, doc.Rules)
	// A pattern can ask for the replay's name, which only the built event has.
	targets := func(d *event.Draft) []int64 { return targetsFor(rules, d.Build(r.Scope, s.now(), "").Payload) }
	for from := 0; from < len(drafts); {
		only := targets(drafts[from])
		to := from + 1
		for to < len(drafts) && slices.Equal(only, targets(drafts[to])) {
			to++
		}
		if len(only) > 0 {
			if err := s.publish(ctx, engine.Publish{Scope: r.Scope, Drafts: drafts[from:to], Only: only}); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

func (s *Service) publish(ctx context.Context, p engine.Publish) error {
	if s.engine == nil {
		return errors.New("publish: no engine yet")
	}
	if _, err := s.engine.Publish(ctx, p); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// replayRule is a rule that a replay goes to.
type replayRule struct {
	pattern *pattern.Pattern
	targets []int64
}

// rulesOf returns those of a bus's rules that are named, enabled and have a
// pattern.
func (s *Service) rulesOf(bus int64, names []string) []replayRule {
	s.loaded.Lock()
	defer s.loaded.Unlock()
	b := s.loaded.buses[bus]
	if b == nil {
		return nil
	}
	var rules []replayRule
	for _, rule := range b.rules {
		if rule.r == nil || !slices.Contains(names, rule.r.Name) || rule.doc.State == RuleDisabled || rule.doc.Pattern == "" {
			continue
		}
		p, err := pattern.Parse([]byte(rule.doc.Pattern))
		if err != nil {
			s.log.Error("a rule's pattern cannot be read", "rule", rule.doc.ARN, "error", err)
			continue
		}
		rules = append(rules, replayRule{p, targetNumbers(rule)})
	}
	return rules
}

func targetNumbers(rule *loadedRule) []int64 {
	numbers := make([]int64, 0, len(rule.targets))
	for number, t := range rule.targets {
		if !isDeleted(t.r) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// targetsFor returns the targets of the rules that an event matches.
func targetsFor(rules []replayRule, envelope []byte) []int64 {
	var only []int64
	for _, rule := range rules {
		if rule.pattern.Matches(envelope) {
			only = append(only, rule.targets...)
		}
	}
	slices.Sort(only)
	return slices.Compact(only)
}
