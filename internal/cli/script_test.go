package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/cli"
	"github.com/waybill-dev/waybill/internal/config"
)

const (
	testKey = "sk_test_scripts0scripts0"
	liveKey = "sk_live_scripts0scripts0"
	// An access key, for `server aws`.
	awsKeyID  = "AKIASCRIPTS000000000"
	awsSecret = "scripts-secret-0123456789"
	// patience bounds every wait of these tests; none should come near it.
	patience = 2 * time.Minute
)

// The test binary plays waybill, for scripts and for tests that start it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"waybill": func() {
			os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv, "v0.0.0-test"))
		},
	})
}

// The scripts are the documentation of the command line. Their own commands:
//
//	server [aws]                starts a server on a free port, in development mode, and points WAYBILL_URL,
//	                            WAYBILL_API_KEY and ADDRESS to it; with aws there is an access key too
//	receiver NAME STATUS…       starts a receiver that answers with these, the last for ever; its URL is $NAME
//	capture NAME PATTERN        sets $NAME to the first group of a match in the last output
//	settle EVENT                waits until no delivery of the event is under way
//	attempted EVENT N           waits until a delivery of the event has had N attempts
//	postgres                    starts a PostgreSQL server; the URL of an empty database is $DATABASE
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TEST_KEY", testKey)
			env.Setenv("LIVE_KEY", liveKey)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":    scriptServer,
			"receiver":  scriptReceiver,
			"capture":   scriptCapture,
			"settle":    scriptSettle,
			"attempted": scriptAttempted,
			"postgres":  scriptPostgres,
		},
	})
}

// startServer runs a server in this process until stop.
func startServer(data string, change ...func(*config.Config)) (url string, stop func() error, err error) {
	cfg := config.Default()
	cfg.Data, cfg.Listen, cfg.Dev = data, "127.0.0.1:0", true
	cfg.BootstrapTestKey, cfg.BootstrapLiveKey = testKey, liveKey
	for _, c := range change {
		c(&cfg)
	}
	ctx := context.Background()
	a, err := app.New(ctx, cfg, app.Options{Version: "v0.0.0-test"})
	if err != nil {
		return "", nil, err
	}
	stop = func() error { return a.Stop(ctx) }
	if err := a.Start(ctx); err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return a.URL(), stop, nil
}

func scriptServer(ts *testscript.TestScript, _ bool, args []string) {
	var change []func(*config.Config)
	switch {
	case len(args) == 1 && args[0] == "aws":
		change = append(change, func(c *config.Config) { c.BootstrapAWSKey = awsKeyID + ":" + awsSecret })
		ts.Setenv("AWS_ACCESS_KEY_ID", awsKeyID)
		ts.Setenv("AWS_SECRET_ACCESS_KEY", awsSecret)
	case len(args) != 0:
		ts.Fatalf("usage: server [aws]")
	}
	url, stop, err := startServer(filepath.Join(ts.Getenv("WORK"), "data"), change...)
	ts.Check(err)
	ts.Defer(func() { ts.Check(stop()) })
	ts.Setenv("WAYBILL_URL", url)
	ts.Setenv("ADDRESS", strings.TrimPrefix(url, "http://"))
	ts.Setenv("WAYBILL_API_KEY", testKey)
}

func scriptReceiver(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: receiver NAME STATUS…")
	}
	var statuses []int
	for _, arg := range args[1:] {
		status, err := strconv.Atoi(arg)
		ts.Check(err)
		statuses = append(statuses, status)
	}
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		at := min(int(n.Add(1)), len(statuses)) - 1
		w.WriteHeader(statuses[at])
		fmt.Fprintf(w, "this is answer %d", statuses[at])
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

func scriptCapture(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: capture NAME PATTERN")
	}
	match := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(match) < 2 {
		ts.Fatalf("the output does not match %s", args[1])
	}
	ts.Setenv(args[0], match[1])
}

type delivery struct {
	Status   string `json:"status"`
	Attempts int    `json:"attempt_count"`
}

func scriptSettle(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, args[0], func(d delivery) bool { return d.Status != "pending" })
}

func scriptAttempted(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	await(ts, args[0], func(d delivery) bool { return d.Attempts >= n })
}

// await asks the server until done holds for all deliveries of an event. The
// outcome of an attempt is committed after the receiver answered, so only the
// server knows.
func await(ts *testscript.TestScript, event string, done func(delivery) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		open := 0
		deliveries, err := deliveriesOf(ctx, ts.Getenv("WAYBILL_URL"), event)
		ts.Check(err)
		for _, d := range deliveries {
			if !done(d) {
				open++
			}
		}
		if len(deliveries) > 0 && open == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s still has %+v", event, deliveries)
		}
	}
}

func deliveriesOf(ctx context.Context, server, event string) ([]delivery, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/v2/core/deliveries?event="+event, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	answer, err := new(http.Client).Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	var page struct {
		Data []delivery `json:"data"`
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", answer.Status, raw)
	}
	err = json.Unmarshal(raw, &page)
	return page.Data, err
}

// unused returns an address that nothing listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}
