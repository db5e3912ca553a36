package engine_test

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/store"
)

// A replay is retried like a first delivery, is sent once for each record, and
// finds no room where what is due waits.
func TestReplay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	policy, err := retry.FromSeconds([]int64{1})
	if err != nil {
		t.Fatal(err)
	}
	f.subscribe(1, refuse, policy)
	f.subscribe(2, accept, retry.None())
	f.subscribe(3, accept, retry.None())
	f.setStatus(nil, 1, event.Disabled)
	f.setStatus(nil, 3, event.Held)
	e, _ := f.start(engine.Options{MaxInFlight: 2})
	events := f.publish(e, 5)
	f.await(len(events))
	f.eventually("2 has it all", func() bool { return f.deliveries(event.StateDelivered) == 5 })
	f.setStatus(e, 1, event.Enabled)

	var list []engine.Redelivery
	for _, ev := range events {
		list = append(list, engine.Redelivery{Seq: ev.Seq, ObjectID: ev.ObjectID})
	}
	replay := func(to int64, result string) string {
		t.Helper()
		got, err := e.Replay(t.Context(), scope, to, list, &store.Idempotency{Scope: scope, Key: "replay", Result: []byte(result), Created: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	if got := replay(1, "first") + replay(1, "second"); got != "firstfirst" {
		t.Errorf("%s were recorded", got)
	}
	f.eventually("1 refused it all for good", func() bool { return f.deliveries(event.StateFailed) == 5 })
	for _, ev := range events {
		attempts, err := f.db.Attempts(t.Context(), scope, ev.Seq, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(attempts) != 2 || attempts[0].Run >= 0 || attempts[1].Run != attempts[0].Run || attempts[1].N != 2 {
			t.Errorf("%d attempts, want 2 of one run with a negative number: %+v", len(attempts), attempts)
		}
	}

	if room, _, err := e.ReplayRoom(t.Context(), 2); room != 8 || err != nil {
		t.Errorf("room for %d where nothing waits, want 8 (%v)", room, err)
	}
	if room, _, err := e.ReplayRoom(t.Context(), 3); room != 0 || err != nil {
		t.Errorf("room for %d where five wait, want none (%v)", room, err)
	}
}
