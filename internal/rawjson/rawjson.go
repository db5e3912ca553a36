// Package rawjson reads JSON in one pass: it validates, walks and slices raw
// values out of a body without building anything from them.
//
// It is for the path that every published event takes, where only a few
// members are looked at and the rest is kept as the bytes that came. A Scanner
// allocates nothing unless a string has escapes or an error is returned.
//
// It is stricter than encoding/json, which is its oracle in the tests: a
// string that is not UTF-8 is refused instead of repaired, and nothing may
// nest deeper than MaxDepth. What it accepts, encoding/json accepts.
//
// When something fails the call returns a *SyntaxError, after which the
// scanner is of no use, or a *TypeError, which leaves the scanner in front of
// the value it did not want.
package rawjson

import (
	"fmt"
	"math"
)

// MaxDepth is how deeply arrays and objects may nest. A lone [] has depth 1.
const MaxDepth = 256

// SyntaxError says that the data is not JSON.
type SyntaxError struct {
	Offset int // of the offending byte, from 0
	Msg    string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Msg, e.Offset) }

// TypeError says that a value is JSON, but of another type than was asked for.
type TypeError struct {
	Offset int    // of the value's first byte
	Want   string // such as "string" or "integer"
	Got    string // such as "null" or "number with a fraction or an exponent"
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("expected %s, found %s at byte %d", e.Want, e.Got, e.Offset)
}

// Kind is the type of the next value, as far as its first byte tells.
type Kind uint8

// The kinds of value.
const (
	Invalid Kind = iota // no JSON value starts like this
	EOF                 // there is no more data
	Object
	Array
	String
	Number
	Bool
	Null
)

func (k Kind) String() string {
	switch k {
	case EOF:
		return "end of data"
	case Object:
		return "object"
	case Array:
		return "array"
	case String:
		return "string"
	case Number:
		return "number"
	case Bool:
		return "boolean"
	case Null:
		return "null"
	}
	return "invalid value"
}

// Scanner pulls values out of one JSON text, front to back:
//
//	s := rawjson.New(body)
//	if err := s.BeginObject(); err != nil { … }
//	for {
//		key, ok, err := s.NextKey()
//		if err != nil { … }
//		if !ok { break }
//		// take exactly one value: Raw, String, Int64, … or BeginObject
//	}
//	err := s.End()
//
// Each key and each element must be followed by exactly one value taken; a
// scanner that is used otherwise reports a syntax error.
type Scanner struct {
	data  []byte
	off   int
	depth int
	// first tells that the container last begun has had no member yet, so
	// that no comma is due. One flag serves all levels: a container that
	// ends is itself a member of the one around it.
	first bool
}

// New returns a scanner at the beginning of data, which must not change while
// the scanner or anything it returned is in use.
func New(data []byte) Scanner { return Scanner{data: data} }

// Offset returns how many bytes have been consumed.
func (s *Scanner) Offset() int { return s.off }

// Kind skips white space and returns the kind of the next value without
// consuming it.
func (s *Scanner) Kind() Kind {
	s.space()
	if s.off >= len(s.data) {
		return EOF
	}
	switch c := s.data[s.off]; c {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	default:
		if c == '-' || isDigit(c) {
			return Number
		}
		return Invalid
	}
}

// BeginObject consumes the opening brace of an object.
func (s *Scanner) BeginObject() error { return s.begin('{', Object) }

// BeginArray consumes the opening bracket of an array.
func (s *Scanner) BeginArray() error { return s.begin('[', Array) }

func (s *Scanner) begin(open byte, want Kind) error {
	s.space()
	if s.off >= len(s.data) || s.data[s.off] != open {
		return s.mismatch(want.String())
	}
	if s.depth == MaxDepth {
		return s.fail(s.off, msgDeep)
	}
	s.depth++
	s.off++
	s.first = true
	return nil
}

// NextKey consumes the next key of an object and its colon. ok is false when
// the object has ended instead; its brace is then consumed. The key is
// unescaped; without escapes it is a part of the data.
func (s *Scanner) NextKey() (key []byte, ok bool, err error) {
	more, err := s.next('}', msgAfterMember)
	if !more {
		return nil, false, err
	}
	if s.off >= len(s.data) || s.data[s.off] != '"' {
		return nil, false, s.fail(s.off, msgKey)
	}
	if key, err = s.text(); err != nil {
		return nil, false, err
	}
	s.space()
	if s.off >= len(s.data) || s.data[s.off] != ':' {
		return nil, false, s.fail(s.off, msgColon)
	}
	s.off++
	return key, true, nil
}

// NextElement moves to the next element of an array. ok is false when the
// array has ended instead; its bracket is then consumed.
func (s *Scanner) NextElement() (ok bool, err error) { return s.next(']', msgAfterElement) }

