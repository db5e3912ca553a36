package sqlite

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func newQueue(t testing.TB, db *DB, name string) *store.Resource {
	t.Helper()
	r := &store.Resource{ResourceKey: store.ResourceKey{Scope: scope, Kind: store.KindQueue, Name: name}, Status: event.Enabled}
	if err := db.ChangeResources(t.Context(), []*store.Resource{r}, true); err != nil {
		t.Fatal(err)
	}
	return r
}

// A queue that was deleted by a process that was killed over it is emptied
// with the next one, or by whoever keeps house.
func TestEmptyingGoesOn(t *testing.T) {
	t.Parallel()
	for name, goOn := range map[string]func(db *DB) error{
		"next deletion": func(db *DB) error {
			next := newQueue(t, db, "next")
			next.Status = event.Deleted
			return db.ChangeResources(t.Context(), []*store.Resource{next}, true)
		},
		"house": func(db *DB) error { return db.EmptyDeleted(t.Context()) },
	} {
		db := openAt(t, Options{Path: file(t)})
		q := newQueue(t, db, "q")
		op := &store.QueueOp{Queue: q.Number, Send: &store.QueueSend{Message: &store.QueueMessage{}}}
		if err := db.ChangeQueues(t.Context(), []*store.QueueOp{op}, time.UnixMilli(1)); err != nil || op.Err != nil {
			t.Fatal(err, op.Err)
		}
		if _, err := db.write.ExecContext(t.Context(), "UPDATE resources SET status = 3 WHERE number = ?1; INSERT INTO emptying VALUES (?1, 'queue')", q.Number); err != nil {
			t.Fatal(err)
		}
		if err := goOn(db); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"messages", "emptying"} {
			if got := count(t, db, table); got != 0 {
				t.Errorf("%s: %d rows left in %s", name, got, table)
			}
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
