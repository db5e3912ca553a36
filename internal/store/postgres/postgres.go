// Package postgres is the store for many nodes: one PostgreSQL that all of
// them share. Events are written by the batch, in one round trip; see Commit.
//
// # Who owns what
//
// Each process owns a lane under a lease in the database's time, and with it
// the retry rows of that lane. A lane whose lease ran out is taken over by
// whoever sees it first: its epoch is raised, so that its former owner's next
// commit fails, and what was undone is put into the retry table. Nothing else
// is claimed row by row.
//
// # When things fail
//
// While PostgreSQL cannot be reached every verb fails with
// store.ErrUnavailable, and works again by itself afterwards. Nobody takes
// over anything until it has been reachable for as long as a lease, as
// everybody's lease has run out by then. A commit whose answer was lost is
// store.ErrUnknown, and Resolve finds out.
package postgres

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of a connection to the database.
type Options struct {
	// URL as libpq has it: postgres://user:password@host:5432/database.
	URL string
	// Node names this process, the same at each start. A process that starts
	// under a name takes back what the last one of that name owned.
	Node string
	// Lease is how long a process can be silent before its work is given to
	// others; 15 s.
	Lease time.Duration
	// Clock is this machine's; time.Now.
	Clock func() time.Time
	// MaxConns bounds the connections, beside those that commit and renew
	// leases; 16.
	MaxConns int
	// Foreign opens a database that others serve, for configuration changes
	// alone: it never migrates.
	Foreign bool
}

const (
	defaultLease = 15 * time.Second
	// leastCommit is what a batch may take at least; see commitTimeout.
	leastCommit = 5 * time.Second
	// timeout is how long any other transaction may take.
	timeout = 30 * time.Second
	// dialTimeout is how long connecting may take.
	dialTimeout = 5 * time.Second
	// retryConnect is how long a start waits before it tries again.
	retryConnect = 500 * time.Millisecond
)

// commitTimeout is how long a batch may take: a third of the lease, as who
// cannot commit for longer may have been taken for gone. Publishers wait for two
// batches at most.
func (db *DB) commitTimeout() time.Duration { return max(db.o.Lease/3, leastCommit) }

// DB is an open database. It implements store.Store.
type DB struct {
	sqlstore.DB

	o     Options
	owner string // name/process
	pool  *sql.DB
	// commits has the one connection that Commit uses, and one for renewing
	// leases: reads never keep them waiting.
	commits *sql.DB

	offset atomic.Int64 // what the database's clock is ahead of this machine's, ns
	hints  chan struct{}
	listen sync.WaitGroup
	end    context.CancelFunc

	mu     sync.Mutex
	main   int       // the lane that is written, -1 before OpenLane
	epoch  int64     // of the main lane
	lanes  []int     // all that are owned
	steady time.Time // since when every renewal succeeded
	made   time.Time // when partitions were looked after
}

var _ store.Store = (*DB)(nil)

// Open connects, and migrates the database as needed.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.MaxConns == 0 {
		o.MaxConns = 16
	}
	cfg, err := pgx.ParseConfig(o.URL)
	if err != nil { // which may hold the password
		return nil, errURL
	}
	cfg.ConnectTimeout = dialTimeout
	cfg.DialFunc = dial
	for name, value := range map[string]string{
		"application_name": "waybill",
		"timezone":         "UTC",
		// A commit that is acknowledged is on disk, whatever the server's default.
		"synchronous_commit": "on",
		// A process that hangs must not hold its locks for ever.
		"idle_in_transaction_session_timeout": "30000",
		// A plan made while a table was vacuumed empty reads all of it, and is
		// kept when a million rows come. What can have many rows is always
		// asked for by an index. Compiling plans would cost a hundred times
		// what running them does.
		"enable_seqscan": "off",
		"jit":            "off",
	} {
		if _, set := cfg.RuntimeParams[name]; !set || name == "synchronous_commit" && cfg.RuntimeParams[name] == "off" {
			cfg.RuntimeParams[name] = value
		}
	}
	db := &DB{
		o: o, owner: o.Node + "/" + rand.Text()[:12], main: -1, hints: make(chan struct{}, 1),
		pool: stdlib.OpenDB(*cfg), commits: stdlib.OpenDB(*cfg),
	}
	db.pool.SetMaxOpenConns(o.MaxConns + 1) // one of them listens
	db.pool.SetMaxIdleConns(o.MaxConns)
	db.pool.SetConnMaxIdleTime(5 * time.Minute)
	db.commits.SetMaxOpenConns(2)
	db.DB = sqlstore.DB{
		Read: rebound{db.pool}, View: db.view, Tx: db.tx, Lock: lockFor, Share: share, SkipLocked: " FOR UPDATE SKIP LOCKED",
		SettledBelow: "SELECT coalesce(min(watermark), 9223372036854775807) FROM lanes WHERE watermark < last",
		Classify:     classify, Changed: announce, MessageIDs: messageIDs,
		Now: db.Now, LooseAttempts: "attempts_default", LooseEvents: "events_default",
	}
	if err := db.prepare(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

var errURL = errors.New("open store: the database's URL is not understood; it should look like postgres://user:password@host:5432/name")

func (db *DB) prepare(ctx context.Context) error {
	if err := db.connect(ctx); err != nil {
		return fmt.Errorf("open store: connect to PostgreSQL: %w", classify(err))
	}
	if err := migrate(ctx, db.pool, !db.o.Foreign); err != nil {
		return err
	}
	if err := db.readClock(ctx); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if db.o.Foreign {
		return nil
	}
	if err := db.makePartitions(ctx); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	listening, end := context.WithCancel(context.WithoutCancel(ctx))
	db.end = end
	db.listen.Go(func() { db.listenForHints(listening) })
	return nil
}

// connect waits a while for a server that is not there yet: both may be started
// at the same time. What a person has to mend ends it at once.
func (db *DB) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := db.pool.PingContext(ctx)
		var pe *pgconn.PgError
		if err == nil || errors.As(err, &pe) && pe.Code != stateStarting {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryConnect):
		}
	}
}

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

