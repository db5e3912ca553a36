package webhook_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"net/http/httptest"

	_ "modernc.org/sqlite"

	"github.com/waybill-dev/waybill/webhook"
)

// SQLSeen remembers events in the transaction that handles them: either all of
// it is committed, or nothing, and then the event is delivered again. Of two
// deliveries at a time, the second waits at its INSERT. Its table:
//
//	CREATE TABLE webhook_seen (
//		id text PRIMARY KEY,
//		at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP -- delete after a week
//	)
type SQLSeen struct {
	db *sql.DB
}

type txKey struct{}

func (s *SQLSeen) Once(ctx context.Context, id string, handle func(context.Context) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	result, err := tx.ExecContext(ctx, `INSERT INTO webhook_seen (id) VALUES ($1) ON CONFLICT DO NOTHING`, id)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 { // 0: it was handled
		return err
	}
	if err := handle(context.WithValue(ctx, txKey{}, tx)); err != nil {
		return err
	}
	return tx.Commit()
}

// Exactly once: what was handled is remembered in the same transaction as what
// handling it did. The SQL is understood by PostgreSQL and by SQLite.
func ExampleSeen() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // in memory, there is nothing to lose
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(schema + `; CREATE TABLE paid (invoice text)`); err != nil {
		log.Fatal(err)
	}
	verifier, err := webhook.NewStripe(secret)
	if err != nil {
		log.Fatal(err)
	}

	hook := webhook.Handler(verifier, func(ctx context.Context, e *webhook.Event) error {
		var invoice struct{ ID string }
		if err := json.Unmarshal(e.Object, &invoice); err != nil {
			return err
		}
		tx := ctx.Value(txKey{}).(*sql.Tx)
		_, err := tx.ExecContext(ctx, `INSERT INTO paid (invoice) VALUES ($1)`, invoice.ID)
		return err
	}, webhook.WithSeen(&SQLSeen{db}))

	for range 2 { // the second is a duplicate
		answer := httptest.NewRecorder()
		hook.ServeHTTP(answer, delivery(snapshot))
		fmt.Println(answer.Code)
	}
	var paid int
	if err := db.QueryRow(`SELECT count(*) FROM paid`).Scan(&paid); err != nil {
		log.Fatal(err)
	}
	fmt.Println("paid:", paid)
	// Output:
	// 200
	// 200
	// paid: 1
}

const schema = `CREATE TABLE webhook_seen (id text PRIMARY KEY, at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)`
