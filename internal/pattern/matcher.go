package pattern

import (
	"sync"
	"sync/atomic"
)

// Matcher holds many patterns and finds those that an event matches. Matches
// take no locks and run beside Add and Remove, of which one runs at a time. A
// match sees each rule as it was at one moment, whole.
type Matcher struct {
	current atomic.Pointer[index]
	scratch sync.Pool

	mu      sync.Mutex
	rules   map[int64]ruleRef
	version uint32 // of the latest addition
	live    int    // branches of rules that are there; the others are dead
	program []byte
	fields  []boundField
}

// deadSlack is how many more branches may be dead than alive.
const deadSlack = 64

// matchTries is how often a match starts over because a rule was replaced
// under it, before it holds up the writers.
const matchTries = 4

// NewMatcher returns a matcher without rules.
func NewMatcher() *Matcher {
	m := &Matcher{rules: make(map[int64]ruleRef)}
	m.scratch.New = func() any { return new(scratch) }
	m.current.Store(newIndex())
	return m
}

type ruleRef struct {
	cell     uint32 // the branch that has it, plus one; 0 if there never was a branch
	branches uint32
}

// Add makes id stand for p, in place of any earlier pattern. Nothing of p is
// kept. A pattern with a branch that has no fields matches every event, one
// without branches none.
func (m *Matcher) Add(id int64, p *Pattern) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.current.Load()
	ref := m.rules[id]
	replaces := ref.cell != 0
	m.version++
	for _, b := range p.Branches {
		m.program = compile(m.program[:0], b, x.paths)
		at := m.store(x, ref.cell, m.version, len(p.Branches), m.program)
		if ref.cell == 0 {
			ref.cell = at + 1
			x.branches.at(at).id = id
		}
	}
	m.live += len(p.Branches) - int(ref.branches)
	ref.branches = uint32(len(p.Branches))
	m.rules[id] = ref
	if ref.cell == 0 {
		return
	}
	c := x.branches.at(ref.cell - 1)
	if replaces {
		x.replacing.Add(1)
	}
	c.current.Store(m.version)
	x.version.Store(m.version)
	if replaces {
		x.replacing.Add(1)
		m.tidy(x)
	}
}

// Remove makes id stand for nothing. It is not an error if it did so already.
func (m *Matcher) Remove(id int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ref, ok := m.rules[id]
	if !ok {
		return
	}
	delete(m.rules, id)
	m.live -= int(ref.branches)
	x := m.current.Load()
	if ref.cell != 0 {
		x.branches.at(ref.cell - 1).current.Store(0)
	}
	m.tidy(x)
}

// store indexes one branch, of a rule with siblings many, under the rule's cell
// or as that cell if it is 0. No reader minds it before its version is out.
func (m *Matcher) store(x *index, cell, version uint32, siblings int, program []byte) uint32 {
	id, b := x.branches.grow()
	b.version, b.several, b.cell = version, siblings > 1, id
	if cell != 0 {
		b.cell = cell - 1
	}
	x.setProgram(b, program)
	m.fields = m.fields[:0]
	for p := x.programOf(b); len(p) > 0; {
		path, rest := cutSize(p)
		tests, rest := cut(rest)
		p = rest
		m.fields = append(m.fields, boundField{node: x.paths.nodes[path], absent: tests[0] != 0, tests: tests[1:]})
	}
	x.place(id, m.fields)
	return id
}

// tidy builds the index anew once most of it is dead: it cannot shrink, for
// readers may be anywhere in it.
func (m *Matcher) tidy(x *index) {
	if int(x.branches.n) <= 2*m.live+deadSlack {
		return
	}
	next := newIndex()
	m.version = 1
	moved := make([]uint32, x.branches.n) // cells, plus one
	for i := range x.branches.n {
		b := x.branches.at(i)
		c := x.branches.at(b.cell)
		if c.current.Load() != b.version {
			continue
		}
		ref := m.rules[c.id]
		m.program = rebind(m.program[:0], x.programOf(b), x.paths, next.paths)
		at := m.store(next, moved[b.cell], m.version, int(ref.branches), m.program)
		if moved[b.cell] == 0 {
			moved[b.cell] = at + 1
			first := next.branches.at(at)
			first.id = c.id
			first.current.Store(m.version)
		}
	}
	for id, ref := range m.rules {
		if ref.cell != 0 {
			ref.cell = moved[ref.cell-1]
			m.rules[id] = ref
		}
	}
	next.version.Store(m.version)
	m.current.Store(next)
}

// Match appends the ids of the rules that event matches to dst, each once and
// in no order. Event is a JSON object that was found valid; of one that is not
// the answer means nothing. Distinct is what rawjson.Form says of it: no path is
// written twice, which lets the match stop before the event's end, and names need
// no decoding. It allocates only what dst lacks.
func (m *Matcher) Match(dst []int64, event []byte, distinct bool) []int64 {
	s, _ := m.scratch.Get().(*scratch)
	defer m.scratch.Put(s)
	start := len(dst)
	for range matchTries {
		x := m.current.Load()
		before := x.replacing.Load()
		dst = s.match(x, event, distinct, dst[:start])
		// A rule that is exchanged during a match could be missed by it.
		if before&1 == 0 && x.replacing.Load() == before {
			return dst
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.match(m.current.Load(), event, distinct, dst[:start])
}

func (s *scratch) match(x *index, event []byte, distinct bool, dst []int64) []int64 {
	s.reset(x, event, distinct, dst)
	s.run()
	dst = s.dst
	s.release()
	return dst
}
