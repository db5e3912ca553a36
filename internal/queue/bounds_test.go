package queue_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/queue"
)

// What empties a queue does so in transactions that leave room for others.
func TestManyMessagesAreDroppedByAndBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, open(t))
		defer f.close()
		url := f.create("q", map[string]string{"MessageRetentionPeriod": "60"})
		const n = 1200
		for _, drop := range []func() error{
			func() error { return f.Purge(t.Context(), caller, url) },
			func() error {
				<-time.After(time.Hour) // of the bubble's clock
				return f.DropExpired(t.Context())
			},
		} {
			for range n / queue.MaxBatch {
				var entries []queue.Entry
				for i := range queue.MaxBatch {
					entries = append(entries, queue.Entry{ID: fmt.Sprint(i), Body: "m"})
				}
				if _, failed, err := f.SendBatch(t.Context(), caller, url, entries); err != nil || failed != nil {
					t.Fatal(failed, err)
				}
			}
			before := f.db.changes
			if err := drop(); err != nil {
				t.Fatal(err)
			}
			if got := f.db.changes - before; got != 3 {
				t.Errorf("%d transactions, want 3", got)
			}
			if left := f.attribute(url, "ApproximateNumberOfMessages"); left != "0" {
				t.Errorf("%s messages left", left)
			}
		}
	})
}

func TestDepositsKeepTheirDedupScope(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create("whole.fifo", map[string]string{"FifoQueue": "true"})
	f.create("groups.fifo", map[string]string{"FifoQueue": "true", "DeduplicationScope": "messageGroup"})
	for name, want := range map[string]string{"whole.fifo": "", "groups.fifo": "g"} {
		if d, err := f.Deposit(caller.Scope, arnOf(name), "g", "id", []byte("x"), nil); err != nil || d.DedupScope != want {
			t.Errorf("%s: scope %q, %v", name, d.DedupScope, err)
		}
	}
}
