package destination

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// A replay sends again what a destination was sent, or should have been, in a
// range of time:
//
//	Start ──► queued ──► running ──► completed, or failed (destination_deleted)
//	             ▲  └──Pause──┤  └──Cancel──► canceled
//	          Resume          ▼  or the destination is disabled
//	             └───────── paused
//
// See Run for how it is carried out.

// The states of a replay.
const (
	ReplayQueued    = "queued"
	ReplayRunning   = "running"
	ReplayPaused    = "paused"
	ReplayCanceled  = "canceled"
	ReplayCompleted = "completed"
	ReplayFailed    = "failed"
)

// Why a replay was paused or failed by itself.
const (
	ReplayDisabled = event.ReasonDisabled
	ReplayDeleted  = event.ReasonDeleted
)

// ReplayUndelivered and ReplayAll stand for several states of deliveries.
const (
	ReplayUndelivered = "undelivered" // failed, dead-lettered, discarded
	ReplayAll         = "all"
)

const (
	// maxReplays is how many replays to a destination may not have ended.
	maxReplays = 10
	// maxThrottle is the highest throttle, in deliveries per second.
	maxThrottle = 100_000
	// maxReplayTypes is how many types a replay can name.
	maxReplayTypes = 100
	// replayKept is how long a replay that ended can be seen.
	replayKept = 90 * 24 * time.Hour
)

// Replay is a replay as its owner sees it.
type Replay struct {
	ID            string `json:"-"`
	Number        int64  `json:"-"`
	Scope         event.Scope
	Destination   int64
	DestinationID string
	Status        string
	Reason        string `json:",omitzero"` // one of the Replay constants, or ""
	// From and To bound the events' creation, both inclusive. UpTo bounds
	// their sequence numbers: what came after the replay was made is no part
	// of it.
	From, To time.Time
	UpTo     event.Seq
	Types    []string `json:",omitempty"` // exact, or prefixes that end in "*"; none is all
	States   []string // as asked for
	Throttle int      `json:",omitzero"` // deliveries per second; 0 is no bound

	// First is where the log begins for this replay.
	First event.Seq `json:",omitzero"`
	// After is up to where all is done; Selected were sent, and Skipped are the
	// others of these types and this range: their state was not asked for.
	After             event.Seq `json:",omitzero"`
	Selected, Skipped int64
	Created, Updated  time.Time `json:"-"`
	Completed         time.Time `json:",omitzero"` // when it ended in any way
	Request           []byte    `json:",omitempty"`
}

func (r *Replay) active() bool { return r.Status == ReplayQueued || r.Status == ReplayRunning }
func (r *Replay) ended() bool  { return !r.active() && r.Status != ReplayPaused }

// Progress is how much of its range the replay has done, from 0 to 1: of the
// time, as nobody has counted the events.
func (r *Replay) Progress() float64 {
	const nearly = 0.999
	if r.Status == ReplayCompleted {
		return 1
	}
	done, whole := r.After.Time().Sub(r.First.Time()), r.To.Sub(r.First.Time())
	switch {
	case r.After == 0:
		return 0
	case done >= whole:
		return nearly
	}
	return max(0, min(nearly, float64(done)/float64(whole)))
}

// states are those of the deliveries that the replay is to send.
func (r *Replay) states() []event.State {
	var states []event.State
	for _, s := range r.States {
		switch s {
		case ReplayUndelivered:
			states = append(states, event.StateFailed, event.StateDeadLettered, event.StateDiscarded)
		case ReplayAll:
			states = append(states, event.StateFailed, event.StateDeadLettered, event.StateDiscarded, event.StatePending, event.StateDelivered)
		case string(event.StateFailed):
			states = append(states, event.StateFailed, event.StateDeadLettered)
		default:
			states = append(states, event.State(s))
		}
	}
	return states
}

// ReplayStore is the part of the store that replays need.
type ReplayStore interface {
	ChangeResources(ctx context.Context, changed []*store.Resource, quiet bool) error
	Resource(ctx context.Context, key store.ResourceKey) (*store.Resource, error)
	ResourcesByNumber(ctx context.Context, numbers []int64) (map[int64]*store.Resource, error)
	ListResources(ctx context.Context, p store.ListResources) (store.Page[*store.Resource], error)
	ScanDeliveries(ctx context.Context, p store.ScanDeliveries) ([]*event.Delivery, event.Seq, error)
}

// ReplayEngine is the part of the engine that replays need.
type ReplayEngine interface {
	ReplayRoom(ctx context.Context, subscription int64) (room int, rest time.Duration, err error)
	Replay(ctx context.Context, scope event.Scope, subscription int64, list []engine.Redelivery, idem *store.Idempotency) ([]byte, error)
}

// ReplayOptions is what Replays are made of.
type ReplayOptions struct {
	Destinations *Service
	Store        ReplayStore
	Engine       ReplayEngine
	Visible      time.Duration    // how long events can be sent again
	Now          func() time.Time // nil is time.Now
	Log          *slog.Logger     // nil discards
}

// Replays owns the replays to all destinations. It is safe for concurrent use.
type Replays struct {
	o    ReplayOptions
	bell chan struct{} // a replay is to be looked at
}

