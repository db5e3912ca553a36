// Package transform owns what a target receives in place of the event: a
// constant, a part of the event chosen by a path, or a template filled from
// it, as EventBridge's Input, InputPath and InputTransformer.
//
// Compile finds everything that is wrong with an input before an event comes:
// a path that does not parse, a template that could never give JSON, a
// placeholder that nothing defines. What only an event can bring about, Apply
// returns as an [*ApplyError]: EventBridge drops such an event silently, here
// it goes to the dead-letter queue with the reason.
//
// Values are cut out of the event's bytes and never decoded, so that numbers
// keep their digits and objects the order of their keys. The event must be
// valid JSON, which the doors see to.
package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Input is how a rule's target wants its input. At most one of Constant, Path
// and Template (with its Paths) is given; with none, the target receives the
// event as it is.
type Input struct {
	Constant *string           `json:"input,omitempty"`       // JSON text
	Path     string            `json:"input_path,omitempty"`  // such as $.detail
	Paths    map[string]string `json:"input_paths,omitempty"` // what the template's placeholders stand for
	Template string            `json:"template,omitempty"`
}

// Vars is what a template can say that is not in the event.
type Vars struct {
	RuleARN  string
	RuleName string
	Ingested time.Time // when the event was accepted
}

// The reasons for which an input is refused, beside those that have types.
var (
	ErrOnlyOne    = errors.New("only one of a constant, a path and a template may be given")
	ErrNoTemplate = errors.New("input paths need a template that uses them")
	ErrConstant   = errors.New("the constant input is not valid JSON")
)

// PathError says that a JSON path cannot be used.
type PathError struct {
	Name   string // of the placeholder it defines; empty for an input path
	Path   string
	Reason string
}

func (e *PathError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("path %q of placeholder %q: %s", e.Path, e.Name, e.Reason)
	}
	return fmt.Sprintf("path %q: %s", e.Path, e.Reason)
}

// PlaceholderError says that a template has a placeholder which neither its
// paths nor EventBridge define.
type PlaceholderError struct{ Name string }

func (e *PlaceholderError) Error() string {
	return fmt.Sprintf("the template has a placeholder <%s> that is not defined", e.Name)
}

// TemplateError says that a template could never give valid output.
type TemplateError struct{ Reason string }

func (e *TemplateError) Error() string { return "the template is not valid: " + e.Reason }

// ApplyError says why an event has no valid output. Trying again is of no use.
type ApplyError struct{ Reason string }

func (e *ApplyError) Error() string { return e.Reason }

// Transform is a compiled [Input]. It is safe for concurrent use; nil passes
// every event through.
type Transform struct {
	constant []byte // if not nil, the output
	path     path   // if not empty, where the output is
	pathText string
	parts    []part // if not empty, what the output is made of
	text     bool   // the parts are of a text template
}

// Compile checks in. It returns [ErrOnlyOne], [ErrNoTemplate], [ErrConstant],
// a [*PathError], a [*PlaceholderError] or a [*TemplateError].
func Compile(in Input) (*Transform, error) {
	t := &Transform{}
	given := 0
	for _, is := range []bool{in.Constant != nil, in.Path != "", in.Template != "" || len(in.Paths) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, ErrOnlyOne
	case given == 0:
		return t, nil
	case in.Constant != nil:
		t.constant = []byte(*in.Constant)
		if !json.Valid(t.constant) {
			return nil, ErrConstant
		}
		return t, nil
	case in.Path != "":
		p, reason := parsePath(in.Path)
		if reason != "" {
			return nil, &PathError{Path: in.Path, Reason: reason}
		}
		t.path, t.pathText = p, in.Path // $ alone has no steps, and passes all through
		return t, nil
	}

	if in.Template == "" {
		return nil, ErrNoTemplate
	}
	paths := make(map[string]path, len(in.Paths))
	for _, name := range slices.Sorted(maps.Keys(in.Paths)) { // so that of two errors it is always the same one
		if !isName(name) {
			return nil, &PathError{name, in.Paths[name], "a placeholder's name consists of letters, digits, _ and -"}
		}
		if strings.HasPrefix(name, "AWS") {
			return nil, &PathError{name, in.Paths[name], "names that start with AWS are reserved"}
		}
		p, reason := parsePath(in.Paths[name])
		if reason != "" {
			return nil, &PathError{name, in.Paths[name], reason}
		}
		paths[name] = p
	}
	var err error
	t.parts, t.text, err = parseTemplate(in.Template, paths)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// PassThrough tells whether the output is always the event itself, so that the
// caller may save the copy.
func (t *Transform) PassThrough() bool {
	return t == nil || t.constant == nil && len(t.path) == 0 && len(t.parts) == 0
}

// Apply appends what the target receives to dst. The error is an
// [*ApplyError]; dst is then returned as it was.
func (t *Transform) Apply(dst, event []byte, v Vars) ([]byte, error) {
	switch {
	case t.PassThrough():
		return append(dst, event...), nil
	case t.constant != nil:
		return append(dst, t.constant...), nil
	case len(t.path) > 0:
		value, ok := t.path.find(event)
		if !ok {
			return dst, &ApplyError{fmt.Sprintf("the input path %s leads to nothing in the event", t.pathText)}
		}
		return appendCompact(dst, value), nil
	}

	out := dst
	for i := range t.parts {
		p := &t.parts[i]
		out = append(out, p.literal...)
		if p.source == fromNothing {
			continue
		}
		value, ok := p.value(event, v)
		switch {
		case !p.quoted && !ok:
			out = append(out, `""`...)
		case !ok:
		case !p.quoted:
			out = appendCompact(out, value)
		case value[0] == '"' && len(value) > 1:
			// What is between the quotes stays escaped, as it again is
			// between quotes.
			out = append(out, value[1:len(value)-1]...)
		case t.text:
			out = appendUnquoted(out, value)
		default:
			start := len(out)
			out = appendCompact(out, value)
			if slices.Contains(out[start:], '"') {
				return dst, &ApplyError{fmt.Sprintf("placeholder <%s> stands inside quotes in the template and is an object or a list in this event, which does not give valid JSON; remove the quotes around it", p.name)}
			}
		}
	}
	return out, nil
}
