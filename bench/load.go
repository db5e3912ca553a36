package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// receiver counts what arrives and answers 200.
type receiver struct {
	url    string
	server *http.Server

	received atomic.Int64 // at /hook
	retried  atomic.Int64 // at /retried
	// hold, if set, makes the receiver not answer until it is closed.
	hold atomic.Pointer[chan struct{}]

	mu        sync.Mutex
	record    bool
	latencies []time.Duration
	seen      map[string]int // by event id, if not nil
	lastNew   time.Time
}

func newReceiver() (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("/hook", r.hook)
	mux.HandleFunc("/retried", func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		r.retried.Add(1)
		_, _ = io.WriteString(w, "ok")
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		http.Error(w, "broken", http.StatusInternalServerError)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		<-req.Context().Done()
	})
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go r.server.Serve(l) //nolint:errcheck // ends when the benchmark closes it
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (r *receiver) hook(w http.ResponseWriter, req *http.Request) {
	buf := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buf)
	buf.Reset()
	if _, err := buf.ReadFrom(req.Body); err != nil {
		return
	}
	now := time.Now()
	if gate := r.hold.Load(); gate != nil {
		select {
		case <-*gate:
		case <-req.Context().Done():
		}
		return
	}
	r.received.Add(1)
	if r.record {
		r.mu.Lock()
		if sent, ok := sentAt(buf.Bytes()); ok {
			r.latencies = append(r.latencies, now.Sub(sent))
		}
		if r.seen != nil {
			id := eventID(buf.Bytes())
			if r.seen[id]++; r.seen[id] == 1 {
				r.lastNew = now
			}
		}
		r.mu.Unlock()
	}
	_, _ = io.WriteString(w, "ok")
}

func sentAt(body []byte) (time.Time, bool) {
	_, rest, ok := bytes.Cut(body, []byte(`"sent":"`))
	if !ok {
		return time.Time{}, false
	}
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	n, err := strconv.ParseInt(string(text), 10, 64)
	return time.Unix(0, n), err == nil
}

func eventID(body []byte) string {
	_, rest, _ := bytes.Cut(body, []byte(`"id":"`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(id)
}

// object is a payment_intent-like object of about size bytes.
func object(size int) string {
	o := fmt.Sprintf(`{"id":"pi_%024d","object":"payment_intent","amount":2000,"currency":"usd","status":"succeeded","sent":"%s","metadata":{"order":"6735"},"description":"`, 7, sentMark)
	return o + strings.Repeat("x", max(0, size-len(o)-170)) + `"}`
}

// sentMark stands where the time of sending goes.
const sentMark = "9999999999999999999"

// publication is the body of a publish request with n events.
func publication(size, n int) []byte {
	one := `{"type":"payment_intent.succeeded","data":{"object":` + object(size) + `}}`
	if n == 1 {
		return []byte(one)
	}
	return []byte(`{"events":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`)
}

func transport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 256, MaxIdleConns: 512, DisableCompression: true}
}

// post sends one request and drains the answer.
func post(ctx context.Context, t *http.Transport, url, key string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", url, res.Status)
	}
	return err
}

// hammer posts from n connections to the URLs in turn until ctx ends, and
// counts what went wrong.
func hammer(ctx context.Context, n int, urls []string, key string, body []byte) (done, failed *atomic.Int64, wait func()) {
	done, failed = new(atomic.Int64), new(atomic.Int64)
	t := transport()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := post(ctx, t, urls[i%len(urls)], key, body); err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					if failed.Add(1) == 1 {
						fmt.Fprintln(os.Stderr, "bench:", err)
					}
				}
			}
		})
	}
	return done, failed, func() { wg.Wait(); t.CloseIdleConnections() }
}

// measured is a rate and the CPU that one operation cost, in microseconds: the
// servers', and that of all that this program started.
type measured struct{ rate, cpu, started, accepted float64 }

const warmUp = 1500 * time.Millisecond

func bareRate(ctx context.Context, s settings, r *receiver) measured {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, _, wait := hammer(ctx, s.connections, []string{r.url + "/hook"}, "", publication(s.size, 1))
	pause(ctx, warmUp)
	m := window(ctx, s.window, r, ownCPU)
	cancel()
	wait()
	return m
}

// window measures what arrives at the receiver for a while.
func window(ctx context.Context, d time.Duration, r *receiver, cpu func() time.Duration) measured {
	busy, all := others(), startedCPU()
	n, c, t := r.received.Load(), cpu(), time.Now()
	pause(ctx, d)
	got, used, took := r.received.Load()-n, cpu()-c, time.Since(t)
	all = startedCPU() - all
	warnBusy(others()-busy, took)
	if got == 0 {
		return measured{}
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(got) }
	return measured{rate: float64(got) / took.Seconds(), cpu: each(used), started: each(all)}
}

func warnBusy(busy, took time.Duration) {
	if busy > took/10 {
		fmt.Fprintf(os.Stderr, "bench: other programs used %.0f %% of a core meanwhile; measure again on a quiet machine\n", 100*busy.Seconds()/took.Seconds())
	}
}

