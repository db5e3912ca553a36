package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waybill-dev/waybill/docs"
	"github.com/waybill-dev/waybill/internal/awsapi"
)

// stallLimit is how long a due delivery may wait, with a worker to be had for
// it, before the server calls itself not ready.
const stallLimit = 30 * time.Second

// handler adds to the API what operators ask for.
func (a *App) handler(api, aws http.Handler) http.Handler {
	metrics := promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if strings.HasPrefix(path, "/v2/") || strings.HasPrefix(path, "/v1/") {
			api.ServeHTTP(w, r)
			return
		}
		if awsapi.Claims(r) {
			aws.ServeHTTP(w, r)
			return
		}
		switch path {
		case "/healthz":
			answer(w, http.StatusOK, map[string]string{"status": "ok", "version": a.version})
		case "/readyz":
			a.readyz(w, r)
		case "/openapi.yaml":
			w.Header().Set("Content-Type", "application/yaml")
			_, _ = w.Write(docs.OpenAPI) // the client may have gone
		case "/metrics":
			metrics.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r) // which answers unknown paths in the API's form
		}
	})
}

// readyz answers 200 only when the store answers and delivery moves. A
// destination that hangs or fails does not count: its deliveries wait for it.
func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := a.store.Ping(ctx); err != nil {
		a.log.Error("not ready", "error", err)
		answer(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": "the store does not answer; see the log"})
		return
	}
	if err := a.engine.Writable(); err != nil {
		answer(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": "the store cannot commit; see the log"})
		return
	}
	if stalled := a.engine.Stalled(a.store.Now()); stalled > stallLimit {
		answer(w, http.StatusServiceUnavailable, map[string]string{
			"status": "stalled", "reason": fmt.Sprintf("a due delivery has waited %s without being tried", stalled.Round(time.Second)),
		})
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ready"})
}

func answer(w http.ResponseWriter, status int, body map[string]string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

// measure registers what is measured when it is asked for.
func (a *App) measure() {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	a.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("waybill_backlog_age_seconds", "Age of the oldest accepted event that still waits for its first attempt in memory or in the log.", func() float64 {
			return a.engine.Depth(a.store.Now()).Oldest.Seconds()
		}),
		gauge("waybill_queue_depth", "Deliveries queued in memory.", func() float64 {
			return float64(a.engine.Depth(a.store.Now()).Queued)
		}),
		gauge("waybill_in_flight", "Attempts under way.", func() float64 {
			return float64(a.engine.Depth(a.store.Now()).InFlight)
		}),
		gauge("waybill_retries_waiting", "Deliveries waiting in the retry table.", func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			b, err := a.store.Backlog(ctx)
			if err != nil {
				return -1
			}
			return float64(b.Retries)
		}),
	)
}
