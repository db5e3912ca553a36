package app

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/netguard"
)

// Inspection is what can be seen of an installation's store without changing
// it.
type Inspection struct {
	Where      string // path, or URL without the password
	Size       int64  // bytes
	Migrations []Migration
	// Key is what is wrong with the encryption key, nil if it is there and the
	// one the database was made with. Keyless: the database has none yet.
	Key     error
	Keyless bool
	// Retries wait in the retry table; Overdue is for how long the first of
	// them has been due, 0 if none is.
	Retries int
	Overdue time.Duration
	// Ahead is how far the database's clock is ahead of this machine's.
	Ahead time.Duration

	Folder   *Folder   // of the embedded store
	Postgres *Postgres // the server that nodes share
}

// Folder is where an embedded store lies.
type Folder struct {
	Writable error // why it is not
	Free     int64 // bytes to be had on its disk, -1 if that is not known
	Max      int64 // what the store may grow to, 0 is unbounded
}

// Postgres is what a PostgreSQL server says of itself.
type Postgres struct {
	Version  int               // 150004 is 15.4
	Settings map[string]string // of inspectedSettings
	Standby  bool
	// Connections are open, of those that MaxConnections allows.
	Connections, MaxConnections int
	Nodes                       []Node
}

// Node is who owns lanes of a database.
type Node struct {
	Name string
	// Silent is for how long its lease has been over, 0 or less while it holds.
	Silent time.Duration
	Lanes  int
}

var inspectedSettings = []string{"fsync", "full_page_writes", "synchronous_commit"}

// HasStore tells whether a configuration leads to a store: to a PostgreSQL, or a
// folder that has a database.
func HasStore(cfg config.Config) bool {
	if cfg.Database != "" {
		return true
	}
	_, err := os.Stat(databasePath(cfg))
	return !errors.Is(err, os.ErrNotExist)
}

// Inspect looks at the store beside servers that may be running. It neither
// creates nor migrates anything; what a server that was killed left in SQLite's
// write-ahead log is recovered, as by whoever opens it first. With an error it
// returns what it had found by then.
func Inspect(ctx context.Context, cfg config.Config) (*Inspection, error) {
	i := &Inspection{Where: databasePath(cfg)}
	if cfg.Database != "" {
		u, err := url.Parse(string(cfg.Database))
		if err != nil { // whose text may hold the password
			return i, errURL
		}
		i.Where = u.Redacted()
		if err := i.askPostgres(ctx, string(cfg.Database)); err != nil {
			return i, err
		}
	} else if err := i.lookAtFolder(cfg); err != nil {
		return i, err
	}
	return i, i.lookAtStore(ctx, cfg)
}

func (i *Inspection) lookAtFolder(cfg config.Config) error {
	for _, suffix := range databaseFiles {
		info, err := os.Stat(i.Where + suffix)
		switch {
		case err == nil:
			i.Size += info.Size()
		case suffix == "" || !errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("open store: %w", err)
		}
	}
	i.Folder = &Folder{Max: cfg.MaxStoreSize, Writable: errors.Join(writable(cfg.Data), writable(i.Where)), Free: freeBytes(cfg.Data)}
	return nil
}

