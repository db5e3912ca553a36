package app_test

import (
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

// TestFailover takes PostgreSQL away from two nodes for longer than their
// leases. While it is gone, publishers are told so without having to wait;
// deliveries go on by themselves when it is back; and neither node is taken
// for dead, so nothing at all is delivered twice. WAYBILL_FAILOVER_OUTAGE sets
// how long it is gone.
func TestFailover(t *testing.T) {
	t.Parallel()
	outage := 5 * time.Second
	if text := os.Getenv("WAYBILL_FAILOVER_OUTAGE"); text != "" {
		var err error
		if outage, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster(t, 2)
	closed := true
	c.refuse = func(path, _ string) bool { return path == "/closed" && closed }
	c.start()
	c.createDestination("/steady")
	c.createDestination("/closed")
	owners := c.owners()

	var publishers sync.WaitGroup
	for i := range 4 {
		publishers.Go(func() { c.publish(i) })
	}
	c.eventually(time.Minute, "events are refused", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.refused) >= 20
	})
	if err := c.pg.Down(t.Context(), pgtest.Immediate); err != nil {
		t.Fatal(err)
	}
	down := time.Now()
	wait(t.Context(), outage)
	c.mu.Lock()
	if c.answers[http.StatusServiceUnavailable] == 0 {
		t.Errorf("PostgreSQL was down for %s, and publishers were answered %v", outage, c.answers)
	}
	closed = false
	c.mu.Unlock()
	arrived := c.count()
	if err := c.pg.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	c.eventually(5*time.Second, "deliveries go on", func() bool { return c.count() > arrived })
	t.Logf("PostgreSQL was gone for %s; deliveries went on %s after it was back", back.Sub(down).Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	wait(t.Context(), 2*clusterLease) // for whoever would take over
	c.finish()
	publishers.Wait()
	c.awaitAll("/steady", "/closed")
	if now := c.owners(); !maps.Equal(now, owners) {
		t.Errorf("lanes were owned by %v, and are by %v", owners, now)
	}
	c.endedNone()
	c.judge()
}

// TestCutOff has a network that swallows everything between the only node and
// PostgreSQL, for longer than any time-out. Publishers are told so all the
// same, and nothing is lost or done twice.
func TestCutOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	n, cut := c.nodes[0], newPartition(t, c.hostPort())
	n.database = c.through(cut.address)
	c.start()
	c.createDestination("/steady")
	var publishers sync.WaitGroup
	for i := range 8 {
		publishers.Go(func() { c.publish(i) })
	}
	wait(t.Context(), time.Second)
	cut.cut()
	wait(t.Context(), 12*time.Second)
	cut.heal()
	healed, arrived := time.Now(), c.count()
	c.eventually(5*time.Second, "deliveries go on", func() bool { return c.count() > arrived })
	t.Logf("deliveries went on %s after the network was back", time.Since(healed).Round(time.Millisecond))
	wait(t.Context(), time.Second)
	c.finish()
	publishers.Wait()
	c.awaitAll("/steady")
	c.endedNone()
	c.judge()
}

// count is how many deliveries arrived.
func (c *cluster) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.arrived)
}

// endedNone checks that no node ended, and that no publisher had to wait for
// long.
func (c *cluster) endedNone() {
	c.t.Helper()
	for _, n := range c.nodes {
		if said := n.saidAtExit(); len(said) > 0 {
			c.t.Errorf("%s ended: %s", n.name, said)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.longest > 12*time.Second { // 10 s, on a machine that has other things to do
		c.t.Errorf("a publisher waited %s for an answer", c.longest)
	}
}

// owners are the processes that own lanes, by lane.
func (c *cluster) owners() map[int]string {
	c.t.Helper()
	rows, err := c.connect().Query(c.t.Context(), "SELECT lane, owner FROM lanes")
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	owners := map[int]string{}
	for rows.Next() {
		var lane int
		var owner string
		if err := rows.Scan(&lane, &owner); err != nil {
			c.t.Fatal(err)
		}
		owners[lane] = owner
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	if slices.Contains(slices.Collect(maps.Values(owners)), "") || len(owners) != len(c.nodes) {
		c.t.Errorf("lanes are owned by %v, want one lane a node", owners)
	}
	return owners
}
