package stripeapi

import (
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/fault"
)

// readForm reads the parameters of an API v1 request: those of the body, or of
// the query where there is none.
func (c *call) readForm() (*params, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	body, err := c.readBody(nil)
	if err != nil || len(body) == 0 {
		return q, err
	}
	if len(body) > c.api.maxEvent { // an event shows all of an object
		return nil, c.bodyTooLarge()
	}
	if len(q.all) > 0 {
		return nil, c.noQuery()
	}
	if kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); kind != "" && kind != "application/x-www-form-urlencoded" {
		return nil, fault.Invalidf("Content-Type", "API v1 takes its parameters form-encoded. Send application/x-www-form-urlencoded.")
	}
	form, err := parseParams(string(body))
	if err != nil {
		return nil, err
	}
	for i := range form.all {
		c.notes(form.all[i].key)
	}
	return form, nil
}

// deepestForm is how many brackets a parameter's name may have.
const deepestForm = 16

// tree nests parameters by the brackets in their names, as a[b][0][c]=v:
// strings inside of map[string]any and []any. A list is written with numbers,
// whose order counts and not their size, or with empty brackets, where an
// element ends when one of its names comes again.
func (p *params) tree() (map[string]any, error) {
	root := new(branch)
	for i := range p.all {
		p.all[i].taken = true
		if err := root.add(p.all[i].key, p.all[i].value); err != nil {
			return nil, err
		}
	}
	return root.object(), nil
}

// branch is a value in the making: text, or named children in their order.
type branch struct {
	text     *string
	names    []string
	children map[string]*branch
	pushed   int // children that had no name of their own
}

func (b *branch) add(key, value string) error {
	name, rest, _ := strings.Cut(key, "[")
	path := []string{name}
	for rest != "" {
		inside, after, ok := strings.Cut(rest, "]")
		if !ok || after != "" && after[0] != '[' || len(path) > deepestForm {
			return fault.Invalidf(cutText(key), "The parameter's name is not formed well. Write it like a[b][0][c], with at most %d pairs of brackets.", deepestForm)
		}
		path = append(path, inside)
		rest = strings.TrimPrefix(after, "[")
	}
	if name == "" || strings.HasSuffix(key, "[") {
		return fault.Invalidf(cutText(key), "The parameter has no name. Write it like a[b][0][c].")
	}
	for i, part := range path {
		if b.text != nil {
			return fault.Invalidf(cutText(key), "The parameter is both a value and a list or an object. Send it as one of them.")
		}
		if i > 0 && part == "" {
			part = b.push(path[i+1:])
		}
		child := b.children[part]
		if child == nil {
			child = new(branch)
			if b.children == nil {
				b.children = map[string]*branch{}
			}
			b.children[part] = child
			b.names = append(b.names, part)
		}
		b = child
	}
	if b.text != nil || b.children != nil {
		return fault.Invalidf(cutText(key), "The parameter is there more than once. Send it once.")
	}
	b.text = &value
	return nil
}

// push names the element that a[] means: the last one, if what follows the
// brackets is not in it yet, else a new one.
func (b *branch) push(rest []string) string {
	if len(rest) > 0 && b.pushed > 0 {
		last := b.children[strconv.Itoa(b.pushed-1)]
		if last != nil && (rest[0] == "" || last.children != nil && last.children[rest[0]] == nil) {
			return strconv.Itoa(b.pushed - 1)
		}
	}
	b.pushed++
	return strconv.Itoa(b.pushed - 1)
}

func (b *branch) object() map[string]any {
	object := make(map[string]any, len(b.names))
	for _, name := range b.names {
		object[name] = b.children[name].build()
	}
	return object
}

// build makes a list of children whose names are all numbers.
func (b *branch) build() any {
	if b.text != nil {
		return *b.text
	}
	places := make(map[string]int, len(b.names))
	for _, name := range b.names {
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 {
			return b.object()
		}
		places[name] = n
	}
	slices.SortStableFunc(b.names, func(a, c string) int { return places[a] - places[c] })
	list := make([]any, len(b.names))
	for i, name := range b.names {
		list[i] = b.children[name].build()
	}
	return list
}
