// Package store owns the contract with durable storage: domain verbs with a
// parameter struct each, and the errors they return. Drivers live in folders
// of their own below this one and pass the suite in storetest.
//
// What is promised, by every driver:
//
//   - A verb that returns nil has committed and fsynced. A verb that returns an
//     error has changed nothing, except where the outcome of a commit could not
//     be learned (ErrUnavailable); every verb can then simply be called again.
//   - Reads see everything committed before they began.
//   - Only the engine's committer calls Commit, from one goroutine a lane.
//
// An I/O failure (full disk, lost database) is ErrUnavailable. Nothing has to
// be reopened: the verb works again when the cause is gone.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// The errors a caller decides by. Drivers wrap them.
var (
	// ErrNotFound: there is no such object in this scope.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the object changed since it was read; read it again.
	ErrConflict = errors.New("changed meanwhile")
	// ErrExists: another object has this id, key hash or name.
	ErrExists = errors.New("exists already")
	// ErrStaleRoutes: the configuration changed since the batch was routed.
	// Nothing was written; reload the configuration and route again.
	ErrStaleRoutes = errors.New("routed by an old configuration")
	// ErrFenced: another process owns the lane now. The committer must stop.
	ErrFenced = errors.New("lane is owned by another process")
	// ErrUnavailable: the database cannot be written or read right now.
	ErrUnavailable = errors.New("store unavailable")
	// ErrUnknown: the connection was lost during a commit; see Resolve. It is
	// an ErrUnavailable too.
	ErrUnknown = fmt.Errorf("%w: it is not known whether the batch was committed", ErrUnavailable)
	// ErrIdempotencyMismatch: the idempotency key was used with other
	// parameters.
	ErrIdempotencyMismatch = errors.New("idempotency key was used with different parameters")
	// ErrEventMismatch: the client's event id is taken by an event with other
	// content.
	ErrEventMismatch = errors.New("event id was used with different content")
)

// Store is everything a driver provides.
type Store interface {
	Log
	History
	Retention
	Registry
	Resources
	AWSKeys
	Audit
	Queues
	Shelves
	DestinationHealth
	Objects
	// Ping answers nil when the database can be read.
	Ping(ctx context.Context) error
	Close() error
}

// Log is the engine's side: append events and attempts, move retries, and
// find what is undone.
type Log interface {
	// Now is the time that all processes at this database agree on. Whatever
	// is compared with what another one wrote is measured by it.
	Now() time.Time
	// OpenLane takes a lane for this process: one that it had in an earlier
	// life, or one that nobody has. Its epoch is raised, which fences off
	// every earlier owner.
	OpenLane(ctx context.Context) (LaneState, error)
	// Tend keeps what this process owns, and takes over the lanes of
	// processes that are gone: what they left undone has a retry row
	// afterwards. It is to be called every TendEvery. ErrFenced: this process
	// was taken for gone itself.
	Tend(ctx context.Context) (Tenure, error)
	// Hints yields when something is worth a call of Tend before its time; nil
	// if the store gives none.
	Hints() <-chan struct{}
	// Resolve finds out what became of a batch whose Commit returned
	// ErrUnknown. If it was not committed it never will be. The lane has
	// another epoch from then on.
	Resolve(ctx context.Context, b *Batch) (committed bool, epoch int64, err error)
	// ReleaseLanes gives up everything this process owns, so that others need
	// not wait for its lease to end.
	ReleaseLanes(ctx context.Context) error
	// Commit writes one batch in one transaction: all of it or none.
	// Submissions that turn out to be repeats or conflicts are left out and
	// say so in their own fields; the rest of the batch still commits.
	Commit(ctx context.Context, b *Batch) error
	// Probe answers nil if events could be committed now. It is for finding
	// out when a store that failed works again.
	Probe(ctx context.Context) error
	// EventsAfter returns a stretch of the log in sequence order.
	EventsAfter(ctx context.Context, p AfterParams) ([]*event.Event, error)
	// DueRetries returns a subscription's waiting deliveries that are due,
	// earliest first, with their events.
	DueRetries(ctx context.Context, p DueParams) ([]DueRetry, error)
	// NextRetry returns when the subscription's first delivery that is due
	// after the given time falls due; zero if there is none.
	NextRetry(ctx context.Context, subscription int64, after time.Time) (time.Time, error)
	// CountDue counts a subscription's waiting deliveries that are due, up to
	// the limit.
	CountDue(ctx context.Context, subscription int64, before time.Time, limit int) (int, error)
	// WaitingSubscriptions returns, for each subscription that has retry
	// rows, when the first is due and how many there are.
	WaitingSubscriptions(ctx context.Context) ([]Waiting, error)
}

