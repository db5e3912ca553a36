package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-dev/waybill/internal/event"
)

// Metrics are what the engine counts as it goes.
type Metrics struct {
	Accepted      prometheus.Counter
	Discarded     prometheus.Counter
	CommitSeconds prometheus.Histogram
	BatchEvents   prometheus.Histogram

	attempts  *prometheus.CounterVec
	delivered prometheus.Counter
}

// NewMetrics makes the metrics and registers them; nil registers nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		Accepted:  prometheus.NewCounter(prometheus.CounterOpts{Name: "waybill_events_accepted_total", Help: "Events accepted durably, thin twins included."}),
		Discarded: prometheus.NewCounter(prometheus.CounterOpts{Name: "waybill_deliveries_discarded_total", Help: "Deliveries discarded because their destination was disabled or deleted."}),
		CommitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "waybill_commit_seconds", Help: "Time to commit one batch durably.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		BatchEvents: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "waybill_commit_batch_events", Help: "Events in one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "waybill_attempts_total", Help: "Delivery attempts by outcome (delivered, retry, failed) and error class."}, []string{"outcome", "class"}),
	}
	m.delivered = m.attempts.WithLabelValues("delivered", "")
	if r != nil {
		r.MustRegister(m.Accepted, m.Discarded, m.CommitSeconds, m.BatchEvents, m.attempts)
	}
	return m
}

func (m *Metrics) attempted(a *event.Attempt) {
	switch a.Outcome {
	case event.Delivered:
		m.delivered.Inc()
	case event.FailedRetry:
		m.attempts.WithLabelValues("retry", string(a.Class)).Inc()
	default:
		m.attempts.WithLabelValues("failed", string(a.Class)).Inc()
	}
}
