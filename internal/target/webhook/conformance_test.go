package webhook_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/targettest"
	"github.com/waybill-dev/waybill/internal/target/webhook"
)

const secret = "whsec_test"

// open returns a target for url that may reach this machine.
func open(tb testing.TB, url string, o webhook.Options, secrets ...string) target.Target {
	tb.Helper()
	o.Guard.AllowPrivate = true
	c := webhook.New(o)
	tb.Cleanup(c.Close)
	if len(secrets) == 0 {
		secrets = []string{secret}
	}
	t, err := c.Open(event.Target{Kind: event.TargetWebhook, Webhook: &event.WebhookTarget{URL: url, Secrets: secrets}})
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// received collects what a peer got.
type received struct {
	mu     sync.Mutex
	bodies [][]byte
}

func (r *received) add(body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, body)
}

func (r *received) all() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.bodies)
}

func newPeer(t *testing.T, b targettest.Behavior, timeout time.Duration, overTLS bool) targettest.Peer {
	var got received
	hanging := make(chan struct{}, 1)
	stop := make(chan struct{})
	hang := func() {
		select {
		case hanging <- struct{}{}:
		default:
		}
		<-stop
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b == targettest.Hangs {
			got.add(nil)
			hang()
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender gave up
		}
		got.add(body)
		flush := func() { _ = http.NewResponseController(w).Flush() }
		switch b {
		case targettest.Accepts:
			_, _ = io.WriteString(w, `{"received":true}`)
		case targettest.Refuses:
			w.Header().Set("Retry-After", strconv.Itoa(int(targettest.RetryAfter.Seconds())))
			w.WriteHeader(http.StatusServiceUnavailable)
		case targettest.RefusesForGood:
			w.WriteHeader(http.StatusGone)
		case targettest.HangsInAnswer:
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			flush()
			hang()
		case targettest.BreaksOff:
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			flush()
			panic(http.ErrAbortHandler)
		case targettest.HangsUp:
			panic(http.ErrAbortHandler)
		case targettest.FloodsAndLies:
			w.Header().Set("Content-Length", "2000000000")
			fallthrough
		case targettest.Floods:
			for {
				if _, err := w.Write(flood); err != nil {
					return
				}
			}
		}
	}))
	o := webhook.Options{Timeout: timeout}
	if overTLS {
		server.EnableHTTP2 = true // which is not asked for, but may be offered
		server.StartTLS()
		o.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	} else {
		server.Start()
	}
	t.Cleanup(func() {
		close(stop)
		server.Close()
	})
	return targettest.Peer{
		Target:   open(t, server.URL, o),
		Received: got.all,
		Hanging:  hanging,
	}
}

var flood = bytes.Repeat([]byte("0123456789abcdef"), 1<<10)

// Not parallel: the suite measures memory.
func TestConformance(t *testing.T) {
	targettest.Run(t, targettest.Harness{New: func(t *testing.T, b targettest.Behavior, timeout time.Duration) targettest.Peer {
		return newPeer(t, b, timeout, false)
	}})
}

func TestConformanceTLS(t *testing.T) {
	targettest.Run(t, targettest.Harness{
		New: func(t *testing.T, b targettest.Behavior, timeout time.Duration) targettest.Peer {
			return newPeer(t, b, timeout, true)
		},
	})
}
