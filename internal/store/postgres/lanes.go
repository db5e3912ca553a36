package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// maxLanes is what a sequence number has room for.
const maxLanes = 256

// lockLanes is taken by who gives out lanes. Queues' locks are their numbers,
// which are positive.
const lockLanes sqlstore.Lock = -1

var errNoLane = errors.New("all 256 lanes are owned: that many nodes are running, or were until a moment ago")

func (db *DB) leaseInterval() string {
	return fmt.Sprintf("%d milliseconds", db.o.Lease.Milliseconds())
}

// OpenLane takes the lane that this node had before, or a free one.
func (db *DB) OpenLane(ctx context.Context) (store.LaneState, error) {
	var state store.LaneState
	err := db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error {
		state = store.LaneState{}
		if err := lockFor(ctx, c, lockLanes); err != nil {
			return err
		}
		// What this node had in an earlier life comes first: it need not wait
		// for that lease to end. A lane in which something waits is better
		// left to Tend, which a released one is too.
		err := c.QueryRowContext(ctx, `SELECT lane FROM lanes
			WHERE starts_with(owner, ?) OR owner = '' AND NOT EXISTS (SELECT 1 FROM retries WHERE retries.lane = lanes.lane)
			ORDER BY owner = '', lane LIMIT 1`, db.o.Node+"/").Scan(&state.Lane)
		if errors.Is(err, sql.ErrNoRows) {
			err = c.QueryRowContext(ctx, `INSERT INTO lanes (lane, owner, epoch, lease_until, watermark, last, batch)
				SELECT n, '', 0, '-infinity', 0, 0, 0 FROM generate_series(0, ?) AS n
				WHERE n NOT IN (SELECT lane FROM lanes) ORDER BY n LIMIT 1 RETURNING lane`, maxLanes-1).Scan(&state.Lane)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return errNoLane
		}
		if err != nil {
			return err
		}
		return c.QueryRowContext(ctx, `UPDATE lanes SET owner = ?, epoch = epoch + 1, lease_until = clock_timestamp() + ?::interval
			WHERE lane = ? RETURNING epoch, watermark, last`, db.owner, db.leaseInterval(), state.Lane).Scan(&state.Epoch, &state.Watermark, &state.Last)
	})
	if err != nil {
		return store.LaneState{}, fmt.Errorf("open lane: %w", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.main, db.epoch, db.lanes, db.steady = state.Lane, state.Epoch, []int{state.Lane}, db.o.Clock()
	return state, nil
}

// owned are the lanes whose retries are this process's to see to.
func (db *DB) owned() []int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.lanes)
}

