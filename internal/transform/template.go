package transform

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// part is some literal text of a template and the placeholder behind it.
type part struct {
	literal string
	source  source
	name    string // of the placeholder
	path    path   // of fromEvent
	quoted  bool   // the placeholder is inside a string
}

// source is where a placeholder's value comes from.
type source uint8

const (
	fromNothing source = iota // the literal that ends a template has no placeholder
	fromEvent
	fromRuleARN
	fromRuleName
	fromIngested
	fromEnvelope
	fromWholeEvent
)

// reserved are the variables that need no path.
// See https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html.
var reserved = map[string]source{
	"aws.events.rule-arn":             fromRuleARN,
	"aws.events.rule-name":            fromRuleName,
	"aws.events.event.ingestion-time": fromIngested,
	"aws.events.event":                fromEnvelope,
	"aws.events.event.json":           fromWholeEvent,
}

// value returns the JSON that the placeholder stands for; ok is false if the
// event has none.
func (p *part) value(event []byte, v Vars) (value []byte, ok bool) {
	switch p.source {
	case fromRuleARN:
		return quote(v.RuleARN), true
	case fromRuleName:
		return quote(v.RuleName), true
	case fromIngested:
		return quote(v.Ingested.UTC().Format(time.RFC3339)), true
	case fromEnvelope:
		return envelope(event), true
	default: // fromEvent, and fromWholeEvent, whose path has no steps
		return p.path.find(event)
	}
}

// quote returns s as JSON, leaving <, > and & alone.
func quote(s string) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always encodes, and a Buffer takes it
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// envelope returns the event without its detail. Its detail-type is called
// detailType there, as recorded from AWS.
func envelope(event []byte) []byte {
	out := make([]byte, 0, 512)
	out = append(out, '{')
	for key, value := range members(event) {
		switch {
		case key.is("detail"):
			continue
		case key.is("detail-type"):
			key = rawKey(`"detailType"`)
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, key...)
		out = append(out, ':')
		out = append(out, value...)
	}
	return append(out, '}')
}

// parseTemplate cuts a template at its placeholders.
//
// A template that begins with a quote is text: one or more strings, which stay
// as they are written. Any other must be JSON once its placeholders are
// filled.
func parseTemplate(template string, paths map[string]path) (parts []part, text bool, err error) {
	text = strings.HasPrefix(strings.TrimLeft(template, " \t\r\n"), `"`)
	// filled is the template with something harmless at every placeholder: it
	// is valid exactly if the output always is. Inside a string that is a
	// space, which would break an escape the placeholder is in the middle of.
	var filled []byte
	quoted := false
	start := 0
	for i := 0; i < len(template); i++ {
		switch c := template[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++ // whatever is escaped is no quote and no placeholder
		case c == '<':
			length := nameLength(template[i+1:])
			end := i + 1 + length
			if length == 0 || end >= len(template) || template[end] != '>' {
				continue
			}
			p := part{literal: template[start:i], name: template[i+1 : end], quoted: quoted}
			if s, ok := reserved[p.name]; ok {
				p.source = s
			} else if p.path, ok = paths[p.name]; ok {
				p.source = fromEvent
			} else {
				return nil, false, &PlaceholderError{p.name}
			}
			parts = append(parts, p)
			filled = append(filled, p.literal...)
			if quoted {
				filled = append(filled, ' ')
			} else {
				filled = append(filled, "null"...)
			}
			i, start = end, end+1
		}
	}
	if start < len(template) {
		parts = append(parts, part{literal: template[start:]})
		filled = append(filled, template[start:]...)
	}
	if text {
		err = checkStrings(filled)
	} else if err = json.Unmarshal(filled, new(json.RawMessage)); err != nil {
		err = &TemplateError{"with its placeholders filled it is not JSON (" + err.Error() + ")"}
	}
	return parts, text, err
}

// checkStrings checks that a text template holds strings and nothing else.
func checkStrings(filled []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(filled))
	for {
		var s *string
		err := decoder.Decode(&s)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &TemplateError{"text must be one or more strings in double quotes (" + err.Error() + ")"}
		case s == nil:
			return &TemplateError{"in text, every placeholder must be inside the quotes"}
		}
	}
}

// isName tells whether a placeholder may be called name.
func isName(name string) bool {
	return name != "" && nameLength(name) == len(name) && !strings.Contains(name, ".")
}

// nameLength returns how much of the beginning of s can be a placeholder's
// name. Only reserved names have dots.
func nameLength(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return i
		}
	}
	return len(s)
}
