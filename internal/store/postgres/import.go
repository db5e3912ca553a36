package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Source is another store's database, which nobody changes while it is read.
// Its tables have the names and columns of this one.
type Source interface {
	// Days are those, at midnight UTC, that events and attempts are of.
	Days(ctx context.Context) ([]time.Time, error)
	Count(ctx context.Context, table string) (int64, error)
	// Rows yields integers, texts and blobs.
	Rows(ctx context.Context, table string, columns []string) (*sql.Rows, error)
	// Highest is the highest number ever given out in a table.
	Highest(ctx context.Context, table string) (int64, error)
}

// Progress tells of one table that is being imported.
type Progress struct {
	Table    string
	Rows, Of int64
}

// importedTables, those that others refer to first.
var importedTables = []string{
	"installation", "accounts", "api_keys", "aws_keys", "destinations", "resources", "emptying", "lanes",
	"events", "event_keys", "idempotency", "attempts", "retries", "destination_health", "messages", "message_dedups", "log_entries", "archived", "summaries",
	"objects", "mentions", "audit_log",
}

// numbered are the tables that give out numbers, and what gives them out.
var numbered = map[string]string{
	"accounts":    "pg_get_serial_sequence('accounts', 'number')",
	"messages":    "'message_ids'",
	"log_entries": "pg_get_serial_sequence('log_entries', 'id')",
	"audit_log":   "pg_get_serial_sequence('audit_log', 'number')",
}

// ErrNotEmpty is a database that holds something else already.
var ErrNotEmpty = errors.New("the PostgreSQL database is in use already: name an empty one")

// Import fills an empty database from another store, in one transaction: it
// leaves everything or nothing, and nobody can serve the database meanwhile. A
// database that this source was imported into before, and that was not used
// since, counts as imported.
//
// progress is called about once a second, and at the end of each table.
func Import(ctx context.Context, url string, src Source, progress func(Progress)) (again bool, err error) {
	db, err := Open(ctx, Options{URL: url, Node: "import", MaxConns: 2})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	days, err := src.Days(ctx)
	if err != nil {
		return false, fmt.Errorf("import: %w", err)
	}
	for _, day := range days {
		for _, table := range []string{"events", "attempts"} {
			if err := db.makePartition(ctx, table, day, day.AddDate(0, 0, 1)); err != nil {
				return false, fmt.Errorf("import: make partition: %w", err)
			}
		}
	}
	// A connection of its own: rows take longer than the others may wait.
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return false, fmt.Errorf("import: connect to PostgreSQL: %w", classify(err))
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // what matters was committed
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("import: %w", classify(err))
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after Commit it only says so
	again, err = (&importing{tx: tx, src: src, progress: progress}).run(ctx)
	if err != nil {
		return false, fmt.Errorf("import: %w", classify(err))
	}
	if err := tx.Commit(context.WithoutCancel(ctx)); err != nil {
		return false, fmt.Errorf("import: commit: %w; run it again, to find out whether it took effect", classify(err))
	}
	return again, nil
}

type importing struct {
	tx       pgx.Tx
	src      Source
	progress func(Progress)
}

func (i *importing) run(ctx context.Context) (again bool, err error) {
	for _, statement := range []string{
		"SET LOCAL statement_timeout = 0",
		"SET LOCAL idle_in_transaction_session_timeout = 0",
		"SET LOCAL synchronous_commit = on",
		// Without these nobody can begin to serve.
		"LOCK TABLE installation, accounts, lanes IN ACCESS EXCLUSIVE MODE",
	} {
		if _, err := i.tx.Exec(ctx, statement); err != nil {
			return false, err
		}
	}
	used, err := i.used(ctx)
	if err != nil {
		return false, err
	}
	if used {
		return true, i.same(ctx)
	}
	if _, err := i.tx.Exec(ctx, "DELETE FROM installation"); err != nil {
		return false, err
	}
	for _, table := range importedTables {
		if err := i.copy(ctx, table); err != nil {
			return false, fmt.Errorf("copy %s: %w", table, err)
		}
	}
	for table, sequence := range numbered {
		last, err := i.src.Highest(ctx, table)
		if err != nil {
			return false, err
		}
		if _, err := i.tx.Exec(ctx, "SELECT setval("+sequence+", greatest($1, 1), $1 > 0)", last); err != nil {
			return false, fmt.Errorf("set sequence of %s: %w", table, err)
		}
	}
	if err := i.compare(ctx); err != nil {
		return false, err
	}
	_, err = i.tx.Exec(ctx, "ANALYZE "+strings.Join(importedTables, ", "))
	return false, err
}

