package pattern

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// scratch is the state of one match. It is used again for later ones.
type scratch struct {
	index   *index
	version uint32
	event   []byte
	// distinct: no path is written twice in event.
	distinct bool
	dst      []int64

	leaves  []scannedLeaf
	heads   []int32  // by path: the latest leaf plus one
	touched []uint32 // paths with leaves
	trails  []trailStep
	arrays  uint32
	text    []byte // decoded

	several  bool // some path has more than one leaf
	inArrays bool // some leaf lies within an array's element

	seen    onceSet
	choices []choice
	chosen  []int32
}

// onceSet is a set of words that is quick to empty.
type onceSet struct {
	slots []onceSlot
	n     int
	round uint32
}

type onceSlot struct {
	word  uint64
	round uint32
}

func (s *onceSet) reset() {
	s.n = 0
	if s.round++; s.round == 0 {
		clear(s.slots)
		s.round = 1
	}
}

// add reports whether word is new.
func (s *onceSet) add(word uint64) bool {
	if 2*s.n >= len(s.slots) {
		old := s.slots
		s.slots = make([]onceSlot, max(64, 2*len(old)))
		s.n = 0
		for _, slot := range old {
			if slot.round == s.round {
				s.add(slot.word)
			}
		}
	}
	mask := uint64(len(s.slots) - 1)
	for i := mix(word) & mask; ; i = (i + 1) & mask {
		slot := &s.slots[i]
		if slot.round != s.round {
			*slot = onceSlot{word, s.round}
			s.n++
			return true
		}
		if slot.word == word {
			return false
		}
	}
}

// Kinds of words in a scratch's set.
const (
	onceFound = iota << 32
	onceBranch
	onceCell
)

func (s *scratch) reset(x *index, event []byte, distinct bool, dst []int64) {
	s.index, s.event, s.distinct, s.dst = x, event, distinct, dst
	s.version = x.version.Load()
	// Loaded second: every path that a branch up to version needs is counted.
	if n := int(x.paths.count.Load()); n > len(s.heads) {
		s.heads = make([]int32, n+n/4+8)
	}
	s.leaves, s.trails, s.text, s.touched = s.leaves[:0], s.trails[:0], s.text[:0], s.touched[:0]
	s.arrays, s.several, s.inArrays = 0, false, false
	s.seen.reset()
}

// release forgets the event and what was made of it.
func (s *scratch) release() {
	for _, id := range s.touched {
		s.heads[id] = 0
	}
	s.index, s.event, s.dst = nil, nil, nil
}

// run appends the matching rules to dst.
func (s *scratch) run() {
	i := skipSpace(s.event, 0)
	if i >= len(s.event) || s.event[i] != '{' {
		return
	}
	s.scan(s.index.paths.root)
	for i := range s.leaves {
		s.lookUp(&s.leaves[i])
	}
	for _, id := range s.touched {
		n := s.leaves[s.heads[id]-1].node
		for _, b := range n.index.any.all() {
			s.candidate(b)
		}
	}
	for _, b := range s.index.loose.all() {
		s.candidate(b)
	}
}

// lookUp makes candidates of the branches whose anchors the leaf may satisfy.
func (s *scratch) lookUp(l *scannedLeaf) {
	has := l.node.index.has.Load()
	if has == 0 {
		return
	}
	x := s.index
	switch l.kind {
	case scannedString:
		if has&hasText != 0 {
			s.find(s.textHash(l))
		}
		if has&^hasText != 0 {
			s.lookUpText(l, has)
		}
	case scannedNumber:
		if has&hasNumber != 0 && l.scale() {
			s.find(x.numberKey(l.node, l.decimal))
		}
		if has&hasWord != 0 {
			s.find(x.wordKey(l.node, l.text))
		}
		if has&hasRange != 0 {
			if low, high, ok := l.near(); ok {
				s.around(l.node.index.ranges.Load(), low, high)
			}
		}
	case scannedWord:
		if has&hasWord != 0 {
			s.find(x.wordKey(l.node, l.text))
		}
	}
}

func (s *scratch) textHash(l *scannedLeaf) uint64 {
	if !l.hashed {
		l.hash, l.hashed = s.index.textKey(l.node, l.text), true
	}
	return l.hash
}

