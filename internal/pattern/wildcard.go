package pattern

import "strconv"

// star stands for "any characters" in a parsed wildcard; others are bytes.
const star = -1

// wildcardTokens reads a wildcard: * is any characters, \* and \\ are escapes.
// Otherwise it returns the reason why text is no wildcard. Positions are in
// bytes of the text in its quotes, as AWS counts them.
func wildcardTokens(text string) (tokens []int16, reason string) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '*' && i+1 < len(text) && text[i+1] == '*':
			return nil, "Consecutive wildcard characters at pos " + strconv.Itoa(i+1)
		case c == '*':
			tokens = append(tokens, star)
		case c != '\\':
			tokens = append(tokens, int16(c))
		case i+1 < len(text) && (text[i+1] == '*' || text[i+1] == '\\'):
			i++
			tokens = append(tokens, int16(text[i]))
		default:
			return nil, "Invalid escape character at pos " + strconv.Itoa(i+1)
		}
	}
	return tokens, ""
}

// wildcardMatch tells whether text is of the wildcard's form. The text of a
// parsed pattern is always a valid wildcard.
func wildcardMatch(wildcard, text string) bool {
	tokens, _ := wildcardTokens(wildcard)
	// reached[i]: the first i tokens can stand for the text read so far.
	reached := make([]bool, len(tokens)+1)
	reached[0] = true
	skipStars := func() {
		for i, t := range tokens {
			if t == star && reached[i] {
				reached[i+1] = true
			}
		}
	}
	skipStars()
	for _, c := range []byte(text) {
		// From the end, so that reached[i] is still that of the byte before.
		for i := len(tokens) - 1; i >= 0; i-- {
			if tokens[i] == star {
				reached[i+1] = reached[i+1] || reached[i]
			} else {
				reached[i+1] = reached[i] && tokens[i] == int16(c)
			}
		}
		reached[0] = false
		skipStars()
	}
	return reached[len(tokens)]
}
