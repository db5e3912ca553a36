package pattern

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deeply objects and arrays may nest in a pattern.
const maxDepth = 1000

type token uint8

const (
	tokEOF token = iota
	tokObject
	tokObjectEnd
	tokArray
	tokArrayEnd
	tokName
	tokString
	tokNumber
	tokTrue
	tokFalse
	tokNull
)

// lexer reads a pattern token by token. encoding/json is not used because the
// place that an error names is part of AWS's text, and it is the place where
// AWS's reader happens to stand: just behind the opening quote of a string
// whose content nobody has asked for yet, and already on the value when it
// hands out the name of a member.
//
// Errors are raised by panicking with an *Error, which Parse recovers.
type lexer struct {
	src  []byte
	pos  int
	open []openValue

	cur     token
	held    token // the value behind the name just handed out
	holding bool
	name    string // of the member last seen
	start   int    // of the scalar last seen
	pending bool   // that scalar is a string, read up to its opening quote
	decoded string // that scalar, once read

	inList bool // AWS writes the place twice inside the lists of anything-but
}

type openValue struct {
	object bool
	start  int
	n      int // members or elements begun
}

func (v openValue) kind() (name string, end byte) {
	if v.object {
		return "Object", '}'
	}
	return "Array", ']'
}

// fail gives up, naming the place where the reader stands.
func (l *lexer) fail(format string, args ...any) {
	at := "\n at " + l.location(l.pos)
	if l.inList {
		at += at
	}
	panic(&Error{Reason: fmt.Sprintf(format, args...), Location: at})
}

// maxQuoted is how much of the pattern is repeated in the place of an error,
// in UTF-16 units.
const maxQuoted = 500

func (l *lexer) location(pos int) string {
	line, row := 1, 0
	for i := 0; i < pos; i++ {
		c := l.src[i]
		if c == '\n' || c == '\r' && (i+1 == len(l.src) || l.src[i+1] != '\n') {
			line, row = line+1, i+1
		}
	}
	column := len(utf16.Encode([]rune(string(l.src[row:pos])))) + 1

	all := utf16.Encode([]rune(string(l.src)))
	quoted, more := all, ""
	if len(all) > maxQuoted {
		quoted, more = all[:maxQuoted], fmt.Sprintf("[truncated %d chars]", len(all)-maxQuoted)
	}
	var text strings.Builder
	for _, r := range utf16.Decode(quoted) {
		if unicode.IsControl(r) && r != '\n' && r != '\r' {
			fmt.Fprintf(&text, "\\u%04X", r)
			continue
		}
		text.WriteRune(r)
	}
	return fmt.Sprintf(`[Source: (String)"%s"%s; line: %d, column: %d]`, text.String(), more, line, column)
}

// next returns the next token; tokEOF only outside the outermost value.
func (l *lexer) next() token {
	if l.holding {
		l.holding, l.cur = false, l.held
		return l.enter(l.cur)
	}
	if l.pending {
		_ = l.text()
	}
	c, ok := l.skipSpace()
	if !ok {
		if len(l.open) == 0 {
			l.cur = tokEOF
			return l.cur
		}
		top := l.open[len(l.open)-1]
		kind, _ := top.kind()
		l.fail("Unexpected end-of-input: expected close marker for %s (start marker at %s)", kind, l.location(top.start))
	}
	if c == ']' || c == '}' {
		return l.close(c)
	}
	if len(l.open) == 0 {
		l.cur = l.value(c)
		return l.enter(l.cur)
	}
	top := &l.open[len(l.open)-1]
	if top.n > 0 {
		kind, _ := top.kind()
		if c != ',' {
			l.unexpected(c, "was expecting comma to separate "+kind+" entries")
		}
		if c, ok = l.skipSpace(); !ok {
			l.fail("Unexpected end-of-input within/between %s entries", kind)
		}
	}
	top.n++
	if !top.object {
		l.cur = l.value(c)
		return l.enter(l.cur)
	}
	if c != '"' {
		l.unexpected(c, "was expecting double-quote to start field name")
	}
	l.name = l.quoted("in field name", "name")
	if c, ok = l.skipSpace(); !ok {
		l.fail("Unexpected end-of-input within/between Object entries")
	}
	if c != ':' {
		l.unexpected(c, "was expecting a colon to separate field name and value")
	}
	if c, ok = l.skipSpace(); !ok {
		l.fail("Unexpected end-of-input within/between Object entries")
	}
	l.held, l.holding = l.value(c), true
	l.cur = tokName
	return l.cur
}

