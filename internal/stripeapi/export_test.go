package stripeapi

import (
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
)

// Decode decodes the body of a publish request in test mode.
func Decode(body []byte, now time.Time, maxEvent int) (drafts []*event.Draft, batch bool, err error) {
	d := decoder{now: now, maxEvent: maxEvent, index: -1}
	drafts, err = d.decode(body)
	return drafts, d.batch, err
}

// AppendPublished encodes the answer to a publish request.
var AppendPublished = appendPublished

// SealCursor and OpenCursor are page tokens.
func SealCursor(key [32]byte, scope event.Scope, list, filters string, newer bool, at, sub int64) string {
	return cursors{key}.seal(scope, list, filters, cursor{newer, at, sub})
}

func OpenCursor(key [32]byte, scope event.Scope, list, filters, token string) (newer bool, at, sub int64, err error) {
	c, err := cursors{key}.open(scope, list, filters, token)
	return c.newer, c.key, c.sub, err
}

// Query is a parsed query.
type Query struct{ p *params }

func ParseQuery(raw string) (Query, error) {
	p, err := parseParams(raw)
	return Query{p}, err
}

func (q Query) Len() int                                    { return len(q.p.all) }
func (q Query) Text(name string) (string, bool, error)      { return q.p.text(name) }
func (q Query) List(name string) []string                   { return q.p.list(name) }
func (q Query) Done() error                                 { return q.p.done("") }
func (q Query) Filters() string                             { return q.p.filters() }
func (q Query) PageURL(path, token string) string           { return q.p.pageURL(path, token) }
func (q Query) Created() (from, to time.Time, err error)    { return q.p.created(time.Millisecond) }
func (q Query) Metadata() (map[string]*string, bool, error) { return q.p.metadata() }
func (q Query) Limit() (int, error)                         { return q.p.limit(20, 100) }

// Routes lists what is served, as "GET /v1/events/:id".
func Routes() []string {
	var list []string
	for _, r := range routes {
		list = append(list, r.method+" "+r.path)
	}
	return list
}

// Needs is what a restricted key needs at a route, as resource and access.
func Needs(route string) (resource string, access account.Access) {
	for _, r := range routes {
		if r.method+" "+r.path == route {
			return r.needs.resource, r.needs.access
		}
	}
	return "", ""
}
