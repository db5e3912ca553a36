package apidestination_test

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
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/apidestination"
	"github.com/waybill-dev/waybill/internal/target/targettest"
)

const destinationARN = "arn:aws:events:us-east-1:123456789012:api-destination/shop/1"

// open returns a target that resolves to what endpoint returns.
func open(tb testing.TB, endpoint func() apidestination.Endpoint, to event.APIDestinationTarget, o apidestination.Options) (*apidestination.Client, target.Target) {
	tb.Helper()
	o.Guard = netguard.Policy{AllowPrivate: true}
	o.Resolve = func(scope event.Scope, arn string) (apidestination.Endpoint, error) {
		if scope != to.Scope || arn != destinationARN {
			tb.Errorf("asked for %s of %d", arn, scope)
		}
		return endpoint(), nil
	}
	c := apidestination.New(o)
	tb.Cleanup(c.Close)
	to.ARN = destinationARN
	t, err := c.Open(event.Target{Kind: event.TargetAPIDestination, APIDestination: &to})
	if err != nil {
		tb.Fatal(err)
	}
	return c, t
}

func always(e apidestination.Endpoint) func() apidestination.Endpoint {
	return func() apidestination.Endpoint { return e }
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
	o := apidestination.Options{Timeout: timeout}
	if overTLS {
		server.StartTLS()
		o.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	} else {
		server.Start()
	}
	t.Cleanup(func() {
		close(stop)
		server.Close()
	})
	_, to := open(t, always(apidestination.Endpoint{URL: server.URL, Method: http.MethodPost}), event.APIDestinationTarget{}, o)
	return targettest.Peer{Target: to, Received: got.all, Hanging: hanging}
}

var flood = bytes.Repeat([]byte("0123456789abcdef"), 1<<10)

// Not parallel: the suite measures memory.
func TestConformance(t *testing.T) {
	targettest.Run(t, targettest.Harness{New: func(t *testing.T, b targettest.Behavior, timeout time.Duration) targettest.Peer {
		return newPeer(t, b, timeout, false)
	}})
}

func TestConformanceTLS(t *testing.T) {
	targettest.Run(t, targettest.Harness{New: func(t *testing.T, b targettest.Behavior, timeout time.Duration) targettest.Peer {
		return newPeer(t, b, timeout, true)
	}})
}
