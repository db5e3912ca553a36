package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

// sharedDatabase measures servers on one PostgreSQL that keeps what it
// acknowledges and has its default settings otherwise.
type sharedDatabase struct {
	s     settings
	r     *receiver
	rep   report
	pg    *pgtest.Server
	admin *pgx.Conn
	made  int
}

// onPostgres compares variants that are measured in turn, so that all of them
// see the same machine.
func onPostgres(ctx context.Context, s settings) (err error) {
	r, err := newReceiver()
	if err != nil {
		return err
	}
	defer r.close()
	pg, err := pgtest.Start(ctx, pgtest.Options{Durable: true, Dir: s.dataDir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pg.Stop()) }() //nolint:contextcheck // it ends whatever ctx says
	b := &sharedDatabase{s: s, r: r, pg: pg}
	if b.admin, err = pgx.Connect(ctx, pg.URL("postgres")); err != nil {
		return err
	}
	defer b.admin.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was left to write
	var version string
	if err := b.admin.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return err
	}
	bare := bareRate(ctx, s, r)
	b.rep.add("bare POST", fmt.Sprintf("%.0f/s, %.1f us of CPU", bare.rate, bare.cpu), "PostgreSQL "+version)
	for _, section := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"single", func(ctx context.Context) error { return b.besideSQLite(ctx, "single publish", 1) }},
		{"batch", func(ctx context.Context) error { return b.besideSQLite(ctx, "batches of 100", 100) }},
		{"nodes", b.twoNodes},
		{"bus", b.busBesideSQLite},
		{"retries", b.retries},
	} {
		if s.want(section.name) {
			if err := section.run(ctx); err != nil {
				return err
			}
		}
	}
	b.rep.print()
	return ctx.Err()
}

// with runs fn with the settings of a server on a database of its own, and a
// folder for it.
func (b *sharedDatabase) with(ctx context.Context, fn func(s settings, dir string) error) error {
	b.made++
	name := fmt.Sprintf("bench_%d", b.made)
	url, err := b.pg.CreateDatabase(ctx, name)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.s.dataDir, "waybill-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	s := b.s
	s.database, s.node = url, "a"
	err = fn(s, dir)
	_, dropErr := b.admin.Exec(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)")
	return errors.Join(err, dropErr)
}

// fresh runs fn against a server on an empty database.
func (b *sharedDatabase) fresh(ctx context.Context, fn func(*server) error) error {
	return b.with(ctx, func(s settings, dir string) error { return running(ctx, s, dir, fn) })
}

// running runs fn against a server on what lies in dir and its database.
func running(ctx context.Context, s settings, dir string, fn func(*server) error) error {
	srv, err := startServer(ctx, s, dir)
	if err != nil {
		return err
	}
	defer srv.stop()
	return fn(srv)
}

// inTurn measures variants one after the other, round by round, and returns
// the median of each.
func inTurn(rounds int, variants ...func() (measured, error)) ([]measured, error) {
	all := make([][]measured, len(variants))
	for range rounds {
		for i, measure := range variants {
			m, err := measure()
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], m)
		}
	}
	medians := make([]measured, len(variants))
	for i, m := range all {
		slices.SortFunc(m, func(a, b measured) int { return int(a.rate - b.rate) })
		medians[i] = m[len(m)/2]
	}
	return medians, nil
}

// compare reports two variants; a goal of 0 is none.
func (b *sharedDatabase) compare(what, of, than string, m, base measured, goal float64) {
	figure := func(m measured) string {
		return fmt.Sprintf("%.0f/s (accepted %.0f/s), CPU %.1f us, with the database %.1f us", m.rate, m.accepted, m.cpu, m.started)
	}
	ratio := m.rate / base.rate
	text := fmt.Sprintf("%.2f of %s", ratio, than)
	if goal > 0 {
		text += fmt.Sprintf(" (at least %.2f: %s)", goal, verdict(ratio >= goal))
	}
	b.rep.add(what+", "+than, figure(base), "")
	b.rep.add(strings.Repeat(" ", len(what)+2)+of, figure(m), text)
}

func (b *sharedDatabase) besideSQLite(ctx context.Context, what string, batch int) error {
	var m measured
	publish := func(srv *server) error {
		m = publishRate(ctx, b.s, b.r, batch, srv)
		return nil
	}
	medians, err := inTurn(b.s.rounds, func() (measured, error) {
		err := withServer(ctx, b.s, b.r, publish)
		return m, err
	}, func() (measured, error) {
		err := b.fresh(ctx, func(srv *server) error {
			if err := srv.destination(ctx, b.r.url+"/hook", "*"); err != nil {
				return err
			}
			return publish(srv)
		})
		return m, err
	})
	if err != nil {
		return err
	}
	b.compare(what, "PostgreSQL", "SQLite", medians[1], medians[0], 0.70)
	return nil
}

func (b *sharedDatabase) busBesideSQLite(ctx context.Context) error {
	var m measured
	put := func(srv *server) (err error) {
		m, _, err = queueRate(ctx, b.s, srv)
		return err
	}
	medians, err := inTurn(b.s.rounds, func() (measured, error) {
		err := withFreshServer(ctx, b.s, put)
		return m, err
	}, func() (measured, error) {
		err := b.fresh(ctx, put)
		return m, err
	})
	if err != nil {
		return err
	}
	b.compare("PutEvents, rule to queue", "PostgreSQL", "SQLite", medians[1], medians[0], 0)
	return nil
}

// twoNodes gives two nodes half of the connections each.
func (b *sharedDatabase) twoNodes(ctx context.Context) error {
	for _, batch := range []int{1, 100} {
		nodes := func(two bool) func() (measured, error) {
			return func() (m measured, err error) {
				err = b.with(ctx, func(s settings, dir string) error {
					return running(ctx, s, dir, func(first *server) error {
						if err := first.destination(ctx, b.r.url+"/hook", "*"); err != nil {
							return err
						}
						if !two {
							m = publishRate(ctx, s, b.r, batch, first)
							return nil
						}
						s.node = "b"
						return running(ctx, s, dir, func(second *server) error {
							m = publishRate(ctx, s, b.r, batch, first, second)
							return nil
						})
					})
				})
				return m, err
			}
		}
		medians, err := inTurn(b.s.rounds, nodes(false), nodes(true))
		if err != nil {
			return err
		}
		b.compare(fmt.Sprintf("batches of %d", batch), "two nodes", "one node", medians[1], medians[0], 1)
	}
	return nil
}
