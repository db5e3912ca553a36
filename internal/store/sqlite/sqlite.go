// Package sqlite is the embedded store: one SQLite file in WAL mode, fsynced
// at every commit.
//
// There is one writing connection, serialised by a mutex, and a small pool of
// reading ones. The committer's batches and the rare configuration changes
// share the writing connection, so a batch and a change of routes can never
// interleave. Another process may open the same file for configuration
// changes (`waybill accounts create`); the lane's epoch keeps it from
// committing events.
//
// When the disk is full or the file unreadable every verb fails with
// store.ErrUnavailable after rolling back, and works again once the cause is
// gone; nothing needs a restart.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	pageSize = 8192
	// applicationID in the file's header says that waybill made it.
	applicationID = 0x57427631 // "WBv1"
	// 8 MB of WAL between checkpoints kept the worst commit at a few
	// milliseconds; sixteen times that made it ten times worse.
	checkpointPages = 1000
	readers         = 4
)

// Options of a database.
type Options struct {
	Path string
	// MaxSize bounds the file in bytes; 0 is no bound. At the bound the store
	// behaves as on a full disk.
	MaxSize int64
	// Foreign opens a file that another process serves, for configuration
	// changes alone: it never creates or migrates.
	Foreign bool
}

// DB is an open database. It implements store.Store.
type DB struct {
	sqlstore.DB

	mu    sync.Mutex // held while the writing connection is used
	write *cached
	rows  rows

	writePool *sql.DB
	read      *sql.DB
}

var _ store.Store = (*DB)(nil)

// Open opens the file, creating and migrating it as needed.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Foreign {
		if _, err := os.Stat(o.Path); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	writePool, err := sql.Open("sqlite", dsn(o.Path, "immediate",
		fmt.Sprintf("page_size(%d)", pageSize), "busy_timeout(10000)", "synchronous(FULL)",
		"cache_size(-8192)", "foreign_keys(1)", "temp_store(2)", "journal_size_limit(67108864)",
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages)))
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	writePool.SetMaxOpenConns(1)
	db := &DB{writePool: writePool}
	if err := db.prepare(ctx, o); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func (db *DB) prepare(ctx context.Context, o Options) error {
	if err := db.identify(ctx, o); err != nil {
		return fmt.Errorf("open store %s: %w", o.Path, classify(err))
	}
	if err := migrate(ctx, db.writePool, !o.Foreign); err != nil {
		return err
	}
	conn, err := db.writePool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("open store: %w", classify(err))
	}
	db.write = &cached{Conn: conn, stmts: map[string]*sql.Stmt{}}
	if o.MaxSize > 0 {
		var pages int64
		if err := db.write.QueryRowContext(ctx, fmt.Sprintf("PRAGMA max_page_count(%d)", max(o.MaxSize/pageSize, 1))).Scan(&pages); err != nil {
			return fmt.Errorf("limit store: %w", classify(err))
		}
	}
	if db.read, err = sql.Open("sqlite", dsn(o.Path, "deferred", "busy_timeout(10000)", "query_only(1)", "cache_size(-2048)", "temp_store(2)")); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	nothing := func(context.Context, sqlstore.Conn) error { return nil } // there is only one writer
	db.DB = sqlstore.DB{
		Read: db.read, View: db.view, Tx: db.tx, Share: nothing, Changed: nothing,
		Lock:         func(context.Context, sqlstore.Conn, sqlstore.Lock) error { return nil },
		SettledBelow: "SELECT coalesce(min(watermark), 0) FROM lanes",
		Classify:     classify, MessageIDs: messageIDs,
		Now: time.Now, LooseAttempts: "attempts", LooseEvents: "events",
	}
	return nil
}

// messageIDs follow the highest that was ever written. They are given out
// again if the transaction ends without one.
func messageIDs(ctx context.Context, c sqlstore.Conn, n int) ([]int64, error) {
	var last int64
	if err := c.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'").Scan(&last); err != nil {
		return nil, err
	}
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = last + int64(i) + 1
	}
	return ids, nil
}