// next consumes a closing byte or the comma in front of the next member.
func (s *Scanner) next(closing byte, msg string) (more bool, err error) {
	s.space()
	if s.off >= len(s.data) {
		return false, s.fail(s.off, msgEnd)
	}
	switch c := s.data[s.off]; {
	case c == closing:
		s.off++
		s.depth--
		s.first = false
		return false, nil
	case s.first:
		s.first = false
		return true, nil
	case c == ',':
		s.off++
		s.space()
		return true, nil
	}
	return false, s.fail(s.off, msg)
}

// Raw consumes the next value, whatever it is, and returns its bytes without
// the space around it.
func (s *Scanner) Raw() ([]byte, error) {
	raw, _, err := s.raw(nil)
	return raw, err
}

// Form is what there is to know about how a value is written.
type Form struct {
	// Compact: there is no white space outside its strings.
	Compact bool
	// Distinct: no object in it has a key twice, and no key has a dot or an
	// escape. So keys joined by dots lead to two members only where these are in
	// an array. It may be false where that holds, if it would take long to tell.
	Distinct bool
}

// RawForm is Raw that also tells the form of the value.
func (s *Scanner) RawForm() ([]byte, Form, error) {
	var keys keySet
	raw, spaces, err := s.raw(&keys)
	return raw, Form{Compact: spaces == 0, Distinct: !keys.unsure}, err
}

func (s *Scanner) raw(keys *keySet) (raw []byte, spaces int, err error) {
	s.space()
	end, spaces, msg := skipValue(s.data, s.off, s.depth, keys)
	if msg != "" {
		return nil, 0, s.fail(end, msg)
	}
	raw = s.data[s.off:end:end]
	s.off = end
	s.first = false
	return raw, spaces, nil
}

// String consumes a string.
func (s *Scanner) String() (string, error) {
	b, err := s.StringBytes()
	return string(b), err
}

// StringBytes consumes a string. Without escapes the result is a part of the
// data. An escaped half of a surrogate pair becomes U+FFFD.
func (s *Scanner) StringBytes() ([]byte, error) {
	s.space()
	if s.off >= len(s.data) || s.data[s.off] != '"' {
		return nil, s.mismatch(String.String())
	}
	return s.text()
}

// text consumes the string that starts at the offset.
func (s *Scanner) text() ([]byte, error) {
	start := s.off + 1
	end, escaped, msg := scanString(s.data, start)
	if msg != "" {
		return nil, s.fail(end, msg)
	}
	s.off = end + 1
	b := s.data[start:end:end]
	if escaped {
		b = appendUnescaped(make([]byte, 0, len(b)), b)
	}
	return b, nil
}

// Int64 consumes an integer. A number with a fraction or an exponent, or one
// that does not fit, is a *TypeError.
func (s *Scanner) Int64() (int64, error) {
	const want = "integer"
	if s.Kind() != Number {
		return 0, s.mismatch(want)
	}
	end, msg := scanNumber(s.data, s.off)
	if msg != "" {
		return 0, s.fail(end, msg)
	}
	digits := s.data[s.off:end]
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	var n uint64
	for _, c := range digits {
		if !isDigit(c) {
			return 0, &TypeError{s.off, want, "number with a fraction or an exponent"}
		}
		d := uint64(c - '0')
		if n > (limit-d)/10 {
			return 0, s.tooLarge(digits, want)
		}
		n = n*10 + d
	}
	s.off = end
	if negative {
		n = -n
	}
	return int64(n), nil // within limit; two's complement does the sign
}

// tooLarge tells an integer that does not fit from a long number that is none.
func (s *Scanner) tooLarge(digits []byte, want string) error {
	for _, c := range digits {
		if !isDigit(c) {
			return &TypeError{s.off, want, "number with a fraction or an exponent"}
		}
	}
	return &TypeError{s.off, want, "number out of range"}
}

// Bool consumes true or false.
func (s *Scanner) Bool() (bool, error) {
	if s.Kind() != Bool {
		return false, s.mismatch(Bool.String())
	}
	value := s.data[s.off] == 't'
	end, _, msg := skipValue(s.data, s.off, s.depth, nil)
	if msg != "" {
		return false, s.fail(end, msg)
	}
	s.off = end
	return value, nil
}

// Null consumes a null if that is the next value, and tells whether it did.
func (s *Scanner) Null() bool {
	s.space()
	if !hasLiteral(s.data, s.off, "null") {
		return false
	}
	s.off += len("null")
	return true
}

// End checks that only white space is left.
func (s *Scanner) End() error {
	s.space()
	if s.off < len(s.data) {
		return s.fail(s.off, msgAfterValue)
	}
	return nil
}

func (s *Scanner) space() { s.off = skipSpace(s.data, s.off) }

// mismatch reports a value of the wrong type, or none at all.
func (s *Scanner) mismatch(want string) error {
	switch k := s.Kind(); k {
	case EOF:
		return s.fail(s.off, msgEnd)
	case Invalid:
		return s.fail(s.off, msgValueAt(s.data, s.off))
	default:
		return &TypeError{s.off, want, k.String()}
	}
}

func (s *Scanner) fail(off int, msg string) error {
	if off >= len(s.data) {
		off, msg = len(s.data), msgEnd
	}
	return &SyntaxError{off, msg}
}
