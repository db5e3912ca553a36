package pattern

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// maxBranches is how many branches the $or of a pattern may multiply out to;
// AWS has the same limit.
const maxBranches = 1000

// Parse reads an event pattern. The error is always an *Error. Whatever follows
// the outermost object is ignored, as AWS does.
func Parse(text []byte) (p *Pattern, err error) {
	src := text
	if fixed := bytes.ToValidUTF8(text, []byte("\uFFFD")); len(fixed) != len(text) {
		src = fixed
	}
	r := &parser{lexer: lexer{src: src}}
	defer func() {
		if v := recover(); v != nil {
			invalid, ok := v.(*Error)
			if !ok {
				panic(v)
			}
			p, err = nil, invalid
		}
	}()
	if r.next() != tokObject {
		r.fail("Filter is not an object")
	}
	branches := r.object(nil, nil, false)
	if tooComplex(branches) {
		return nil, &Error{Reason: reasonTooComplex}
	}
	p = &Pattern{Text: slices.Clone(text), Branches: make([]Branch, len(branches))}
	for i, branch := range branches {
		for _, path := range slices.Sorted(maps.Keys(branch)) {
			p.Branches[i] = append(p.Branches[i], Field{Path: path, Tests: branch[path]})
		}
	}
	return p, nil
}

// parser reads the structure of a pattern; operator.go has what stands inside
// the lists.
type parser struct{ lexer }

// conjunction is a branch that is still being written to.
type conjunction map[string][]Test

// reserved are the names that no member of an object inside $or may have.
var reserved = []string{
	"exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr",
	"=", "<", "<=", ">", ">=", "regex", "not-wildcard", "not-equals-ignore-case",
	"date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range",
	"ip-address-in-range", "ip-address-not-in-range",
}

// object reads the members of the object just opened, which the names lead to,
// into every branch, and returns the branches. A later member overrides an earlier one of the same
// path. inOr says that the object stands inside of $or.
func (p *parser) object(branches []conjunction, names []string, inOr bool) []conjunction {
	empty := true
	for p.next() != tokObjectEnd {
		empty = false
		name := p.name
		value := p.next()
		if name == "$or" && value == tokArray {
			branches = p.or(branches, names)
			continue
		}
		if inOr && slices.Contains(reserved, name) {
			p.fail("%s is Ruler reserved fieldName which cannot be used inside $or.", name)
		}
		inner := append(slices.Clip(names), name)
		switch value {
		case tokObject:
			branches = p.object(branches, inner, inOr)
		case tokArray:
			path, tests := strings.Join(inner, "."), p.tests()
			if len(branches) == 0 {
				branches = []conjunction{{}}
			}
			for _, branch := range branches {
				branch[path] = tests
			}
		default:
			p.fail(`"%s" must be an object or an array`, name)
		}
	}
	if empty {
		p.fail("Empty objects are not allowed")
	}
	return branches
}

// or reads the objects of $or: each of them continues a copy of what has been
// read so far.
func (p *parser) or(before []conjunction, names []string) (branches []conjunction) {
	if len(before) == 0 {
		before = []conjunction{{}}
	}
	n := 0
	for t := p.next(); t != tokArrayEnd; t = p.next() {
		n++
		if t != tokObject {
			p.fail("Only JSON object is allowed in array of $or relationship.")
		}
		if len(branches)+len(before) > maxBranches {
			p.fail("Too many combinations of $or: at most %d are allowed", maxBranches)
		}
		copies := make([]conjunction, len(before))
		for i, branch := range before {
			copies[i] = maps.Clone(branch)
		}
		branches = append(branches, p.object(copies, names, true)...)
		if len(branches) > maxBranches {
			p.fail("Too many combinations of $or: at most %d are allowed", maxBranches)
		}
	}
	if n < 2 {
		p.fail("There must have at least 2 Objects in $or relationship.")
	}
	return branches
}

// tests reads the list just opened.
func (p *parser) tests() []Test {
	var tests []Test
	for t := p.next(); t != tokArrayEnd; t = p.next() {
		switch t {
		case tokObject:
			tests = append(tests, p.operator())
		case tokString:
			tests = append(tests, plainString(p.text()))
		case tokNumber:
			if n, ok := comparable64(p.text()); ok {
				tests = append(tests, Test{Op: OpNumber, Number: n})
			} else {
				tests = append(tests, Test{Op: OpLiteral, Text: p.text()})
			}
		case tokTrue, tokFalse, tokNull:
			tests = append(tests, Test{Op: OpLiteral, Text: p.text()})
		default:
			p.fail("Match value must be String, number, true, false, or null")
		}
	}
	if len(tests) == 0 {
		p.fail("Empty arrays are not allowed")
	}
	return tests
}
