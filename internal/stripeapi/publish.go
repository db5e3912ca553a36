package stripeapi

import (
	"context"
	"net/http"

	"github.com/waybill-dev/waybill/internal/account"
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
	leave, err := c.api.admission.Enter(ctx, c.r.ContentLength)
	if err != nil {
		return err
	}
	defer leave()
	b := c.api.buffers.Get().(*buffers)
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
	if err := permitTypes(&c.caller, account.Write, drafts, draftType); err != nil {
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
