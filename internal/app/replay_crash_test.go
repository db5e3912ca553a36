package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestReplayKilled replays what was discarded while a destination was disabled:
// half-way it is paused, the server killed with SIGKILL, and the replay resumed;
// then the server is killed once more while it runs. In the end each delivery
// was enqueued exactly once, and each event has arrived. WAYBILL_REPLAY_EVENTS
// sets how many; with it, a fresh load of half of what the machine manages has
// to keep its rate meanwhile.
func TestReplayKilled(t *testing.T) {
	t.Parallel()
	total, measured := 5000, false
	if text := os.Getenv("WAYBILL_REPLAY_EVENTS"); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		measured = true
	}
	r := &replayed{t: t, crash: newCrash(t), arrived: make([]atomic.Int32, total)}
	endpoint := httptest.NewServer(r)
	t.Cleanup(endpoint.Close)
	r.crash.start()
	r.destination = "/v2/core/event_destinations/" + r.create(endpoint.URL)

	maximum := 0.0
	if measured {
		maximum = r.load(t.Context(), 0, 4*time.Second).rate
		t.Logf("at most %.0f fresh events a second", maximum)
	}
	r.call(r.destination+"/disable", "{}")
	began := time.Now()
	r.seed(total)
	t.Logf("%d events accepted in %s", total, time.Since(began).Round(time.Millisecond))
	r.call(r.destination+"/enable", "{}")

	began = time.Now()
	id := r.start()
	if measured {
		r.measure(id, maximum/2)
	}
	r.until(id, func(now replay) bool { return now.Counts.Sent >= total/2 })
	half := r.turn(id, "/pause")
	t.Logf("paused at %+v after %s", half, time.Since(began).Round(time.Millisecond))
	r.crash.kill()
	r.crash.start()
	if now := r.look(id); now.Status != "paused" || now.Counts.Sent < half.Counts.Sent || now.Counts.Sent >= total {
		t.Errorf("after the kill it is %+v", now)
	}
	r.turn(id, "/resume")
	r.until(id, func(now replay) bool { return now.Counts.Sent > total*3/4 })
	r.crash.kill()
	r.crash.start()
	done := r.until(id, func(now replay) bool { return now.Status == "completed" })
	t.Logf("completed with %+v after %s", done, time.Since(began).Round(time.Millisecond))
	if done.Counts.Sent != total || done.Counts.Selected != total {
		t.Errorf("%+v, want %d sent", done, total)
	}
	r.settle()
}

// replayed is a destination whose events are counted as they arrive.
type replayed struct {
	t           *testing.T
	crash       *crash
	destination string // its path
	arrived     []atomic.Int32
	mu          sync.Mutex
	latencies   []time.Duration // of fresh events
}

// measure loads the server by turns while the replay runs and while it is
// paused, so that both have the same of whatever else the machine does.
func (r *replayed) measure(id string, rate float64) {
	r.t.Helper()
	var beside, alone float64
	const rounds = 4
	for range rounds {
		with := r.load(r.t.Context(), rate, 8*time.Second)
		now := r.turn(id, "/pause")
		without := r.load(r.t.Context(), rate, 8*time.Second)
		r.turn(id, "/resume")
		r.t.Logf("fresh events beside the replay: %s; alone: %s; %d replayed", with, without, now.Counts.Sent)
		beside, alone = beside+with.rate, alone+without.rate
	}
	if beside < 0.9*alone {
		r.t.Errorf("%.0f fresh events a second beside the replay, want nearly %.0f", beside/rounds, alone/rounds)
	}
}

func (r *replayed) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(w, "cut off", http.StatusBadRequest) // the sender was killed
		return
	}
	number := func(name string) (int64, bool) {
		_, rest, ok := bytes.Cut(body, []byte(`"`+name+`_`))
		text, _, _ := bytes.Cut(rest, []byte(`"`))
		n, err := strconv.ParseInt(string(text), 10, 64)
		return n, ok && err == nil
	}
	if n, ok := number("missed"); ok {
		r.arrived[n].Add(1)
	} else if at, ok := number("fresh"); ok {
		r.mu.Lock()
		r.latencies = append(r.latencies, time.Since(time.Unix(0, at)))
		r.mu.Unlock()
	}
}

