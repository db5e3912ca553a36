package stripeapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/fault"
)

// params are the parameters of a query or of a form, in the order they came.
// Each is taken by name; what nobody took by the end is unknown.
type params struct {
	all []param
}

type param struct {
	key, value string
	taken      bool
}

// parseParams splits a query or a form. Unlike url.ParseQuery it refuses bad
// escapes and bad UTF-8 by the parameter's name, and keeps the order.
func parseParams(raw string) (*params, error) {
	p := new(params)
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		if err != nil || !utf8.ValidString(key) {
			return nil, fault.Invalidf("", "A parameter's name is not encoded well: %q. Percent-encode it as UTF-8.", cutText(k))
		}
		value, err := url.QueryUnescape(v)
		if err != nil || !utf8.ValidString(value) {
			return nil, fault.Invalidf(cutText(key), "The value is not encoded well. Percent-encode it as UTF-8.")
		}
		p.all = append(p.all, param{key: key, value: value})
	}
	return p, nil
}

// cutText bounds what an error repeats of a request.
func cutText(s string) string {
	const most = 64
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// query parses the query of the request.
func (c *call) query() (*params, error) { return parseParams(c.r.URL.RawQuery) }

// noQuery refuses parameters in the query of a request that has a body.
func (c *call) noQuery() error {
	p, err := c.query()
	if err != nil {
		return err
	}
	if len(p.all) > 0 {
		return fault.Invalidf(cutText(p.all[0].key), "A %s request takes its parameters in the body. Move it there.", c.r.Method)
	}
	return nil
}

// text takes a parameter that may be given once.
func (p *params) text(name string) (value string, ok bool, err error) {
	for i := range p.all {
		if p.all[i].key != name {
			continue
		}
		if ok {
			return "", false, fault.Invalidf(name, "The parameter is there more than once. Send it once.")
		}
		p.all[i].taken = true
		value, ok = p.all[i].value, true
	}
	return value, ok, nil
}

// list takes an array in any of its spellings: name=a&name=b as the CLI sends
// it, name[]=a as curl users write it, name[0]=a as the SDKs do.
func (p *params) list(name string) []string {
	var values []string
	for i := range p.all {
		if base, ok := arrayName(p.all[i].key); ok && base == name {
			p.all[i].taken = true
			values = append(values, p.all[i].value)
		}
	}
	return values
}

// arrayName strips an index from a key. ok is false for what is no array: a
// key with something else in brackets.
func arrayName(key string) (base string, ok bool) {
	open := strings.IndexByte(key, '[')
	if open < 0 {
		return key, true
	}
	index, closed := strings.CutSuffix(key[open+1:], "]")
	if !closed {
		return "", false
	}
	for i := range len(index) {
		if index[i] < '0' || index[i] > '9' {
			return "", false
		}
	}
	return key[:open], true
}

// limit takes the page size.
func (p *params) limit(standard, most int) (int, error) {
	text, ok, err := p.text("limit")
	if err != nil || !ok {
		return standard, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fault.Invalidf("limit", "The limit must be a whole number from 1 to %d.", most)
	}
	return n, nil
}

// flag takes a boolean; nil is not given.
func (p *params) flag(name string) (*bool, error) {
	text, ok, err := p.text(name)
	if err != nil || !ok {
		return nil, err
	}
	switch text {
	case "true":
		v := true
		return &v, nil
	case "false":
		return new(bool), nil
	}
	return nil, fault.Invalidf(name, "The value must be true or false.")
}

// maxTypes is how many event types a list can be narrowed to.
const maxTypes = 20

// types takes a list of event types.
func (p *params) types(wildcards bool) ([]string, error) {
	types := p.list("types")
	if len(types) > maxTypes {
		return nil, fault.Invalidf("types", "There are %d types; at most %d are possible.", len(types), maxTypes)
	}
	for i, t := range types {
		if err := checkTypeFilter("types["+strconv.Itoa(i)+"]", t, wildcards); err != nil {
			return nil, err
		}
	}
	return types, nil
}

func checkTypeFilter(name, t string, wildcards bool) error {
	exact := t
	if wildcards {
		exact = strings.TrimSuffix(t, "*")
	}
	if !validType(exact) && (exact != "" || t != "*") {
		if wildcards {
			return fault.Invalidf(name, "%q is not an event type. Send one like customer.created, customer.* or *.", cutText(t))
		}
		return fault.Invalidf(name, "%q is not an event type. Send one like v1.customer.created, without a wildcard.", cutText(t))
	}
	return nil
}

// maxUnix is the last second of the year 9999.
const maxUnix = 253402300799

// created takes created as one moment or as a range of gt, gte, lt and lte.
// Each bound is Unix seconds or RFC 3339. The result is inclusive. step is how
// finely the listed objects show their time: a second in API v1, where
// created[lte]=5 includes everything that shows 5, a millisecond in v2.
func (p *params) created(step time.Duration) (from, to time.Time, err error) {
	for _, bound := range [...]string{"", "[gt]", "[gte]", "[lt]", "[lte]"} {
		name := "created" + bound
		text, ok, err := p.text(name)
		if err != nil {
			return from, to, err
		}
		if !ok {
			continue
		}
		t, whole, err := parseMoment(name, text)
		if err != nil {
			return from, to, err
		}
		step := step
		if bound == "" && whole {
			step = time.Second
		}
		floor := t.Truncate(step)
		ceil := floor
		if floor.Before(t) {
			ceil = floor.Add(step)
		}
		switch bound {
		case "":
			from, to = ceil, floor.Add(step-time.Millisecond)
		case "[gt]":
			from = later(from, floor.Add(step))
		case "[gte]":
			from = later(from, ceil)
		case "[lt]":
			to = earlier(to, ceil.Add(-time.Millisecond))
		case "[lte]":
			to = earlier(to, floor.Add(step-time.Millisecond))
		}
		if bound == "" && p.anyRange() {
			return from, to, fault.Invalidf(name, "Send either one moment or a range, not both.")
		}
	}
	return from, to, nil
}

func (p *params) anyRange() bool {
	return slices.ContainsFunc(p.all, func(q param) bool { return strings.HasPrefix(q.key, "created[") })
}

func later(a, b time.Time) time.Time {
	if a.IsZero() || b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// parseMoment parses Unix seconds (whole) or RFC 3339.
func parseMoment(name, text string) (t time.Time, whole bool, err error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n <= maxUnix {
		return time.Unix(n, 0).UTC(), true, nil
	}
	t, err = time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return t, false, fault.Invalidf(name, "%q is not a time. Send Unix seconds, or RFC 3339 like 2026-01-31T12:00:00Z.", cutText(text))
	}
	return t.UTC(), false, nil
}

// done refuses the first parameter that nothing took.
func (p *params) done(known string) error {
	for i := range p.all {
		if p.all[i].taken {
			continue
		}
		if known == "" {
			return fault.Invalidf(cutText(p.all[i].key), "This parameter is unknown; none are possible here. Leave it out.")
		}
		return fault.Invalidf(cutText(p.all[i].key), "This parameter is unknown here. Those possible are: %s.", known)
	}
	return nil
}

// filters is everything a page token is bound to: all parameters but those that
// may change from page to page, whatever their spelling and order.
func (p *params) filters() string {
	var lines []string
	for i := range p.all {
		base, ok := arrayName(p.all[i].key)
		if !ok {
			base = p.all[i].key
		}
		switch base {
		case "page", "limit", "include":
			continue
		}
		lines = append(lines, strconv.Quote(base)+"="+strconv.Quote(p.all[i].value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "&")
}

// pageURL is the address of another page of the list at path. It is relative,
// because stripe-go refuses an absolute one, and carries every parameter,
// because the SDKs add none.
func (p *params) pageURL(path, token string) string {
	b := []byte(path)
	sep := byte('?')
	for i := range p.all {
		if p.all[i].key == "page" {
			continue
		}
		b = append(append(b, sep), url.QueryEscape(p.all[i].key)...)
		b = append(append(b, '='), url.QueryEscape(p.all[i].value)...)
		sep = '&'
	}
	return string(append(append(append(b, sep), "page="...), token...))
}
