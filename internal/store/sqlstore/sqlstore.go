// Package sqlstore is what the SQL drivers have in common: the read side, and
// the changes of configuration and queues. A driver embeds DB, says how its
// transactions are run, and adds the log.
//
// Queries are written in SQLite's dialect with the few constructs that Rebind
// of package postgres turns into PostgreSQL's: question marks, INDEXED BY,
// json_each over a list of integers, and instr.
//
// Nothing here holds state: what fails has changed nothing, because the
// driver's transaction was rolled back.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

// Conn is a connection, a pool of them or a transaction.
type Conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// DB implements all of store.Store but the log. A driver fills it in.
type DB struct {
	// Read is for reads of one statement.
	Read Conn
	// View runs fn on one snapshot of the database.
	View func(ctx context.Context, fn func(Conn) error) error
	// Tx runs fn inside a writing transaction, and may run it again if it had
	// to be undone. A caller that goes away does not end it.
	Tx func(ctx context.Context, fn func(context.Context, Conn) error) error
	// Lock lets no other transaction do what is named until this one ends.
	Lock func(ctx context.Context, c Conn, what Lock) error
	// Share keeps LockConfig from being taken until the transaction ends.
	Share func(ctx context.Context, c Conn) error
	// SkipLocked ends a query for rows that are about to be changed, so that
	// it passes over those that another transaction is changing.
	SkipLocked string
	// SettledBelow selects the highest sequence number up to which no event of
	// any lane is in an engine's hands.
	SettledBelow string
	// Now is the store's clock.
	Now func() time.Time
	// LooseAttempts and LooseEvents are the tables from which old rows are
	// removed one by one. What lies elsewhere the driver drops by the day.
	LooseAttempts, LooseEvents string
	// Classify marks the errors of the database with those of package store.
	Classify func(error) error
	// Changed is told, inside the transaction, of a change that events are
	// routed by.
	Changed func(ctx context.Context, c Conn) error
	// MessageIDs gives out n rising ids of messages, which nobody else gets.
	MessageIDs func(ctx context.Context, c Conn, n int) ([]int64, error)
}

// Lock names what only one transaction at a time may do: LockConfig, LockHealth,
// or a FIFO queue by its number, which is positive. PostgreSQL's driver has -1
// for its lanes.
type Lock int64

const (
	// LockConfig is held by whoever changes the configuration.
	LockConfig Lock = 0
	// LockHealth is held by whoever notes the health of destinations.
	LockHealth Lock = -2
)

// ended classifies the error of a read. A read that was cut off fails in
// several ways; the caller hears of the one reason.
func (db *DB) ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return db.Classify(err)
}

// absent turns the absence of a row into the store's own error.
func (db *DB) absent(ctx context.Context, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return db.ended(ctx, err)
}

// Ping reads from the database.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	if err := db.Read.QueryRowContext(ctx, "SELECT one FROM installation").Scan(&one); err != nil {
		return fmt.Errorf("ping store: %w", db.ended(ctx, err))
	}
	return nil
}

// Millis is how times are stored: Unix milliseconds, 0 for none.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Blob is for columns that must not be NULL.
func Blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Each calls fn with each row of a query.
func Each(ctx context.Context, c Conn, fn func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := c.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
