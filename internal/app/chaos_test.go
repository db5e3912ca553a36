package app_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

// TestChaos runs three nodes on one PostgreSQL under load. In each round nodes
// are killed with SIGKILL about every second and started again, PostgreSQL
// crashes twice, and the network between one node and PostgreSQL swallows
// everything for two leases, after which that node finds itself replaced. One
// node's clock is an hour ahead, that one's an hour behind. Afterwards:
//   - every acknowledged event was delivered to each of its destinations;
//   - whatever was retried at other nodes until it was acknowledged became one
//     event;
//   - no node's clock shows: events are dated by PostgreSQL's;
//   - nothing was delivered twice but what a node had delivered without having
//     recorded it when it was killed or cut off.
//
// WAYBILL_CHAOS_ROUNDS sets the number of rounds.
func TestChaos(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	survivor, skewed, victim := c.nodes[0], c.nodes[1], c.nodes[2]
	skewed.env = append(skewed.env, "WAYBILL_TEST_CLOCK_SKEW=1h")
	victim.env = append(victim.env, "WAYBILL_TEST_CLOCK_SKEW=-1h")
	cut := newPartition(t, c.hostPort())
	victim.database = c.through(cut.address)
	c.refuse = func(path, id string) bool { return path == "/flaky" && c.refused[id] == 0 && c.hash(id)%3 == 0 }
	c.start()
	c.createDestination("/steady")
	c.createDestination("/flaky")

	var publishers, killer sync.WaitGroup
	for i := range 12 {
		publishers.Go(func() { c.publish(i) })
	}
	killer.Go(func() {
		for !c.over() {
			wait(t.Context(), time.Duration(700+rand.IntN(600))*time.Millisecond)
			c.killOne()
		}
	})
	for range rounds(t) {
		wait(t.Context(), 3*time.Second)
		c.crashDatabase()
		c.spare(survivor, victim)
		victim.awaitUp()
		survivor.awaitUp()
		c.cutOff(cut, victim)
		c.spare()
		wait(t.Context(), 2*time.Second)
		c.crashDatabase()
		wait(t.Context(), 2*time.Second)
	}
	c.finish()
	killer.Wait()
	publishers.Wait()
	c.awaitAll("/steady", "/flaky")
	c.judge()
	if len(c.refused) == 0 {
		t.Error("the test proved nothing about retries: nothing was refused")
	}
}

// rounds is how many a chaos test is to have.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("WAYBILL_CHAOS_ROUNDS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// spare keeps nodes from being killed, until it is called again.
func (c *cluster) spare(nodes ...*node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spared = nodes
}

// killOne kills a node that is not spared.
func (c *cluster) killOne() {
	c.mu.Lock()
	n := c.nodes[rand.IntN(len(c.nodes))]
	spared := slices.Contains(c.spared, n)
	c.mu.Unlock()
	if !spared {
		n.kill()
	}
}

func (c *cluster) crashDatabase() {
	c.t.Helper()
	if err := c.pg.Restart(c.t.Context(), pgtest.Immediate); err != nil {
		c.t.Fatal(err)
	}
}

// cutOff parts a node from the database until another has taken over its lane,
// and waits until it has found that out.
func (c *cluster) cutOff(p *partition, n *node) {
	c.t.Helper()
	replaced, lanes := n.replaced(), n.lanes()
	from := time.Now()
	p.cut()
	wait(c.t.Context(), 2*clusterLease)
	c.eventually(time.Minute, "another node has the lane of "+n.name, func() bool { now := n.lanes(); return now != nil && len(now) == 0 })
	p.heal()
	healed := time.Now()
	c.eventually(time.Minute, n.name+" has found itself replaced", func() bool { return n.replaced() > replaced })
	c.t.Logf("%s was cut off for %s, and ended %s later", n.name, healed.Sub(from).Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
	c.note(incident{"cut off " + n.name, from, time.Now().Add(incidentSlack), lanes})
}

// incident is a time in which a node may have delivered something that it
// could not record.
type incident struct {
	what     string
	from, to time.Time
	lanes    []int // whose events the node delivered; nil is any
}

// settlement is when an outcome was committed, by PostgreSQL's own record, and
// the lane of its event.
type settlement struct {
	at   time.Time
	lane int
}

// covers says whether a delivery was unsettled because of it. Who delivers
// what was refused before is not known by its lane.
func (in *incident) covers(arrived time.Time, refused bool, s settlement) bool {
	return arrived.Before(in.to) && s.at.After(in.from) && (refused || in.lanes == nil || slices.Contains(in.lanes, s.lane))
}

// incidentSlack is how much later than a node's end the receiver may note what
// that node had sent.
const incidentSlack = 300 * time.Millisecond

func (c *cluster) note(i incident) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.incidents = append(c.incidents, i)
}

