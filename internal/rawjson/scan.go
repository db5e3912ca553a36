package rawjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// What can be wrong, for a person; the offset is added by SyntaxError.
const (
	msgEnd          = "unexpected end of JSON"
	msgBOM          = "byte order mark, which JSON does not allow,"
	msgValue        = "expected a value"
	msgAfterValue   = "unexpected data after the value"
	msgKey          = "expected a key in double quotes"
	msgColon        = "expected a colon after the key"
	msgAfterMember  = "expected a comma or } after the member"
	msgAfterElement = "expected a comma or ] after the element"
	msgDeep         = "nesting deeper than 256 levels"
	msgUTF8         = "invalid UTF-8 in string"
	msgControl      = "unescaped control character in string"
	msgEscape       = "invalid escape in string"
	msgHex          = "invalid \\u escape in string"
	msgLeadingZero  = "number with a leading zero"
	msgDigit        = "expected a digit"
)

func msgValueAt(data []byte, i int) string {
	if i == 0 && len(data) >= 3 && data[0] == 0xEF && data[1] == 0xBB && data[2] == 0xBF {
		return msgBOM
	}
	return msgValue
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// skipSpace is small enough to be inlined, since what is sent is nearly always
// compact and the next byte is no space.
func skipSpace(data []byte, i int) int {
	var n int
	return skipSpaces(data, i, &n)
}

// skipSpaces is skipSpace that counts.
func skipSpaces(data []byte, i int, n *int) int {
	for i < len(data) && isSpace(data[i]) {
		i++
		*n++
	}
	return i
}

func hasLiteral(data []byte, i int, literal string) bool {
	return len(data)-i >= len(literal) && string(data[i:i+len(literal)]) == literal
}

// skipValue returns the end of the value that starts at i and how much white
// space is in it, or where and what is wrong with it. depth is how many
// containers are open around it.
//
// It is one loop over the levels instead of a recursion; which levels are
// objects is kept as one bit each. keys, unless nil, gets to know every key.
func skipValue(data []byte, i, depth int, keys *keySet) (end, spaces int, msg string) {
	var objects [MaxDepth/64 + 1]uint64
	base := depth
value:
	i = skipSpaces(data, i, &spaces)
	if i >= len(data) {
		return i, spaces, msgEnd
	}
	switch data[i] {
	case '"':
		if i, _, msg = scanString(data, i+1); msg != "" {
			return i, spaces, msg
		}
		i++
	case '{':
		if depth == MaxDepth {
			return i, spaces, msgDeep
		}
		depth++
		objects[depth>>6] |= 1 << (depth & 63)
		if i = skipSpaces(data, i+1, &spaces); i < len(data) && data[i] == '}' {
			i++
			depth--
			break
		}
		if keys != nil {
			keys.begin()
		}
		goto key
	case '[':
		if depth == MaxDepth {
			return i, spaces, msgDeep
		}
		depth++
		objects[depth>>6] &^= 1 << (depth & 63)
		if i = skipSpaces(data, i+1, &spaces); i < len(data) && data[i] == ']' {
			i++
			depth--
			break
		}
		goto value
	case 't':
		if !hasLiteral(data, i, "true") {
			i, msg = badLiteral(data, i, "true")
			return i, spaces, msg
		}
		i += len("true")
	case 'f':
		if !hasLiteral(data, i, "false") {
			i, msg = badLiteral(data, i, "false")
			return i, spaces, msg
		}
		i += len("false")
	case 'n':
		if !hasLiteral(data, i, "null") {
			i, msg = badLiteral(data, i, "null")
			return i, spaces, msg
		}
		i += len("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if i, msg = scanNumber(data, i); msg != "" {
			return i, spaces, msg
		}
	default:
		return i, spaces, msgValueAt(data, i)
	}

	for depth > base {
		if i = skipSpaces(data, i, &spaces); i >= len(data) {
			return i, spaces, msgEnd
		}
		if objects[depth>>6]>>(depth&63)&1 == 0 {
			switch data[i] {
			case ',':
				i++
				goto value
			case ']':
			default:
				return i, spaces, msgAfterElement
			}
		} else {
			switch data[i] {
			case ',':
				i = skipSpaces(data, i+1, &spaces)
				goto key
			case '}':
				if keys != nil {
					keys.end()
				}
			default:
				return i, spaces, msgAfterMember
			}
		}
		i++
		depth--
	}
	return i, spaces, ""

key:
	if i >= len(data) || data[i] != '"' {
		return i, spaces, msgKey
	}
	start, escaped := i+1, false
	if i, escaped, msg = scanString(data, start); msg != "" {
		return i, spaces, msg
	}
	if keys != nil {
		keys.add(data, start, i, escaped)
	}
	if i = skipSpaces(data, i+1, &spaces); i >= len(data) || data[i] != ':' {
		return i, spaces, msgColon
	}
	i++
	goto value
}

// badLiteral finds the byte at which a literal goes wrong.
func badLiteral(data []byte, i int, literal string) (at int, msg string) {
	for j := range len(literal) {
		if i+j >= len(data) || data[i+j] != literal[j] {
			return i + j, "expected " + literal
		}
	}
	return i, msgValue
}

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// scanString returns the offset of the closing quote of the string whose first
// byte after the opening quote is at i, or where and what is wrong.
//
// It looks at eight bytes at once. In special, the high bit of a byte is set
// if the byte is a quote, a backslash, a control character or not ASCII: the
// subtractions borrow only from such bytes, so the lowest bit set is exact and
// the ones above it do not matter.
func scanString(data []byte, i int) (end int, escaped bool, msg string) {
	for {
		if len(data)-i >= 8 {
			x := binary.LittleEndian.Uint64(data[i:])
			special := (x | (x - 0x20*ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)) & highs
			if special == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(special) >> 3
		} else if i >= len(data) {
			return len(data), escaped, msgEnd
		}
		switch c := data[i]; {
		case c == '"':
			return i, escaped, ""
		case c == '\\':
			n, bad, what := checkEscape(data[i:])
			if what != "" {
				return i + bad, true, what
			}
			escaped = true
			i += n
		case c < 0x20:
			return i, escaped, msgControl
		case c >= utf8.RuneSelf:
			for {
				r, n := utf8.DecodeRune(data[i:])
				if r == utf8.RuneError && n <= 1 {
					return i, escaped, msgUTF8
				}
				i += n
				if i >= len(data) || data[i] < utf8.RuneSelf {
					break
				}
			}
		default:
			i++ // one of the last few bytes, which are looked at one by one
		}
	}
}

// checkEscape returns the length of the escape that e begins with, or at which
// of its bytes it is wrong.
func checkEscape(e []byte) (n, bad int, msg string) {
	if len(e) < 2 {
		return 0, len(e), msgEnd
	}
	switch e[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, 0, ""
	case 'u':
		for j := 2; j < 6; j++ {
			if j >= len(e) {
				return 0, j, msgEnd
			}
			if _, ok := hexDigit(e[j]); !ok {
				return 0, j, msgHex
			}
		}
		return 6, 0, ""
	}
	return 0, 1, msgEscape
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case isDigit(c):
		return rune(c - '0'), true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10, true
	}
	return 0, false
}

