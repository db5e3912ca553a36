package postgres_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

const scope = event.Scope(2)

// node is one process at a database.
type node struct {
	t *testing.T
	*postgres.DB

	lane store.LaneState
	seq  event.Seq
}

// start opens a node under a name. Its lease ends soon after its last Tend.
func start(t *testing.T, url, name string) *node {
	t.Helper()
	return startWith(t, url, name, 400*time.Millisecond)
}

func startWith(t *testing.T, url, name string, lease time.Duration) *node {
	t.Helper()
	n := &node{t: t, DB: open(t, postgres.Options{URL: url, Node: name, Lease: lease, MaxConns: 4})}
	var err error
	if n.lane, err = n.OpenLane(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.seq = n.lane.Last
	return n
}

// event makes one that is to be dispatched to the subscriptions.
func (n *node) event(subs ...int64) *event.Event {
	d := event.Draft{Type: "invoice.paid", Object: []byte(`{"id":"in_1"}`), ObjectID: "in_1"}
	e := d.Build(scope, n.Now(), "2025-01-01")
	for _, s := range subs {
		e.Routes = append(e.Routes, event.Route{Subscription: s})
	}
	n.seq = n.seq.Next(n.Now(), n.lane.Lane)
	e.Assign(n.seq)
	return e
}

func (n *node) batch(events ...*event.Event) *store.Batch {
	n.t.Helper()
	_, version, err := n.ChangedDestinations(n.t.Context(), 0)
	if err != nil {
		n.t.Fatal(err)
	}
	b := &store.Batch{Lane: n.lane.Lane, Epoch: n.lane.Epoch, ConfigVersion: version, Now: n.Now()}
	if len(events) > 0 {
		b.Submissions = []*store.Submission{{Events: events}}
	}
	return b
}

func (n *node) commit(b *store.Batch) {
	n.t.Helper()
	if err := n.Commit(n.t.Context(), b); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) tend() store.Tenure {
	n.t.Helper()
	tenure, err := n.Tend(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return tenure
}

// untilAdopted tends until the node took something over.
func (n *node) untilAdopted() {
	n.t.Helper()
	for until := time.Now().Add(20 * time.Second); ; {
		if n.tend().Adopted {
			return
		}
		if time.Now().After(until) {
			n.t.Fatal("nothing was taken over")
		}
	}
}

// due returns the deliveries that wait for this node, as "seq subscription".
func (n *node) due() (found []string) {
	n.t.Helper()
	waiting, err := n.WaitingSubscriptions(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	for _, w := range waiting {
		due, err := n.DueRetries(n.t.Context(), store.DueParams{Subscription: w.Subscription, Before: n.Now(), Limit: 1000})
		if err != nil {
			n.t.Fatal(err)
		}
		if len(due) != w.Count {
			n.t.Fatalf("%d of %d retries of %d are due", len(due), w.Count, w.Subscription)
		}
		for _, d := range due {
			found = append(found, fmt.Sprint(d.Seq, " ", d.Subscription))
		}
	}
	slices.Sort(found)
	return found
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestNodesHaveLanesOfTheirOwn(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	a, b := start(t, url, "a"), start(t, url, "b")
	if a.lane.Lane == b.lane.Lane {
		t.Fatalf("both have lane %d", a.lane.Lane)
	}
	ea, eb := a.event(1), b.event(1)
	a.commit(a.batch(ea))
	b.commit(b.batch(eb))
	for _, n := range []*node{a, b} {
		page, err := n.ListEvents(t.Context(), store.ListEvents{Scope: scope, Limit: 10})
		if err != nil || len(page.Items) != 2 {
			t.Fatalf("%d events, %v", len(page.Items), err)
		}
		mine, err := n.EventsAfter(t.Context(), store.AfterParams{Lane: n.lane.Lane, UpTo: 1<<63 - 1, Limit: 10})
		if err != nil || len(mine) != 1 || mine[0].Seq != n.seq {
			t.Fatalf("lane %d holds %v, %v", n.lane.Lane, mine, err)
		}
	}
}

// A process that starts under a name is that node from then on.
func TestNameIsTakenBack(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	first := start(t, url, "a")
	e := first.event(1, 2)
	b := first.batch(e)
	b.Watermark = e.Seq - 1
	first.commit(b)
	second := start(t, url, "a")
	want := store.LaneState{Lane: first.lane.Lane, Epoch: first.lane.Epoch + 1, Watermark: e.Seq - 1, Last: e.Seq}
	if second.lane != want {
		t.Fatalf("lane %+v, want %+v", second.lane, want)
	}
	is(t, first.Commit(t.Context(), first.batch(first.event(1))), store.ErrFenced)
	_, err := first.Tend(t.Context())
	is(t, err, store.ErrFenced)
	_, _, err = first.Resolve(t.Context(), b)
	is(t, err, store.ErrFenced)
	second.tend()
}

func TestDeadNodeIsSucceeded(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dead, heir := start(t, url, "dead"), start(t, url, "heir")
	settled, open, parked := dead.event(1), dead.event(1, 2, 3), dead.event(4)
	parked.Routes[0].Disposition = event.Parked
	b := dead.batch(settled, open, parked)
	b.Attempts = []*event.Attempt{
		{Seq: settled.Seq, Subscription: 1, Scope: scope, N: 1, Outcome: event.Delivered, Started: dead.Now()},
		{Seq: open.Seq, Subscription: 2, Scope: scope, N: 1, Outcome: event.Delivered, Started: dead.Now()},
	}
	dead.commit(b)
	heir.untilAdopted()
	want := []string{fmt.Sprint(open.Seq, " 1"), fmt.Sprint(open.Seq, " 3"), fmt.Sprint(parked.Seq, " 4")}
	slices.Sort(want)
	if got := heir.due(); !slices.Equal(got, want) {
		t.Fatalf("heir has %v to do, want %v", got, want)
	}
	is(t, dead.Commit(t.Context(), dead.batch()), store.ErrFenced)
	_, err := dead.Tend(t.Context())
	is(t, err, store.ErrFenced)
	if heir.tend().Adopted {
		t.Error("taken over twice")
	}

	// What the heir did for it is done.
	b = heir.batch()
	for _, seq := range []event.Seq{open.Seq, parked.Seq} {
		for sub := range int64(5) {
			b.RetryDelete = append(b.RetryDelete, store.RetryKey{Scope: scope, Seq: seq, Subscription: sub})
		}
	}
	heir.commit(b)
	if got := heir.due(); len(got) != 0 {
		t.Fatalf("heir still has %v to do", got)
	}
	// Then a new node can have the lane.
	heir.tend()
	if next := start(t, url, "next"); next.lane.Lane != dead.lane.Lane || next.lane.Last != parked.Seq {
		t.Fatalf("a new node got %+v, want lane %d after %d", next.lane, dead.lane.Lane, parked.Seq)
	}
}

// A node that stops in order is succeeded at once.
func TestReleasedLane(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	leaver := open(t, postgres.Options{URL: url, Node: "leaver", Lease: time.Hour})
	lane, err := leaver.OpenLane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a := &node{t: t, DB: leaver, lane: lane}
	if !a.tend().Leader {
		t.Fatal("the only node does not lead")
	}
	e := a.event(7)
	b := a.batch(e)
	b.RetryPut = []store.Retry{{RetryKey: store.RetryKey{Scope: scope, Seq: e.Seq, Subscription: 7}, N: 1, Next: a.Now()}}
	b.Watermark = e.Seq
	a.commit(b)
	heir := start(t, url, "heir")
	if heir.lane.Lane == lane.Lane {
		t.Fatal("a new node got a lane that is owned")
	}
	if tenure := heir.tend(); tenure.Adopted || tenure.Leader {
		t.Fatalf("%+v, although the other has an hour", tenure)
	}
	if err := a.ReleaseLanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tenure := heir.tend(); !tenure.Adopted || !tenure.Leader {
		t.Fatalf("%+v after the other left", tenure)
	}
	if got := heir.due(); len(got) != 1 {
		t.Fatalf("heir has %v to do", got)
	}
}

// While the database was away nobody could renew anything: nobody is dead.
func TestOutageKillsNobody(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	url := server.Database(t)
	const lease = 3 * time.Second
	a, b := startWith(t, url, "a", lease), startWith(t, url, "b", lease)
	a.tend()
	b.tend()
	if err := server.Down(t.Context(), pgtest.Immediate); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(lease + time.Second); time.Now().Before(until); {
		_, err := a.Tend(t.Context())
		is(t, err, store.ErrUnavailable)
		is(t, a.Commit(t.Context(), &store.Batch{Lane: a.lane.Lane, Epoch: a.lane.Epoch}), store.ErrUnavailable)
		is(t, a.Probe(t.Context()), store.ErrUnavailable)
		runtime.Gosched()
	}
	if err := server.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if a.tend().Adopted {
			t.Fatal("a took b for dead")
		}
	}
	b.tend() // which is alive
	a.commit(a.batch(a.event(1)))
	b.commit(b.batch(b.event(1)))
}

// A node may be started before its database is; a database that does not exist
// will not come into being by waiting.
func TestOpenWaits(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	url := server.Database(t)
	if err := server.Down(t.Context(), pgtest.Fast); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		db, err := postgres.Open(t.Context(), postgres.Options{URL: url, Node: "early"})
		if err == nil {
			err = db.Close()
		}
		opened <- err
	}()
	if err := server.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
	_, err = postgres.Open(t.Context(), postgres.Options{URL: server.URL("absent"), Node: "a"})
	is(t, err, store.ErrUnavailable)
	if _, err = postgres.Open(t.Context(), postgres.Options{URL: "postgres://u:hunter2@[::1/x"}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	a := start(t, pgtest.Database(t), "a")
	b := a.batch(a.event(1))
	a.commit(b)
	committed, epoch, err := a.Resolve(t.Context(), b)
	if err != nil || !committed || epoch != a.lane.Epoch+1 {
		t.Fatalf("%v, %d, %v", committed, epoch, err)
	}
	// What may still be on its way to the server comes too late.
	late := a.batch(a.event(1))
	is(t, a.Commit(t.Context(), late), store.ErrFenced)
	committed, epoch, err = a.Resolve(t.Context(), late)
	if err != nil || committed {
		t.Fatalf("%v, %d, %v", committed, epoch, err)
	}
	a.lane.Epoch = epoch
	a.commit(a.batch(a.event(1)))
}

// A change on one node is hinted to the others, and holds for what they commit.
func TestChangesReachOthers(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	a, b := start(t, url, "a"), start(t, url, "b")
	for range 2 { // both listen by now
		select {
		case <-b.Hints():
		case <-time.After(10 * time.Second):
			t.Fatal("no hint")
		}
		stale := b.batch(b.event(1))
		d := store.Destination{Scope: scope, ID: event.NewDestinationID(false), Status: event.Enabled, Config: []byte("{}"), Created: a.Now(), Updated: a.Now()}
		if err := a.CreateDestination(t.Context(), &d, nil); err != nil {
			t.Fatal(err)
		}
		is(t, b.Commit(t.Context(), stale), store.ErrStaleRoutes)
		if got := b.tend().ConfigVersion; got != d.Version {
			t.Fatalf("version %d, want %d", got, d.Version)
		}
		b.commit(b.batch(b.event(1)))
	}
}

// The same client's id or idempotency key on several nodes at once is accepted
// once.
func TestKeysHoldAcrossNodes(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	nodes := []*node{start(t, url, "a"), start(t, url, "b"), start(t, url, "c")}
	const rounds, keys = 20, 8
	var mu sync.Mutex
	made := map[string][]event.Seq{}
	for round := range rounds {
		var wg sync.WaitGroup
		for i, n := range nodes {
			b := n.batch()
			for k := range keys {
				key := (k*(i*2+1) + i) % keys // each in an order of its own
				name := fmt.Sprint("key ", round, " ", key)
				e := n.event(1)
				s := &store.Submission{Events: []*event.Event{e}}
				if key%2 == 0 {
					s.Keys = []store.EventKey{{ID: name, Hash: sha256.Sum256([]byte(name))}}
				} else {
					s.Idempotency = &store.Idempotency{Scope: scope, Generation: 1, Key: name, Hash: sha256.Sum256([]byte(name)), Result: []byte(e.ID()), Created: n.Now()}
				}
				b.Submissions = append(b.Submissions, s)
			}
			wg.Go(func() {
				if err := n.Commit(t.Context(), b); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, s := range b.Submissions {
					switch {
					case s.Err != nil:
						t.Error(s.Err)
					case s.Replayed, len(s.Existing) > 0:
					case s.Idempotency != nil:
						made[s.Idempotency.Key] = append(made[s.Idempotency.Key], s.Events[0].Seq)
					default:
						made[s.Keys[0].ID] = append(made[s.Keys[0].ID], s.Events[0].Seq)
					}
				}
			})
		}
		wg.Wait()
	}
	if len(made) != rounds*keys {
		t.Errorf("%d keys, want %d", len(made), rounds*keys)
	}
	for key, seqs := range made {
		if len(seqs) != 1 {
			t.Errorf("%s made %v", key, seqs)
		}
	}
}

// Receivers at several nodes share a queue without getting anything twice, and
// a FIFO queue keeps its order.
func TestQueuesHoldAcrossNodes(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	nodes := []*node{start(t, url, "a"), start(t, url, "b"), start(t, url, "c")}
	for _, fifo := range []bool{false, true} {
		q := &store.Resource{ResourceKey: store.ResourceKey{Scope: scope, Kind: store.KindQueue, Name: fmt.Sprint("q", fifo)}, Status: event.Enabled}
		if err := nodes[0].ChangeResources(t.Context(), []*store.Resource{q}, true); err != nil {
			t.Fatal(err)
		}
		const each = 60
		var mu sync.Mutex
		got := map[string]int{}
		order := map[string][]int64{}
		var sending, receiving sync.WaitGroup
		for i, n := range nodes {
			sending.Go(func() {
				for j := range each {
					m := &store.QueueMessage{Body: fmt.Append(nil, i, " ", j), GroupID: fmt.Sprint(j % 3)}
					op := &store.QueueOp{Queue: q.Number, Send: &store.QueueSend{Message: m, FIFO: fifo}}
					if err := n.ChangeQueues(t.Context(), []*store.QueueOp{op}, n.Now()); err != nil || op.Err != nil {
						t.Error(err, op.Err)
					}
				}
			})
		}
		if fifo {
			sending.Wait() // so that what comes first is known
		}
		for _, n := range nodes {
			receiving.Go(func() {
				for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
					r := &store.QueueReceive{Max: 5, HideUntil: n.Now().Add(time.Hour), FIFO: fifo}
					ops := []*store.QueueOp{{Queue: q.Number, Receive: r}}
					if err := n.ChangeQueues(t.Context(), ops, n.Now()); err != nil {
						t.Error(err)
						return
					}
					var deletes []*store.QueueOp
					mu.Lock()
					for _, m := range r.Messages {
						got[string(m.Body)]++
						order[m.GroupID] = append(order[m.GroupID], m.Sequence)
						deletes = append(deletes, &store.QueueOp{Queue: q.Number, Delete: &store.QueueReceipt{ID: m.ID, Receipt: m.Receipt}})
					}
					all := len(got) == each*len(nodes)
					mu.Unlock()
					if err := n.ChangeQueues(t.Context(), deletes, n.Now()); err != nil {
						t.Error(err)
					}
					if all {
						return
					}
				}
			})
		}
		sending.Wait()
		receiving.Wait()
		if len(got) != each*len(nodes) {
			t.Errorf("FIFO %v: %d messages came, want %d", fifo, len(got), each*len(nodes))
		}
		for body, n := range got {
			if n != 1 {
				t.Errorf("FIFO %v: %q came %d times", fifo, body, n)
			}
		}
		for group, sequence := range order {
			if fifo && !slices.IsSorted(sequence) {
				t.Errorf("group %s came as %v", group, sequence)
			}
		}
	}
}

// The events of one object are sent by one node at a time, whichever accepted
// them, in the order in which they were.
func TestOrderHoldsAcrossNodes(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	nodes := []*node{startWith(t, url, "a", time.Minute), startWith(t, url, "b", time.Minute)}
	if tenure := nodes[0].tend(); tenure.Nodes != 2 {
		t.Errorf("%d nodes, want 2", tenure.Nodes)
	}
	const group = 77
	var want []event.Seq
	// The clock of the second runs behind, so that its numbers are lower.
	nodes[1].seq = event.SeqAt(time.Now().Add(-time.Hour)) | event.Seq(nodes[1].lane.Lane)<<13
	for i := range 10 {
		n := nodes[i%2]
		n.seq++
		d := event.Draft{Type: "invoice.paid", Object: []byte(`{"id":"in_1"}`), ObjectID: "in_1"}
		e := d.Build(scope, n.Now(), "2025-01-01")
		e.Routes = []event.Route{{Subscription: 3, Disposition: event.Parked, Group: group}}
		e.Assign(n.seq)
		n.commit(n.batch(e))
		want = append(want, e.Seq)
	}
	for i, seq := range want {
		owner := nodes[i%2]
		for _, n := range nodes {
			for _, g := range []int64{0, group} {
				due, err := n.DueRetries(t.Context(), store.DueParams{Subscription: 3, Before: n.Now(), Ordered: true, Group: g, Limit: 10})
				if err != nil {
					t.Fatal(err)
				}
				if n == owner && (len(due) != 1 || due[0].Seq != seq || due[0].Group != group) || n != owner && len(due) != 0 {
					t.Fatalf("event %d, group %d: %+v", i, g, due)
				}
			}
		}
		b := owner.batch()
		b.RetryDelete = []store.RetryKey{{Scope: scope, Seq: seq, Subscription: 3}}
		owner.commit(b)
	}
}

// Turns are given out in the order of commits, also when two nodes commit at
// the same time: a row that can be seen is never overtaken.
func TestTurnsAreThoseOfCommits(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var wg sync.WaitGroup
	nodes := []*node{startWith(t, url, "a", time.Minute), startWith(t, url, "b", time.Minute), startWith(t, url, "c", time.Minute)}
	stop := make(chan struct{})
	for _, n := range nodes {
		wg.Go(func() {
			for range 60 {
				var events []*event.Event
				for g := range 3 {
					e := n.event()
					e.Routes = []event.Route{{Subscription: 3, Disposition: event.Parked, Group: int64(3 - g)}}
					events = append(events, e)
				}
				if err := n.Commit(t.Context(), n.batch(events...)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); close(stop) }()
	firsts := map[int64]event.Seq{}
	for done := false; !done; {
		select {
		case <-stop:
			done = true
		default:
		}
		for _, n := range nodes {
			due, err := n.DueRetries(t.Context(), store.DueParams{Subscription: 3, Before: n.Now().Add(time.Hour), Ordered: true, Limit: 10})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range due {
				if was := firsts[d.Group]; was != 0 && was != d.Seq {
					t.Fatalf("the first of group %d was %d and is %d", d.Group, was, d.Seq)
				}
				firsts[d.Group] = d.Seq
			}
		}
	}
	if len(firsts) != 3 {
		t.Errorf("groups: %v", firsts)
	}
}
