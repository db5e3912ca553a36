package transform

import (
	"strconv"
	"strings"
)

// path is a JSON path without its leading $.
type path []step

// step goes one level down: to the member called name, to the element at
// index, or to all of them.
type step struct {
	kind  stepKind
	name  string
	index int
}

type stepKind uint8

const (
	stepName stepKind = iota
	stepIndex
	stepAll
)

// parsePath reads the part of JSON path that EventBridge takes: $, .name,
// ['name'], [n], .* and [*]. A reason is given if it cannot.
func parsePath(text string) (p path, reason string) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, "a path begins with $"
	}
	p = path{}
	for rest != "" {
		var s step
		switch {
		case strings.HasPrefix(rest, ".."):
			return nil, ".. is not supported: name every step"
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			s.name, rest = rest[1:1+end], rest[1+end:]
			switch {
			case s.name == "":
				return nil, "there is no name behind a dot"
			case s.name == "*":
				s = step{kind: stepAll}
			case strings.ContainsAny(s.name, "*?()@,'\"] \t\r\n"):
				return nil, "the name " + strconv.Quote(s.name) + " must be written ['…']"
			}
		case strings.HasPrefix(rest, "['"), strings.HasPrefix(rest, `["`):
			name, after, ok := strings.Cut(rest[2:], rest[1:2]+"]")
			if !ok || name == "" || strings.Contains(name, rest[1:2]) {
				return nil, "a name in brackets must be in quotes, closed by the same quote and ]"
			}
			s.name, rest = name, after
		case rest[0] == '[':
			inside, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				return nil, "a bracket is not closed"
			}
			rest = after
			if inside == "*" {
				s = step{kind: stepAll}
				break
			}
			index, err := strconv.ParseUint(inside, 10, 31)
			if err != nil {
				return nil, "brackets hold an index from 0, a name in quotes or *"
			}
			s = step{kind: stepIndex, index: int(index)}
		default:
			return nil, "a step begins with a dot or a bracket"
		}
		p = append(p, s)
	}
	return p, ""
}

// find returns the JSON at the path, a part of the event if no step goes to
// all; then it is the list of what was found, which may be empty.
func (p path) find(data []byte) (value []byte, ok bool) {
	value = firstValue(data)
	for i, s := range p {
		switch s.kind {
		case stepName:
			value, ok = member(value, s.name)
		case stepIndex:
			value, ok = element(value, s.index)
		case stepAll:
			return p[i+1:].findInAll(value)
		}
		if !ok {
			return nil, false
		}
	}
	return value, len(value) > 0
}

// findInAll collects what the path finds in every element or member.
func (p path) findInAll(data []byte) (list []byte, ok bool) {
	if len(data) == 0 || data[0] != '{' && data[0] != '[' {
		return nil, false
	}
	list = []byte{'['}
	for _, value := range members(data) {
		list = p.collect(list, value)
	}
	for value := range elements(data) {
		list = p.collect(list, value)
	}
	return append(list, ']'), true
}

func (p path) collect(list, value []byte) []byte {
	found, ok := p.find(value)
	if !ok {
		return list
	}
	for _, s := range p {
		if s.kind == stepAll { // its own list is flattened into this one
			found = found[1 : len(found)-1]
			if len(found) == 0 {
				return list
			}
			break
		}
	}
	if len(list) > 1 {
		list = append(list, ',')
	}
	return append(list, found...)
}