// scanNumber returns the end of the number that starts at i, or where and what
// is wrong.
func scanNumber(data []byte, i int) (end int, msg string) {
	if data[i] == '-' {
		i++
	}
	switch {
	case i >= len(data) || !isDigit(data[i]):
		return i, msgDigit
	case data[i] == '0':
		i++
		if i < len(data) && isDigit(data[i]) {
			return i, msgLeadingZero
		}
	default:
		i = skipDigits(data, i+1)
	}
	if i < len(data) && data[i] == '.' {
		i++
		if i >= len(data) || !isDigit(data[i]) {
			return i, msgDigit
		}
		i = skipDigits(data, i+1)
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if i >= len(data) || !isDigit(data[i]) {
			return i, msgDigit
		}
		i = skipDigits(data, i+1)
	}
	return i, ""
}

func skipDigits(data []byte, i int) int {
	for i < len(data) && isDigit(data[i]) {
		i++
	}
	return i
}

// appendUnescaped appends the contents of a valid string. The result is never
// longer than the source.
func appendUnescaped(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		if src[i] != '\\' {
			start := i
			for i < len(src) && src[i] != '\\' {
				i++
			}
			dst = append(dst, src[start:i]...)
			continue
		}
		switch c := src[i+1]; c {
		case 'u':
			r := hexRune(src[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				// A half without its other half becomes U+FFFD, and what
				// follows stands for itself, as in encoding/json.
				pair := rune(utf8.RuneError)
				if len(src)-i >= 6 && src[i] == '\\' && src[i+1] == 'u' {
					pair = utf16.DecodeRune(r, hexRune(src[i+2:]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, c)
		}
		i += 2
	}
	return dst
}

func hexRune(digits []byte) rune {
	var r rune
	for _, c := range digits[:4] {
		d, _ := hexDigit(c)
		r = r<<4 | d
	}
	return r
}

// AppendCompact appends valid without the white space outside its strings, and
// without any other change. valid must be valid JSON; dst may be valid[:0].
func AppendCompact(dst, valid []byte) []byte {
	start := 0
	for i := 0; i < len(valid); {
		switch c := valid[i]; {
		case c == '"':
			i = closingQuote(valid, i+1) + 1
		case isSpace(c):
			dst = append(dst, valid[start:i]...)
			i = skipSpace(valid, i+1)
			start = i
		default:
			i++
		}
	}
	return append(dst, valid[start:]...)
}

// closingQuote is scanString for a string that is known to be valid.
func closingQuote(data []byte, i int) int {
	for i < len(data) {
		if len(data)-i >= 8 {
			x := binary.LittleEndian.Uint64(data[i:])
			special := (((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)) &^ x & highs
			if special == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(special) >> 3
		}
		switch data[i] {
		case '"':
			return i
		case '\\':
			i += 2
		default:
			i++
		}
	}
	return len(data)
}
