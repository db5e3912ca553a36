package pgtest

import (
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrNoBinaries says that no PostgreSQL server is installed.
var ErrNoBinaries = errors.New("no PostgreSQL server to test with: run scripts/need-postgres, " +
	"or install one (Debian, Ubuntu: sudo apt-get install postgresql), " +
	"or set WAYBILL_PG_BIN to the directory of its initdb and postgres")

// Versions returns the directories of the PostgreSQL servers on this machine
// that work, each once: those that $WAYBILL_PG_BIN lists (as $PATH does) and
// nothing else if it is set; otherwise what $PATH's pg_config or pg_ctl points
// to, Debian's from the newest on, and what scripts/need-postgres put into
// .tools. The first is the one that Start takes.
func Versions() []string {
	as, err := unprivileged()
	if err != nil {
		return nil
	}
	var found []string
	for _, dir := range candidates() {
		dir, err := filepath.EvalSymlinks(dir)
		if err == nil && !slices.Contains(found, dir) && works(dir, as) {
			found = append(found, dir)
		}
	}
	return found
}

func candidates() []string {
	if named := os.Getenv("WAYBILL_PG_BIN"); named != "" {
		return filepath.SplitList(named)
	}
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	dirs = append(dirs, newestFirst("/usr/lib/postgresql/*/bin")...)
	return append(dirs, newestFirst(filepath.Join(moduleRoot(), ".tools", "postgres-*", "bin"))...)
}

// newestFirst returns the directories whose parent's name ends in a version.
func newestFirst(pattern string) []string {
	dirs, _ := filepath.Glob(pattern)
	version := func(dir string) float64 {
		name := strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), "postgres-")
		major, rest, _ := strings.Cut(name, ".")
		minor, _, _ := strings.Cut(rest, ".")
		v, _ := strconv.ParseFloat(major+"."+minor, 64)
		return v
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	return dirs
}

// moduleRoot is the nearest directory upwards that holds a go.mod, or the
// working directory: go test runs a package's tests in its own directory.
func moduleRoot() string {
	start, err := filepath.Abs(".")
	if err != nil {
		return "."
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return start
		}
	}
}

// works reports whether dir holds a server that this user can run: a library
// may be missing, or the directory lie in root's home.
func works(dir string, as *account) bool {
	for _, name := range []string{"initdb", "postgres"} {
		cmd := exec.Command(filepath.Join(dir, name), "--version") //nolint:gosec // a test's own choice of binary
		if as.command(cmd, "/").Run() != nil {
			return false
		}
	}
	return true
}
