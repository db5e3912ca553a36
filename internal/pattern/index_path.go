package pattern

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"sync/atomic"
)

// pathNode is a path that some pattern names, or the start of one. Its edges
// are single names; an event's name with dots in it takes several at once.
type pathNode struct {
	id   uint32
	name string
	// wanted says that leaves here matter, deep that there are edges.
	wanted atomic.Bool
	deep   atomic.Bool
	edges  atomic.Pointer[[]atomic.Pointer[pathEdge]]
	known  atomic.Uint32 // edges
	sizes  atomic.Uint64 // of their names, a bit each; the last for all from 63 bytes
	nth    uint32        // which of its parent's edges leads here
	index  leafIndex
}

type pathEdge struct {
	key  nameKey
	name string
	to   *pathNode
}

// nameKey tells names apart: completely up to 16 bytes, beyond that by their
// ends and length, and then the bytes must be compared too.
type nameKey struct {
	head, tail uint64
	size       uint32
}

func (k nameKey) hash() uint64 {
	h := (k.head ^ bits.RotateLeft64(k.tail, 23) ^ uint64(k.size)<<56) * 0x9e3779b97f4a7c15
	return h >> 32
}

// nameKeyAt is the key of b[i:j]. Reading eight bytes at once needs no care
// but near the end of b.
func nameKeyAt(b []byte, i, j int) nameKey {
	n := j - i
	k := nameKey{size: uint32(n)}
	switch {
	case n > 8:
		k.head = binary.LittleEndian.Uint64(b[i:])
		k.tail = binary.LittleEndian.Uint64(b[j-8:])
	case i+8 <= len(b):
		k.head = binary.LittleEndian.Uint64(b[i:]) & (1<<(8*uint(n)) - 1)
	default:
		for x := j - 1; x >= i; x-- {
			k.head = k.head<<8 | uint64(b[x])
		}
	}
	return k
}

// plain reports that the name certainly is all ASCII and without dots.
func (k nameKey) plain() bool {
	h, t := k.head^laneOnes*'.', k.tail^laneOnes*'.'
	dots := (h-laneOnes)&^h | (t-laneOnes)&^t
	return k.size <= 16 && (dots|k.head|k.tail)&laneTops == 0
}

// edge follows the name b[i:j], which is decoded and has no dots.
func (n *pathNode) edge(b []byte, i, j int) *pathNode {
	return n.edgeFor(nameKeyAt(b, i, j), b, i, j)
}

func (n *pathNode) edgeFor(k nameKey, b []byte, i, j int) *pathNode {
	p := n.edges.Load()
	if p == nil {
		return nil
	}
	slots := *p
	mask := uint64(len(slots) - 1)
	for x := k.hash() & mask; ; x = (x + 1) & mask {
		e := slots[x].Load()
		if e == nil {
			return nil
		}
		if e.key == k && (k.size <= 16 || e.name == string(b[i:j])) {
			return e.to
		}
	}
}

// pathSet is every path that patterns name.
type pathSet struct {
	root  *pathNode
	names map[string]*pathNode // wanted ones; the writer's
	nodes []*pathNode          // by id; the writer's
	// count is published before any branch that needs the newest path.
	count atomic.Uint32
}

func newPathSet() *pathSet {
	root := &pathNode{}
	s := &pathSet{root: root, names: make(map[string]*pathNode), nodes: []*pathNode{root}}
	s.count.Store(1)
	return s
}

// want returns the node of a path, made if need be.
func (s *pathSet) want(path string) *pathNode {
	if n := s.names[path]; n != nil {
		return n
	}
	n := s.root
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ".")
		b := []byte(name)
		to := n.edge(b, 0, len(b))
		if to == nil {
			to = &pathNode{id: s.count.Load()}
			s.nodes = append(s.nodes, to)
			s.count.Add(1)
			n.addEdge(&pathEdge{key: nameKeyAt(b, 0, len(b)), name: name, to: to})
		}
		n = to
	}
	n.name = path
	n.wanted.Store(true)
	s.names[path] = n
	return n
}

func (n *pathNode) addEdge(e *pathEdge) {
	p := n.edges.Load()
	e.to.nth = n.known.Load()
	orBit(&n.sizes, min(len(e.name), 63))
	count := e.to.nth + 1
	if p != nil && 2*int(count) <= len(*p) {
		putEdge(*p, e)
		n.known.Store(count)
		return
	}
	size := 4
	if p != nil {
		size = 2 * len(*p)
	}
	next := make([]atomic.Pointer[pathEdge], size)
	if p != nil {
		for i := range *p {
			if old := (*p)[i].Load(); old != nil {
				putEdge(next, old)
			}
		}
	}
	putEdge(next, e)
	n.edges.Store(&next)
	n.deep.Store(true)
	n.known.Store(count)
}

func putEdge(slots []atomic.Pointer[pathEdge], e *pathEdge) {
	mask := uint64(len(slots) - 1)
	i := e.key.hash() & mask
	for slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	slots[i].Store(e)
}
