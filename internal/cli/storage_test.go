package cli_test

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

func scriptPostgres(ts *testscript.TestScript, _ bool, _ []string) {
	server, err := pgtest.Start(context.Background(), pgtest.Options{})
	ts.Check(err)
	ts.Defer(func() { ts.Check(server.Stop()) })
	url, err := server.CreateDatabase(context.Background(), "waybill")
	ts.Check(err)
	ts.Setenv("DATABASE", url)
}

// waybill runs it to its end.
func waybill(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "waybill", args...) //nolint:gosec // G204: the test's own arguments
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("waybill %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// An import that is killed in the middle has changed neither side: the
// embedded store can still be served, and the import be begun again.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	url, err := pg.CreateDatabase(t.Context(), "waybill")
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	keys := []string{"WAYBILL_BOOTSTRAP_TEST_KEY=" + testKey, "WAYBILL_BOOTSTRAP_LIVE_KEY=" + liveKey}
	served := func(env ...string) {
		t.Helper()
		p := serve(t, append(keys, env...), "--data", data)
		waybill(t, []string{"WAYBILL_URL=" + p.url, "WAYBILL_API_KEY=" + testKey}, "trigger", "customer.created")
		p.signal(os.Interrupt, "Stopping")
		if err := p.wait(); err != nil {
			t.Fatal(err)
		}
	}
	served()
	// The import stops in its middle, until it is killed.
	waybill(t, nil, "migrate", "up", "--database", url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	execute := func(statement string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	execute("CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_lock_shared(1); RETURN NULL; END'")
	execute("CREATE TRIGGER stop BEFORE INSERT ON archived EXECUTE FUNCTION stop()")
	execute("SELECT pg_advisory_lock(1)")

	args := []string{"import", "--from", "sqlite", "--to", "postgres", "--data", data}
	cmd := exec.CommandContext(t.Context(), "waybill", args...) //nolint:gosec // G204: the test's own arguments
	cmd.Env = append(os.Environ(), "WAYBILL_DATABASE="+url)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	reached := false // the table before that
	for !reached && lines.Scan() {
		reached = strings.HasPrefix(lines.Text(), "log_entries ")
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !reached {
		t.Fatalf("it was not killed in the middle: %v, %q", err, lines.Text())
	}
	served()
	if err := conn.Close(t.Context()); err != nil { // and with it its lock
		t.Fatal(err)
	}

	if out := waybill(t, []string{"WAYBILL_DATABASE=" + url}, args...); !strings.Contains(out, "events         2 of 2") || !strings.Contains(out, "Imported everything") {
		t.Errorf("the second import says\n%s", out)
	}
	served("WAYBILL_DATABASE=" + url)
}

// A restored backup serves what was there when it was made.
func TestRestoredBackupServes(t *testing.T) {
	t.Parallel()
	data, restored := t.TempDir(), t.TempDir()
	keys := []string{"WAYBILL_ENCRYPTION_KEY=" + strings.Repeat("5a", 32), "WAYBILL_BOOTSTRAP_TEST_KEY=" + testKey, "WAYBILL_BOOTSTRAP_LIVE_KEY=" + liveKey}
	p := serve(t, keys, "--data", data)
	client := func(p *process) []string {
		return []string{"WAYBILL_URL=" + p.url, "WAYBILL_API_KEY=" + testKey}
	}
	waybill(t, client(p), "trigger", "customer.created")
	before := waybill(t, client(p), "events", "list", "--json")
	backup := filepath.Join(restored, "backup")
	if out := waybill(t, keys, "backup", backup, "--data", data); !strings.Contains(out, "keep a copy of WAYBILL_ENCRYPTION_KEY") {
		t.Errorf("it says %q", out)
	}
	if info, err := os.Stat(backup); err != nil || info.Mode() != 0o600 {
		t.Errorf("the backup is %v, %v", info, err)
	}
	waybill(t, client(p), "trigger", "customer.updated")

	waybill(t, keys, "restore", backup, "--data", restored)
	if info, err := os.Stat(filepath.Join(restored, "waybill.db")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the database is %v, %v", info, err)
	}
	q := serve(t, keys, "--data", restored)
	if after := waybill(t, client(q), "events", "list", "--json"); strings.ReplaceAll(after, q.url, p.url) != before {
		t.Errorf("the events are\n%s\nand were\n%s", after, before)
	}
	left, err := filepath.Glob(filepath.Join(restored, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if r, err := new(http.Client).Get(q.url + "/readyz"); err != nil || r.Body.Close() != nil || r.StatusCode != http.StatusOK { //nolint:noctx // it answers at once
		t.Errorf("not ready: %v, %v", r, err)
	}
}
