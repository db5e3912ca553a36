package pattern

import (
	"encoding/binary"
	"slices"
)

// maxComplexity is the highest complexity a field may have. AWS does not tell
// its limit; it accepts patterns of 8 and refuses such of 11.
const maxComplexity = 10

// maxExplored bounds the work of measuring; what takes more is too complex.
const maxExplored = 1 << 13

const reasonTooComplex = "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character"

// tooComplex tells whether a field of a branch exceeds maxComplexity.
func tooComplex(branches []conjunction) bool {
	measured := map[*Test]bool{} // branches share the lists that precede a $or
	for _, branch := range branches {
		for _, tests := range branch {
			if measured[&tests[0]] {
				continue
			}
			measured[&tests[0]] = true
			if complexity(tests) > maxComplexity {
				return true
			}
		}
	}
	return false
}

// complexity is the measure that AWS's rule engine has for wildcards: the
// greatest number of beginnings of a field's wildcards, taken together, that
// one text can be of the form of. For "*ab*ad" it is 4, for the text "aba": *,
// *a, *ab*, *ab*a. The wildcards and the text are in their quotes. Beyond
// maxComplexity it is only known to be higher.
func complexity(tests []Test) int {
	// All wildcards in one row. A state is a place in it, in front of a token:
	// the beginning that ends there is of the form of what has been read.
	const end = -2
	var tokens []int16
	var first []int16 // states to begin with
	var bytes [257]bool
	seen := map[string]bool{}
	add := func(wildcard string) {
		if seen[wildcard] {
			return
		}
		seen[wildcard] = true
		first = append(first, int16(len(tokens)+1)) // behind the opening quote
		inner, _ := wildcardTokens(wildcard)
		tokens = append(append(append(tokens, '"'), inner...), '"', end)
	}
	for _, test := range tests {
		switch test.Op {
		case OpWildcard:
			add(test.Text)
		case OpAnythingButWildcard:
			for _, text := range test.Texts {
				add(text)
			}
		default:
			// The engine measures wildcards only.
		}
	}
	if len(first) == 0 {
		return 0
	}
	if len(tokens) > maxExplored {
		return maxComplexity + 1
	}
	for _, t := range tokens {
		if t >= 0 {
			bytes[t] = true
		}
	}
	bytes[256] = true // a byte that no wildcard names

	skipStars := func(states []int16) []int16 {
		for i := 0; i < len(states); i++ {
			if s := states[i]; tokens[s] == star {
				states = append(states, s+1)
			}
		}
		slices.Sort(states)
		return slices.Compact(states)
	}
	most := 0
	explored := map[string]bool{}
	queue := [][]int16{skipStars(first)}
	for len(queue) > 0 {
		states := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		most = max(most, len(states))
		if most > maxComplexity || len(explored) > maxExplored {
			return maxComplexity + 1
		}
		for b, used := range bytes {
			if !used {
				continue
			}
			var next []int16
			for _, s := range states {
				if tokens[s-1] == star {
					next = append(next, s)
				}
				if tokens[s] == int16(b) {
					next = append(next, s+1)
				}
			}
			if len(next) == 0 {
				continue
			}
			next = skipStars(next)
			key := make([]byte, 0, 2*len(next))
			for _, s := range next {
				key = binary.LittleEndian.AppendUint16(key, uint16(s))
			}
			if !explored[string(key)] {
				explored[string(key)] = true
				queue = append(queue, next)
			}
		}
	}
	return most
}
