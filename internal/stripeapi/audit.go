package stripeapi

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/journal"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// Audit is the record of who changed what.
type Audit interface {
	Record(ctx context.Context, c account.Caller, by *account.Actor, object string) error
	Changes(ctx context.Context, c account.Caller, q account.AuditQuery) (journal.Page[account.AuditEntry], error)
}

// audit says what of a request is recorded.
type audit struct {
	verb string
	// after has it recorded once it is done. Otherwise the store records it
	// together with the change.
	after bool
}

var silent audit

func changes(verb string) audit { return audit{verb: verb} }
func acts(verb string) audit    { return audit{verb, true} }

// maxAgent bounds what is kept of a client's name for itself.
const maxAgent = 200

// begins tells whom a change is made by.
func (c *call) begins(ctx context.Context, a audit) {
	if a.verb == "" {
		return
	}
	agent := c.r.UserAgent()
	agent = strings.ToValidUTF8(agent[:min(len(agent), maxAgent)], "") // PostgreSQL takes nothing else
	ip, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		ip = c.r.RemoteAddr
	}
	c.actor = &account.Actor{Key: c.caller.Key, Hint: c.caller.KeyHint, Verb: a.verb, IP: ip, Request: c.id, UserAgent: agent}
	if !a.after {
		c.r = c.r.WithContext(account.WithActor(ctx, c.actor))
	}
}

// notes keeps the names of the parameters that a change came with.
func (c *call) notes(name string) {
	name, _, _ = strings.Cut(name, "[")
	if c.actor != nil && !slices.Contains(c.actor.Fields, name) {
		c.actor.Fields = append(c.actor.Fields, cutText(name))
	}
}

// noting returns fields that note their names when they are read.
func (c *call) noting(known fields) fields {
	if c.actor == nil {
		return known
	}
	noting := make(fields, len(known))
	for name, read := range known {
		noting[name] = func(s *rawjson.Scanner, path string) error {
			c.notes(name)
			return read(s, path)
		}
	}
	return noting
}

// did records what was done, unless the store has.
func (c *call) did(ctx context.Context, a audit, body []byte) error {
	if !a.after || c.api.audit == nil {
		return nil
	}
	object := c.arg
	if c.arg2 != "" {
		object = c.arg2
	} else if a.verb == "replay.create" {
		var made struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(body, &made) == nil && made.ID != "" {
			object = made.ID
		}
	}
	// It is done, so the client going away must not keep it from being recorded.
	return c.api.audit.Record(context.WithoutCancel(ctx), c.caller, c.actor, object)
}

type auditObject struct {
	Object    string   `json:"object"`
	Created   string   `json:"created"`
	Account   string   `json:"account"`
	Key       *string  `json:"key"`
	KeyHint   *string  `json:"key_hint"`
	Action    string   `json:"action"`
	Target    string   `json:"target"`
	Fields    []string `json:"fields"`
	IP        *string  `json:"ip"`
	Request   *string  `json:"request"`
	UserAgent *string  `json:"user_agent"`
	Livemode  bool     `json:"livemode"`
}

// listAudit lists the changes of an account, newest first.
func (c *call) listAudit() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	object, _, err := q.text("object_id")
	if err != nil {
		return nil, err
	}
	l, err := c.newListing("audit_log", q)
	if err != nil {
		return nil, err
	}
	if err := q.done("limit, object_id, page"); err != nil {
		return nil, err
	}
	reply := pageObject[auditObject]{Data: []auditObject{}}
	if c.api.audit == nil {
		return encode(reply)
	}
	page, err := c.api.audit.Changes(c.r.Context(), c.caller, account.AuditQuery{Object: object, Older: l.at.key, Limit: l.limit})
	if err != nil {
		return nil, err
	}
	for i := range page.Items {
		reply.Data = append(reply.Data, newAuditObject(&page.Items[i], c.caller.AccountID))
	}
	if n := len(page.Items); n > 0 && page.More {
		reply.Next = l.url(cursor{key: page.Items[n-1].Number})
	}
	return encode(reply)
}

func newAuditObject(e *account.AuditEntry, accountID string) auditObject {
	if e.Fields == nil {
		e.Fields = []string{}
	}
	return auditObject{
		Object: "waybill.audit_entry", Created: string(event.AppendTime(nil, e.At.In(time.UTC))), Account: accountID,
		Key: textOrNull(e.Key), KeyHint: textOrNull(e.Hint), Action: e.Verb, Target: e.Object, Fields: e.Fields,
		IP: textOrNull(e.IP), Request: textOrNull(e.Request), UserAgent: textOrNull(e.UserAgent), Livemode: e.Scope.Live(),
	}
}