// identify makes sure that the file is waybill's before anything is written
// to it, and marks a new one. The journal mode is set only then: it stays in
// the file.
func (db *DB) identify(ctx context.Context, o Options) error {
	var tables, id, size int64
	for query, to := range map[string]*int64{
		"SELECT count(*) FROM sqlite_schema": &tables,
		"PRAGMA application_id":              &id,
		"PRAGMA page_size":                   &size,
	} {
		if err := db.writePool.QueryRowContext(ctx, query).Scan(to); err != nil {
			return err
		}
	}
	switch {
	case id == 0 && tables == 0 && !o.Foreign:
		if _, err := db.writePool.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	case id == movedID:
		return errMoved
	case id != applicationID:
		return errNotOurs
	}
	if size != pageSize {
		return fmt.Errorf("its pages have %d bytes instead of %d: restore it with sqlite3's .backup, which keeps the page size", size, pageSize)
	}
	_, err := db.writePool.ExecContext(ctx, "PRAGMA journal_mode = WAL")
	return err
}

var errNotOurs = errors.New("not a waybill database; choose another path")

func migrate(ctx context.Context, pool *sql.DB, up bool) error {
	p, err := newMigrator(pool)
	if err == nil {
		err = sqlstore.Migrate(ctx, p, up)
	}
	if err != nil {
		return fmt.Errorf("migrate store: %w", classify(err))
	}
	return nil
}

func newMigrator(pool *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, pool, files)
}

func dsn(path, lock string, pragmas ...string) string {
	q := url.Values{"_txlock": {lock}, "_pragma": pragmas}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// Close checkpoints and closes the file.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	var errs []error
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	if db.write != nil {
		errs = append(errs, db.write.Close())
	}
	errs = append(errs, db.writePool.Close())
	return errors.Join(errs...)
}

// tx runs fn inside a writing transaction. The caller cannot cancel it: it is
// short, and one that is cut off by a caller who went away would only have to
// be undone.
func (db *DB) tx(ctx context.Context, fn func(ctx context.Context, c sqlstore.Conn) error) error {
	ctx = context.WithoutCancel(ctx)
	db.mu.Lock()
	defer db.mu.Unlock()
	if _, err := db.write.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return classify(err)
	}
	err := fn(ctx, db.write)
	if err == nil {
		if _, err = db.write.ExecContext(ctx, "COMMIT"); err == nil {
			return nil
		}
	}
	// SQLite has rolled back by itself after some errors; then this fails and
	// there is nothing left to undo.
	_, _ = db.write.ExecContext(ctx, "ROLLBACK")
	return classify(err)
}

// view runs fn on one snapshot of the database. A snapshot that is held long
// keeps the write-ahead log from starting over: fn must be short.
func (db *DB) view(ctx context.Context, fn func(sqlstore.Conn) error) error {
	tx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err == nil {
		err = fn(tx)
		_ = tx.Rollback()
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

// cached prepares each statement once. What is written is always written by
// the same few.
type cached struct {
	*sql.Conn

	stmts map[string]*sql.Stmt
}

func (c *cached) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if known := c.stmts[query]; known != nil {
		return known, nil
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err == nil {
		c.stmts[query] = stmt
	}
	return stmt, err
}

// ExecContext is that of the connection.
func (c *cached) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := c.prepare(ctx, query) //nolint:sqlclosecheck // Close does
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// QueryContext is that of the connection.
func (c *cached) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := c.prepare(ctx, query) //nolint:sqlclosecheck // Close does
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// QueryRowContext is that of the connection.
func (c *cached) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := c.prepare(ctx, query) //nolint:sqlclosecheck // Close does
	if err != nil {
		return c.Conn.QueryRowContext(ctx, query, args...) // which says what is wrong
	}
	return stmt.QueryRowContext(ctx, args...)
}

// Close closes the statements and the connection.
func (c *cached) Close() error {
	for _, stmt := range c.stmts {
		_ = stmt.Close()
	}
	return c.Conn.Close()
}

// classify marks what the operator has to mend, not the caller.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var se *driver.Error
	if !errors.As(err, &se) {
		if errors.Is(err, sql.ErrConnDone) || errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		return err
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM,
		sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	case sqlite3.SQLITE_CONSTRAINT:
		return fmt.Errorf("%w: %w", store.ErrExists, err)
	}
	return err
}
