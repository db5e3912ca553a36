package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// orphanEnv has the test binary start a server and wait to be killed.
const orphanEnv = "PGTEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		abandon()
	}
	Main(m)
}

func abandon() {
	s, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, s.URL("postgres"))
	select {}
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func query(t *testing.T, conn *pgx.Conn, statement string) (answer string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), statement).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return answer
}

func TestEveryVersion(t *testing.T) {
	t.Parallel()
	versions := Versions()
	if len(versions) == 0 {
		t.Fatal(ErrNoBinaries)
	}
	for _, bin := range versions {
		t.Run(bin, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{BinDir: bin})
			conn := connect(t, s.Database(t))
			if got := query(t, conn, "SELECT current_setting('server_encoding') || ' ' || datcollate FROM pg_database WHERE datname = current_database()"); got != "UTF8 C" {
				t.Errorf("encoding and collation are %q", got)
			}
			databaseIsEmptied(t, s)
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	own := map[string]string{"max_connections": "17", "application_name": "it's = ours"}
	tests := map[string]struct {
		server *Server
		want   map[string]string
	}{
		"fast": {sharedServer(t), map[string]string{
			"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "max_connections": "200",
		}},
		"durable, own": {start(t, Options{Durable: true, Settings: own}), map[string]string{
			"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
			"max_connections": "17", "application_name": "it's = ours",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, tt.server.URL("postgres"))
			for setting, want := range tt.want {
				if got := query(t, conn, "SHOW "+setting); got != want {
					t.Errorf("%s is %q, not %q", setting, got, want)
				}
			}
		})
	}
}

func TestRestartKeepsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	db := s.Database(t)
	for _, mode := range []Mode{Fast, Immediate} {
		conn := connect(t, db)
		execute(t, conn, "DROP TABLE IF EXISTS kept; CREATE TABLE kept (word text)")
		execute(t, conn, "INSERT INTO kept VALUES ('committed')")
		execute(t, conn, "BEGIN; INSERT INTO kept VALUES ('open')")

		if err := s.Restart(t.Context(), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "COMMIT"); err == nil {
			t.Errorf("%s: a connection outlived the restart", mode)
		}
		if got := query(t, connect(t, db), "SELECT string_agg(word, ' ') FROM kept"); got != "committed" {
			t.Errorf("%s: the table holds %q", mode, got)
		}
		log := string(s.logAfter(0))
		if crashed := strings.Contains(log, "was not properly shut down"); crashed != (mode == Immediate) {
			t.Errorf("%s: recovered from a crash: %v; its log:\n%s", mode, crashed, log)
		}
	}
}

func TestDownUp(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Dir: reachable(t)})
	tcp := s.TCPURL("postgres")
	for range 2 { // twice: a server that is down may be told so again
		if err := s.Down(t.Context(), Immediate); err != nil {
			t.Fatal(err)
		}
	}
	if conn, err := pgx.Connect(t.Context(), tcp); err == nil {
		t.Error("a server that is down was connected to")
		_ = conn.Close(t.Context())
	}
	for range 2 {
		if err := s.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, tcp)

	if err := s.Down(t.Context(), "gently"); err == nil {
		t.Error("an unknown mode was taken")
	}

	// However old, the files of a server that runs are not swept.
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(s.dir, old, old); err != nil {
		t.Fatal(err)
	}
	sweep(filepath.Dir(s.dir))
	if _, err := os.Stat(s.dataDir()); err != nil {
		t.Error(err)
	}
	if err := s.Down(t.Context(), Fast); err != nil {
		t.Fatal(err)
	}
	s.port = sharedServer(t).port
	if err := s.Up(t.Context()); !errors.Is(err, errPortTaken) {
		t.Errorf("starting on a port that is taken: %v", err)
	}
}

func TestPasswordGuardsTCP(t *testing.T) {
	t.Parallel()
	s := sharedServer(t)
	u, err := url.Parse(s.TCPURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(username, "guess")
	if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
		t.Error("a wrong password was let in")
		_ = conn.Close(t.Context())
	}
	info, err := os.Stat(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the socket, which asks for no password, lies in a directory of mode %v", info.Mode())
	}
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	first, second := connect(t, Database(t)), connect(t, Database(t))
	execute(t, first, "CREATE TABLE t (n int)")
	execute(t, second, "CREATE TABLE t (n int)")
}

