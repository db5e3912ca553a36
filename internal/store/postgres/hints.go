package postgres

import (
	"context"
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// channel is where changes of the configuration are announced. Notifications
// are hints: who misses one finds out by Tend. Events never cause one, as
// NOTIFY takes a lock that all commits share.
const channel = "waybill_config"

func announce(ctx context.Context, c sqlstore.Conn) error {
	_, err := c.ExecContext(ctx, "SELECT pg_notify('"+channel+"', '')")
	return err
}

// Hints yields when the configuration may have changed.
func (db *DB) Hints() <-chan struct{} { return db.hints }

func (db *DB) hint() {
	select {
	case db.hints <- struct{}{}:
	default:
	}
}

// listenForHints holds a connection for it, and gets another when it is lost.
func (db *DB) listenForHints(ctx context.Context) {
	for ctx.Err() == nil {
		if conn, err := db.pool.Conn(ctx); err == nil {
			_ = onConn(conn, func(c *pgx.Conn) error {
				_, err := c.Exec(ctx, "LISTEN "+channel)
				for err == nil {
					db.hint()
					_, err = c.WaitForNotification(ctx)
				}
				_ = c.Close(context.WithoutCancel(ctx))
				return err
			})
			_ = conn.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// onConn calls fn with the driver's own connection, for what database/sql
// cannot say.
func onConn(conn *sql.Conn, fn func(*pgx.Conn) error) error {
	return conn.Raw(func(dc any) error {
		return fn(dc.(*stdlib.Conn).Conn()) //nolint:forcetypeassert // the pool is stdlib's
	})
}
