package app

import (
	"crypto/sha256"
	"crypto/tls"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/config"
)

// contents is every file of a folder, by name.
func contents(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][sha256.Size]byte{}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = sha256.Sum256(raw)
	}
	return all
}

func TestInspectChangesNothing(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	if HasStore(cfg) {
		t.Error("there is a store before the first start")
	}
	if _, err := Inspect(t.Context(), cfg); err == nil {
		t.Error("a store that is not there was inspected")
	}
	if _, err := os.Stat(cfg.Data); err == nil {
		t.Error("the folder was made")
	}
	a, err := New(t.Context(), cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := contents(t, cfg.Data)
	found, err := Inspect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !HasStore(cfg) || found.Size == 0 || len(found.Migrations) == 0 || found.Key != nil || found.Keyless ||
		found.Folder.Writable != nil || found.Folder.Free == 0 || found.Postgres != nil {
		t.Errorf("found %+v", found)
	}
	if after := contents(t, cfg.Data); !maps.Equal(after, before) {
		t.Errorf("the folder was %v and is %v", before, after)
	}

	if err := os.Chmod(KeyFile(cfg), 0o644); err != nil { //nolint:gosec // G302: that is the mistake
		t.Fatal(err)
	}
	found, err = Inspect(t.Context(), cfg)
	if err != nil || found.Key == nil || !strings.Contains(found.Key.Error(), "chmod 600") {
		t.Errorf("a key file open to all: %v, %v", found.Key, err)
	}
}

func TestReachEndpoint(t *testing.T) {
	t.Parallel()
	asked := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	plain, secure := httptest.NewServer(asked), httptest.NewUnstartedServer(asked)
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	dev := config.Default()
	dev.Dev = true
	for _, tt := range []struct {
		cfg       config.Config
		url, want string
	}{
		{dev, plain.URL, ""},
		{dev, secure.URL, "certificate"},
		{config.Default(), plain.URL, "loopback"},
		{dev, "ftp://example.com", "must start with https"},
		{dev, "http://127.0.0.1:1/", "refused"},
	} {
		_, err := ReachEndpoint(t.Context(), tt.cfg, tt.url)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.url, err)
		}
	}
}
