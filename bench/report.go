package main

import (
	"fmt"
	"os"
	"text/tabwriter"
)

type row struct{ name, figure, ratio string }

// report gathers figures and prints them as one table.
type report struct{ rows []row }

func (r *report) add(name, figure, ratio string) { r.rows = append(r.rows, row{name, figure, ratio}) }

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "MISSED"
}

func (r *report) rate(name string, m, bare measured, minRate, maxCPU float64) {
	ratio := m.rate / bare.rate
	r.add(name+", deliveries", fmt.Sprintf("%.0f/s (accepted %.0f/s)", m.rate, m.accepted),
		fmt.Sprintf("%.2f of bare (at least %.2f: %s)", ratio, minRate, verdict(ratio >= minRate)))
	ratio = m.cpu / bare.cpu
	r.add(name+", server CPU a delivery", fmt.Sprintf("%.1f us", m.cpu),
		fmt.Sprintf("%.2f of bare (at most %.2f: %s)", ratio, maxCPU, verdict(ratio <= maxCPU)))
}

func (r *report) latency(l, bare quantiles) {
	r.add("bare POST at 50/s, p50 / p99", fmt.Sprintf("%.2f / %.2f ms", bare.p50, bare.p99), "")
	r.add("publish to receive at 50/s, p50 / p99", fmt.Sprintf("%.2f / %.2f ms", l.p50, l.p99),
		fmt.Sprintf("%.1f / %.1f of bare (at most 8 / 12: %s / %s)", l.p50/bare.p50, l.p99/bare.p99, verdict(l.p50 <= 8*bare.p50), verdict(l.p99 <= 12*bare.p99)))
}

func (r *report) bound(name, figure string, value, limit float64, unit string) {
	r.add(name, figure, fmt.Sprintf("at most %g %s: %s", limit, unit, verdict(value <= limit)))
}

func (r *report) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range r.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", row.name, row.figure, row.ratio)
	}
	_ = w.Flush() // standard output
}
