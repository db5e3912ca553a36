package app

import (
	"context"
	"time"
)

// watchHealth looks after the health of destinations, as this node sees it,
// until ctx ends.
func (a *App) watchHealth(ctx context.Context) {
	t := time.NewTicker(a.destinations.HealthEvery())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := a.destinations.WatchHealth(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("the health of destinations could not be noted; it is tried again", "error", err)
		}
	}
}
