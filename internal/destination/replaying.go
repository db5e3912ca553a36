package destination

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// replayIdle is how often replays are looked for that another node was
	// asked for.
	replayIdle = time.Second
	// replayFull is how long a replay waits where there is no room.
	replayFull = 10 * time.Millisecond
	// scanMost is how many events a step looks at, scanFirst how many to begin
	// with at least.
	scanMost  = 16384
	scanFirst = 64
	// paceSlack is how much of a throttle's time may be caught up on at once.
	paceSlack = 100 * time.Millisecond
)

// Run carries out replays until ctx ends, all by turns. It is to run once in an
// installation.
//
// A step enqueues what follows the replay's cursor. Its deliveries and the
// cursor's next place are committed together, the place in an idempotency
// record that is named by the place before; only then the replay is updated.
// So whatever is killed in between, and whichever node goes on, a step is
// carried out once: one that repeats it finds the record, enqueues nothing and
// takes the place from there.
func (s *Replays) Run(ctx context.Context) {
	paces := map[int64]*pace{}
	var looked time.Time
	for ctx.Err() == nil {
		if time.Since(looked) >= replayIdle {
			if err := s.lookUp(ctx, paces); err != nil {
				s.o.Log.Warn("replays cannot be read; trying again soon", "error", err)
			}
			looked = time.Now()
		}
		pause := replayIdle
		for number, p := range paces {
			wait, done, err := s.step(ctx, number, p, len(paces))
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				s.o.Log.Warn("a replay waits", "replay", number, "error", err)
			case done:
				delete(paces, number)
			default:
				pause = min(pause, wait)
			}
		}
		select {
		case <-s.bell:
			looked = time.Time{}
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// lookUp adds the replays that are to be carried out, and removes those that
// ended long ago.
func (s *Replays) lookUp(ctx context.Context, paces map[int64]*pace) error {
	rows, err := s.o.Store.ListResources(ctx, store.ListResources{AllScopes: true, AllRegions: true, Kind: store.KindDestinationReplay, Parent: -1})
	if err != nil {
		return err
	}
	var errs []error
	for _, row := range rows.Items {
		r, err := decodeReplay(row)
		switch {
		case err != nil:
			errs = append(errs, err)
		case r.active() && paces[row.Number] == nil:
			paces[row.Number] = &pace{}
		case r.ended() && s.now().Sub(r.Completed) > replayKept:
			row.Status = event.Deleted
			errs = append(errs, s.o.Store.ChangeResources(ctx, []*store.Resource{row}, true))
		}
	}
	return errors.Join(errs...)
}

// step carries out a part of a replay, which is one among several. wait is when to go on; done means that
// it needs no more steps for now. An error will pass.
func (s *Replays) step(ctx context.Context, number int64, p *pace, among int) (wait time.Duration, done bool, err error) {
	r, err := s.byNumber(ctx, number)
	if err != nil || r == nil || !r.active() {
		return 0, err == nil, err
	}
	if stopped, err := s.halt(ctx, r); stopped || err != nil {
		return 0, err == nil, err
	}
	room, rest, err := s.o.Engine.ReplayRoom(ctx, r.Destination)
	if err != nil {
		return 0, false, err
	}
	allowed, wait := p.allow(r.Throttle, s.o.Now())
	room = min(room, allowed)
	if room == 0 {
		return max(wait, replayFull), false, nil
	}
	list, next, err := s.gather(ctx, r, room)
	if err != nil {
		return 0, false, err
	}
	made, err := s.enqueue(ctx, r, list, next)
	if err != nil {
		return 0, false, err
	}
	p.spend(r.Throttle, len(list))
	err = s.edit(ctx, number, func(now *Replay) {
		if now.After != r.After {
			return // another node did this step, and told so
		}
		now.After = made.After
		now.Selected += made.Selected
		now.Skipped += made.Skipped
		if now.active() {
			now.Status = ReplayRunning
		}
		if now.After >= now.UpTo && !now.ended() {
			now.Status, now.Reason, now.Completed = ReplayCompleted, "", s.now()
		}
	})
	return rest * time.Duration(among), err == nil && made.After >= r.UpTo, err
}

// halt stops a replay whose destination cannot be sent to.
func (s *Replays) halt(ctx context.Context, r *Replay) (stopped bool, err error) {
	found, err := s.o.Destinations.store.DestinationsByNumber(ctx, r.Scope, []int64{r.Destination})
	if err != nil {
		return false, err
	}
	status, reason := ReplayPaused, ReplayDisabled
	switch d := found[r.Destination]; {
	case d == nil || d.Status == event.Deleted:
		status, reason = ReplayFailed, ReplayDeleted
	case d.Status != event.Disabled:
		return false, nil
	}
	return true, s.edit(ctx, r.Number, func(now *Replay) {
		if now.active() {
			now.Status, now.Reason = status, reason
			if now.ended() {
				now.Completed = s.now()
			}
		}
	})
}

// stepResult is what a step's record remembers.
type stepResult struct {
	After             event.Seq
	Selected, Skipped int64
}

// gather finds what follows the cursor: at most room deliveries.
func (s *Replays) gather(ctx context.Context, r *Replay, room int) (list []engine.Redelivery, next stepResult, err error) {
	states := r.states()
	next.After = r.After
	for scan, seen := max(room, scanFirst), 0; seen < scanMost && next.After < r.UpTo && len(list) < room; {
		found, upTo, err := s.o.Store.ScanDeliveries(ctx, store.ScanDeliveries{
			Scope: r.Scope, Subscription: r.Destination, After: next.After, UpTo: r.UpTo, Types: r.Types,
			CreatedFrom: r.From, CreatedTo: r.To, Limit: scan,
		})
		if err != nil {
			return nil, next, err
		}
		for _, d := range found {
			if len(list) == room {
				upTo = list[room-1].Seq
				break
			}
			if !slices.Contains(states, d.State) {
				next.Skipped++
				continue
			}
			list = append(list, engine.Redelivery{Seq: d.Seq, ObjectID: d.ObjectID})
		}
		next.After = upTo
		seen += scan
		scan = min(4*scan, scanMost/4)
	}
	next.Selected = int64(len(list))
	return list, next, nil
}

// enqueue commits a step, or finds out how it went when it was committed before.
func (s *Replays) enqueue(ctx context.Context, r *Replay, list []engine.Redelivery, next stepResult) (made stepResult, err error) {
	result, err := json.Marshal(next)
	if err != nil {
		return made, fmt.Errorf("encode step of replay: %w", err)
	}
	key := fmt.Sprintf("replay/%d/%d", r.Number, r.After)
	result, err = s.o.Engine.Replay(ctx, r.Scope, r.Destination, list, &store.Idempotency{
		Scope: r.Scope, Key: key, Hash: sha256.Sum256([]byte(key)), Result: result, Created: s.o.Now(),
	})
	if err != nil {
		return made, err
	}
	if err := json.Unmarshal(result, &made); err != nil {
		return made, fmt.Errorf("decode step of replay: %w", err)
	}
	return made, nil
}

// byNumber returns nil for one that was deleted.
func (s *Replays) byNumber(ctx context.Context, number int64) (*Replay, error) {
	row, err := s.row(ctx, number)
	if err != nil || row == nil {
		return nil, err
	}
	return decodeReplay(row)
}

func (s *Replays) row(ctx context.Context, number int64) (*store.Resource, error) {
	found, err := s.o.Store.ResourcesByNumber(ctx, []int64{number})
	if row := found[number]; err != nil || row == nil || row.Status != event.Deleted {
		return row, err
	}
	return nil, nil
}

func (s *Replays) edit(ctx context.Context, number int64, change func(*Replay)) error {
	return s.again(func() error {
		row, err := s.row(ctx, number)
		if err != nil || row == nil {
			return err
		}
		r, err := decodeReplay(row)
		if err != nil {
			return err
		}
		change(r)
		return s.save(ctx, row, r)
	})
}

// pace keeps a replay to its throttle, as the moment up to which it is spent.
type pace struct{ spent time.Time }

// allow returns how many deliveries may be added now, or when one may be.
func (p *pace) allow(throttle int, now time.Time) (n int, wait time.Duration) {
	if throttle == 0 {
		return math.MaxInt, 0
	}
	every := time.Second / time.Duration(throttle)
	if earliest := now.Add(-max(paceSlack, every)); p.spent.Before(earliest) {
		p.spent = earliest
	}
	since := now.Sub(p.spent)
	return int(max(0, since/every)), max(0, every-since)
}

func (p *pace) spend(throttle, n int) {
	if throttle != 0 {
		p.spent = p.spent.Add(time.Duration(n) * (time.Second / time.Duration(throttle)))
	}
}
