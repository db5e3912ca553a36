package pattern

// rangeNode is a treap of ranges ordered by their low ends, each node with the
// highest end beneath it. It is never changed: adding copies one path.
type rangeNode struct {
	low, high, highest float64
	left, right        *rangeNode
	branch             uint32
	priority           uint32
}

func (t *rangeNode) with(n *rangeNode) *rangeNode {
	if t == nil {
		return n
	}
	if n.priority > t.priority {
		n.left, n.right = t.split(n.low)
		return n.measured()
	}
	c := *t
	if n.low < t.low {
		c.left = t.left.with(n)
	} else {
		c.right = t.right.with(n)
	}
	return c.measured()
}

// split returns the nodes below low, and the others.
func (t *rangeNode) split(low float64) (below, others *rangeNode) {
	if t == nil {
		return nil, nil
	}
	c := *t
	if t.low < low {
		c.right, others = t.right.split(low)
		return c.measured(), others
	}
	below, c.left = t.left.split(low)
	return below, c.measured()
}

func (t *rangeNode) measured() *rangeNode {
	t.highest = t.high
	if t.left != nil && t.left.highest > t.highest {
		t.highest = t.left.highest
	}
	if t.right != nil && t.right.highest > t.highest {
		t.highest = t.right.highest
	}
	return t
}

// around makes a candidate of every range that has numbers from low to high.
func (s *scratch) around(t *rangeNode, low, high float64) {
	for t != nil && t.highest >= low {
		s.around(t.left, low, high)
		if t.low > high {
			return
		}
		if t.high >= low {
			s.candidateOnce(t.branch)
		}
		t = t.right
	}
}