func (s *scratch) lookUpText(l *scannedLeaf, has uint32) {
	x, ix := s.index, &l.node.index
	if has&hasPrefixOf != 0 {
		sizes := ix.prefixes.Load()
		var h uint64
		for i := 0; ; i++ {
			if sizes&1 != 0 {
				s.find(x.rolledKey(l.node, hasPrefixOf, h, i))
			}
			if sizes >>= 1; sizes == 0 || i == len(l.text) {
				break
			}
			h = roll(h, l.text[i])
		}
	}
	if has&hasSuffixOf != 0 {
		sizes := ix.suffixes.Load()
		var h uint64
		for i := 0; ; i++ {
			if sizes&1 != 0 {
				s.find(x.rolledKey(l.node, hasSuffixOf, h, i))
			}
			if sizes >>= 1; sizes == 0 || i == len(l.text) {
				break
			}
			h = roll(h, l.text[len(l.text)-1-i])
		}
	}
	if has&(hasFoldedPrefix|hasFolded) != 0 {
		sizes := ix.foldedPrefixes.Load()
		var h uint64
		for i := 0; ; i++ {
			if sizes&1 != 0 {
				s.find(x.rolledKey(l.node, hasFoldedPrefix, h, i))
			}
			sizes >>= 1
			if i == len(l.text) || i == maxPiece {
				break
			}
			h = roll(h, lowerASCII(l.text[i]))
		}
		if has&hasFolded != 0 {
			s.find(x.foldedKey(l.node, h, len(l.text)))
		}
	}
	if has&hasFoldedSuffix != 0 {
		sizes := ix.foldedSuffixes.Load()
		var h uint64
		for i := 0; ; i++ {
			if sizes&1 != 0 {
				s.find(x.rolledKey(l.node, hasFoldedSuffix, h, i))
			}
			if sizes >>= 1; sizes == 0 || i == len(l.text) {
				break
			}
			h = roll(h, lowerASCII(l.text[len(l.text)-1-i]))
		}
	}
	if has&hasGram != 0 {
		s.lookUpGrams(l)
	}
	if has&hasNet != 0 {
		if addr, ok := parseIP(stringOf(l.text)); ok {
			s.lookUpAddr(l.node, addr)
		}
	}
}

func (s *scratch) lookUpGrams(l *scannedLeaf) {
	ix, text := &l.node.index, l.text
	if f := ix.grams[3].Load(); f != nil {
		for i := 0; i+8 <= len(text); i++ {
			if h := gramHash(binary.LittleEndian.Uint64(text[i:])); f.has(h) {
				s.findGram(l.node, 8, h)
			}
		}
	}
	if f := ix.grams[2].Load(); f != nil {
		for i := 0; i+4 <= len(text); i++ {
			if h := gramHash(uint64(binary.LittleEndian.Uint32(text[i:]))); f.has(h) {
				s.findGram(l.node, 4, h)
			}
		}
	}
	if f := ix.grams[1].Load(); f != nil {
		for i := 0; i+2 <= len(text); i++ {
			if h := gramHash(uint64(text[i]) | uint64(text[i+1])<<8); f.has(h) {
				s.findGram(l.node, 2, h)
			}
		}
	}
	if f := ix.grams[0].Load(); f != nil {
		for _, c := range text {
			if h := gramHash(uint64(c)); f.has(h) {
				s.findGram(l.node, 1, h)
			}
		}
	}
}

// findGram is apart from find because a text can have one gram several times.
func (s *scratch) findGram(n *pathNode, size int, hash uint64) {
	hash = s.index.gramKey(n, size, hash)
	f := s.index.entries.find(hash)
	if f != foundNothing && s.seen.add(onceFound|hash>>32) {
		s.expand(f)
	}
}

func (s *scratch) lookUpAddr(n *pathNode, addr netip.Addr) {
	sizes := n.index.nets.Load()
	if addr.Is4() {
		for m := sizes.v4.Load(); m != 0; m &= m - 1 {
			s.find(s.index.netKey(n, addr, bits.TrailingZeros64(m)))
		}
		if sizes.v6[0].Load()&1 != 0 {
			// Every address is within ::/0.
			s.find(s.index.netKey(n, netip.IPv6Unspecified(), 0))
		}
		return
	}
	for i := range sizes.v6 {
		for m := sizes.v6[i].Load(); m != 0; m &= m - 1 {
			s.find(s.index.netKey(n, addr, 64*i+bits.TrailingZeros64(m)))
		}
	}
}

func (s *scratch) find(hash uint64) {
	f := s.index.entries.find(hash)
	if f == foundNothing || s.several && !s.seen.add(onceFound|hash>>32) {
		return
	}
	s.expand(f)
}

// expand makes candidates of the branch or of those in an entry, and of those
// nested there that the event's other leaves lead to.
func (s *scratch) expand(f found) {
	if f&foundEntry == 0 {
		s.candidate(uint32(f) - 1)
		return
	}
	e := s.index.entries.entries.at(uint32(f &^ foundEntry))
	for _, id := range e.ids.all() {
		s.candidate(id)
	}
	nested := e.nested.Load()
	if nested == nil {
		return
	}
	for _, path := range *nested {
		if int(path) >= len(s.heads) {
			continue
		}
		for i := s.heads[path] - 1; i >= 0; i = s.leaves[i].next {
			l := &s.leaves[i]
			switch l.kind {
			case scannedString:
				s.find(under(e.hash, s.textHash(l)))
			case scannedNumber:
				if l.scale() {
					s.find(under(e.hash, s.index.numberKey(l.node, l.decimal)))
				}
				s.find(under(e.hash, s.index.wordKey(l.node, l.text)))
			case scannedWord:
				s.find(under(e.hash, s.index.wordKey(l.node, l.text)))
			}
		}
	}
}

