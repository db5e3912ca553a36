package pattern

import "net/netip"

// Pattern is a parsed event pattern. An event matches it if any of its
// branches matches: $or is multiplied out when the pattern is parsed.
type Pattern struct {
	Text     []byte // as given
	Branches []Branch
}

// Branch is a conjunction: each of its fields must match, and leaves inside
// arrays must come from the same array elements (array consistency).
type Branch []Field // sorted by Path, each path once

// Field is what one leaf of the event must satisfy: any of its tests.
type Field struct {
	// Path is the names of the enclosing objects joined by ".", so that a
	// name with a dot and two nested names are the same path.
	Path  string
	Tests []Test
}

// Op is what a test compares.
type Op uint8

// The operators. Those on text compare decoded strings.
const (
	OpString            Op = iota + 1 // equals Text
	OpLiteral                         // the leaf's raw text equals Text: true, false, null, or a number that no double holds
	OpNumber                          // equals Number
	OpPrefix                          // starts with Text
	OpSuffix                          // ends with Text
	OpIgnoreCase                      // equals Text but for case
	OpPrefixIgnoreCase                // starts with Text but for case
	OpSuffixIgnoreCase                // ends with Text but for case
	OpWildcard                        // Text, where * stands for any characters, \* and \\ for themselves
	OpRange                           // a number within Range
	OpCIDR                            // an IP address within Net
	OpExists                          // there is a leaf
	OpAbsent                          // there is no leaf
	OpAnythingBut                     // neither one of Texts nor one of Numbers
	OpAnythingButPrefix               // starts with none of Texts; likewise below
	OpAnythingButSuffix
	OpAnythingButIgnoreCase
	OpAnythingButWildcard
)

// Test is one alternative of a field. Only the fields its Op names are set.
type Test struct {
	Op      Op
	Text    string
	Texts   []string
	Number  float64
	Numbers []float64
	Range   Range
	Net     netip.Prefix
}

// Range is a numeric range; bounds may be infinite.
type Range struct {
	Low, High         float64
	LowOpen, HighOpen bool // the bound itself is outside
}
