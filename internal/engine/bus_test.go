package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/target"
)

// onBus adds a rule's target on bus 7.
func (f *fixture) onBus(id int64, pattern string, p play, policy retry.Policy) *event.Subscription {
	f.subscribe(id, p, policy)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.subs[len(f.subs)-1]
	s.Kind, s.Types, s.Bus, s.Pattern = 0, nil, 7, []byte(pattern)
	return s
}

func (f *fixture) put(e *engine.Engine, detailType, detail string) *event.Event {
	f.t.Helper()
	events, err := e.Publish(f.t.Context(), engine.Publish{Scope: scope, Drafts: []*event.Draft{{
		Type: detailType, Envelope: &event.Envelope{Bus: 7, Source: "app", Account: "123456789012", Region: "us-east-1", Detail: []byte(detail)},
	}}})
	if err != nil {
		f.t.Fatal(err)
	}
	return events[0]
}

// queue makes a queue for deposits.
func (f *fixture) queue(name string) int64 {
	f.t.Helper()
	q := &store.Resource{ResourceKey: store.ResourceKey{Scope: scope, Region: "us-east-1", Kind: store.KindQueue, Name: name}, Status: event.Enabled, Config: []byte("{}")}
	if err := f.db.ChangeResources(f.t.Context(), []*store.Resource{q}, true); err != nil {
		f.t.Fatal(err)
	}
	return q.Number
}

func (f *fixture) receive(queue int64) []*store.QueueMessage {
	f.t.Helper()
	op := &store.QueueOp{Queue: queue, Receive: &store.QueueReceive{Max: 10, HideUntil: time.Now().Add(time.Hour)}}
	if err := f.db.ChangeQueues(f.t.Context(), []*store.QueueOp{op}, time.Now()); err != nil {
		f.t.Fatal(err)
	}
	return op.Receive.Messages
}

func TestPatternsSelectWhatRulesGet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.onBus(1, `{"detail":{"amount":[{"numeric":[">",10]}]}}`, accept, retry.None())
	f.onBus(2, `{"detail-type":["other"]}`, accept, retry.None())
	e, _ := f.start(engine.Options{})
	f.put(e, "paid", `{"amount":10}`)
	big := f.put(e, "paid", `{"amount":11}`)
	twice := f.put(e, "paid", `{"amount":10,"amount":11}`)
	other := f.put(e, "other", `{"amount":1}`)
	f.await(3)
	f.once(1, []*event.Event{big, twice})
	f.once(2, []*event.Event{other})
	if got, err := f.db.EventsBySeq(t.Context(), scope, []event.Seq{big.Seq}); err != nil || len(got) != 1 || got[0].Bus != 7 || got[0].ID() != big.ID() {
		t.Errorf("the stored event: %v, %v", got, err)
	}
}

func TestDepositsComeOnceAndWithTheirAttempt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	q := f.queue("orders")
	f.onBus(1, `{"source":["app"]}`, func(_ context.Context, m target.Message) target.Result {
		return target.Result{Deposit: &event.Deposit{Kind: event.IntoQueue, Into: q, Body: m.Body}}
	}, retry.None()).Input = &event.Input{Paths: map[string]string{"n": "$.detail.n"}, Template: `{"number": <n>}`}
	var told atomic.Int64
	e, _ := f.start(engine.Options{Deposited: func(d *event.Deposit) { told.Add(d.Into) }})
	f.put(e, "paid", `{"n":42}`)
	f.eventually("the delivery is recorded", func() bool { return f.deliveries(event.StateDelivered) == 1 })
	got := f.receive(q)
	if len(got) != 1 || string(got[0].Body) != `{"number": 42}` {
		t.Fatalf("received %v", got)
	}
	if told.Load() != q {
		t.Errorf("told of %d, want %d", told.Load(), q)
	}
}

