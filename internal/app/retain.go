package app

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// retainStep is how many events one step of retention is about: a few
	// milliseconds of the writer's time.
	retainStep = 50
	// retainShare is how much longer than a step the pause after it is: at
	// most so large a part of the writer is taken from publishers.
	retainShare = 8
)

// retain removes what is old, in small steps with pauses between them, until
// ctx ends.
func (a *App) retain(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now, began := a.store.Now(), time.Now()
		more, err := a.store.Retain(ctx, store.Retain{
			Attempts:  now.Add(-min(a.cfg.RetainAttempts, a.cfg.RetainEvents)),
			Events:    now.Add(-a.cfg.RetainEvents),
			Summaries: now.Add(-max(a.cfg.RetainSummaries, a.cfg.RetainEvents)),
			Audit:     now.Add(-a.cfg.RetainAudit),
			Limit:     retainStep,
		})
		if err != nil && ctx.Err() == nil {
			a.log.Error("old events could not be removed; it is tried again in a minute", "error", err)
		}
		pause := every
		if more {
			pause = retainShare * time.Since(began)
		}
		t.Reset(pause)
	}
}
