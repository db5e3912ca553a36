package cli

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/app"
)

func TestDoctorJudges(t *testing.T) {
	t.Parallel()
	applied := time.Now()
	tests := []struct {
		name  string
		check func(*doctor)
		want  string // status and a part of what was found, of each finding
	}{
		{"clock", func(d *doctor) { d.checkClock("server", 400*time.Millisecond) }, "ok agrees"},
		{"clock behind", func(d *doctor) { d.checkClock("server", -30*time.Second) }, "warning 30s behind"},
		{"clock ahead", func(d *doctor) { d.checkClock("database", 5*time.Minute) }, "error 5m0s ahead"},
		{"migrations", func(d *doctor) { d.checkMigrations([]app.Migration{{Version: 1, Name: "a", Applied: applied}}) }, "ok all 1"},
		{"migrations pending", func(d *doctor) {
			d.checkMigrations([]app.Migration{{Version: 1, Name: "a", Applied: applied}, {Version: 2, Name: "b"}})
		}, "warning 1 of 2"},
		{"migrations newer", func(d *doctor) { d.checkMigrations([]app.Migration{{Version: 7, Applied: applied}}) }, "warning newer waybill (00007)"},
		{"disk", func(d *doctor) { d.checkFolder(&app.Folder{Free: 5e9}, 1) }, "ok 5.0 GB"},
		{"disk scarce", func(d *doctor) { d.checkFolder(&app.Folder{Free: 500e6}, 1) }, "warning 500.0 MB"},
		{"disk full", func(d *doctor) { d.checkFolder(&app.Folder{Free: 4096}, 1) }, "error 4.1 kB"},
		{"disk unknown", func(d *doctor) { d.checkFolder(&app.Folder{Free: -1}, 1) }, "skipped not known"},
		{"disk shut", func(d *doctor) { d.checkFolder(&app.Folder{Free: 5e9, Writable: errors.New("read-only")}, 1) }, "error read-only|ok free"},
		{"store near its bound", func(d *doctor) { d.checkFolder(&app.Folder{Free: 5e9, Max: 1e9}, 95e7) }, "ok free|warning 950.0 MB of the 1.0 GB"},
		{"postgres", func(d *doctor) { d.checkPostgres(postgres()) }, "ok PostgreSQL 18.4"},
		{"postgres without fsync", func(d *doctor) {
			p := postgres()
			p.Settings["fsync"], p.Version, p.Standby, p.Connections = "off", 140009, true, 95
			d.checkPostgres(p)
		}, "warning 14.9 is old|error standby|error fsync is off|warning 95 of 100"},
		{"nodes", func(d *doctor) {
			d.checkNodes([]app.Node{{Lanes: 3}, {Name: "a", Silent: -time.Second, Lanes: 1}, {Name: "b", Silent: time.Minute, Lanes: 2}})
		}, "ok a owns 1|warning b has been silent for 1m"},
		{"no node", func(d *doctor) { d.checkNodes([]app.Node{{Name: "b", Silent: time.Minute, Lanes: 2}}) }, "error no node is alive"},
		{"key", func(d *doctor) { d.checkKey(&app.Inspection{}) }, "ok encryption.key fits"},
		{"key missing", func(d *doctor) { d.checkKey(&app.Inspection{Key: errors.New("there is no key")}) }, "error there is no key"},
		{"backlog", func(d *doctor) { d.checkRetries(&app.Inspection{Retries: 5}, true) }, "ok 5 deliveries"},
		{"backlog overdue", func(d *doctor) { d.checkRetries(&app.Inspection{Retries: 5, Overdue: time.Hour}, true) }, "warning due for 1h"},
		{"backlog without a server", func(d *doctor) { d.checkRetries(&app.Inspection{Retries: 5, Overdue: time.Hour}, false) }, "error due for 1h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := &doctor{cli: &cli{}}
			tt.check(d)
			want := strings.Split(tt.want, "|")
			if len(d.findings) != len(want) {
				t.Fatalf("found %+v", d.findings)
			}
			for i, f := range d.findings {
				status, part, _ := strings.Cut(want[i], " ")
				if f.Status != status || !strings.Contains(f.Found, part) {
					t.Errorf("found %+v instead of %s", f, want[i])
				}
				if bad := f.Status == statusWarning || f.Status == statusError; bad && f.Hint == "" {
					t.Errorf("%+v does not say what to do", f)
				}
			}
		})
	}
}

func postgres() *app.Postgres {
	return &app.Postgres{
		Version: 180004, MaxConnections: 100, Connections: 20,
		Settings: map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"},
	}
}

func TestMetric(t *testing.T) {
	t.Parallel()
	const text = "# HELP a b\na_total 5\na 2.5e3\na{x=\"y\"} 7\n"
	for name, want := range map[string]float64{"a": 2500, "a_total": 5, "b": 0} {
		if got := metric(text, name); got != want {
			t.Errorf("%s is %v", name, got)
		}
	}
}

// Colours are for people: on a terminal, unless they said no.
func TestColours(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	none, no := map[string]string{}, map[string]string{"NO_COLOR": "1"}
	for i, tt := range []struct {
		c    *cli
		want bool
	}{
		{&cli{stdout: terminal, env: lookup(none)}, true},
		{&cli{stdout: terminal, env: lookup(no)}, false},
		{&cli{stdout: terminal, env: lookup(map[string]string{"TERM": "dumb"})}, false},
		{&cli{stdout: file, env: lookup(none)}, false},
		{&cli{stdout: new(bytes.Buffer), env: lookup(none)}, false},
	} {
		if got := strings.Contains(tt.c.paint("failed (410)"), "\x1b["); got != tt.want {
			t.Errorf("case %d: coloured %v", i, got)
		}
		if tt.c.paint("Shop") != "Shop" {
			t.Errorf("case %d: a name is coloured", i)
		}
	}
}

func lookup(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

// Columns are aligned by what is seen, and end where the text does.
func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &cli{stdout: &out, env: lookup(nil)}
	if err := c.table([]string{"ID", "NAME"}, [][]string{{"1", "Töpferei\n"}, {"1234", "b"}}, ""); err != nil {
		t.Fatal(err)
	}
	if want := "ID    NAME\n1     Töpferei \n1234  b\n"; out.String() != want {
		t.Errorf("printed %q", out.String())
	}
}

func TestLocalAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ server, env, listen, want string }{
		{"", "", "", defaultServer},
		{"", "", ":4343", "http://127.0.0.1:4343"},
		{"", "", "0.0.0.0:1", "http://127.0.0.1:1"},
		{"", "", "[::]:1", "http://127.0.0.1:1"},
		{"", "", "10.0.0.5:80", "http://10.0.0.5:80"},
		{"", "", "[::1]:80", "http://[::1]:80"},
		{"", "https://b.example", ":4343", "https://b.example"},
		{"https://a.example", "https://b.example", ":4343", "https://a.example"},
	} {
		c := &cli{server: tt.server, env: lookup(map[string]string{"WAYBILL_URL": tt.env})}
		if got, err := c.localAddress(tt.listen); got != tt.want || err != nil {
			t.Errorf("%+v: %s, %v", tt, got, err)
		}
	}
	if got, err := (&cli{env: lookup(nil)}).localAddress("4242"); err == nil {
		t.Errorf("an address without a port is %s", got)
	}
}

func TestCompleteList(t *testing.T) {
	t.Parallel()
	names, _ := completeList(completeTypes)(nil, nil, "a.b,pay")
	if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "a.b,payout.paid\t") }) {
		t.Errorf("completed to %.200q", names)
	}
}
