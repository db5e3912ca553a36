package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

const dueQuery = "SELECT " + sqlstore.DueColumns + ` FROM retries r JOIN events e ON e.seq = r.seq
	WHERE r.sub = ? AND r.next_at <= ? AND (r.next_at, r.seq) >= (?, ?) `

const (
	byTime    = "ORDER BY r.next_at, r.seq LIMIT ?"
	firstOnly = "AND NOT EXISTS (SELECT 1 FROM retries o WHERE o.sub = r.sub AND o.grp = r.grp AND o.grp <> 0 AND o.seq < r.seq) "
	// The first of a group, if it is due.
	groupQuery = "SELECT " + sqlstore.DueColumns + ` FROM (
			SELECT * FROM retries WHERE sub = ? AND grp = ? AND grp <> 0 ORDER BY seq LIMIT 1
		) AS r JOIN events e ON e.seq = r.seq WHERE r.next_at <= ?`
)

// DueRetries returns a subscription's due deliveries, earliest first.
func (db *DB) DueRetries(ctx context.Context, p store.DueParams) ([]store.DueRetry, error) {
	if p.Group != 0 {
		return db.QueryDue(ctx, p, groupQuery, p.Subscription, p.Group, sqlstore.Millis(p.Before))
	}
	query := dueQuery + byTime
	if p.Ordered {
		query = dueQuery + firstOnly + byTime
	}
	return db.QueryDue(ctx, p, query, p.Subscription, sqlstore.Millis(p.Before), sqlstore.Millis(p.After), int64(p.AfterSeq), p.Limit)
}

// NextRetry looks past what is due.
func (db *DB) NextRetry(ctx context.Context, subscription int64, after time.Time) (time.Time, error) {
	next, err := db.QueryTime(ctx, "SELECT min(next_at) FROM retries WHERE sub = ? AND next_at > ?", subscription, sqlstore.Millis(after))
	if err != nil {
		return time.Time{}, fmt.Errorf("read next retry: %w", err)
	}
	return next, nil
}

// CountDue counts what is due.
func (db *DB) CountDue(ctx context.Context, subscription int64, before time.Time, limit int) (int, error) {
	return db.QueryCount(ctx, "SELECT count(*) FROM (SELECT 1 FROM retries WHERE sub = ? AND next_at <= ? LIMIT ?) AS due",
		subscription, sqlstore.Millis(before), limit)
}

// WaitingSubscriptions sums up the retry table by subscription.
func (db *DB) WaitingSubscriptions(ctx context.Context) ([]store.Waiting, error) {
	return db.QueryWaiting(ctx, "SELECT sub, count(*), min(next_at) FROM retries GROUP BY sub")
}

// Now is this machine's time: nobody else has another.
func (db *DB) Now() time.Time { return time.Now() }

// Tend has nothing to renew: the data folder's lock keeps others out.
func (db *DB) Tend(ctx context.Context) (store.Tenure, error) {
	t := store.Tenure{Leader: true, Nodes: 1}
	if err := db.read.QueryRowContext(ctx, configVersion).Scan(&t.ConfigVersion); err != nil {
		return store.Tenure{}, fmt.Errorf("read configuration: %w", classify(err))
	}
	return t, nil
}

// Hints yields nothing: Tend finds the rare change from outside.
func (db *DB) Hints() <-chan struct{} { return nil }

// Resolve is not called: a commit in a file always tells how it ended.
func (db *DB) Resolve(_ context.Context, b *store.Batch) (committed bool, epoch int64, err error) {
	return false, b.Epoch, nil
}

// ReleaseLanes has nobody to release the lane to.
func (db *DB) ReleaseLanes(context.Context) error { return nil }
