package pattern

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// One walk over an event's bytes that records the leaves some pattern names
// and steps over everything else. The bytes are valid JSON, checked when the
// event was accepted; on others the walk ends early, and never runs away.
//
// In an event that is known to write no path twice, an object is done with once
// every name has been met that patterns want of it, and the event once that is
// so of all objects around.

// maxNesting bounds the walk's recursion, which only arrays inside arrays on a
// wanted path can drive beyond the depth of the patterns.
const maxNesting = 10_000

type scannedKind uint8

const (
	scannedString scannedKind = iota
	scannedNumber
	scannedWord // true, false, null
)

// scannedLeaf is one scalar of the event on a wanted path.
type scannedLeaf struct {
	text  []byte // decoded, without quotes, if a string; else as written
	node  *pathNode
	next  int32 // the next leaf on this path, or -1
	trail int32 // the array element it lies in, or -1
	kind  scannedKind

	hashed  bool
	number  numberState
	hash    uint64
	decimal scaled
	value   float64
}

// trailStep is one array element that leaves lie in; up is the element around it.
type trailStep struct {
	up    int32
	depth int32
	array uint32
	index uint32
}

const (
	laneOnes  = 0x0101010101010101
	laneTops  = 0x8080808080808080
	laneLower = 0x7f7f7f7f7f7f7f7f
)

// zeroLanes has the top bit of every byte that is zero in x, and no others.
func zeroLanes(x uint64) uint64 {
	return ^(((x & laneLower) + laneLower) | x) & laneTops
}

// stringEnd finds the quote that ends the string whose text starts at i, and
// whether there is an escape on the way. It returns -1 if there is no end.
//
// Most strings are short, of lengths that no processor foresees: so it begins
// with sixteen bytes, whatever the first eight are.
func stringEnd(b []byte, i int) (end int, escaped bool) {
	if i+16 <= len(b) {
		low := stringStops(binary.LittleEndian.Uint64(b[i:]))
		high := stringStops(binary.LittleEndian.Uint64(b[i+8:]))
		at := bits.TrailingZeros64(low)
		if beyond := 64 + bits.TrailingZeros64(high); low == 0 {
			at = beyond
		}
		i += at >> 3 // by sixteen if there is none
		if at < 128 && b[i] == '"' {
			return i, false
		}
	}
	for i+8 <= len(b) {
		m := stringStops(binary.LittleEndian.Uint64(b[i:]))
		if m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if b[i] == '"' {
			return i, escaped
		}
		escaped = true
		i += 2
	}
	for i < len(b) {
		switch b[i] {
		case '"':
			return i, escaped
		case '\\':
			escaped = true
			i++
		}
		i++
	}
	return -1, escaped
}

// stringStops has the top bit of the lowest byte that is a quote or a backslash,
// none below, and maybe some above.
func stringStops(w uint64) uint64 {
	q, s := w^laneOnes*'"', w^laneOnes*'\\'
	return ((q-laneOnes)&^q | (s-laneOnes)&^s) & laneTops
}

// skipContainer returns the index after the object or array that opens at i,
// or -1.
func skipContainer(b []byte, i int) int { return skipRest(b, i+1, b[i]) }

// skipRest returns the index after the object or array that opened with opening
// and goes on at i, outside of strings; or -1. It counts brackets of that kind
// outside strings, eight bytes at a time; those of the other kind are balanced
// in between.
func skipRest(b []byte, i int, opening byte) int {
	closing := opening + 2 // so it is with [ ] and with { }
	openLanes, closeLanes := laneOnes*uint64(opening), laneOnes*uint64(closing)
	depth := 1
	var inside uint64 // all ones within a string
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		q := w ^ laneOnes*'"'
		if inside == 0 && opening == '{' {
			// Long runs without strings and objects are what large values are
			// made of: coordinates, for one. A byte from { upwards is rare.
			for ((q-laneOnes)&^q|(w&laneLower+laneOnes*(0x80-'{')))&laneTops == 0 {
				if i += 8; i+8 > len(b) {
					break
				}
				w = binary.LittleEndian.Uint64(b[i:])
				q = w ^ laneOnes*'"'
			}
			if i+8 > len(b) {
				break
			}
		}
		quotes := zeroLanes(q)
		opens := zeroLanes(w ^ openLanes)
		closes := zeroLanes(w ^ closeLanes)
		if quotes|inside != 0 {
			s := w ^ laneOnes*'\\'
			if (s-laneOnes)&^s&laneTops != 0 {
				// An escape: these eight bytes go one by one.
				if i, depth, inside = skipBytes(b, i, i+8, opening, depth, inside); depth == 0 {
					return i
				}
				continue
			}
			quotes ^= quotes << 8
			quotes ^= quotes << 16
			quotes ^= quotes << 32
			quotes ^= inside & laneTops
			inside = uint64(int64(quotes) >> 63)
			opens &^= quotes
			closes &^= quotes
		}
		closed := bits.OnesCount64(closes)
		if closed >= depth {
			for m := opens | closes; m != 0; m &= m - 1 {
				if closes&m&-m == 0 {
					depth++
				} else if depth--; depth == 0 {
					return i + bits.TrailingZeros64(m)>>3 + 1
				}
			}
		} else {
			depth += bits.OnesCount64(opens) - closed
		}
		i += 8
	}
	i, depth, _ = skipBytes(b, i, len(b), opening, depth, inside)
	if depth != 0 {
		return -1
	}
	return i
}

