// Package pgtest owns the throw-away PostgreSQL servers that tests, benchmarks
// and chaos runs use: each is initialised in a directory of its own, listens on
// a unix socket there and on a loopback port, and takes its files with it.
//
// A server ends at [Server.Stop], or (on Linux) when the process that started
// it dies, however it dies. In the second case its directory stays behind; the
// next Start in the same place removes it once it is an hour old.
//
// Binaries are searched as [Versions] says. PostgreSQL refuses to run as root:
// started by root, it runs as the user postgres, or nobody.
package pgtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	username  = "waybill"
	dirPrefix = "waybill-pg-"

	// Long enough for the recovery of a large benchmark's write-ahead log.
	upTimeout = 2 * time.Minute
	// An immediate shutdown is a matter of milliseconds; PostgreSQL itself kills
	// backends that ignore it after five seconds.
	stopTimeout = 15 * time.Second

	// Ports are taken from below Linux's ephemeral range. Within it, an outgoing
	// connection could take the port while the server is down, and a client that
	// dials the dead port could even be connected to itself.
	firstPort, lastPort = 20000, 32000
	portTries           = 20
)

var errPortTaken = errors.New("port is taken")

// Options say what server to start. The zero value is right for unit tests.
type Options struct {
	// Durable keeps fsync and full_page_writes on, as production has them.
	// Without it a commit still outlives a crash of the server, though not one of
	// the machine: the operating system has it by then.
	Durable bool
	// Settings are server settings by name, over the defaults.
	Settings map[string]string
	// BinDir holds initdb and postgres; empty is the first of Versions.
	BinDir string
	// Dir is where the server's own directory is made; empty is os.TempDir.
	// Started by root, the user PostgreSQL then runs as must be able to reach it.
	Dir string
}

// Mode is a way to end a server.
type Mode string

const (
	// Fast rolls back what is open, writes a checkpoint and exits.
	Fast Mode = "fast"
	// Immediate is a crash: the next start recovers from the write-ahead log.
	Immediate Mode = "immediate"
)

// Server is one PostgreSQL server. Its methods may be called concurrently.
type Server struct {
	dir      string
	bin      string
	settings map[string]string
	password string
	port     int
	as       *account
	names    atomic.Int64

	mu      sync.Mutex
	process *process
	spare   []string // databases that are empty again
}

// process is one run of the postmaster.
type process struct {
	*os.Process
	exited chan struct{}
}

// Start initialises a server and waits until it accepts connections. ctx bounds
// the start alone. It returns ErrNoBinaries when o names none and none is found;
// when the server does not come up, the error has the end of its log.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	bin := o.BinDir
	if bin == "" {
		found := Versions()
		if len(found) == 0 {
			return nil, ErrNoBinaries
		}
		bin = found[0]
	}
	parent := cmp.Or(o.Dir, os.TempDir())
	sweep(parent)
	dir, err := os.MkdirTemp(parent, dirPrefix)
	if err != nil {
		return nil, fmt.Errorf("make server directory: %w", err)
	}
	s := &Server{dir: dir, bin: bin, password: rand.Text(), as: as}
	defer func() { //nolint:contextcheck // ctx may be why it failed
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()

	s.settings = map[string]string{
		"max_connections":    "200",
		"synchronous_commit": "on",
	}
	if !o.Durable {
		s.settings["fsync"] = "off"
		s.settings["full_page_writes"] = "off"
	}
	maps.Copy(s.settings, o.Settings)
	s.settings["listen_addresses"] = "127.0.0.1"
	s.settings["unix_socket_directories"] = dir

	if err := s.initialise(ctx, o.Durable); err != nil {
		return nil, err
	}
	for range portTries {
		s.port = firstPort + mathrand.IntN(lastPort-firstPort) //nolint:gosec // a port is no secret
		if err = s.Up(ctx); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// URL is the connection string of a database over the unix socket, which only
// this user (and root) can reach.
func (s *Server) URL(database string) string {
	query := url.Values{"host": {s.dir}, "port": {strconv.Itoa(s.port)}}
	return s.url("", database, query)
}

// TCPURL is the connection string of a database over loopback TCP.
func (s *Server) TCPURL(database string) string {
	return s.url("127.0.0.1:"+strconv.Itoa(s.port), database, url.Values{"sslmode": {"disable"}})
}

func (s *Server) url(host, database string, query url.Values) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(username, s.password),
		Host:     host,
		Path:     "/" + database,
		RawQuery: query.Encode(),
	}
	return u.String()
}

// CreateDatabase makes an empty database and returns its URL.
func (s *Server) CreateDatabase(ctx context.Context, name string) (string, error) {
	if err := s.exec(ctx, "postgres", "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return s.URL(name), nil
}

func (s *Server) exec(ctx context.Context, database, statements string) error {
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statements)
	return errors.Join(err, conn.Close(ctx))
}

