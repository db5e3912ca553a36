package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

const (
	clusterKey   = "77617962696c6c2077617962696c6c2077617962696c6c2077617962696c6c20"
	clusterLease = 3 * time.Second
)

// cluster is a PostgreSQL, nodes that share it, and what they promised.
type cluster struct {
	t        *testing.T
	began    time.Time
	binary   string
	pg       *pgtest.Server
	database string
	nodes    []*node
	running  sync.WaitGroup
	receiver *httptest.Server
	seed     maphash.Seed
	stopped  chan struct{}
	refuse   func(path, id string) bool // with 500; called with mu held

	mu        sync.Mutex
	promised  map[string]bool            // ids that were acknowledged
	arrived   map[arrivalKey][]time.Time // what was answered with 200, and when
	refused   map[string]int             // ids that were answered with 500
	twins     map[string]map[string]bool // ids of the events about one object
	longest   time.Duration              // that a publisher waited for an answer
	answers   map[int]int                // to publishers, by status
	spared    []*node                    // from killing
	incidents []incident
}

// arrivalKey is a delivery as its receiver sees it.
type arrivalKey struct{ path, id string }

func newCluster(t *testing.T, size int) *cluster {
	t.Helper()
	c := &cluster{
		t: t, began: time.Now(), seed: maphash.MakeSeed(), database: "waybill", stopped: make(chan struct{}),
		refuse: func(string, string) bool { return false }, promised: map[string]bool{}, arrived: map[arrivalKey][]time.Time{},
		refused: map[string]int{}, twins: map[string]map[string]bool{}, answers: map[int]int{},
	}
	var err error
	if c.binary, err = skewedBinary(); err != nil {
		t.Fatal(err)
	}
	c.pg, err = pgtest.Start(t.Context(), pgtest.Options{Durable: true, Settings: map[string]string{"track_commit_timestamp": "on"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.pg.CreateDatabase(t.Context(), c.database); err != nil {
		t.Fatal(err)
	}
	c.receiver = httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(c.receiver.Close)
	for i := range size {
		n := &node{c: c, name: fmt.Sprintf("node-%d", i), database: c.pg.TCPURL(c.database), data: t.TempDir(), address: freeAddress(t)}
		n.env = append(os.Environ(), "WAYBILL_BOOTSTRAP_TEST_KEY="+crashTestKey, "WAYBILL_BOOTSTRAP_LIVE_KEY="+crashLiveKey, "WAYBILL_ENCRYPTION_KEY="+clusterKey)
		c.nodes = append(c.nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.end()
		}
		c.running.Wait()
	})
	return c
}

// builds is a folder for what tests build, made and removed by TestMain.
var builds string

// skewedBinary is Waybill with a clock that can be set wrong, built by the
// first test that asks.
var skewedBinary = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(builds, "waybill-skewed")
	build := exec.CommandContext(context.Background(), "go", "build", "-tags", "skewed", "-o", binary, "github.com/waybill-dev/waybill/cmd/waybill") //nolint:gosec // the test names what it builds
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
})

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

func (c *cluster) hostPort() string {
	c.t.Helper()
	u, err := url.Parse(c.pg.TCPURL(c.database))
	if err != nil {
		c.t.Fatal(err)
	}
	return u.Host
}

// through is the database's URL by way of another address.
func (c *cluster) through(address string) string {
	return strings.Replace(c.pg.TCPURL(c.database), c.hostPort(), address, 1)
}

func (c *cluster) start() {
	c.t.Helper()
	for _, n := range c.nodes {
		c.running.Go(n.supervise)
	}
	for _, n := range c.nodes {
		n.awaitUp()
	}
}

func (c *cluster) over() bool {
	select {
	case <-c.stopped:
		return true
	default:
		return false
	}
}

// finish ends publishing and killing; what is under way is finished.
func (c *cluster) finish() { close(c.stopped) }

func (c *cluster) hash(id string) uint64 { return maphash.String(c.seed, id) }

func (c *cluster) createDestination(path string) {
	c.t.Helper()
	status, _, answer, err := c.nodes[0].post("/v2/core/event_destinations", "", `{"name":"chaos","type":"webhook_endpoint","event_payload":"snapshot",
		"enabled_events":["*"],"webhook_endpoint":{"url":"`+c.receiver.URL+path+`"}}`)
	if err != nil || status != http.StatusOK {
		c.t.Fatalf("create destination: status %d: %v: %s", status, err, answer)
	}
}

