package targettest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/targettest"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

// batch is a target such as a cloud's API is: a message goes as an entry of a
// batch, the answer's body says what became of it, and 400 is final.
type batch struct {
	origin *wire.Origin
	path   string
}

type entries struct{ Entries []string }

func (b *batch) AppendHead(dst, body []byte, _ time.Time) []byte {
	return fmt.Appendf(dst, "POST %s HTTP/1.1\r\nHost: batch\r\nContent-Length: %d\r\n\r\n", b.path, len(body))
}

func (b *batch) Send(ctx context.Context, m target.Message) target.Result {
	body, _ := json.Marshal(entries{[]string{string(m.Body)}}) // strings always have a form
	r := target.Result{Started: time.Now()}
	wait, refused := b.origin.Exchange(ctx, wire.Request{Head: b, Body: body, Start: r.Started}, &r)
	var said struct{ Failed *int }
	switch {
	case refused:
		r.Class, r.Message = event.ClassStatus, "The batch was refused."
		r.Permanent, r.RetryAfter = r.Status == http.StatusBadRequest, wait
	case r.Class == event.ClassNone && (json.Unmarshal(r.Body, &said) != nil || said.Failed == nil || *said.Failed != 0):
		r.Class, r.Message = event.ClassProtocol, "The answer does not say that the entry was taken."
	}
	r.Total = time.Since(r.Started)
	return r
}

// Not parallel: the suite measures memory.
func TestRunHTTP(t *testing.T) {
	targettest.RunHTTP(t, targettest.HTTPHarness{
		Open: func(t *testing.T, e targettest.Endpoint) target.Target {
			c := wire.New(wire.Options{Guard: e.Guard, Timeout: e.Timeout, RootCAs: e.RootCAs})
			t.Cleanup(c.Close)
			u, err := wire.ParseURL(e.URL)
			if err != nil {
				t.Fatal(err)
			}
			return &batch{c.Origin(u), u.RequestURI()}
		},
		MessageOf: func(_ *http.Request, body []byte) []byte {
			var sent entries
			if json.Unmarshal(body, &sent) != nil || len(sent.Entries) != 1 {
				return nil
			}
			return []byte(sent.Entries[0])
		},
		Success:     `{"Failed":0}`,
		BodyDecides: true,
		Final:       http.StatusBadRequest,
		FinalBody:   `{"__type":"ValidationException"}`,
	})
}