// used tells whether anything is there but what the migrations wrote.
func (i *importing) used(ctx context.Context) (used bool, err error) {
	query := "SELECT (SELECT config_version > 1 OR key_fingerprint <> '' FROM installation)"
	for _, table := range importedTables {
		if table != "installation" {
			query += " OR EXISTS (SELECT 1 FROM " + table + ")"
		}
	}
	err = i.tx.QueryRow(ctx, query).Scan(&used)
	return used, err
}

// same returns nil if a database that is used holds what the source does.
func (i *importing) same(ctx context.Context) error {
	var theirs, ours string
	const installation = "SELECT key_fingerprint || '/' || config_version || '/' || next_number FROM installation"
	if err := i.tx.QueryRow(ctx, installation).Scan(&ours); err != nil {
		return err
	}
	rows, err := i.src.Rows(ctx, "installation", []string{"key_fingerprint || '/' || config_version || '/' || next_number"})
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&theirs); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if ours != theirs {
		return ErrNotEmpty
	}
	if err := i.compare(ctx); err != nil {
		return fmt.Errorf("%w (it was filled from this installation before, and used since: %w)", ErrNotEmpty, err)
	}
	return nil
}

// compare counts the rows on both sides.
func (i *importing) compare(ctx context.Context) error {
	for _, table := range importedTables {
		want, err := i.src.Count(ctx, table)
		if err != nil {
			return err
		}
		var got int64
		if err := i.tx.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&got); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s has %d rows there and %d here", table, want, got)
		}
	}
	return nil
}

func (i *importing) copy(ctx context.Context, table string) error {
	of, err := i.src.Count(ctx, table)
	if err != nil {
		return err
	}
	shape, err := i.tx.Prepare(ctx, table, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	columns := make([]string, len(shape.Fields))
	for n := range shape.Fields {
		columns[n] = shape.Fields[n].Name
	}
	rows, err := i.src.Rows(ctx, table, columns)
	if err != nil {
		return err
	}
	defer rows.Close()
	s := &stream{Rows: rows, fields: shape.Fields, at: Progress{Table: table, Of: of}, told: time.Now(), tell: i.progress}
	if _, err := i.tx.CopyFrom(ctx, pgx.Identifier{table}, columns, s); err != nil {
		return err
	}
	i.progress(s.at)
	return rows.Err()
}

// stream gives the rows of the source to COPY.
type stream struct {
	*sql.Rows

	fields []pgconn.FieldDescription
	at     Progress
	told   time.Time
	tell   func(Progress)
}

// Values returns the next row, as pgx encodes it.
func (s *stream) Values() ([]any, error) {
	row, to := make([]any, len(s.fields)), make([]any, len(s.fields))
	for i := range row {
		to[i] = &row[i]
	}
	if err := s.Scan(to...); err != nil {
		return nil, err
	}
	for i := range row {
		row[i] = imported(row[i], s.fields[i].DataTypeOID)
	}
	if s.at.Rows++; s.at.Rows%1024 == 0 && time.Since(s.told) > time.Second {
		s.told = time.Now()
		s.tell(s.at)
	}
	return row, nil
}

// imported is a value of the source as a column of this type takes it.
func imported(v any, oid uint32) any {
	switch v := v.(type) {
	case int64:
		switch oid {
		case pgtype.BoolOID:
			return v != 0
		case pgtype.TimestamptzOID: // of a lease, and none outlives its store
			return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
		}
	case string:
		if oid == pgtype.ByteaOID {
			return []byte(v)
		}
		return clean(v)
	case []byte:
		if oid == pgtype.TextOID {
			return clean(string(v))
		}
		if v == nil { // empty, as NULL has no type
			return []byte{}
		}
	}
	return v
}
