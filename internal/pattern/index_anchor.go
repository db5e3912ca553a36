package pattern

import (
	"math"
	"math/rand/v2"
	"unicode/utf8"
)

// Adding a branch to the index: which field becomes its anchor, and where that
// goes. All of this is the writer's side.

const (
	// crowded is how many branches an entry takes before it tells further ones
	// apart by another field.
	crowded = 12
	// maxNested is by how many fields an entry may tell branches apart: each
	// costs every event that hits the entry a look.
	maxNested = 4
	// maxGramsTried bounds the search for a wildcard's rarest gram.
	maxGramsTried = 64
)

// What a hit costs beside the branches behind it, as a number of branches: how
// often events of no interest will hit such an anchor, to go by experience.
const (
	costShortPiece = 32
	costGram       = 8
	costRange      = 32
	costAny        = 1 << 24
)

// boundField is a field of a program.
type boundField struct {
	node   *pathNode
	absent bool
	tests  string
}

// anchor is where one test of a field goes.
type anchor struct {
	kind      uint32
	size      int
	hash      uint64 // of the entry, for all kinds but ranges and any
	gram      uint64
	low, high float64
	cost      int
}

// place puts branch id in the index. Its paths must be registered.
func (x *index) place(id uint32, fields []boundField) {
	best, cost := -1, math.MaxInt
	for i, f := range fields {
		if f.absent {
			continue
		}
		sum := 0
		for tests := f.tests; len(tests) > 0 && sum < cost; {
			var a anchor
			a, tests = x.nextAnchor(f.node, tests)
			sum += a.cost
		}
		if sum < cost {
			best, cost = i, sum
		}
	}
	if best < 0 {
		x.loose.add(id)
		return
	}
	f := fields[best]
	for tests := f.tests; len(tests) > 0; {
		var a anchor
		a, tests = x.nextAnchor(f.node, tests)
		if len(tests) > 0 {
			x.branches.at(id).several = true
		}
		x.drop(a, f.node, id, fields, 1<<best)
	}
}

// drop puts branch id under anchor a of path n.
func (x *index) drop(a anchor, n *pathNode, id uint32, fields []boundField, used uint64) {
	ix := &n.index
	switch a.kind {
	case 0:
		ix.any.add(id)
		return
	case hasRange:
		ix.nRange++
		ix.ranges.Store(ix.ranges.Load().with(&rangeNode{
			low: a.low, high: a.high, highest: a.high,
			branch: id, priority: rand.Uint32(), //nolint:gosec // balances a tree
		}))
	case hasPrefixOf:
		orBit(&ix.prefixes, a.size)
	case hasSuffixOf:
		orBit(&ix.suffixes, a.size)
	case hasFoldedPrefix:
		orBit(&ix.foldedPrefixes, a.size)
	case hasFoldedSuffix:
		orBit(&ix.foldedSuffixes, a.size)
	case hasGram:
		filter := &ix.grams[gramSlot(a.size)]
		if filter.Load() == nil {
			filter.Store(new(gramFilter))
		}
		filter.Load().add(gramHash(a.gram))
	case hasNet:
		if ix.nets.Load() == nil {
			ix.nets.Store(new(netSizes))
		}
		if a.gram == 4 {
			orBit(&ix.nets.Load().v4, a.size)
		} else {
			orBit(&ix.nets.Load().v6[a.size/64], a.size%64)
		}
	}
	ix.has.Store(ix.has.Load() | a.kind)
	if a.kind != hasRange {
		x.enter(a.hash, id, fields, used)
	}
}

func gramSlot(size int) int {
	switch size {
	case 8:
		return 3
	case 4:
		return 2
	}
	return size - 1
}

// enter puts branch id under a hash, or in an entry nested there if that is
// crowded and the branch has another field of exact values.
func (x *index) enter(hash uint64, id uint32, fields []boundField, used uint64) {
	e := x.entries.add(hash, id)
	if e == nil {
		return
	}
	e.total++
	if len(e.ids.all()) < crowded {
		e.ids.add(id)
		return
	}
	var nested []uint32
	if p := e.nested.Load(); p != nil {
		nested = *p
	}
	best, cost := -1, math.MaxInt
	for i, f := range fields[:min(len(fields), 64)] {
		if used>>i&1 != 0 || f.absent || len(nested) >= maxNested && !contains(nested, f.node.id) {
			continue
		}
		sum := 0
		for tests := f.tests; len(tests) > 0 && sum < cost; {
			h, rest, ok := x.exactKey(f.node, tests)
			if !ok {
				sum = math.MaxInt
				break
			}
			tests = rest
			sum += 1 + x.entries.total(under(e.hash, h))
		}
		if sum < cost {
			best, cost = i, sum
		}
	}
	if best < 0 {
		e.ids.add(id)
		return
	}
	f := fields[best]
	if !contains(nested, f.node.id) {
		next := append(nested[:len(nested):len(nested)], f.node.id)
		e.nested.Store(&next)
	}
	for tests := f.tests; len(tests) > 0; {
		h, rest, _ := x.exactKey(f.node, tests)
		if tests = rest; len(tests) > 0 {
			x.branches.at(id).several = true
		}
		x.enter(under(e.hash, h), id, fields, used|1<<best)
	}
}

func contains(list []uint32, id uint32) bool {
	for _, have := range list {
		if have == id {
			return true
		}
	}
	return false
}

// exactKey is the hash of the first test, if that is on one value.
func (x *index) exactKey(n *pathNode, tests string) (hash uint64, rest string, ok bool) {
	op := Op(tests[0])
	operand, rest := cut(tests[1:])
	switch op {
	case OpString:
		return x.textKey(n, []byte(operand)), rest, true
	case OpLiteral:
		return x.wordKey(n, []byte(operand)), rest, true
	case OpNumber:
		return x.numberKey(n, scaledAt(operand)), rest, true
	}
	return 0, rest, false
}

