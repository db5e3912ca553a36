package pattern

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A program is a branch in the form that a matcher keeps: a third of the size
// of the parsed one, in one piece, and quick to evaluate. It is a sequence of
//
//	field:  path id, size of what follows, 1 if there may be no leaf, tests
//	test:   Op, size of what follows, operand
//
// with ids and sizes as varints. OpAbsent is the field's flag and no test.

// Flags of a wildcard's operand, which goes on with the number of its literal
// pieces and each piece with its size.
const (
	wildStart = 1 << iota // begins with a star
	wildEnd               // ends with a star
	wildStar              // has a star
)

func appendText(p []byte, text string) []byte {
	p = binary.AppendUvarint(p, uint64(len(text)))
	return append(p, text...)
}

// cut takes a varint size, and that much text, off p.
func cut(p string) (text, rest string) {
	n, p := cutSize(p)
	return p[:n], p[n:]
}

func cutSize(p string) (int, string) {
	if p[0] < 0x80 {
		return int(p[0]), p[1:]
	}
	n, shift := 0, 0
	for i := 0; ; i++ {
		n |= int(p[i]&0x7f) << shift
		if p[i] < 0x80 {
			return n, p[i+1:]
		}
		shift += 7
	}
}

func appendScaled(p []byte, d scaled) []byte {
	p = binary.LittleEndian.AppendUint64(p, d.mantissa)
	p = binary.LittleEndian.AppendUint32(p, uint32(d.exp))
	negative := byte(0)
	if d.negative {
		negative = 1
	}
	return append(p, negative, d.digits)
}

const scaledSize = 14

func scaledAt(p string) scaled {
	return scaled{
		mantissa: uint64At(p),
		exp:      int32(uint32(p[8]) | uint32(p[9])<<8 | uint32(p[10])<<16 | uint32(p[11])<<24),
		negative: p[12] != 0,
		digits:   p[13],
	}
}

func uint64At(p string) uint64 {
	_ = p[7]
	return uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
		uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
}

func floatAt(p string) float64 { return math.Float64frombits(uint64At(p)) }

// compile appends the program of b, whose paths it registers.
func compile(p []byte, b Branch, paths *pathSet) []byte {
	var tests, operand []byte
	for _, f := range b {
		tests = append(tests[:0], 0)
		for _, t := range f.Tests {
			if t.Op == OpAbsent {
				tests[0] = 1
				continue
			}
			operand = compileOperand(operand[:0], t)
			tests = append(tests, byte(t.Op))
			tests = binary.AppendUvarint(tests, uint64(len(operand)))
			tests = append(tests, operand...)
		}
		p = binary.AppendUvarint(p, uint64(paths.want(f.Path).id))
		p = binary.AppendUvarint(p, uint64(len(tests)))
		p = append(p, tests...)
	}
	return p
}

// rebind appends a program with its paths' ids as they are in another set.
func rebind(p []byte, program string, from, to *pathSet) []byte {
	for len(program) > 0 {
		path, rest := cutSize(program)
		tests, rest := cut(rest)
		program = rest
		p = binary.AppendUvarint(p, uint64(to.want(from.nodes[path].name).id))
		p = appendText(p, tests)
	}
	return p
}

func compileOperand(p []byte, t Test) []byte {
	switch t.Op {
	case OpString, OpLiteral, OpPrefix, OpSuffix:
		p = append(p, t.Text...)
	case OpIgnoreCase, OpPrefixIgnoreCase, OpSuffixIgnoreCase:
		p = appendFolded(p, t.Text)
	case OpWildcard:
		p = appendWildcard(p, t.Text)
	case OpNumber:
		p = appendScaled(p, scaleFloat(t.Number))
	case OpRange:
		p = binary.LittleEndian.AppendUint64(p, math.Float64bits(t.Range.Low))
		p = binary.LittleEndian.AppendUint64(p, math.Float64bits(t.Range.High))
		open := byte(0)
		if t.Range.LowOpen {
			open |= 1
		}
		if t.Range.HighOpen {
			open |= 2
		}
		p = append(p, open)
	case OpCIDR:
		addr := t.Net.Addr().As16()
		if t.Net.Addr().Is4() {
			a := t.Net.Addr().As4()
			p = append(p, a[:]...)
		} else {
			p = append(p, addr[:]...)
		}
		p = append(p, byte(t.Net.Bits()))
	case OpAnythingBut:
		p = binary.AppendUvarint(p, uint64(len(t.Numbers)))
		for _, f := range t.Numbers {
			p = appendScaled(p, scaleFloat(f))
		}
		for _, text := range t.Texts {
			p = appendText(p, text)
		}
	case OpAnythingButPrefix, OpAnythingButSuffix:
		for _, text := range t.Texts {
			p = appendText(p, text)
		}
	case OpAnythingButIgnoreCase:
		for _, text := range t.Texts {
			p = appendText(p, string(appendFolded(nil, text)))
		}
	case OpAnythingButWildcard:
		for _, text := range t.Texts {
			p = appendText(p, string(appendWildcard(nil, text)))
		}
	case OpExists, OpAbsent:
	}
	return p
}

