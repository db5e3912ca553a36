package webhook

import (
	"context"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
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
	var head wire.Head = e
	if e.byMessage {
		head = &letter{e, &m}
	}
	if wait, refused := e.origin.Exchange(ctx, wire.Request{Head: head, Body: m.Body, Start: start}, &r); refused {
		refuse(&r, wait)
	}
	r.Total = time.Since(start)
	return r
}

// AppendHead implements wire.Head.
func (e *endpoint) AppendHead(dst, body []byte, at time.Time) []byte {
	dst = e.appendLength(dst, body)
	return append(e.appendStripe(dst, body, at), "\r\n"...)
}

func (e *endpoint) appendLength(dst, body []byte) []byte {
	dst = strconv.AppendInt(append(dst, e.head...), int64(len(body)), 10)
	return append(dst, "\r\n"...)
}

func (e *endpoint) appendStripe(dst, body []byte, at time.Time) []byte {
	dst = append(dst, sign.StripeHeader+": "...)
	return append(e.signers(at).stripe.AppendHeader(dst, at, body), "\r\n"...)
}

// letter is the head of a request that says something of its message too.
type letter struct {
	*endpoint
	m *target.Message
}

// AppendHead implements wire.Head.
func (l *letter) AppendHead(dst, body []byte, at time.Time) []byte {
	dst = l.appendLength(dst, body)
	if l.to.Stripe {
		dst = l.appendStripe(dst, body, at)
	}
	if l.to.Standard || l.to.Ed25519 {
		dst = append(append(dst, sign.StandardID+": "...), l.m.EventID...)
		dst = strconv.AppendInt(append(dst, "\r\n"+sign.StandardTimestamp+": "...), at.Unix(), 10)
		dst = append(dst, "\r\n"+sign.StandardSignature+": "...)
		dst = append(l.signers(at).standard.AppendSignature(dst, l.m.EventID, at, body), "\r\n"...)
	}
	if l.to.Format == event.FormatCloudEventsBinary {
		dst = l.m.Event.AppendCloudHeaders(dst, l.to.Name)
	}
	return append(dst, "\r\n"...)
}