// publish has events accepted until the test is over. Half of the requests
// have an idempotency key, the other half's events have ids of their own.
func (c *cluster) publish(who int) {
	for n := 0; !c.over(); n++ {
		name, key, size := fmt.Sprintf("%d_%d", who, n), "", 1+9*(n%2)
		if n/2%2 == 0 {
			key = "key_" + name
		}
		events := make([]string, size)
		for i := range events {
			id := ""
			if key == "" {
				id = fmt.Sprintf(`"id":"own_%s_%d",`, name, i)
			}
			events[i] = fmt.Sprintf(`{%s"type":"order.paid","data":{"object":{"id":"or_%s_%d","object":"order","note":%q}}}`, id, name, i, strings.Repeat("x", 500))
		}
		c.accept(who+n, key, `{"events":[`+strings.Join(events, ",")+`]}`, size)
		wait(c.t.Context(), 10*time.Millisecond)
	}
}

// accept goes round the nodes until one has accepted the events.
func (c *cluster) accept(first int, key, body string, size int) {
	for i, began := first, time.Now(); ; i++ {
		status, header, answer, err := c.nodes[i%len(c.nodes)].post("/v2/core/events", key, body)
		switch {
		case err == nil && status == http.StatusOK:
			var page struct{ Data []struct{ ID string } }
			if err := json.Unmarshal(answer, &page); err != nil || len(page.Data) != size {
				c.t.Errorf("an answer of 200 with %d events of %d: %v", len(page.Data), size, err)
			}
			c.mu.Lock()
			for _, e := range page.Data {
				c.promised[e.ID] = true
			}
			c.mu.Unlock()
			return
		case err == nil && (status != http.StatusServiceUnavailable || header.Get("Retry-After") == ""):
			c.t.Errorf("status %d, want 200, or 503 with Retry-After (%q): %s", status, header.Get("Retry-After"), answer)
			return
		case time.Since(began) > 2*time.Minute:
			c.t.Errorf("no node accepts: status %d: %v", status, err)
			return
		}
		wait(c.t.Context(), 20*time.Millisecond)
	}
}

// receive is the endpoint of all destinations.
func (c *cluster) receive(w http.ResponseWriter, r *http.Request) {
	var e struct {
		ID   string
		Data struct{ Object struct{ ID string } }
	}
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return // the sender was killed while it sent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse(r.URL.Path, e.ID) {
		c.refused[e.ID]++
		http.Error(w, "not yet", http.StatusInternalServerError)
		return
	}
	k := arrivalKey{r.URL.Path, e.ID}
	c.arrived[k] = append(c.arrived[k], time.Now())
	if c.twins[e.Data.Object.ID] == nil {
		c.twins[e.Data.Object.ID] = map[string]bool{}
	}
	c.twins[e.Data.Object.ID][e.ID] = true
}

// eventually is until for what takes longer.
func (c *cluster) eventually(d time.Duration, what string, holds func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(d); !holds(); wait(c.t.Context(), 20*time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// awaitAll waits until nothing that was promised is missing at any path.
func (c *cluster) awaitAll(paths ...string) {
	c.t.Helper()
	missing := func() (ids []string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for id := range c.promised {
			for _, path := range paths {
				if len(c.arrived[arrivalKey{path, id}]) == 0 {
					ids = append(ids, path+" "+id)
				}
			}
		}
		return ids
	}
	for deadline := time.Now().Add(2 * time.Minute); len(missing()) > 0; wait(c.t.Context(), 50*time.Millisecond) {
		if time.Now().After(deadline) {
			lost := missing()
			c.t.Fatalf("%d deliveries of %d acknowledged events were not made, such as %s", len(lost), len(c.promised), lost[:min(5, len(lost))])
		}
	}
}

// connect opens a connection of the test's own.
func (c *cluster) connect() *pgx.Conn {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), c.pg.URL(c.database))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(c.t.Context())) })
	return conn
}

// node is a process that is started again whenever it ends.
type node struct {
	c             *cluster
	name, address string
	database      string // its URL
	data          string
	env           []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	killed time.Time // when it was, if this run was
	ended  bool      // is not to be started again
	exits  []string  // what it said when it ended by itself
}

