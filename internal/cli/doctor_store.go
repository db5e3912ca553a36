package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/app"
)

// What is worth a warning, and what an error.
const (
	scarceBytes   = 1 << 30
	noBytes       = 64 << 20
	fullShare     = 0.9 // of max_store_size, or of PostgreSQL's connections
	clockOff      = 10 * time.Second
	clockWrong    = 4 * time.Minute // signatures are refused from 5 minutes on
	overdueLimit  = time.Minute
	oldestVersion = 150000 // of PostgreSQL, which the tests run on
)

// checkStore looks at the store that the configuration leads to, and tells
// whether there is one.
func (d *doctor) checkStore(ctx context.Context, serverReady bool) (local bool) {
	if !app.HasStore(d.cfg) {
		hint := "start `waybill serve`, or name its folder with --data; a server elsewhere is named with --server"
		if serverReady {
			d.skip("store", "run this where the server runs, or name its folder with --data", "there is no database in %s", d.cfg.Data)
		} else {
			d.fail("store", hint, "there is no database in %s", d.cfg.Data)
		}
		return false
	}
	found, err := app.Inspect(ctx, d.cfg)
	// What is wrong here may be why the rest cannot be read.
	if found.Folder != nil {
		d.checkFolder(found.Folder, found.Size)
	}
	if found.Postgres != nil {
		d.checkPostgres(found.Postgres)
		d.checkNodes(found.Postgres.Nodes)
	}
	if err != nil {
		hint := "check that this user may read the folder, and that --data names the right one"
		if d.cfg.Database != "" {
			hint = "check that PostgreSQL runs, and that WAYBILL_DATABASE names it"
		}
		d.fail("store", hint, "%v", err)
		return true
	}
	d.ok("store", "%s, %s", found.Where, byteSize(found.Size))
	d.checkMigrations(found.Migrations)
	if found.Postgres != nil {
		d.checkClock("database", found.Ahead)
	}
	d.checkKey(found)
	d.checkRetries(found, serverReady)
	return true
}

func (d *doctor) checkMigrations(list []app.Migration) {
	pending, newer := 0, int64(0)
	for _, m := range list {
		switch {
		case m.Applied.IsZero():
			pending++
		case m.Name == "":
			newer = m.Version
		}
	}
	switch {
	case newer > 0:
		d.warn("migrations", "replace this waybill by the newer one", "the database was migrated by a newer waybill (%05d)", newer)
	case pending > 0:
		d.warn("migrations", "run `waybill migrate up`, or restart the server with this release", "%d of %d are pending", pending, len(list))
	default:
		d.ok("migrations", "all %d are applied", len(list))
	}
}

func (d *doctor) checkFolder(f *app.Folder, size int64) {
	if f.Writable != nil {
		d.fail("disk", "run this as the server's user; if that is what you did, give the folder to it", "%v", f.Writable)
	}
	const hint = "make room, or shorten what is kept with --retain-events and --retain-summaries"
	switch {
	case f.Free < 0:
		d.skip("disk", "", "it is not known on this system how much is free")
	case f.Free < noBytes:
		d.fail("disk", hint, "only %s are free", byteSize(f.Free))
	case f.Free < scarceBytes:
		d.warn("disk", hint, "only %s are free", byteSize(f.Free))
	default:
		d.ok("disk", "%s are free", byteSize(f.Free))
	}
	if f.Max > 0 && float64(size) > fullShare*float64(f.Max) {
		d.warn("disk", "raise --max-store-size, or shorten what is kept with --retain-events; at the bound events are refused", "the store has %s of the %s that max_store_size allows", byteSize(size), byteSize(f.Max))
	}
}

func (d *doctor) checkPostgres(p *app.Postgres) {
	version := fmt.Sprintf("PostgreSQL %d.%d", p.Version/10000, p.Version%10000)
	if p.Version < oldestVersion {
		d.warn("postgres", "upgrade it to 15 or newer, which this is tested with", "%s is old", version)
	} else {
		d.ok("postgres", "%s, synchronous_commit %s (waybill sets its own to on)", version, p.Settings["synchronous_commit"])
	}
	if p.Standby {
		d.fail("postgres", "name the primary in WAYBILL_DATABASE", "it is a standby, which cannot be written")
	}
	for _, name := range []string{"fsync", "full_page_writes"} {
		if p.Settings[name] != "on" {
			d.fail("postgres", "set it to on in postgresql.conf, and restart: events that were accepted can be lost or damaged", "%s is %s", name, p.Settings[name])
		}
	}
	if float64(p.Connections) > fullShare*float64(p.MaxConnections) {
		d.warn("postgres", "raise max_connections, or lower --database-connections of the nodes", "%d of %d connections are in use", p.Connections, p.MaxConnections)
	}
}

func (d *doctor) checkNodes(nodes []app.Node) {
	live := 0
	for _, n := range nodes {
		if n.Name != "" && n.Silent <= 0 {
			live++
		}
	}
	for _, n := range nodes {
		switch {
		case n.Name == "":
		case n.Silent <= 0:
			d.ok("node", "%s owns %d lanes and is alive", n.Name, n.Lanes)
		case live > 0:
			d.warn("node", "the others should have taken over by now: see their logs", "%s has been silent for %s and still owns %d lanes", n.Name, short(n.Silent), n.Lanes)
		default:
			d.fail("node", "start it again, or another one: nothing is delivered", "%s has been silent for %s, and no node is alive", n.Name, short(n.Silent))
		}
	}
}

// checkClock judges how far another clock is ahead of this machine's.
func (d *doctor) checkClock(whose string, ahead time.Duration) {
	off := ahead.Abs()
	word := "ahead of"
	if ahead < 0 {
		word = "behind"
	}
	const hint = "let both machines follow a time server (NTP)"
	switch {
	case off >= clockWrong:
		d.fail("clock", hint+"; signatures are refused when clocks differ by 5 minutes", "the %s's is %s %s this machine's", whose, off.Round(time.Second), word)
	case off >= clockOff:
		d.warn("clock", hint, "the %s's is %s %s this machine's", whose, off.Round(time.Second), word)
	default:
		d.ok("clock", "the %s's agrees with this machine's", whose)
	}
}

func (d *doctor) checkKey(found *app.Inspection) {
	file := app.KeyFile(d.cfg)
	if file == "" {
		file = "WAYBILL_ENCRYPTION_KEY"
	}
	switch {
	case found.Keyless:
		d.ok("key", "the database has none yet; the first start of a server makes it")
	case found.Key != nil:
		d.fail("key", "without its key a server does not start, and nobody can read the signing secrets", "%v", found.Key)
	default:
		d.ok("key", "%s fits the database; keep a copy of it at another place", file)
	}
}

func (d *doctor) checkRetries(found *app.Inspection, serverReady bool) {
	switch {
	case found.Retries == 0:
		d.ok("backlog", "no delivery waits for a retry")
	case found.Overdue > overdueLimit && !serverReady:
		d.fail("backlog", "start the server: it delivers what is due", "%d deliveries wait, the first has been due for %s", found.Retries, short(found.Overdue))
	case found.Overdue > overdueLimit:
		d.warn("backlog", "see which destination fails or is slow: `waybill deliveries list --status pending`", "%d deliveries wait, the first has been due for %s", found.Retries, short(found.Overdue))
	default:
		d.ok("backlog", "%d deliveries wait for their next try, none is overdue", found.Retries)
	}
}

// byteSize words a size.
func byteSize(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
