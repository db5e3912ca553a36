package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/webhook"
)

// answer is what a handler answers to one request.
func answer(h http.Handler, method string, header http.Header, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/hook", body)
	r.Header = header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHandlerAnswers(t *testing.T) {
	t.Parallel()
	ok := func(context.Context, *webhook.Event) error { return nil }
	genuine := stripeHeader(now, snapshot, secret)
	notEvent := `{"hello":"world"}`
	for _, test := range []struct {
		name   string
		handle func(context.Context, *webhook.Event) error
		method string
		header http.Header
		body   io.Reader
		status int
		retry  string
		logged string // "" for nothing
	}{
		{"handled", ok, "POST", genuine, strings.NewReader(snapshot), 200, "", ""},
		{"not POST", ok, "GET", genuine, nil, 405, "", ""},
		{"unsigned", ok, "POST", http.Header{}, strings.NewReader(snapshot), 400, "", "no signature"},
		{"forged", ok, "POST", stripeHeader(now, snapshot, "x"), strings.NewReader(snapshot), 400, "", "does not match"},
		{"too old", ok, "POST", stripeHeader(now.Add(-time.Hour), snapshot, secret), strings.NewReader(snapshot), 400, "", "too old"},
		{"no event", ok, "POST", stripeHeader(now, notEvent, secret), strings.NewReader(notEvent), 400, "", "not an event"},
		{"broken off", ok, "POST", genuine, iotest.ErrReader(io.ErrUnexpectedEOF), 400, "", "unexpected EOF"},
		{"as large as may be", ok, "POST", genuine, strings.NewReader(snapshot), 200, "", ""},
		{"too large", ok, "POST", genuine, strings.NewReader(snapshot + " "), 413, "", "too large"},
		{"failed", func(context.Context, *webhook.Event) error { return errBroken }, "POST", genuine, strings.NewReader(snapshot), 500, "", "broken"},
		{"panicked", func(context.Context, *webhook.Event) error { panic("oh no") }, "POST", genuine, strings.NewReader(snapshot), 500, "", "handler_test.go"},
		{"later", func(context.Context, *webhook.Event) error {
			return fmt.Errorf("ship: %w", webhook.RetryAfter(1500*time.Millisecond, errBroken))
		}, "POST", genuine, strings.NewReader(snapshot), 503, "2", "ship: broken"},
		{"later, at once", func(context.Context, *webhook.Event) error {
			return webhook.RetryAfter(-time.Minute, errBroken)
		}, "POST", genuine, strings.NewReader(snapshot), 503, "0", "broken"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			calls := 0
			h := webhook.Handler(must(webhook.NewStripe(secret)), func(ctx context.Context, e *webhook.Event) error {
				calls++
				if e.ID != "evt_1" {
					t.Errorf("event %+v", e)
				}
				return test.handle(ctx, e)
			}, webhook.WithMaxBody(int64(len(snapshot))), webhook.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))

			w := answer(h, test.method, test.header, test.body)
			if w.Code != test.status || w.Header().Get("Retry-After") != test.retry {
				t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
			if reached := test.status == 200 || test.status >= 500; reached != (calls == 1) {
				t.Errorf("called %d times", calls)
			}
			if (test.logged == "") != (log.Len() == 0) || !strings.Contains(log.String(), test.logged) {
				t.Errorf("logged %q", log.String())
			}
			// The sender may be a stranger.
			said := w.Body.String()
			if len(said) > 60 || strings.Contains(said, "signature") || strings.Contains(said, "broken") || strings.Contains(log.String(), secret) {
				t.Errorf("said %q, logged %q", said, log.String())
			}
			if test.status == 405 && w.Header().Get("Allow") != "POST" {
				t.Errorf("Allow = %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestHandlerHandlesOnce(t *testing.T) {
	t.Parallel()
	var results []error
	calls := 0
	h := webhook.Handler(must(webhook.NewStripe(secret)), func(context.Context, *webhook.Event) error {
		calls++
		if calls == 2 {
			panic("!")
		}
		return results[calls-1]
	}, webhook.WithLogger(quiet))
	results = []error{errBroken, nil, nil}
	for i, want := range []int{500, 500, 200, 200, 200} {
		// Every attempt has a signature of its own, and the same event.
		header := stripeHeader(now.Add(time.Duration(i)*time.Second), snapshot, secret)
		if w := answer(h, "POST", header, strings.NewReader(snapshot)); w.Code != want {
			t.Errorf("delivery %d: %d, want %d", i, w.Code, want)
		}
	}
	if calls != 3 {
		t.Errorf("called %d times", calls)
	}
	other := strings.Replace(snapshot, "evt_1", "evt_2", 1)
	results = append(results, nil)
	if w := answer(h, "POST", stripeHeader(now, other, secret), strings.NewReader(other)); w.Code != 200 || calls != 4 {
		t.Errorf("another event: %d, called %d times", w.Code, calls)
	}
}

// A second delivery waits for the first, and is not told 200 before it is true.
func TestHandlerAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls, end := 0, make(chan struct{})
		h := webhook.Handler(must(webhook.NewStripe(secret)), func(context.Context, *webhook.Event) error {
			calls++
			<-end
			return nil
		}, webhook.WithLogger(quiet))
		answers := make(chan int, 2)
		for range 2 {
			go func() {
				answers <- answer(h, "POST", stripeHeader(now, snapshot, secret), strings.NewReader(snapshot)).Code
			}()
		}
		synctest.Wait()
		if calls != 1 || len(answers) != 0 {
			t.Errorf("called %d times, %d answers", calls, len(answers))
		}
		close(end)
		for range 2 {
			if code := <-answers; code != 200 {
				t.Errorf("%d", code)
			}
		}
		if calls != 1 {
			t.Errorf("called %d times", calls)
		}
	})
}

type brokenSeen struct{}

func (brokenSeen) Once(context.Context, string, func(context.Context) error) error {
	return errBroken
}

func TestHandlerNeedsItsMemory(t *testing.T) {
	t.Parallel()
	h := webhook.Handler(must(webhook.NewStripe(secret)), func(context.Context, *webhook.Event) error {
		t.Error("called")
		return nil
	}, webhook.WithSeen(brokenSeen{}), webhook.WithLogger(quiet))
	if w := answer(h, "POST", stripeHeader(now, snapshot, secret), strings.NewReader(snapshot)); w.Code != 500 {
		t.Errorf("%d", w.Code)
	}
}

// Work for a sender that has given up is given up, and done when it comes again.
func TestHandlerEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	h := webhook.Handler(must(webhook.NewStripe(secret)), func(ctx context.Context, _ *webhook.Event) error {
		return context.Cause(ctx)
	}, webhook.WithLogger(quiet))
	for _, cause := range []error{gone, nil} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if cause != nil {
			cancel(cause)
		}
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/hook", strings.NewReader(snapshot))
		r.Header = stripeHeader(now, snapshot, secret)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if (w.Code == 200) != (cause == nil) {
			t.Errorf("after %v: %d", cause, w.Code)
		}
		cancel(nil)
	}
}