// supervise runs the node until its end.
func (n *node) supervise() {
	for {
		var stderr bytes.Buffer
		n.mu.Lock()
		if n.ended {
			n.mu.Unlock()
			return
		}
		cmd := exec.CommandContext(context.Background(), n.c.binary, "serve", "--database", n.database, "--node-name", n.name, //nolint:gosec // the test's own binary
			"--node-lease", clusterLease.String(), "--data", n.data, "--listen", n.address, "--dev", "--log-level", "error")
		cmd.Env, cmd.Stderr, cmd.WaitDelay = n.env, &stderr, time.Second
		if err := cmd.Start(); err != nil {
			n.mu.Unlock()
			n.c.t.Error(err)
			return
		}
		n.cmd, n.killed = cmd, time.Time{}
		n.mu.Unlock()
		_ = cmd.Wait()
		n.mu.Lock()
		n.cmd = nil
		if n.killed.IsZero() {
			n.exits = append(n.exits, stderr.String())
		} else {
			n.c.note(incident{"kill -9 " + n.name, n.killed, time.Now().Add(incidentSlack), n.lanes()})
		}
		n.mu.Unlock()
		wait(context.Background(), 20*time.Millisecond)
	}
}

// lanes are those that the node owns, and delivers the events of; nil if
// PostgreSQL does not tell.
func (n *node) lanes() []int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, n.c.pg.URL(n.c.database))
	if err != nil {
		return nil
	}
	defer conn.Close(ctx) //nolint:errcheck // it was only read by
	rows, err := conn.Query(ctx, "SELECT lane FROM lanes WHERE starts_with(owner, $1)", n.name+"/")
	if err != nil {
		return nil
	}
	lanes, err := pgx.AppendRows([]int{}, rows, pgx.RowTo[int])
	if err != nil {
		return nil
	}
	return lanes
}

// kill ends this run of the node, if there is one.
func (n *node) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil && n.killed.IsZero() {
		n.killed = time.Now()
		_ = n.cmd.Process.Kill()
	}
}

// end kills the node for good.
func (n *node) end() {
	n.mu.Lock()
	n.ended = true
	n.mu.Unlock()
	n.kill()
	if n.c.t.Failed() {
		said := n.saidAtExit()
		for _, said := range said[max(0, len(said)-3):] {
			n.c.t.Logf("%s ended by itself: %s", n.name, said)
		}
	}
}

func (n *node) saidAtExit() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.exits)
}

// replaced is how often the node found its lane with another owner.
func (n *node) replaced() int {
	count := 0
	for _, said := range n.saidAtExit() {
		if strings.Contains(said, store.ErrFenced.Error()) {
			count++
		}
	}
	return count
}

func (n *node) awaitUp() {
	n.c.t.Helper()
	n.c.eventually(time.Minute, n.name+" is ready", func() bool {
		status, _, _, err := n.call(http.MethodGet, "/readyz", "", "")
		return err == nil && status == http.StatusOK
	})
}

func (n *node) post(path, key, body string) (status int, header http.Header, answer []byte, err error) {
	began := time.Now()
	status, header, answer, err = n.call(http.MethodPost, path, key, body)
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.longest = max(n.c.longest, time.Since(began))
	n.c.answers[status]++
	return status, header, answer, err
}

func (n *node) call(method, path, key, body string) (status int, header http.Header, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(n.c.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.address+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+crashTestKey)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, res.Header, answer, err
}

// partition is a network between a node and its database. While it is cut
// nothing gets through, and nobody is told; what was sent meanwhile arrives
// when it heals, as TCP would have it.
type partition struct {
	t       *testing.T
	to      string
	address string

	mu   sync.Mutex
	open chan struct{} // closed while everything gets through
	all  []net.Conn
}

func newPartition(t *testing.T, to string) *partition {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &partition{t: t, to: to, address: l.Addr().String(), open: make(chan struct{})}
	close(p.open)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.forward(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		p.heal()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.all {
			_ = c.Close()
		}
	})
	return p
}

func (p *partition) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

func (p *partition) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// pass returns when the network is not cut.
func (p *partition) pass() {
	p.mu.Lock()
	open := p.open
	p.mu.Unlock()
	<-open
}

func (p *partition) forward(from net.Conn) {
	p.pass()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		_ = from.Close() // the database is down
		return
	}
	p.mu.Lock()
	p.all = append(p.all, from, to)
	p.mu.Unlock()
	go p.pump(to, from)
	p.pump(from, to)
}

func (p *partition) pump(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.pass()
		if _, failed := to.Write(buf[:n]); failed != nil || err != nil {
			_ = to.Close()
			return
		}
	}
}
