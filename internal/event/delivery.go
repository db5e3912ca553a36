package event

import (
	"crypto/ed25519"
	"time"

	"github.com/waybill-dev/waybill/internal/retry"
)

// State is where a delivery stands.
type State string

// The states of a delivery.
const (
	StatePending   State = "pending"
	StateDelivered State = "delivered"
	StateFailed    State = "failed"
	StateDiscarded State = "discarded"
	// StateDeadLettered is a failed delivery whose event lies in a
	// dead-letter queue.
	StateDeadLettered State = "dead_lettered"
)

// Reasons for a discarded delivery.
const (
	ReasonDisabled = "destination_disabled"
	ReasonDeleted  = "destination_deleted"
)

// Status of a subscription.
type Status uint8

// The statuses of a subscription.
const (
	Enabled  Status = 1
	Disabled Status = 2
	Deleted  Status = 3
	// Held keeps what is accepted until the subscription is enabled: its
	// target is not there yet.
	Held Status = 4
)

// Subscription is what a destination compiles to: which events, how they are
// shaped, where they go, when to try again.
type Subscription struct {
	ID     int64  // stable number, unique in the installation
	Name   string // the id its owner knows: ed_…
	Scope  Scope
	Status Status

	// Kind and Types select: events of this kind whose type is listed; "*"
	// selects all.
	Kind  Kind
	Types []string
	// From is whose: those of its own account alone if it is 0.
	From Origins

	// Bus and Pattern select events of kind OnBus: those on this bus that
	// match the pattern, or all of them where it is nil.
	Bus     int64
	Pattern []byte

	// APIVersion re-labels snapshots for a destination that pinned a version.
	APIVersion string
	// Format wraps the event; Input shapes it instead, unless nil.
	Format Format
	Input  *Input
	// RateLimit bounds how fast deliveries are begun; nil is without a bound.
	RateLimit *RateLimit
	// Ordered makes the deliveries of one object's events follow each other.
	Ordered bool
	// Watched asks for its health to be reported.
	Watched    bool
	Retry      retry.Policy
	DeadLetter *DeadLetter
	Target     Target
}

// Input says how an event on a bus becomes a target's input: at most one of
// Constant, Path and Template is set (see internal/transform).
type Input struct {
	Constant string            `json:"constant,omitempty"` // JSON text
	Path     string            `json:"path,omitempty"`
	Paths    map[string]string `json:"paths,omitempty"`
	Template string            `json:"template,omitempty"`
	RuleARN  string            `json:"-"`
	RuleName string            `json:"-"`
}

// DeadLetter is where a delivery's event goes when no try is left.
type DeadLetter struct {
	Queue     Queue
	RuleARN   string
	TargetARN string
}

// Queue names a queue: by its ARN, because it may not exist (yet).
type Queue struct {
	Scope Scope
	ARN   string
}

// Target says where a subscription sends. Exactly the field that Kind names
// is set.
type Target struct {
	Kind           TargetKind
	Webhook        *WebhookTarget
	Bus            *BusTarget
	EventSource    *SourceTarget
	Queue          *QueueTarget
	Log            *LogTarget
	Archive        *ArchiveTarget
	APIDestination *APIDestinationTarget
	// Unsupported is the ARN of something that Waybill cannot send to.
	Unsupported string
}

// TargetKind names a kind of target.
type TargetKind string

// The kinds of target.
const (
	TargetWebhook        TargetKind = "webhook"         // an HTTP endpoint that gets signed POSTs
	TargetBus            TargetKind = "event_bus"       // another event bus
	TargetEventSource    TargetKind = "event_source"    // a partner event source, by which events come to a bus
	TargetQueue          TargetKind = "queue"           // a queue
	TargetLog            TargetKind = "log_group"       // a log group
	TargetArchive        TargetKind = "archive"         // an archive
	TargetAPIDestination TargetKind = "api_destination" // an HTTP endpoint with a connection's credentials
	TargetUnsupported    TargetKind = "unsupported"
)

// WebhookTarget is an HTTP endpoint, and what is in its requests beside the
// body.
type WebhookTarget struct {
	URL     string
	Secrets []Secret // newest first
	// Stripe, Standard and Ed25519 are the signatures that are sent: Stripe's,
	// and the two of Standard Webhooks. With none of them it is Stripe's.
	Stripe, Standard, Ed25519 bool
	Header                    []Header // the owner's own
	Format                    Format
	Name                      string // of the destination: ed_…
}

