package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
)

// session is a `stripe listen` under way.
type session struct {
	t      *testing.T
	secret string

	mu   sync.Mutex
	said strings.Builder
}

var sessionSecret = regexp.MustCompile(`whsec_[0-9a-f]{64}`)

// listen runs stripe listen until the test ends, and returns when it receives.
func (sh *stripeShell) listen(t *testing.T, key, environment string, args ...string) *session {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sh.program, append([]string{"listen", "--skip-update", "--color", "off", "--api-key", key}, args...)...) //nolint:gosec // G204: the test's own arguments
	cmd.Env = []string{"HOME=" + t.TempDir(), "STRIPE_CLI_TELEMETRY_OPTOUT=1", environment}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	go func() {
		_ = cmd.Wait() // it is killed
		_ = in.Close()
		close(exited)
	}()
	s, ready := &session{t: t}, make(chan string, 1)
	go func() {
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.mu.Lock()
			fmt.Fprintln(&s.said, lines.Text())
			s.mu.Unlock()
			if strings.Contains(lines.Text(), "Ready!") {
				ready <- sessionSecret.FindString(lines.Text())
			}
		}
	}()
	if s.secret = <-ready; s.secret == "" {
		t.Fatalf("stripe %v is not ready:\n%s", cmd.Args, s.log())
	}
	return s
}

func (s *session) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// link passes TCP connections on, and can cut them.
type link struct {
	net.Listener
	mu     sync.Mutex
	to     string
	open   []net.Conn
	passed time.Time // when something was passed on
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{Listener: listener, to: to}
	t.Cleanup(func() { _ = listener.Close() })
	t.Cleanup(l.cut)
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", l.target())
			if err != nil {
				_ = here.Close()
				continue
			}
			l.mu.Lock()
			l.open = append(l.open, here, there)
			l.mu.Unlock()
			for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
				go func() {
					_, _ = io.Copy(way[0], io.TeeReader(way[1], l))
					_, _ = way[0].Close(), way[1].Close()
				}()
			}
		}
	}()
	return l
}

func (l *link) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed = time.Now()
	return len(b), nil
}

func (l *link) target() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to
}

// redirect passes what connects from now on to another address.
func (l *link) redirect(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

// quiet is for how long nothing has been passed on.
func (l *link) quiet() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.passed)
}

// cut breaks all connections off.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		_ = c.Close()
	}
	l.open = nil
}

// The official CLI, and a line that breaks twice: every event is forwarded.
func TestStripeListenLosesNothingOverABrokenLine(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sh := newStripeShell(t, s)
	if sh == nil {
		return
	}
	line := newLink(t, strings.TrimPrefix(s.url, "http://"))
	at := newReceiver(t, nil)
	api := "--api-base=http://" + line.Addr().String()
	cli := sh.listen(t, testKey, "", api, "--all-snapshot", "--forward-to", at.url+"/hook")
	at.trust("/hook", cli.secret)
	var want []string
	publish := func(batches int) {
		for range batches {
			events := make([]object, 100)
			for i := range events {
				events[i] = customer("customer.created", fmt.Sprintf("cus_%d", len(want)+i))
			}
			want = append(want, s.post("/v2/core/events", batch(events...)).ok().ids()...)
		}
	}
	missing := func() int {
		got := map[string]bool{}
		for _, id := range at.received("/hook") {
			got[id] = true
		}
		n := 0
		for _, id := range want {
			if !got[id] {
				n++
			}
		}
		return n
	}
	for _, batches := range []int{3, 4, 3} {
		publish(batches) // from the second on, while nobody listens
		until(t, "all events have come", func() bool { return missing() == 0 })
		// CLI 1.52.0 hangs for good if the line breaks while it writes.
		until(t, "the line is quiet", func() bool { return line.quiet() > 200*time.Millisecond })
		line.cut()
	}
	if twice := len(at.received("/hook")) - len(want); twice > 0 {
		t.Errorf("%d events came twice", twice)
	}
}