// NewReplays returns Replays, which only move while Run runs.
func NewReplays(o ReplayOptions) *Replays {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Replays{o: o, bell: make(chan struct{}, 1)}
}

func (s *Replays) now() time.Time { return s.o.Now().UTC().Truncate(time.Millisecond) }

func (s *Replays) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// ReplayParams describes a new replay.
type ReplayParams struct {
	From, To time.Time // of the events' creation, inclusive; zero is unbounded
	Types    []string
	States   []string // none is ReplayUndelivered
	Throttle int64
}

// Start makes a replay. The answer does not wait for it to move.
func (s *Replays) Start(ctx context.Context, c account.Caller, destinationID string, p ReplayParams) (*Replay, error) {
	d, err := s.o.Destinations.Retrieve(ctx, c, destinationID)
	if err != nil {
		return nil, err
	}
	now := s.now()
	r := &Replay{
		Scope: c.Scope, Destination: d.Number, DestinationID: d.ID, Status: ReplayQueued, To: now, UpTo: event.SeqAt(now.Add(time.Millisecond)) - 1,
		From: now.Add(-s.o.Visible).Truncate(time.Millisecond), Types: p.Types, States: p.States, Throttle: int(p.Throttle), Created: now, Updated: now,
	}
	if p.From.After(r.From) {
		r.From = p.From
	}
	if !p.To.IsZero() && p.To.Before(now) {
		r.To = p.To
	}
	if len(r.States) == 0 {
		r.States = []string{ReplayUndelivered}
	}
	if err := r.check(p.Throttle); err != nil {
		return nil, err
	}
	prefix := "rpl_"
	if !c.Scope.Live() {
		prefix = "rpl_test_"
	}
	r.ID = event.NewID(prefix, 24)
	if c.IdempotencyKey != "" {
		// The same request finds the replay that it made before by its name.
		sum := sha256.Sum256(strconv.AppendInt([]byte(c.IdempotencyKey), int64(c.Generation), 10))
		r.ID, r.Request = prefix+hex.EncodeToString(sum[:12]), c.RequestHash[:]
		if earlier, err := s.Retrieve(ctx, c, d.ID, r.ID); err == nil {
			return earlier.unless(c)
		} else if f := fault.As(err); f == nil || f.Kind != fault.NotFound {
			return nil, err
		}
	}
	if d.Status == event.Disabled {
		return nil, fault.Invalidf("", "%s is disabled. Enable it, then replay.", d.ID)
	}
	if err := s.checkRoom(ctx, c, d.ID); err != nil {
		return nil, err
	}
	if _, r.First, err = s.o.Store.ScanDeliveries(ctx, store.ScanDeliveries{Scope: c.Scope, Subscription: d.Number, UpTo: r.UpTo, CreatedFrom: r.From, Limit: 1}); err != nil {
		return nil, failed("find the first event", err)
	}
	row := &store.Resource{ResourceKey: replayKey(c.Scope, d.ID, r.ID), Status: event.Enabled, Created: now}
	err = s.save(ctx, row, r)
	if errors.Is(err, store.ErrExists) && r.Request != nil {
		if r, err = s.Retrieve(ctx, c, d.ID, r.ID); err == nil {
			return r.unless(c)
		}
	}
	if err != nil {
		return nil, err
	}
	s.ring()
	return r, nil
}

// unless returns the replay that an earlier request with the caller's
// idempotency key made, unless that was another request.
func (r *Replay) unless(c account.Caller) (*Replay, error) {
	if string(r.Request) != string(c.RequestHash[:]) {
		return nil, keyReused()
	}
	return r, nil
}

func (r *Replay) check(throttle int64) error {
	switch {
	case r.From.After(r.To):
		return fault.Invalidf("created", "The range is empty: events are kept from %s on, and it must begin before it ends and in the past.", r.From.Format(time.RFC3339))
	case throttle < 0 || throttle > maxThrottle:
		return fault.Invalidf("throttle", "The throttle must be a whole number of deliveries per second from 1 to %d. Leave it out for no bound.", maxThrottle)
	case len(r.Types) > maxReplayTypes:
		return fault.Invalidf("types", "There are %d types; at most %d are possible.", len(r.Types), maxReplayTypes)
	}
	known := []string{
		string(event.StateFailed), string(event.StateDiscarded), string(event.StatePending), string(event.StateDelivered),
		string(event.StateDeadLettered), ReplayUndelivered, ReplayAll,
	}
	for _, state := range r.States {
		if !slices.Contains(known, state) {
			return fault.Invalidf("delivery_status", "%s is no status. Send failed, discarded, pending, delivered, undelivered or all.", show(state))
		}
	}
	return nil
}

func (s *Replays) checkRoom(ctx context.Context, c account.Caller, destinationID string) error {
	all, err := s.of(ctx, c, destinationID)
	if err != nil {
		return err
	}
	open := 0
	for _, r := range all {
		if !r.ended() {
			open++
		}
	}
	if open >= maxReplays {
		return fault.Invalidf("", "%d replays to %s have not ended. Wait for one, or cancel one.", open, destinationID)
	}
	return nil
}

