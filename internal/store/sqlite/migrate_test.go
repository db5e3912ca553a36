package sqlite

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// atVersion makes a file as a release with that schema left it.
func atVersion(t *testing.T, path string, version int64, statements ...string) {
	t.Helper()
	pool, err := sql.Open("sqlite", dsn(path, "immediate", fmt.Sprintf("page_size(%d)", pageSize)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.ExecContext(t.Context(), fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		t.Fatal(err)
	}
	p, err := newMigrator(pool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := pool.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file of the first release keeps all it holds, and can do what is new.
func TestMigrateFirstRelease(t *testing.T) {
	t.Parallel()
	path := file(t)
	payload := []byte(`{"id":"evt_mine","object":"event"}`)
	atVersion(t, path, 1,
		"INSERT INTO accounts (id, name, api_version, created) VALUES ('acct_1', 'one', '', 5), ('acct_2', 'two', 'v', 6), ('acct_3', 'three', '', 7)",
		"INSERT INTO destinations (number, scope, id, version, revision, status, created, updated, config, secrets) VALUES (1, 2, 'ed_1', 2, 1, 1, 5, 5, x'7b7d', NULL), (41, 2, 'ed_2', 3, 2, 3, 5, 6, x'7b7d', x'01')",
		"UPDATE installation SET config_version = 3, key_fingerprint = 'f'",
		fmt.Sprintf("INSERT INTO events (seq, scope, kind, type, created, object_id, routes, cut, payload) VALUES (%d, 2, 1, 'a.b', 1750000000000, 'o', x'0100', 0, '%s')", event.SeqAt(time.UnixMilli(1_750_000_000_000)), payload),
		fmt.Sprintf("INSERT INTO attempts VALUES (%d, 1, 0, 1, 2, 2, 500, 1750000000000, 1, 1, 1750000001000, 'status', NULL)", event.SeqAt(time.UnixMilli(1_750_000_000_000))),
		fmt.Sprintf("INSERT INTO retries VALUES (2, %d, 1, 0, 1, 1750000001000)", event.SeqAt(time.UnixMilli(1_750_000_000_000))),
		"INSERT INTO lanes VALUES (0, '', 4, 0, 0)")

	var ids []string
	for range 2 { // the second time there is nothing left to do
		db, err := Open(t.Context(), Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		accounts, err := db.Accounts(t.Context())
		if err != nil || len(accounts) != 3 || accounts[1].ID != "acct_2" || accounts[1].APIVersion != "v" {
			t.Fatalf("accounts are %+v, %v", accounts, err)
		}
		for _, a := range accounts {
			if len(a.AWSID) != 12 || strings.Trim(a.AWSID, "0123456789") != "" {
				t.Errorf("account %s has the AWS id %q", a.ID, a.AWSID)
			}
			ids = append(ids, a.AWSID)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(ids[:3], ids[3:]) || ids[0] == ids[1] || ids[1] == ids[2] {
		t.Errorf("AWS ids are %v", ids)
	}

	db := openAt(t, Options{Path: path})
	due, err := db.DueRetries(t.Context(), store.DueParams{Subscription: 1, Before: time.UnixMilli(1_750_000_002_000), Limit: 5})
	if err != nil || len(due) != 1 || string(due[0].Event.Payload) != string(payload) || due[0].Event.Bus != 0 || due[0].Event.Hops != 0 {
		t.Errorf("due are %+v, %v", due, err)
	}
	if attempts, err := db.Attempts(t.Context(), scope, due[0].Seq, 1); err != nil || len(attempts) != 1 {
		t.Errorf("attempts are %v, %v", attempts, err)
	}
	d := &store.Destination{Scope: scope, ID: "ed_3", Status: event.Enabled, Config: []byte("{}")}
	if err := db.CreateDestination(t.Context(), d, nil); err != nil || d.Number != 42 || d.Version != 4 {
		t.Errorf("a new destination has number %d and version %d (%v), want 42 and 4", d.Number, d.Version, err)
	}
	r := &store.Resource{ResourceKey: store.ResourceKey{Scope: scope, Kind: store.KindBus, Name: "b"}, Status: event.Enabled}
	if err := db.ChangeResources(t.Context(), []*store.Resource{r}, false); err != nil || r.Number != 43 {
		t.Errorf("a new resource has number %d (%v), want 43", r.Number, err)
	}
	if fingerprint, err := db.BindKey(t.Context(), "other"); err != nil || fingerprint != "f" {
		t.Errorf("fingerprint is %q, %v", fingerprint, err)
	}
	if lane, err := db.OpenLane(t.Context()); err != nil || lane.Epoch != 5 {
		t.Errorf("lane is %+v, %v", lane, err)
	}
}

func TestMigrateEmpty(t *testing.T) {
	t.Parallel()
	path := file(t)
	atVersion(t, path, 1)
	db := openAt(t, Options{Path: path})
	d := &store.Destination{Scope: scope, ID: "ed_1", Status: event.Enabled, Config: []byte("{}")}
	if err := db.CreateDestination(t.Context(), d, nil); err != nil || d.Number != 1 {
		t.Errorf("the first destination has number %d, %v", d.Number, err)
	}
}