// Tend renews the leases, reads the configuration's version and the clock, and
// takes over lanes whose owner is gone. The leases of all lanes end together.
func (db *DB) Tend(ctx context.Context) (store.Tenure, error) {
	ctx, cancel := context.WithTimeout(ctx, max(db.o.Lease/2, dialTimeout))
	defer cancel()
	var t store.Tenure
	before := db.o.Clock()
	var after, theirs time.Time
	var renewed []int
	if err := once(ctx, db.commits, func(ctx context.Context, c sqlstore.Conn) error {
		// The leader's row is everybody's: it is skipped while another is at it.
		result, err := c.ExecContext(ctx, `UPDATE leader SET owner = ?, lease_until = clock_timestamp() + ?::interval
			WHERE one IN (SELECT one FROM leader WHERE owner = ? OR lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED)`,
			db.owner, db.leaseInterval(), db.owner)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		t.Leader = n > 0
		if err != nil {
			return err
		}
		if err := c.QueryRowContext(ctx, "SELECT config_version, clock_timestamp(), (SELECT count(DISTINCT owner) FROM lanes WHERE owner <> '' AND lease_until > clock_timestamp()) FROM installation").
			Scan(&t.ConfigVersion, &theirs, &t.Nodes); err != nil {
			return err
		}
		after = db.o.Clock()
		// Last, because the committer waits for this row.
		return sqlstore.Each(ctx, c, func(scan func(...any) error) error {
			var lane int
			err := scan(&lane)
			renewed = append(renewed, lane)
			return err
		}, "UPDATE lanes SET lease_until = clock_timestamp() + ?::interval WHERE owner = ? RETURNING lane", db.leaseInterval(), db.owner)
	}); err != nil {
		db.mu.Lock()
		db.steady = time.Time{}
		db.mu.Unlock()
		return store.Tenure{}, fmt.Errorf("renew lease: %w", classify(err))
	}
	db.noteClock(before, after, theirs)
	t.Until = before.Add(time.Duration(db.offset.Load()) + db.o.Lease)
	db.mu.Lock()
	if db.steady.IsZero() {
		db.steady = before
	}
	steady := after.Sub(db.steady) >= db.o.Lease
	main := db.main
	// One that is news here was taken over by a call whose answer was lost.
	t.Adopted = slices.ContainsFunc(renewed, func(lane int) bool { return !slices.Contains(db.lanes, lane) })
	db.lanes = renewed
	db.mu.Unlock()
	if main >= 0 && !slices.Contains(renewed, main) {
		return t, fmt.Errorf("renew lease: %w", store.ErrFenced)
	}
	var err error
	if main >= 0 {
		var adopted bool
		adopted, err = db.adopt(ctx, main, steady)
		t.Adopted = t.Adopted || adopted
	}
	if err == nil && t.Leader {
		err = db.makePartitionsDaily(ctx)
	}
	return t, err
}

// adopt takes over what nobody sees to. A lease that ran out counts only if
// this process could renew its own for as long: after an outage of the
// database nobody's lease is left, and everybody lives. What was released, and
// what this node had in an earlier life, need not wait; nor what it has taken
// over and not parked, because the answer was lost or parking failed.
func (db *DB) adopt(ctx context.Context, main int, steady bool) (adopted bool, err error) {
	var found []int
	err = sqlstore.Each(ctx, db.Read, func(scan func(...any) error) error {
		var lane int
		err := scan(&lane)
		found = append(found, lane)
		return err
	}, `SELECT lane FROM lanes WHERE lane <> ? AND
		(? AND owner <> '' AND lease_until < clock_timestamp() OR starts_with(owner, ?) AND (owner <> ? OR watermark < last)
			OR owner = '' AND (watermark < last OR EXISTS (SELECT 1 FROM retries WHERE retries.lane = lanes.lane)))`, main, steady, db.o.Node+"/", db.owner)
	if err != nil {
		return false, fmt.Errorf("look for lanes: %w", classify(err))
	}
	for _, lane := range found {
		ok, err := db.takeOver(ctx, lane, steady)
		if err != nil {
			return adopted, fmt.Errorf("take over lane %d: %w", lane, err)
		}
		adopted = adopted || ok
	}
	return adopted, db.giveBack(ctx)
}

// takeOver makes a lane this process's, and what is undone in it due.
func (db *DB) takeOver(ctx context.Context, lane int, steady bool) (taken bool, err error) {
	var state store.LaneState
	if err := db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error {
		state = store.LaneState{Lane: lane}
		err := c.QueryRowContext(ctx, `UPDATE lanes SET owner = ?, epoch = epoch + 1, lease_until = clock_timestamp() + ?::interval
			WHERE lane = ? AND (? AND lease_until < clock_timestamp() OR owner = '' OR starts_with(owner, ?))
			RETURNING epoch, watermark, last`,
			db.owner, db.leaseInterval(), lane, steady, db.o.Node+"/").Scan(&state.Epoch, &state.Watermark, &state.Last)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // another was faster
		}
		taken = err == nil
		return err
	}); err != nil || !taken {
		return false, err
	}
	if err := db.parkUndone(ctx, state); err != nil {
		// Given back, so that the next Tend of whoever begins anew.
		_, _ = db.pool.ExecContext(context.WithoutCancel(ctx), "UPDATE lanes SET owner = '', lease_until = '-infinity' WHERE lane = $1 AND epoch = $2", lane, state.Epoch)
		if errors.Is(err, store.ErrFenced) {
			return false, nil // it is another's by now, which says nothing of the main lane
		}
		return false, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if !slices.Contains(db.lanes, lane) {
		db.lanes = append(db.lanes, lane)
	}
	return true, nil
}

