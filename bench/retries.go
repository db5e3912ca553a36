package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/event"
)

const (
	// waitingType is what the destinations select that others' failures wait
	// for; nothing of it is published while rates are measured.
	waitingType = "invoice.paid"
	// waitingAt is how many destinations the retries are spread over.
	waitingAt = 100
	// nodeMemory is what a node may need with a million retries, in MB.
	nodeMemory = 300
)

// retries measures fresh events beside many retries: none of them due, then
// all of them at once.
func (b *sharedDatabase) retries(ctx context.Context) error {
	return b.with(ctx, func(empty settings, emptyDir string) error {
		return b.with(ctx, func(full settings, fullDir string) error {
			if err := errors.Join(b.addDestinations(ctx, empty, emptyDir), b.addDestinations(ctx, full, fullDir)); err != nil {
				return err
			}
			if err := b.seed(ctx, full); err != nil {
				return err
			}
			maximum, err := b.noneDue(ctx, empty, emptyDir, full, fullDir)
			if err != nil {
				return err
			}
			for _, destinations := range []int{waitingAt, 1} {
				if err := b.allDue(ctx, full, fullDir, destinations, maximum/2); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// addDestinations makes one for fresh events and those that retries wait for,
// and publishes an event for each kind.
func (b *sharedDatabase) addDestinations(ctx context.Context, s settings, dir string) error {
	return running(ctx, s, dir, func(srv *server) error {
		if err := srv.destination(ctx, b.r.url+"/hook", "payment_intent.succeeded"); err != nil {
			return err
		}
		for range waitingAt {
			if err := srv.destination(ctx, b.r.url+"/retried", waitingType); err != nil {
				return err
			}
		}
		t := transport()
		defer t.CloseIdleConnections()
		body := []byte(`{"type":"` + waitingType + `","data":{"object":` + object(s.size) + `}}`)
		if err := post(ctx, t, srv.url+"/v2/core/events", testKey, body); err != nil {
			return err
		}
		b.settle(ctx)
		return nil
	})
}

// settle waits until nothing has been delivered for a while.
func (b *sharedDatabase) settle(ctx context.Context) {
	for last := int64(-1); ctx.Err() == nil; {
		now := b.r.received.Load() + b.r.retried.Load()
		if now == last {
			return
		}
		last = now
		pause(ctx, 500*time.Millisecond)
	}
}

// awaitRetries returns when the last retry arrived: all of them have, or none
// has for a while.
func (b *sharedDatabase) awaitRetries(ctx context.Context) time.Time {
	last, at := b.r.retried.Load(), time.Now()
	for last < int64(b.s.retries) && time.Since(at) < 10*time.Second && ctx.Err() == nil {
		pause(ctx, 10*time.Millisecond)
		if now := b.r.retried.Load(); now != last {
			last, at = now, time.Now()
		}
	}
	return at
}

// seed copies the event that was published, a hundred for each millisecond of
// the time before, and writes a failed try for each copy. The copies have ids
// of their own, and one route each.
func (b *sharedDatabase) seed(ctx context.Context, s settings) error {
	start := time.Now()
	conn, err := pgx.Connect(ctx, s.database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to write
	subs, err := waitingSubscriptions(ctx, conn)
	if err != nil {
		return err
	}
	routes := make([][]byte, len(subs))
	for i, sub := range subs {
		routes[i] = event.AppendRoutes(nil, []event.Route{{Subscription: sub}})
	}
	if _, err := conn.Exec(ctx, `WITH model AS (SELECT * FROM events WHERE type = $1),
			copies AS (SELECT i, (((seq >> 21) - 1 - $2 / 100 + i / 100) << 21) | (seq & (255 << 13)) | (i % 100) AS seq FROM model, generate_series(0, $2::bigint - 1) AS i)
		INSERT INTO events (scope, seq, created, bus, cut, kind, hops, type, object_id, routes, payload)
		SELECT scope, copies.seq, created, bus, cut, kind, hops, type, object_id, ($3::bytea[])[1 + i % $4],
			overlay(payload PLACING convert_to(lpad(i::text, 11, '0'), 'UTF8') FROM position('evt_'::bytea IN payload) + 4)
		FROM copies, model`, waitingType, s.retries, routes, len(routes)); err != nil {
		return fmt.Errorf("seed events: %w", err)
	}
	if _, err := conn.Exec(ctx, `INSERT INTO attempts (scope, seq, sub, run, started, first_byte, total, next_at, n, status, outcome, class)
		SELECT scope, seq, ($2::bigint[])[1 + (seq & 8191) % $3], 0, created, 1500, 1600, created, 1, 500, 2, 'http_5xx'
		FROM events WHERE type = $1 AND seq < (SELECT max(seq) FROM events WHERE type = $1)`, waitingType, subs, len(subs)); err != nil {
		return fmt.Errorf("seed attempts: %w", err)
	}
	if _, err := conn.Exec(ctx, "ANALYZE events, attempts"); err != nil {
		return fmt.Errorf("analyze what was seeded: %w", err)
	}
	if err := b.reschedule(ctx, s, waitingAt, time.Now().Add(24*time.Hour)); err != nil {
		return err
	}
	fmt.Printf("%d retries seeded in %.0f s\n", s.retries, time.Since(start).Seconds())
	return nil
}

// waitingSubscriptions are the numbers of the destinations that retries wait
// for.
func waitingSubscriptions(ctx context.Context, conn *pgx.Conn) ([]int64, error) {
	rows, err := conn.Query(ctx, "SELECT number FROM destinations ORDER BY number DESC LIMIT $1", waitingAt)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// reschedule makes all retries due at a time, at a number of destinations.
func (b *sharedDatabase) reschedule(ctx context.Context, s settings, destinations int, due time.Time) error {
	conn, err := pgx.Connect(ctx, s.database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to write
	subs, err := waitingSubscriptions(ctx, conn)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "TRUNCATE retries"); err != nil {
		return fmt.Errorf("remove retries: %w", err)
	}
	if _, err := conn.Exec(ctx, `INSERT INTO retries (scope, seq, sub, run, next_at, n, lane)
		SELECT scope, seq, ($1::bigint[])[1 + (seq & 8191) % $2], 0, $3, 1, (seq >> 13) & 255 FROM attempts WHERE outcome = 2`,
		subs, destinations, due.UnixMilli()); err != nil {
		return fmt.Errorf("seed retries: %w", err)
	}
	for _, statement := range []string{"VACUUM (ANALYZE) retries", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("tidy up retries: %w", err)
		}
	}
	return nil
}

// noneDue compares a database with retries that are due tomorrow with one that
// has none. It returns the rate of single publishes beside them.
func (b *sharedDatabase) noneDue(ctx context.Context, empty settings, emptyDir string, full settings, fullDir string) (single float64, err error) {
	var peak int64
	for _, batch := range []int{100, 1} {
		on := func(s settings, dir string) func() (measured, error) {
			return func() (m measured, err error) {
				err = running(ctx, s, dir, func(srv *server) error {
					m = publishRate(ctx, s, b.r, batch, srv)
					b.settle(ctx)
					if dir == fullDir {
						peak = max(peak, srv.peakRSS())
					}
					return nil
				})
				return m, err
			}
		}
		medians, err := inTurn(b.s.rounds, on(empty, emptyDir), on(full, fullDir))
		if err != nil {
			return 0, err
		}
		b.compare(fmt.Sprintf("fresh batches of %d", batch), fmt.Sprintf("%d retries", b.s.retries), "no retries", medians[1], medians[0], 0.95)
		single = medians[1].rate
	}
	b.rep.bound("peak RSS with retries that are not due", fmt.Sprintf("%.0f MB", float64(peak)/1e6), float64(peak)/1e6, nodeMemory, "MB")
	return single, nil
}

// allDue offers fresh events at a rate, without and beside retries that are
// due, and then waits until all of those were sent.
func (b *sharedDatabase) allDue(ctx context.Context, s settings, dir string, destinations int, offer float64) error {
	var without, beside measuredAt
	if err := b.reschedule(ctx, s, destinations, time.Now().Add(24*time.Hour)); err != nil {
		return err
	}
	if err := running(ctx, s, dir, func(srv *server) error {
		without = offered(ctx, s, b.r, srv, offer, s.window)
		return nil
	}); err != nil {
		return err
	}
	if err := b.reschedule(ctx, s, destinations, time.Now()); err != nil {
		return err
	}
	b.r.retried.Store(0)
	return running(ctx, s, dir, func(srv *server) error {
		start := time.Now()
		beside = offered(ctx, s, b.r, srv, offer, s.window)
		during, took := b.r.retried.Load(), time.Since(start)
		start = time.Now()
		last := b.awaitRetries(ctx)
		after, rest := b.r.retried.Load()-during, last.Sub(start)

		ratio := beside.rate / without.rate
		what := fmt.Sprintf("%d retries at %d destinations", s.retries, destinations)
		b.rep.add("fresh at half the maximum, none due", without.String(), "")
		b.rep.add("fresh at half the maximum, "+what+" due", beside.String(),
			fmt.Sprintf("rate %.2f of none due (at least 0.95: %s), p99 %.1fx", ratio, verdict(ratio >= 0.95), beside.p99/without.p99))
		alone := float64(after) / rest.Seconds()
		b.rep.add("retries delivered beside that load", fmt.Sprintf("%.0f/s", float64(during)/took.Seconds()), "")
		b.rep.add("retries delivered with nothing else to do", fmt.Sprintf("%.0f/s, %d of %d in all", alone, during+after, s.retries),
			fmt.Sprintf("at least 20000/s: %s", verdict(alone >= 20_000)))
		peak := float64(srv.peakRSS()) / 1e6
		b.rep.bound("peak RSS meanwhile", fmt.Sprintf("%.0f MB", peak), peak, nodeMemory, "MB")
		return nil
	})
}