// What connected accounts do comes too, and goes where it is asked to.
func TestStripeListenToConnectedAccounts(t *testing.T) {
	t.Parallel()
	f := newFamily(t)
	sh := newStripeShell(t, f.server)
	if sh == nil {
		return
	}
	at := newReceiver(t, nil)
	at.anyVersion = true
	platform := f.as(f.platform.TestKey)
	api := "--api-base=" + f.url
	for path, listener := range map[string]*session{
		"/platform": sh.listen(t, f.platform.TestKey, "", api, "--all-snapshot", "--events-from", "all", "--forward-to", at.url+"/platform", "--forward-connect-to", at.url+"/connect"),
		"/shop":     sh.listen(t, f.shop.TestKey, "", api, "--all-snapshot", "--forward-to", at.url+"/shop"),
	} {
		at.trust(path, listener.secret)
	}
	at.trust("/connect", at.secret("/platform"))
	own, theirs := platform.publish(customer("customer.created", "cus_1")), platform.with("Stripe-Account", f.shop.Account.ID).publish(customer("customer.created", "cus_2"))
	for path, want := range map[string]string{"/platform": own, "/connect": theirs, "/shop": theirs} {
		until(t, path+" has its event", func() bool { return slices.Contains(at.received(path), want) })
		if got := at.received(path); len(got) != 1 {
			t.Errorf("%s got %v, want %s", path, got, want)
		}
	}
}

// A session is at no node: it hears at one what is published at another, and
// goes on there when its own is stopped.
func TestStripeListenAtManyNodes(t *testing.T) {
	t.Parallel()
	nodes := newNodes(t, 2)
	sh := newStripeShell(t, nodes[0])
	if sh == nil {
		return
	}
	line := newLink(t, strings.TrimPrefix(nodes[0].url, "http://"))
	at := newReceiver(t, nil)
	cli := sh.listen(t, testKey, "", "--api-base=http://"+line.Addr().String(), "--all-snapshot", "--forward-to", at.url+"/hook")
	at.trust("/hook", cli.secret)
	want := []string{nodes[1].publish(customer("customer.created", "cus_1")), nodes[0].publish(customer("customer.created", "cus_2"))}
	until(t, "both have come", func() bool { return same(at.received("/hook"), want) })
	until(t, "the line is quiet", func() bool { return line.quiet() > 200*time.Millisecond })
	line.redirect(strings.TrimPrefix(nodes[1].url, "http://"))
	nodes[0].stop()
	want = append(want, nodes[1].publish(customer("customer.created", "cus_3")))
	until(t, "the third has come", func() bool { return same(at.received("/hook"), want) })
}