func databaseIsEmptied(t *testing.T, s *Server) {
	t.Helper()
	const objects = `SELECT coalesce(string_agg(o, ' ' ORDER BY o), '') FROM (
		SELECT relname::text AS o FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_|^information_schema'
		UNION ALL SELECT format('%s(%s)%s', nspname, nspowner::regrole, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_') AS all_objects`
	identity := "SELECT oid::text FROM pg_database WHERE datname = current_database()"

	var used, oid, empty string
	var forgotten *pgx.Conn
	t.Run("first", func(t *testing.T) {
		used = s.Database(t)
		var err error
		if forgotten, err = pgx.Connect(t.Context(), used); err != nil {
			t.Fatal(err)
		}
		oid, empty = query(t, forgotten, identity), query(t, forgotten, objects)
		execute(t, forgotten, `CREATE TABLE parent (n int) PARTITION BY RANGE (n);
			CREATE TABLE child PARTITION OF parent DEFAULT; CREATE SCHEMA "Own"; CREATE SEQUENCE "Own".s`)
	})
	if _, err := forgotten.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a forgotten connection outlived its test")
	}
	if conn, err := pgx.Connect(t.Context(), used); err == nil {
		t.Error("a database outlived its test")
		_ = conn.Close(t.Context())
	}

	again := connect(t, s.Database(t))
	if query(t, again, identity) != oid {
		t.Error("it was not used again")
	}
	if got := query(t, again, objects); got != empty {
		t.Errorf("it holds %s, and at first %s", got, empty)
	}
}

// PostgreSQL runs only as the owner of its data, and never as root.
func TestNeverRoot(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(sharedServer(t).dataDir())
	if err != nil {
		t.Fatal(err)
	}
	uid := int(info.Sys().(*syscall.Stat_t).Uid)
	if uid == 0 || (os.Geteuid() != 0 && uid != os.Geteuid()) {
		t.Errorf("the data belong to user %d", uid)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options Options
		want    string
	}{
		"no binaries there":  {Options{BinDir: "/nonexistent"}, "run initdb"},
		"setting it refuses": {Options{Settings: map[string]string{"shared_buffers": "plenty"}}, `invalid value for parameter "shared_buffers"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := reachable(t)
			tt.options.Dir = parent
			s, err := Start(t.Context(), tt.options)
			if err == nil {
				t.Fatal(errors.Join(errors.New("it started"), s.Stop()))
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error lacks %q: %v", tt.want, err)
			}
			if left, _ := os.ReadDir(parent); len(left) != 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// reachable is a directory that PostgreSQL's user can enter.
func reachable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // that it is open is the point
			t.Fatal(err)
		}
	}
	return dir
}

// A server ends with the process that started it, even one that was killed.
func TestEndsWithItsParent(t *testing.T) {
	t.Parallel()
	parent := exec.Command(os.Args[0]) //nolint:gosec // this very binary
	parent.Env = append(os.Environ(), orphanEnv+"=1")
	parent.Stderr = os.Stderr
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(errors.Join(err, parent.Wait()))
	}
	config, err := pgx.ParseConfig(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	dir := config.Host
	conn := connect(t, config.ConnString())

	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT pg_sleep(60)"); err == nil || ctx.Err() != nil {
		t.Fatalf("the server outlived its parent: %v", err)
	}
	_ = parent.Wait()

	// What it leaves is removed by a later Start, but not before it is an hour old.
	awaitGone(ctx, t, filepath.Join(dir, "data", "postmaster.pid"))
	sweep(filepath.Dir(dir))
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("a directory in use a moment ago: %v", err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
	sweep(filepath.Dir(dir))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an old directory is still there: %v", err)
	}
}

func awaitGone(ctx context.Context, t *testing.T, path string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s is still there", path)
		}
	}
}

// Not parallel: it sets the environment.
func TestVersionsNamed(t *testing.T) {
	all := Versions()
	broken := t.TempDir()
	last := all[len(all)-1]
	t.Setenv("WAYBILL_PG_BIN", strings.Join([]string{broken, last, last}, string(filepath.ListSeparator)))
	if got := Versions(); !slices.Equal(got, []string{last}) {
		t.Errorf("found %v, not only %s", got, last)
	}
	t.Setenv("WAYBILL_PG_BIN", broken)
	if _, err := Start(t.Context(), Options{}); !errors.Is(err, ErrNoBinaries) {
		t.Errorf("starting without binaries: %v", err)
	}
}

func TestNewestFirst(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"9.6", "15", "postgres-18.4.0-beta.17", "18", "17"} {
		if err := os.MkdirAll(filepath.Join(root, name, "bin"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, dir := range newestFirst(filepath.Join(root, "*", "bin")) {
		got = append(got, filepath.Base(filepath.Dir(dir)))
	}
	want := []string{"postgres-18.4.0-beta.17", "18", "17", "15", "9.6"}
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
