package apidestination

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

// request is one request, but for a token.
type request struct {
	origin *wire.Origin
	head   string // up to what follows
	token  string
	body   []byte
}

// AppendHead implements wire.Head.
func (q *request) AppendHead(dst, body []byte, _ time.Time) []byte {
	dst = append(dst, q.head...)
	if q.token != "" {
		dst = append(dst, "Authorization: Bearer "...)
		dst = append(dst, q.token...)
		dst = append(dst, "\r\n"...)
	}
	if body != nil {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(body)), 10)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// prepared is the part of requests that is the same for all events.
type prepared struct {
	of     Endpoint
	origin *wire.Origin
	head   string
}

// fits tells whether p was made of this very endpoint. One that was read anew
// has other slices, even if nothing has changed.
func (p *prepared) fits(e *Endpoint) bool {
	return p != nil && p.of.URL == e.URL && p.of.Method == e.Method && p.of.TokenURL == e.TokenURL &&
		identical(p.of.Header, e.Header) && identical(p.of.Query, e.Query)
}

func identical(a, b [][2]string) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// fixed tells whether nothing of a request but its body depends on the event.
func fixed(to *event.APIDestinationTarget) bool {
	depends := func(parameter string) bool { return strings.HasPrefix(parameter, "$") }
	return !slices.ContainsFunc(to.PathValues, depends) &&
		!slices.ContainsFunc(slices.Collect(maps.Values(to.Header)), depends) &&
		!slices.ContainsFunc(slices.Collect(maps.Values(to.Query)), depends)
}

// build makes the request of an event.
func (d *destination) build(e *Endpoint, m *target.Message) (*request, error) {
	p := d.last.Load()
	if !d.fixed || !p.fits(e) {
		var err error
		if p, err = d.prepare(e, m); err != nil {
			return nil, err
		}
		d.last.Store(p)
	}
	q := &request{origin: p.origin, head: p.head}
	if e.Method == http.MethodGet || e.Method == http.MethodHead {
		return q, nil // a body means nothing there, and servers refuse it
	}
	q.body = m.Body
	if len(e.Body) > 0 {
		var err error
		if q.body, err = withBody(m.Body, e.Body); err != nil {
			return nil, err
		}
	}
	if q.body == nil {
		q.body = []byte{}
	}
	return q, nil
}

// prepare makes all of a request but its body. What the rule's target adds
// comes first, then what the connection does, which counts. Its error is for
// the owner and holds no values.
func (d *destination) prepare(e *Endpoint, m *target.Message) (*prepared, error) {
	u, err := wire.ParseURL(e.URL)
	if err != nil {
		return nil, err
	}
	values := values{event: m.Event.Payload}
	if err := fillPath(u, d.to.PathValues, &values); err != nil {
		return nil, err
	}
	query := url.Values{}
	for _, name := range slices.Sorted(maps.Keys(d.to.Query)) {
		query.Set(name, values.of(d.to.Query[name]))
	}
	addQuery(u, query, e.Query)
	h := http.Header{}
	for name, value := range d.to.Header {
		h.Set(name, values.of(value))
	}
	for _, one := range e.Header {
		h.Set(one[0], one[1])
	}
	if e.TokenURL != "" {
		h.Del("Authorization")
	}
	if e.Method != http.MethodGet && e.Method != http.MethodHead {
		setDefault(h, "Content-Type", "application/json; charset=utf-8")
	}
	line, err := head(e.Method, u, h)
	return &prepared{of: *e, origin: d.client.wire.Origin(u), head: line}, err
}

// fillPath replaces the *s of a URL's path.
func fillPath(u *url.URL, with []string, values *values) error {
	escaped := u.EscapedPath()
	parts := strings.Split(escaped, "*")
	if len(parts)-1 > len(with) {
		return fmt.Errorf("its URL has %d *s in the path, and the rule's target PathParameterValues for %d", len(parts)-1, len(with))
	}
	var b strings.Builder
	for i, part := range parts {
		b.WriteString(part)
		if i < len(parts)-1 {
			value := values.of(with[i])
			if value == "." || value == ".." {
				return errors.New("a path parameter is a dot, which would change the path")
			}
			b.WriteString(url.PathEscape(value))
		}
	}
	escaped = b.String()
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return errors.New("its URL's path cannot be read")
	}
	u.Path, u.RawPath = plain, escaped
	return nil
}

// addQuery adds parameters to a URL, of which the later ones count.
func addQuery(u *url.URL, more url.Values, then [][2]string) {
	if more == nil {
		more = url.Values{}
	}
	for _, one := range then {
		more.Set(one[0], one[1])
	}
	if len(more) == 0 {
		return
	}
	// What the URL had keeps its form, unless it is replaced.
	var kept []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil && part != "" && !more.Has(plain) {
			kept = append(kept, part)
		}
	}
	u.RawQuery = strings.Join(append(kept, more.Encode()), "&")
}

// withBody adds members to the JSON object that a body is.
func withBody(body []byte, add [][2]string) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, errors.New("the connection adds body parameters, which takes an event that is shaped into a JSON object")
	}
	for _, one := range add {
		members[one[0]], _ = json.Marshal(one[1]) // a string always has a form
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(members) // what was read can be written
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ofConnection are headers that belong to the connection, not to a request.
var ofConnection = map[string]bool{
	"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Upgrade": true,
	"Te": true, "Trailer": true, "Keep-Alive": true, "Expect": true, "Proxy-Connection": true,
}

// head writes the request line and the headers.
func head(method string, u *url.URL, h http.Header) (string, error) {
	setDefault(h, "User-Agent", wire.UserAgent)
	setDefault(h, "Accept", "*/*")
	var b strings.Builder
	b.WriteString(method + " " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\n")
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if ofConnection[name] {
			continue
		}
		value := h.Get(name)
		if !validName(name) || !validValue(value) {
			return "", fmt.Errorf("the header %q has a name or a value that HTTP does not allow", wire.Shorten(wire.Clean(name)))
		}
		b.WriteString(name + ": " + value + "\r\n")
	}
	return b.String(), nil
}

func setDefault(h http.Header, name, value string) {
	if _, ok := h[textproto.CanonicalMIMEHeaderKey(name)]; !ok {
		h.Set(name, value)
	}
}

func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}

func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// values reads what a parameter of a rule's target stands for: itself, or what
// a JSON path such as $.detail.id leads to in the event.
type values struct {
	event  []byte
	parsed any
	read   bool
}

func (v *values) of(parameter string) string {
	path, ok := strings.CutPrefix(parameter, "$.")
	if !ok {
		return parameter
	}
	if !v.read {
		v.read = true
		d := json.NewDecoder(bytes.NewReader(v.event))
		d.UseNumber()
		if d.Decode(&v.parsed) != nil {
			v.parsed = nil
		}
	}
	at := v.parsed
	for name := range strings.SplitSeq(path, ".") {
		members, _ := at.(map[string]any)
		at = members[name]
	}
	switch found := at.(type) {
	case nil:
		return ""
	case string:
		return found
	}
	b, err := json.Marshal(at)
	if err != nil {
		return ""
	}
	return string(b)
}
