package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// Backup copies the database at path, which a server may be writing to, as it
// is at one moment. What is at to must be an empty file; whoever made it said
// who may read it, and removes it after an error.
//
// The copy holds a snapshot, so the write-ahead log grows meanwhile by what is
// written.
func Backup(ctx context.Context, path, to string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	pool, err := sql.Open("sqlite", dsn(path, "deferred", "busy_timeout(10000)", "cache_size(-8192)"))
	if err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	defer pool.Close() //nolint:errcheck // it was only read
	if err := (&DB{writePool: pool}).identify(ctx, Options{Path: path, Foreign: true}); err != nil {
		return fmt.Errorf("back up store: %w", classify(err))
	}
	if _, err := pool.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fmt.Errorf("back up store: %w", classify(err))
	}
	return nil
}

// Inspect reads a database file that nobody uses from end to end, and returns
// the fingerprint of the encryption key it was made with. The error says what
// keeps it from being served: it is damaged, not ours, or of a newer release.
func Inspect(ctx context.Context, path string) (fingerprint string, err error) {
	pool, err := sql.Open("sqlite", dsn(path, "deferred", "busy_timeout(10000)"))
	if err != nil {
		return "", fmt.Errorf("inspect store: %w", err)
	}
	defer func() {
		if closed := pool.Close(); err == nil {
			err = closed
		}
	}()
	if err := (&DB{writePool: pool}).identify(ctx, Options{Path: path, Foreign: true}); err != nil {
		return "", fmt.Errorf("inspect store: %w", classify(err))
	}
	var verdict string
	if err := pool.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return "", fmt.Errorf("inspect store: %w", classify(err))
	}
	if verdict != "ok" {
		return "", fmt.Errorf("inspect store: the file is damaged: %s", verdict)
	}
	p, err := newMigrator(pool)
	if err == nil {
		err = sqlstore.Migrate(ctx, p, false)
	}
	if err == nil {
		err = pool.QueryRowContext(ctx, "SELECT key_fingerprint FROM installation").Scan(&fingerprint)
	}
	if err != nil {
		return "", fmt.Errorf("inspect store: %w", classify(err))
	}
	return fingerprint, nil
}
