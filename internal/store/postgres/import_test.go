package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// installation makes an embedded store with rows in each table, and among them
// what PostgreSQL cannot keep as it is.
func installation(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "waybill.db")
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	pool := source(t, path)
	first := event.SeqAt(time.Date(2024, 2, 28, 23, 0, 0, 0, time.UTC))
	at := func(n int) int64 { return int64(first + event.SeqAt(time.UnixMilli(int64(n)*3_600_000))) }
	for _, s := range []struct {
		statement string
		args      []any
	}{
		{"UPDATE installation SET config_version = 17, key_fingerprint = 'print', next_number = 9", nil},
		{"INSERT INTO accounts (number, id, name, api_version, created, aws_id, platform, version) VALUES (1, 'acct_1', 'Ünï', '2025', 5, '000000000001', 7, 3), (7, 'acct_7', ?, '', 6, '000000000007', 0, 4)", []any{"a\x00b\xff"}},
		{"INSERT INTO accounts (number, id, name, api_version, created, aws_id) VALUES (8, 'acct_8', '', '', 6, '8')", nil},
		{"DELETE FROM accounts WHERE number = 8", nil}, // which is not given out again
		{"INSERT INTO api_keys VALUES (x'01', 1, 1, 'hint', 5, 'n', 'events:read', 9, 8), (x'02', 7, 0, '', 5, '', '', 0, 0)", nil},
		{"INSERT INTO aws_keys VALUES ('AKIA', 7, x'00ff', 5)", nil},
		{"INSERT INTO destinations VALUES (1, 2, 'ed_1', 3, 1, 1, 5, 5, x'7b7d', NULL), (2, 2, 'ed_2', 4, 2, 3, 5, 6, x'', x'')", nil},
		{"INSERT INTO resources VALUES (3, 2, 'us-east-1', 'queue', 0, 'q', 5, 1, 1, 5, 5, x'7b7d', NULL), (4, 2, 'us-east-1', 'queue', 0, 'q', 5, 1, 3, 5, 5, x'7b7d', x'01')", nil},
		{"INSERT INTO emptying VALUES (4, 'queue')", nil},
		{"INSERT INTO lanes (lane, owner, epoch, lease_until, watermark) VALUES (0, '', 12, 0, ?)", []any{at(1)}},
		{"INSERT INTO events (seq, scope, kind, type, created, object_id, routes, cut, payload, bus, hops) VALUES (?, 2, 1, 'a.b', 5, ?, x'0100', 3, ?, 0, 0)", []any{at(0), "o\x00", []byte(`{"n":1}`)}},
		{"INSERT INTO events (seq, scope, kind, type, created, object_id, routes, cut, payload, bus, hops) VALUES (?, 3, 2, '', 5, '', x'', 0, x'', 3, 15)", []any{at(2)}},
		{"INSERT INTO events (seq, scope, kind, type, created, object_id, routes, cut, payload, bus, hops) VALUES (?, 3, 2, '', 5, '', x'', 0, ?, 3, 15)", []any{at(40), "text in a column of bytes"}},
		{"INSERT INTO event_keys VALUES (2, ?, ?, x'aa')", []any{"evt_\x00mine", at(0)}},
		{"INSERT INTO idempotency VALUES (2, 1, 'k', x'bb', NULL, 5), (2, 2, 'k', x'bb', x'00', 5)", nil},
		{"INSERT INTO attempts (seq, sub, run, n, scope, outcome, status, started, first_byte, total, next_at, class, detail) VALUES (?, 1, 0, 1, 2, 3, 500, 5, 6, 7, 8, 'status', x'00')", []any{at(0)}},
		{"INSERT INTO attempts (seq, sub, run, n, scope, outcome, status, started, first_byte, total, next_at, class, detail) VALUES (?, 1, ?, 2, 2, 1, 200, 5, 6, 7, 0, '', NULL)", []any{at(-99), at(41)}},
		{"INSERT INTO retries VALUES (2, ?, 1, 0, 1, 8, 0), (3, ?, 2, ?, 0, 9, 5)", []any{at(0), at(2), at(41)}},
		{"INSERT INTO destination_health VALUES (1, 5, 0, '[[7,8]]')", nil},
		{"INSERT INTO messages VALUES (5, 3, 1, 2, 3, 4, 5, 6, 5, 'g', 'd', x'0102', x'', x'ff'), (900, 3, 0, 0, 0, 0, 0, 0, 0, '', '', x'0102', NULL, x'')", nil},
		{"DELETE FROM messages WHERE id = 900", nil},
		{"INSERT INTO message_dedups VALUES (3, '', 'd', 9, x'0102', 5)", nil},
		{"INSERT INTO log_entries VALUES (5, 4, 6, ?, x'ff'), (7, 4, 6, '', x'')", []any{"str\xc3\x28eam"}},
		{"INSERT INTO summaries (scope, seq, kind, type, created, object_id, id, endings) VALUES (2, ?, 1, 'a.b', 5, 'o', ?, x'01')", []any{at(-200), "\x00"}},
		{"INSERT INTO archived VALUES (5, 6, ?, x'7b7d')", []any{at(0)}},
		{"INSERT INTO objects VALUES (2, 're_1', 'refund', 'ch_1', 7, 2, x'7b7d')", nil},
		{"INSERT INTO mentions VALUES (2, 'o', 5, ?)", []any{at(0)}},
		{"INSERT INTO audit_log VALUES (3, 2, 5, 'key_1', 'sk_', 'a.b', 'ed_1', 'name url', '::1', 'req_1', 'x')", nil},
	} {
		if _, err := pool.ExecContext(t.Context(), s.statement, s.args...); err != nil {
			t.Fatalf("%s: %v", s.statement, err)
		}
	}
	return path
}

