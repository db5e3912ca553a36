package sqlstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const auditColumns = "scope, at, actor, hint, verb, object, fields, ip, request, user_agent"

func insertAudit(ctx context.Context, c Conn, e *store.AuditEntry) error {
	_, err := c.ExecContext(ctx, "INSERT INTO audit_log ("+auditColumns+") VALUES (?,?,?,?,?,?,?,?,?,?)",
		int64(e.Scope), Millis(e.At), e.Key, e.Hint, e.Verb, e.Object, strings.Join(e.Fields, " "), e.IP, e.Request, e.UserAgent)
	return err
}

// recordChange writes who makes a change, if it is not Waybill itself.
func recordChange(ctx context.Context, c Conn, scope event.Scope, object string, at time.Time) error {
	actor := store.ActorOf(ctx)
	if actor == nil {
		return nil
	}
	return insertAudit(ctx, c, &store.AuditEntry{Scope: scope, At: at, Actor: *actor, Object: object})
}

// Record writes an entry of the audit log.
func (db *DB) Record(ctx context.Context, e *store.AuditEntry) error {
	if err := db.Tx(ctx, func(ctx context.Context, c Conn) error { return insertAudit(ctx, c, e) }); err != nil {
		return fmt.Errorf("record change: %w", err)
	}
	return nil
}

// AuditLog returns a page, newest first.
func (db *DB) AuditLog(ctx context.Context, p store.ListAudit) (store.Page[store.AuditEntry], error) {
	before := p.Older
	if before == 0 {
		before = maxSeq
	}
	query, args := "SELECT number, "+auditColumns+" FROM audit_log WHERE scope = ? AND number < ?", []any{int64(p.Scope), before}
	if p.Object != "" {
		query, args = query+" AND object = ?", append(args, p.Object)
	}
	var all []store.AuditEntry
	err := Each(ctx, db.Read, func(scan func(...any) error) error {
		var e store.AuditEntry
		var at int64
		var fields string
		err := scan(&e.Number, &e.Scope, &at, &e.Key, &e.Hint, &e.Verb, &e.Object, &fields, &e.IP, &e.Request, &e.UserAgent)
		e.At, e.Fields = fromMillis(at), strings.Fields(fields)
		all = append(all, e)
		return err
	}, query+" ORDER BY number DESC LIMIT ?", append(args, p.Limit+1)...)
	if err != nil {
		return store.Page[store.AuditEntry]{}, fmt.Errorf("read audit log: %w", db.ended(ctx, err))
	}
	return page(all, p.Limit, false), nil
}
