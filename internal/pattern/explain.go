package pattern

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Explanation says why an event matches a pattern, or why not. It is meant to
// be encoded as JSON.
type Explanation struct {
	Matched  bool                `json:"matched"`
	Branches []BranchExplanation `json:"branches"` // one must match
}

// BranchExplanation is about one combination of the pattern's $or; a pattern
// without $or has one branch.
type BranchExplanation struct {
	Matched bool               `json:"matched"`
	Fields  []FieldExplanation `json:"fields"` // all must be ok, in order of path
}

// FieldExplanation is about one field of the pattern.
type FieldExplanation struct {
	Path   string            `json:"path"`   // names joined by "."
	Wanted []json.RawMessage `json:"wanted"` // the alternatives, as a pattern would write them
	Saw    []json.RawMessage `json:"saw"`    // the event's values there, as written; none if absent
	OK     bool              `json:"ok"`
	Why    string            `json:"why"` // a sentence
}

// Explain evaluates the pattern as Matches does and says of every field what
// was wanted, what was there and why it is or is not enough. The error is
// ErrEvent if the event is not even a JSON object; members that an event
// should have are not insisted on.
func (p *Pattern) Explain(event []byte) (Explanation, error) {
	leaves, err := leavesOf(event)
	if err != nil {
		return Explanation{}, ErrEvent
	}
	x := Explanation{Branches: make([]BranchExplanation, 0, len(p.Branches))}
	for _, branch := range p.Branches {
		b := explainBranch(branch, leaves)
		x.Matched = x.Matched || b.Matched
		x.Branches = append(x.Branches, b)
	}
	return x, nil
}

func explainBranch(branch Branch, leaves []leaf) BranchExplanation {
	x := BranchExplanation{Matched: true, Fields: make([]FieldExplanation, 0, len(branch))}
	for _, field := range branch {
		f := explainField(field, leaves)
		x.Matched = x.Matched && f.OK
		x.Fields = append(x.Fields, f)
	}
	if x.Matched && !matchBranch(branch, leaves) {
		x.Matched = false
		blameArrays(branch, leaves, x.Fields)
	}
	return x
}

// blameArrays is for a branch each of whose fields is fine by itself. It finds
// the first field that cannot be had together with those before it. Fields that
// may be absent come last, as absence is judged by the element that the others
// choose.
func blameArrays(branch Branch, leaves []leaf, fields []FieldExplanation) {
	order := make([]int, 0, len(branch))
	for _, absence := range []bool{false, true} {
		for i, field := range branch {
			if field.acceptsAbsence() == absence {
				order = append(order, i)
			}
		}
	}
	var before Branch
	for _, i := range order {
		field := branch[i]
		if matchBranch(append(slices.Clip(before), field), leaves) {
			before = append(before, field)
			continue
		}
		fields[i].OK, fields[i].Why = false, conflict(field, before, leaves)
		return
	}
}

// conflict is the sentence for a field that cannot be had with those before.
func conflict(field Field, before Branch, leaves []leaf) string {
	if len(before) == 0 {
		return `There are values in array elements, but {"exists":false} wants none, and no other field chooses an element without.`
	}
	var with []string
	for _, other := range before {
		if !matchBranch(Branch{other, field}, leaves) {
			with = append(with, fmt.Sprintf("%q", other.Path))
		}
	}
	if len(with) == 0 { // only all of them together are too much
		for _, other := range before {
			with = append(with, fmt.Sprintf("%q", other.Path))
		}
	}
	return fmt.Sprintf(
		"By itself this is met, but not in the same array element as %s: fields inside an array must be met by one and the same element.",
		strings.Join(with, " and "))
}

