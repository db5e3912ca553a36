// Package deploy holds ways to run Waybill. Its tests keep them in step with
// the settings there are, and with each other.
package deploy

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/waybill-dev/waybill/internal/config"
)

// given are the secrets of the .env file.
var given = map[string]string{
	"POSTGRES_PASSWORD":          "0a1b2c",
	"WAYBILL_ENCRYPTION_KEY":     strings.Repeat("0a", 32),
	"WAYBILL_BOOTSTRAP_TEST_KEY": "sk_test_0123456789abcdef",
	"WAYBILL_BOOTSTRAP_LIVE_KEY": "sk_live_0123456789abcdef",
}

type compose struct {
	Services map[string]service `yaml:"services"`
}

type service struct {
	Environment     map[string]string `yaml:"environment"`
	Command         []string          `yaml:"command"`
	Ports           []string          `yaml:"ports"`
	StopGracePeriod time.Duration     `yaml:"stop_grace_period"`
	Restart         string            `yaml:"restart"`
	Healthcheck     struct {
		Test    []string      `yaml:"test"`
		Timeout time.Duration `yaml:"timeout"`
	} `yaml:"healthcheck"`
	Build struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	} `yaml:"build"`
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// load returns the Config that a server has of this environment.
func load(t *testing.T, env map[string]string, flags ...string) config.Config {
	t.Helper()
	loader := config.NewLoader()
	for _, flag := range flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		i := slices.IndexFunc(loader.Flags(), func(f *config.Flag) bool { return f.Name == name })
		if i < 0 {
			t.Fatalf("there is no flag --%s", name)
		}
		if err := loader.Flags()[i].Set(value); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := loader.Load(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	for name := range env {
		exists(t, name)
	}
	return cfg
}

// exists tells whether a server ever asks for a variable.
func exists(t *testing.T, name string) {
	t.Helper()
	asked := false
	_, _ = config.NewLoader().Load(func(n string) string {
		asked = asked || n == name
		return ""
	})
	if !asked {
		t.Errorf("there is no setting %s", name)
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func find(t *testing.T, text, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("nothing matches %s", pattern)
	}
	return m[1]
}

var variable = regexp.MustCompile(`\$\{(\w+)(?::([?-])([^}]*))?\}`)

func loadCompose(t *testing.T) compose {
	t.Helper()
	text := variable.ReplaceAllStringFunc(read(t, "compose.yaml"), func(v string) string {
		m := variable.FindStringSubmatch(v)
		value, ok := given[m[1]]
		switch {
		case ok && m[2] != "?":
			t.Errorf("%s has no value of its own and is not demanded", m[1])
		case !ok && m[2] != "-":
			t.Errorf("%s is in no .env that README.md makes", m[1])
		case !ok:
			return m[3]
		}
		return value
	})
	var c compose
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestComposeFits(t *testing.T) {
	t.Parallel()
	c := loadCompose(t)
	haproxy := read(t, "haproxy.cfg")
	dockerfile := read(t, "Dockerfile")
	exposed := find(t, dockerfile, `(?m)^EXPOSE (\d+)$`)

	nodes := map[string]string{} // name to address
	connections := 0
	keys := map[config.Secret]bool{}
	for name, s := range c.Services {
		if s.Restart != "always" {
			t.Errorf("%s is not started again", name)
		}
		if s.Build.Dockerfile == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Error(err)
		}
		cfg := load(t, s.Environment)
		if cfg.NodeName != name {
			t.Errorf("%s is called %q at the database", name, cfg.NodeName)
		}
		if !strings.Contains(string(cfg.Database), "@postgres:5432/"+c.Services["postgres"].Environment["POSTGRES_DB"]) {
			t.Errorf("%s uses another database", name)
		}
		if s.StopGracePeriod <= cfg.ShutdownTimeout {
			t.Errorf("%s is killed after %s, and may take %s to stop", name, s.StopGracePeriod, cfg.ShutdownTimeout)
		}
		if port(t, cfg.Listen) != exposed {
			t.Errorf("%s listens on %s, the image exposes %s", name, cfg.Listen, exposed)
		}
		if len(s.Healthcheck.Test) == 0 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("the health check of %s is %q; the image has no shell", name, s.Healthcheck.Test)
		} else {
			checksHealth(t, dockerfile, s.Healthcheck.Test[1:], s.Healthcheck.Timeout)
		}
		keys[cfg.EncryptionKey] = true
		nodes[name] = name + ":" + exposed
		connections += cfg.DatabaseConnections + 2
	}
	if len(nodes) < 2 || len(keys) != 1 {
		t.Errorf("%d nodes with %d encryption keys", len(nodes), len(keys))
	}

	balanced := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s+server (\S+) (\S+)$`).FindAllStringSubmatch(haproxy, -1) {
		balanced[m[1]] = m[2]
	}
	if !maps.Equal(balanced, nodes) {
		t.Errorf("HAProxy sends to %v, the nodes are %v", balanced, nodes)
	}
	bound := find(t, haproxy, `(?m)^\s+bind :(\d+)$`)
	if ports := c.Services["balancer"].Ports; len(ports) != 1 || !strings.HasSuffix(ports[0], ":"+bound) {
		t.Errorf("HAProxy binds %s, and %v is published", bound, ports)
	}

	limit, err := strconv.Atoi(find(t, fmt.Sprint(c.Services["postgres"].Command), `max_connections=(\d+)`))
	if err != nil || limit < connections*3/2 {
		t.Errorf("PostgreSQL takes %d connections (%v); the nodes need %d, and more while they are replaced", limit, err, connections)
	}
}

// readyTakes is how long `waybill ready` may take to say that a server is not.
const readyTakes = 6 * time.Second

// checksHealth tells whether a health check asks the image's binary, and waits
// for the answer.
func checksHealth(t *testing.T, dockerfile string, command []string, timeout time.Duration) {
	t.Helper()
	binary := find(t, dockerfile, `(?m)^ENTRYPOINT \["([^"]+)"\]$`)
	if want := []string{binary, "ready"}; !slices.Equal(command, want) {
		t.Errorf("the health check runs %q instead of %q", command, want)
	}
	if timeout <= readyTakes {
		t.Errorf("the health check is given %s, and may take %s", timeout, readyTakes)
	}
}