// List returns the replays to a destination, newest first: those before the one
// with the number older, or all for 0.
func (s *Replays) List(ctx context.Context, c account.Caller, destinationID string, older int64, limit int) (store.Page[*Replay], error) {
	var page store.Page[*Replay]
	d, err := s.o.Destinations.Retrieve(ctx, c, destinationID)
	if err != nil {
		return page, err
	}
	all, err := s.of(ctx, c, d.ID)
	if err != nil {
		return page, err
	}
	slices.SortFunc(all, func(a, b *Replay) int { return int(b.Number - a.Number) })
	page.Items = slices.DeleteFunc(all, func(r *Replay) bool { return older != 0 && r.Number >= older })
	if page.More = len(page.Items) > limit; page.More {
		page.Items = page.Items[:limit]
	}
	return page, nil
}

// of returns all replays to a destination.
func (s *Replays) of(ctx context.Context, c account.Caller, destinationID string) ([]*Replay, error) {
	rows, err := s.o.Store.ListResources(ctx, store.ListResources{Scope: c.Scope, Kind: store.KindDestinationReplay, Prefix: destinationID + "/"})
	if err != nil {
		return nil, failed("list replays", err)
	}
	all := make([]*Replay, len(rows.Items))
	for i, row := range rows.Items {
		if all[i], err = decodeReplay(row); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Retrieve finds a replay.
func (s *Replays) Retrieve(ctx context.Context, c account.Caller, destinationID, id string) (*Replay, error) {
	_, r, err := s.find(ctx, c, destinationID, id)
	return r, err
}

func (s *Replays) find(ctx context.Context, c account.Caller, destinationID, id string) (*store.Resource, *Replay, error) {
	row, err := s.o.Store.Resource(ctx, replayKey(c.Scope, destinationID, id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, fault.NotFoundf("No such replay: %s of %s. Those that ended are kept for 90 days.", show(id), show(destinationID))
	}
	if err != nil {
		return nil, nil, failed("find replay", err)
	}
	r, err := decodeReplay(row)
	return row, r, err
}

// Pause stops a replay until Resume. What was enqueued is still sent.
func (s *Replays) Pause(ctx context.Context, c account.Caller, destinationID, id string) (*Replay, error) {
	return s.turn(ctx, c, destinationID, id, ReplayPaused)
}

// Resume lets a replay go on where it stopped.
func (s *Replays) Resume(ctx context.Context, c account.Caller, destinationID, id string) (*Replay, error) {
	d, err := s.o.Destinations.Retrieve(ctx, c, destinationID)
	if err != nil {
		return nil, err
	}
	if d.Status == event.Disabled {
		return nil, fault.Invalidf("", "%s is disabled. Enable it, then resume the replay.", d.ID)
	}
	return s.turn(ctx, c, destinationID, id, ReplayQueued)
}

// Cancel ends a replay. What was enqueued is still sent.
func (s *Replays) Cancel(ctx context.Context, c account.Caller, destinationID, id string) (*Replay, error) {
	return s.turn(ctx, c, destinationID, id, ReplayCanceled)
}

// turn gives a replay another status. One that has it already stays as it is.
func (s *Replays) turn(ctx context.Context, c account.Caller, destinationID, id, status string) (*Replay, error) {
	var turned *Replay
	err := s.again(func() error {
		row, r, err := s.find(ctx, c, destinationID, id)
		if err != nil {
			return err
		}
		turned = r
		switch {
		case r.Status == status, status == ReplayQueued && r.active():
			return nil
		case r.ended():
			return fault.Invalidf("", "The replay has ended: it is %s. Start another one.", r.Status)
		}
		r.Status, r.Reason = status, ""
		if status == ReplayCanceled {
			r.Completed = s.now()
		}
		return s.save(ctx, row, r)
	})
	s.ring()
	return turned, err
}

// again repeats a change that met another one.
func (s *Replays) again(change func() error) error {
	for {
		if err := change(); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// save stores a replay, by which nothing is routed. Errors: store.ErrConflict,
// store.ErrExists and faults.
func (s *Replays) save(ctx context.Context, row *store.Resource, r *Replay) error {
	doc, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode replay: %w", err)
	}
	row.Config, row.Updated = doc, s.now()
	if err := s.o.Store.ChangeResources(ctx, []*store.Resource{row}, true); err != nil {
		return failed("save replay", err)
	}
	r.Number, r.Updated = row.Number, row.Updated
	return nil
}

// A replay's name begins with its destination's id, so that those of one
// destination are found together.
func replayKey(scope event.Scope, destinationID, id string) store.ResourceKey {
	return store.ResourceKey{Scope: scope, Kind: store.KindDestinationReplay, Name: destinationID + "/" + id}
}

func decodeReplay(row *store.Resource) (*Replay, error) {
	r := &Replay{}
	if err := json.Unmarshal(row.Config, r); err != nil {
		return nil, fmt.Errorf("decode replay %s: %w", row.Name, err)
	}
	r.ID, r.Number, r.Created, r.Updated = row.Name[len(r.DestinationID)+1:], row.Number, row.Created, row.Updated
	return r, nil
}
