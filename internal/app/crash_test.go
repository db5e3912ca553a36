package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	crashTestKey = "sk_test_crashcrashcrashcrash"
	crashLiveKey = "sk_live_crashcrashcrashcrash"
)

// TestCrash publishes under load to the real binary, kills it with SIGKILL at
// random points, starts it again, and finds every acknowledged event delivered
// at least once. WAYBILL_CRASH_KILLS sets the number of kills.
func TestCrash(t *testing.T) {
	t.Parallel()
	c := newCrash(t)
	c.start()
	c.createDestination()
	ctx, stop := context.WithCancel(t.Context())
	var publishers sync.WaitGroup
	for i := range 8 {
		publishers.Go(func() { c.publish(ctx, 1+9*(i%2)) })
	}
	for range crashKills(t) {
		wait(ctx, time.Duration(30+rand.IntN(250))*time.Millisecond)
		c.kill()
		c.start()
	}
	wait(ctx, 100*time.Millisecond)
	stop()
	publishers.Wait()
	c.kill() // once more, with everything that was accepted last
	c.start()
	c.awaitAll()
}

// crashKills is how many kills a test is to survive.
func crashKills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("WAYBILL_CRASH_KILLS")
	if text == "" {
		return 20
	}
	kills, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return kills
}

// crash is a server that is killed and started, and what it promised.
type crash struct {
	t        *testing.T
	binary   string
	dir      string
	address  string
	cmd      *exec.Cmd
	receiver *httptest.Server

	mu       sync.Mutex
	promised map[string]bool // ids that were acknowledged
	arrived  map[string]int  // ids that were answered with 200
	refused  map[string]bool // ids that were answered with 500 once
	missing  int             // promised and not arrived
	all      chan struct{}   // told when missing falls to zero
}

func newCrash(t *testing.T) *crash {
	t.Helper()
	c := &crash{
		t: t, dir: t.TempDir(), promised: map[string]bool{}, arrived: map[string]int{}, refused: map[string]bool{}, all: make(chan struct{}, 1),
	}
	c.binary = filepath.Join(t.TempDir(), "waybill")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.binary, "github.com/waybill-dev/waybill/cmd/waybill") //nolint:gosec // the test names what it builds
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.address = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.receiver = httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(c.receiver.Close)
	t.Cleanup(func() {
		if c.cmd != nil {
			c.kill()
		}
	})
	return c
}

// start runs the binary and waits until it answers.
func (c *crash) start() {
	c.t.Helper()
	c.cmd = exec.CommandContext(context.Background(), c.binary, "serve", "--data", c.dir, "--listen", c.address, "--dev", "--log-level", "error") //nolint:gosec // and runs it
	c.cmd.Env = append(os.Environ(), "WAYBILL_BOOTSTRAP_TEST_KEY="+crashTestKey, "WAYBILL_BOOTSTRAP_LIVE_KEY="+crashLiveKey,
		"WAYBILL_BOOTSTRAP_AWS_KEY="+crashAWSKeyID+":"+crashAWSSecret)
	var stderr bytes.Buffer
	c.cmd.Stderr = &stderr
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.address+"/healthz", http.NoBody)
		if err != nil {
			c.t.Fatal(err)
		}
		if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
			_ = res.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the server does not come up: %s", stderr.String())
		}
		wait(c.t.Context(), 2*time.Millisecond)
	}
}

func (c *crash) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	c.cmd = nil
}

func (c *crash) post(ctx context.Context, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.address+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+crashTestKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, answer)
	}
	return answer, err
}

func (c *crash) createDestination() {
	c.t.Helper()
	if _, err := c.post(c.t.Context(), "/v2/core/event_destinations", `{"name":"crash","type":"webhook_endpoint","event_payload":"snapshot",
		"enabled_events":["*"],"webhook_endpoint":{"url":"`+c.receiver.URL+`"}}`); err != nil {
		c.t.Fatal(err)
	}
}

// publish sends requests of n events until ctx ends. What is answered with 200
// is a promise; an error is none, whatever became of the events.
func (c *crash) publish(ctx context.Context, n int) {
	one := `{"type":"order.paid","data":{"object":{"id":"or_1","object":"order","note":"` + strings.Repeat("x", 500) + `"}}}`
	body := `{"events":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
	for ctx.Err() == nil {
		answer, err := c.post(ctx, "/v2/core/events", body)
		if err != nil {
			wait(ctx, 3*time.Millisecond)
			continue
		}
		var page struct {
			Data []struct{ ID string }
		}
		if err := json.Unmarshal(answer, &page); err != nil || len(page.Data) != n {
			c.t.Errorf("an answer of 200 with %d events of %d: %v", len(page.Data), n, err)
			return
		}
		c.mu.Lock()
		for _, e := range page.Data {
			c.promised[e.ID] = true
			if c.arrived[e.ID] == 0 {
				c.missing++
			}
		}
		c.mu.Unlock()
	}
}

// receive refuses every tenth event once, so that retries are under way at the
// kills too.
func (c *crash) receive(w http.ResponseWriter, r *http.Request) {
	var e struct{ ID string }
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return // the sender was killed while it sent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.HasSuffix(e.ID, "0") && !c.refused[e.ID] {
		c.refused[e.ID] = true
		http.Error(w, "not yet", http.StatusInternalServerError)
		return
	}
	if c.arrived[e.ID]++; c.arrived[e.ID] == 1 && c.promised[e.ID] {
		if c.missing--; c.missing == 0 {
			select {
			case c.all <- struct{}{}:
			default:
			}
		}
	}
}

// awaitAll waits until nothing that was promised is missing, and reports.
func (c *crash) awaitAll() {
	c.t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		c.mu.Lock()
		missing := c.missing
		c.mu.Unlock()
		if missing == 0 {
			break
		}
		select {
		case <-c.all:
		case <-timeout:
			c.t.Fatalf("%d of %d acknowledged events were not delivered", missing, len(c.promised))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	duplicates := 0
	for _, n := range c.arrived {
		duplicates += n - 1
	}
	c.t.Logf("%d events acknowledged, all delivered; %d duplicates, %d unacknowledged events delivered, %d refused once",
		len(c.promised), duplicates, len(c.arrived)-len(c.promised), len(c.refused))
	if len(c.promised) == 0 || len(c.refused) == 0 {
		c.t.Error("the test proved nothing: nothing was acknowledged, or nothing was refused")
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