func TestWhatFailsForGoodIsDeadLettered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	q := f.queue("dead")
	dead := &event.DeadLetter{Queue: event.Queue{Scope: scope, ARN: "arn:dlq"}, RuleARN: "arn:rule", TargetARN: "arn:target"}
	f.onBus(1, `{"detail-type":["tired"]}`, refuse, retry.Policy{Delays: []time.Duration{time.Millisecond}}).DeadLetter = dead
	f.onBus(2, `{"detail-type":["absent"]}`, func(context.Context, target.Message) target.Result {
		return target.Result{Class: event.ClassNoTarget, Message: "no such queue", Permanent: true}
	}, retry.EventBridge(185, time.Hour)).DeadLetter = dead
	f.onBus(3, `{"detail-type":["misshapen"]}`, accept, retry.None()).DeadLetter = dead
	f.subs[2].Input = &event.Input{Paths: map[string]string{"o": "$.detail"}, Template: `{"text": "<o>"}`}
	f.onBus(4, `{"detail-type":["lost"]}`, refuse, retry.None()).DeadLetter = &event.DeadLetter{Queue: event.Queue{Scope: scope, ARN: "arn:none"}}
	e, _ := f.start(engine.Options{DeadLetter: func(to event.Queue, body []byte, attributes []event.Attribute) (event.Deposit, error) {
		if to.ARN != "arn:dlq" {
			return event.Deposit{}, errors.New("it does not exist")
		}
		return event.Deposit{Kind: event.IntoQueue, Into: q, Body: body, Attributes: attributes}, nil
	}})
	want := map[string]map[string]string{
		"tired":     {"ERROR_CODE": "500", "RETRY_ATTEMPTS": "1", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts"},
		"absent":    {"ERROR_CODE": "NO_TARGET", "RETRY_ATTEMPTS": "0", "ERROR_MESSAGE": "no such queue", "EXHAUSTED_RETRY_CONDITION": ""},
		"misshapen": {"ERROR_CODE": "INPUT_ERROR", "RETRY_ATTEMPTS": "0", "EXHAUSTED_RETRY_CONDITION": ""},
	}
	for kind := range want {
		f.put(e, kind, `{"a":{"b":1}}`)
	}
	f.put(e, "lost", `{}`)
	f.eventually("three are dead-lettered", func() bool { return f.deliveries(event.StateDeadLettered) == 3 })
	f.eventually("one could not be", func() bool { return f.deliveries(event.StateFailed) == 1 })
	messages := f.receive(q)
	if len(messages) != len(want) {
		t.Fatalf("%d dead letters, want %d", len(messages), len(want))
	}
	for _, m := range messages {
		var body struct {
			Type string `json:"detail-type"`
		}
		if err := json.Unmarshal(m.Body, &body); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, a := range m.Attributes {
			got[a.Name] = a.Value
		}
		for name, value := range want[body.Type] {
			if got[name] != value {
				t.Errorf("%s: %s is %q, want %q", body.Type, name, got[name], value)
			}
		}
		if got["RULE_ARN"] != "arn:rule" || got["TARGET_ARN"] != "arn:target" {
			t.Errorf("%s: attributes %v", body.Type, got)
		}
	}
}

func TestWhatIsHeldWaitsAndFlowsOldestFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, accept, retry.None())
	f.subs[0].Status = event.Held
	e, stop := f.start(engine.Options{MaxInFlight: 1})
	events := f.publish(e, 300)
	if b, err := f.db.Backlog(t.Context()); err != nil || b.Retries != 300 {
		t.Fatalf("%d are kept (%v), want 300", b.Retries, err)
	}
	if stalled := e.Stalled(time.Now().Add(time.Hour)); stalled > 0 {
		t.Errorf("what is held counts as a stall of %v", stalled)
	}
	stop()
	e, _ = f.start(engine.Options{MaxInFlight: 1})
	f.setStatus(e, 1, event.Enabled)
	timeout := time.After(30 * time.Second)
	var order []string
	for len(order) < len(events) {
		select {
		case id := <-f.arrived:
			order = append(order, id)
		case <-timeout:
			t.Fatalf("%d of %d arrived within 30 s", len(order), len(events))
		}
	}
	var want []string
	for _, ev := range events {
		want = append(want, ev.ID())
	}
	if !slices.Equal(order, want) {
		t.Errorf("they did not arrive in the order of their acceptance")
	}
}

func TestATargetThatIsNotThereYetLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var there atomic.Bool
	f.subscribe(1, func(ctx context.Context, m target.Message) target.Result {
		if there.Load() {
			return accept(ctx, m)
		}
		there.Store(true)
		return target.Result{Class: target.Held}
	}, retry.None())
	e, _ := f.start(engine.Options{MaxInFlight: 1})
	events := f.publish(e, 2)
	f.await(2)
	f.once(1, events)
	f.eventually("no attempt is recorded for what was held", func() bool { return f.deliveries(event.StateDelivered) == 2 })
	attempts, err := f.db.Attempts(t.Context(), scope, events[0].Seq, 1)
	if err != nil || len(attempts) != 1 {
		t.Errorf("%d attempts (%v), want 1", len(attempts), err)
	}
}

// Nothing may be stranded by being accepted at the moment of a change.
func TestHoldingAndReleasingUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.subscribe(1, accept, retry.None())
	e, _ := f.start(engine.Options{})
	done := make(chan []*event.Event)
	go func() {
		var all []*event.Event
		for range 40 {
			drafts := []*event.Draft{draft(1), draft(2), draft(3), draft(4), draft(5)}
			events, err := e.Publish(t.Context(), engine.Publish{Scope: scope, Drafts: drafts, DefaultVersion: "v"})
			if err != nil {
				t.Error(err)
			}
			all = append(all, events...)
		}
		done <- all
	}()
	for i := range 20 {
		f.setStatus(e, 1, []event.Status{event.Held, event.Enabled}[i%2])
	}
	events := <-done
	f.setStatus(e, 1, event.Enabled)
	f.await(len(events))
	f.once(1, events)
	f.eventually("all are recorded as delivered", func() bool { return f.deliveries(event.StateDelivered) == len(events) })
	if b, err := f.db.Backlog(t.Context()); err != nil || b.Retries != 0 {
		t.Error(fmt.Sprint(b.Retries, " are left behind: ", err))
	}
}
