package sqlstore_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

const scope = event.Scope(2)

func open(t *testing.T) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "waybill.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Queues, shelves and resources are read by their indexes.
func TestConsumersUseTheirIndexes(t *testing.T) {
	t.Parallel()
	db := open(t)
	list, listArgs := sqlstore.ListResources(store.ListResources{Scope: scope, Region: "r", Kind: store.KindRule, Prefix: "p", Limit: 1})
	everywhere, everywhereArgs := sqlstore.ListResources(store.ListResources{AllScopes: true, AllRegions: true, Kind: store.KindRule, Parent: -1})
	for _, tt := range []struct {
		query, form string
		args        []any
	}{
		{sqlstore.VisibleQuery, "messages_by_visibility (queue=? AND", []any{1, 2, 0, 0, 10}},
		{sqlstore.InOrderQuery, "COVERING INDEX messages_in_order (queue=? AND sequence>?", []any{1, 0, 10}},
		{sqlstore.InFlightQuery, "messages_in_flight (queue=? AND grp=? AND visible_at>?)", []any{1, "g", 2}},
		{sqlstore.MovableQuery, "messages_by_visibility (queue=? AND visible_at<?)", []any{1, 2, 0, "k", 10}},
		{sqlstore.DropQuery, "messages_by_visibility (queue=? AND visible_at<?)", []any{1, 2, 3, 10}},
		{sqlstore.ReadyQuery, "messages_in_flight (queue=? AND grp=? AND visible_at>?)", []any{"[1]", 2, 2}},
		{sqlstore.ReadyQuery, "messages_by_visibility (queue=? AND visible_at<?)", []any{"[1]", 2, 2}},
		{sqlstore.TrimLogQuery, "log_entries_by_time (grp=? AND time<?)", []any{1, 2, 3}},
		{sqlstore.TrimArchiveQuery, "archived_by_seq (archive=? AND seq<?)", []any{1, 2, 3}},
		{sqlstore.ArchivedQuery, "archived USING PRIMARY KEY (archive=? AND", []any{1, 0, 9, 0, 0, 3}},
		{sqlstore.ResourceQuery, "resources_by_place (scope=? AND region=? AND kind=? AND parent=? AND name=?)", []any{1, "r", "k", 0, "n"}},
		{list, "resources_by_place (scope=? AND region=? AND kind=? AND parent=? AND name>?)", listArgs},
		{everywhere, "resources_by_name (kind=?)", everywhereArgs},
	} {
		plan := explain(t, db, tt.query, tt.args...)
		if !strings.Contains(plan, tt.form) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s\nis planned without %q:\n%s", tt.query, tt.form, plan)
		}
	}
}

// Lists must not begin to read whole tables unnoticed.
func TestListsUseTheirIndexes(t *testing.T) {
	t.Parallel()
	db := open(t)
	pending := db.PendingEvent()
	for _, tt := range []struct {
		query string
		args  []any
		forms []string
	}{
		{sqlstore.AnyEvent, []any{2, 0, 9, 1}, []string{"COVERING INDEX events_by_scope"}},
		{sqlstore.FailedEvent, []any{2, 0, 9, 1}, []string{"INDEX attempts_ended_badly (scope=? AND seq>? AND seq<?)"}},
		{pending, []any{2, 0, 9, 1}, []string{"retries USING PRIMARY KEY", "COVERING INDEX events_by_scope"}},
		{sqlstore.TriesQuery, []any{"[1]", 2}, []string{"attempts USING PRIMARY KEY (seq=?)"}},
		{sqlstore.WaitingQuery, []any{2, "[1]"}, []string{"retries USING PRIMARY KEY (scope=? AND seq=?)"}},
		{sqlstore.ScanQuery, []any{2, 0, 9, 1}, []string{"INDEX events_by_scope (scope=? AND seq>? AND seq<?)"}},
		{sqlstore.HeadsQuery, []any{"[1]", 2, 0, 1}, []string{"events USING INTEGER PRIMARY KEY (rowid=?)"}},
	} {
		plan := explain(t, db, tt.query, tt.args...)
		for _, form := range tt.forms {
			if !strings.Contains(plan, form) {
				t.Errorf("%s\nis planned without %q:\n%s", tt.query, form, plan)
			}
		}
		if strings.Contains(plan, "SCAN events") || strings.Contains(plan, "SCAN attempts") || strings.Contains(plan, "TEMP B-TREE FOR ORDER") && tt.query != sqlstore.HeadsQuery && tt.query != pending {
			t.Errorf("%s\nis planned badly:\n%s", tt.query, plan)
		}
	}
}

func explain(t *testing.T, db *sqlite.DB, query string, args ...any) string {
	t.Helper()
	rows, err := db.Read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var line string
		if err := rows.Scan(&id, &parent, &unused, &line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
