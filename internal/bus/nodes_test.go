package bus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/event"
)

// node is one of several processes at a store.
type node struct {
	*fixture
	engine *nodeEngine
}

// nodeEngine counts its loads.
type nodeEngine struct {
	*keeper
	loads atomic.Int32
	hold  chan struct{} // a load waits for it
}

func (e *nodeEngine) Refresh(ctx context.Context) error {
	e.loads.Add(1)
	if e.hold != nil {
		<-e.hold
	}
	return e.keeper.Refresh(ctx)
}

// nodes calls test, in a bubble, with two that share a store.
func nodes(t *testing.T, test func(t *testing.T, a, b node)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := newFixture(t)
		both := make([]node, 2)
		for i := range both {
			f := *first
			f.Service = bus.New(bus.Options{Store: f.ground.DB, Key: f.ground.Key, Now: f.ground.Now, Shared: true})
			f.engine = &keeper{load: f.Load, subs: map[int64]event.Subscription{}, distinct: map[*event.Event]bool{}}
			both[i] = node{fixture: &f, engine: &nodeEngine{keeper: f.engine}}
			f.SetEngine(both[i].engine)
			ok(t, both[i].engine.Refresh(t.Context()))
		}
		test(t, both[0], both[1])
	})
}

// put puts an entry and returns the events that came of it.
func (n node) put(c account.AWSCaller, busName string) []*event.Event {
	n.t.Helper()
	results, err := n.PutEvents(n.t.Context(), c, []bus.Entry{{Source: "shop", DetailType: "t", Detail: []byte("{}"), Bus: busName}})
	if err != nil || results[0].EventID == "" {
		n.t.Fatal(results, err)
	}
	return n.engine.take()
}

// What was answered at one node holds at the other at once.
func TestNodesKnowEachOthersBuses(t *testing.T) {
	nodes(t, func(t *testing.T, a, b node) {
		for _, name := range []string{bus.DefaultBus, "orders"} {
			if name != bus.DefaultBus {
				a.createBus(a.one, name)
			}
			a.putRule(a.one, name, "r", `{"source":["shop"]}`)
			a.putTargets(a.one, name, "r", bus.Target{ID: "1", ARN: queueARN})
			names, _, err := b.ListRuleNamesByTarget(t.Context(), b.one, name, queueARN, "", 0)
			if err != nil || len(names) != 1 {
				t.Errorf("rules %v, %v", names, err)
			}
		}
		made := a.createBus(a.one, "parcels")
		if events := b.put(b.one, "parcels"); len(events) != 1 || events[0].Bus != made.Number {
			t.Errorf("put %v", events)
		}
		byARN := a.createBus(a.one, "letters")
		if events := b.put(b.one, byARN.ARN); len(events) != 1 || events[0].Bus != byARN.Number {
			t.Errorf("put by ARN %v", events)
		}
		if events := b.put(b.one, "none"); len(events) != 0 {
			t.Errorf("put on no bus: %v", events)
		}

		a.source(sourceName)
		if got := b.SourceState(sourceName, region); got != bus.SourcePending {
			t.Errorf("the source is %q", got)
		}
		associate(t, a.fixture)
		results, err := b.PutPartnerEvents(t.Context(), b.one, []bus.Entry{{Source: sourceName, DetailType: "t", Detail: []byte("{}")}})
		if err != nil || results[0].EventID == "" || len(b.engine.take()) != 1 {
			t.Errorf("put by the partner: %v, %v", results, err)
		}
	})
}

// However many ask for what there is not, the store is asked by one at a time.
func TestMissesShareALoad(t *testing.T) {
	nodes(t, func(t *testing.T, _, b node) {
		b.engine.hold = make(chan struct{})
		b.engine.loads.Store(0)
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() { b.put(b.one, fmt.Sprint("none-", i)) })
		}
		synctest.Wait()
		if n := b.engine.loads.Load(); n != 1 {
			t.Errorf("%d loads at a time", n)
		}
		close(b.engine.hold)
		all.Wait()
		if n := b.engine.loads.Load(); n > 2 {
			t.Errorf("%d loads in all", n)
		}
	})
}

// Whichever node is asked for a replay, the one that runs them hears of it with
// the next load.
func TestAReplayIsHeardOf(t *testing.T) {
	nodes(t, func(t *testing.T, a, b node) {
		ctx := t.Context()
		at := a.createBus(a.one, "orders")
		archive, err := a.CreateArchive(ctx, a.one, bus.NewArchive{Name: "all", SourceARN: at.ARN})
		ok(t, err)
		running, end := context.WithCancel(ctx)
		var loop sync.WaitGroup
		loop.Go(func() { a.RunReplays(running) })
		synctest.Wait()
		now := a.ground.Now()
		_, err = b.StartReplay(ctx, b.one, bus.NewReplay{Name: "again", ArchiveARN: archive.ARN, BusARN: at.ARN, From: now.Add(-time.Hour), To: now})
		ok(t, err)
		began := time.Now()
		ok(t, a.engine.Refresh(ctx))
		synctest.Wait()
		if r, err := b.DescribeReplay(ctx, b.one, "again"); err != nil || r.State != bus.ReplayCompleted || time.Since(began) > 0 {
			t.Errorf("%+v after %v, %v", r, time.Since(began), err)
		}
		end()
		loop.Wait()
	})
}

// So it is with a connection. The outcome of a try, which is heard of too, does
// not lead to the next.
func TestAConnectionIsHeardOf(t *testing.T) {
	nodes(t, func(t *testing.T, a, b node) {
		ctx := t.Context()
		tries := 0
		a.SetAuthorizer(func(context.Context, bus.Endpoint) (bool, error) {
			tries++
			return false, fmt.Errorf("no answer, for the %dth time", tries)
		})
		running, end := context.WithCancel(ctx)
		var loop sync.WaitGroup
		loop.Go(func() { a.RunConnections(running) })
		synctest.Wait()
		_, err := b.CreateConnection(ctx, b.one, bus.NewConnection{Name: "c", Type: bus.AuthOAuth, Auth: &bus.ConnectionAuth{OAuth: &bus.OAuth{
			Client: &bus.OAuthClient{ID: "id", Secret: "secret"}, Endpoint: "https://auth.example.com/token", Method: "POST",
		}}})
		ok(t, err)
		for range 3 {
			ok(t, a.engine.Refresh(ctx))
			synctest.Wait()
		}
		if tries != 1 {
			t.Errorf("it was tried %d times", tries)
		}
		end()
		loop.Wait()
	})
}
