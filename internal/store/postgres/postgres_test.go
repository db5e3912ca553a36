package postgres_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func open(t testing.TB, o postgres.Options) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// The suite is run on every PostgreSQL that is installed: Debian's and the
// newest there is.
func TestStore(t *testing.T) {
	t.Parallel()
	for _, bin := range pgtest.Versions() {
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) {
			t.Parallel()
			server, err := pgtest.Start(t.Context(), pgtest.Options{BinDir: bin})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := server.Stop(); err != nil {
					t.Error(err)
				}
			})
			storetest.Run(t, func(t *testing.T) store.Store {
				return open(t, postgres.Options{URL: server.Database(t), Node: "a", Lease: time.Minute, MaxConns: 4})
			})
		})
	}
}
