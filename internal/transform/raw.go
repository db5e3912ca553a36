package transform

import (
	"encoding/json"
	"iter"
)

// These walk JSON that is known to be valid. On anything else they end early
// and never out of bounds.

// rawKey is the key of a member, in quotes and escaped as it came.
type rawKey []byte

func (k rawKey) is(name string) bool {
	if len(k) < 2 {
		return false
	}
	inside := k[1 : len(k)-1]
	if string(inside) == name {
		return true
	}
	for _, c := range inside {
		if c == '\\' {
			var s string
			return json.Unmarshal(k, &s) == nil && s == name
		}
	}
	return false
}

// members yields the members of an object in their order; of any other value,
// nothing.
func members(object []byte) iter.Seq2[rawKey, []byte] {
	return func(yield func(rawKey, []byte) bool) {
		i := skipSpace(object, 0)
		if i >= len(object) || object[i] != '{' {
			return
		}
		for i = skipSpace(object, i+1); i < len(object) && object[i] == '"'; {
			end := skipValue(object, i)
			key := rawKey(object[i:end:end])
			if i = skipSpace(object, end); i >= len(object) || object[i] != ':' {
				return
			}
			i = skipSpace(object, i+1)
			if end = skipValue(object, i); end == i || !yield(key, object[i:end:end]) {
				return
			}
			if i = skipSpace(object, end); i >= len(object) || object[i] != ',' {
				return
			}
			i = skipSpace(object, i+1)
		}
	}
}

// elements yields the elements of an array; of any other value, nothing.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := skipSpace(array, 0)
		if i >= len(array) || array[i] != '[' {
			return
		}
		for i = skipSpace(array, i+1); i < len(array); {
			end := skipValue(array, i)
			if end == i || !yield(array[i:end:end]) {
				return
			}
			if i = skipSpace(array, end); i >= len(array) || array[i] != ',' {
				return
			}
			i = skipSpace(array, i+1)
		}
	}
}

// member returns the value of the last member called name, as every decoder
// that makes a map does.
func member(object []byte, name string) (value []byte, ok bool) {
	for key, v := range members(object) {
		if key.is(name) {
			value, ok = v, true
		}
	}
	return value, ok
}

func element(array []byte, index int) (value []byte, ok bool) {
	for v := range elements(array) {
		if index == 0 {
			return v, true
		}
		index--
	}
	return nil, false
}

// firstValue returns data without the space around it.
func firstValue(data []byte) []byte {
	i := skipSpace(data, 0)
	end := skipValue(data, i)
	return data[i:end:end]
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && isSpace(data[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// skipValue returns the end of the value at i, or i if there is none.
func skipValue(data []byte, i int) int {
	depth := 0
	for start := i; i < len(data); {
		switch c := data[i]; c {
		case '"':
			i = skipString(data, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return start
			}
			depth--
			i++
		default:
			if depth > 0 {
				i++ // a separator, or a scalar, of which any byte may be skipped
				continue
			}
			for i < len(data) && !isSpace(data[i]) && data[i] != ',' && data[i] != '}' && data[i] != ']' && data[i] != ':' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

// skipString returns the end of the string whose opening quote is at i.
func skipString(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(data)
}

// appendCompact appends JSON without the space between its tokens.
func appendCompact(dst, value []byte) []byte { return appendTokens(dst, value, true) }

// appendUnquoted appends JSON without space and without the quotes around its
// strings, as {a:b,c:[1,d]}. Quotes within a string stay escaped.
func appendUnquoted(dst, value []byte) []byte { return appendTokens(dst, value, false) }

func appendTokens(dst, value []byte, quotes bool) []byte {
	for i := 0; i < len(value); {
		start := i
		switch c := value[i]; {
		case isSpace(c):
			i++
			continue
		case c == '"':
			i = skipString(value, i)
			if !quotes && i-start >= 2 {
				dst = append(dst, value[start+1:i-1]...)
				continue
			}
		default:
			for i < len(value) && value[i] != '"' && !isSpace(value[i]) {
				i++
			}
		}
		dst = append(dst, value[start:i]...)
	}
	return dst
}
