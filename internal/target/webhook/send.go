package webhook

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/target"
)

// Send implements target.Target.
func (e *endpoint) Send(ctx context.Context, m target.Message) target.Result {
	start := time.Now()
	r := target.Result{Started: start}
	if e.client.now != nil {
		r.Started = e.client.now()
	}
	if err := e.exchange(ctx, m.Body, start, &r); err != nil {
		e.failed(ctx, &r, err)
	}
	r.Total = time.Since(start)
	return r
}

// exchange makes the try. Its error is what kept an answer from being complete.
func (e *endpoint) exchange(ctx context.Context, body []byte, start time.Time, r *target.Result) error {
	deadline := start.Add(e.client.timeout)
	c, err := e.pool.get(ctx, deadline)
	if err != nil {
		return err
	}
	reusable := false
	defer func() {
		if reusable {
			e.pool.put(c)
		} else {
			_ = c.Close() // the answer is judged by what was read
		}
	}()
	lift, err := c.begin(ctx, deadline)
	if err != nil {
		return err
	}
	c.out = e.appendHead(c.out[:0], body, r.Started)
	unwritten := c.write(body)
	// An endpoint may answer and close before it has read everything, which
	// fails the write; its answer is what counts then.
	a, err := c.answer()
	if err != nil {
		lift()
		return cmp.Or(unwritten, err)
	}
	r.FirstByte = time.Since(start)
	r.Status = a.status
	r.Headers = a.headers
	var ended bool
	var broken error
	if a.status != http.StatusSwitchingProtocols { // after which comes no body, but no end either
		r.Body, r.Truncated, ended, broken = readBody(a.body)
	}
	// Nothing may be left over that the next exchange would take for its own.
	reusable = lift() && ended && !a.last && unwritten == nil && c.reader.Buffered() == 0
	return e.judge(r, &a, broken)
}

// appendHead appends the request up to the empty line before its body.
func (e *endpoint) appendHead(dst, body []byte, at time.Time) []byte {
	dst = append(dst, e.head...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n"+sign.StripeHeader+": "...)
	dst = e.signer.AppendHeader(dst, at, body)
	return append(dst, "\r\n\r\n"...)
}
