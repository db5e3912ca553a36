package account

import (
	"context"

	"github.com/waybill-dev/waybill/internal/store"
)

// Actor is who changes something, and what they set out to do.
type Actor = store.Actor

// AuditEntry says that somebody changed something.
type AuditEntry = store.AuditEntry

// AuditQuery selects entries, newest first.
type AuditQuery struct {
	Object string // the id of what was changed; "" is all
	Older  int64  // than the entry with this number
	Limit  int
}

// WithActor says who makes the changes that are made with the context. The
// store records changes of the configuration in their own transaction.
func WithActor(ctx context.Context, a *Actor) context.Context { return store.WithActor(ctx, a) }

// Record writes what somebody did that is no change of the configuration.
func (s *Service) Record(ctx context.Context, c Caller, by *Actor, object string) error {
	if err := s.store.Record(ctx, &AuditEntry{Scope: c.Scope, At: s.now(), Actor: *by, Object: object}); err != nil {
		return failed("record change", err)
	}
	return nil
}

// Changes returns a page of what was changed in the caller's account and mode.
func (s *Service) Changes(ctx context.Context, c Caller, q AuditQuery) (store.Page[AuditEntry], error) {
	page, err := s.store.AuditLog(ctx, store.ListAudit{Scope: c.Scope, Object: q.Object, Older: q.Older, Limit: q.Limit})
	if err != nil {
		return page, failed("read audit log", err)
	}
	return page, nil
}