func (r *replayed) call(path, body string) []byte {
	r.t.Helper()
	answer, err := r.crash.post(r.t.Context(), path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

func (r *replayed) create(url string) string {
	r.t.Helper()
	var made struct{ ID string }
	answer := r.call("/v2/core/event_destinations", `{"name":"d","type":"webhook_endpoint","event_payload":"snapshot","enabled_events":["*"],"webhook_endpoint":{"url":"`+url+`"}}`)
	if err := json.Unmarshal(answer, &made); err != nil {
		r.t.Fatal(err)
	}
	return made.ID
}

func eventAbout(id string) string {
	return `{"type":"order.paid","data":{"object":{"id":"` + id + `","object":"order","note":"` + strings.Repeat("x", 300) + `"}}}`
}

// seed publishes events about missed_0, missed_1, ….
func (r *replayed) seed(total int) {
	r.t.Helper()
	var next atomic.Int64
	var publishers sync.WaitGroup
	for range 4 {
		publishers.Go(func() {
			for {
				from := int(next.Add(500)) - 500
				if from >= total {
					return
				}
				var events []string
				for i := from; i < min(from+500, total); i++ {
					events = append(events, eventAbout(fmt.Sprint("missed_", i)))
				}
				if _, err := r.crash.post(r.t.Context(), "/v2/core/events", `{"events":[`+strings.Join(events, ",")+`]}`); err != nil {
					r.t.Error(err)
					return
				}
			}
		})
	}
	publishers.Wait()
}

// loaded is how a load went.
type loaded struct {
	rate, wanted  float64 // delivered a second; published a second, 0 is as fast as possible
	p50, p99, max time.Duration
}

func (l loaded) String() string {
	return fmt.Sprintf("%.0f/s of %.0f/s, publish to arrival p50 %s p99 %s max %s", l.rate, l.wanted,
		l.p50.Round(100*time.Microsecond), l.p99.Round(100*time.Microsecond), l.max.Round(time.Millisecond))
}

// load publishes fresh events for a time, or until ctx ends.
func (r *replayed) load(ctx context.Context, rate float64, span time.Duration) loaded {
	r.mu.Lock()
	r.latencies = nil
	r.mu.Unlock()
	began := time.Now()
	var turn atomic.Int64
	var publishers sync.WaitGroup
	for range 16 {
		publishers.Go(func() {
			for ctx.Err() == nil && time.Since(began) < span {
				if rate > 0 {
					due := began.Add(time.Duration(float64(turn.Add(1)) / rate * float64(time.Second)))
					wait(ctx, time.Until(due))
				}
				body := eventAbout(fmt.Sprint("fresh_", time.Now().UnixNano()))
				if _, err := r.crash.post(context.WithoutCancel(ctx), "/v2/core/events", body); err != nil {
					r.t.Error(err)
					return
				}
			}
		})
	}
	publishers.Wait()
	took := time.Since(began)
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.latencies)
	l := loaded{rate: float64(len(r.latencies)) / took.Seconds(), wanted: rate}
	if n := len(r.latencies); n > 0 {
		l.p50, l.p99, l.max = r.latencies[n/2], r.latencies[n*99/100], r.latencies[n-1]
	}
	return l
}

func (r *replayed) start() string {
	r.t.Helper()
	var made replay
	if err := json.Unmarshal(r.call(r.destination+"/replay", "{}"), &made); err != nil {
		r.t.Fatal(err)
	}
	return made.ID
}

func (r *replayed) turn(id, verb string) replay {
	r.t.Helper()
	var now replay
	if err := json.Unmarshal(r.call(r.destination+"/replays/"+id+verb, "{}"), &now); err != nil {
		r.t.Fatal(err)
	}
	return now
}

func (r *replayed) look(id string) replay {
	r.t.Helper()
	c := client{t: r.t, url: "http://" + r.crash.address, key: crashTestKey, http: r.crash.receiver.Client()}
	var now replay
	c.get(r.destination + "/replays/" + id).ok().into(&now)
	return now
}

// until waits for a replay without a bound of its own.
func (r *replayed) until(id string, holds func(replay) bool) replay {
	r.t.Helper()
	for r.t.Context().Err() == nil {
		now := r.look(id)
		if holds(now) {
			return now
		}
		if now.Status != "queued" && now.Status != "running" {
			r.t.Fatalf("the replay stopped: %+v", now)
		}
		wait(r.t.Context(), 20*time.Millisecond)
	}
	r.t.Fatal("the test ended")
	return replay{}
}

// settle waits until everything has arrived, and checks in the database that
// no delivery was enqueued twice.
func (r *replayed) settle() {
	r.t.Helper()
	until(r.t, "everything arrives", func() bool {
		for i := range r.arrived {
			if r.arrived[i].Load() == 0 {
				return false
			}
		}
		return true
	})
	twice := 0
	for i := range r.arrived {
		if r.arrived[i].Load() > 1 {
			twice++
		}
	}
	r.t.Logf("all %d arrived, %d of them more than once because of the kills", len(r.arrived), twice)
	db, err := sql.Open("sqlite", filepath.Join(r.crash.dir, "waybill.db"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it only reads
	until(r.t, "all outcomes are recorded", func() bool {
		var waiting, runs, events int
		if err := db.QueryRowContext(r.t.Context(), `SELECT (SELECT count(*) FROM retries), count(*), count(DISTINCT seq)
			FROM (SELECT DISTINCT seq, run FROM attempts WHERE run < 0)`).Scan(&waiting, &runs, &events); err != nil {
			r.t.Fatal(err)
		}
		if waiting == 0 && (runs != len(r.arrived) || events != runs) {
			r.t.Fatalf("%d runs of %d events, want one of each of %d", runs, events, len(r.arrived))
		}
		return waiting == 0
	})
}
