package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) {
	var err error
	if builds, err = os.MkdirTemp("", "waybill-builds-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(builds) //nolint:errcheck // it is temporary all the same
	pgtest.Main(m)
}

// newNodes starts servers that share a PostgreSQL. Their leases are so long
// that no test sees one end.
func newNodes(t *testing.T, size int, change ...func(*config.Config)) []*server {
	t.Helper()
	url := pgtest.Database(t)
	nodes := make([]*server, size)
	for i := range nodes {
		nodes[i] = newServer(t, append([]func(*config.Config){func(cfg *config.Config) {
			cfg.Database, cfg.NodeName, cfg.NodeLease, cfg.EncryptionKey = config.Secret(url), fmt.Sprint("node-", i), 5*time.Minute, clusterKey
		}}, change...)...)
	}
	return nodes
}

// TestNodesShareDestinations publishes at one node while destinations are
// created at another.
func TestNodesShareDestinations(t *testing.T) {
	t.Parallel()
	const destinations = 5
	nodes := newNodes(t, 2)
	var mu sync.Mutex
	var got [destinations]map[string]bool
	for i := range got {
		got[i] = map[string]bool{}
	}
	at := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ ID string }
		i, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err = errors.Join(err, json.NewDecoder(r.Body).Decode(&e)); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got[i][e.ID] = true
	}))
	t.Cleanup(at.Close)
	type span struct{ began, ended time.Time }
	accepted := map[string]span{}
	stop, publishing := make(chan struct{}), sync.WaitGroup{}
	publishing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			began := time.Now()
			accepted[nodes[1].publish(customer("customer.created", "cus_1"))] = span{began, time.Now()}
		}
	})
	var created []span
	for i := range destinations {
		began := time.Now()
		nodes[0].post("/v2/core/event_destinations", object{
			"name": "d", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{"*"},
			"webhook_endpoint": object{"url": fmt.Sprint(at.URL, "/", i)},
		}).ok()
		created = append(created, span{began, time.Now()})
		wait(t.Context(), 50*time.Millisecond)
	}
	close(stop)
	publishing.Wait()
	began := time.Now()
	accepted[nodes[1].publish(customer("customer.created", "cus_1"))] = span{began, time.Now()}
	until(t, "everything is delivered", func() bool { return len(nodes[0].deliveries("status=pending")) == 0 })

	mu.Lock()
	defer mu.Unlock()
	complain := newComplaints(t)
	defer complain.report()
	// The ids of one node's events are in the order of their commits.
	order := slices.SortedFunc(maps.Keys(accepted), func(a, b string) int { return int(seqOf(t, a) - seqOf(t, b)) })
	for i, creation := range created {
		routed := false
		for _, id := range order {
			switch {
			case accepted[id].began.After(creation.ended) && !got[i][id]:
				complain.add("%s was accepted after destination %d was created, and was not delivered to it", id, i)
			case accepted[id].ended.Before(creation.began) && got[i][id]:
				complain.add("%s was accepted before destination %d was created, and was delivered to it", id, i)
			case routed && !got[i][id]:
				complain.add("%s was not delivered to destination %d, and something that was committed earlier was", id, i)
			}
			routed = routed || got[i][id]
		}
	}
	t.Logf("%d events", len(accepted))
}

func seqOf(t *testing.T, id string) event.Seq {
	t.Helper()
	seq, ok := event.ParseID(id, false)
	if !ok {
		t.Fatalf("%s is no id of ours", id)
	}
	return seq
}

// TestNodeStopsInOrder stops a node that has sends under way, deliveries
// queued and retries waiting. The other one does what is left long before any
// lease ends, and nothing is done twice.
func TestNodeStopsInOrder(t *testing.T) {
	t.Parallel()
	nodes := newNodes(t, 2, func(cfg *config.Config) { cfg.MaxInFlight = 2 })
	hold, refused := make(chan struct{}), map[string]bool{}
	at := newReceiver(t, func(p post) reply {
		switch {
		case p.path == "/slow":
			return reply{hold: hold}
		case !refused[p.id()]:
			refused[p.id()] = true
			return reply{status: 500}
		}
		return reply{}
	})
	nodes[0].destination(at, "/slow", nil)
	nodes[0].destination(at, "/retried", nil)
	var ids []string
	for range 30 {
		ids = append(ids, nodes[0].publish(customer("customer.created", "cus_1")))
	}
	until(t, "two sends are under way, and all else was tried", func() bool {
		return len(at.received("/slow")) == 2 && distinct(at.received("/retried")) == len(ids)
	})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		nodes[0].stop()
	}()
	until(t, "it stops", func() bool {
		r, err := nodes[0].http.Get(nodes[0].url + "/healthz") //nolint:noctx // refused at once
		if err == nil {
			_ = r.Body.Close()
		}
		return err != nil
	})
	close(hold)
	<-stopped
	until(t, "the other node has delivered the rest", func() bool {
		return same(slices.Compact(slices.Sorted(slices.Values(at.received("/slow")))), ids) && len(nodes[1].deliveries("status=pending")) == 0
	})
	if got := at.received("/slow"); !same(got, ids) {
		t.Errorf("%d deliveries of %d events", len(got), len(ids))
	}
	if got := at.received("/retried"); !same(got, append(slices.Clone(ids), ids...)) {
		t.Errorf("%d tries of %d events, each of which was to be tried twice", len(got), len(ids))
	}
}

