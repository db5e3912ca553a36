package stripeapi

import (
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/journal"
)

// The page sizes of API v1 lists.
const (
	v1DefaultLimit = 10
	v1MaxLimit     = 100
)

func appendView(dst []byte, v journal.View) []byte { return v.AppendFull(dst, v.Pending) }

// appendViews appends a JSON array. The events keep the bytes they were
// accepted with, which encoding/json would not leave as they are.
func appendViews(dst []byte, views []journal.View) []byte {
	dst = append(dst, '[')
	for i, v := range views {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendView(dst, v)
	}
	return append(dst, ']')
}

func (c *call) retrieveThinEvent() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	if err := q.done(""); err != nil {
		return nil, err
	}
	v, err := c.event(event.Thin)
	if err != nil {
		return nil, err
	}
	return appendView(nil, v), nil
}

func (c *call) listThinEvents() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	eq := journal.EventQuery{Kind: event.Thin}
	if eq.Types, err = q.types(false); err != nil {
		return nil, err
	}
	if eq.ObjectID, _, err = q.text("object_id"); err != nil {
		return nil, err
	}
	if eq.CreatedFrom, eq.CreatedTo, err = q.created(time.Millisecond); err != nil {
		return nil, err
	}
	if include := q.list("include"); len(include) > 0 {
		return nil, fault.Invalidf("include", "%q cannot be included; events are always complete. Leave it out.", cutText(include[0]))
	}
	l, err := c.newListing("events", q)
	if err != nil {
		return nil, err
	}
	if err := q.done("created, limit, object_id, page, types"); err != nil {
		return nil, err
	}
	eq.Limit = l.limit
	if l.at.newer {
		eq.Newer = event.Seq(l.at.key)
	} else {
		eq.Older = event.Seq(l.at.key)
	}
	if err := c.permitList(eq.Types); err != nil {
		return nil, err
	}
	page, err := c.api.journal.Events(c.r.Context(), c.caller, eq)
	if err != nil {
		return nil, err
	}
	var next, previous *string
	if n := len(page.Items); n > 0 {
		next, previous = l.links(cursor{key: int64(page.Items[0].Seq)}, cursor{key: int64(page.Items[n-1].Seq)}, page.More)
	}
	dst := appendViews([]byte(`{"data":`), page.Items)
	dst = appendURL(append(dst, `,"next_page_url":`...), next)
	dst = appendURL(append(dst, `,"previous_page_url":`...), previous)
	return append(dst, '}'), nil
}

// appendURL appends an address of our own making, which needs no escapes.
func appendURL(dst []byte, u *string) []byte {
	if u == nil {
		return append(dst, "null"...)
	}
	return append(append(append(dst, '"'), *u...), '"')
}

// retrieves checks the query of a request for one object of API v1, where
// expand is accepted and everything is expanded anyway.
func (c *call) retrieves() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	q.list("expand")
	return q.done("expand")
}

func (c *call) retrieveSnapshotEvent() ([]byte, error) {
	if err := c.retrieves(); err != nil {
		return nil, err
	}
	v, err := c.event(event.Snapshot)
	if err != nil {
		return nil, err
	}
	return appendView(nil, v), nil
}

func (c *call) listSnapshotEvents() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	eq := journal.EventQuery{Kind: event.Snapshot}
	if eq.Types, err = q.types(true); err != nil {
		return nil, err
	}
	typ, one, err := q.text("type")
	switch {
	case err != nil:
		return nil, err
	case one && len(eq.Types) > 0:
		return nil, fault.Invalidf("type", "Send either type or types, not both.")
	case one:
		if err := checkTypeFilter("type", typ, true); err != nil {
			return nil, err
		}
		eq.Types = []string{typ}
	}
	if eq.CreatedFrom, eq.CreatedTo, err = q.created(time.Second); err != nil {
		return nil, err
	}
	success, err := q.flag("delivery_success")
	if err != nil {
		return nil, err
	}
	if success != nil {
		undelivered := !*success
		eq.Undelivered = &undelivered
	}
	if eq.StartingAfter, eq.EndingBefore, err = q.between(); err != nil {
		return nil, err
	}
	if eq.Limit, err = q.limit(v1DefaultLimit, v1MaxLimit); err != nil {
		return nil, err
	}
	q.list("expand")
	if err := q.done("created, delivery_success, ending_before, expand, limit, starting_after, type, types"); err != nil {
		return nil, err
	}
	if err := c.permitList(eq.Types); err != nil {
		return nil, err
	}
	page, err := c.api.journal.Events(c.r.Context(), c.caller, eq)
	if err != nil {
		return nil, err
	}
	dst := []byte(`{"object":"list","url":"/v1/events","has_more":false,"data":`)
	if page.More {
		dst = []byte(`{"object":"list","url":"/v1/events","has_more":true,"data":`)
	}
	return append(appendViews(dst, page.Items), '}'), nil
}

// retryEvent is what stripe events resend calls. It takes events of both kinds.
func (c *call) retryEvent() ([]byte, error) {
	form, err := c.readForm()
	if err != nil {
		return nil, err
	}
	endpoint, _, err := form.text("webhook_endpoint")
	if err != nil {
		return nil, err
	}
	owner, _, err := form.text("account")
	if err != nil {
		return nil, err
	}
	if owner != "" { // the account that the event is of
		if _, err := c.api.accounts.Act(c.r.Context(), c.caller, owner); err != nil {
			return nil, err
		}
	}
	if _, err := form.flag("for_stripecli"); err != nil {
		return nil, err
	}
	form.list("expand")
	if err := form.done("account, expand, for_stripecli, webhook_endpoint"); err != nil {
		return nil, err
	}
	v, err := c.api.journal.Resend(c.r.Context(), c.caller, c.arg, endpoint)
	if err != nil {
		return nil, err
	}
	return appendView(nil, v), nil
}
