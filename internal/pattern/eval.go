package pattern

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Matches tells whether the event matches. What is not a JSON object matches
// nothing.
//
// This is the plain reading of the language: it decodes the whole event and
// tries every combination of leaves. It is here to be obviously right, as the
// measure of the compiled matcher, and for single questions.
func (p *Pattern) Matches(event []byte) bool {
	leaves, err := leavesOf(event)
	if err != nil {
		return false
	}
	for _, branch := range p.Branches {
		if matchBranch(branch, leaves) {
			return true
		}
	}
	return false
}

// leaf is a scalar of an event. Objects and arrays have none of their own.
type leaf struct {
	path  string
	raw   string // as it stands in the event
	trail trail

	isString bool
	text     string // decoded, if it is a string

	isNumber bool // one that a double holds
	number   float64
}

// trail says of which elements of which arrays a leaf is part. Only elements
// that are objects or arrays count: the scalars of an array all have the trail
// of the array.
type trail map[int]int // element by array, arrays numbered as they begin

// agrees tells whether two leaves can be meant at once: in no array are they
// parts of different elements.
func (t trail) agrees(with trail) bool {
	for array, element := range t {
		if other, both := with[array]; both && other != element {
			return false
		}
	}
	return true
}

func (t trail) with(array, element int) trail {
	longer := trail{array: element}
	for array, element := range t {
		longer[array] = element
	}
	return longer
}

// matchBranch tries to choose for each field one leaf that it accepts, such that
// all chosen leaves agree.
func matchBranch(branch Branch, leaves []leaf) bool {
	accepted := make([][]trail, len(branch))
	for i, field := range branch {
		accepted[i] = field.acceptedTrails(leaves)
		if len(accepted[i]) == 0 && !field.acceptsAbsence() {
			return false
		}
	}
	return choose(branch, accepted, leaves, nil, nil)
}

// choose is matchBranch for the fields that are left, given the trails chosen
// for those before. A field that may be absent is put off until all trails are
// chosen: it is absent if no leaf of its path agrees with all of them. So the
// order of fields makes no difference.
func choose(fields Branch, accepted [][]trail, leaves []leaf, chosen []trail, absent []string) bool {
	if len(fields) == 0 {
		for _, path := range absent {
			for _, l := range leaves {
				if l.path == path && agreesWithAll(l.trail, chosen) {
					return false
				}
			}
		}
		return true
	}
	for _, t := range accepted[0] {
		if agreesWithAll(t, chosen) && choose(fields[1:], accepted[1:], leaves, append(slices.Clip(chosen), t), absent) {
			return true
		}
	}
	return fields[0].acceptsAbsence() &&
		choose(fields[1:], accepted[1:], leaves, chosen, append(slices.Clip(absent), fields[0].Path))
}

// acceptedTrails returns the trails of the leaves that the field accepts, each
// once: where two leaves have the same, it makes no difference which is chosen.
func (f Field) acceptedTrails(leaves []leaf) []trail {
	var trails []trail
	for _, l := range leaves {
		if l.path == f.Path && f.accepts(l) &&
			!slices.ContainsFunc(trails, func(t trail) bool { return maps.Equal(t, l.trail) }) {
			trails = append(trails, l.trail)
		}
	}
	return trails
}

func agreesWithAll(t trail, chosen []trail) bool {
	for _, c := range chosen {
		if !t.agrees(c) {
			return false
		}
	}
	return true
}

func (f Field) accepts(l leaf) bool {
	for _, test := range f.Tests {
		if test.accepts(l) {
			return true
		}
	}
	return false
}

func (f Field) acceptsAbsence() bool {
	for _, test := range f.Tests {
		if test.Op == OpAbsent {
			return true
		}
	}
	return false
}