// TestNodeIsKilled kills a node for good. The other does its work when its
// lease has ended.
func TestNodeIsKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	open := false
	c.refuse = func(string, string) bool { return !open }
	c.start()
	c.createDestination("/closed")
	wait(t.Context(), clusterLease) // from when on the other may take over
	events := strings.TrimSuffix(strings.Repeat(`{"type":"order.paid","data":{"object":{"id":"or_1","object":"order"}}},`, 100), ",")
	status, _, answer, err := c.nodes[0].post("/v2/core/events", "", `{"events":[`+events+`]}`)
	if err != nil || status != 200 {
		t.Fatalf("status %d: %v: %s", status, err, answer)
	}
	killed := time.Now()
	c.nodes[0].end()
	c.mu.Lock()
	var page struct{ Data []struct{ ID string } }
	if err := json.Unmarshal(answer, &page); err != nil {
		t.Error(err)
	}
	for _, e := range page.Data {
		c.promised[e.ID] = true
	}
	open = true
	c.mu.Unlock()
	c.awaitAll("/closed")
	t.Logf("the other node had delivered everything %s after the kill; the lease is %s", time.Since(killed).Round(time.Millisecond), clusterLease)
}

// TestNodesDeduplicate sends the same requests to three nodes at once.
func TestNodesDeduplicate(t *testing.T) {
	t.Parallel()
	nodes := newNodes(t, 3)
	for i := range 10 {
		own := customer("customer.created", fmt.Sprint("cus_own_", i))
		own["id"] = fmt.Sprint("own_", i)
		for how, body := range map[string]object{"key": customer("customer.created", fmt.Sprint("cus_key_", i)), "id": own} {
			answers := make([]answer, len(nodes))
			var sending sync.WaitGroup
			for j, n := range nodes {
				c := n.client
				if how == "key" {
					c = c.with("Idempotency-Key", fmt.Sprint("key_", i))
				}
				sending.Go(func() { answers[j] = c.post("/v2/core/events", body) })
			}
			sending.Wait()
			for _, a := range answers[1:] {
				if got, want := a.ok().text("id"), answers[0].ok().text("id"); got != want {
					t.Errorf("the same %s became %s and %s", how, want, got)
				}
				if a.at("created") != answers[0].at("created") {
					t.Errorf("two nodes answer\n%s\n%s", a.body, answers[0].body)
				}
			}
		}
	}
	if got := nodes[0].get("/v1/events?limit=100").ok().ids(); len(got) != 20 {
		t.Errorf("there are %d events, want 20: %s", len(got), got)
	}
}

// TestNodesShareFIFO sends to a FIFO queue at three nodes and receives from it
// at three. Each group keeps its order, and what was sent thrice is there once.
func TestNodesShareFIFO(t *testing.T) {
	t.Parallel()
	const groups, each = 3, 20
	nodes := newNodes(t, 3, withBus)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	made, err := nodes[0].queues().CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("orders.fifo"), Attributes: map[string]string{"FifoQueue": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimPrefix(*made.QueueUrl, nodes[0].url)
	var sending sync.WaitGroup
	for g := range groups {
		sending.Go(func() {
			for i := range each {
				// The same message at all nodes at once; the next one when it is answered.
				sent := make([]string, len(nodes))
				var same sync.WaitGroup
				for j, n := range nodes {
					same.Go(func() {
						out, err := n.queues().SendMessage(ctx, &sqs.SendMessageInput{
							QueueUrl: aws.String(n.url + url), MessageBody: aws.String(strconv.Itoa(i)),
							MessageGroupId: aws.String(fmt.Sprint("group-", g)), MessageDeduplicationId: aws.String(fmt.Sprintf("%d-%d", g, i)),
						})
						if err != nil {
							t.Error(err)
							return
						}
						sent[j] = *out.MessageId
					})
				}
				same.Wait()
				if distinct(sent) != 1 {
					t.Errorf("one message became %s", sent)
				}
			}
		})
	}
	var mu sync.Mutex
	got := map[string][]string{}
	done := func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, bodies := range got {
			n += len(bodies)
		}
		return n >= groups*each
	}
	var receiving sync.WaitGroup
	for _, n := range nodes {
		receiving.Go(func() {
			for !done() {
				out, err := n.queues().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
					QueueUrl: aws.String(n.url + url), MaxNumberOfMessages: 3, WaitTimeSeconds: 1,
					MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameMessageGroupId},
				})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, m := range out.Messages {
					group := m.Attributes["MessageGroupId"]
					got[group] = append(got[group], *m.Body)
				}
				mu.Unlock()
				for _, m := range out.Messages {
					if _, err := n.queues().DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String(n.url + url), ReceiptHandle: m.ReceiptHandle}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	sending.Wait()
	receiving.Wait()
	var want []string
	for i := range each {
		want = append(want, strconv.Itoa(i))
	}
	for g := range groups {
		if group := fmt.Sprint("group-", g); !slices.Equal(got[group], want) {
			t.Errorf("%s came as %s", group, got[group])
		}
	}
}

// TestNodeNeedsTheKey starts a node with another encryption key than the
// database was made with, and one with none.
func TestNodeNeedsTheKey(t *testing.T) {
	t.Parallel()
	first := newNodes(t, 1)[0]
	for _, key := range []string{strings.Repeat("0", 64), ""} {
		cfg := first.cfg
		cfg.NodeName, cfg.EncryptionKey, cfg.Data = "stranger", config.Secret(key), t.TempDir()
		a, err := app.New(t.Context(), cfg, app.Options{})
		if err == nil {
			t.Fatal(errors.Join(errors.New("it starts"), a.Stop(t.Context())))
		}
		if !strings.Contains(err.Error(), "WAYBILL_ENCRYPTION_KEY") {
			t.Errorf("the error does not say what to do: %v", err)
		}
	}
}
