package webhook

import (
	"context"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

// Send implements target.Target.
func (e *endpoint) Send(ctx context.Context, m target.Message) target.Result {
	start := time.Now()
	r := target.Result{Started: start}
	if e.client.now != nil {
		r.Started = e.client.now()
	}
	if wait, refused := e.origin.Exchange(ctx, wire.Request{Head: e, Body: m.Body, Start: start}, &r); refused {
		refuse(&r, wait)
	}
	r.Total = time.Since(start)
	return r
}

// AppendHead implements wire.Head.
func (e *endpoint) AppendHead(dst, body []byte, at time.Time) []byte {
	dst = append(dst, e.head...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n"+sign.StripeHeader+": "...)
	dst = e.signer.AppendHeader(dst, at, body)
	return append(dst, "\r\n\r\n"...)
}
