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
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/waybill-dev/waybill/internal/store"
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
	mu    sync.Mutex // held while the writing connection is used
	write *sql.Conn
	stmts statements

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
	if !o.Foreign {
		if err := migrate(ctx, db.writePool); err != nil {
			return err
		}
	}
	var err error
	if db.write, err = db.writePool.Conn(ctx); err != nil {
		return fmt.Errorf("open store: %w", classify(err))
	}
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
	return db.stmts.prepare(ctx, db.write)
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

func migrate(ctx context.Context, pool *sql.DB) error {
	p, err := newMigrator(pool)
	if err != nil {
		return fmt.Errorf("migrate store: %w", classify(err))
	}
	if _, err := p.Up(ctx); err != nil {
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
	db.stmts.close()
	if db.write != nil {
		errs = append(errs, db.write.Close())
	}
	errs = append(errs, db.writePool.Close())
	return errors.Join(errs...)
}

// Ping reads from the file.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	if err := db.read.QueryRowContext(ctx, "SELECT one FROM installation").Scan(&one); err != nil {
		return fmt.Errorf("ping store: %w", classify(err))
	}
	return nil
}

// tx runs fn inside a writing transaction. The caller cannot cancel it: it is
// short, and one that is cut off by a caller who went away would only have to
// be undone.
func (db *DB) tx(ctx context.Context, fn func(ctx context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	db.mu.Lock()
	defer db.mu.Unlock()
	if _, err := db.stmts.begin.ExecContext(ctx); err != nil {
		return classify(err)
	}
	err := fn(ctx)
	if err == nil {
		if _, err = db.stmts.commit.ExecContext(ctx); err == nil {
			return nil
		}
	}
	// SQLite has rolled back by itself after some errors; then this fails and
	// there is nothing left to undo.
	_, _ = db.stmts.rollback.ExecContext(ctx)
	return classify(err)
}

// querier is a connection pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// view runs fn on one snapshot of the database. A snapshot that is held long
// keeps the write-ahead log from starting over: fn must be short.
func (db *DB) view(ctx context.Context, fn func(q querier) error) error {
	tx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err == nil {
		err = fn(tx)
		_ = tx.Rollback()
	}
	return ended(ctx, err)
}

// ended classifies the error of a read. A read that was cut off fails in
// several ways; the caller hears of the one reason.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
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

func millis(t time.Time) int64 {
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

// placeholders returns n comma-separated groups of k question marks each.
func placeholders(n, k int) string {
	group := "(" + strings.TrimSuffix(strings.Repeat("?,", k), ",") + ")"
	return strings.TrimSuffix(strings.Repeat(group+",", n), ",")
}