// skipBytes does what skipContainer does, byte by byte until end or a little
// beyond, if an escape straddles it.
func skipBytes(b []byte, i, end int, opening byte, depth int, inside uint64) (int, int, uint64) {
	for ; i < end; i++ {
		switch c := b[i]; {
		case c == '"':
			inside = ^inside
		case inside != 0:
			if c == '\\' {
				i++
			}
		case c == opening:
			depth++
		case c == opening+2:
			if depth--; depth == 0 {
				return i + 1, 0, 0
			}
		}
	}
	return i, depth, inside
}

// wordEnd finds the end of the number, true, false or null that starts at i.
func wordEnd(b []byte, i int) int {
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		comma := w ^ laneOnes*','
		brace := (w | laneOnes*0x20) ^ laneOnes*'}'
		m := ((comma-laneOnes)&^comma | (brace-laneOnes)&^brace | (w-laneOnes*0x21)&^w) & laneTops
		if m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
		i++
	}
	return i
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' {
		i++
	}
	return i
}

func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		end, _ := stringEnd(b, i+1)
		if end < 0 {
			return -1
		}
		return end + 1
	case '{', '[':
		return skipContainer(b, i)
	}
	return wordEnd(b, i)
}

// scan records the leaves of event on the paths under root.
func (s *scratch) scan(root *pathNode) {
	b := s.event
	i := skipSpace(b, 0)
	if i < len(b) && b[i] == '{' && root.deep.Load() {
		s.object(i, root, -1, 0, s.distinct)
	}
}

// object walks the object that opens at i. It returns the index after it, or -1.
// last says that nothing behind it is wanted.
func (s *scratch) object(i int, n *pathNode, trail int32, nesting int, last bool) int {
	b := s.event
	// Names that came to be wanted since do not count: none of them may stand
	// for one that this match needs.
	known := n.known.Load()
	left, sizes := known, n.sizes.Load()
	if !s.distinct {
		left, sizes = math.MaxUint32, ^uint64(0)
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for i < len(b) && b[i] == '"' {
		i++
		end, escaped := stringEnd(b, i)
		if end < 0 {
			return -1
		}
		var to *pathNode
		if sizes>>min(end-i, 63)&1 != 0 {
			key := nameKeyAt(b, i, end)
			if to = n.edgeFor(key, b, i, end); to == nil && !s.distinct && (escaped || !key.plain()) {
				to = s.step(n, i, end, escaped)
			}
		}
		i = end + 1
		if i >= len(b) || b[i] != ':' {
			if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
				return -1
			}
		}
		i++
		if i < len(b) && b[i] <= ' ' {
			i = skipSpace(b, i)
		}
		if i >= len(b) {
			return -1
		}
		if to == nil {
			i = skipValue(b, i)
		} else {
			if to.nth < known {
				left--
			}
			i = s.value(i, to, trail, nesting, last && left == 0)
			if left == 0 {
				if last || i < 0 {
					return -1
				}
				return skipRest(b, i, '{')
			}
		}
		if i < 0 || i >= len(b) {
			return -1
		}
		if b[i] <= ' ' {
			if i = skipSpace(b, i); i >= len(b) {
				return -1
			}
		}
		switch b[i] {
		case ',':
			i++
			if i < len(b) && b[i] <= ' ' {
				i = skipSpace(b, i)
			}
		case '}':
			return i + 1
		default:
			return -1
		}
	}
	return -1
}

// step follows a name that is not one edge from n as it stands in the event:
// decoded, or as several names if it has dots.
func (s *scratch) step(n *pathNode, i, j int, escaped bool) *pathNode {
	name := s.event[i:j]
	if escaped {
		name = s.decode(name)
	}
	if !utf8.Valid(name) {
		name = s.repair(name)
	}
	start := 0
	for x, c := range name {
		if c == '.' {
			if n = n.edge(name, start, x); n == nil {
				return nil
			}
			start = x + 1
		}
	}
	return n.edge(name, start, len(name))
}

