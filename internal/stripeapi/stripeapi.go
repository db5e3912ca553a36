// Package stripeapi is the surface that official Stripe SDKs and the Stripe CLI
// talk to: event destinations, events and deliveries under /v1/ and /v2/. It
// decodes a request, calls one verb of a domain and encodes what that returned;
// it decides nothing and keeps nothing.
//
// Every answer is JSON and carries a Request-Id, whatever went wrong:
//
//	fault        its status, code and message, in the error form of the path's generation
//	no such path 404, another method 405, a body over the limit 413
//	store outage 503 with Retry-After: 1
//	anything else, a panic too: 500 that tells the request id and nothing more;
//	             the error goes to the log, which never sees keys, bodies or queries
//
// Publishing (POST /v2/core/events) is the path that carries the load. It is
// routed before everything else, decoded in one pass without reflection, and
// works in pooled buffers.
package stripeapi

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/admission"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/journal"
)

// Accounts tells who calls. It is asked for every request and must be fast.
type Accounts interface {
	Authenticate(ctx context.Context, key string) (account.Caller, error)
}

// Destinations are the verbs of destination.Service.
type Destinations interface {
	// SourceStatus is the state of the event source of a destination of type
	// amazon_eventbridge.
	SourceStatus(d *destination.Destination) string
	Create(ctx context.Context, c account.Caller, p destination.CreateParams) (*destination.Destination, error)
	Update(ctx context.Context, c account.Caller, id string, p destination.UpdateParams) (*destination.Destination, error)
	Retrieve(ctx context.Context, c account.Caller, id string) (*destination.Destination, error)
	List(ctx context.Context, c account.Caller, p destination.ListParams) (journal.Page[*destination.Destination], error)
	Delete(ctx context.Context, c account.Caller, id string) error
	Disable(ctx context.Context, c account.Caller, id string) (*destination.Destination, error)
	Enable(ctx context.Context, c account.Caller, id string) (*destination.Destination, error)
	Ping(ctx context.Context, c account.Caller, id string) (*event.Event, error)
}

// Journal are the verbs of journal.Service. Publish keeps nothing of the drafts
// when it returns nil.
type Journal interface {
	Publish(ctx context.Context, c account.Caller, drafts []*event.Draft) ([]*event.Event, error)
	Event(ctx context.Context, c account.Caller, id string, kind event.Kind) (journal.View, error)
	Events(ctx context.Context, c account.Caller, q journal.EventQuery) (journal.Page[journal.View], error)
	Resend(ctx context.Context, c account.Caller, eventID, destinationID string) (journal.View, error)
	Deliveries(ctx context.Context, c account.Caller, q journal.DeliveryQuery) (journal.Page[*journal.Delivery], error)
	Delivery(ctx context.Context, c account.Caller, id string) (*journal.Delivery, error)
	Attempts(ctx context.Context, c account.Caller, deliveryID string) ([]*event.Attempt, error)
}

// Options are what the surface works with. The three domains and CursorKey are
// required.
type Options struct {
	Accounts     Accounts
	Destinations Destinations
	Journal      Journal
	// CursorKey authenticates page tokens. It must be secret and the same on
	// every node, or a client's next page fails.
	CursorKey [32]byte
	// MaxEvent and MaxRequest bound one event and one body, in bytes. 0 is
	// 1 MiB and 16 MiB.
	MaxEvent, MaxRequest int
	Now                  func() time.Time // nil is time.Now
	Log                  *slog.Logger     // nil is slog.Default
}

// The limits where Options has none.
const (
	defaultMaxEvent   = 1 << 20
	defaultMaxRequest = 16 << 20
)

const publishPath = "/v2/core/events"

type api struct {
	accounts     Accounts
	destinations Destinations
	journal      Journal
	cursors      cursors
	maxEvent     int
	maxRequest   int
	now          func() time.Time
	log          *slog.Logger
	buffers      sync.Pool // of *buffers
	admission    *admission.Gate
}

// New returns the handler of everything under /v1/ and /v2/.
func New(o Options) http.Handler {
	a := &api{
		accounts: o.Accounts, destinations: o.Destinations, journal: o.Journal,
		cursors: cursors{o.CursorKey}, maxEvent: o.MaxEvent, maxRequest: o.MaxRequest,
		now: o.Now, log: o.Log,
	}
	if a.maxEvent <= 0 {
		a.maxEvent = defaultMaxEvent
	}
	if a.maxRequest <= 0 {
		a.maxRequest = defaultMaxRequest
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	a.admission = admission.NewGate(0)
	a.buffers.New = func() any { return new(buffers) }
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{api: a, w: w, r: r}
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
		}
	}()
	c.begin()
	if err := c.serve(r.Context()); err != nil {
		c.fail(err)
	}
}

