package queue_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/queue"
)

// poll is how often the nodes of these tests look for each other's messages,
// and soon how long that may take.
const (
	poll = 200 * time.Millisecond
	soon = 250 * time.Millisecond
)

// node is one of several processes at a store.
type node struct {
	*fixture
}

// nodes calls test, in a bubble, with several that share a store. None runs
// moves.
func nodes(t *testing.T, test func(t *testing.T, a, b node)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := open(t)
		both := make([]node, 2)
		for i := range both {
			s := queue.New(queue.Options{Store: db, URL: func() string { return base }, Poll: poll})
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			both[i] = node{&fixture{t: t, db: db, Service: s}}
		}
		test(t, both[0], both[1])
		for _, n := range both {
			n.Stop()
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// load does what the engine does when the configuration has changed.
func (n node) load() {
	n.t.Helper()
	if err := n.Load(n.t.Context(), 1); err != nil {
		n.t.Fatal(err)
	}
}

// run runs the moves of a node until what it returns is called.
func (n node) run() (stop func()) {
	ctx, cancel := context.WithCancel(n.t.Context())
	n.moves.Go(func() { n.RunMoves(ctx) })
	return func() {
		cancel()
		n.moves.Wait()
	}
}

// waits begins to wait for a message. What it returns yields it, after the time
// that passed since it was called.
func (n node) waits(url string) func() (queue.Received, time.Duration) {
	got := make(chan []queue.Received, 1)
	go func() {
		all, err := n.Receive(n.t.Context(), caller, queue.Receive{QueueURL: url, Wait: ptr(20), Visibility: ptr(600)})
		if err != nil {
			n.t.Error(err)
		}
		got <- all
	}()
	synctest.Wait()
	return func() (queue.Received, time.Duration) {
		began := time.Now()
		all := <-got
		if len(all) != 1 {
			n.t.Fatalf("received %v", all)
		}
		return all[0], time.Since(began)
	}
}

func TestAReceiverHearsOfWhatAnotherNodeDoes(t *testing.T) {
	nodes(t, func(t *testing.T, a, b node) {
		hears := func(what, want string, next func() (queue.Received, time.Duration)) queue.Received {
			t.Helper()
			m, after := next()
			if m.Body != want || after > soon {
				t.Errorf("%s: received %q after %v", what, m.Body, after)
			}
			return m
		}
		url := a.create("q", nil)
		next := b.waits(url)
		a.send(url, queue.Entry{Body: "1"})
		first := hears("a message is sent", "1", next)

		next = b.waits(url)
		if err := a.ChangeVisibility(t.Context(), caller, url, first.Handle, ptr(0)); err != nil {
			t.Fatal(err)
		}
		hears("a message comes back", "1", next)

		next = b.waits(url)
		a.send(url, queue.Entry{Body: "2", Delay: ptr(3)})
		if m, after := next(); m.Body != "2" || after < 3*time.Second || after > 3*time.Second+soon {
			t.Errorf("a delayed message: received %q after %v", m.Body, after)
		}

		fifo := a.create("q.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
		a.send(fifo, queue.Entry{Body: "3", GroupID: "g"})
		a.send(fifo, queue.Entry{Body: "4", GroupID: "g"})
		held := a.receive(fifo, queue.Receive{Visibility: ptr(600)})[0]
		next = b.waits(fifo)
		was := a.db.changes
		<-time.After(5 * time.Second) // of the bubble's clock
		if n := a.db.changes - was; n > 0 {
			t.Errorf("waiting for a closed group took %d transactions", n)
		}
		if err := a.DeleteMessage(t.Context(), caller, fifo, held.Handle); err != nil {
			t.Fatal(err)
		}
		hears("a group is opened", "4", next)
	})
}

// A queue that is deleted elsewhere ends the waiting at it.
func TestAReceiverHearsOfADeletionAtAnotherNode(t *testing.T) {
	nodes(t, func(t *testing.T, a, b node) {
		url := a.create("q", nil)
		b.load()
		ended := make(chan error)
		go func() {
			_, err := b.Receive(t.Context(), caller, queue.Receive{QueueURL: url, Wait: ptr(20)})
			ended <- err
		}()
		synctest.Wait()
		if err := a.Delete(t.Context(), caller, url); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		b.load()
		wantCode(t, "receive", <-ended, "QueueDoesNotExist")
		if after := time.Since(began); after > soon {
			t.Errorf("it ended after %v", after)
		}
	})
}

// What was answered at one node holds at the other at once.
func TestNodesKnowEachOthersQueues(t *testing.T) {
	nodes(t, func(t *testing.T, a, b node) {
		dead := a.create("dead", nil)
		redrive := map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + arnOf("dead") + `","maxReceiveCount":"1"}`}
		source := b.create("source", redrive)
		a.send(source, queue.Entry{Body: "m"})
		urls, _, err := a.DeadLetterSources(t.Context(), caller, dead, 0, "")
		if err != nil || len(urls) != 1 || urls[0] != source {
			t.Errorf("sources %v, %v", urls, err)
		}
		b.create("elsewhere", nil)
		if _, err := a.StartMove(t.Context(), caller, arnOf("dead"), arnOf("elsewhere"), nil); err != nil {
			t.Error(err)
		}
		tasks, err := b.Moves(t.Context(), caller, arnOf("dead"), 0)
		if err != nil || len(tasks) != 1 || tasks[0].Status != "RUNNING" {
			t.Errorf("tasks %+v, %v", tasks, err)
		}
	})
}

// A task runs at one node, whichever it was begun at, and goes on at the next
// when that one is gone.
func TestMovesSurviveTheirNode(t *testing.T) {
	nodes(t, func(t *testing.T, a, b node) {
		dead := a.create("dead", nil)
		source := a.create("source", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + arnOf("dead") + `","maxReceiveCount":"1"}`})
		const n = 20
		for i := range n {
			a.send(dead, queue.Entry{Body: fmt.Sprint(i)})
		}
		leads := a.run()
		if _, err := b.StartMove(t.Context(), caller, arnOf("dead"), arnOf("source"), ptr(2)); err != nil {
			t.Fatal(err)
		}
		next := b.waits(source)
		a.load()
		if _, after := next(); after > soon {
			t.Errorf("the task began after %v", after)
		}
		<-time.After(3 * time.Second) // of the bubble's clock
		leads()
		leads = b.run()
		<-time.After(3 * time.Second)
		status := func() queue.MoveTask {
			t.Helper()
			tasks, err := b.Moves(t.Context(), caller, arnOf("dead"), 0)
			if err != nil || len(tasks) != 1 {
				t.Fatal(tasks, err)
			}
			return tasks[0]
		}
		if s := status(); s.Status != "RUNNING" || s.Moved < 8 || s.Moved > 14 {
			t.Errorf("after six seconds: %+v", s)
		}
		<-time.After(10 * time.Second)
		if s := status(); s.Status != "COMPLETED" || s.Moved != n {
			t.Errorf("in the end: %+v", s)
		}

		// Cancelling is heard of as soon.
		for i := range n {
			a.send(dead, queue.Entry{Body: fmt.Sprint(i)})
		}
		handle, err := a.StartMove(t.Context(), caller, arnOf("dead"), arnOf("source"), ptr(2))
		if err != nil {
			t.Fatal(err)
		}
		b.load()
		<-time.After(time.Second)
		if _, err := a.CancelMove(t.Context(), caller, handle); err != nil {
			t.Fatal(err)
		}
		b.load()
		synctest.Wait()
		left := a.attribute(dead, "ApproximateNumberOfMessages")
		<-time.After(10 * time.Second)
		if got := a.attribute(dead, "ApproximateNumberOfMessages"); got != left || left == "0" {
			t.Errorf("%s were left when it was cancelled, %s later", left, got)
		}
		leads()
	})
}
