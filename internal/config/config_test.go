package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	testKey = "sk_test_0123456789abcdef"
	liveKey = "sk_live_0123456789abcdef"
	awsKey  = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var hexKey = strings.Repeat("0a", 32)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "waybill.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func environment(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

// load runs a Loader with flags given as name=value.
func load(t *testing.T, file string, env map[string]string, flags ...string) (Config, error) {
	t.Helper()
	l := NewLoader()
	if file != "" {
		flags = append(flags, "config="+write(t, file))
	}
	for _, given := range flags {
		name, value, _ := strings.Cut(given, "=")
		i := -1
		for at, f := range l.Flags() {
			if f.Name == name {
				i = at
			}
		}
		if i < 0 {
			t.Fatalf("there is no flag %s", name)
		}
		if err := l.Flags()[i].Set(value); err != nil {
			t.Fatal(err)
		}
	}
	return l.Load(environment(env))
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Data: "./waybill-data", Listen: "127.0.0.1:4242", APIVersion: "2026-03-25.dahlia",
		NodeLease: 15 * time.Second, DatabaseConnections: 16,
		RetainAttempts: 360 * time.Hour, RetainEvents: 720 * time.Hour, RetainSummaries: 9504 * time.Hour, RetainAudit: 9504 * time.Hour,
		AWSRegion: "us-east-1", PartnerName: "waybill.local", SourceExpiry: 168 * time.Hour, DisableAfter: 120 * time.Hour,
		DeliveryTimeout: 20 * time.Second, MaxInFlight: 64, ShutdownTimeout: 20 * time.Second, LogFormat: "text",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// Every default must pass the check that a given value passes.
func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	c := Default()
	for i := range settings {
		v := settings[i].bind(&c)
		if settings[i].secret {
			continue // unset
		}
		if err := v.Set(v.String()); err != nil {
			t.Errorf("%s: %v", settings[i].name, err)
		}
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("formatting and parsing changed the defaults: %+v", c)
	}
}

// One value for every setting, through every source it has.
func TestEverySettingFromEverySource(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"database": "postgres://u:hunter2@db:5432/waybill", "node_name": "a", "node_lease": "30s", "database_connections": "4",
		"data": "/var/lib/waybill", "listen": ":80", "listen_unix": "/run/waybill/api.sock", "dev": "true", "encryption_key": hexKey,
		"bootstrap_test_key": testKey, "bootstrap_live_key": liveKey, "bootstrap_aws_key": awsKey,
		"bootstrap_aws_account_id": "123456789012", "aws_region": "eu-central-1", "partner_name": "stripe.com", "source_expiry": "48h",
		"allow_network": "10.0.0.0/8,192.168.1.5",
		"api_version":   "2026-09-30.endive", "delivery_timeout": "1m30s", "max_in_flight": "7", "disable_after": "0", "max_store_size": "20GB",
		"retain_attempts": "24h", "retain_events": "48h", "retain_summaries": "72h", "retain_audit": "96h",
		"shutdown_timeout": "5s", "log_format": "json", "log_level": "debug",
	}
	want := Config{
		Database: "postgres://u:hunter2@db:5432/waybill", NodeName: "a", NodeLease: 30 * time.Second, DatabaseConnections: 4,
		Data: "/var/lib/waybill", Listen: ":80", ListenUnix: "/run/waybill/api.sock", Dev: true, EncryptionKey: Secret(hexKey),
		BootstrapTestKey: testKey, BootstrapLiveKey: liveKey, BootstrapAWSKey: awsKey,
		BootstrapAWSAccountID: "123456789012", AWSRegion: "eu-central-1", PartnerName: "stripe.com", SourceExpiry: 48 * time.Hour,
		AllowNetwork: []string{"10.0.0.0/8", "192.168.1.5"},
		APIVersion:   "2026-09-30.endive", DeliveryTimeout: 90 * time.Second, MaxInFlight: 7, MaxStoreSize: 20e9,
		RetainAttempts: 24 * time.Hour, RetainEvents: 48 * time.Hour, RetainSummaries: 72 * time.Hour, RetainAudit: 96 * time.Hour,
		ShutdownTimeout: 5 * time.Second, LogFormat: "json", LogLevel: slog.LevelDebug,
	}
	if n := reflect.TypeFor[Config]().NumField(); n != len(values) || n != len(settings) {
		t.Fatalf("%d fields, %d settings, %d values here", n, len(settings), len(values))
	}
	env, flags, file := map[string]string{}, []string{}, strings.Builder{}
	for i := range settings {
		name := settings[i].name
		env[envName(name)] = values[name]
		fmt.Fprintf(&file, "%s: %q\n", name, values[name])
		if settings[i].secret {
			continue
		}
		flags = append(flags, flagName(name)+"="+values[name])
	}
	check := func(source string, got Config, err error, want Config) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", source, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", source, got, want)
		}
	}
	got, err := load(t, file.String(), nil)
	check("file", got, err, want)
	got, err = load(t, "", env)
	check("environment", got, err, want)
	got, err = load(t, "", nil, flags...)
	want.EncryptionKey, want.BootstrapTestKey, want.BootstrapLiveKey, want.BootstrapAWSKey = "", "", "", ""
	check("flags", got, err, want)
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "max_in_flight: 1\ndata: file\nlisten: 127.0.0.1:1\nallow_network: [10.0.0.0/8]\n"
	env := map[string]string{"WAYBILL_MAX_IN_FLIGHT": "2", "WAYBILL_DATA": "env", "WAYBILL_LISTEN": ""}
	c, err := load(t, file, env, "max-in-flight=3", "allow-network=fd00::/8", "allow-network=10.1.0.0/16,10.2.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if c.MaxInFlight != 3 || c.Data != "env" || c.Listen != "127.0.0.1:1" {
		t.Errorf("max_in_flight %d, data %q, listen %q", c.MaxInFlight, c.Data, c.Listen)
	}
	if want := []string{"fd00::/8", "10.1.0.0/16", "10.2.0.0/16"}; !reflect.DeepEqual(c.AllowNetwork, want) {
		t.Errorf("allow_network %q: a later source replaces the list, repeated flags extend it", c.AllowNetwork)
	}
}