func explainField(field Field, leaves []leaf) FieldExplanation {
	x := FieldExplanation{Path: field.Path, Wanted: []json.RawMessage{}, Saw: []json.RawMessage{}}
	for _, test := range field.Tests {
		x.Wanted = append(x.Wanted, json.RawMessage(test.String()))
	}
	var seen []leaf
	inside := false
	for _, l := range leaves {
		if l.path == field.Path {
			seen = append(seen, l)
			x.Saw = append(x.Saw, json.RawMessage(l.raw))
		}
		inside = inside || strings.HasPrefix(l.path, field.Path+".")
	}
	for _, l := range seen {
		for _, test := range field.Tests {
			if test.accepts(l) {
				x.OK, x.Why = true, fmt.Sprintf("The value %s meets %s.", brief(l.raw), brief(test.String()))
				return x
			}
		}
	}
	switch {
	case !field.acceptsAbsence():
		x.Why = whyNot(field, seen, inside)
	case len(seen) == 0:
		x.OK, x.Why = true, `There is no value, which {"exists":false} wants.`
	case slices.ContainsFunc(seen, func(l leaf) bool { return len(l.trail) == 0 }):
		x.Why = fmt.Sprintf(`There is the value %s, but {"exists":false} wants none.`, brief(seen[0].raw))
	default:
		// Whether it is absent depends on the element that the other fields
		// choose; blameArrays has the last word.
		x.OK, x.Why = true, `There are values only in some array elements; {"exists":false} is met by an element without.`
	}
	return x
}

// whyNot is the sentence for a field that accepts none of the leaves seen.
func whyNot(field Field, seen []leaf, inside bool) string {
	switch {
	case len(seen) == 0 && inside:
		return "There is an object, but no value: a pattern speaks of the values inside an object."
	case len(seen) == 0:
		return "There is no such value in the event; an empty object or list is none either."
	}
	wanted := brief(field.Tests[0].String())
	if len(field.Tests) > 1 {
		wanted = fmt.Sprintf("any of the %d alternatives", len(field.Tests))
	}
	if len(seen) > 1 {
		return fmt.Sprintf("None of the %d values meets %s.", len(seen), wanted)
	}
	why := fmt.Sprintf("The value %s does not meet %s", brief(seen[0].raw), wanted)
	for _, test := range field.Tests {
		if hint := hint(test, seen[0]); hint != "" {
			return why + ": " + hint + "."
		}
	}
	return why + "."
}

// hint names the usual slips.
func hint(test Test, l leaf) string {
	switch test.Op {
	case OpString, OpPrefix, OpSuffix, OpIgnoreCase, OpPrefixIgnoreCase, OpSuffixIgnoreCase, OpWildcard:
		switch {
		case !l.isString:
			return "a string is wanted, and it is not one"
		case test.Op == OpString && strings.EqualFold(test.Text, l.text):
			return "they differ in case only"
		case test.Op == OpString && strings.HasPrefix(l.text, test.Text):
			return `it has to be the whole value; {"prefix":…} is for the beginning of one`
		case test.Op == OpString && strings.Contains(test.Text, "*") && wildcardReason(test.Text) == "" && wildcardMatch(test.Text, l.text):
			return `* means something only inside {"wildcard":…}`
		}
	case OpNumber, OpRange:
		switch {
		case l.isString:
			return "a number is wanted, and it is a string"
		case !l.isNumber && l.raw != "null" && l.raw != "true" && l.raw != "false":
			return "the number has more digits than can be compared"
		}
	case OpLiteral:
		if l.isString && l.text == test.Text {
			return "it is a string"
		}
	case OpCIDR:
		if _, ok := parseIP(l.text); !ok || !l.isString {
			return "it is not an IP address"
		}
	default:
	}
	return ""
}

func wildcardReason(text string) string {
	_, reason := wildcardTokens(text)
	return reason
}

// maxBrief is how many characters of a value a sentence repeats.
const maxBrief = 100

func brief(raw string) string {
	if runes := []rune(raw); len(runes) > maxBrief {
		return string(runes[:maxBrief]) + "…"
	}
	return raw
}
