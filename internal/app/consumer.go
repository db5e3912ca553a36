package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/queue"
	bustarget "github.com/waybill-dev/waybill/internal/target/bus"
	"github.com/waybill-dev/waybill/internal/target/inside"
)

// load gathers what all domains compile to. Their versions may differ if a
// change came in between; the lowest is the one that all have seen, and what
// was seen early is only seen again.
func load(queues *queue.Service, domains ...loader) func(context.Context, int64) ([]event.Subscription, int64, error) {
	return func(ctx context.Context, since int64) ([]event.Subscription, int64, error) {
		var subs []event.Subscription
		version := int64(math.MaxInt64)
		for _, d := range domains {
			more, seen, err := d.Load(ctx, since)
			if err != nil {
				return nil, 0, err
			}
			subs, version = append(subs, more...), min(version, seen)
		}
		// Last, because it names no version: so it has seen what they have.
		if err := queues.Load(ctx, since); err != nil {
			return nil, 0, err
		}
		return subs, version, nil
	}
}

// loader is a domain that compiles to subscriptions.
type loader interface {
	Load(ctx context.Context, since int64) ([]event.Subscription, int64, error)
}

// insideTargets are queues, log groups and archives.
func insideTargets(queues *queue.Service, buses *bus.Service) inside.Options {
	return inside.Options{
		Queue: func(t event.QueueTarget, dedupID string, body []byte) (event.Deposit, error) {
			return queues.Deposit(t.Scope, t.ARN, t.GroupID, dedupID, body, nil)
		},
		Log: func(t event.LogTarget) (int64, error) { return buses.LogGroupNumber(t.Scope, t.ARN) },
	}
}

// busTargets are the ways onto a bus.
func busTargets(buses *bus.Service, log *slog.Logger) bustarget.Options {
	return bustarget.Options{
		PutFromBus: func(ctx context.Context, t event.BusTarget, e *event.Event) error {
			return putError(log, buses.PutFromBus(ctx, t.Scope, t.ARN, e.Payload, e.Type, e.Hops))
		},
		PutFromSource: func(ctx context.Context, t event.SourceTarget, detailType string, at time.Time, detail []byte) error {
			return putError(log, buses.PutFromSource(ctx, t.Name, t.Region, detailType, at, []string{t.ARN}, detail))
		},
	}
}

// putError translates between two rooms that do not know each other. What is a
// failure of our own is logged here: its text is not for who sees the attempt.
func putError(log *slog.Logger, err error) error {
	switch {
	case errors.Is(err, bus.ErrPending):
		return bustarget.ErrHeld
	case errors.Is(err, bus.ErrNoBus), errors.Is(err, bus.ErrNoSource):
		return fmt.Errorf("%w: %w", bustarget.ErrAbsent, err)
	case errors.Is(err, bus.ErrTooManyHops):
		return fmt.Errorf("%w: %w", bustarget.ErrRefused, err)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Error("an event could not be put on a bus; it is tried again", "error", err)
	}
	return err
}

// every is how often what nobody triggers is looked after: sources that
// expire, destinations that follow them, queues, archives and log groups to be
// trimmed, what is left of those that were deleted.
const every = time.Minute

// keepHouse looks after the consumer's half until ctx ends.
func (a *App) keepHouse(ctx context.Context) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		for doing, fn := range map[string]func(context.Context) error{
			"expire partner event sources":  a.buses.ExpireSources,
			"follow partner event sources":  a.destinations.FollowSources,
			"drop replaced signing secrets": a.destinations.DropSecrets,
			"trim archives and log groups":  a.buses.TrimShelves,
			"trim queues":                   a.queues.DropExpired,
			"end listening sessions":        a.sessions.EndIdle,
			"remove what was deleted":       a.store.EmptyDeleted,
		} {
			if err := fn(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("housekeeping failed; it is tried again in a minute", "doing", doing, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