// LaneState is what a new owner of a lane finds.
type LaneState struct {
	Lane  int
	Epoch int64
	// Watermark: every event at or below it is settled (each of its routes
	// has a final attempt or a retry row).
	Watermark event.Seq
	// Last is the highest sequence number in the lane; 0 if none.
	Last event.Seq
}

// TendEvery is how often Tend is to be called.
const TendEvery = 500 * time.Millisecond

// Tenure is what a process holds for the time being.
type Tenure struct {
	// Leader is set on one process at a time: the one that looks after what is
	// done once for all.
	Leader bool
	// Until is when what this process owns may be given to others, by the
	// store's clock (Now); zero is never.
	Until time.Time
	// Adopted tells that lanes were taken over: there may be more in the retry
	// table than this process knows of.
	Adopted bool
	// ConfigVersion is the current one.
	ConfigVersion int64
	// Nodes is how many processes work at this database, this one included.
	Nodes int
}

// Batch is what one transaction writes.
type Batch struct {
	Lane  int
	Epoch int64
	// ConfigVersion is the version the submissions were routed by. It is
	// checked only if there are submissions.
	ConfigVersion int64
	Watermark     event.Seq
	Submissions   []*Submission
	Attempts      []*event.Attempt
	// RetryPut inserts or replaces; RetryDelete removes.
	RetryPut    []Retry
	RetryDelete []RetryKey
	// Deposits are what deliveries leave in queues, log groups and archives.
	// Those into one that was deleted meanwhile are dropped with it.
	Deposits []*event.Deposit
	Now      time.Time
	// Number is set by Commit, for Resolve.
	Number int64
}

// Submission is one publish request: all of its events or none.
type Submission struct {
	// Events are written with a retry, due at once, for each route with
	// disposition Parked.
	Events []*event.Event
	// Retries are written with the events: manual resends.
	Retries []Retry
	// Keys are the ids that the client chose, by index into Events.
	Keys []EventKey
	// Idempotency, if set, is recorded with the events.
	Idempotency *Idempotency

	// Set by Commit. Err is ErrEventMismatch or ErrIdempotencyMismatch: none
	// of the submission was written. Replayed means that the idempotency key
	// was seen before, and none of it was written either: Result is then the
	// recorded one. Existing maps indexes of Events to the sequence numbers
	// of the events that had their ids already (0 for the followers of such a
	// one); those were not written.
	Err      error
	Replayed bool
	Result   []byte
	Existing map[int]event.Seq
}

// EventKey is an id chosen by a client.
type EventKey struct {
	Index int // into Submission.Events
	// Followers is how many of the events right after it are written only
	// with it: its thin twin, and their copies for accounts above.
	Followers int
	ID        string
	Hash      [32]byte // of the compacted input
}

// Idempotency is a client's idempotency key and what its request led to.
// Within a scope and generation a key belongs to one request.
type Idempotency struct {
	Scope event.Scope
	// Generation of the API: 1 or 2.
	Generation int
	Key        string
	Hash       [32]byte // of the request: method, path and body
	// Result names what the request made or changed, for the surface to
	// render again. It must not hold secrets.
	Result []byte
	// Created and earlier than Now-IdempotencyWindow means forgotten.
	Created time.Time
}

// IdempotencyWindow is how long an idempotency key is remembered.
const IdempotencyWindow = 30 * 24 * time.Hour

// RetryKey names a waiting delivery.
type RetryKey struct {
	Scope        event.Scope
	Seq          event.Seq
	Subscription int64
	Run          int
}

// Retry is a delivery that waits for its next try.
type Retry struct {
	RetryKey
	N    int // tries made so far in this run
	Next time.Time
	// Group of those that follow each other; 0 is none. It is for life.
	Group int64
}

// DueRetry is a waiting delivery with what is needed to send it.
type DueRetry struct {
	Retry
	Event *event.Event
}

// Waiting sums up a subscription's retry rows.
type Waiting struct {
	Subscription int64
	Count        int
	First        time.Time
}