// parkChunk is how many events are looked at in one transaction.
const parkChunk = 1000

// parkUndone writes a retry row for everything above the watermark that is
// undone, and raises the watermark past it.
func (db *DB) parkUndone(ctx context.Context, lane store.LaneState) error {
	for at := lane.Watermark; at < lane.Last; {
		events, err := db.EventsAfter(ctx, store.AfterParams{Lane: lane.Lane, After: at, UpTo: lane.Last, Limit: parkChunk, Skim: true, Undone: true})
		if err != nil {
			return err
		}
		next := lane.Last
		if len(events) == parkChunk {
			next = events[len(events)-1].Seq
		}
		now := db.Now()
		var rows retryRows
		for _, e := range events {
			for _, r := range e.Routes {
				rows.add(&store.Retry{RetryKey: store.RetryKey{Scope: e.Scope, Seq: e.Seq, Subscription: r.Subscription}, Next: now}, lane.Lane)
			}
		}
		if err := db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error {
			result, err := c.ExecContext(ctx, "UPDATE lanes SET watermark = ?, lease_until = clock_timestamp() + ?::interval WHERE lane = ? AND epoch = ?",
				int64(next), db.leaseInterval(), lane.Lane, lane.Epoch)
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil || n == 0 {
				return errors.Join(err, store.ErrFenced)
			}
			if len(rows.scope) == 0 {
				return nil
			}
			_, err = c.ExecContext(ctx, putRetries, rows.args()...)
			return err
		}); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// giveBack releases lanes in which nothing waits any more: a new node can have
// them.
func (db *DB) giveBack(ctx context.Context) error {
	db.mu.Lock()
	main, several := db.main, len(db.lanes) > 1
	db.mu.Unlock()
	if !several {
		return nil
	}
	_, err := db.pool.ExecContext(ctx, `UPDATE lanes SET owner = '', lease_until = '-infinity' WHERE owner = $1 AND lane <> $2 AND watermark >= last
		AND NOT EXISTS (SELECT 1 FROM retries WHERE retries.lane = lanes.lane)`, db.owner, main)
	if err != nil {
		return fmt.Errorf("release lanes: %w", classify(err))
	}
	return nil
}

// ReleaseLanes gives up all lanes and the leadership.
func (db *DB) ReleaseLanes(ctx context.Context) error {
	err := db.tx(ctx, func(ctx context.Context, c sqlstore.Conn) error {
		if _, err := c.ExecContext(ctx, "UPDATE leader SET owner = '', lease_until = '-infinity' WHERE owner = ?", db.owner); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, "UPDATE lanes SET owner = '', epoch = epoch + 1, lease_until = '-infinity' WHERE owner = ?", db.owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lanes: %w", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.main, db.lanes = -1, nil
	return nil
}

// Resolve fences off a commit that may still be under way, and looks whether
// it came through.
func (db *DB) Resolve(ctx context.Context, b *store.Batch) (committed bool, epoch int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, db.commitTimeout())
	defer cancel()
	var batch int64
	err = once(ctx, db.commits, func(ctx context.Context, c sqlstore.Conn) error {
		err := c.QueryRowContext(ctx, "UPDATE lanes SET epoch = epoch + 1 WHERE lane = ? AND owner = ? RETURNING epoch, batch", b.Lane, db.owner).Scan(&epoch, &batch)
		if errors.Is(err, sql.ErrNoRows) {
			return store.ErrFenced
		}
		return err
	})
	if err != nil {
		return false, 0, fmt.Errorf("resolve commit: %w", classify(err))
	}
	return batch == b.Number, epoch, nil
}

// Probe writes to the lane.
func (db *DB) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, db.commitTimeout())
	defer cancel()
	if _, err := db.commits.ExecContext(ctx, "UPDATE lanes SET batch = batch WHERE owner = $1", db.owner); err != nil {
		return fmt.Errorf("probe store: %w", classify(err))
	}
	return nil
}