// shortDir is a folder whose path leaves room for a Unix socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wb") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Everything through the server's own Unix socket, as STRIPE_CLI_UNIX_SOCKET has
// it: no --api-base.
func TestStripeCLIOverTheUnixSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t), "api.sock")
	s := newServer(t, func(c *config.Config) { c.ListenUnix = socket })
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v; want mode 0600", info, err)
	}
	sh := newStripeShell(t, s)
	if sh == nil {
		return
	}
	sh.socket = socket
	environment := "STRIPE_CLI_UNIX_SOCKET=" + socket
	at := newReceiver(t, nil)
	at.anyVersion = true
	thinCLI := sh.listen(t, testKey, environment, "--all-thin", "--forward-to", at.url+"/thin")
	latest := sh.listen(t, testKey, environment, "--all-snapshot", "--latest", "--forward-to", at.url+"/latest")
	at.trust("/thin", thinCLI.secret)
	at.trust("/latest", latest.secret)

	t.Run("print-secret", func(t *testing.T) {
		for range 2 {
			if out := strings.TrimSpace(sh.run(t, testKey, "listen", "--print-secret", "--skip-update")); out != thinCLI.secret {
				t.Errorf("--print-secret prints %q, and listen %q", out, thinCLI.secret)
			}
		}
		if out := sh.run(t, testKey, "listen", "--print-secret", "--skip-update", "--device-name", "other"); strings.TrimSpace(out) == thinCLI.secret {
			t.Error("another device has the same secret")
		}
	})

	t.Run("resend", func(t *testing.T) {
		id := s.publish(customer("customer.created", "cus_1"))
		until(t, "the snapshot and its twin have come", func() bool { return len(at.received("/thin")) == 1 && len(at.received("/latest")) == 1 })
		got := at.next()
		if got.thin != nil {
			got = at.next()
		}
		if v := got.event.APIVersion; v != "2026-10-28.endive" {
			t.Errorf("--latest has a snapshot of version %s", v)
		}
		if out := sh.run(t, testKey, "events", "resend", id); !strings.Contains(out, id) {
			t.Errorf("events resend prints %s", out)
		}
		until(t, "it has come again", func() bool { return len(at.received("/latest")) == 2 })
		if again := at.received("/latest"); again[1] != id || len(at.received("/thin")) != 1 {
			t.Errorf("%s was sent again, and %v came; thin %v", id, again, at.received("/thin"))
		}
	})

	t.Run("destinations", func(t *testing.T) {
		made := sh.run(t, testKey, "v2", "core", "event_destinations", "create", "--name", "by flags", "--type", "webhook_endpoint",
			"--event-payload", "snapshot", "--enabled-events", "customer.created", "--webhook-endpoint.url", "http://127.0.0.1:9/flags")
		id := regexp.MustCompile(`ed_test_\w+`).FindString(made)
		if id == "" {
			t.Fatalf("create prints %s", made)
		}
		posted := sh.run(t, testKey, "post", "/v2/core/event_destinations", "-d",
			`{"name":"by post","type":"webhook_endpoint","event_payload":"thin","enabled_events":["v1.customer.created"],"webhook_endpoint":{"url":"http://127.0.0.1:9/post"}}`)
		if !strings.Contains(posted, `"by post"`) {
			t.Errorf("post prints %s", posted)
		}
		for _, args := range [][]string{
			{"get", "/v2/core/event_destinations"},
			{"v2", "core", "event_destinations", "list"},
		} {
			if out := sh.run(t, testKey, args...); !strings.Contains(out, "by flags") || !strings.Contains(out, "by post") {
				t.Errorf("stripe %v prints %s", args, out)
			}
		}
		for _, step := range []struct{ verb, want string }{
			{"disable", `"disabled"`}, {"enable", `"enabled"`}, {"retrieve", `"by flags"`}, {"ping", "v2.core.event_destination.ping"},
		} {
			if out := sh.run(t, testKey, "v2", "core", "event_destinations", step.verb, id); !strings.Contains(out, step.want) {
				t.Errorf("%s prints %s", step.verb, out)
			}
		}
		if out := sh.run(t, testKey, "v2", "core", "event_destinations", "update", id, "--name", "renamed"); !strings.Contains(out, "renamed") {
			t.Errorf("update prints %s", out)
		}
		sh.run(t, testKey, "v2", "core", "event_destinations", "delete", id, "--confirm")
		if out := sh.run(t, testKey, "get", "/v2/core/event_destinations"); strings.Contains(out, id) {
			t.Errorf("it was deleted, and the list has %s", out)
		}
	})

	s.stop()
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left after the end: %v", err)
	}
}

func TestAUnixSocketReplacesNothingElse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(shortDir(t), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(shortDir(t), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as of a process that was killed
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	newServer(t, func(c *config.Config) { c.ListenUnix = at })
	for path, want := range map[string]string{file: "no socket", at: "another program"} {
		cfg := config.Default()
		cfg.Data, cfg.Listen, cfg.ListenUnix = t.TempDir(), "127.0.0.1:0", path
		a, err := app.New(t.Context(), cfg, app.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("listening at %s: %v, want %q", path, err, want)
		}
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "precious" {
		t.Errorf("the file holds %q, %v", raw, err)
	}
}
