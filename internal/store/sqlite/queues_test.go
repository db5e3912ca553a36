package sqlite

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// Queues, shelves and resources are read by their indexes.
func TestConsumersUseTheirIndexes(t *testing.T) {
	t.Parallel()
	db := openAt(t, Options{Path: file(t)})
	list, listArgs := listResources(store.ListResources{Scope: scope, Region: "r", Kind: store.KindRule, Prefix: "p", Limit: 1})
	everywhere, everywhereArgs := listResources(store.ListResources{AllScopes: true, AllRegions: true, Kind: store.KindRule, Parent: -1})
	for _, tt := range []struct {
		query, form string
		args        []any
	}{
		{visibleQuery, "messages_by_visibility (queue=? AND", []any{1, 2, 0, 0, 10}},
		{inOrderQuery, "COVERING INDEX messages_in_order (queue=? AND sequence>?", []any{1, 0, 10}},
		{inFlightQuery, "messages_in_flight (queue=? AND grp=? AND visible_at>?)", []any{1, "g", 2}},
		{movableQuery, "messages_by_visibility (queue=? AND visible_at<?)", []any{1, 2, 0}},
		{trimLogQuery, "log_entries_by_time (grp=? AND time<?)", []any{1, 2, 3}},
		{trimArchiveQuery, "archived_by_seq (archive=? AND seq<?)", []any{1, 2, 3}},
		{archivedQuery, "archived USING PRIMARY KEY (archive=? AND", []any{1, 0, 9, 0, 0, 3}},
		{resourceQuery, "resources_by_place (scope=? AND region=? AND kind=? AND parent=? AND name=?)", []any{1, "r", "k", 0, "n"}},
		{list, "resources_by_place (scope=? AND region=? AND kind=? AND parent=? AND name>?)", listArgs},
		{everywhere, "resources_by_name (kind=?)", everywhereArgs},
	} {
		plan := explain(t, db, tt.query, tt.args...)
		if !strings.Contains(plan, tt.form) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s\nis planned without %q:\n%s", tt.query, tt.form, plan)
		}
	}
}

func newQueue(t testing.TB, db *DB, name string) *store.Resource {
	t.Helper()
	r := &store.Resource{ResourceKey: store.ResourceKey{Scope: scope, Kind: store.KindQueue, Name: name}, Status: event.Enabled}
	if err := db.ChangeResources(t.Context(), []*store.Resource{r}, true); err != nil {
		t.Fatal(err)
	}
	return r
}

// A queue that was deleted by a process that was killed over it is emptied
// with the next one.
func TestEmptyingGoesOn(t *testing.T) {
	t.Parallel()
	db := openAt(t, Options{Path: file(t)})
	a, b := newQueue(t, db, "a"), newQueue(t, db, "b")
	for _, q := range []*store.Resource{a, b} {
		op := &store.QueueOp{Queue: q.Number, Send: &store.QueueSend{Message: &store.QueueMessage{}}}
		if err := db.ChangeQueues(t.Context(), []*store.QueueOp{op}, time.UnixMilli(1)); err != nil || op.Err != nil {
			t.Fatal(err, op.Err)
		}
	}
	if _, err := db.write.ExecContext(t.Context(), "UPDATE resources SET status = 3 WHERE number = ?; INSERT INTO emptying VALUES (?, 'queue')", a.Number, a.Number); err != nil {
		t.Fatal(err)
	}
	b.Status = event.Deleted
	if err := db.ChangeResources(t.Context(), []*store.Resource{b}, true); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"messages", "emptying"} {
		if got := count(t, db, table); got != 0 {
			t.Errorf("%d rows left in %s", got, table)
		}
	}
}

// Ids that a FIFO queue was sent do not pile up.
func TestDedupsAreForgotten(t *testing.T) {
	t.Parallel()
	db := openAt(t, Options{Path: file(t)})
	q := newQueue(t, db, "q.fifo")
	now := time.UnixMilli(1_750_000_000_000)
	for i := range 20 {
		op := &store.QueueOp{Queue: q.Number, Send: &store.QueueSend{FIFO: true, Message: &store.QueueMessage{GroupID: "g", DedupID: fmt.Sprint(i)}}}
		if err := db.ChangeQueues(t.Context(), []*store.QueueOp{op}, now.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, db, "message_dedups"); got != 5 {
		t.Errorf("%d ids are remembered, want those of five minutes", got)
	}
}

func TestDamagedAttributes(t *testing.T) {
	t.Parallel()
	db := openAt(t, Options{Path: file(t)})
	q := newQueue(t, db, "q")
	send := &store.QueueOp{Queue: q.Number, Send: &store.QueueSend{Message: &store.QueueMessage{Attributes: []event.Attribute{{Name: "n"}}}}}
	if err := db.ChangeQueues(t.Context(), []*store.QueueOp{send}, time.UnixMilli(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.ExecContext(t.Context(), "UPDATE messages SET attributes = x'05ff'"); err != nil {
		t.Fatal(err)
	}
	receive := &store.QueueOp{Queue: q.Number, Receive: &store.QueueReceive{Max: 1}}
	if err := db.ChangeQueues(t.Context(), []*store.QueueOp{receive}, time.UnixMilli(1)); err == nil {
		t.Error("damaged attributes were read")
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add(appendAttributes(nil, []event.Attribute{{Name: "n", Type: "String", Value: "v"}, {}, {Name: "b", Type: "Binary", Value: "\x00\xff"}}))
	f.Add([]byte{1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAttributes(data)
		if err != nil {
			return
		}
		again, err := parseAttributes(appendAttributes(nil, a))
		if err != nil || len(a) != len(again) || len(a) > 0 && !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
	})
}

func BenchmarkDeposit(b *testing.B) {
	for _, size := range []int{1, 64, 1000} {
		for _, group := range []string{"", "g"} {
			b.Run(fmt.Sprintf("messages=%d/group=%q", size, group), func(b *testing.B) {
				db := openAt(b, Options{Path: file(b)})
				q := newQueue(b, db, "q")
				w := newWriter(b, db)
				batch := &store.Batch{Epoch: w.lane.Epoch, Now: w.now}
				for range size {
					batch.Deposits = append(batch.Deposits, &event.Deposit{Kind: event.IntoQueue, Into: q.Number, Body: make([]byte, 850), GroupID: group})
				}
				for i := 0; b.Loop(); i++ {
					if group != "" {
						for j, d := range batch.Deposits {
							d.DedupID = fmt.Sprint(i, " ", j)
						}
					}
					if err := db.Commit(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "us/message")
			})
		}
	}
}
