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
	// Act returns the caller as it acts in an account below its own.
	Act(ctx context.Context, c account.Caller, path string) (account.Caller, error)
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
	// Endpoints lists those that are webhook endpoints in API v1.
	Endpoints(ctx context.Context, c account.Caller, p destination.ListParams) (journal.Page[*destination.Destination], error)
	Delete(ctx context.Context, c account.Caller, id string) error
	Disable(ctx context.Context, c account.Caller, id string) (*destination.Destination, error)
	Enable(ctx context.Context, c account.Caller, id string) (*destination.Destination, error)
	Ping(ctx context.Context, c account.Caller, id string) (*event.Event, error)
	RollSecret(ctx context.Context, c account.Caller, id string, overlap time.Duration) (*destination.Destination, error)
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
	// Audit keeps who changed what; nil keeps nothing.
	Audit Audit
	// Sandbox has the objects of API v1; nil has none.
	Sandbox Sandbox
	// Replays are the bulk replays of destinations.
	Replays Replays
	// Sessions are those of `stripe listen`; nil has none.
	Sessions Sessions
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
	audit        Audit
	sandbox      Sandbox
	replays      Replays
	sessions     Sessions
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
		accounts: o.Accounts, destinations: o.Destinations, journal: o.Journal, audit: o.Audit, sandbox: o.Sandbox, replays: o.Replays, sessions: o.Sessions,
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
		if err := c.authenticate(ctx, writes("events")); err != nil {
			return err
		}
		return c.publish(ctx)
	}
	if c.r.URL.Path == subscribePath && c.r.Method == http.MethodGet {
		return c.subscribe(ctx)
	}
	to, err := c.route()
	if err != nil {
		return err
	}
	if err := c.authenticate(ctx, to.needs); err != nil {
		return err
	}
	c.begins(ctx, to.audit)
	body, err := to.handle(c)
	if err != nil {
		return err
	}
	if err := c.did(ctx, to.audit, body); err != nil {
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

// endpoint is what is served at a path.
type endpoint struct {
	method, path string
	handle       handler
	needs        permission // which a restricted key must have
	audit        audit
}

// routes lists what is served. A segment ":id" matches any one segment.
var routes = []endpoint{
	{http.MethodPost, "/v2/core/event_destinations", (*call).createDestination, writes("event_destinations"), changes("event_destination.create")},
	{http.MethodGet, "/v2/core/event_destinations", (*call).listDestinations, reads("event_destinations"), silent},
	{http.MethodGet, "/v2/core/event_destinations/:id", (*call).retrieveDestination, reads("event_destinations"), silent},
	{http.MethodPost, "/v2/core/event_destinations/:id", (*call).updateDestination, writes("event_destinations"), changes("event_destination.update")},
	{http.MethodDelete, "/v2/core/event_destinations/:id", (*call).deleteDestination, writes("event_destinations"), changes("event_destination.delete")},
	{http.MethodPost, "/v2/core/event_destinations/:id/disable", (*call).disableDestination, writes("event_destinations"), changes("event_destination.disable")},
	{http.MethodPost, "/v2/core/event_destinations/:id/enable", (*call).enableDestination, writes("event_destinations"), changes("event_destination.enable")},
	{http.MethodPost, "/v2/core/event_destinations/:id/ping", (*call).pingDestination, writes("event_destinations"), acts("event_destination.ping")},
	{http.MethodPost, "/v2/core/event_destinations/:id/roll_secret", (*call).rollSecret, writes("event_destinations"), changes("event_destination.roll_secret")},
	{http.MethodPost, "/v2/core/event_destinations/:id/replay", (*call).startReplay, writes("replays"), acts("replay.create")},
	{http.MethodGet, "/v2/core/event_destinations/:id/replays", (*call).listReplays, reads("replays"), silent},
	{http.MethodGet, "/v2/core/event_destinations/:id/replays/:id", (*call).retrieveReplay, reads("replays"), silent},
	{http.MethodPost, "/v2/core/event_destinations/:id/replays/:id/pause", (*call).pauseReplay, writes("replays"), acts("replay.pause")},
	{http.MethodPost, "/v2/core/event_destinations/:id/replays/:id/resume", (*call).resumeReplay, writes("replays"), acts("replay.resume")},
	{http.MethodPost, "/v2/core/event_destinations/:id/replays/:id/cancel", (*call).cancelReplay, writes("replays"), acts("replay.cancel")},
	{http.MethodGet, publishPath, (*call).listThinEvents, reads("events"), silent},
	{http.MethodPost, publishPath, nil, writes("events"), silent}, // serve has it already
	{http.MethodGet, "/v2/core/events/:id", (*call).retrieveThinEvent, reads("events"), silent},
	{http.MethodGet, "/v2/core/deliveries", (*call).listDeliveries, reads("deliveries"), silent},
	{http.MethodGet, "/v2/core/deliveries/:id", (*call).retrieveDelivery, reads("deliveries"), silent},
	{http.MethodGet, "/v2/core/deliveries/:id/attempts", (*call).listAttempts, reads("deliveries"), silent},
	{http.MethodGet, "/v2/core/audit_log", (*call).listAudit, reads("audit_log"), silent},
	{http.MethodPost, endpointsPath, (*call).createEndpoint, writes("webhook_endpoints"), changes("webhook_endpoint.create")},
	{http.MethodGet, endpointsPath, (*call).listEndpoints, reads("webhook_endpoints"), silent},
	{http.MethodGet, "/v1/webhook_endpoints/:id", (*call).retrieveEndpoint, reads("webhook_endpoints"), silent},
	{http.MethodPost, "/v1/webhook_endpoints/:id", (*call).updateEndpoint, writes("webhook_endpoints"), changes("webhook_endpoint.update")},
	{http.MethodDelete, "/v1/webhook_endpoints/:id", (*call).deleteEndpoint, writes("webhook_endpoints"), changes("webhook_endpoint.delete")},
	{http.MethodGet, "/v1/events", (*call).listSnapshotEvents, reads("events"), silent},
	{http.MethodGet, "/v1/events/:id", (*call).retrieveSnapshotEvent, reads("events"), silent},
	{http.MethodPost, "/v1/events/:id/retry", (*call).retryEvent, writes("deliveries"), acts("event.retry")},
	{http.MethodPost, "/v1/stripecli/sessions", (*call).createSession, writes("stripecli_sessions"), silent},
	{http.MethodPost, "/v2/billing/meter_event_session", (*call).createMeterSession, writes("objects"), silent},
	{http.MethodPost, meterStreamPath, (*call).streamMeterEvents, writes("objects"), silent},
	{http.MethodPost, "/v2/billing/meter_events", (*call).createMeterEvent, writes("objects"), silent},
}

// route finds what is served at the path, and the ids in it.
func (c *call) route() (*endpoint, error) {
	var allowed []string
	for i := range routes {
		args, ok := matchPath(routes[i].path, c.r.URL.Path)
		if !ok {
			continue
		}
		if routes[i].method == c.r.Method {
			c.arg, c.arg2 = args[0], args[1]
			return &routes[i], nil
		}
		allowed = append(allowed, routes[i].method)
	}
	if allowed == nil {
		if handle := c.object(); handle != nil {
			needs := writes("objects")
			if c.r.Method == http.MethodGet {
				needs = reads("objects")
			}
			return &endpoint{handle: handle, needs: needs}, nil
		}
		return nil, fault.NotFoundf("There is nothing at %s %s. Check the path; ids belong between its slashes.", c.r.Method, c.r.URL.Path)
	}
	methods := strings.Join(allowed, ", ")
	c.w.Header().Set("Allow", methods)
	return nil, &methodError{method: c.r.Method, path: c.r.URL.Path, allowed: methods}
}

// matchPath matches a path against a pattern and returns what stood at each
// ":id".
func matchPath(pattern, path string) (args [2]string, ok bool) {
	for i := 0; ; i++ {
		before, after, has := strings.Cut(pattern, ":id")
		if !has {
			return args, pattern == path
		}
		rest, fits := strings.CutPrefix(path, before)
		if !fits {
			return args, false
		}
		args[i], _, _ = strings.Cut(rest, "/")
		if args[i] == "" {
			return args, false
		}
		pattern, path = after, rest[len(args[i]):]
	}
}
