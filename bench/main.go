// Command bench measures a real waybill process against a bare HTTP POST of
// the same run: rates, CPU, latency, memory, and recovery after a kill.
//
//	make bench                     all of it
//	make bench ARGS=-quick         a shorter run, coarser figures
//	make isolation                 dead destinations beside a healthy one
//	make bench-postgres            nodes on PostgreSQL beside SQLite
//
// Every figure that is a claim is printed as a ratio to the bare POST, with
// the bound it is to keep. Generator and receiver live in this process, the
// server in its own; all share the machine's cores.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"
)

type settings struct {
	binary      string
	dataDir     string
	connections int
	size        int
	window      time.Duration
	latencyFor  time.Duration
	undelivered int
	isolation   bool
	postgres    bool
	only        string
	rounds      int
	retries     int

	// database is the PostgreSQL that a server uses, and node its name there;
	// "" is SQLite.
	database, node string
	// env is more of a server's environment.
	env []string
}

func main() {
	var s settings
	quick := flag.Bool("quick", false, "shorter windows")
	flag.StringVar(&s.binary, "waybill", "bin/waybill", "the binary to measure")
	flag.StringVar(&s.dataDir, "data", "", "folder for the server's data; default a temporary one")
	flag.IntVar(&s.connections, "connections", 64, "concurrent publishers")
	flag.IntVar(&s.size, "size", 1024, "bytes of an event, about")
	flag.DurationVar(&s.window, "window", 8*time.Second, "length of a rate measurement")
	flag.DurationVar(&s.latencyFor, "latency", 20*time.Second, "length of a latency measurement at 50/s")
	flag.IntVar(&s.undelivered, "undelivered", 100_000, "events waiting at the kill")
	flag.BoolVar(&s.isolation, "isolation", false, "measure isolation instead")
	flag.BoolVar(&s.postgres, "postgres", false, "measure nodes on PostgreSQL instead")
	flag.IntVar(&s.rounds, "rounds", 3, "how often variants are measured in turn, with -postgres")
	flag.IntVar(&s.retries, "retries", 1_000_000, "retries waiting, with -postgres")
	flag.StringVar(&s.only, "only", "", "one of: single, batch, bus, latency, restart, retention; with -postgres: single, batch, nodes, bus, retries")
	flag.Parse()
	if *quick {
		s.window, s.latencyFor = 3*time.Second, 5*time.Second
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := benchmark
	switch {
	case s.isolation:
		run = isolation
	case s.postgres:
		run = onPostgres
	}
	fmt.Printf("go %s, %d cores, events of ~%d bytes, %d connections\n\n", runtime.Version(), runtime.NumCPU(), s.size, s.connections)
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (s settings) want(name string) bool { return s.only == "" || s.only == name }

func benchmark(ctx context.Context, s settings) error {
	r, err := newReceiver()
	if err != nil {
		return err
	}
	defer r.close()
	var rep report
	bare := bareRate(ctx, s, r)
	rep.add("bare POST", fmt.Sprintf("%.0f/s", bare.rate), "")
	rep.add("bare POST, CPU of generator and receiver", fmt.Sprintf("%.1f us", bare.cpu), "")
	var peak int64
	if s.want("single") {
		if err := withServer(ctx, s, r, func(srv *server) error {
			m := publishRate(ctx, s, r, 1, srv)
			rep.rate("single publish", m, bare, 0.33, 1.6)
			peak = max(peak, srv.peakRSS())
			return nil
		}); err != nil {
			return err
		}
	}
	if s.want("batch") {
		if err := withServer(ctx, s, r, func(srv *server) error {
			m := publishRate(ctx, s, r, 100, srv)
			rep.rate("batches of 100", m, bare, 0.70, 0.9)
			peak = max(peak, srv.peakRSS())
			return nil
		}); err != nil {
			return err
		}
	}
	if s.want("bus") {
		if err := busRates(ctx, s, r, bare, &rep); err != nil {
			return err
		}
	}
	if s.want("latency") {
		bareLatency := bareAt50(ctx, s, r)
		if err := withServer(ctx, s, r, func(srv *server) error {
			l := publishAt50(ctx, s, r, srv)
			rep.latency(l, bareLatency)
			peak = max(peak, srv.peakRSS())
			return nil
		}); err != nil {
			return err
		}
	}
	if s.want("restart") {
		if err := restart(ctx, s, r, &rep, &peak); err != nil {
			return err
		}
	}
	if s.want("retention") {
		if err := retention(ctx, s, r, &rep); err != nil {
			return err
		}
	}
	if peak > 0 {
		rep.bound("peak RSS", fmt.Sprintf("%.0f MB", float64(peak)/1e6), float64(peak)/1e6, 100, "MB")
	}
	rep.print()
	return ctx.Err()
}
