package rawjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	// maxKeys is how many keys of open objects a keySet holds, and maxLevels how
	// many objects. Beyond that it is unsure.
	maxKeys   = 64
	maxLevels = 16

	// Odd numbers without a pattern, to spread hashes.
	hashA = 0xff51afd7ed558ccd
	hashB = 0x9e3779b97f4a7c15
)

// keySet notes the keys of the objects that are open, as hashes, to find out
// whether one is there twice. What it is not sure of it takes for a double.
type keySet struct {
	unsure bool
	n      int // hashes
	depth  int
	levels [maxLevels]keyLevel
	hashes [maxKeys]uint64
}

// keyLevel is an object that is open. In filter a bit is set for each of its
// keys, so that most are seen to be new without comparing them with the others.
type keyLevel struct {
	from   int // its first hash
	filter uint64
}

func (k *keySet) begin() {
	if k.depth == maxLevels {
		k.unsure = true
	}
	if k.unsure {
		return
	}
	k.levels[k.depth] = keyLevel{from: k.n}
	k.depth++
}

func (k *keySet) end() {
	if k.unsure {
		return
	}
	k.depth--
	k.n = k.levels[k.depth].from
}

// add notes the key data[i:j].
func (k *keySet) add(data []byte, i, j int, escaped bool) {
	if k.unsure {
		return
	}
	h, dotted := keyHash(data, i, j)
	if escaped || dotted || k.n == maxKeys {
		k.unsure = true
		return
	}
	level := &k.levels[k.depth-1]
	bit := uint64(1) << (h >> 58)
	if level.filter&bit != 0 {
		for _, other := range k.hashes[level.from:k.n] {
			if other == h {
				k.unsure = true
				return
			}
		}
	}
	level.filter |= bit
	k.hashes[k.n] = h
	k.n++
}

// keyHash also tells whether there may be a dot in data[i:j]. It reads a key's
// first and last eight bytes, and those in the middle of a long one.
func keyHash(data []byte, i, j int) (h uint64, dotted bool) {
	n := j - i
	if n > 16 {
		if n > 24 && bytes.IndexByte(data[i:j], '.') >= 0 {
			return 0, true
		}
		middle := binary.LittleEndian.Uint64(data[i+n/2-4:])
		h, dotted = bits.RotateLeft64(middle, 11), hasDot(middle)
	}
	var head uint64
	cut := uint(64 - 8*min(n, 8))
	if i+8 <= len(data) {
		head = binary.LittleEndian.Uint64(data[i:]) << cut >> cut
	} else {
		for at := j - 1; at >= i; at-- {
			head = head<<8 | uint64(data[at])
		}
	}
	tail := head
	if j >= 8 {
		tail = binary.LittleEndian.Uint64(data[j-8:]) >> cut
	}
	h ^= head*hashA ^ bits.RotateLeft64(tail, 29) ^ uint64(n)
	return h * hashB, dotted || hasDot(head) || hasDot(tail)
}

func hasDot(word uint64) bool {
	word ^= '.' * ones
	return (word-ones)&^word&highs != 0
}
