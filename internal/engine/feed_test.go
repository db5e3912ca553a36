package engine

import (
	"context"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// rows is a store whose retry table is changed while it is read.
type rows struct {
	clock
	due       []store.DueRetry
	meanwhile func()
}

func (r *rows) DueRetries(_ context.Context, p store.DueParams) (found []store.DueRetry, _ error) {
	for _, d := range r.due {
		if !d.Next.Before(p.After) && !d.Next.After(p.Before) {
			found = append(found, d)
		}
	}
	if r.meanwhile != nil {
		r.meanwhile()
		r.meanwhile = nil
	}
	return found, nil
}

func (*rows) NextRetry(context.Context, int64, time.Time) (time.Time, error) { return time.Time{}, nil }

// An outcome that could not be committed for a while is due before what a read
// that was under way has found. It must not be left behind.
func TestRetriesWrittenDuringARead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	row := func(seq event.Seq, next time.Time) store.DueRetry {
		return store.DueRetry{Retry: store.Retry{RetryKey: store.RetryKey{Seq: seq}, Next: next}, Event: &event.Event{Seq: seq}}
	}
	for name, write := range map[string]func(s *subscriber, r *rows){
		"late commit": func(s *subscriber, r *rows) {
			r.due = append(r.due, row(2, now.Add(-time.Minute)))
			s.expect(now.Add(-time.Minute))
		},
		"put back": func(s *subscriber, r *rows) {
			r.due = append(r.due, row(2, now.Add(-time.Minute)))
			s.mu.Lock()
			defer s.mu.Unlock()
			s.noteDue(time.Now())
			s.rewind()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := &rows{due: []store.DueRetry{row(1, now.Add(-time.Second))}}
			e := New(Options{Store: db})
			e.sendCtx = t.Context()
			e.stopped = true // nothing is sent
			s := newSubscriber(e, 1)
			s.way.spec = &event.Subscription{Status: event.Enabled}
			db.meanwhile = func() { write(s, db) }
			s.expect(now.Add(-time.Second))
			for range 2 {
				if err := s.feedFromRetries(time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			for seq := event.Seq(1); seq <= 2; seq++ {
				if !s.claimed[rowKey{seq, 0}] {
					t.Errorf("%d is left behind", seq)
				}
			}
		})
	}
}
