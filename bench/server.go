package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const testKey = "sk_test_benchbenchbenchbench"

// server is a waybill process.
type server struct {
	url  string
	dir  string
	cmd  *exec.Cmd
	http *http.Client
}

// startServer runs the binary on dir and waits until it is ready.
func startServer(ctx context.Context, s settings, dir string) (*server, error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	srv := &server{url: "http://" + addr, dir: dir, http: &http.Client{Timeout: 30 * time.Second}}
	srv.cmd = exec.CommandContext(ctx, s.binary, "serve", "--data", dir, "--listen", addr, "--dev", "--log-level", "warn", "--node-name", s.node) //nolint:gosec // the operator names the binary
	srv.cmd.Env = append(os.Environ(), "WAYBILL_BOOTSTRAP_TEST_KEY="+testKey, "WAYBILL_BOOTSTRAP_LIVE_KEY=sk_live_benchbenchbenchbench",
		"WAYBILL_BOOTSTRAP_AWS_KEY="+awsKeyID+":"+awsSecret, "WAYBILL_DATABASE="+s.database)
	srv.cmd.Env = append(srv.cmd.Env, s.env...)
	srv.cmd.Stderr = os.Stderr
	if err := srv.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if res, err := srv.http.Get(srv.url + "/healthz"); err == nil {
			_ = res.Body.Close()
			return srv, nil
		}
		pause(ctx, 2*time.Millisecond)
	}
	srv.kill()
	return nil, errors.New("server did not come up within 20 s")
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // only its number was wanted
	return l.Addr().String(), nil
}

func (srv *server) kill() {
	_ = srv.cmd.Process.Kill()
	_ = srv.cmd.Wait()
}

func (srv *server) stop() {
	_ = srv.cmd.Process.Signal(syscall.SIGTERM)
	_ = srv.cmd.Wait()
}

// destination creates a snapshot destination for a type of event.
func (srv *server) destination(ctx context.Context, url, selects string) error {
	body, err := json.Marshal(map[string]any{
		"name": "bench", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{selects},
		"webhook_endpoint": map[string]string{"url": url},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.url+"/v2/core/event_destinations", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := srv.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("create destination: %s: %s: %w", res.Status, answer, err)
	}
	return nil
}

// cpu is the CPU time that the process has used.
func (srv *server) cpu() time.Duration { return readProcess(strconv.Itoa(srv.cmd.Process.Pid)).own }

// peakRSS is the largest resident size so far, rss the present one, in bytes.
func (srv *server) peakRSS() int64 { return srv.status("VmHWM:") }
func (srv *server) rss() int64     { return srv.status("VmRSS:") }

func (srv *server) status(field string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", srv.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return kb * 1024
			}
		}
	}
	return 0
}

// withServer runs fn against a fresh server with one destination.
func withServer(ctx context.Context, s settings, r *receiver, fn func(*server) error) error {
	return withFreshServer(ctx, s, func(srv *server) error {
		if err := srv.destination(ctx, r.url+"/hook", "*"); err != nil {
			return err
		}
		return fn(srv)
	})
}

// withFreshServer runs fn against a server that has nothing yet.
func withFreshServer(ctx context.Context, s settings, fn func(*server) error) error {
	dir, err := os.MkdirTemp(s.dataDir, "waybill-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	srv, err := startServer(ctx, s, dir)
	if err != nil {
		return err
	}
	defer srv.stop()
	return fn(srv)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