func TestImageFits(t *testing.T) {
	t.Parallel()
	dockerfile := read(t, "Dockerfile")
	env := map[string]string{}
	for pair := range strings.FieldsSeq(find(t, dockerfile, `(?m)^ENV (.*)$`)) {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	cfg := load(t, env)
	if volume := find(t, dockerfile, `(?m)^VOLUME (.*)$`); cfg.Data != volume {
		t.Errorf("data is in %s, the volume at %s", cfg.Data, volume)
	}
	if exposed := find(t, dockerfile, `(?m)^EXPOSE (.*)$`); port(t, cfg.Listen) != exposed {
		t.Errorf("it listens on %s and exposes %s", cfg.Listen, exposed)
	}
	timeout, err := time.ParseDuration(find(t, dockerfile, `HEALTHCHECK .*--timeout=(\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	checksHealth(t, dockerfile, strings.Split(find(t, dockerfile, `(?m)^    CMD \["(.*)"\]$`), `", "`), timeout)
	language := find(t, read(t, "../go.mod"), `(?m)^go (\d+\.\d+)`)
	if builder := find(t, dockerfile, `golang:(\S+)`); builder != language {
		t.Errorf("built by Go %s, written in %s", builder, language)
	}
	ignored := read(t, "Dockerfile.dockerignore")
	for _, m := range regexp.MustCompile(`(?m)^COPY ([a-z. ]+) \S+$`).FindAllStringSubmatch(dockerfile, -1) {
		for source := range strings.FieldsSeq(m[1]) {
			if _, err := os.Stat(filepath.Join("..", source)); err != nil {
				t.Error(err)
			}
			if !strings.Contains(ignored, "\n!"+source+"\n") {
				t.Errorf("%s is copied and ignored", source)
			}
		}
	}
}

func TestUnitFits(t *testing.T) {
	t.Parallel()
	unit := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(read(t, "waybill.service")))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(name, "#") {
			unit[name] = value
		}
	}
	name, value, _ := strings.Cut(unit["Environment"], "=")
	credential, path, _ := strings.Cut(unit["LoadCredential"], ":")
	if want := "serve --config ${CREDENTIALS_DIRECTORY}/" + credential; !strings.HasSuffix(unit["ExecStart"], want) {
		t.Errorf("ExecStart=%s does not read the credential %s", unit["ExecStart"], credential)
	}
	file := filepath.Base(path)

	alone := load(t, map[string]string{name: value}, "--config="+file)
	if alone.Data != "/var/lib/"+unit["StateDirectory"] || alone.Database != "" {
		t.Errorf("the embedded store is in %s (database %s)", alone.Data, alone.Database)
	}

	// The lines that a node needs are comments.
	text := regexp.MustCompile(`(?m)^# (\w+: )`).ReplaceAllString(read(t, file), "$1")
	text = strings.Replace(text, "64 hex digits", given["WAYBILL_ENCRYPTION_KEY"], 1)
	several := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(several, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	node := load(t, map[string]string{name: value}, "--config="+several)
	if node.Database == "" || node.EncryptionKey == "" || node.NodeName == "" {
		t.Error("the lines for a node are incomplete")
	}
	seconds, err := strconv.Atoi(unit["TimeoutStopSec"])
	if err != nil || time.Duration(seconds)*time.Second <= node.ShutdownTimeout {
		t.Errorf("it is killed after %s s, and may take %s to stop", unit["TimeoutStopSec"], node.ShutdownTimeout)
	}
}

// What the documents have one type exists.
func TestDocumentsFit(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	for name := range given {
		if !strings.Contains(readme, "\n"+name+"=") {
			t.Errorf("README.md does not make %s", name)
		}
	}
	known := config.NewLoader().Flags()
	for _, path := range []string{"../README.md", "../docs/scaling.md"} {
		text := read(t, path)
		find(t, text, `(waybill serve --)`)
		for _, m := range regexp.MustCompile(`waybill serve( .*)`).FindAllStringSubmatch(text, -1) {
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(m[1], -1) {
				if !slices.ContainsFunc(known, func(f *config.Flag) bool { return "--"+f.Name == flag }) {
					t.Errorf("%s: waybill serve has no %s", path, flag)
				}
			}
		}
		for _, name := range regexp.MustCompile(`WAYBILL_[A-Z_]+=`).FindAllString(text, -1) {
			if name = strings.TrimSuffix(name, "="); name != "WAYBILL_API_KEY" { // the command line's
				exists(t, name)
			}
		}
	}
}