func TestFileByEnvironment(t *testing.T) {
	t.Parallel()
	other := write(t, "data: other\n")
	c, err := load(t, "", map[string]string{"WAYBILL_CONFIG": write(t, "data: one\n")})
	if err != nil || c.Data != "one" {
		t.Errorf("WAYBILL_CONFIG: data %q, %v", c.Data, err)
	}
	c, err = load(t, "data: flag\n", map[string]string{"WAYBILL_CONFIG": other})
	if err != nil || c.Data != "flag" {
		t.Errorf("--config beside it: data %q, %v", c.Data, err)
	}
}

func TestFileForms(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "---\n", "{}\n", "null\n"} {
		if c, err := load(t, text, nil); err != nil || c.Listen != Default().Listen {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	c, err := load(t, "dev: yes-please\n", nil)
	if err == nil {
		t.Errorf("dev is %t", c.Dev)
	}
	c, err = load(t, "allow_network: 10.0.0.0/8\nmax_store_size: 50000000\ndelivery_timeout: 5s\ndev: true\n", nil)
	if err != nil || len(c.AllowNetwork) != 1 || c.MaxStoreSize != 5e7 || c.DeliveryTimeout != 5*time.Second || !c.Dev {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestErrorsNameSettingSourceAndRemedy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		file  string
		env   map[string]string
		flags []string
		want  []string
	}{
		{"flag", "", nil, []string{"listen=4242"}, []string{"--listen:", `"4242"`, "HOST:PORT"}},
		{"port", "", nil, []string{"listen=127.0.0.1:99999"}, []string{"--listen:"}},
		{"environment", "", map[string]string{"WAYBILL_MAX_IN_FLIGHT": "none"}, nil, []string{"WAYBILL_MAX_IN_FLIGHT:", "from 1 to 10000"}},
		{"file", "\nlog_level: loud\n", nil, nil, []string{"line 2, log_level:", "debug, info, warn, error"}},
		{"unknown", "lisen: x\n", nil, nil, []string{"line 1, lisen:", "no such setting", "those possible are: data, database"}},
		{"dashes", "max-in-flight: 3\n", nil, nil, []string{"did you mean max_in_flight?"}},
		{"variable's name", "WAYBILL_DATA: x\n", nil, nil, []string{"did you mean data?"}},
		{"twice", "dev: true\ndev: false\n", nil, nil, []string{"line 2, dev:", "twice"}},
		{"no value", "listen:\n", nil, nil, []string{"listen:", "no value"}},
		{"list", "listen: [a, b]\n", nil, nil, []string{"listen:", "one value"}},
		{"no list", "allow_network: {a: b}\n", nil, nil, []string{"allow_network:", "must be a list"}},
		{"nested list", "allow_network: [[10.0.0.0/8]]\n", nil, nil, []string{"entry 1 must be text"}},
		{"no settings", "- a\n", nil, nil, []string{"must hold settings"}},
		{"two documents", "dev: true\n---\ndev: false\n", nil, nil, []string{"one YAML document"}},
		{"no YAML", "a: b: c\n", nil, nil, []string{"read YAML:"}},
		{"no file", "", nil, []string{"config=/nonexistent/waybill.yaml"}, []string{"--config:", "/nonexistent/waybill.yaml"}},
		{"blank file", "", nil, []string{"config="}, []string{"--config:"}},
		{"timeout too long", "", nil, []string{"delivery-timeout=3m"}, []string{"--delivery-timeout:", "from 1s to 2m0s"}},
		{"timeout without unit", "", nil, []string{"delivery-timeout=30"}, []string{"such as 20s"}},
		{"network", "", nil, []string{"allow-network=10.0.0.1/8"}, []string{"--allow-network:", "10.0.0.0/8"}},
		{"size", "", nil, []string{"max-store-size=20 gigs"}, []string{"--max-store-size:", "10GiB"}},
		{"small size", "", nil, []string{"max-store-size=1MB"}, []string{"at least 16MiB"}},
		{"format", "", nil, []string{"log-format=xml"}, []string{"text, json"}},
		{"bool", "", nil, []string{"dev=maybe"}, []string{"neither true nor false"}},
		{"version", "", nil, []string{"api-version=latest"}, []string{"2026-03-25.dahlia"}},
		{"AWS account", "", nil, []string{"bootstrap-aws-account-id=1234-5678-9012"}, []string{"--bootstrap-aws-account-id:", "123456789012"}},
		{"region", "", nil, []string{"aws-region=US East"}, []string{"--aws-region:", "us-east-1"}},
		{"partner", "", nil, []string{"partner-name=stripe.com/x"}, []string{"--partner-name:", "waybill.local"}},
		{"no partner", "", nil, []string{"partner-name="}, []string{"--partner-name:", "waybill.local"}},
		{"expiry", "", nil, []string{"source-expiry=7d"}, []string{"--source-expiry:", "not a duration"}},
		{"short expiry", "", nil, []string{"source-expiry=1s"}, []string{"--source-expiry:", "from 1m0s"}},
		{"database", "", nil, []string{"database=mysql://u:hunter2@db/waybill"}, []string{"--database:", "write postgres://"}},
		{"nameless database", "", nil, []string{"database=postgres://db"}, []string{"--database:", "write postgres://"}},
		{"node", "", nil, []string{"node-name=a/b"}, []string{"--node-name:", "no slash"}},
		{"lease", "", nil, []string{"node-lease=1ms"}, []string{"--node-lease:", "from 2s"}},
		{"connections", "", nil, []string{"database-connections=1"}, []string{"--database-connections:", "from 2"}},
		{"data", "", nil, []string{"data= "}, []string{"--data:", "folder"}},
		{"all at once", "dev: maybe\n", map[string]string{"WAYBILL_LISTEN": "x"}, []string{"log-level=loud"}, []string{"dev:", "WAYBILL_LISTEN:", "--log-level:"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tt.file, tt.env, tt.flags...)
			if e := (*Error)(nil); !errors.As(err, &e) {
				t.Fatalf("err = %v", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}

// A secret with a typing mistake must not reach the terminal or a log either.
func TestSecretsNeverPrint(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"encryption_key", "bootstrap_test_key", "bootstrap_live_key", "bootstrap_aws_key"} {
		_, err := load(t, name+": hunter2!\n", map[string]string{envName(name): "hunter2?"})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		for _, f := range NewLoader().Flags() {
			if f.Name == flagName(name) {
				t.Errorf("%s has a flag, which every user of the machine can read", name)
			}
		}
	}
	c := Default()
	c.EncryptionKey, c.BootstrapTestKey, c.BootstrapLiveKey, c.BootstrapAWSKey = "hunter2", "hunter2", "hunter2", "hunter2"
	c.Database = "postgres://u:hunter2@db:5432/waybill"
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, c, &c, c.EncryptionKey)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("start", "config", c, "key", c.EncryptionKey)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	text := out.String()
	if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("a secret is in:\n%s", text)
	}
	if !strings.Contains(text, "listen=127.0.0.1:4242") || !strings.Contains(text, "encryption_key=[redacted]") {
		t.Errorf("the log lacks settings:\n%s", text)
	}
	if string(c.EncryptionKey) != "hunter2" || Secret("").String() != "" {
		t.Error("a conversion must give the text, and an unset secret must be seen to be unset")
	}
}

func TestLoaderOfSomeSettings(t *testing.T) {
	t.Parallel()
	l := NewLoader("data", "listen")
	var names []string
	for _, f := range l.Flags() {
		names = append(names, f.Name)
	}
	if want := []string{"config", "data", "listen"}; !reflect.DeepEqual(names, want) {
		t.Errorf("flags %q", names)
	}
	c, err := l.Load(environment(map[string]string{"WAYBILL_DEV": "1"}))
	if err != nil || !c.Dev {
		t.Errorf("a setting without a flag comes from the environment: %t, %v", c.Dev, err)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "7": 7, "7B": 7, "3kb": 3000, "3KiB": 3072, "10 GB": 10e9, " 2TiB ": 2 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GB", "-1", "1.5GB", "1 X", "9223372036854775808", "9223372036854775807KB", "1GBGB", "+1GB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"0", "10GB", "16MiB", "1 B", "99999999TiB", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseSize(text)
		if err != nil {
			return
		}
		if n < 0 {
			t.Fatalf("%q: %d", text, n)
		}
		if again, err := parseSize(formatSize(n)); err != nil || again != n {
			t.Fatalf("%q: %d, formatted %q: %d, %v", text, n, formatSize(n), again, err)
		}
	})
}

// Whatever the file holds, Load returns or explains.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"", "listen: :1", "a: &a [*a]", "allow_network: [10.0.0.0/8, ~]", "? [x]\n: y", "dev: !!bool yes", "---\n---\n", "&a *a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := reader{config: Default()}
		r.read("fuzz.yaml", strings.NewReader(text))
		for _, p := range r.problems {
			if !strings.HasPrefix(p, "fuzz.yaml") {
				t.Fatalf("%q does not name its source", p)
			}
		}
	})
}
