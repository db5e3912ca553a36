package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/waybill-dev/waybill/internal/cli"
)

// process is a `waybill serve` that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner // of standard output
	stderr *bytes.Buffer
	url    string
	before string // what it printed before it listened
}

// serve starts a server and returns when it listens.
func serve(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)                                           //nolint:usetesting // t.Context ends before clean-up, which must stop it in order
	cmd := exec.CommandContext(ctx, "waybill", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...) //nolint:gosec // G204: the test's own arguments
	p := &process{t: t, cmd: cmd, stderr: new(bytes.Buffer)}
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = p.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // most have waited; then this says so
	})
	p.lines = bufio.NewScanner(stdout)
	for p.lines.Scan() {
		line := p.lines.Text()
		if _, url, ok := strings.Cut(line, " listens on "); ok {
			p.url = url
			return p
		}
		p.before += line + "\n"
	}
	t.Fatalf("it does not listen: %s%s", p.before, p.stderr)
	return nil
}

// signal sends a signal, and with a word waits for a line that begins with it.
func (p *process) signal(s os.Signal, word string) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	for word != "" {
		if !p.lines.Scan() {
			p.t.Fatalf("it ended without saying %q: %s", word, p.stderr)
		}
		if strings.HasPrefix(p.lines.Text(), word) {
			return
		}
	}
}

// wait returns how the process ended.
func (p *process) wait() error {
	for p.lines.Scan() { // Wait may close the pipe only once it is read
	}
	return p.cmd.Wait()
}

// run runs a verb in this process and returns what it printed.
func run(env map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = cli.Main(args, strings.NewReader(stdin), &out, &errs, func(name string) string { return env[name] }, "v0.0.0-test")
	return code, out.String(), errs.String()
}

func TestServe(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, nil, "--data", data)
	keys := regexp.MustCompile(`^Created account acct_\w+\n  Test key  (sk_test_\w+)\n  Live key  (sk_live_\w+)\nKeep them now`).FindStringSubmatch(p.before)
	if keys == nil {
		t.Fatalf("the first start printed %q", p.before)
	}
	for _, key := range keys[1:] {
		if code, _, errs := run(map[string]string{"WAYBILL_URL": p.url, "WAYBILL_API_KEY": key}, "", "trigger", "charge.succeeded"); code != 0 {
			t.Errorf("a printed key does not work: %s", errs)
		}
	}
	p.signal(syscall.SIGTERM, "Stopping")
	if err := p.wait(); err != nil {
		t.Errorf("SIGTERM: %v: %s", err, p.stderr)
	}

	p = serve(t, []string{"WAYBILL_LOG_LEVEL=debug", "WAYBILL_LOG_FORMAT=json"}, "--data", data)
	if p.before != "" {
		t.Errorf("the second start printed %q", p.before)
	}
	code, out, _ := run(map[string]string{"WAYBILL_URL": p.url, "WAYBILL_API_KEY": keys[1]}, "", "events", "list")
	if code != 0 || !strings.Contains(out, "charge.succeeded") {
		t.Errorf("after the restart: %d, %s", code, out)
	}
	// A second server must not open the same folder.
	second := exec.CommandContext(t.Context(), "waybill", "serve", "--listen", "127.0.0.1:0", "--data", data) //nolint:gosec // G204: the test's own arguments
	if output, err := second.CombinedOutput(); err == nil || !bytes.Contains(output, []byte("--data")) {
		t.Errorf("a second server in the folder: %v, %s", err, output)
	}
	p.signal(os.Interrupt, "Stopping")
	if err := p.wait(); err != nil {
		t.Errorf("SIGINT: %v", err)
	}
	if log := p.stderr.String(); !strings.Contains(log, `"max_in_flight":"64"`) || strings.Contains(log, keys[1]) {
		t.Errorf("log of a debug start: %s", log)
	}
}

// Keys that were given are not repeated: their owner has them, and the output
// of a server often ends up in a log.
func TestServeWithGivenKeys(t *testing.T) {
	t.Parallel()
	hexKey := strings.Repeat("5e", 32)
	p := serve(t, []string{"WAYBILL_BOOTSTRAP_TEST_KEY=" + testKey, "WAYBILL_ENCRYPTION_KEY=" + hexKey, "WAYBILL_LOG_LEVEL=debug"}, "--data", t.TempDir())
	if !strings.Contains(p.before, "Test key  as given by bootstrap_test_key\n  Live key  sk_live_") {
		t.Errorf("it printed %q", p.before)
	}
	if code, _, errs := run(map[string]string{"WAYBILL_URL": p.url, "WAYBILL_API_KEY": testKey}, "", "events", "list"); code != 0 {
		t.Errorf("the given key does not work: %s", errs)
	}
	p.signal(os.Interrupt, "Stopping")
	if err := p.wait(); err != nil {
		t.Error(err)
	}
	if all := p.before + p.stderr.String(); strings.Contains(all, testKey) || strings.Contains(all, hexKey) {
		t.Errorf("a secret was printed: %s", all)
	}
}

// An endpoint that does not answer must not keep an operator waiting.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	called, release := make(chan struct{}, 16), make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		called <- struct{}{}
		<-release
	}))
	t.Cleanup(func() { close(release); hangs.Close() })
	p := serve(t, []string{"WAYBILL_BOOTSTRAP_TEST_KEY=" + testKey}, "--data", t.TempDir(), "--dev", "--shutdown-timeout", "1m", "--delivery-timeout", "1m")
	env := map[string]string{"WAYBILL_URL": p.url, "WAYBILL_API_KEY": testKey}
	for _, args := range [][]string{{"destinations", "create", "--url", hangs.URL, "--events", "*"}, {"trigger", "charge.failed"}} {
		if code, _, errs := run(env, "", args...); code != 0 {
			t.Fatalf("%q: %s", args, errs)
		}
	}
	<-called
	p.signal(syscall.SIGTERM, "Stopping")
	p.signal(syscall.SIGTERM, "")
	var exit *exec.ExitError
	if err := p.wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", err)
	}
}
