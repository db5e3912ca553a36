package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// lane is the only one: one process at a time writes events.
const lane = 0

var (
	insertEvents   = sqlstore.NewInsert("INSERT INTO events (seq, scope, kind, type, created, object_id, bus, hops, routes, cut, payload)", 11, "")
	insertAttempts = sqlstore.NewInsert("INSERT INTO attempts (seq, sub, run, n, scope, outcome, status, started, first_byte, total, next_at, class, detail)", 13, " ON CONFLICT DO NOTHING")
	insertRetries  = sqlstore.NewInsert("INSERT OR REPLACE INTO retries (scope, seq, sub, run, n, next_at, grp)", 7, "")
	insertKeys     = sqlstore.NewInsert("INSERT INTO event_keys (scope, id, seq, hash)", 4, "")
)

// rows are the values of a batch's rows, by table. Their memory is reused: they
// belong to the holder of the write mutex.
type rows struct{ events, attempts, retries, keys []any }

func (r *rows) reset() {
	for _, table := range []*[]any{&r.events, &r.attempts, &r.retries, &r.keys} {
		clear(*table)
		*table = (*table)[:0]
	}
}

// OpenLane raises the lane's epoch and returns what the new owner finds.
func (db *DB) OpenLane(ctx context.Context) (store.LaneState, error) {
	state := store.LaneState{Lane: lane}
	err := db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error {
		if _, err := c.ExecContext(ctx, `INSERT INTO lanes (lane, owner, epoch, lease_until, watermark) VALUES (?, '', 1, 0, 0)
			ON CONFLICT (lane) DO UPDATE SET epoch = epoch + 1`, lane); err != nil {
			return err
		}
		if err := c.QueryRowContext(ctx, "SELECT epoch, watermark FROM lanes WHERE lane = ?", lane).Scan(&state.Epoch, &state.Watermark); err != nil {
			return err
		}
		return c.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM events").Scan(&state.Last)
	})
	if err != nil {
		return state, fmt.Errorf("open lane: %w", err)
	}
	// Retention may have dropped the newest events; what was given out before
	// the watermark must still not be given out again.
	state.Last = max(state.Last, state.Watermark)
	return state, nil
}

// Commit writes one batch.
func (db *DB) Commit(ctx context.Context, b *store.Batch) error {
	if err := db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error { return db.commitBatch(ctx, c, b) }); err != nil {
		return fmt.Errorf("commit batch: %w", err)
	}
	return nil
}

// probeSize is what Probe writes: more than a small event needs.
const probeSize = 64 << 10

// Probe writes a row and removes it again, in transactions of their own, so
// that the room it found is there for events afterwards.
func (db *DB) Probe(ctx context.Context) error {
	for _, query := range []string{
		"DELETE FROM probe", // one that a killed process left behind
		fmt.Sprintf("INSERT INTO probe (filler) VALUES (zeroblob(%d))", probeSize),
		"DELETE FROM probe",
	} {
		if err := db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error {
			_, err := c.ExecContext(ctx, query)
			return err
		}); err != nil {
			return fmt.Errorf("probe store: %w", err)
		}
	}
	return nil
}

func (db *DB) commitBatch(ctx context.Context, c sqlstore.Conn, b *store.Batch) error {
	r := &db.rows
	defer r.reset()
	if err := checkLane(ctx, c, b); err != nil {
		return err
	}
	if len(b.Submissions) > 0 {
		var version int64
		if err := c.QueryRowContext(ctx, configVersion).Scan(&version); err != nil {
			return err
		}
		if version != b.ConfigVersion {
			return store.ErrStaleRoutes
		}
	}
	for _, sub := range b.Submissions {
		if err := r.addSubmission(ctx, c, sub, b.Now); err != nil {
			return err
		}
	}
	for _, a := range b.Attempts {
		r.attempts = append(r.attempts, int64(a.Seq), a.Subscription, a.Run, a.N, int64(a.Scope), int(a.Outcome), a.Status, sqlstore.Millis(a.Started),
			a.FirstByte.Microseconds(), a.Total.Microseconds(), sqlstore.Millis(a.Next), string(a.Class), sqlstore.AppendDetail(nil, a))
	}
	for i := range b.RetryPut {
		r.addRetry(&b.RetryPut[i])
	}
	for _, table := range []struct {
		into *sqlstore.Insert
		rows []any
	}{{insertEvents, r.events}, {insertKeys, r.keys}, {insertAttempts, r.attempts}, {insertRetries, r.retries}} {
		if err := table.into.Rows(ctx, c, table.rows); err != nil {
			return err
		}
	}
	if len(b.Deposits) > 0 {
		if err := db.Deposit(ctx, c, b.Deposits, b.Now); err != nil {
			return err
		}
	}
	for _, k := range b.RetryDelete {
		if _, err := c.ExecContext(ctx, "DELETE FROM retries WHERE scope = ? AND seq = ? AND sub = ? AND run = ?", int64(k.Scope), int64(k.Seq), k.Subscription, k.Run); err != nil {
			return err
		}
	}
	return nil
}