func (t Test) accepts(l leaf) bool {
	switch t.Op {
	case OpString:
		return l.isString && l.text == t.Text
	case OpLiteral:
		return !l.isString && l.raw == t.Text
	case OpNumber:
		return l.isNumber && l.number == t.Number
	case OpPrefix:
		return l.isString && strings.HasPrefix(l.text, t.Text)
	case OpSuffix:
		return l.isString && strings.HasSuffix(l.text, t.Text)
	case OpIgnoreCase:
		return l.isString && foldEqual(t.Text, l.text)
	case OpPrefixIgnoreCase:
		return l.isString && foldPrefix(t.Text, l.text)
	case OpSuffixIgnoreCase:
		return l.isString && foldSuffix(t.Text, l.text)
	case OpWildcard:
		return l.isString && wildcardMatch(t.Text, l.text)
	case OpRange:
		return l.isNumber && t.Range.contains(l.number)
	case OpCIDR:
		addr, ok := parseIP(l.text)
		return l.isString && ok && inNet(t.Net, addr)
	case OpExists:
		return true
	case OpAbsent:
		return false
	case OpAnythingBut:
		named := l.isString && slices.Contains(t.Texts, l.text) || l.isNumber && slices.Contains(t.Numbers, l.number)
		return !named
	case OpAnythingButPrefix:
		return t.acceptsNone(l, strings.HasPrefix)
	case OpAnythingButSuffix:
		return t.acceptsNone(l, strings.HasSuffix)
	case OpAnythingButIgnoreCase:
		return t.acceptsNone(l, func(text, p string) bool { return foldEqual(p, text) })
	case OpAnythingButWildcard:
		return t.acceptsNone(l, func(text, p string) bool { return wildcardMatch(p, text) })
	}
	return false
}

// acceptsNone is for the operators that rule out texts: every other type of
// leaf qualifies.
func (t Test) acceptsNone(l leaf, is func(text, p string) bool) bool {
	if !l.isString {
		return true
	}
	for _, p := range t.Texts {
		if is(l.text, p) {
			return false
		}
	}
	return true
}

func (r Range) contains(n float64) bool {
	if n < r.Low || n == r.Low && r.LowOpen {
		return false
	}
	return n < r.High || n == r.High && !r.HighOpen
}

var errNotObject = errors.New("the event is not a JSON object")

// leavesOf returns the leaves of an event in their order. Of keys that are
// given twice both have their leaves.
func leavesOf(event []byte) ([]leaf, error) {
	if !json.Valid(event) || bytes.TrimLeft(event, " \t\r\n")[0] != '{' {
		return nil, errNotObject
	}
	w := walker{event: event, dec: json.NewDecoder(bytes.NewReader(event))}
	w.dec.UseNumber()
	err := w.value(nil, nil)
	return w.leaves, err
}

type walker struct {
	event  []byte
	dec    *json.Decoder
	arrays int
	leaves []leaf
}

// value walks the next value, which the names lead to. The event is known to be valid, so the errors are
// only passed on.
func (w *walker) value(names []string, at trail) error {
	begin := w.dec.InputOffset()
	t, err := w.dec.Token()
	if err != nil {
		return err
	}
	l := leaf{path: strings.Join(names, "."), trail: at}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return w.array(names, at)
		}
		return w.object(names, at)
	case string:
		l.isString, l.text = true, t
	case json.Number:
		l.number, l.isNumber = comparable64(t.String())
	}
	raw := w.event[begin:w.dec.InputOffset()]
	l.raw = string(bytes.TrimLeft(raw, " \t\r\n:,"))
	w.leaves = append(w.leaves, l)
	return nil
}

func (w *walker) object(names []string, at trail) error {
	for w.dec.More() {
		name, err := w.dec.Token()
		if err != nil {
			return err
		}
		key, _ := name.(string)
		if err := w.value(append(slices.Clip(names), key), at); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

func (w *walker) array(names []string, at trail) error {
	id := w.arrays
	w.arrays++
	for i := 0; w.dec.More(); i++ {
		inner := at
		if next := w.peek(); next == '{' || next == '[' {
			inner = at.with(id, i)
		}
		if err := w.value(names, inner); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

// peek returns the first byte of the next value.
func (w *walker) peek() byte {
	return bytes.TrimLeft(w.event[w.dec.InputOffset():], " \t\r\n,")[0]
}
