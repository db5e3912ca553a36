package app_test

import (
	"bytes"
	"database/sql"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/app"
)

// A server works at a database that the next release has migrated, and says
// that it does.
func TestServeBesideANewerRelease(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.stop()
	db, err := sql.Open("sqlite", filepath.Join(s.cfg.Data, "waybill.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a, err := app.New(t.Context(), s.cfg, app.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "migrated by a newer waybill") || !strings.Contains(log.String(), "migration=99") {
		t.Errorf("it logs %q", log.String())
	}
	if applied, err := app.Migrate(t.Context(), s.cfg); err != nil || len(applied) != 0 {
		t.Errorf("migrate: %+v, %v", applied, err)
	}
}
