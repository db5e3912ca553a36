package bus

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// The states of a replay: STARTING and RUNNING, from which it gets to
// COMPLETED or FAILED, or by CancelReplay over CANCELLING to CANCELLED.
const (
	ReplayStarting   = "STARTING"
	ReplayRunning    = "RUNNING"
	ReplayCancelling = "CANCELLING"
	ReplayCompleted  = "COMPLETED"
	ReplayCancelled  = "CANCELLED"
	ReplayFailed     = "FAILED"
)

// maxReplays is how many replays an account can have under way in a region.
const maxReplays = 10

// replayDoc is a replay as stored.
type replayDoc struct {
	ARN         string    `json:"arn"`
	Description string    `json:"description,omitzero"`
	Archive     int64     `json:"archive"`
	ArchiveARN  string    `json:"archive_arn"`
	Bus         int64     `json:"bus"`
	BusARN      string    `json:"bus_arn"`
	Rules       []string  `json:"rules,omitempty"` // names; none is all
	RuleARNs    []string  `json:"rule_arns,omitempty"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	State       string    `json:"state"`
	Reason      string    `json:"reason,omitzero"`
	Started     time.Time `json:"started"`
	Ended       time.Time `json:"ended,omitzero"`
	// What was put back last.
	AfterTime time.Time `json:"after_time,omitzero"`
	AfterSeq  int64     `json:"after_seq,omitzero"`
}

func (d *replayDoc) active() bool {
	return d.State == ReplayStarting || d.State == ReplayRunning || d.State == ReplayCancelling
}

// Replay is a replay of an archive.
type Replay struct {
	Name, ARN, Description string
	ArchiveARN             string
	BusARN                 string
	RuleARNs               []string // none is all rules
	From, To               time.Time
	State, Reason          string
	Started                time.Time
	Ended, Last            time.Time // zero if it has not ended; if nothing was put back yet
}

// NewReplay asks for a replay of events with From <= time < To.
type NewReplay struct {
	Name, Description  string
	ArchiveARN, BusARN string
	RuleARNs           []string
	From, To           time.Time
}

// StartReplay has events of an archive put back on its bus. The answer does
// not wait for that: RunReplays does it.
func (s *Service) StartReplay(ctx context.Context, c account.AWSCaller, p NewReplay) (*Replay, error) {
	var v checks
	v.name("replayName", p.Name)
	v.length("description", p.Description, 0, 512)
	v.arn("eventSourceArn", p.ArchiveARN)
	v.arn("destination.arn", p.BusARN)
	if err := v.err(); err != nil {
		return nil, err
	}
	if !p.From.Before(p.To) {
		return nil, invalid("Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.")
	}
	archive, archiveDoc, err := s.archiveByARN(ctx, c, p.ArchiveARN)
	if err != nil {
		return nil, err
	}
	if a, _ := ParseARN(p.BusARN); a.Service != "events" || !strings.HasPrefix(a.Resource, "event-bus/") {
		return nil, invalid("Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN.")
	}
	if p.BusARN != archiveDoc.Source {
		return nil, invalid("Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.")
	}
	bus, err := s.busOf(ctx, c, p.BusARN)
	if err != nil {
		return nil, err
	}
	if bus.Number != archiveDoc.Bus {
		return nil, notFound("The event bus of archive %s was deleted. Another one has its name now, to which this archive's events cannot be replayed.", archive.Name)
	}
	doc := &replayDoc{
		ARN: arn(c, "replay/"+p.Name), Description: p.Description, Archive: archive.Number, ArchiveARN: p.ArchiveARN,
		Bus: bus.Number, BusARN: p.BusARN, RuleARNs: p.RuleARNs, From: p.From.UTC(), To: p.To.UTC(),
		State: ReplayStarting, Started: s.now().UTC().Truncate(time.Millisecond),
	}
	if doc.Rules, err = s.ruleNames(ctx, c, bus, p.RuleARNs); err != nil {
		return nil, err
	}
	if err := s.checkReplays(ctx, c); err != nil {
		return nil, err
	}
	r := &store.Resource{ResourceKey: key(c, store.KindReplay, 0, p.Name)}
	if err := put(r, doc); err != nil {
		return nil, err
	}
	if err := s.change(ctx, r); errors.Is(err, store.ErrExists) {
		return nil, exists("Replay %s already exists.", p.Name)
	} else if err != nil {
		return nil, err
	}
	s.works.replays.ring()
	return replayOf(r, doc), nil
}

// checkReplays refuses one replay too many.
func (s *Service) checkReplays(ctx context.Context, c account.AWSCaller) error {
	page, err := s.store.ListResources(ctx, store.ListResources{Scope: c.Scope, Region: c.Region, Kind: store.KindReplay})
	if err != nil {
		return failed("list replays", err)
	}
	active := 0
	for _, r := range page.Items {
		if doc, err := decode[replayDoc](r); err == nil && doc.active() {
			active++
		}
	}
	if active >= maxReplays {
		return fault.New(fault.Invalid, codeLimit, "%d replays are under way already. Wait for one to end, or cancel one.", active)
	}
	return nil
}

func (s *Service) archiveByARN(ctx context.Context, c account.AWSCaller, text string) (*store.Resource, *archiveDoc, error) {
	a, _ := ParseARN(text)
	name, ok := strings.CutPrefix(a.Resource, "archive/")
	if !ok || a.Service != "events" {
		return nil, nil, invalid("Parameter EventSourceArn is not valid. Reason: Must contain an archive ARN.")
	}
	if a.Account != c.AccountID || a.Region != c.Region {
		return nil, nil, notFound("Archive %s does not exist.", name)
	}
	return s.archive(ctx, c, name)
}

// ruleNames checks that ARNs are of a bus's rules.
func (s *Service) ruleNames(ctx context.Context, c account.AWSCaller, bus *store.Resource, arns []string) ([]string, error) {
	if len(arns) == 0 {
		return nil, nil
	}
	names := make([]string, len(arns))
	for i, text := range arns {
		a, ok := ParseARN(text)
		name, isRule := strings.CutPrefix(a.Resource, "rule/")
		if !ok || !isRule || a.Service != "events" {
			return nil, invalid("Parameter Destination.FilterArns is not valid. Reason: Must contain rule ARNs.")
		}
		onBus := DefaultBus
		if at := strings.LastIndexByte(name, '/'); at >= 0 {
			onBus, name = name[:at], name[at+1:]
		}
		if onBus != bus.Name || a.Account != c.AccountID || a.Region != c.Region {
			return nil, invalid("Parameter Destination.FilterArns is not valid. Reason: rule %s is not of event bus %s.", name, bus.Name)
		}
		_, err := s.store.Resource(ctx, key(c, store.KindRule, bus.Number, name))
		if errors.Is(err, store.ErrNotFound) {
			return nil, notFound("Rule %s does not exist on EventBus %s.", name, bus.Name)
		}
		if err != nil {
			return nil, failed("read rule", err)
		}
		names[i] = name
	}
	return names, nil
}

// DescribeReplay returns a replay.
func (s *Service) DescribeReplay(ctx context.Context, c account.AWSCaller, name string) (*Replay, error) {
	r, doc, err := s.replay(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return replayOf(r, doc), nil
}

// CancelReplay ends a replay. What was put back already stays.
func (s *Service) CancelReplay(ctx context.Context, c account.AWSCaller, name string) (cancelled *Replay, err error) {
	err = again(func() error {
		r, doc, err := s.replay(ctx, c, name)
		if err != nil {
			return err
		}
		if doc.State != ReplayStarting && doc.State != ReplayRunning {
			return fault.New(fault.Invalid, codeIllegal, "Replay %s is not in a valid state for this operation.", name)
		}
		doc.State = ReplayCancelling
		cancelled = replayOf(r, doc)
		return s.saveReplay(ctx, r, doc)
	})
	s.works.replays.ring()
	return cancelled, err
}

// ReplayFilter selects replays: at most one of its members is set.
type ReplayFilter struct{ Prefix, ArchiveARN, State string }

// ListReplays returns a page of replays by name; see ListArchives for after
// and next.
func (s *Service) ListReplays(ctx context.Context, c account.AWSCaller, f ReplayFilter, after string, limit int) (replays []*Replay, next string, err error) {
	if countSet(f.Prefix, f.ArchiveARN, f.State) > 1 {
		return nil, "", invalid("At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix.")
	}
	if f.State != "" {
		if err := checkEnum("state", f.State, ReplayCancelled, ReplayCancelling, ReplayCompleted, ReplayFailed, ReplayRunning, ReplayStarting); err != nil {
			return nil, "", err
		}
	}
	return pageOf(ctx, s, key(c, store.KindReplay, 0, f.Prefix), after, limit, func(r *store.Resource, doc *replayDoc) (*Replay, error) {
		if f.ArchiveARN != "" && doc.ArchiveARN != f.ArchiveARN || f.State != "" && doc.State != f.State {
			return nil, nil
		}
		return replayOf(r, doc), nil
	})
}

func (s *Service) replay(ctx context.Context, c account.AWSCaller, name string) (*store.Resource, *replayDoc, error) {
	r, doc, err := get[replayDoc](ctx, s, key(c, store.KindReplay, 0, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, notFound("Replay %s does not exist.", name)
	}
	return r, doc, err
}

// saveReplay stores a replay's progress, by which nothing is routed.
func (s *Service) saveReplay(ctx context.Context, r *store.Resource, doc *replayDoc) error {
	if err := put(r, doc); err != nil {
		return err
	}
	r.Updated = s.now().UTC().Truncate(time.Millisecond)
	if err := s.store.ChangeResources(ctx, []*store.Resource{r}, true); err != nil {
		return failed("save replay", err)
	}
	return nil
}

func replayOf(r *store.Resource, doc *replayDoc) *Replay {
	return &Replay{
		Name: r.Name, ARN: doc.ARN, Description: doc.Description, ArchiveARN: doc.ArchiveARN, BusARN: doc.BusARN,
		RuleARNs: doc.RuleARNs, From: doc.From, To: doc.To, State: doc.State, Reason: doc.Reason,
		Started: doc.Started, Ended: doc.Ended, Last: doc.AfterTime,
	}
}

// forgetReplays removes replays that ended long ago.
func (s *Service) forgetReplays(ctx context.Context) error {
	all, err := s.everywhere(ctx, store.KindReplay)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range all {
		doc, err := decode[replayDoc](r)
		if err == nil && !doc.active() && s.now().Sub(doc.Ended) > replayKept {
			bury(r)
			err = s.store.ChangeResources(ctx, []*store.Resource{r}, true)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// detailType reads an envelope's.
func detailType(envelope []byte) string {
	var v struct {
		Type string `json:"detail-type"`
	}
	if json.Unmarshal(envelope, &v) != nil {
		return ""
	}
	return v.Type
}