const configVersion = "SELECT config_version FROM installation"

// checkLane holds off an owner that was succeeded, and stores the watermark if
// it has moved. Nobody else can write meanwhile, so that reading the epoch is
// enough, and most batches leave the lane's page as it is.
func checkLane(ctx context.Context, c sqlstore.Conn, b *store.Batch) error {
	var epoch, watermark int64
	err := c.QueryRowContext(ctx, "SELECT epoch, watermark FROM lanes WHERE lane = ?", b.Lane).Scan(&epoch, &watermark)
	if errors.Is(err, sql.ErrNoRows) || err == nil && epoch != b.Epoch {
		return store.ErrFenced
	}
	if err != nil || int64(b.Watermark) <= watermark {
		return err
	}
	_, err = c.ExecContext(ctx, "UPDATE lanes SET watermark = ? WHERE lane = ?", int64(b.Watermark), b.Lane)
	return err
}

func (r *rows) addRetry(retry *store.Retry) {
	r.retries = append(r.retries, int64(retry.Scope), int64(retry.Seq), retry.Subscription, retry.Run, retry.N, sqlstore.Millis(retry.Next), retry.Group)
}

// addSubmission checks a submission's keys and queues its rows. Idempotency
// records are written at once and queued event keys flushed first, so that a
// repeat within the same batch is seen too.
func (r *rows) addSubmission(ctx context.Context, c sqlstore.Conn, sub *store.Submission, now time.Time) error {
	sub.Err, sub.Replayed, sub.Result, sub.Existing = nil, false, nil, nil
	if sub.Idempotency != nil {
		known, err := sqlstore.FindIdempotent(ctx, c, sub.Idempotency, now)
		if err != nil {
			return err
		}
		if known != nil {
			if known.Hash == sub.Idempotency.Hash {
				sub.Replayed, sub.Result = true, known.Result
			} else {
				sub.Err = store.ErrIdempotencyMismatch
			}
			return nil
		}
	}
	if len(sub.Keys) > 0 {
		if err := insertKeys.Rows(ctx, c, r.keys); err != nil {
			return err
		}
		r.keys = r.keys[:0]
		if err := r.checkEventKeys(ctx, c, sub); err != nil || sub.Err != nil {
			return err
		}
	}
	for i, e := range sub.Events {
		if _, known := sub.Existing[i]; known {
			continue
		}
		r.events = append(r.events, int64(e.Seq), int64(e.Scope), int(e.Kind), e.Type, e.Created.UnixMilli(), e.ObjectID, e.Bus, e.Hops,
			event.AppendRoutes(make([]byte, 0, 4*len(e.Routes)), e.Routes), e.Cut, e.Payload)
		for _, route := range e.Routes {
			if route.Disposition == event.Parked {
				r.addRetry(&store.Retry{RetryKey: store.RetryKey{Scope: e.Scope, Seq: e.Seq, Subscription: route.Subscription}, Next: now, Group: route.Group})
			}
		}
	}
	for i := range sub.Retries {
		r.addRetry(&sub.Retries[i])
	}
	if sub.Idempotency != nil {
		return sqlstore.RecordIdempotency(ctx, c, sub.Idempotency)
	}
	return nil
}

// checkEventKeys finds which of a submission's client-chosen ids are taken,
// and queues the others.
func (r *rows) checkEventKeys(ctx context.Context, c sqlstore.Conn, sub *store.Submission) error {
	sub.Existing = map[int]event.Seq{}
	inThis := make(map[string]*store.EventKey, len(sub.Keys))
	for i := range sub.Keys {
		k := &sub.Keys[i]
		var seq int64
		var hash []byte
		err := c.QueryRowContext(ctx, "SELECT seq, hash FROM event_keys WHERE scope = ? AND id = ?", int64(sub.Events[k.Index].Scope), k.ID).Scan(&seq, &hash)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err != nil { // not in the table; perhaps earlier in this submission
			first, repeated := inThis[k.ID]
			if !repeated {
				inThis[k.ID] = k
				continue
			}
			seq, hash = int64(sub.Events[first.Index].Seq), first.Hash[:]
		}
		if string(hash) != string(k.Hash[:]) {
			sub.Err, sub.Existing = store.ErrEventMismatch, nil
			return nil
		}
		sub.Existing[k.Index] = event.Seq(seq)
		for i := range k.Followers {
			sub.Existing[k.Index+1+i] = 0
		}
	}
	for _, k := range inThis {
		e := sub.Events[k.Index]
		r.keys = append(r.keys, int64(e.Scope), k.ID, int64(e.Seq), append([]byte(nil), k.Hash[:]...))
	}
	return nil
}
