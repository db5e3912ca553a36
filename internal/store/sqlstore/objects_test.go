package sqlstore_test

import (
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// Objects are found without reading those of others, or the whole log.
func TestObjectsUseTheirIndexes(t *testing.T) {
	t.Parallel()
	db := open(t)
	all, allArgs := sqlstore.ListObjects(store.ListObjects{Scope: scope, Kind: "k", Limit: 1})
	some, someArgs := sqlstore.ListObjects(store.ListObjects{Scope: scope, Kind: "k", Parent: "p", Newer: 1, Limit: 1})
	for _, tt := range []struct {
		query, form string
		args        []any
	}{
		{all, "objects_by_kind (scope=? AND kind=? AND made>? AND made<?)", allArgs},
		{some, "objects_by_parent (scope=? AND kind=? AND parent=? AND made>? AND made<?)", someArgs},
		{sqlstore.MentionQuery, "mentions USING PRIMARY KEY (scope=? AND id=?)", []any{2, "o"}},
		{sqlstore.RecentQuery, "(scope=? AND seq>?)", []any{0, 1, 2, "o", 1}},
		{sqlstore.IndexQuery, "events USING INTEGER PRIMARY KEY (rowid>?)", []any{0, 1, 9}},
	} {
		plan := explain(t, db, tt.query, tt.args...)
		if !strings.Contains(plan, tt.form) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s\nis planned without %q:\n%s", tt.query, tt.form, plan)
		}
	}
}
