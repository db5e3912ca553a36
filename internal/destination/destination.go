// Package destination owns event destinations: what may be configured, their
// life cycle, their signing secrets, and what the engine makes of them.
//
//	Create ──► enabled ◄──Enable── disabled (reason user, endpoint_gone)
//	              │  ──Disable/410──►  │
//	              └──────► deleted ◄───┘      (no way back)
//
// A disabled destination still has the events it selects recorded, as
// discarded. A deleted one is found by nothing but [Service.Load] and the
// listing of old deliveries; its secrets are gone.
//
// Concurrent changes of one destination never lose each other: a change that
// finds the destination changed meanwhile reads it again and is applied again.
// A request with an idempotency key is recorded in the transaction of its
// change. Sent again, it changes nothing more and returns the object as it is
// now; a request that failed leaves no record and runs again.
//
// Every verb returns a *fault.Error for what a caller can act on, including
// fault.Unavailable while the store cannot work. Anything else is our own
// failure. A verb that returns without error has committed; whether the engine
// could be told (Engine.Refresh) is not part of that, because the engine
// checks in each of its own transactions that it knows the latest
// configuration and reloads if not.
package destination

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
)

// Destination is an event destination as its owner sees it.
type Destination struct {
	Number      int64 // the subscription's number
	ID          string
	Name        string
	Description string // "" is none
	Type        string // one of the Type constants
	Live        bool
	Payload     event.Kind
	// EnabledEvents are exact event types, or "*" alone (snapshot only).
	EnabledEvents []string
	// EventsFrom are today's words (@self, @accounts, …), whatever words the
	// client used. The account's own events go to destinations that name
	// @self.
	EventsFrom []string
	Metadata   map[string]string // never nil
	// SnapshotAPIVersion is the version that snapshots are labelled with; ""
	// is the event's own.
	SnapshotAPIVersion string
	Status             event.Status
	DisabledReason     string // one of the Reason constants, "" if enabled
	Created, Updated   time.Time

	URL string // of a webhook endpoint
	// EventBridge is set for the type amazon_eventbridge.
	EventBridge *EventBridge
	// SigningSecret is set by Create, RollSecret and their idempotent replays,
	// never else.
	SigningSecret string
	// PreviousSecretsEnd is when the last secret ends that was replaced and
	// may still sign; zero if there is none.
	PreviousSecretsEnd time.Time
	// Settings are what Waybill adds to a webhook endpoint.
	Settings Settings
	// Health is set for a webhook endpoint by Retrieve and List.
	Health Health
	// RetrySchedule holds the waits between tries in seconds: nil is the
	// installation's default for the mode, empty is no retries.
	RetrySchedule []int64
}

// The types of destination.
const (
	TypeWebhookEndpoint   = "webhook_endpoint"
	TypeAmazonEventBridge = "amazon_eventbridge"
	TypeAzureEventGrid    = "azure_event_grid"
)

// Why a destination is disabled.
const (
	ReasonUser = "user"          // by Disable
	ReasonGone = "endpoint_gone" // the endpoint answered 410 Gone
	// ReasonFailing is that nothing was delivered for Options.DisableAfter.
	ReasonFailing = "webhook_failing"
)

// PingType is the type of the event that Ping publishes.
const PingType = "v2.core.event_destination.ping"

// Store is the part of the store that destinations need. Its verbs are those
// of store.Registry and store.History.
type Store interface {
	CreateDestination(ctx context.Context, d *store.Destination, idem *store.Idempotency) error
	UpdateDestination(ctx context.Context, d *store.Destination, idem *store.Idempotency) error
	Destination(ctx context.Context, scope event.Scope, id string) (*store.Destination, error)
	DestinationsByNumber(ctx context.Context, scope event.Scope, numbers []int64) (map[int64]*store.Destination, error)
	ListDestinations(ctx context.Context, p store.ListDestinations) (store.Page[*store.Destination], error)
	ChangedDestinations(ctx context.Context, since int64) ([]*store.Destination, int64, error)
	Idempotent(ctx context.Context, scope event.Scope, generation int, key string, now time.Time) (*store.Idempotency, error)
	store.DestinationHealth
}