// enter notes that a container is open, once its token is handed out.
func (l *lexer) enter(t token) token {
	if t == tokObject || t == tokArray {
		l.open = append(l.open, openValue{object: t == tokObject, start: l.start})
		if len(l.open) > maxDepth {
			l.fail("Document nesting depth (%d) exceeds the maximum allowed (%d, from `StreamReadConstraints.getMaxNestingDepth()`)", len(l.open), maxDepth)
		}
	}
	return t
}

func (l *lexer) close(c byte) token {
	if len(l.open) == 0 {
		l.unexpected(c, "expected a value")
	}
	top := l.open[len(l.open)-1]
	kind, end := top.kind()
	if c != end {
		l.fail("Unexpected close marker '%c': expected '%c' (for %s starting at %s)", c, end, kind, l.location(top.start))
	}
	l.open = l.open[:len(l.open)-1]
	l.cur = tokArrayEnd
	if top.object {
		l.cur = tokObjectEnd
	}
	return l.cur
}

// skipSpace consumes white space and the byte behind it.
func (l *lexer) skipSpace() (byte, bool) {
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		l.pos++
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		case c < ' ':
			l.fail("Illegal character (%s): only regular white space (\\r, \\n, \\t) is allowed between tokens", charName(rune(c)))
		default:
			return c, true
		}
	}
	return 0, false
}

const anyValue = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"

// value reads the value that c begins; of a string only the opening quote.
func (l *lexer) value(c byte) token {
	l.start, l.pending = l.pos-1, false
	switch {
	case c == '"':
		l.pending = true
		return tokString
	case c == '{':
		return tokObject
	case c == '[':
		return tokArray
	case c == ']' || c == '}':
		l.unexpected(c, "expected a value")
	case c == '-' || '0' <= c && c <= '9':
		l.number(c)
		return tokNumber
	}
	r, size := utf8.DecodeRune(l.src[l.start:])
	if !identifier(r) {
		l.unexpected(c, "expected a valid value "+anyValue)
	}
	for l.pos = l.start; identifier(r) || unicode.IsDigit(r); r, size = utf8.DecodeRune(l.src[l.pos:]) {
		l.pos += size
	}
	l.decoded = string(l.src[l.start:l.pos])
	switch l.decoded {
	case "true":
		return tokTrue
	case "false":
		return tokFalse
	case "null":
		return tokNull
	}
	l.fail("Unrecognized token '%s': was expecting %s", l.decoded, anyValue)
	return tokEOF
}

func identifier(r rune) bool { return unicode.IsLetter(r) || r == '_' || r == '$' }

func (l *lexer) number(c byte) {
	peek := func() byte {
		if l.pos < len(l.src) {
			return l.src[l.pos]
		}
		return 0
	}
	digits := func() (n int) {
		for ; '0' <= peek() && peek() <= '9'; n++ {
			l.pos++
		}
		return n
	}
	want := func(what string) {
		if l.pos == len(l.src) {
			l.fail("Unexpected end-of-input in a Number value")
		}
		c := l.src[l.pos]
		l.pos++
		l.unexpectedIn(c, " in numeric value", what)
	}
	if c == '-' {
		c = peek()
		if c < '0' || c > '9' {
			want("expected digit (0-9) to follow minus sign, for valid numeric value")
		}
		l.pos++
	}
	if n := digits(); c == '0' && n > 0 {
		l.fail("Invalid numeric value: Leading zeroes not allowed")
	}
	if peek() == '.' {
		l.pos++
		if digits() == 0 {
			want("Decimal point not followed by a digit")
		}
	}
	if peek() == 'e' || peek() == 'E' {
		l.pos++
		if peek() == '+' || peek() == '-' {
			l.pos++
		}
		if digits() == 0 {
			want("Exponent indicator not followed by a digit")
		}
	}
	l.decoded = string(l.src[l.start:l.pos])
}