// nextAnchor is where the first test of tests would go.
func (x *index) nextAnchor(n *pathNode, tests string) (a anchor, rest string) {
	op := Op(tests[0])
	operand, rest := cut(tests[1:])
	switch op {
	case OpString:
		a.kind, a.hash = hasText, x.textKey(n, []byte(operand))
	case OpLiteral:
		a.kind, a.hash = hasWord, x.wordKey(n, []byte(operand))
	case OpNumber:
		a.kind, a.hash = hasNumber, x.numberKey(n, scaledAt(operand))
	case OpPrefix:
		a = x.prefixAnchor(n, hasPrefixOf, operand)
	case OpSuffix:
		a = x.suffixAnchor(n, hasSuffixOf, operand)
	case OpIgnoreCase:
		a = x.foldedAnchor(n, operand)
	case OpPrefixIgnoreCase:
		a = x.prefixAnchor(n, hasFoldedPrefix, asciiStart(operand))
	case OpSuffixIgnoreCase:
		a = x.suffixAnchor(n, hasFoldedSuffix, asciiEnd(operand))
	case OpWildcard:
		a = x.wildcardAnchor(n, operand)
	case OpRange:
		a.kind, a.low, a.high = hasRange, floatAt(operand), floatAt(operand[8:])
		a.cost = costRange + int(n.index.nRange)/8
		return a, rest
	case OpCIDR:
		net := netOf(operand)
		a.kind, a.size, a.hash = hasNet, net.Bits(), x.netKey(n, net.Addr(), net.Bits())
		a.gram = 6
		if net.Addr().Is4() {
			a.gram = 4
		}
	default:
		a.cost = costAny + len(n.index.any.all())
		return a, rest
	}
	a.cost += x.entries.total(a.hash)
	return a, rest
}

func pieceCost(size int) int {
	if size < 3 {
		return costShortPiece
	}
	return 1
}

func (x *index) prefixAnchor(n *pathNode, kind uint32, text string) anchor {
	text = text[:min(len(text), maxPiece)]
	return anchor{kind: kind, size: len(text), hash: x.prefixKey(n, kind, text), cost: pieceCost(len(text))}
}

func (x *index) suffixAnchor(n *pathNode, kind uint32, text string) anchor {
	text = text[max(len(text)-maxPiece, 0):]
	return anchor{kind: kind, size: len(text), hash: x.suffixKey(n, kind, text), cost: pieceCost(len(text))}
}

func (x *index) foldedAnchor(n *pathNode, operand string) anchor {
	if operand[0] == 0 {
		return x.prefixAnchor(n, hasFoldedPrefix, asciiStart(operand))
	}
	text := operand[1:]
	var h uint64
	for i := range min(len(text), maxPiece) {
		h = roll(h, text[i])
	}
	return anchor{kind: hasFolded, hash: x.foldedKey(n, h, len(text))}
}

// asciiStart is what a spelling of a case-blind text certainly starts with, in
// lower case.
func asciiStart(operand string) string {
	text := operand[1:]
	var lower []byte
	for i := 0; i < len(text) && text[i] < utf8.RuneSelf; i++ {
		lower = append(lower, lowerASCII(text[i]))
	}
	return string(lower)
}

func asciiEnd(operand string) string {
	text := operand[1:]
	i := len(text)
	for i > 0 && text[i-1] < utf8.RuneSelf {
		i--
	}
	return asciiStart(operand[:1] + text[i:])
}

// wildcardAnchor is the text a wildcard starts or ends with, if that is long
// enough, or else the rarest of its longest grams.
func (x *index) wildcardAnchor(n *pathNode, operand string) anchor {
	flags := operand[0]
	count, pieces := cutSize(operand[1:])
	if flags&wildStar == 0 {
		text := ""
		if count > 0 {
			text, _ = cut(pieces)
		}
		return anchor{kind: hasText, hash: x.textKey(n, []byte(text))}
	}
	var first, last string
	longest := 0
	for i, p := 0, pieces; i < count; i++ {
		var piece string
		piece, p = cut(p)
		longest = max(longest, len(piece))
		if i == 0 && flags&wildStart == 0 {
			first = piece
		}
		if i == count-1 && flags&wildEnd == 0 {
			last = piece
		}
	}
	size := 8
	for size > longest {
		size /= 2
	}
	if len(first) >= size && len(first) >= len(last) {
		return x.prefixAnchor(n, hasPrefixOf, first)
	}
	if len(last) >= size {
		return x.suffixAnchor(n, hasSuffixOf, last)
	}
	best := anchor{cost: math.MaxInt}
	tried := 0
	for range count {
		var piece string
		piece, pieces = cut(pieces)
		for i := 0; i+size <= len(piece) && tried < maxGramsTried; i++ {
			tried++
			a := anchor{kind: hasGram, size: size, gram: gramOf(piece[i : i+size]), cost: costGram}
			if size < 4 {
				a.cost = costShortPiece
			}
			a.hash = x.gramKey(n, size, gramHash(a.gram))
			total := a.cost + x.entries.total(a.hash)
			if total < best.cost {
				best = a
				best.cost = total
			}
		}
	}
	// The caller counts the entry's branches itself.
	best.cost = costGram
	if size < 4 {
		best.cost = costShortPiece
	}
	return best
}

// gramOf reads up to eight bytes, the first lowest.
func gramOf(text string) uint64 {
	var g uint64
	for i := len(text) - 1; i >= 0; i-- {
		g = g<<8 | uint64(text[i])
	}
	return g
}