// Restart ends the server and starts it again, on the same files and port.
func (s *Server) Restart(ctx context.Context, mode Mode) error {
	if err := s.Down(ctx, mode); err != nil {
		return err
	}
	return s.Up(ctx)
}

// Down ends the server and keeps its files. When ctx ends before the server has,
// the server is killed. A server that is down already stays so.
func (s *Server) Down(ctx context.Context, mode Mode) error {
	signal, known := map[Mode]syscall.Signal{Fast: syscall.SIGINT, Immediate: syscall.SIGQUIT}[mode]
	if !known {
		return fmt.Errorf("end server: mode is %q, not %q or %q", mode, Fast, Immediate)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end(ctx, signal)
}

func (s *Server) end(ctx context.Context, signal syscall.Signal) error {
	if s.process == nil {
		return nil
	}
	p := s.process
	s.process = nil
	// A process that is gone, or cannot be signalled, is told by what follows.
	_ = p.Signal(signal)
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		_ = p.Kill()
		<-p.exited
		return fmt.Errorf("end server: killed after it ignored %v: %w", signal, ctx.Err())
	}
}

// Up starts a server that is down, or that has crashed, and waits until it
// accepts connections again. A server that is up stays so.
func (s *Server) Up(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		select {
		case <-s.process.exited:
		default:
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()

	logged, err := s.launch()
	if err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	err = s.awaitReady(ctx)
	if err == nil {
		return nil
	}
	// Its log is complete only once it has exited.
	_ = s.end(ctx, syscall.SIGQUIT)
	tail := s.logAfter(logged)
	if bytes.Contains(tail, []byte("could not bind")) {
		err = errPortTaken
	}
	return fmt.Errorf("start server on port %d: %w; the end of its log:\n%s", s.port, err, tail)
}

// launch starts the postmaster, and returns how long its log was before.
func (s *Server) launch() (logged int64, err error) {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	// The postmaster has its own copy of the descriptor.
	defer func() { err = errors.Join(err, log.Close()) }()
	if logged, err = log.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}

	args := []string{"-D", s.dataDir(), "-p", strconv.Itoa(s.port)}
	for _, name := range slices.Sorted(maps.Keys(s.settings)) {
		args = append(args, "-c", name+"="+s.settings[name])
	}
	cmd := s.as.command(exec.Command(filepath.Join(s.bin, "postgres"), args...), s.dir) //nolint:gosec // a test's own choice of binary
	cmd.Stdout, cmd.Stderr = log, log

	started := make(chan error)
	exited := make(chan struct{})
	go func() {
		// Never unlocked: the thread lives as long as the server, and ends with it.
		runtime.LockOSThread()
		dieWithThread(cmd)
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		// How it ended is in its log.
		_ = cmd.Wait()
		close(exited)
	}()
	if err := <-started; err != nil {
		return 0, err
	}
	s.process = &process{cmd.Process, exited}
	return logged, nil
}

func (s *Server) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.process.exited:
			return errors.New("it exited")
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// Stop ends the server, as in a crash, and removes its files.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.end(ctx, syscall.SIGQUIT), os.RemoveAll(s.dir))
}

func (s *Server) dataDir() string { return filepath.Join(s.dir, "data") }
func (s *Server) logPath() string { return filepath.Join(s.dir, "log") }

// initialise makes the data directory. Over the socket every user is trusted,
// since the directory it lies in is closed to others; over TCP, where others on
// the machine can knock, the password is asked for.
func (s *Server) initialise(ctx context.Context, sync bool) error {
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(s.password), 0o600); err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	if err := s.as.own(s.dir, password); err != nil {
		return fmt.Errorf("hand over server directory: %w", err)
	}
	args := []string{
		"--pgdata", s.dataDir(), "--username", username, "--pwfile", password,
		"--auth-local", "trust", "--auth-host", "scram-sha-256",
		"--encoding", "UTF8", "--locale", "C",
	}
	if !sync {
		args = append(args, "--no-sync")
	}
	initdb := s.as.command(exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), args...), s.dir) //nolint:gosec // a test's own choice of binary
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb in %s as %s, who must be able to reach it: %w\n%s", s.dir, s.as, err, output)
	}
	return nil
}

// logAfter returns what was logged beyond offset, at most its last 8 KiB.
func (s *Server) logAfter(offset int64) []byte {
	log, err := os.ReadFile(s.logPath())
	if err != nil {
		return []byte(err.Error())
	}
	log = log[min(int(offset), len(log)):]
	return log[max(0, len(log)-8<<10):]
}

// sweep removes the directories of servers that ended with the process that
// started them. One whose server runs has a postmaster.pid; one in the making,
// or down on purpose, was changed a moment ago.
func sweep(parent string) {
	// The pattern has no error to find: it is our own.
	dirs, _ := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < time.Hour {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); errors.Is(err, os.ErrNotExist) {
			// Another user's cannot be removed, and is not ours to.
			_ = os.RemoveAll(dir)
		}
	}
}