// appendFolded writes a case-blind text: 1 if all of it is ASCII, and then the
// text in lower case; 0 otherwise, and the text as it is.
func appendFolded(p []byte, text string) []byte {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return append(append(p, 0), text...)
		}
	}
	p = append(p, 1)
	for i := range len(text) {
		p = append(p, lowerASCII(text[i]))
	}
	return p
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

func appendWildcard(p []byte, text string) []byte {
	flags, count := 0, 0
	var pieces, piece []byte
	flush := func() {
		if len(piece) > 0 {
			pieces = appendText(pieces, string(piece))
			count++
			piece = piece[:0]
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '*':
			flush()
			flags |= wildStar
			if i == 0 {
				flags |= wildStart
			}
			if i == len(text)-1 {
				flags |= wildEnd
			}
			continue
		case c == '\\' && i+1 < len(text):
			i++
		}
		piece = append(piece, text[i])
	}
	flush()
	p = append(p, byte(flags))
	p = binary.AppendUvarint(p, uint64(count))
	return append(p, pieces...)
}

// netOf is the operand of OpCIDR.
func netOf(operand string) netip.Prefix {
	bits := int(operand[len(operand)-1])
	if len(operand) == 5 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte([]byte(operand[:4]))), bits)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte([]byte(operand[:16]))), bits)
}

// passes tells whether one of tests holds of l.
func passes(tests string, l *scannedLeaf) bool {
	for len(tests) > 0 {
		op := Op(tests[0])
		var operand string
		operand, tests = cut(tests[1:])
		if holds(op, operand, l) {
			return true
		}
	}
	return false
}

func holds(op Op, operand string, l *scannedLeaf) bool {
	switch op {
	case OpString:
		return l.kind == scannedString && string(l.text) == operand
	case OpLiteral:
		return l.kind != scannedString && string(l.text) == operand
	case OpNumber:
		return l.kind == scannedNumber && l.scale() && l.decimal == scaledAt(operand)
	case OpPrefix:
		return l.kind == scannedString && strings.HasPrefix(stringOf(l.text), operand)
	case OpSuffix:
		return l.kind == scannedString && strings.HasSuffix(stringOf(l.text), operand)
	case OpIgnoreCase:
		return l.kind == scannedString && foldedEqual(operand, l.text)
	case OpPrefixIgnoreCase:
		if l.kind != scannedString {
			return false
		}
		n := len(operand) - 1
		if operand[0] == 1 {
			return len(l.text) >= n && foldedEqual(operand, l.text[:n])
		}
		_, ok := foldedPrefix(operand[1:], l.text, false)
		return ok
	case OpSuffixIgnoreCase:
		return l.kind == scannedString && foldedSuffix(operand, l.text)
	case OpWildcard:
		return l.kind == scannedString && wildcardHolds(operand, stringOf(l.text))
	case OpRange:
		if l.kind != scannedNumber {
			return false
		}
		low, high, open := floatAt(operand), floatAt(operand[8:]), operand[16]
		if least, most, ok := l.near(); !ok || most < low || high < least {
			return false
		}
		f, ok := l.double()
		if !ok {
			return false
		}
		return (low < f || low == f && open&1 == 0) && (f < high || f == high && open&2 == 0)
	case OpCIDR:
		if l.kind != scannedString {
			return false
		}
		addr, ok := parseIP(stringOf(l.text))
		return ok && inNet(netOf(operand), addr)
	case OpExists:
		return true
	case OpAnythingBut:
		return !equalsAny(operand, l)
	case OpAnythingButPrefix, OpAnythingButSuffix, OpAnythingButIgnoreCase, OpAnythingButWildcard:
		if l.kind != scannedString {
			return true
		}
		for len(operand) > 0 {
			var one string
			one, operand = cut(operand)
			if excluded(op, one, l.text) {
				return false
			}
		}
		return true
	case OpAbsent:
	}
	return false
}

