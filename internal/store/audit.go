package store

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// Audit is the record of who changed what.
type Audit interface {
	// Record writes an entry. What changes the configuration with an Actor in
	// its context has written one already, in its own transaction.
	Record(ctx context.Context, e *AuditEntry) error
	// AuditLog returns a page, newest first.
	AuditLog(ctx context.Context, p ListAudit) (Page[AuditEntry], error)
}

// AuditEntry says that somebody changed something.
type AuditEntry struct {
	Number int64 // rises
	Scope  event.Scope
	At     time.Time
	Actor
	// Object is the id of what was changed.
	Object string
}

// Actor is who changes something, and what they set out to do.
type Actor struct {
	// Key is the id of the API key, Hint its visible part. "" is the command
	// line.
	Key, Hint string
	// Verb is what was done, such as event_destination.update.
	Verb string
	// Fields are the names of what was given. Values may be secret.
	Fields    []string
	IP        string
	Request   string // req_…
	UserAgent string
}

// ListAudit selects entries of one scope.
type ListAudit struct {
	Scope event.Scope
	// Object asks for those about one object; "" for all.
	Object string
	Older  int64 // than this number; 0 is no bound
	Limit  int
}

type actorKey struct{}

// WithActor says who makes the changes that are made with the context.
func WithActor(ctx context.Context, a *Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf returns who makes a change, or nil for Waybill itself.
func ActorOf(ctx context.Context) *Actor {
	a, _ := ctx.Value(actorKey{}).(*Actor)
	return a
}
