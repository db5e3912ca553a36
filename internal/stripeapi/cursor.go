package stripeapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
)

// cursor is a place in a list: the page goes on after the item with these
// numbers, towards older items or towards newer ones.
type cursor struct {
	newer bool
	key   int64 // sequence number, or number of a destination; 0 is the start
	sub   int64 // second key of deliveries
}

// cursors seals cursors into page tokens and opens them. A token holds for one
// account in one mode, one list and one set of filters; elsewhere it is as
// invalid as one that was made up.
type cursors struct{ key [32]byte }

const macLen = 16

// seal returns the token of a cursor.
func (s cursors) seal(scope event.Scope, list, filters string, c cursor) string {
	flags := byte(0)
	if c.newer {
		flags = 1
	}
	token := binary.AppendVarint(binary.AppendVarint([]byte{flags}, c.key), c.sub)
	token = append(token, s.mac(scope, list, filters, token)...)
	return base64.RawURLEncoding.EncodeToString(token)
}

// open returns the cursor inside a token.
func (s cursors) open(scope event.Scope, list, filters, token string) (cursor, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) <= macLen {
		return cursor{}, badCursor()
	}
	body, mac := raw[:len(raw)-macLen], raw[len(raw)-macLen:]
	if !hmac.Equal(mac, s.mac(scope, list, filters, body)) {
		return cursor{}, badCursor()
	}
	c := cursor{newer: body[0] == 1}
	var n, m int
	c.key, n = binary.Varint(body[1:])
	if n <= 0 {
		return cursor{}, badCursor()
	}
	c.sub, m = binary.Varint(body[1+n:])
	if m <= 0 {
		return cursor{}, badCursor()
	}
	return c, nil
}

func (s cursors) mac(scope event.Scope, list, filters string, body []byte) []byte {
	h := hmac.New(sha256.New, s.key[:])
	var head []byte
	head = binary.AppendVarint(head, int64(scope))
	head = binary.AppendUvarint(head, uint64(len(list)))
	head = append(head, list...)
	head = binary.AppendUvarint(head, uint64(len(filters)))
	head = append(head, filters...)
	_, _ = h.Write(head) // a hash never fails
	_, _ = h.Write(body)
	return h.Sum(nil)[:macLen]
}

func badCursor() error {
	return fault.Invalidf("page", "The page token is not valid for this list. Use a token only with the account and the filters it was given for, or start again without one.")
}

// listing is a request for a page of an API v2 list.
type listing struct {
	call  *call
	query *params
	name  string // of the list
	limit int
	// at is where the page begins; paged tells that a token said so.
	at    cursor
	paged bool
}

// The page sizes of API v2 lists.
const (
	v2DefaultLimit = 20
	v2MaxLimit     = 100
)

// tokenActs stands in a page token before the account that the list is of.
const tokenActs = "~"

// newListing takes limit and page from the query.
func (c *call) newListing(name string, q *params) (*listing, error) {
	l := &listing{call: c, query: q, name: name}
	var err error
	if l.limit, err = q.limit(v2DefaultLimit, v2MaxLimit); err != nil {
		return nil, err
	}
	token, ok, err := q.text("page")
	if err != nil {
		return nil, err
	}
	if ok && token != "" {
		// stripe-go sends Stripe-Account and Stripe-Context with the first page
		// alone, so the token tells of it.
		var acting string
		if token, acting, ok = strings.Cut(token, tokenActs); ok && c.acting == "" {
			if c.caller, err = c.api.accounts.Act(c.r.Context(), c.caller, acting); err != nil {
				return nil, err
			}
			c.acting = acting
		}
		if l.at, err = c.api.cursors.open(c.caller.Scope, name, q.filters(), token); err != nil {
			return nil, err
		}
		l.paged = true
	}
	return l, nil
}

func (l *listing) url(at cursor) *string {
	c := l.call
	token := c.api.cursors.seal(c.caller.Scope, l.name, l.query.filters(), at)
	if c.acting != "" {
		token += tokenActs + c.acting
	}
	u := l.query.pageURL(c.r.URL.Path, token)
	return &u
}

// links returns the addresses of the pages beside this one, nil where there is
// none. first and last are the page's own ends, and more tells that the store
// has more in the direction it was read in. A page that was come to from a
// token has the page it came from on the other side.
func (l *listing) links(first, last cursor, more bool) (next, previous *string) {
	first.newer, last.newer = true, false
	if more || l.at.newer {
		next = l.url(last)
	}
	if (l.at.newer && more) || (!l.at.newer && l.paged) {
		previous = l.url(first)
	}
	return next, previous
}