func (i *Inspection) lookAtStore(ctx context.Context, cfg config.Config) (err error) {
	db, err := openForeign(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if i.Migrations, err = migrations(ctx, db); err != nil {
		return err
	}
	i.Ahead = time.Until(db.Now())
	recorded, err := db.BindKey(ctx, "")
	if err != nil {
		return fmt.Errorf("check encryption key: %w", err)
	}
	if i.Keyless = recorded == ""; !i.Keyless {
		if key, err := existingKey(cfg); err != nil {
			i.Key = err
		} else {
			i.Key = bindKey(ctx, db, key)
		}
	}
	waiting, err := db.WaitingSubscriptions(ctx)
	if err != nil {
		return fmt.Errorf("read backlog: %w", err)
	}
	for _, w := range waiting {
		i.Retries += w.Count
		i.Overdue = max(i.Overdue, db.Now().Sub(w.First))
	}
	return nil
}

// KeyFile is where the key file of a configuration is; "" if the key is in the
// configuration itself.
func KeyFile(cfg config.Config) string {
	if cfg.EncryptionKey != "" {
		return ""
	}
	return filepath.Join(cfg.Data, "encryption.key")
}

var errURL = errors.New("open store: the database's URL is not understood")

// errEmptyDatabase is a PostgreSQL that no server has been at.
var errEmptyDatabase = errors.New("the database holds nothing of waybill yet: start `waybill serve`, or name the right one with WAYBILL_DATABASE")

// askPostgres reads what the store's own driver has no verb for, in a
// transaction that can only read.
func (i *Inspection) askPostgres(ctx context.Context, target string) (err error) {
	cfg, err := pgx.ParseConfig(target)
	if err != nil { // whose text may hold the password
		return errURL
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cfg.ConnectTimeout = 5 * time.Second
	pool := stdlib.OpenDB(*cfg)
	defer func() { err = errors.Join(err, pool.Close()) }()
	tx, err := pool.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer tx.Rollback() // it only read
	p := &Postgres{Settings: map[string]string{}}
	var there bool
	if err := tx.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), pg_database_size(current_database()),
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), current_setting('max_connections')::int, to_regclass('lanes') IS NOT NULL`).
		Scan(&p.Version, &p.Standby, &i.Size, &p.Connections, &p.MaxConnections, &there); err != nil {
		return fmt.Errorf("inspect PostgreSQL: %w", err)
	}
	if !there {
		return errEmptyDatabase
	}
	for _, name := range inspectedSettings {
		var value string
		if err := tx.QueryRowContext(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return fmt.Errorf("read setting %s: %w", name, err)
		}
		p.Settings[name] = value
	}
	if p.Nodes, err = nodes(ctx, tx); err != nil {
		return fmt.Errorf("read lanes: %w", err)
	}
	i.Postgres = p
	return nil
}

// nodes lists who owns lanes; lanes that nobody owns are one without a name.
func nodes(ctx context.Context, tx *sql.Tx) ([]Node, error) {
	rows, err := tx.QueryContext(ctx, `SELECT owner, count(*),
		CASE WHEN owner = '' THEN 0 ELSE extract(epoch FROM clock_timestamp() - max(lease_until))::float8 END FROM lanes GROUP BY owner ORDER BY owner`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Node
	for rows.Next() {
		var n Node
		var silent float64
		if err := rows.Scan(&n.Name, &n.Lanes, &silent); err != nil {
			return nil, err
		}
		n.Name, _, _ = strings.Cut(n.Name, "/") // without the process
		n.Silent = time.Duration(silent * float64(time.Second))
		list = append(list, n)
	}
	return list, rows.Err()
}

// endpointTimeout is how long reaching a destination may take.
const endpointTimeout = 5 * time.Second

// ReachEndpoint connects to where a webhook's URL leads, as a delivery would,
// and sends nothing. For HTTPS it returns when the first of its certificates
// expires.
func ReachEndpoint(ctx context.Context, cfg config.Config, target string) (expires time.Time, err error) {
	allow, err := netguard.ParseAllow(cfg.AllowNetwork)
	if err != nil {
		return expires, fmt.Errorf("allow_network: %w", err)
	}
	guard := netguard.Policy{AllowPrivate: cfg.Dev, Allow: allow}
	u, err := guard.CheckURL(target)
	if err != nil {
		return expires, err
	}
	ctx, cancel := context.WithTimeout(ctx, endpointTimeout)
	defer cancel()
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), u.Scheme) // the names of the ports
	}
	if u.Scheme == "http" {
		conn, err := guard.Dialer(endpointTimeout).DialContext(ctx, "tcp", address)
		if err != nil {
			return expires, err
		}
		return expires, conn.Close()
	}
	dialer := tls.Dialer{NetDialer: guard.Dialer(endpointTimeout), Config: &tls.Config{MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return expires, err
	}
	for _, certificate := range conn.(*tls.Conn).ConnectionState().PeerCertificates { //nolint:forcetypeassert // tls.Dialer has no others
		if expires.IsZero() || certificate.NotAfter.Before(expires) {
			expires = certificate.NotAfter
		}
	}
	return expires, conn.Close()
}
