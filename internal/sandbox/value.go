package sandbox

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// frame is a transition on its way: the object it is about, what it was called
// with, and names for values.
type frame struct {
	*session
	this *entry
	in   map[string]any
	vars map[string]any
}

// get returns what a path leads to, nil if it leads nowhere. The first part is
// in, now, a name, or else a field of this object. Where a text is reached and
// the path goes on, it goes on in the object, or test card, of that id. With @
// before the path the object itself is meant instead of its id.
func (f *frame) get(path string) (any, error) {
	path, whole := strings.CutPrefix(path, "@")
	segments := strings.Split(path, ".")
	var at any = f.this
	if v, ok := f.vars[segments[0]]; ok {
		at, segments = v, segments[1:]
	} else if segments[0] == "in" {
		at, segments = f.in, segments[1:]
	} else if segments[0] == "now" {
		return float64(f.now.Unix()), nil
	}
	for _, s := range segments {
		var err error
		if at, err = f.step(at, s); err != nil {
			return nil, err
		}
	}
	if id, ok := at.(string); ok && whole {
		e, err := f.load(id)
		if e == nil || err != nil {
			return nil, err
		}
		at = e
	}
	if e, ok := at.(*entry); ok {
		return shown(e.value), nil
	}
	return at, nil
}

func (f *frame) step(at any, segment string) (any, error) {
	switch v := at.(type) {
	case *entry:
		if v == nil {
			return nil, nil //nolint:nilnil // nothing leads nowhere
		}
		return v.value[segment], nil
	case map[string]any:
		return v[segment], nil
	case []any:
		if i, err := strconv.Atoi(segment); err == nil && i >= 0 && i < len(v) {
			return v[i], nil
		}
	case string:
		if card := loadTable().cards[v]; card != nil {
			return card[segment], nil
		}
		e, err := f.load(v)
		if e == nil || err != nil {
			return nil, err
		}
		return e.value[segment], nil
	}
	return nil, nil //nolint:nilnil // nothing leads nowhere
}

var braces = regexp.MustCompile(`\{[a-z0-9_.]+\}`)