// text returns the scalar last handed out, reading the rest of a string.
func (l *lexer) text() string {
	if l.pending {
		l.pending = false
		l.decoded = l.quoted(": was expecting closing quote for a string value", "string value")
	}
	return l.decoded
}

// quoted reads a string whose opening quote is consumed. Half a surrogate pair
// becomes U+FFFD, as it does in an event.
func (l *lexer) quoted(missing, where string) string {
	start := l.pos
	i := bytes.IndexAny(l.src[start:], "\"\\")
	if i >= 0 && l.src[start+i] == '"' && bytes.IndexFunc(l.src[start:start+i], func(r rune) bool { return r < ' ' }) < 0 {
		l.pos = start + i + 1
		return string(l.src[start : start+i])
	}
	var b strings.Builder
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		l.pos++
		switch {
		case c == '"':
			return b.String()
		case c == '\\':
			l.escape(&b)
		case c < ' ':
			l.fail("Illegal unquoted character (%s): has to be escaped using backslash to be included in %s", charName(rune(c)), where)
		default:
			b.WriteByte(c)
		}
	}
	if missing[0] != ':' {
		missing = " " + missing
	}
	l.fail("Unexpected end-of-input%s", missing)
	return ""
}

func (l *lexer) escape(b *strings.Builder) {
	if l.pos == len(l.src) {
		l.fail("Unexpected end-of-input in character escape sequence")
	}
	c := l.src[l.pos]
	l.pos++
	switch c {
	case '"', '\\', '/':
		b.WriteByte(c)
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'u':
		r := l.hex4()
		if utf16.IsSurrogate(r) && bytes.HasPrefix(l.src[l.pos:], []byte(`\u`)) {
			back := l.pos
			l.pos += 2
			if pair := utf16.DecodeRune(r, l.hex4()); pair != unicode.ReplacementChar {
				b.WriteRune(pair)
				return
			}
			l.pos = back
		}
		b.WriteRune(r) // a lone half is written as U+FFFD
	default:
		r, size := utf8.DecodeRune(l.src[l.pos-1:])
		l.pos += size - 1
		l.fail("Unrecognized character escape %s", charName(r))
	}
}

func (l *lexer) hex4() rune {
	for i := range 4 {
		if l.pos+i == len(l.src) {
			l.pos = len(l.src)
			l.fail("Unexpected end-of-input in character escape sequence")
		}
		if c := l.src[l.pos+i]; !isHex(c) {
			l.pos += i + 1
			l.unexpected(c, "expected a hex-digit for character escape sequence")
		}
	}
	n, _ := strconv.ParseUint(string(l.src[l.pos:l.pos+4]), 16, 32) // four hex digits
	l.pos += 4
	return rune(n)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (l *lexer) unexpected(c byte, why string) { l.unexpectedIn(c, "", why) }

// unexpectedIn reports the character whose first byte, c, was just consumed.
func (l *lexer) unexpectedIn(c byte, where, why string) {
	r := rune(c)
	if c >= utf8.RuneSelf {
		var size int
		r, size = utf8.DecodeRune(l.src[l.pos-1:])
		l.pos += size - 1
	}
	l.fail("Unexpected character (%s)%s: %s", charName(r), where, why)
}

// charName describes a character as AWS's reader does: 'x' (code 120).
func charName(r rune) string {
	switch {
	case unicode.IsControl(r):
		return fmt.Sprintf("(CTRL-CHAR, code %d)", r)
	case r > 255:
		return fmt.Sprintf("'%c' (code %d / 0x%x)", r, r, r)
	}
	return fmt.Sprintf("'%c' (code %d)", r, r)
}
