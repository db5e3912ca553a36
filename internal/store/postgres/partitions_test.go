package postgres_test

import (
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

// Old days are dropped as a whole, but what waits and what is young.
func TestOldPartitionsAreDropped(t *testing.T) {
	t.Parallel()
	a := start(t, pgtest.Database(t), "a")
	day := func(back int) *event.Event { // in days
		e := a.event(1, 2)
		e.Seq = event.SeqAt(a.Now().AddDate(0, 0, -back)).Next(a.Now().AddDate(0, 0, -back), a.lane.Lane)
		return e
	}
	partitions := func() (n int) {
		t.Helper()
		if err := a.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := partitions()
	waiting, settled := a.event(1), a.event(1)
	b := a.batch(waiting, settled, day(40))
	b.Attempts = []*event.Attempt{{Seq: settled.Seq, Subscription: 1, Scope: scope, N: 1, Outcome: event.Delivered, Started: a.Now().AddDate(0, 0, -1)}}
	b.RetryPut = []store.Retry{{RetryKey: store.RetryKey{Scope: scope, Seq: waiting.Seq, Subscription: 1}, N: 1, Next: a.Now()}}
	b.Watermark = a.seq
	a.commit(b)

	p := store.Retain{Attempts: a.Now().AddDate(0, 0, 2), Events: a.Now().AddDate(0, 0, 2), Summaries: a.Now().AddDate(0, 0, -1), Limit: 10}
	for more := true; more; {
		var err error
		if more, err = a.Retain(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if got := partitions(); got >= before {
		t.Errorf("%d partitions, %d before", got, before)
	}
	left, err := a.EventsAfter(t.Context(), store.AfterParams{Lane: a.lane.Lane, UpTo: 1<<63 - 1, Limit: 10})
	if err != nil || len(left) != 1 || left[0].Seq != waiting.Seq {
		t.Errorf("left are %v, %v, want the one that waits", left, err)
	}
	a.commit(a.batch(a.event(1))) // which goes into the default partition
	if due := a.due(); len(due) != 1 {
		t.Errorf("%v waits", due)
	}
}
