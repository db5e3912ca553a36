package inside_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/inside"
	"github.com/waybill-dev/waybill/internal/target/targettest"
)

const arn = "arn:inside"

var targets = []event.Target{
	{Kind: event.TargetQueue, Queue: &event.QueueTarget{Queue: event.Queue{Scope: 7, ARN: arn}}},
	{Kind: event.TargetLog, Log: &event.LogTarget{Scope: 7, ARN: arn}},
	{Kind: event.TargetArchive, Archive: &event.ArchiveTarget{Number: 5}},
}

// opened is a target in a store where everything is number 5, or where, as
// absent says, nothing is left.
func opened(t *testing.T, to event.Target, absent error) target.Target {
	t.Helper()
	o := inside.Options{
		Queue: func(q event.QueueTarget, dedupID string, body []byte) (event.Deposit, error) {
			if q != *targets[0].Queue || dedupID != "evt_1" {
				t.Errorf("deposit %s in %+v", dedupID, q)
			}
			return event.Deposit{Kind: event.IntoQueue, Into: 5, Body: body}, absent
		},
		Log: func(l event.LogTarget) (int64, error) {
			if l != *targets[1].Log {
				t.Errorf("log to %+v", l)
			}
			return 5, absent
		},
	}
	opened, err := o.Opener(to)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// engine keeps the deposits, as the engine would, and nil for what has none.
type engine struct {
	target.Target
	mu        sync.Mutex
	deposited [][]byte
}

func (e *engine) Send(ctx context.Context, m target.Message) target.Result {
	r := e.Target.Send(ctx, m)
	var body []byte
	switch d := r.Deposit; {
	case r.Class == target.Interrupted:
		return r
	case d != nil && d.Kind == event.IntoArchive:
		body = d.Event.Payload
	case d != nil:
		body = d.Body
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deposited = append(e.deposited, body)
	return r
}

func (e *engine) received() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.deposited)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, to := range targets {
		// What is there takes everything at once.
		never := []targettest.Behavior{targettest.Refuses, targettest.Hangs}
		if to.Kind == event.TargetArchive {
			never = append(never, targettest.RefusesForGood) // it goes together with its subscription
		}
		t.Run(string(to.Kind), func(t *testing.T) {
			t.Parallel()
			targettest.Run(t, targettest.Harness{Never: never, New: func(t *testing.T, b targettest.Behavior) targettest.Peer {
				var absent error
				if b == targettest.RefusesForGood {
					absent = errors.New("not there")
				}
				e := &engine{Target: opened(t, to, absent)}
				return targettest.Peer{Target: e, Received: e.received}
			}})
		})
	}
}

func TestDeposits(t *testing.T) {
	t.Parallel()
	kinds := []event.DepositKind{event.IntoQueue, event.IntoLog, event.IntoArchive}
	for i, to := range targets {
		m := target.Message{EventID: "evt_1", Body: []byte(`{}`), Event: &event.Event{}}
		r := opened(t, to, nil).Send(t.Context(), m)
		if r.Deposit == nil || r.Deposit.Kind != kinds[i] || r.Deposit.Into != 5 {
			t.Errorf("%s: %+v", to.Kind, r.Deposit)
		}
	}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	for _, to := range []event.Target{targets[0], targets[1], {Kind: event.TargetUnsupported, Unsupported: "arn:lambda"}} {
		r := opened(t, to, errors.New("not there")).Send(t.Context(), target.Message{EventID: "evt_1"})
		if r.Class != event.ClassNoTarget || !r.Permanent || r.Deposit != nil ||
			!strings.Contains(r.Message, "not there") && !strings.Contains(r.Message, "arn:lambda") {
			t.Errorf("%s: %+v", to.Kind, r)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, to := range []event.Target{{}, {Kind: event.TargetQueue}, {Kind: event.TargetLog}, {Kind: event.TargetArchive}} {
		if _, err := (inside.Options{}).Opener(to); err == nil {
			t.Errorf("opened %+v", to)
		}
	}
}