func equalsAny(operand string, l *scannedLeaf) bool {
	n, rest := cutSize(operand)
	numbers, texts := rest[:n*scaledSize], rest[n*scaledSize:]
	switch l.kind {
	case scannedNumber:
		for ; len(numbers) > 0; numbers = numbers[scaledSize:] {
			if l.scale() && l.decimal == scaledAt(numbers) {
				return true
			}
		}
	case scannedString:
		for len(texts) > 0 {
			var one string
			if one, texts = cut(texts); string(l.text) == one {
				return true
			}
		}
	case scannedWord:
	}
	return false
}

func excluded(op Op, operand string, text []byte) bool {
	switch op {
	case OpAnythingButPrefix:
		return strings.HasPrefix(stringOf(text), operand)
	case OpAnythingButSuffix:
		return strings.HasSuffix(stringOf(text), operand)
	case OpAnythingButIgnoreCase:
		return foldedEqual(operand, text)
	default:
		return wildcardHolds(operand, stringOf(text))
	}
}

// wildcardHolds takes the first and last piece where they must be, and each
// between them as early as possible.
func wildcardHolds(operand, text string) bool {
	flags := operand[0]
	count, pieces := cutSize(operand[1:])
	if flags&wildStar == 0 {
		if count == 0 {
			return text == ""
		}
		piece, _ := cut(pieces)
		return text == piece
	}
	for i := range count {
		var piece string
		piece, pieces = cut(pieces)
		switch {
		case i == 0 && flags&wildStart == 0:
			if !strings.HasPrefix(text, piece) {
				return false
			}
			text = text[len(piece):]
		case i == count-1 && flags&wildEnd == 0:
			return strings.HasSuffix(text, piece)
		default:
			at := strings.Index(text, piece)
			if at < 0 {
				return false
			}
			text = text[at+len(piece):]
		}
	}
	return true
}

func foldedEqual(operand string, text []byte) bool {
	p := operand[1:]
	if operand[0] == 0 {
		rest, ok := foldedPrefix(p, text, true)
		return ok && len(rest) == 0
	}
	if len(p) != len(text) {
		return false
	}
	for i, c := range text {
		if c != p[i] && lowerASCII(c) != p[i] {
			return false
		}
	}
	return true
}

// foldedPrefix takes a spelling of p off text; all of text if whole is set. It
// tries both spellings of each character, which differ in their first bytes
// and so never both lead on.
func foldedPrefix(p string, text []byte, whole bool) (rest []byte, ok bool) {
	var buf [8]byte
	for _, r := range p {
		lower, upper := r, r
		if r <= 0xFFFF {
			lower, upper = unicode.ToLower(r), unicode.ToUpper(r)
		}
		one := utf8.AppendRune(buf[:0], lower)
		if r == 0x130 {
			one = append(buf[:0], "i\u0307"...)
		}
		if len(text) >= len(one) && string(text[:len(one)]) == string(one) {
			text = text[len(one):]
			continue
		}
		one = utf8.AppendRune(buf[:0], upper)
		if s, long := longUpper[r]; long {
			one = append(buf[:0], s...)
		}
		if len(text) < len(one) || string(text[:len(one)]) != string(one) {
			return nil, false
		}
		text = text[len(one):]
	}
	return text, !whole || len(text) == 0
}

func foldedSuffix(operand string, text []byte) bool {
	p := operand[1:]
	if operand[0] == 1 {
		return len(text) >= len(p) && foldedEqual(operand, text[len(text)-len(p):])
	}
	// How long the spelling is depends on it: try every character's start.
	for i := len(text); i >= 0; i-- {
		if i < len(text) && !utf8.RuneStart(text[i]) {
			continue
		}
		if _, ok := foldedPrefix(p, text[i:], true); ok {
			return true
		}
	}
	return false
}