// AfterParams asks for a stretch of a lane: After < seq <= UpTo.
type AfterParams struct {
	Lane        int
	After, UpTo event.Seq
	Limit       int
	MaxBytes    int // stop after this many bytes of payload; 0 is no bound
	// Skim leaves out the payloads, and Bus and Hops.
	Skim bool
	// Undone leaves of each event's Routes only those to be dispatched that
	// are neither attempted nor in the retry table; an event may then have
	// none. Without it Routes are as accepted.
	Undone bool
}

// DueParams asks for due retries.
type DueParams struct {
	Subscription int64
	Before       time.Time // due at or before
	// Ordered leaves out what has to wait for another of its group, on any
	// node: only the one accepted first is returned.
	Ordered bool
	// Group, with Ordered, asks for one of this group alone, whatever After and
	// AfterSeq are.
	Group int64
	// After and AfterSeq are where an earlier read ended: what comes before
	// them is left out, the delivery itself is not.
	After    time.Time
	AfterSeq event.Seq
	Limit    int
	MaxBytes int // stop after this many bytes of payload, at least one row
}

// History is the read side of events and deliveries.
type History interface {
	// Event finds an event by its id, Waybill's own or a client's.
	Event(ctx context.Context, scope event.Scope, id string) (*event.Event, error)
	// EventsBySeq returns those that exist in the scope, in the order asked.
	EventsBySeq(ctx context.Context, scope event.Scope, seqs []event.Seq) ([]*event.Event, error)
	// ListEvents returns a page, newest first (or oldest first after
	// Before…; see the fields).
	ListEvents(ctx context.Context, p ListEvents) (Page[*event.Event], error)
	// ListDeliveries returns a page, newest event first.
	ListDeliveries(ctx context.Context, p ListDeliveries) (Page[*event.Delivery], error)
	// ScanDeliveries looks through a stretch of the log, oldest event first,
	// for the deliveries of one subscription. upTo is how far it came; it is
	// p.UpTo if nothing is left of the stretch. Their EventID is not set.
	ScanDeliveries(ctx context.Context, p ScanDeliveries) (found []*event.Delivery, upTo event.Seq, err error)
	// DeliveriesOf returns all deliveries of some events, without their event
	// ids; events that do not exist in the scope have none.
	DeliveriesOf(ctx context.Context, scope event.Scope, seqs []event.Seq) ([]*event.Delivery, error)
	// Attempts returns the attempts of one delivery in the order they were
	// made.
	Attempts(ctx context.Context, scope event.Scope, seq event.Seq, subscription int64) ([]*event.Attempt, error)
	// Idempotent returns the record of a key, or ErrNotFound.
	Idempotent(ctx context.Context, scope event.Scope, generation int, key string, now time.Time) (*Idempotency, error)
	// Backlog sums up what waits, for health and metrics.
	Backlog(ctx context.Context) (Backlog, error)
}

// Backlog is what waits in the store.
type Backlog struct {
	Retries int
}

// Page is part of a list.
type Page[T any] struct {
	Items []T
	// More tells that there are more items in the direction of the listing.
	More bool
}

// ListEvents selects events of one scope and kind.
type ListEvents struct {
	Scope event.Scope
	Kind  event.Kind
	// Types, if any, are exact names, or prefixes where they end in "*".
	Types    []string
	ObjectID string
	// Created bounds; zero is unbounded. Both inclusive.
	CreatedFrom, CreatedTo time.Time
	// Undelivered, if set, selects events that have (true) or lack (false)
	// deliveries that are pending, failed or dead-lettered.
	Undelivered *bool
	// Older asks for events before this one, Newer for those after it; the
	// page is newest first in either case, and adjacent to the cursor.
	Older, Newer event.Seq
	Limit        int
}

// ListDeliveries selects deliveries of one scope.
type ListDeliveries struct {
	Scope        event.Scope
	Subscription int64     // 0 for all
	Seq          event.Seq // 0 for all
	State        event.State
	// Created bounds of the event; zero is unbounded. Both inclusive.
	CreatedFrom, CreatedTo time.Time
	// Older asks for deliveries that come after this one in the listing.
	Older    event.Seq
	OlderSub int64
	Limit    int
}

// ScanDeliveries selects deliveries of one subscription whose event has
// After < seq <= UpTo.
type ScanDeliveries struct {
	Scope        event.Scope
	Subscription int64
	After, UpTo  event.Seq
	// Types, if any, are exact names, or prefixes where they end in "*".
	Types []string
	// Created bounds of the event; zero is unbounded. Both inclusive.
	CreatedFrom, CreatedTo time.Time
	Limit                  int // events to look at
}
