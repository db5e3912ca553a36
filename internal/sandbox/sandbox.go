// Package sandbox owns objects: what stands behind Stripe's paths /v1/<resource>
// in test mode, so that code and tests which create payments, customers and
// subscriptions get their objects and, above all, their events.
//
// It is driven by a table (table/*.json), not by code: a resource has a path,
// defaults and transitions, and a transition is a list of steps that set
// fields, make other objects, emit events or refuse. See docs/sandbox.md. What
// the table does not know is kept as it was sent, and has the events created,
// updated and deleted if Stripe has them.
//
// A request reads what it needs, runs its steps in memory, writes all objects
// in one transaction and publishes the events after it. If an object changed
// meanwhile, everything is run again. A request that is refused has changed
// nothing, unless a card was declined (402): then the failed payment is part of
// the answer. A process that dies between the transaction and the events leaves
// objects without them; this is test mode.
//
// Beside that it is the mirror of both modes: what is no object of the sandbox
// is looked for in the newest event that shows it (see mirror.go).
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// Store is the part of the store that the sandbox works with.
type Store interface {
	store.Objects
	Idempotent(ctx context.Context, scope event.Scope, generation int, key string, now time.Time) (*store.Idempotency, error)
}

// Publisher accepts events. It keeps nothing of the drafts when it returns nil.
type Publisher interface {
	Publish(ctx context.Context, c account.Caller, drafts []*event.Draft) ([]*event.Event, error)
}

// Options are what a Service works with. Store and Publisher are required.
type Options struct {
	Store     Store
	Publisher Publisher
	Now       func() time.Time // nil is time.Now
	Log       *slog.Logger     // nil discards
}

// Service answers for the objects of all accounts. It is safe for concurrent
// use.
type Service struct {
	store     Store
	publisher Publisher
	now       func() time.Time
	log       *slog.Logger
	made      atomic.Int64
}

// New returns a Service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{store: o.Store, publisher: o.Publisher, now: o.Now, log: o.Log}
}

// Method is what a request does.
type Method string

// The methods. Post creates, changes and acts.
const (
	Get    Method = "GET"
	Post   Method = "POST"
	Delete Method = "DELETE"
)

// Request is a call of API v1 on an object or a collection.
type Request struct {
	Method Method
	Path   string // /v1/payment_intents/pi_1/capture
	// Params are those of the form or the query: strings, or lists and objects
	// of them.
	Params map[string]any
	ID     string // of the request, for its events
}

// Refusal is an answer that Stripe gives in its own words, such as a declined
// card.
type Refusal struct {
	// Declined tells that a payment was made and failed (402); else Kind is
	// Invalid or NotFound.
	Declined bool
	Kind     fault.Kind
	Body     map[string]any // the error object
}

func (r *Refusal) Error() string { return fmt.Sprint(r.Body["message"]) }

// attempts is how often a request is run if others change its objects.
const attempts = 8

// Do answers a request with the body of a 200, or returns a *fault.Error or a
// *Refusal.
func (s *Service) Do(ctx context.Context, c account.Caller, r Request) ([]byte, error) {
	t := find(r.Path)
	if t == nil {
		return nil, fault.NotFoundf("There is nothing at %s %s. Check the path; ids belong between its slashes.", r.Method, r.Path)
	}
	if c.Scope.Live() && (r.Method != Get || t.id == "") {
		return nil, fault.New(fault.Forbidden, "testmode_only",
			"Waybill keeps objects in test mode only: there is no payment behind it. Use a test key (sk_test_…); with a live key, publish events with POST /v2/core/events.")
	}
	if r.Method != Post {
		c.IdempotencyKey = "" // API v1 ignores it there
	}
	for n := 1; ; n++ {
		if c.IdempotencyKey != "" {
			if body, err, ok := s.replay(ctx, c); ok {
				return body, err
			}
		}
		body, err := s.try(ctx, c, r, t)
		if n < attempts && (errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists)) {
			continue
		}
		return body, toFault(err)
	}
}

// replay answers a request that was answered before.
func (s *Service) replay(ctx context.Context, c account.Caller) (body []byte, err error, ok bool) { //nolint:revive // the error is the answer
	known, err := s.store.Idempotent(ctx, c.Scope, c.Generation, c.IdempotencyKey, s.now())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil, false
	case err != nil:
		return nil, toFault(err), true
	case known.Hash != c.RequestHash:
		return nil, fault.New(fault.Idempotency, "idempotency_error",
			"This Idempotency-Key was used before with different parameters. Use a new key for a different request."), true
	}
	var a answer
	if err := json.Unmarshal(known.Result, &a); err != nil {
		return nil, fmt.Errorf("read what an idempotency key led to: %w", err), true
	}
	if a.Refused != nil {
		return nil, a.Refused, true
	}
	return a.Body, nil, true
}

// answer is what is kept for an idempotency key.
type answer struct {
	Body    json.RawMessage `json:",omitempty"`
	Refused *Refusal        `json:",omitempty"`
}

// try runs a request once.
func (s *Service) try(ctx context.Context, c account.Caller, r Request, t *target) ([]byte, error) {
	session := &session{service: s, ctx: ctx, caller: c, request: r, now: s.now(), entries: map[string]*entry{}}
	value, err := session.serve(t)
	var refused *Refusal
	if errors.As(err, &refused) && refused.Declined {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	a := answer{Refused: refused}
	if refused == nil {
		if a.Body, err = json.Marshal(value); err != nil {
			return nil, fmt.Errorf("encode object: %w", err)
		}
	}
	if err := session.save(a); err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return a.Body, nil
}

func toFault(err error) error {
	var refused *Refusal
	switch {
	case err == nil, fault.As(err) != nil, errors.As(err, &refused), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return fault.Unavailablef(err, "The store cannot be reached right now. Send the request again; with an Idempotency-Key it takes effect once only.")
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrExists):
		return fault.New(fault.Limited, "lock_timeout", "Other requests kept changing these objects. Send the request again.")
	}
	return fmt.Errorf("sandbox: %w", err)
}