// newMigrator runs migrations in one process at a time.
func newMigrator(pool *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // asks every second, for five minutes
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, pool, files, goose.WithSessionLocker(locker))
}

// Close ends all connections.
func (db *DB) Close() error {
	if db.end != nil {
		db.end()
	}
	db.listen.Wait()
	return errors.Join(db.pool.Close(), db.commits.Close())
}

// Now is the database's time, by this machine's clock and what that is known
// to be off.
func (db *DB) Now() time.Time { return db.o.Clock().Add(time.Duration(db.offset.Load())) }

// noteClock learns the offset from a clock that was read between two moments.
func (db *DB) noteClock(before, after, theirs time.Time) {
	middle := before.Add(after.Sub(before) / 2)
	db.offset.Store(int64(theirs.Sub(middle)))
}

func (db *DB) readClock(ctx context.Context) error {
	before := db.o.Clock()
	var theirs time.Time
	if err := db.pool.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return fmt.Errorf("read the database's clock: %w", classify(err))
	}
	db.noteClock(before, db.o.Clock(), theirs)
	return nil
}

// tx runs fn in a transaction. One that was undone because it met another is
// run again.
func (db *DB) tx(ctx context.Context, fn func(context.Context, sqlstore.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	for {
		err := once(ctx, db.pool, fn)
		if !metAnother(err) {
			return classify(err)
		}
	}
}

func once(ctx context.Context, pool *sql.DB, fn func(context.Context, sqlstore.Conn) error) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(ctx, rebound{tx}); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// view runs fn on one snapshot.
func (db *DB) view(ctx context.Context, fn func(sqlstore.Conn) error) error {
	tx, err := db.pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err == nil {
		err = fn(rebound{tx})
		_ = tx.Rollback()
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

// lockSpace keeps our advisory locks apart from each other's uses.
const lockSpace = 0x5762 << 48 // "Wb"

func lockFor(ctx context.Context, c sqlstore.Conn, what sqlstore.Lock) error {
	_, err := c.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", lockSpace+int64(what))
	return err
}

func share(ctx context.Context, c sqlstore.Conn) error {
	_, err := c.ExecContext(ctx, "SELECT pg_advisory_xact_lock_shared(?)", lockSpace+int64(sqlstore.LockConfig))
	return err
}

func messageIDs(ctx context.Context, c sqlstore.Conn, n int) ([]int64, error) {
	rows, err := c.QueryContext(ctx, "SELECT nextval('message_ids') FROM generate_series(1, ?)", n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ids := make([]int64, 0, n)
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// The states of PostgreSQL's errors that are told apart. WB… are our own.
const (
	stateStale    = "WB001"
	stateFenced   = "WB002"
	stateUnique   = "23505"
	stateStarting = "57P03"
	stateDeadlock = "40P01"
	stateSerial   = "40001"
)

// metAnother says of a transaction's error that another transaction caused it.
func metAnother(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == stateDeadlock || pe.Code == stateSerial)
}

// classify marks what the operator has to mend, not the caller.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code {
		case stateUnique:
			return fmt.Errorf("%w: %w", store.ErrExists, err)
		case stateStale:
			return store.ErrStaleRoutes
		case stateFenced:
			return store.ErrFenced
		}
		switch pe.Code[:2] {
		case "08", // connection
			"25", // read-only: it is a standby now
			"28", // password
			"3D", // no such database
			"53", // no room, too many connections
			"55", // not available
			"57", // shut down, cancelled
			"58", // I/O
			"XX": // damaged
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		return err
	}
	var ne net.Error
	var ce *pgconn.ConnectError
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return err
	case errors.As(err, &ce):
		// Its text names user and database, which are not secret, and no password.
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	case errors.As(err, &ne), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, driver.ErrBadConn), errors.Is(err, net.ErrClosed),
		errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone),
		pgconn.SafeToRetry(err), pgconn.Timeout(err):
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	// A connection that was lost says so in many words.
	if err.Error() == "conn closed" || err.Error() == "unexpected EOF" {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}
