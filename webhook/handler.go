package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

const defaultMaxBody = 2 << 20 // Waybill takes events of 1 MiB, and adds to them

type handler struct {
	verifier *Verifier
	handle   func(context.Context, *Event) error
	seen     Seen
	maxBody  int64
	log      *slog.Logger
}

// An Option changes how [Handler] works.
type Option func(*handler)

// WithSeen sets where it is remembered which events were handled. Without it,
// that is a [Memory] of the default size.
func WithSeen(s Seen) Option { return func(h *handler) { h.seen = s } }

// WithMaxBody sets the size in bytes of the largest body that is read. Without
// it, that is 2 MiB: Waybill takes events of up to 1 MiB.
func WithMaxBody(n int64) Option { return func(h *handler) { h.maxBody = n } }

// WithLogger sets where deliveries that were refused, and events that were not
// handled, are logged with the reason. Without it, that is [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(h *handler) { h.log = l } }

// Handler verifies each delivery, and calls handle for every event that was not
// handled before. It answers with 2xx only after handle has returned nil, so do
// what must not be lost before that; the package comment lists the answers.
//
// The context ends when the sender no longer waits for the answer (Waybill's
// patience is 20 s, unless configured). Work that takes longer belongs in a
// queue of your own. Events may come in any order, and handle is called from
// many goroutines.
func Handler(v *Verifier, handle func(ctx context.Context, e *Event) error, options ...Option) http.Handler {
	h := &handler{verifier: v, handle: handle, maxBody: defaultMaxBody}
	for _, option := range options {
		option(h)
	}
	if h.seen == nil {
		h.seen = NewMemory(0, 0)
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "Deliveries are POSTed.", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.maxBody))
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	e, err := h.verifier.Event(r.Header, body)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if err := h.seen.Once(r.Context(), e.ID, func(ctx context.Context) error { return h.run(ctx, e) }); err != nil {
		h.fail(w, r, e, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// run calls handle, and makes a panic an error so that a Seen need not mind.
func (h *handler) run(ctx context.Context, e *Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h.handle(ctx, e)
}

// refuse answers what may be a stranger.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	h.log.WarnContext(r.Context(), "webhook delivery refused", "error", err)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		http.Error(w, "The body is too large.", http.StatusRequestEntityTooLarge)
		return
	}
	http.Error(w, "Not a delivery for this endpoint.", http.StatusBadRequest)
}

// fail makes the sender try again.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, e *Event, err error) {
	h.log.ErrorContext(r.Context(), "webhook event not handled", "event", e.ID, "type", e.Type, "error", err)
	status := http.StatusInternalServerError
	if later, ok := errors.AsType[*laterError](err); ok {
		status = http.StatusServiceUnavailable
		seconds := (later.wait + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.FormatInt(int64(max(seconds, 0)), 10))
	}
	http.Error(w, "The event was not handled; try again.", status)
}

// laterError is an error with a time before which a retry is no use.
type laterError struct {
	wait time.Duration
	err  error
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// RetryAfter returns an error for [Handler] that asks the sender not to try
// again before wait has passed: the answer is then 503 with Retry-After, in full
// seconds. Waybill waits so long, up to 24 hours, or longer by its own schedule.
func RetryAfter(wait time.Duration, err error) error { return &laterError{wait, err} }
