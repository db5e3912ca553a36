package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
)

// The paths of the demo's receiver, one for each destination.
const (
	snapshotPath = "/snapshot"
	thinPath     = "/thin"
)

// receipt is what a receiver made of one request.
type receipt struct {
	path, event, typ string
	tries            int  // of this event at this path, this one included
	refused          bool // on purpose, to show a retry
	err              error
}

// receiver is the demo's customer: a webhook endpoint that verifies signatures,
// and refuses the first tries of one type of event.
type receiver struct {
	failType  string
	failTries int
	heard     func(receipt) // called by many goroutines

	server   *http.Server
	listener net.Listener

	mu      sync.Mutex
	secrets map[string]string // by path
	tries   map[string]int    // by path and event id
}

// startReceiver listens on a free port of the loopback.
func startReceiver(ctx context.Context, failType string, failTries int, heard func(receipt)) (*receiver, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start receiver: %w", err)
	}
	r := &receiver{
		failType: failType, failTries: failTries, heard: heard, listener: listener,
		secrets: map[string]string{}, tries: map[string]int{},
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(listener) }() // ends with Close
	return r, nil
}

func (r *receiver) url(path string) string { return "http://" + r.listener.Addr().String() + path }

func (r *receiver) trust(path, secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets[path] = secret
}

func (r *receiver) close() { _ = r.server.Close() } // nothing under way matters any more

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	got := receipt{path: req.URL.Path}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 4<<20))
	if err == nil {
		err = r.judge(&got, req.Header, body)
	}
	status := http.StatusOK
	switch {
	case err != nil:
		got.err, status = err, http.StatusBadRequest
	case got.refused:
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	if got.refused {
		_, _ = io.WriteString(w, "the demo refuses the first tries")
	}
	r.heard(got)
}

// judge verifies the signature before it believes anything in the body.
func (r *receiver) judge(got *receipt, h http.Header, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := sign.VerifyStripe(h.Get(sign.StripeHeader), body, []string{r.secrets[got.path]}, time.Now(), 0); err != nil {
		return err
	}
	var event struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	if event.ID == "" {
		return errors.New("the event has no id")
	}
	got.event, got.typ = event.ID, event.Type
	key := got.path + " " + event.ID
	r.tries[key]++
	got.tries = r.tries[key]
	got.refused = got.typ == r.failType && got.tries <= r.failTries
	return nil
}