// Secret is a signing secret.
type Secret struct {
	Text  string
	Key   ed25519.PrivateKey // nil if it has none
	Until time.Time          // when it ends to sign; zero is never
}

// BusTarget is an event bus, by its ARN.
type BusTarget struct {
	Scope Scope
	ARN   string
}

// SourceTarget is a partner event source by its name, which is unique in
// the installation and a region.
type SourceTarget struct {
	Name   string
	Region string
	ARN    string
}

// QueueTarget is a queue, with the group that messages to a FIFO queue get.
type QueueTarget struct {
	Queue
	GroupID string
}

// LogTarget is a log group, by its ARN.
type LogTarget struct {
	Scope Scope
	ARN   string
}

// ArchiveTarget is an archive, by its number.
type ArchiveTarget struct{ Number int64 }

// APIDestinationTarget is an API destination by its ARN, with what a rule's
// target adds to the request.
type APIDestinationTarget struct {
	Scope      Scope
	ARN        string
	PathValues []string // for the *s of the endpoint's URL
	Header     map[string]string
	Query      map[string]string
}

// Outcome of an attempt. The values are stored.
type Outcome uint8

// The outcomes of an attempt.
const (
	Delivered    Outcome = 1 // the target took it
	FailedRetry  Outcome = 2 // it did not; there is a next try
	FailedFinal  Outcome = 3 // it did not; there is none
	WasDiscarded Outcome = 4 // not tried: the destination was disabled or deleted
	DeadLettered Outcome = 5 // it did not; the event went to the dead-letter queue
)

// Class says in a word why an attempt ended as it did.
type Class string

// The error classes of an attempt; "" is success.
const (
	ClassNone     Class = ""
	ClassStatus   Class = "http_status"       // an answer outside 2xx
	ClassRedirect Class = "redirect"          // 3xx, never followed
	ClassGone     Class = "gone"              // 410, which disables the destination
	ClassTimeout  Class = "timeout"           // the exchange took too long, body included
	ClassDNS      Class = "dns_error"         // the name did not resolve
	ClassConnect  Class = "connection_failed" // refused, reset, unreachable
	ClassTLS      Class = "tls_error"         // handshake or certificate
	ClassBlocked  Class = "address_blocked"   // refused by the guard against private networks
	ClassProtocol Class = "invalid_response"  // not HTTP, headers too large, broken off
	ClassConfig   Class = "invalid_target"    // the target cannot be used as configured
	ClassDiscard  Class = "discarded"         // see Message
	ClassInput    Class = "input_error"       // the event could not be shaped for the target
	ClassNoTarget Class = "no_target"         // the target does not exist
	ClassRefused  Class = "refused"           // the target, inside Waybill, would not take it
)

// Attempt is one try of one delivery. It is appended and never changed.
type Attempt struct {
	Seq          Seq
	Subscription int64
	Scope        Scope
	// Run 0 is the scheduled one; each resend is a run of its own. Those of a
	// replay are negative, and are tried as often as the scheduled one.
	Run int
	// N counts the tries within the run, from 1. 0 is a discard: no try.
	N       int
	Outcome Outcome
	Class   Class
	Status  int // HTTP status, 0 if there was no answer
	Started time.Time
	// FirstByte is the time until the answer's headers, Total until its end.
	FirstByte, Total time.Duration
	// Next is when the next try is due, zero if there is none.
	Next time.Time
	// Message tells a person what happened; "" on success.
	Message string
	// Headers of the answer in the order of their names, and the first
	// 16 KB of its body.
	Headers   []Header
	Body      []byte
	Truncated bool
}

// Header is one header line.
type Header struct{ Name, Value string }

// MaxKeptBody is how much of an answer's body an attempt keeps, in bytes.
const MaxKeptBody = 16 << 10

// Delivery is one event × one subscription, derived from its route, its
// attempts and its retry.
type Delivery struct {
	Seq          Seq
	Subscription int64
	Scope        Scope
	EventID      string
	EventType    string
	EventKind    Kind
	ObjectID     string // of the event
	Created      time.Time
	State        State
	Reason       string    // of a discarded delivery
	Next         time.Time // of a pending one; zero means now
	Attempts     int
	LastStatus   int
	LastClass    Class
	LastAttempt  time.Time // zero if none
}

// ID returns the delivery's id.
func (d *Delivery) ID() string { return DeliveryID(d.Seq, d.Subscription, d.Scope.Live()) }
