package stripeapi

import (
	"context"
	"net/http"

	"github.com/waybill-dev/waybill/internal/event"
)

// publish accepts events: one object, or {"events": […]}. It answers after the
// commit, with the event as it can be retrieved, or {"data": […]} in order.
func (c *call) publish(ctx context.Context) error {
	if c.r.URL.RawQuery != "" {
		if err := c.noQuery(); err != nil {
			return err
		}
	}
	if weight := c.weight(); weight > 0 {
		if err := c.api.admission.Acquire(ctx, weight); err != nil {
			return err
		}
		defer c.api.admission.Release(weight)
	}
	b := c.api.buffers.Get().(*buffers)
	var err error
	if b.in, err = c.readBody(b.in); err != nil {
		c.api.release(b, true)
		return err
	}
	d := decoder{now: c.api.now(), live: c.caller.Scope.Live(), maxEvent: c.api.maxEvent, index: -1, hash: b.hash}
	drafts, err := d.decode(b.in)
	b.hash = d.hash
	if err != nil {
		c.api.release(b, true)
		return err
	}
	events, err := c.api.journal.Publish(ctx, c.caller, drafts)
	if err != nil {
		// The committer may still hold the drafts, which point into the body,
		// when a request is given up half way.
		c.api.release(b, false)
		return err
	}
	b.out = appendPublished(b.out[:0], events, d.batch)
	c.write(http.StatusOK, b.out)
	c.api.release(b, true)
	return nil
}

// The bodies of batches that are worked on at a time are bounded: the rest
// waits in the sockets' buffers, not in memory. A single request never counts
// for more than a part of it, so that a few slow senders of large bodies do
// not hold up everybody.
const (
	admitted       = 2 << 20
	maxWeight      = 512 << 10
	weightlessBody = 32 << 10
)

// weight is what the request takes of the bound; 0 for an ordinary single
// event.
func (c *call) weight() int64 {
	n := c.r.ContentLength
	if n < 0 || n > maxWeight {
		return maxWeight
	}
	if n <= weightlessBody {
		return 0
	}
	return n
}

func appendPublished(dst []byte, events []*event.Event, batch bool) []byte {
	if !batch && len(events) == 1 {
		return events[0].AppendFull(dst, events[0].Open())
	}
	dst = append(dst, `{"data":[`...)
	for i, e := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.AppendFull(dst, e.Open())
	}
	return append(dst, `]}`...)
}