// serve answers the request, or returns why it did not.
func (c *call) serve(ctx context.Context) error {
	if c.r.URL.Path == publishPath && c.r.Method == http.MethodPost {
		if err := c.authenticate(ctx); err != nil {
			return err
		}
		return c.publish(ctx)
	}
	handle, err := c.route()
	if err != nil {
		return err
	}
	if err := c.authenticate(ctx); err != nil {
		return err
	}
	body, err := handle(c)
	if err != nil {
		return err
	}
	c.write(http.StatusOK, body)
	return nil
}

// panicked turns a panic into a 500, unless the answer has begun: then it breaks
// the connection, so that the client does not take half an answer for one.
func (c *call) panicked(v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
		panic(v)
	}
	c.api.log.Error("request panicked", "request_id", c.id, "method", c.r.Method, "path", c.r.URL.Path,
		"panic", v, "stack", string(debug.Stack()))
	if c.wrote {
		panic(http.ErrAbortHandler)
	}
	c.writeError(http.StatusInternalServerError, c.internal())
}

// handler answers one kind of request with the body of a 200.
type handler func(c *call) ([]byte, error)

// routes lists what is served. A segment ":id" matches any one segment.
var routes = []struct {
	method, path string
	handle       handler
}{
	{http.MethodPost, "/v2/core/event_destinations", (*call).createDestination},
	{http.MethodGet, "/v2/core/event_destinations", (*call).listDestinations},
	{http.MethodGet, "/v2/core/event_destinations/:id", (*call).retrieveDestination},
	{http.MethodPost, "/v2/core/event_destinations/:id", (*call).updateDestination},
	{http.MethodDelete, "/v2/core/event_destinations/:id", (*call).deleteDestination},
	{http.MethodPost, "/v2/core/event_destinations/:id/disable", (*call).disableDestination},
	{http.MethodPost, "/v2/core/event_destinations/:id/enable", (*call).enableDestination},
	{http.MethodPost, "/v2/core/event_destinations/:id/ping", (*call).pingDestination},
	{http.MethodGet, publishPath, (*call).listThinEvents},
	{http.MethodPost, publishPath, nil}, // serve has it already
	{http.MethodGet, "/v2/core/events/:id", (*call).retrieveThinEvent},
	{http.MethodGet, "/v2/core/deliveries", (*call).listDeliveries},
	{http.MethodGet, "/v2/core/deliveries/:id", (*call).retrieveDelivery},
	{http.MethodGet, "/v2/core/deliveries/:id/attempts", (*call).listAttempts},
	{http.MethodGet, "/v1/events", (*call).listSnapshotEvents},
	{http.MethodGet, "/v1/events/:id", (*call).retrieveSnapshotEvent},
	{http.MethodPost, "/v1/events/:id/retry", (*call).retryEvent},
}

// route finds the handler and the id in the path.
func (c *call) route() (handler, error) {
	var allowed []string
	for i := range routes {
		arg, ok := matchPath(routes[i].path, c.r.URL.Path)
		if !ok {
			continue
		}
		if routes[i].method == c.r.Method {
			c.arg = arg
			return routes[i].handle, nil
		}
		allowed = append(allowed, routes[i].method)
	}
	if allowed == nil {
		return nil, fault.NotFoundf("There is nothing at %s %s. Check the path; ids belong between its slashes.", c.r.Method, c.r.URL.Path)
	}
	methods := strings.Join(allowed, ", ")
	c.w.Header().Set("Allow", methods)
	return nil, &methodError{method: c.r.Method, path: c.r.URL.Path, allowed: methods}
}

// matchPath matches a path against a pattern and returns what stood at ":id".
func matchPath(pattern, path string) (arg string, ok bool) {
	before, after, has := strings.Cut(pattern, ":id")
	if !has {
		return "", pattern == path
	}
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return "", false
	}
	arg, ok = strings.CutSuffix(rest, after)
	return arg, ok && arg != "" && !strings.Contains(arg, "/")
}
