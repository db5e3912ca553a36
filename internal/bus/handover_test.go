package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
	"github.com/waybill-dev/waybill/internal/target"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// A schedule fires once, however many nodes believe for a moment that it is
// theirs to fire, and whoever goes on with it.
func TestSchedulesFireOnceWhoeverLeads(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	ctx := t.Context()
	var ahead atomic.Int64 // of the clock
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	sent := make(chan string, 100)
	send := sender(func(m target.Message) target.Result {
		sent <- m.EventID
		return target.Result{Started: time.Now()}
	})
	nodes := make([]*Service, 2)
	for i := range nodes {
		db, err := postgres.Open(ctx, postgres.Options{URL: url, Node: fmt.Sprint(i), MaxConns: 4})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = New(Options{Store: db, Now: now, Shared: true})
		e := engine.New(engine.Options{Store: db, Load: nodes[i].Load, Open: func(event.Target) (target.Target, error) { return send, nil }})
		nodes[i].SetEngine(e)
		if err := e.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Stop(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		if i == 0 {
			if err := db.CreateAccount(ctx, &store.CreateAccount{Account: store.Account{ID: "acct_one", AWSID: "000000000042", Created: now()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	a, b := nodes[0], nodes[1]
	caller := account.AWSCaller{Scope: event.NewScope(1, true), AccountID: "000000000042", Region: "us-east-1"}
	if _, err := a.PutRule(ctx, caller, NewRule{Name: "every", Schedule: "rate(1 minute)"}); err != nil {
		t.Fatal(err)
	}
	if bad, err := a.PutTargets(ctx, caller, "", "every", []Target{{ID: "1", ARN: "arn:aws:sqs:us-east-1:000000000042:q"}}); err != nil || bad != nil {
		t.Fatal(bad, err)
	}
	if err := b.refresh(ctx); err != nil {
		t.Fatal(err)
	}
	seen := []firing{{rules: map[int64]*fired{}}, {rules: map[int64]*fired{}}}
	const minutes = 4
	for range minutes {
		ahead.Add(int64(time.Minute))
		var both sync.WaitGroup
		for i, n := range nodes {
			both.Go(func() { n.fireDue(ctx, &seen[i]) })
		}
		both.Wait()
	}
	// A new leader looks back.
	b.fireDue(ctx, &firing{rules: map[int64]*fired{}})
	ids := map[string]bool{}
	for range minutes {
		select {
		case id := <-sent:
			ids[id] = true
		case <-time.After(30 * time.Second):
			t.Fatalf("it fired %d times of %d", len(ids), minutes)
		}
	}
	if len(ids) != minutes || len(sent) > 0 {
		t.Errorf("%d events, and %d deliveries too many", len(ids), len(sent))
	}
}
