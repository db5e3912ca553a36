package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// One server a test binary, started by the first test that asks.
var shared struct {
	sync.Once
	server *Server
	err    error
}

// Database returns the URL of an empty database of the test's own, on a server
// that all tests of this binary share and that Main ends. It is gone when the test
// is over. The test fails when there is no PostgreSQL: it never skips.
func Database(t testing.TB) string {
	t.Helper()
	return sharedServer(t).Database(t)
}

func sharedServer(t testing.TB) *Server {
	t.Helper()
	shared.Do(func() {
		shared.server, shared.err = Start(context.WithoutCancel(t.Context()), Options{})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Database returns the URL of an empty database of the test's own, which is
// gone when the test is over.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name, err := s.takeDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.recycle(context.WithoutCancel(t.Context()), name) })
	return s.URL(name)
}

func (s *Server) takeDatabase(ctx context.Context) (string, error) {
	s.mu.Lock()
	if last := len(s.spare) - 1; last >= 0 {
		defer s.mu.Unlock()
		name := s.spare[last]
		s.spare = s.spare[:last]
		return name, nil
	}
	s.mu.Unlock()
	name := s.newName()
	_, err := s.CreateDatabase(ctx, name)
	return name, err
}

func (s *Server) newName() string { return fmt.Sprintf("test_%d", s.names.Add(1)) }

// recycle empties a database for the next test, under a new name, so that a
// connection pool which the last test forgot to close finds nothing. Making one
// and dropping it writes some three hundred files; emptying it takes a fiftieth
// of the time. One that cannot be emptied is left alone, and goes with the
// server.
func (s *Server) recycle(ctx context.Context, name string) {
	fresh := s.newName()
	err := s.exec(ctx, "postgres", fmt.Sprintf(`
		SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '%s';
		ALTER DATABASE %s RENAME TO %s`, name, name, fresh))
	if err != nil {
		return
	}
	// As initdb makes it, public belongs to whoever owns the database.
	err = s.exec(ctx, fresh, `
		DO $$ DECLARE name text; BEGIN
			FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
				EXECUTE format('DROP SCHEMA %I CASCADE', name);
			END LOOP;
		END $$;
		CREATE SCHEMA public AUTHORIZATION pg_database_owner;
		GRANT USAGE ON SCHEMA public TO PUBLIC`)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = append(s.spare, fresh)
}

// Main runs a package's tests and then ends the server that they shared. A
// package whose tests call Database has it as its TestMain's whole body.
func Main(m *testing.M) {
	m.Run() // testing exits with its result when TestMain returns
	if shared.server == nil {
		return
	}
	if err := shared.server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: stop shared server:", err)
	}
}