// DueRetries reads from each lane that is owned.
func (db *DB) DueRetries(ctx context.Context, p store.DueParams) ([]store.DueRetry, error) {
	first := ""
	if p.Ordered {
		first = "AND NOT EXISTS (SELECT 1 FROM retries o WHERE o.sub = retries.sub AND o.grp = retries.grp AND o.grp <> 0 AND (o.turn, o.seq) < (retries.turn, retries.seq))"
	}
	if p.Group != 0 {
		return db.QueryDue(ctx, p, `SELECT `+sqlstore.DueColumns+` FROM (
				SELECT * FROM retries WHERE sub = ? AND grp = ? AND grp <> 0 ORDER BY turn, seq LIMIT 1
			) AS r JOIN events e ON e.scope = r.scope AND e.seq = r.seq WHERE r.next_at <= ? AND r.lane = ANY (?::int[])`,
			p.Subscription, p.Group, sqlstore.Millis(p.Before), db.owned())
	}
	return db.QueryDue(ctx, p, `SELECT `+sqlstore.DueColumns+` FROM (
			SELECT due.* FROM unnest(?::int[]) AS l (lane), LATERAL (
				SELECT scope, seq, run, n, next_at, grp FROM retries
				WHERE retries.lane = l.lane AND sub = ? AND next_at <= ? AND (next_at, seq) >= (?, ?) `+first+` ORDER BY next_at, seq LIMIT ?) AS due
			ORDER BY next_at, seq LIMIT ?
		) AS r JOIN events e ON e.scope = r.scope AND e.seq = r.seq ORDER BY r.next_at, r.seq`,
		db.owned(), p.Subscription, sqlstore.Millis(p.Before), sqlstore.Millis(p.After), int64(p.AfterSeq), p.Limit, p.Limit)
}

// NextRetry looks past what is due.
func (db *DB) NextRetry(ctx context.Context, subscription int64, after time.Time) (time.Time, error) {
	next, err := db.QueryTime(ctx, `SELECT min(next.next_at) FROM unnest(?::int[]) AS l (lane), LATERAL (
			SELECT next_at FROM retries WHERE retries.lane = l.lane AND sub = ? AND next_at > ? ORDER BY next_at LIMIT 1) AS next`,
		db.owned(), subscription, sqlstore.Millis(after))
	if err != nil {
		return time.Time{}, fmt.Errorf("read next retry: %w", err)
	}
	return next, nil
}

// CountDue counts what is due in the lanes that are owned.
func (db *DB) CountDue(ctx context.Context, subscription int64, before time.Time, limit int) (int, error) {
	return db.QueryCount(ctx, `SELECT count(*) FROM (SELECT 1 FROM unnest(?::int[]) AS l (lane), LATERAL (
			SELECT 1 FROM retries WHERE retries.lane = l.lane AND sub = ? AND next_at <= ? LIMIT ?) AS due) AS due`,
		db.owned(), subscription, sqlstore.Millis(before), limit)
}

// WaitingSubscriptions sums up the retries of the lanes that are owned.
func (db *DB) WaitingSubscriptions(ctx context.Context) ([]store.Waiting, error) {
	return db.QueryWaiting(ctx, "SELECT sub, count(*), min(next_at) FROM retries WHERE lane = ANY (?::int[]) GROUP BY sub", db.owned())
}

// Backlog counts what this process sees to.
func (db *DB) Backlog(ctx context.Context) (b store.Backlog, err error) {
	if err = db.Read.QueryRowContext(ctx, "SELECT count(*) FROM retries WHERE lane = ANY (?::int[])", db.owned()).Scan(&b.Retries); err != nil {
		return b, fmt.Errorf("read backlog: %w", classify(err))
	}
	return b, nil
}
