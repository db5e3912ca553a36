package seal

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestKeyFileIsCreatedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	first, created, err := LoadOrCreateKeyFile(path)
	if err != nil || !created {
		t.Fatalf("first: created %t, %v", created, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info.Mode(), err)
	}
	content, err := os.ReadFile(path)
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{64}\n$`).Match(content) {
		t.Errorf("content: %d bytes, %v", len(content), err)
	}
	second, created, err := LoadOrCreateKeyFile(path)
	if err != nil || created {
		t.Fatalf("second: created %t, %v", created, err)
	}
	if first.Fingerprint() != second.Fingerprint() {
		t.Error("the key changed")
	}
	assertOnlyFile(t, path)
}

func TestKeyFilesDiffer(t *testing.T) {
	t.Parallel()
	a, _, errA := LoadOrCreateKeyFile(filepath.Join(t.TempDir(), "key"))
	b, _, errB := LoadOrCreateKeyFile(filepath.Join(t.TempDir(), "key"))
	if errA != nil || errB != nil || a.Fingerprint() == b.Fingerprint() {
		t.Errorf("%v, %v, %s", errA, errB, a.Fingerprint())
	}
}

func TestConcurrentCreatorsAgree(t *testing.T) {
	t.Parallel()
	const creators = 16
	path := filepath.Join(t.TempDir(), "key")
	var (
		wg      sync.WaitGroup
		start   = make(chan struct{})
		prints  [creators]string
		winners [creators]bool
	)
	for i := range creators {
		wg.Go(func() {
			<-start
			key, created, err := LoadOrCreateKeyFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i], winners[i] = key.Fingerprint(), created
		})
	}
	close(start)
	wg.Wait()

	won := 0
	for i := range creators {
		if prints[i] != prints[0] {
			t.Errorf("creators got %s and %s", prints[0], prints[i])
		}
		if winners[i] {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d creators created the file", won)
	}
	assertOnlyFile(t, path)
}

// Losing between the look and the link must not replace the winner's key.
func TestLoserKeepsTheWinnersFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	writeFile(t, path, hexA, 0o600)
	created, err := createKeyFile(path)
	if err != nil || created {
		t.Fatalf("created %t, %v", created, err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != hexA {
		t.Errorf("content: %s, %v", content, err)
	}
	assertOnlyFile(t, path)
}

func TestKeyFileOfTheOperator(t *testing.T) {
	t.Parallel()
	for _, content := range []string{hexA, hexA + "\n", hexA + "\r\n"} {
		path := filepath.Join(t.TempDir(), "key")
		writeFile(t, path, content, 0o400)
		key, created, err := LoadOrCreateKeyFile(path)
		if err != nil || created || key.Fingerprint() != mustKey(t, hexA).Fingerprint() {
			t.Errorf("%q: created %t, %v", content, created, err)
		}
	}
}

func TestKeyFileRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"readable by all", hexA, 0o644, "run: chmod 600 "},
		{"readable by group", hexA, 0o640, "run: chmod 600 "},
		{"writable by others", hexA, 0o602, "run: chmod 600 "},
		{"empty", "", 0o600, "64 hexadecimal digits"},
		{"half", hexA[:32], 0o600, "64 hexadecimal digits"},
		{"huge", strings.Repeat("0", 1<<20), 0o600, "64 hexadecimal digits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "key")
			writeFile(t, path, tt.content, tt.mode)
			key, created, err := LoadOrCreateKeyFile(path)
			if err == nil || created || !key.IsZero() {
				t.Fatalf("created %t, %v", created, err)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not mention %q and the path", err, tt.want)
			}
			if len(tt.content) >= 32 && strings.Contains(err.Error(), tt.content[:32]) {
				t.Error("error shows the content")
			}
			if got, err := os.ReadFile(path); err == nil && string(got) != tt.content {
				t.Error("the refused file was changed")
			}
		})
	}
}

func TestKeyFileThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, _, err := LoadOrCreateKeyFile(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	missing := filepath.Join(dir, "missing", "key")
	if _, created, err := LoadOrCreateKeyFile(missing); err == nil || created || !strings.Contains(err.Error(), "create key file") {
		t.Errorf("in no directory: created %t, %v", created, err)
	}
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // WriteFile's mode is cut by the umask
		t.Fatal(err)
	}
}

// assertOnlyFile checks that no temporary file was left beside path.
func assertOnlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v, %v", entries, err)
	}
}
