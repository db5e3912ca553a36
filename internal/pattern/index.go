package pattern

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"unsafe"
)

// A matcher finds rules by their anchors. Each branch has one: a field, chosen
// when the branch is added, all of whose tests are in an index. An event's
// leaves are looked up there, and a hit makes the branch a candidate, whose
// program is then evaluated. The anchor is the field with the fewest branches
// behind it, so that the cost of a match follows candidates and not rules.
// Every index may name too many branches, for none decides by itself.

// index is everything that readers see of one generation of branches.
type index struct {
	seed     maphash.Seed
	salt     uint64
	paths    *pathSet
	entries  entryTable
	branches vec[storedBranch]
	programs vec[string] // those too long for their branches
	loose    idList      // branches without an anchor: all absences, or no fields
	// version is that of the newest branch that is wholly indexed.
	version atomic.Uint32
	// replacing counts up before and after a rule's branches are exchanged.
	replacing atomic.Uint32
}

// storedBranch fills one cache line: on the way from a leaf to a verdict it is
// the second of two accesses that no cache is likely to hold.
//
// Each rule has a cell, in the first branch it ever had: the version of the
// branches that count. So one store makes a rule appear, exchanges it or ends
// it, and branches need not be found again.
type storedBranch struct {
	id      int64         // of the rule, if its cell is here
	current atomic.Uint32 // likewise; 0 if the rule is gone
	cell    uint32        // the branch that has the rule's cell
	version uint32
	several bool // more than one hit can lead here
	spilled bool // program is an index into programs
	size    uint16
	inline  [40]byte
}

func (x *index) programOf(b *storedBranch) string {
	if b.spilled {
		return *x.programs.at(binary.LittleEndian.Uint32(b.inline[:]))
	}
	return unsafe.String(&b.inline[0], int(b.size)) //nolint:gosec // written before b is found, and never again
}

func (x *index) setProgram(b *storedBranch, program []byte) {
	if len(program) <= len(b.inline) {
		b.size = uint16(copy(b.inline[:], program))
		return
	}
	at, text := x.programs.grow()
	*text = string(program)
	binary.LittleEndian.PutUint32(b.inline[:], at)
	b.spilled = true
}

func newIndex() *index {
	return &index{seed: maphash.MakeSeed(), salt: rand.Uint64(), paths: newPathSet()} //nolint:gosec // spreads hashes, guards nothing
}

// leafIndex is what a path's leaves are looked up in, beside the entries that
// all paths share.
type leafIndex struct {
	has atomic.Uint32 // of the kinds below
	// Bit n is set if an anchor has n bytes.
	prefixes, suffixes, foldedPrefixes, foldedSuffixes atomic.Uint64

	grams  [4]atomic.Pointer[gramFilter] // of 1, 2, 4 and 8 bytes
	ranges atomic.Pointer[rangeNode]
	nRange uint32 // the writer's
	nets   atomic.Pointer[netSizes]
	any    idList // branches that almost any leaf is a hit for
}

// The kinds of anchors. They are part of the hash, so that kinds do not mix.
const (
	hasText uint32 = 1 << iota
	hasWord
	hasNumber
	hasFolded
	hasPrefixOf
	hasSuffixOf
	hasFoldedPrefix
	hasFoldedSuffix
	hasGram
	hasRange
	hasNet
)

// gramFilter has a bit for every gram in use, many to a bit.
type gramFilter [512]atomic.Uint64

// netSizes has a bit for each number of leading bits that some net has.
type netSizes struct {
	v4 atomic.Uint64
	v6 [3]atomic.Uint64
}

// maxPiece is how many bytes of a prefix or suffix are indexed.
const maxPiece = 63

const (
	mixA = 0x9e3779b97f4a7c15
	mixB = 0xbf58476d1ce4e5b9
)

func mix(h uint64) uint64 {
	hi, lo := bits.Mul64(h^mixA, mixB)
	return hi ^ lo
}

func (x *index) key(n *pathNode, kind uint32, h uint64) uint64 {
	return mix(h ^ x.salt ^ uint64(n.id)<<24 ^ uint64(kind))
}

// under is the hash of an entry nested in another.
func under(outer, inner uint64) uint64 {
	return mix(bits.RotateLeft64(outer, 17) + inner)
}

func (x *index) textKey(n *pathNode, text []byte) uint64 {
	return x.key(n, hasText, maphash.Bytes(x.seed, text))
}

func (x *index) wordKey(n *pathNode, text []byte) uint64 {
	return x.key(n, hasWord, maphash.Bytes(x.seed, text))
}

func (x *index) numberKey(n *pathNode, d scaled) uint64 {
	h := d.mantissa * mixA
	if d.negative {
		h = ^h
	}
	return x.key(n, hasNumber, h+uint64(uint32(d.exp))*mixB)
}

// roll goes on with the hash of a text by one byte.
func roll(h uint64, c byte) uint64 { return (h + uint64(c) + 1) * mixA }

func (x *index) rolledKey(n *pathNode, kind uint32, h uint64, size int) uint64 {
	return x.key(n, kind, h^uint64(size)<<48)
}

func (x *index) prefixKey(n *pathNode, kind uint32, text string) uint64 {
	var h uint64
	for i := range len(text) {
		h = roll(h, text[i])
	}
	return x.rolledKey(n, kind, h, len(text))
}

func (x *index) suffixKey(n *pathNode, kind uint32, text string) uint64 {
	var h uint64
	for i := len(text) - 1; i >= 0; i-- {
		h = roll(h, text[i])
	}
	return x.rolledKey(n, kind, h, len(text))
}

// A case-blind text of ASCII is indexed by its first bytes and its length.
func (x *index) foldedKey(n *pathNode, h uint64, size int) uint64 {
	return x.rolledKey(n, hasFolded, h, size)
}

func gramHash(gram uint64) uint64 { return gram * mixA }

func (x *index) gramKey(n *pathNode, size int, hash uint64) uint64 {
	return x.key(n, hasGram|uint32(size)<<16, hash)
}

func (f *gramFilter) has(hash uint64) bool {
	return f[hash>>55].Load()>>(hash>>49&63)&1 != 0
}

func (f *gramFilter) add(hash uint64) {
	orBit(&f[hash>>55], int(hash>>49&63))
}

func (x *index) netKey(n *pathNode, addr netip.Addr, size int) uint64 {
	high, low := addrWords(addr)
	kind := hasNet
	if addr.Is4() {
		kind |= 1 << 16
		high &= mask64(size)
	} else {
		low &= mask64(size - 64)
		high &= mask64(size)
	}
	return x.key(n, kind|uint32(size)<<17, high*mixA^bits.RotateLeft64(low*mixB, 32))
}

// mask64 has the n upper bits set; all or none if n is out of range.
func mask64(n int) uint64 {
	switch {
	case n <= 0:
		return 0
	case n >= 64:
		return ^uint64(0)
	}
	return ^uint64(0) << (64 - n)
}

// addrWords has an IPv4 address at the top of high.
func addrWords(addr netip.Addr) (high, low uint64) {
	if addr.Is4() {
		a := addr.As4()
		return uint64(binary.BigEndian.Uint32(a[:])) << 32, 0
	}
	a := addr.As16()
	return binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:])
}

func orBit(w *atomic.Uint64, bit int) {
	// One writer: no other store can come between.
	w.Store(w.Load() | 1<<bit)
}