// judge looks at what was delivered more than once, and reports.
func (c *cluster) judge() {
	c.t.Helper()
	settled := c.settled()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.promised) == 0 {
		c.t.Error("the test proved nothing: nothing was acknowledged")
	}
	complain := newComplaints(c.t)
	duplicates := 0
	for k, at := range c.arrived {
		for i := 1; i < len(at); i++ {
			duplicates++
			if !slices.ContainsFunc(c.incidents, func(in incident) bool {
				return in.covers(at[i-1], c.refused[k.id] > 0, settled[k]) && at[i].After(in.from)
			}) {
				complain.add("%s was delivered to %s at %v, although its outcome was committed at %s and no node ended in between", k.id, k.path, at, settled[k].at)
			}
		}
	}
	for object, ids := range c.twins {
		if len(ids) > 1 {
			complain.add("%s was accepted as %d events: %v", object, len(ids), ids)
		}
	}
	for id := range c.promised {
		seq, ours := event.ParseID(id, false)
		if at := seq.Time(); ours && (at.Before(c.began.Add(-time.Second)) || at.After(time.Now().Add(time.Second))) {
			complain.add("%s was accepted at %s, by its id", id, at)
		}
	}
	complain.report()
	unsettled := 0
	for _, in := range c.incidents {
		n := 0
		for k, at := range c.arrived {
			if in.covers(at[0], c.refused[k.id] > 0, settled[k]) {
				n++
			}
		}
		c.t.Logf("%s at %s: %d delivered and unsettled", in.what, in.from.Format("05.000"), n)
		unsettled += n
	}
	if duplicates > unsettled {
		c.t.Errorf("%d duplicates, and only %d deliveries were unsettled when a node ended", duplicates, unsettled)
	}
	c.t.Logf("%d events acknowledged, %d deliveries made, %d refused; %d duplicates of at most %d; answers to publishers %v, the slowest after %s",
		len(c.promised), len(c.arrived), len(c.refused), duplicates, unsettled, c.answers, c.longest.Round(time.Millisecond))
}

// settled waits until every delivery that arrived is recorded, and tells when
// it was.
func (c *cluster) settled() map[arrivalKey]settlement {
	c.t.Helper()
	conn := c.connect()
	at := map[arrivalKey]settlement{}
	c.eventually(time.Minute, "everything that arrived is recorded", func() bool {
		rows, err := conn.Query(c.t.Context(), `SELECT convert_from(d.config, 'UTF8'), a.seq, coalesce(k.id, ''), pg_xact_commit_timestamp(a.xmin)
			FROM attempts a JOIN destinations d ON d.number = a.sub LEFT JOIN event_keys k ON k.scope = a.scope AND k.seq = a.seq WHERE a.outcome = $1`, int16(event.Delivered))
		if err != nil {
			c.t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var config, id string
			var seq event.Seq
			var committed time.Time
			if err := rows.Scan(&config, &seq, &id, &committed); err != nil {
				c.t.Fatal(err)
			}
			if id == "" {
				id = seq.ID(false)
			}
			_, path, _ := strings.Cut(config, c.receiver.URL)
			path, _, _ = strings.Cut(path, `"`)
			at[arrivalKey{path, id}] = settlement{committed, int(seq >> 13 & 255)}
		}
		if err := rows.Err(); err != nil {
			c.t.Fatal(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for k := range c.arrived {
			if at[k].at.IsZero() {
				return false
			}
		}
		return true
	})
	return at
}
