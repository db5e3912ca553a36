package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/target"
)

// errTimeout tells the client's own time-out from the end of the caller's
// context.
var errTimeout = errors.New("webhook time-out")

// The headers that never change are shared by all requests: a RoundTripper
// must not modify them.
var (
	contentType  = []string{"application/json; charset=utf-8"}
	accept       = []string{"*/*"}
	cacheControl = []string{"no-cache"}
)

// outgoing is what one request needs beside the request, in one allocation.
// It cannot be pooled: after an early answer or a time-out, net/http may go on
// reading the body in a goroutine of its own and does not tell when it stops.
// The body is read through a *bytes.Reader because net/http would send the
// headers in a packet of their own in front of any body that it does not know
// to be in memory.
type outgoing struct {
	body      []byte
	reader    bytes.Reader
	signature [1]string
}

func (o *outgoing) again() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(o.body)), nil
}

// Send implements target.Target.
func (e *endpoint) Send(ctx context.Context, m target.Message) target.Result {
	start := time.Now()
	r := target.Result{Started: start}
	signedAt := start
	if e.client.now != nil {
		signedAt = e.client.now()
		r.Started = signedAt
	}

	ctx, cancel := context.WithTimeoutCause(ctx, e.client.timeout, errTimeout)
	defer cancel()
	response, err := e.client.transport.RoundTrip(e.newRequest(ctx, m.Body, signedAt))
	if err != nil {
		e.failed(ctx, &r, err)
		r.Total = time.Since(start)
		return r
	}
	r.FirstByte = time.Since(start)
	r.Status = response.StatusCode
	r.Headers = keepHeaders(response.Header)
	var broken error
	if response.StatusCode != http.StatusSwitchingProtocols { // after 101 comes no body, but no end either
		r.Body, r.Truncated, broken = readBody(response.Body)
	}
	_ = response.Body.Close() // the answer is judged by what was read
	e.judge(ctx, &r, response, broken)
	r.Total = time.Since(start)
	return r
}

func (e *endpoint) newRequest(ctx context.Context, body []byte, at time.Time) *http.Request {
	var buf [512]byte // room for six secrets
	out := &outgoing{body: body}
	out.signature[0] = string(e.signer.AppendHeader(buf[:0], at, body))

	header := make(http.Header, 8)
	header["Content-Type"] = contentType
	header["User-Agent"] = e.client.userAgent
	header["Accept"] = accept
	header["Cache-Control"] = cacheControl
	header[sign.StripeHeader] = out.signature[:]
	if e.auth != nil {
		header["Authorization"] = e.auth
	}

	request := e.request.WithContext(ctx)
	request.Header = header
	request.Body = http.NoBody
	if len(body) > 0 {
		out.reader.Reset(out.body)
		request.ContentLength = int64(len(body))
		request.Body = io.NopCloser(&out.reader)
		request.GetBody = out.again
	}
	return request
}
