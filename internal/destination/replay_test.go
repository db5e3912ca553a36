package destination_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// replayLog is a log of deliveries, and an engine that counts how often each
// was enqueued. Saving a replay fails as often as a test says: as if the
// process had been killed between the commit and the save.
type replayLog struct {
	store.Store
	mu       sync.Mutex
	all      []*event.Delivery
	sent     map[event.Seq]int
	records  map[string][]byte
	failures int
	lost     int // saves that failed
	steps    int
}

func (l *replayLog) ScanDeliveries(_ context.Context, p store.ScanDeliveries) (found []*event.Delivery, upTo event.Seq, err error) {
	for _, d := range l.all {
		if d.Seq > p.After && d.Seq <= p.UpTo {
			if found = append(found, d); len(found) == p.Limit {
				return found, d.Seq, nil
			}
		}
	}
	return found, p.UpTo, nil
}

func (l *replayLog) ReplayRoom(context.Context, int64) (int, time.Duration, error) { return 7, 0, nil }

func (l *replayLog) Replay(_ context.Context, _ event.Scope, _ int64, list []engine.Redelivery, idem *store.Idempotency) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if earlier, ok := l.records[idem.Key]; ok {
		return earlier, nil
	}
	l.records[idem.Key] = idem.Result
	l.steps++
	for _, r := range list {
		l.sent[r.Seq]++
	}
	return idem.Result, nil
}

func (l *replayLog) ChangeResources(ctx context.Context, changed []*store.Resource, quiet bool) error {
	l.mu.Lock()
	if fail := l.failures > 0 && l.steps > 0; fail {
		l.failures--
		l.lost++
		l.mu.Unlock()
		return errors.New("killed")
	}
	l.mu.Unlock()
	return l.Store.ChangeResources(ctx, changed, quiet)
}

// A step is carried out once, whether its end was noted or not, and even by two
// nodes that both believe to lead.
func TestReplayStepsOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d, err := f.Create(t.Context(), f.test, webhook())
	if err != nil {
		t.Fatal(err)
	}
	l := &replayLog{Store: openStore(t), sent: map[event.Seq]int{}, records: map[string][]byte{}, failures: 3}
	at := event.SeqAt(time.Now().Add(-time.Hour))
	var want []event.Seq
	for i := range 100 {
		e := &event.Delivery{Seq: at + event.Seq(i), Subscription: d.Number, State: event.StateFailed}
		if i%4 == 0 {
			e.State = event.StateDelivered
		} else {
			want = append(want, e.Seq)
		}
		l.all = append(l.all, e)
	}
	o := destination.ReplayOptions{Destinations: f.Service, Store: l, Engine: l, Visible: 24 * time.Hour}
	first, second := destination.NewReplays(o), destination.NewReplays(o)
	made, err := first.Start(t.Context(), f.test, d.ID, destination.ReplayParams{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, r := range []*destination.Replays{first, second} {
		running.Go(func() { r.Run(ctx) })
	}
	for made.Status != destination.ReplayCompleted {
		if made, err = first.Retrieve(t.Context(), f.test, d.ID, made.ID); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	running.Wait()
	if got := slices.Sorted(maps.Keys(l.sent)); !slices.Equal(got, want) {
		t.Errorf("%d were enqueued, want %d", len(got), len(want))
	}
	for seq, n := range l.sent {
		if n != 1 {
			t.Errorf("%d was enqueued %d times", seq, n)
		}
	}
	if made.Selected != 75 || made.Skipped != 25 || l.lost != 3 {
		t.Errorf("%d selected, %d skipped, %d saves lost; want 75, 25 and 3", made.Selected, made.Skipped, l.lost)
	}
}

func TestReplayIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d, err := f.Create(t.Context(), f.test, webhook())
	if err != nil {
		t.Fatal(err)
	}
	replays := destination.NewReplays(destination.ReplayOptions{Destinations: f.Service, Store: &replayLog{Store: openStore(t)}, Visible: time.Hour})
	now := time.Now()
	for name, p := range map[string]destination.ReplayParams{
		"created":         {From: now.Add(-10 * time.Minute), To: now.Add(-20 * time.Minute)},
		"throttle":        {Throttle: -1},
		"types":           {Types: make([]string, 101)},
		"delivery_status": {States: []string{"lost"}},
	} {
		if _, err := replays.Start(t.Context(), f.test, d.ID, p); fault.As(err) == nil || fault.As(err).Param != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := replays.Start(t.Context(), f.live, d.ID, destination.ReplayParams{}); fault.As(err) == nil || fault.As(err).Kind != fault.NotFound {
		t.Errorf("of the other mode: %v", err)
	}
	var open []*destination.Replay
	for range 10 {
		r, err := replays.Start(t.Context(), f.test, d.ID, destination.ReplayParams{})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
	}
	if _, err := replays.Start(t.Context(), f.test, d.ID, destination.ReplayParams{}); fault.As(err) == nil {
		t.Errorf("an eleventh one: %v", err)
	}
	if _, err := replays.Cancel(t.Context(), f.test, d.ID, open[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := replays.Start(t.Context(), f.test, d.ID, destination.ReplayParams{}); err != nil {
		t.Errorf("in place of one that was canceled: %v", err)
	}
}