func source(t *testing.T, path string) *sql.DB {
	t.Helper()
	pool, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}

func export(t *testing.T, path string) *sqlite.Export {
	t.Helper()
	e, err := sqlite.OpenExport(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// names reads one column of text.
func names(t *testing.T, conn *pgx.Conn, query string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// plain words a row without the types that the two sides differ in.
func plain(row []any) string {
	for i, v := range row {
		switch v := v.(type) {
		case bool:
			row[i] = 0
			if v {
				row[i] = 1
			}
		case []byte:
			row[i] = fmt.Sprintf("x'%x'", v)
		case string:
			row[i] = fmt.Sprintf("%q", strings.ReplaceAll(strings.ToValidUTF8(v, "\uFFFD"), "\x00", "\uFFFD"))
		}
	}
	return fmt.Sprint(row...)
}

func TestImport(t *testing.T) {
	t.Parallel()
	path, url := installation(t), pgtest.Database(t)
	told := map[string]int64{}
	again, err := postgres.Import(t.Context(), url, export(t, path), func(p postgres.Progress) {
		if told[p.Table] = p.Rows; p.Rows != p.Of {
			t.Errorf("%+v, though nothing takes a second", p)
		}
	})
	if err != nil || again {
		t.Fatal(again, err)
	}
	there, here := source(t, path), connect(t, url)
	tables := names(t, here, `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT IN ('leader', 'goose_db_version')`)
	for _, table := range tables {
		if told[table] == 0 {
			t.Errorf("nothing was imported into %s", table)
		}
		columns := names(t, here, "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0", table)
		columns = slices.DeleteFunc(columns, func(c string) bool { // those that only this store has
			return table == "retries" && (c == "lane" || c == "turn") || table == "lanes" && slices.Contains([]string{"lease_until", "last", "batch"}, c)
		})
		query := "SELECT " + strings.Join(columns, ", ") + " FROM " + table
		if diff := cmp.Diff(fromSQLite(t, there, query), fromPostgres(t, here, query)); diff != "" {
			t.Errorf("%s differs: -there +here\n%s", table, diff)
		}
	}
	for table := range fromSQLiteTables(t, there) {
		if !slices.Contains(tables, table) {
			t.Errorf("%s has no counterpart", table)
		}
	}
	if n := names(t, here, "SELECT count(*)::text FROM events_default UNION ALL SELECT count(*)::text FROM attempts_default"); !slices.Equal(n, []string{"0", "0"}) {
		t.Errorf("the default partitions have %v rows", n)
	}

	db := open(t, postgres.Options{URL: url, Node: "a", MaxConns: 4})
	account := &store.CreateAccount{Account: store.Account{ID: "acct_9", AWSID: "9"}}
	if err := db.CreateAccount(t.Context(), account); err != nil || account.Account.Number != 9 {
		t.Errorf("the next account is %d, want 9 (%v)", account.Account.Number, err)
	}
	if ids := names(t, here, "SELECT nextval('message_ids')::text"); ids[0] != "901" {
		t.Errorf("the next message is %s, want 901", ids[0])
	}
	d := &store.Destination{Scope: 2, ID: "ed_9", Status: event.Enabled, Config: []byte("{}")}
	if err := db.CreateDestination(t.Context(), d, nil); err != nil || d.Number != 9 || d.Version != 19 {
		t.Errorf("the next destination is %d of version %d, want 9 and 19 (%v)", d.Number, d.Version, err)
	}
	checkLane(t, db, here)
}

// checkLane has the first node take over what the embedded store left: events
// above the watermark and manual resends too, whose numbers are not given out
// again.
func checkLane(t *testing.T, db *postgres.DB, here *pgx.Conn) {
	t.Helper()
	last := names(t, here, "SELECT max(run)::text FROM retries")
	if lane := names(t, here, "SELECT last::text FROM lanes"); !slices.Equal(lane, last) {
		t.Errorf("the lane's last number is %v, want %v", lane, last)
	}
	if _, err := db.OpenLane(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting, err := db.WaitingSubscriptions(t.Context())
	if err != nil || len(waiting) != 2 {
		t.Errorf("%+v wait, want what waited for subscriptions 1 and 2 (%v)", waiting, err)
	}
}

func fromSQLite(t *testing.T, pool *sql.DB, query string) (list []string) {
	t.Helper()
	rows, err := pool.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		for i, v := range row {
			if text, ok := v.(string); ok && columns[i].DatabaseTypeName() == "BLOB" {
				row[i] = []byte(text)
			}
		}
		list = append(list, plain(row))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func fromPostgres(t *testing.T, conn *pgx.Conn, query string) (list []string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	if list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		return plain(values), err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// fromSQLiteTables are those that hold anything lasting.
func fromSQLiteTables(t *testing.T, pool *sql.DB) map[string]bool {
	t.Helper()
	tables := map[string]bool{}
	for _, name := range fromSQLite(t, pool, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN ('goose_db_version', 'probe')") {
		tables[strings.Trim(name, `"`)] = true
	}
	return tables
}

// cut is a source that ends in the middle, and says what goes on.
type cut struct {
	postgres.Source

	at   string
	then func() error
}

func (c cut) Rows(ctx context.Context, table string, columns []string) (*sql.Rows, error) {
	if table == c.at {
		if err := c.then(); err != nil {
			return nil, err
		}
	}
	return c.Source.Rows(ctx, table, columns)
}

func ignore(postgres.Progress) {}

// An import that ends early leaves an empty database, which it can be begun in
// again; one that took effect is recognised, as long as nothing changed.
func TestImportAgain(t *testing.T) {
	t.Parallel()
	path, url := installation(t), pgtest.Database(t)
	from, here := export(t, path), connect(t, url)
	broken := errors.New("the disk is broken")
	if _, err := postgres.Import(t.Context(), url, cut{from, "archived", func() error { return broken }}, ignore); !errors.Is(err, broken) {
		t.Fatalf("import of half: %v", err)
	}
	if n := names(t, here, "SELECT count(*)::text FROM accounts UNION ALL SELECT count(*)::text FROM events UNION ALL SELECT key_fingerprint FROM installation"); !slices.Equal(n, []string{"0", "0", ""}) {
		t.Errorf("half an import left %v", n)
	}
	for i, want := range []bool{false, true} {
		if again, err := postgres.Import(t.Context(), url, from, ignore); err != nil || again != want {
			t.Errorf("import %d: %v, %v", i, again, err)
		}
	}
	if _, err := here.Exec(t.Context(), "DELETE FROM messages"); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Import(t.Context(), url, from, ignore); !errors.Is(err, postgres.ErrNotEmpty) || !strings.Contains(err.Error(), "messages has 1 rows there and 0 here") {
		t.Errorf("import into what was used since: %v", err)
	}
}

func TestImportRefusesAnother(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	db := open(t, postgres.Options{URL: url, Node: "a", MaxConns: 4})
	if _, err := db.BindKey(t.Context(), "another"); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Import(t.Context(), url, export(t, installation(t)), ignore); !errors.Is(err, postgres.ErrNotEmpty) {
		t.Errorf("import into another installation: %v", err)
	}
}

// A node that starts while the import runs waits, and finds all of it.
func TestImportHoldsOffNodes(t *testing.T) {
	t.Parallel()
	path, url := installation(t), pgtest.Database(t)
	type bound struct {
		fingerprint string
		err         error
	}
	node := make(chan bound, 1)
	_, err := postgres.Import(t.Context(), url, cut{export(t, path), "archived", func() error {
		go func() {
			db, err := postgres.Open(t.Context(), postgres.Options{URL: url, Node: "a", MaxConns: 4})
			var b bound
			if err == nil {
				b.fingerprint, err = db.BindKey(t.Context(), "the node's own")
				err = errors.Join(err, db.Close())
			}
			b.err = err
			node <- b
		}()
		return nil
	}}, ignore)
	if err != nil {
		t.Fatal(err)
	}
	if b := <-node; b.err != nil || b.fingerprint != "print" {
		t.Errorf("the node found %+v", b)
	}
}

func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	open(t, postgres.Options{URL: url, Node: "a", MaxConns: 4})
	here := connect(t, url)
	apply := func(version int) {
		t.Helper()
		if _, err := here.Exec(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, true)", version); err != nil {
			t.Fatal(err)
		}
	}
	apply(99)
	list, err := open(t, postgres.Options{URL: url, Node: "b", MaxConns: 4}).Migrations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, last := list[0], list[len(list)-1]
	if first.Version != 1 || first.Name != "00001_init.sql" || math.Abs(time.Since(first.Applied).Minutes()) > 1 || last.Version != 99 || last.Name != "" {
		t.Errorf("migrations are %+v", list)
	}
	apply(100)
	for _, foreign := range []bool{false, true} {
		if _, err := postgres.Open(t.Context(), postgres.Options{URL: url, Node: "b", Foreign: foreign}); !errors.Is(err, sqlstore.ErrNewer) {
			t.Errorf("a database of a later generation opened: %v", err)
		}
	}
}

// Nodes that start together on an empty database all come up.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	opened := make(chan error, 4)
	for i := range cap(opened) {
		go func() {
			db, err := postgres.Open(t.Context(), postgres.Options{URL: url, Node: fmt.Sprint(i), MaxConns: 2})
			if err == nil {
				err = db.Close()
			}
			opened <- err
		}()
	}
	for range cap(opened) {
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
}
