package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/bus"
	"github.com/waybill-dev/waybill/internal/target/targettest"
)

var (
	busTarget    = event.Target{Kind: event.TargetBus, Bus: &event.BusTarget{Scope: 7, ARN: "arn:bus"}}
	sourceTarget = event.Target{Kind: event.TargetEventSource, EventSource: &event.SourceTarget{Name: "partner/shop", Region: "us-east-1"}}
)

// opened is the target of a bus that puts events by fn.
func opened(t *testing.T, to event.Target, fn func(ctx context.Context, body []byte) error) target.Target {
	t.Helper()
	o := bus.Options{
		PutFromBus: func(ctx context.Context, b event.BusTarget, e *event.Event) error {
			if b != *busTarget.Bus {
				t.Errorf("put %v on %+v", e, b)
			}
			return fn(ctx, e.Payload)
		},
		PutFromSource: func(ctx context.Context, s event.SourceTarget, detailType string, _ time.Time, detail []byte) error {
			if s != *sourceTarget.EventSource || detailType == "" {
				t.Errorf("put %q on %+v", detailType, s)
			}
			return fn(ctx, detail)
		},
	}
	opened, err := o.Opener(to)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, to := range []event.Target{busTarget, sourceTarget} {
		t.Run(string(to.Kind), func(t *testing.T) {
			t.Parallel()
			targettest.Run(t, targettest.Harness{New: func(t *testing.T, b targettest.Behavior) targettest.Peer {
				var mu sync.Mutex
				var received [][]byte
				hanging := make(chan struct{})
				return targettest.Peer{
					Target: opened(t, to, func(ctx context.Context, body []byte) error {
						mu.Lock()
						received = append(received, body)
						mu.Unlock()
						switch b {
						case targettest.Refuses:
							return errors.New("dial database at 10.0.0.1: " + targettest.Secret)
						case targettest.RefusesForGood:
							return fmt.Errorf("%w: gone", bus.ErrAbsent)
						case targettest.Hangs:
							hanging <- struct{}{}
							<-ctx.Done()
							return ctx.Err()
						}
						return nil
					}),
					Received: func() [][]byte {
						mu.Lock()
						defer mu.Unlock()
						return slices.Clone(received)
					},
					Hanging: hanging,
				}
			}})
		})
	}
}

func TestWhatErrorsMean(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err       error
		class     event.Class
		permanent bool
		message   string
	}{
		{nil, event.ClassNone, false, ""},
		{bus.ErrHeld, target.Held, false, bus.ErrHeld.Error()},
		{fmt.Errorf("%w: deleted", bus.ErrAbsent), event.ClassNoTarget, true, bus.ErrAbsent.Error() + ": deleted"},
		{fmt.Errorf("%w: a circle", bus.ErrRefused), event.ClassRefused, true, bus.ErrRefused.Error() + ": a circle"},
		{errors.New("disk full"), event.ClassConnect, false, "Waybill cannot put the event on the bus right now."},
	} {
		to := opened(t, busTarget, func(context.Context, []byte) error { return test.err })
		r := to.Send(t.Context(), target.Message{Type: "order", Event: &event.Event{}})
		if r.Class != test.class || r.Permanent != test.permanent || r.Message != test.message {
			t.Errorf("%v: %q, permanent %t: %s", test.err, r.Class, r.Permanent, r.Message)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, to := range []event.Target{{}, {Kind: event.TargetBus}, {Kind: event.TargetEventSource, Bus: busTarget.Bus}} {
		if _, err := (bus.Options{}).Opener(to); err == nil {
			t.Errorf("opened %+v", to)
		}
	}
}
