package pattern

import "sync/atomic"

// What readers see while a writer works: everything below grows in place, one
// writer at a time, and each addition becomes visible by one atomic store.

const (
	chunkBits = 8
	chunkSize = 1 << chunkBits
)

// vec is an append-only list whose elements never move, so that readers keep
// pointers into it. An index reaches a reader only after its element is written.
type vec[T any] struct {
	chunks atomic.Pointer[[]*[chunkSize]T]
	n      uint32 // the writer's
}

func (v *vec[T]) at(i uint32) *T {
	return &(*v.chunks.Load())[i>>chunkBits][i&(chunkSize-1)]
}

// grow adds a zero element for the writer to fill.
func (v *vec[T]) grow() (uint32, *T) {
	i := v.n
	v.n++
	if i&(chunkSize-1) == 0 {
		var old []*[chunkSize]T
		if p := v.chunks.Load(); p != nil {
			old = *p
		}
		// The spare capacity is written only where no reader looks yet.
		next := append(old, new([chunkSize]T))
		v.chunks.Store(&next)
	}
	return i, v.at(i)
}

// idList is a list of branches that only grows. Readers see a prefix of it.
type idList struct {
	head atomic.Pointer[idArray]
}

type idArray struct {
	n   atomic.Uint32
	ids []uint32
}

func (l *idList) add(id uint32) {
	a := l.head.Load()
	if a == nil || int(a.n.Load()) == len(a.ids) {
		next := &idArray{ids: make([]uint32, 2)}
		if a != nil {
			next.ids = make([]uint32, 2*len(a.ids))
			copy(next.ids, a.ids)
			next.n.Store(a.n.Load())
		}
		l.head.Store(next)
		a = next
	}
	n := a.n.Load()
	a.ids[n] = id
	a.n.Store(n + 1)
}

func (l *idList) all() []uint32 {
	a := l.head.Load()
	if a == nil {
		return nil
	}
	return a.ids[:a.n.Load()]
}

// entry holds the branches whose anchor has one hash. Two anchors that collide
// share an entry, which costs verification and nothing else.
type entry struct {
	hash   uint64
	total  uint32 // branches here and in nested entries; the writer's
	ids    idList
	nested atomic.Pointer[[]uint32] // paths on which branches are told apart further
}

// entryTable finds an entry by hash: open addressing over words that hold 32
// bits of the hash, which say where to begin too, and what is found there. For
// most that is one branch, and no entry at all: with many rules the time goes
// into memory that is not in a cache, so every step less counts.
type entryTable struct {
	slots   atomic.Pointer[[]atomic.Uint64]
	used    int // the writer's
	entries vec[entry]
}

// found is what a table has for a hash: nothing, a branch, or an entry.
type found uint32

const (
	foundNothing found = 0
	foundEntry   found = 1 << 31 // with the entry's index; else a branch plus one
)

func (t *entryTable) find(hash uint64) found {
	p := t.slots.Load()
	if p == nil {
		return foundNothing
	}
	slots := *p
	mask := uint64(len(slots) - 1)
	for i := hash >> 32 & mask; ; i = (i + 1) & mask {
		w := slots[i].Load()
		if w == 0 || (w^hash)>>32 == 0 {
			return found(w)
		}
	}
}

// total is how many branches there are for a hash.
func (t *entryTable) total(hash uint64) int {
	switch f := t.find(hash); {
	case f == foundNothing:
		return 0
	case f&foundEntry == 0:
		return 1
	default:
		return int(t.entries.at(uint32(f &^ foundEntry)).total)
	}
}

// add puts a branch under a hash, if nothing is there yet. Otherwise it returns
// the entry to put it in.
func (t *entryTable) add(hash uint64, branch uint32) *entry {
	p := t.slots.Load()
	if p == nil || 2*t.used >= len(*p) {
		p = t.double(p)
	}
	slots := *p
	mask := uint64(len(slots) - 1)
	for i := hash >> 32 & mask; ; i = (i + 1) & mask {
		w := slots[i].Load()
		if w == 0 {
			t.used++
			slots[i].Store(hash>>32<<32 | uint64(branch+1))
			return nil
		}
		if (w^hash)>>32 != 0 {
			continue
		}
		f := found(w)
		if f&foundEntry != 0 {
			return t.entries.at(uint32(f &^ foundEntry))
		}
		id, e := t.entries.grow()
		e.hash = hash
		e.total = 1
		e.ids.add(uint32(f) - 1)
		slots[i].Store(hash>>32<<32 | uint64(foundEntry) | uint64(id))
		return e
	}
}

func (t *entryTable) double(p *[]atomic.Uint64) *[]atomic.Uint64 {
	size := 16
	if p != nil {
		size = 2 * len(*p)
	}
	next := make([]atomic.Uint64, size)
	mask := uint64(size - 1)
	for i := range size / 2 {
		if p == nil {
			break
		}
		w := (*p)[i].Load()
		if w == 0 {
			continue
		}
		at := w >> 32 & mask
		for next[at].Load() != 0 {
			at = (at + 1) & mask
		}
		next[at].Store(w)
	}
	t.slots.Store(&next)
	return &next
}