// candidateOnce is for indexes that may name a branch for several leaves.
func (s *scratch) candidateOnce(id uint32) {
	if !s.several || s.seen.add(onceBranch|uint64(id)) {
		s.candidate(id)
	}
}

func (s *scratch) candidate(id uint32) {
	b := s.index.branches.at(id)
	if b.version > s.version {
		return
	}
	c := b
	if b.cell != id {
		c = s.index.branches.at(b.cell)
	}
	if c.current.Load() != b.version || !s.verify(s.index.programOf(b)) {
		return
	}
	if b.several && !s.seen.add(onceCell|uint64(b.cell)) {
		return
	}
	s.dst = append(s.dst, c.id)
}

// verify decides whether the branch matches the event.
func (s *scratch) verify(program string) bool {
	s.chosen = s.chosen[:0]
	agreed := true
	for p := program; len(p) > 0; {
		path, rest := cutSize(p)
		tests, rest := cut(rest)
		p = rest
		head := s.heads[path]
		i := head - 1
		for i >= 0 && !passes(tests[1:], &s.leaves[i]) {
			i = s.leaves[i].next
		}
		switch {
		case i >= 0:
			if trail := s.leaves[i].trail; trail >= 0 {
				agreed = agreed && s.agrees(trail)
				s.chosen = append(s.chosen, trail)
			}
		case tests[0] == 0, head != 0 && !s.inArrays:
			return false
		case head != 0:
			// Within arrays a leaf may be there and absent beside the others.
			agreed = false
		}
	}
	// Mostly the first leaves that pass go together.
	return agreed || s.agree(program)
}

// choice is a field while leaves are chosen for it.
type choice struct {
	tests  string
	head   int32
	absent bool // no leaf is chosen, and none may agree with those that are
}

// agree tells whether a leaf can be chosen for each field so that no two of
// them lie in different elements of one array. A field that may be absent is
// so if no leaf of its path agrees with all that are chosen.
func (s *scratch) agree(program string) bool {
	s.choices, s.chosen = s.choices[:0], s.chosen[:0]
	for p := program; len(p) > 0; {
		path, rest := cutSize(p)
		tests, rest := cut(rest)
		p = rest
		s.choices = append(s.choices, choice{tests: tests, head: s.heads[path]})
	}
	ok, _ := s.choose(0)
	return ok
}

// choose chooses for the fields from k on. If that fails, to blame are the
// earlier fields whose leaves were in the way, a bit each (the last bit for all
// from there on): only another choice for one of those can help, and to try all
// others first would take time that grows with the power of the fields.
func (s *scratch) choose(k int) (ok bool, blame uint64) {
	if k == len(s.choices) {
		for _, c := range s.choices {
			if !c.absent {
				continue
			}
			for i := c.head - 1; i >= 0; i = s.leaves[i].next {
				if s.agrees(s.leaves[i].trail) {
					return false, ^uint64(0)
				}
			}
		}
		return true, 0
	}
	c := &s.choices[k]
	var self uint64 // not for fields that share a bit
	if k < 63 {
		self = 1 << k
	}
	try := func(trail int32) (done, ok bool) {
		s.chosen = append(s.chosen, trail)
		ok, theirs := s.choose(k + 1)
		s.chosen = s.chosen[:k]
		if !ok && k < 63 && theirs&self == 0 {
			blame = theirs
			return true, false
		}
		blame |= theirs &^ self
		return ok, ok
	}
	for i := c.head - 1; i >= 0; i = s.leaves[i].next {
		l := &s.leaves[i]
		if !passes(c.tests[1:], l) {
			continue
		}
		if with := s.conflict(l.trail); with >= 0 {
			blame |= 1 << min(with, 63)
			continue
		}
		if done, ok := try(l.trail); done {
			return ok, blame
		}
	}
	if c.tests[0] == 0 {
		return false, blame
	}
	c.absent = true
	_, ok = try(-1)
	c.absent = false
	return ok, blame
}

// conflict is the first field whose leaf cannot be meant along with one of this
// trail, or -1.
func (s *scratch) conflict(trail int32) int {
	for k, other := range s.chosen {
		if s.apart(trail, other) {
			return k
		}
	}
	return -1
}

func (s *scratch) agrees(trail int32) bool { return s.conflict(trail) < 0 }
