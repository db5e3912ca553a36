package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

const benchScope = event.Scope(3)

// benchWriter commits batches of events of about a kilobyte, one route each, to
// a server that keeps what it acknowledges.
type benchWriter struct {
	*postgres.DB

	lane store.LaneState
	seq  event.Seq
	now  time.Time
}

func newBenchWriter(b *testing.B) *benchWriter {
	b.Helper()
	server, err := pgtest.Start(b.Context(), pgtest.Options{Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Stop(); err != nil {
			b.Error(err)
		}
	})
	url, err := server.CreateDatabase(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	db := open(b, postgres.Options{URL: url, Node: "bench"})
	lane, err := db.OpenLane(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return &benchWriter{DB: db, lane: lane, seq: lane.Last, now: db.Now()}
}

func (w *benchWriter) batch(events int, to event.Disposition) *store.Batch {
	s := new(store.Submission)
	object := []byte(`{"pad":"` + strings.Repeat("x", 850) + `"}`)
	for range events {
		d := event.Draft{Type: "invoice.paid", Object: object, ObjectID: "in_1"}
		e := d.Build(benchScope, w.now, "2025-01-01")
		e.Routes = []event.Route{{Subscription: 1, Disposition: to}}
		s.Events = append(s.Events, e)
	}
	return &store.Batch{Lane: w.lane.Lane, Epoch: w.lane.Epoch, ConfigVersion: 1, Now: w.now, Submissions: []*store.Submission{s}}
}

func (w *benchWriter) assign(b *store.Batch) {
	for _, e := range b.Submissions[0].Events {
		w.seq = w.seq.Next(w.now, w.lane.Lane)
		e.Assign(w.seq)
	}
}

func (w *benchWriter) attempt(seq event.Seq, n int) *event.Attempt {
	return &event.Attempt{Seq: seq, Subscription: 1, Scope: benchScope, N: n, Outcome: event.Delivered, Status: 200, Started: w.now}
}

func (w *benchWriter) commit(b *testing.B, batch *store.Batch) {
	b.Helper()
	if err := w.Commit(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCommit writes events with one attempt each, fsynced.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("events=%d", size), func(b *testing.B) {
			w := newBenchWriter(b)
			batch := w.batch(size, event.Dispatch)
			for range size {
				batch.Attempts = append(batch.Attempts, w.attempt(0, 1))
			}
			b.SetBytes(int64(size * len(batch.Submissions[0].Events[0].Payload)))
			for b.Loop() {
				w.assign(batch)
				for i, e := range batch.Submissions[0].Events {
					batch.Attempts[i].Seq = e.Seq
				}
				w.commit(b, batch)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "us/event")
		})
	}
}

// BenchmarkDue reads deliveries that are due as the engine does, 512 at a time
// and each time from where it ended, and records that they were made.
func BenchmarkDue(b *testing.B) {
	const rows, seeded = 512, 100_000
	w := newBenchWriter(b)
	p := store.DueParams{Subscription: 1, Before: w.now, Limit: rows, MaxBytes: 4 << 20}
	var reading time.Duration
	left := 0
	for b.Loop() {
		if left < rows {
			b.StopTimer()
			for range seeded / 1000 {
				batch := w.batch(1000, event.Parked)
				w.assign(batch)
				w.commit(b, batch)
			}
			left = seeded
			b.StartTimer()
		}
		start := time.Now()
		due, err := w.DueRetries(b.Context(), p)
		if err == nil {
			_, err = w.NextRetry(b.Context(), p.Subscription, p.Before)
		}
		if err != nil || len(due) < rows {
			b.Fatalf("%d of %d due: %v", len(due), rows, err)
		}
		reading += time.Since(start)
		done := &store.Batch{Lane: w.lane.Lane, Epoch: w.lane.Epoch, Now: w.now}
		for _, d := range due {
			done.Attempts = append(done.Attempts, w.attempt(d.Seq, d.N+1))
			done.RetryDelete = append(done.RetryDelete, d.RetryKey)
		}
		w.commit(b, done)
		left -= rows
		p.After, p.AfterSeq = due[rows-1].Next, due[rows-1].Seq
	}
	b.ReportMetric(float64(b.N*rows)/reading.Seconds(), "read/s")
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "settled/s")
}