// publishRate shares the connections out among the servers.
func publishRate(ctx context.Context, s settings, r *receiver, batch int, servers ...*server) measured {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	urls := make([]string, len(servers))
	for i, srv := range servers {
		urls[i] = srv.url + "/v2/core/events"
	}
	done, failed, wait := hammer(ctx, s.connections, urls, testKey, publication(s.size, batch))
	pause(ctx, warmUp)
	before, start := done.Load(), time.Now()
	m := window(ctx, s.window, r, func() (sum time.Duration) {
		for _, srv := range servers {
			sum += srv.cpu()
		}
		return sum
	})
	m.accepted = float64((done.Load()-before)*int64(batch)) / time.Since(start).Seconds()
	cancel()
	wait()
	if n := failed.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d publishes failed\n", n)
	}
	return m
}

// quantiles of a set of durations, in milliseconds.
type quantiles struct{ p50, p99 float64 }

func quantilesOf(all []time.Duration) quantiles {
	if len(all) == 0 {
		return quantiles{}
	}
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000
	}
	return quantiles{at(0.50), at(0.99)}
}

// paced calls fn at a rate until d is over; fn must not wait.
func paced(ctx context.Context, perSecond float64, d time.Duration, fn func()) {
	start := time.Now()
	for n := 0; time.Since(start) < d && ctx.Err() == nil; {
		due := int(time.Since(start).Seconds() * perSecond)
		for ; n < due; n++ {
			fn()
		}
		pause(ctx, min(time.Millisecond, time.Duration(float64(time.Second)/perSecond)))
	}
}

func stamped(body []byte) []byte {
	b := bytes.Clone(body)
	at := bytes.Index(b, []byte(sentMark))
	copy(b[at:], fmt.Sprintf("%019d", time.Now().UnixNano()))
	return b
}

func bareAt50(ctx context.Context, s settings, r *receiver) quantiles {
	t := transport()
	defer t.CloseIdleConnections()
	body := publication(s.size, 1)
	var all []time.Duration
	paced(ctx, 50, s.latencyFor, func() {
		start := time.Now()
		if post(ctx, t, r.url+"/hook", "", body) == nil {
			all = append(all, time.Since(start))
		}
	})
	return quantilesOf(all)
}

func (r *receiver) recording(on bool) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record = on
	all := r.latencies
	r.latencies = nil
	return all
}

func publishAt50(ctx context.Context, s settings, r *receiver, srv *server) quantiles {
	t := transport()
	defer t.CloseIdleConnections()
	body := publication(s.size, 1)
	one := func() { _ = post(ctx, t, srv.url+"/v2/core/events", testKey, stamped(body)) }
	paced(ctx, 50, time.Second, one)
	r.recording(true)
	paced(ctx, 50, s.latencyFor, one)
	pause(ctx, 200*time.Millisecond)
	return quantilesOf(r.recording(false))
}

// restart publishes to a receiver that does not answer, kills the server, and
// times how long after its next start everything has arrived.
func restart(ctx context.Context, s settings, r *receiver, rep *report, peak *int64) error {
	dir, err := os.MkdirTemp(s.dataDir, "waybill-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	srv, err := startServer(ctx, s, dir)
	if err != nil {
		return err
	}
	if err := srv.destination(ctx, r.url+"/hook", "*"); err != nil {
		srv.kill()
		return err
	}
	gate := make(chan struct{})
	r.hold.Store(&gate)
	body := publication(s.size, 100)
	t := transport()
	var wg sync.WaitGroup
	var failed atomic.Int64
	var next atomic.Int64
	for range 16 {
		wg.Go(func() {
			for next.Add(100) <= int64(s.undelivered) {
				if post(ctx, t, srv.url+"/v2/core/events", testKey, body) != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	*peak = max(*peak, srv.peakRSS())
	srv.kill()
	t.CloseIdleConnections()
	close(gate)
	r.hold.Store(nil)
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d publishes failed before the kill", n)
	}
	r.mu.Lock()
	r.record, r.seen = true, make(map[string]int, s.undelivered)
	r.mu.Unlock()
	start := time.Now()
	if srv, err = startServer(ctx, s, dir); err != nil {
		return err
	}
	defer srv.kill()
	for time.Since(start) < 2*time.Minute && ctx.Err() == nil {
		r.mu.Lock()
		n := len(r.seen)
		r.mu.Unlock()
		if n >= s.undelivered {
			break
		}
		pause(ctx, 5*time.Millisecond)
	}
	r.mu.Lock()
	n, took, total := len(r.seen), r.lastNew.Sub(start), 0
	for _, times := range r.seen {
		total += times
	}
	r.record, r.seen = false, nil
	r.mu.Unlock()
	*peak = max(*peak, srv.peakRSS())
	rep.bound(fmt.Sprintf("restart with %d undelivered, all delivered after", s.undelivered), fmt.Sprintf("%.2f s (%d arrived, %d twice)", took.Seconds(), n, total-n), took.Seconds(), 4, "s")
	if n < s.undelivered {
		return fmt.Errorf("only %d of %d events arrived after the restart", n, s.undelivered)
	}
	return nil
}
