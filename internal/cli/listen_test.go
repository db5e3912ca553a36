package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
)

// breaking passes TCP connections on and can break them off.
type breaking struct {
	net.Listener
	mu   sync.Mutex
	open []net.Conn
}

func newBreaking(t *testing.T, to string) *breaking {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &breaking{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	t.Cleanup(b.off)
	go func() {
		for {
			here, err := b.Accept()
			if err != nil {
				return
			}
			there, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", to)
			if err != nil {
				_ = here.Close()
				continue
			}
			b.mu.Lock()
			b.open = append(b.open, here, there)
			b.mu.Unlock()
			go func() { _, _ = io.Copy(here, there) }()
			go func() { _, _ = io.Copy(there, here) }()
		}
	}()
	return b
}

func (b *breaking) off() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.open {
		_ = c.Close()
	}
	b.open = nil
}

// endpoint is a developer's program: it verifies and counts.
type endpoint struct {
	t      *testing.T
	secret string
	mu     sync.Mutex
	got    map[string]int // by event
	news   chan struct{}
}

func (e *endpoint) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = sign.VerifyStripe(r.Header.Get(sign.StripeHeader), body, []string{e.secret}, time.Now(), 0)
	}
	var ev struct{ ID string }
	if err == nil {
		err = json.Unmarshal(body, &ev)
	}
	if err != nil {
		e.t.Errorf("an event cannot be verified: %v", err)
	}
	e.mu.Lock()
	e.got[ev.ID]++
	e.mu.Unlock()
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// await waits until n different events have come.
func (e *endpoint) await(n int) {
	e.t.Helper()
	late := time.After(patience)
	for {
		e.mu.Lock()
		got := len(e.got)
		e.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-e.news:
		case <-late:
			e.t.Fatalf("%d events came, want %d", got, n)
		}
	}
}

// The line breaks three times while events flow; the local program gets all.
func TestListen(t *testing.T) {
	t.Parallel()
	server, stop, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	line := newBreaking(t, strings.TrimPrefix(server, "http://"))
	waybill := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "waybill", args...) //nolint:gosec // G204: the test's own arguments
		cmd.Env = append(os.Environ(), "WAYBILL_URL=http://"+line.Addr().String(), "WAYBILL_API_KEY="+testKey)
		return cmd
	}
	secret, err := waybill("listen", "--print-secret").Output()
	if err != nil {
		t.Fatal(err)
	}
	at := &endpoint{t: t, secret: strings.TrimSpace(string(secret)), got: map[string]int{}, news: make(chan struct{}, 1)}
	program := httptest.NewServer(at)
	t.Cleanup(program.Close)

	listen := waybill("listen", "--json", "--events", "customer.created", "--forward-to", strings.TrimPrefix(program.URL, "http://")+"/hook")
	stdout, err := listen.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := listen.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listen.Start(); err != nil {
		t.Fatal(err)
	}
	notes := bufio.NewScanner(stderr)
	if !notes.Scan() || !strings.Contains(notes.Text(), at.secret) {
		t.Fatalf("listen says %q", notes.Text())
	}
	var more sync.WaitGroup
	more.Go(func() {
		for notes.Scan() {
			t.Log(notes.Text())
		}
	})

	allShown := make(chan struct{})
	more.Go(func() {
		shown := map[string]bool{}
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var line struct {
				ID, Type string
				Status   int
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Type != "customer.created" || line.Status != http.StatusOK {
				t.Errorf("listen shows %s (%v)", lines.Text(), err)
			}
			twice := shown[line.ID]
			if shown[line.ID] = true; len(shown) == 1000 && !twice {
				close(allShown)
			}
		}
	})

	publish := func(typ string, n int) {
		t.Helper()
		events := make([]map[string]any, n)
		for i := range events {
			events[i] = map[string]any{"type": typ, "data": map[string]any{"object": map[string]any{"id": "cus_1", "object": "customer"}}}
		}
		post(t, server, "/v2/core/events", "application/json", map[string]any{"events": events})
	}
	for i := range 10 {
		publish("customer.created", 100)
		publish("customer.updated", 10)
		if i%3 == 1 {
			at.await(100*i + 20)
			line.off()
		}
	}
	at.await(1000)
	select {
	case <-allShown:
	case <-time.After(patience):
		t.Fatal("not all events are shown")
	}
	if err := listen.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	more.Wait()
	if err := listen.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	at.mu.Lock()
	if len(at.got) != 1000 {
		t.Errorf("%d events came, want 1000", len(at.got))
	}
	at.mu.Unlock()

	out, err := waybill("events", "tail", "--limit", "3").Output()
	if got := strings.Fields(string(out)); err != nil || strings.Count(string(out), "\n") != 3 || !strings.HasPrefix(got[3], "evt_test_") {
		t.Errorf("events tail: %v\n%s", err, out)
	}
}

func post(t *testing.T, server, path, contentType string, body any) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	r.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(answer.Body)
		t.Fatal(fmt.Errorf("%s: %s", answer.Status, raw))
	}
}