// eval returns what a template stands for:
//
//	"$customer.name|$in.name|nobody"    the first that is there
//	"{id}_secret_{random}"              a text with values in it
//	{"$map": "$in.items", "item": t}    a list, of each item by a template
//	{"$sum": "$lines.data", "item": t}  a sum, of each item by a template
//	{"$add": [t…]}, {"$sub": [t, t]}, {"$mul": [t, t]}
//	{"$after": [time, "month", 2]}      a time that is so much later
//	{"$date": t}                        a time as RFC 3339
//
// Everything else stands for itself.
func (f *frame) eval(t any) (any, error) {
	switch t := t.(type) {
	case string:
		return f.evalText(t)
	case []any:
		list := make([]any, len(t))
		for i, item := range t {
			v, err := f.eval(item)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case map[string]any:
		for name, do := range functions {
			if arg, ok := t[name]; ok {
				v, err := f.eval(arg)
				if err != nil {
					return nil, err
				}
				return do(f, v, t["item"])
			}
		}
		object := make(map[string]any, len(t))
		for k, item := range t {
			v, err := f.eval(item)
			if err != nil {
				return nil, err
			}
			if strings.Contains(k, "{") {
				name, err := f.evalText(k)
				if err != nil {
					return nil, err
				}
				if k = fmt.Sprint(name); k == "" {
					continue
				}
			}
			object[k] = v
		}
		return object, nil
	}
	return t, nil
}

func (f *frame) evalText(t string) (any, error) {
	if strings.HasPrefix(t, "$") {
		for alternative := range strings.SplitSeq(t, "|") {
			path, ok := strings.CutPrefix(alternative, "$")
			if number.MatchString(alternative) {
				return numeric(alternative), nil
			}
			if !ok {
				return alternative, nil
			}
			v, err := f.get(path)
			if err != nil {
				return nil, err
			}
			if v != nil && v != "" {
				return clone(v), nil
			}
		}
		return nil, nil //nolint:nilnil // a value that is not there
	}
	if !strings.Contains(t, "{") {
		return t, nil
	}
	var failed error
	return braces.ReplaceAllStringFunc(t, func(m string) string {
		path := m[1 : len(m)-1]
		if path == "random" {
			return event.NewID("", 24)
		}
		v, err := f.get(path)
		if err != nil {
			failed = err
		}
		if v == nil {
			return ""
		}
		return fmt.Sprint(v)
	}), failed
}

// functions take an argument, and perhaps a template for each of its items.
var functions map[string]func(f *frame, arg, item any) (any, error)

func init() { //nolint:gochecknoinits // they call eval, which looks them up
	functions = map[string]func(f *frame, arg, item any) (any, error){
		"$map": (*frame).each,
		"$sum": func(f *frame, arg, item any) (any, error) {
			values, err := f.each(arg, item)
			if err != nil {
				return nil, err
			}
			return fold(values, 0, func(a, b float64) float64 { return a + b }), nil
		},
		"$add": func(_ *frame, arg, _ any) (any, error) {
			return fold(arg, 0, func(a, b float64) float64 { return a + b }), nil
		},
		"$mul": func(_ *frame, arg, _ any) (any, error) {
			return math.Round(fold(arg, 1, func(a, b float64) float64 { return a * b })), nil
		},
		"$sub": func(_ *frame, arg, _ any) (any, error) {
			two, _ := arg.([]any)
			if len(two) != 2 {
				return nil, nil //nolint:nilnil // nothing of nothing
			}
			return numeric(two[0]) - numeric(two[1]), nil
		},
		"$after": after,
		"$date": func(_ *frame, arg, _ any) (any, error) {
			return string(event.AppendTime(nil, time.Unix(int64(numeric(arg)), 0))), nil
		},
	}
}

func (f *frame) each(arg, item any) (any, error) {
	list, _ := arg.([]any)
	out := make([]any, len(list))
	outer, had := f.vars["item"]
	defer func() {
		if delete(f.vars, "item"); had {
			f.vars["item"] = outer
		}
	}()
	for i, v := range list {
		f.vars["item"] = v
		var err error
		if out[i], err = f.eval(item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func fold(values any, start float64, with func(a, b float64) float64) float64 {
	list, _ := values.([]any)
	for _, v := range list {
		start = with(start, numeric(v))
	}
	return start
}

func numeric(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case string:
		n, _ := strconv.ParseFloat(v, 64) // 0 for what is no number
		return n
	}
	return 0
}

// after adds so many intervals to a time.
func after(_ *frame, arg, _ any) (any, error) {
	three, _ := arg.([]any)
	if len(three) != 3 {
		return nil, nil //nolint:nilnil // a time that is not there
	}
	from, n := time.Unix(int64(numeric(three[0])), 0).UTC(), int(numeric(three[2]))
	switch three[1] {
	case "year":
		from = from.AddDate(n, 0, 0)
	case "month":
		from = from.AddDate(0, n, 0)
	case "week":
		from = from.AddDate(0, 0, 7*n)
	default:
		from = from.AddDate(0, 0, n)
	}
	return float64(from.Unix()), nil
}

// holds tests conditions, all of which must hold:
//
//	"path": true          it is there: not null, "", false or 0
//	"path": null          it is not
//	"path": [v, v]        it is one of these
//	"path": v             it is this; v is a template
//	"path !=": v          it is not
//	"path <": v, "path >=": v
func (f *frame) holds(conditions map[string]any) (bool, error) {
	for key, want := range conditions {
		path, operator, _ := strings.Cut(key, " ")
		got, err := f.get(path)
		if err != nil {
			return false, err
		}
		want, err := f.eval(want)
		if err != nil {
			return false, err
		}
		var ok bool
		switch operator {
		case "":
			ok = is(got, want)
		case "!=":
			ok = !is(got, want)
		case "<":
			ok = numeric(got) < numeric(want)
		case ">=":
			ok = numeric(got) >= numeric(want)
		default:
			return false, fmt.Errorf("sandbox table: condition %q", key)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func is(got, want any) bool {
	switch want := want.(type) {
	case nil:
		return empty(got)
	case bool:
		return empty(got) != want
	case []any:
		for _, w := range want {
			if is(got, w) {
				return true
			}
		}
		return false
	}
	return reflect.DeepEqual(got, want)
}

func empty(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return v == nil || v == "" || v == 0.0
}

// set puts a value where a path leads to in an object, and makes what is
// missing on the way.
func set(object map[string]any, path string, value any) {
	for {
		name, rest, more := strings.Cut(path, ".")
		if !more {
			object[name] = value
			return
		}
		child, ok := object[name].(map[string]any)
		if !ok {
			child = map[string]any{}
			object[name] = child
		}
		object, path = child, rest
	}
}
