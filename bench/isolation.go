package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// isolation publishes at half of the single-publish maximum, first to a
// healthy destination alone and then beside one that hangs and one that
// answers 500, until deliveries for the dead ones have piled up.
func isolation(ctx context.Context, s settings) error {
	r, err := newReceiver()
	if err != nil {
		return err
	}
	defer r.close()
	var rep report
	var half float64
	if err := withServer(ctx, s, r, func(srv *server) error {
		m := publishRate(ctx, s, r, 1, srv)
		half = m.rate / 2
		rep.add("single publish, alone", fmt.Sprintf("%.0f/s", m.rate), "")
		return nil
	}); err != nil {
		return err
	}
	// The dead destinations get two deliveries of each event.
	period := time.Duration(100_000 / half * float64(time.Second))
	var alone, beside measuredAt
	if err := withServer(ctx, s, r, func(srv *server) error {
		alone = offered(ctx, s, r, srv, half, min(period, 20*time.Second))
		return nil
	}); err != nil {
		return err
	}
	rep.add("healthy alone, at half the maximum", alone.String(), "")
	if err := withServer(ctx, s, r, func(srv *server) error {
		for _, path := range []string{"/hang", "/broken"} {
			if err := srv.destination(ctx, r.url+path, "*"); err != nil {
				return err
			}
		}
		beside = offered(ctx, s, r, srv, half, period)
		return nil
	}); err != nil {
		return err
	}
	ratio := beside.rate / alone.rate
	rep.add("healthy beside a hanging and a failing one", beside.String(),
		fmt.Sprintf("rate %.2f of alone (at least 0.95: %s), p99 %.1fx (at most 2x: %s)",
			ratio, verdict(ratio >= 0.95), beside.p99/alone.p99, verdict(beside.p99 <= 2*alone.p99)))
	grown := float64(beside.rssEnd-beside.rssMiddle) / 1e6
	rep.bound("memory from half of the dead deliveries to all of them", fmt.Sprintf("%.0f MB, then %.0f MB", float64(beside.rssMiddle)/1e6, float64(beside.rssEnd)/1e6), grown, 10, "MB more")
	rep.add("deliveries waiting for the dead ones", fmt.Sprintf("about %d", 2*beside.published), "")
	rep.print()
	return ctx.Err()
}

// measuredAt is what an offered rate brought.
type measuredAt struct {
	offered, rate float64
	quantiles
	published         int64
	rssMiddle, rssEnd int64
}

func (m measuredAt) String() string {
	return fmt.Sprintf("%.0f/s offered, %.0f/s delivered, p50 %.1f ms, p99 %.1f ms", m.offered, m.rate, m.p50, m.p99)
}

// offered publishes at a rate for a while, whatever the server makes of it.
func offered(ctx context.Context, s settings, r *receiver, srv *server, perSecond float64, d time.Duration) measuredAt {
	t := transport()
	defer t.CloseIdleConnections()
	body := publication(s.size, 1)
	work := make(chan struct{}, int(perSecond))
	var published, late atomic.Int64
	done := make(chan struct{})
	for range s.connections {
		go func() {
			for range work {
				if err := post(ctx, t, srv.url+"/v2/core/events", testKey, stamped(body)); err == nil {
					published.Add(1)
				} else if ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, "bench:", err)
				}
			}
			done <- struct{}{}
		}()
	}
	offer := func() {
		select {
		case work <- struct{}{}:
		default:
			late.Add(1)
		}
	}
	m := measuredAt{offered: perSecond}
	paced(ctx, perSecond, warmUp, offer)
	r.recording(true)
	before, start := r.received.Load(), time.Now()
	paced(ctx, perSecond, d/2, offer)
	m.rssMiddle = srv.rss()
	paced(ctx, perSecond, d/2, offer)
	m.rate = float64(r.received.Load()-before) / time.Since(start).Seconds()
	m.rssEnd = srv.rss()
	close(work)
	for range s.connections {
		<-done
	}
	pause(ctx, 300*time.Millisecond)
	m.quantiles = quantilesOf(r.recording(false))
	m.published = published.Load()
	if n := late.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d publishes could not be offered in time\n", n)
	}
	return m
}
