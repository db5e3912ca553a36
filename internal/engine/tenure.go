package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

// tenure is what this process holds for the time being, as the store says.
type tenure struct {
	leader atomic.Bool
	nodes  atomic.Int32 // that work at the store
	until  atomic.Int64 // Unix ns by the store's clock; 0 is for ever
	// adopted is that the subscribers have yet to be told of lanes taken over.
	// Only Start and then tendAll use it.
	adopted bool
}

func (t *tenure) over(now time.Time) bool {
	until := t.until.Load()
	return until != 0 && now.UnixNano() > until
}

// Leads says whether this process does what is done once for all.
func (e *Engine) Leads() bool { return e.tenure.leader.Load() && !e.tenure.over(e.now()) }

// tendAll keeps the lease and finds out about changes, until the last send has
// ended.
func (e *Engine) tendAll() {
	t := time.NewTicker(store.TendEvery)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-e.sendCtx.Done():
			return
		case <-t.C:
		case <-e.o.Store.Hints():
		}
		err := e.tend(e.sendCtx)
		switch {
		case e.sendCtx.Err() != nil:
			return
		case errors.Is(err, store.ErrFenced):
			e.fail(err)
			return
		case err != nil && !failing:
			e.o.Log.Error("the store does not answer; what this process owns goes to others if that lasts", "error", err)
		case err == nil && failing:
			e.o.Log.Info("the store answers again")
		}
		failing = err != nil
	}
}

func (e *Engine) tend(ctx context.Context) error {
	t, err := e.o.Store.Tend(ctx)
	e.tenure.adopted = e.tenure.adopted || t.Adopted // whatever failed after it
	if err != nil {
		return err
	}
	e.tenure.leader.Store(t.Leader)
	e.tenure.nodes.Store(int32(t.Nodes))
	if !t.Until.IsZero() {
		e.tenure.until.Store(t.Until.UnixNano())
	}
	if t.ConfigVersion != e.routes.Load().Version() {
		if err := e.Refresh(ctx); err != nil {
			return err
		}
	}
	if !e.tenure.adopted {
		return nil
	}
	if err := e.expectWaiting(ctx); err != nil {
		return err
	}
	e.tenure.adopted = false
	e.o.Log.Info("took over the work of a process that is gone")
	return nil
}

// expectWaiting tells the subscribers of what waits in the retry table.
func (e *Engine) expectWaiting(ctx context.Context) error {
	waiting, err := e.o.Store.WaitingSubscriptions(ctx)
	if err != nil {
		return err
	}
	for _, w := range waiting {
		e.subscriber(w.Subscription).expect(w.First)
	}
	return nil
}

// fail reports that this process can no longer work.
func (e *Engine) fail(err error) {
	select {
	case e.fatal <- err:
	default:
	}
}