// value walks the value at i, which lies on the path of n.
func (s *scratch) value(i int, n *pathNode, trail int32, nesting int, last bool) int {
	b := s.event
	switch b[i] {
	case '"':
		end, escaped := stringEnd(b, i+1)
		if end < 0 {
			return -1
		}
		if n.wanted.Load() {
			text := b[i+1 : end]
			if escaped {
				text = s.decode(text)
			}
			s.record(n, text, scannedString, trail)
		}
		return end + 1
	case '{':
		if !n.deep.Load() || nesting > maxNesting {
			return skipContainer(b, i)
		}
		return s.object(i, n, trail, nesting+1, last)
	case '[':
		if nesting > maxNesting {
			return skipContainer(b, i)
		}
		return s.array(i, n, trail, nesting+1)
	}
	end := wordEnd(b, i)
	if end == i {
		return -1
	}
	if n.wanted.Load() {
		kind := scannedNumber
		if c := b[i]; c == 't' || c == 'f' || c == 'n' {
			kind = scannedWord
		}
		s.record(n, b[i:end], kind, trail)
	}
	return end
}

func (s *scratch) array(i int, n *pathNode, trail int32, nesting int) int {
	b := s.event
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	array := s.arrays
	s.arrays++
	depth := int32(0)
	if trail >= 0 {
		depth = s.trails[trail].depth + 1
	}
	for index := uint32(0); i < len(b); index++ {
		// Only elements that are objects or arrays tell leaves apart: any two
		// scalars of one array may be meant at once.
		step := trail
		if b[i] == '{' || b[i] == '[' {
			step = int32(len(s.trails))
			s.trails = append(s.trails, trailStep{up: trail, depth: depth, array: array, index: index})
		}
		if i = s.value(i, n, step, nesting, false); i < 0 {
			return -1
		}
		if i = skipSpace(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case ']':
			return i + 1
		default:
			return -1
		}
	}
	return -1
}

func (s *scratch) record(n *pathNode, text []byte, kind scannedKind, trail int32) {
	if kind == scannedString && !s.distinct && !utf8.Valid(text) {
		text = s.repair(text)
	}
	if int(n.id) >= len(s.heads) {
		return // a path younger than this match, which no rule it sees needs
	}
	id := int32(len(s.leaves))
	head := &s.heads[n.id]
	if *head != 0 {
		s.several = true
	} else {
		s.touched = append(s.touched, n.id)
	}
	if trail >= 0 {
		s.inArrays = true
	}
	if len(s.leaves) == cap(s.leaves) {
		s.leaves = append(s.leaves, make([]scannedLeaf, len(s.leaves)+8)...)
	}
	s.leaves = s.leaves[:id+1]
	// Field by field: a leaf is large, and the rest is set before it is read.
	l := &s.leaves[id]
	l.text, l.node, l.next, l.trail, l.kind = text, n, *head-1, trail, kind
	l.hashed, l.number = false, numberUnread
	*head = id + 1
}

// decode undoes the escapes of a string, into memory that lasts for this match.
func (s *scratch) decode(raw []byte) []byte {
	start := len(s.text)
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' || i+1 >= len(raw) {
			s.text = append(s.text, c)
			i++
			continue
		}
		c = raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := scannedHex4(raw, i)
			if r < 0 {
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+1 < len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					low = scannedHex4(raw, i+2)
				}
				// A lone half becomes U+FFFD, and what follows stands for itself.
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			s.text = utf8.AppendRune(s.text, r)
			continue
		}
		s.text = append(s.text, c)
	}
	return s.text[start:len(s.text):len(s.text)]
}

// repair puts U+FFFD for every byte that is not UTF-8, as JSON decoders do.
func (s *scratch) repair(text []byte) []byte {
	start := len(s.text)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		s.text = utf8.AppendRune(s.text, r)
		i += size
	}
	return s.text[start:len(s.text):len(s.text)]
}

func scannedHex4(b []byte, i int) rune {
	if i+4 > len(b) {
		return -1
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// apart reports whether two leaves lie in different elements of one array.
func (s *scratch) apart(x, y int32) bool {
	if x == y || x < 0 || y < 0 {
		return false
	}
	t := s.trails
	for t[x].depth > t[y].depth {
		x = t[x].up
	}
	for t[y].depth > t[x].depth {
		y = t[y].up
	}
	if x == y {
		return false
	}
	for t[x].up != t[y].up {
		x, y = t[x].up, t[y].up
	}
	return t[x].array == t[y].array
}