// Engine is the part of the engine that destinations need.
type Engine interface {
	// Refresh makes committed changes hold before it returns.
	Refresh(ctx context.Context) error
	// Publish returns one event per draft once they are durable. With an
	// idempotency record that was seen before it returns the events of then,
	// or store.ErrIdempotencyMismatch.
	Publish(ctx context.Context, p engine.Publish) ([]*event.Event, error)
	// Vitals returns how deliveries to webhook endpoints went in this process;
	// Succeeded tells it of one that another process made.
	Vitals() []engine.Vital
	Succeeded(subscription int64, at time.Time)
}

// Options is what a Service is made of.
type Options struct {
	Store  Store
	Engine Engine // or later, by SetEngine
	Key    seal.Key
	Guard  netguard.Policy
	// Retry is the default schedule of a mode. nil is retry.Live and
	// retry.Sandbox.
	Retry func(live bool) retry.Policy
	// Sources makes the type amazon_eventbridge possible; Partner is the name
	// of its sources' partner, as in aws.partner/<Partner>/….
	Sources Sources
	Partner string
	// DisableAfter is how long a webhook endpoint may fail before it is
	// disabled; 0 is for ever.
	DisableAfter time.Duration
	Now          func() time.Time // nil is time.Now
}

// Service owns all destinations of an installation. It is safe for concurrent
// use.
type Service struct {
	store  Store
	engine Engine
	key    seal.Key
	guard  netguard.Policy
	retry  func(live bool) retry.Policy
	now    func() time.Time

	sources   Sources
	partner   string
	followers followers
	overlaps  overlaps

	disableAfter time.Duration
	watched      time.Time // when WatchHealth began the last time
}

// New returns a Service.
func New(o Options) *Service {
	s := &Service{
		store: o.Store, engine: o.Engine, key: o.Key, guard: o.Guard, retry: o.Retry, now: o.Now,
		sources: o.Sources, partner: o.Partner, disableAfter: o.DisableAfter,
	}
	if s.retry == nil {
		s.retry = func(live bool) retry.Policy {
			if live {
				return retry.Live()
			}
			return retry.Sandbox()
		}
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// SetEngine completes a Service that was made before its engine, which needs
// Load. It must be called before anything but Load is.
func (s *Service) SetEngine(e Engine) { s.engine = e }

// CreateParams describes a new destination, as the client sent it.
type CreateParams struct {
	Name          string
	Type          string
	EventPayload  string // thin or snapshot
	Description   string
	EnabledEvents []string
	EventsFrom    []string // empty is the account's own
	Metadata      map[string]string
	// SnapshotAPIVersion is for snapshots only; "" is the event's own.
	SnapshotAPIVersion string
	// RetrySchedule holds seconds: nil is the default, empty no retries.
	RetrySchedule []int64
	Settings      SettingsParams // of a webhook endpoint

	// The one that Type names; the others must be nil.
	WebhookEndpoint   *WebhookEndpoint
	AmazonEventBridge *AmazonEventBridge
	AzureEventGrid    *AzureEventGrid
}

// WebhookEndpoint says where an HTTP endpoint is.
type WebhookEndpoint struct{ URL string }

// AmazonEventBridge says where a partner event source goes.
type AmazonEventBridge struct{ AWSAccountID, AWSRegion string }

// AzureEventGrid says where a partner topic goes.
type AzureEventGrid struct{ AzureRegion, AzureResourceGroupName, AzureSubscriptionID string }

// UpdateParams changes a destination. What is nil stays as it is.
type UpdateParams struct {
	Name          *string
	Description   *string  // "" clears it
	EnabledEvents []string // must not be empty if it is not nil
	// Metadata is merged key by key; a nil value removes the key.
	Metadata map[string]*string
	// ClearMetadata removes all keys that there were.
	ClearMetadata bool
	URL           *string // webhook_endpoint.url
	// Disabled disables or enables, as those verbs do.
	Disabled *bool
	// RetrySchedule points to the new schedule; to a nil slice for the
	// default, to an empty one for no retries.
	RetrySchedule *[]int64
	Settings      SettingsParams
}

// ListParams asks for a page, newest first.
type ListParams struct {
	Limit int // 0 is DefaultLimit, at most MaxLimit
	// Older asks for those before this number, Newer for those after it, the
	// page being adjacent to the cursor. 0 is none.
	Older, Newer int64
}

// Bounds of ListParams.Limit.
const (
	DefaultLimit = 20
	MaxLimit     = 100
)
