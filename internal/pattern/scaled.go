package pattern

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unsafe"
)

// scaled is a decimal number in one normal form: mantissa × 10^exp, where the
// mantissa ends in no zero, and zero is mantissa 0, exp 0 and not negative.
//
// Numbers are compared for equality in this form rather than as doubles: the
// pattern's is the shortest decimal of its double, and an event's number that
// stands for a double exactly is that same decimal. So most numbers of an
// event are never turned into doubles at all, and those that stand for none
// cannot compare equal.
type scaled struct {
	mantissa uint64
	exp      int32
	negative bool
	digits   uint8 // significant ones
}

var powers = [...]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

var wholePowers = [...]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// maxDigits is more than the shortest decimal of any double has.
const maxDigits = 17

// scale reads a JSON number. It is false if the number has too many digits or
// too large an exponent to stand for a double exactly.
func scale(text []byte) (scaled, bool) {
	var d scaled
	i := 0
	if i < len(text) && text[i] == '-' {
		d.negative = true
		i++
	}
	start, point := i, -1
	var mantissa uint64
	for i < len(text) {
		if i+8 <= len(text) {
			if w := binary.LittleEndian.Uint64(text[i:]); eightDigits(w) {
				mantissa = mantissa*1e8 + eightDigitsValue(w)
				i += 8
				continue
			}
		}
		c := text[i] - '0'
		if c > 9 {
			if text[i] != '.' {
				break
			}
			point = i
		} else {
			mantissa = mantissa*10 + uint64(c)
		}
		i++
	}
	exp, size := 0, i-start
	if point >= 0 {
		exp = point + 1 - i
		size--
	}
	digits := 0
	switch {
	case size > 19:
		// It may have overflown, if not all of the digits are zeros at its ends.
		var ok bool
		if mantissa, digits, exp, ok = scaleLong(text[start:i], exp); !ok {
			return scaled{}, false
		}
	case mantissa != 0:
		for mantissa%10 == 0 {
			mantissa /= 10
			exp++
		}
		if mantissa >= 1e17 {
			return scaled{}, false
		}
		digits = digitsOf(mantissa)
	}
	if digits == 0 {
		return scaled{}, true
	}
	if i < len(text) {
		i++ // e or E
		sign := 1
		if i < len(text) && (text[i] == '-' || text[i] == '+') {
			if text[i] == '-' {
				sign = -1
			}
			i++
		}
		e := 0
		for ; i < len(text); i++ {
			if e = e*10 + int(text[i]-'0'); e > 1<<24 {
				return scaled{}, false
			}
		}
		exp += sign * e
	}
	// Leading zeros of a fraction can move the point far; no double goes there.
	if exp < -400 || exp > 400 {
		return scaled{}, false
	}
	d.mantissa, d.exp, d.digits = mantissa, int32(exp), uint8(digits)
	return d, true
}

// scaleLong reads more digits than a word holds.
func scaleLong(text []byte, exp int) (mantissa uint64, digits, newExp int, ok bool) {
	zeros := 0 // not yet in mantissa
	for _, c := range text {
		switch c {
		case '.':
		case '0':
			zeros++
		default:
			if digits == 0 {
				zeros = 0
			}
			if digits += zeros + 1; digits > maxDigits {
				return 0, 0, 0, false
			}
			mantissa = mantissa*wholePowers[zeros+1] + uint64(c-'0')
			zeros = 0
		}
	}
	return mantissa, digits, exp + zeros, true
}

func eightDigits(w uint64) bool {
	return w&(laneOnes*0xf0)|(w+laneOnes*6)&(laneOnes*0xf0)>>4 == laneOnes*0x33
}

// eightDigitsValue adds neighbours up in pairs, three times.
func eightDigitsValue(w uint64) uint64 {
	w -= laneOnes * '0'
	w = w*10 + w>>8
	w = w&0x00ff00ff00ff00ff*100 + w>>16&0x00ff00ff00ff00ff
	w = w&0x0000ffff0000ffff*10000 + w>>32&0x0000ffff
	return w & 0xffffffff
}

func digitsOf(m uint64) int {
	// 1233/4096 is a little more than log10(2).
	n := bits.Len64(m) * 1233 >> 12
	if m >= wholePowers[n] {
		n++
	}
	return n
}

// scaleFloat is the shortest decimal that reads back as f.
func scaleFloat(f float64) scaled {
	d, _ := scale(strconv.AppendFloat(nil, f, 'e', -1, 64))
	return d
}

// numberState is what is known of a number leaf so far.
type numberState uint8

const (
	numberUnread  numberState = iota
	numberScaled              // decimal is set, value is not
	numberDouble              // value is set and stands for the number exactly
	numberOther               // it stands for no double, or was no number at all
	numberTooLong             // as numberOther; there is no decimal either
)

// scale reads the leaf's decimal, if it has one.
func (l *scannedLeaf) scale() bool {
	if l.number == numberUnread {
		var ok bool
		l.number = numberTooLong
		if l.decimal, ok = scale(l.text); ok {
			l.number = numberScaled
		}
	}
	return l.number != numberTooLong
}

// near returns a range that the leaf's value is in, if it has one: a few
// units in the last place wide where finding the very double would take long.
func (l *scannedLeaf) near() (low, high float64, ok bool) {
	if !l.scale() || l.number == numberOther {
		return 0, 0, false
	}
	if l.number == numberDouble {
		return l.value, l.value, true
	}
	d := l.decimal
	if d.exp < -44 || d.exp > 44 {
		f, ok := l.double()
		return f, f, ok
	}
	// Up to four roundings: of the mantissa, of a power, and of two products.
	f := float64(d.mantissa)
	if d.exp < 0 {
		f /= powers[min(-d.exp, 22)]
		f /= powers[max(-d.exp-22, 0)]
	} else {
		f *= powers[min(d.exp, 22)]
		f *= powers[max(d.exp-22, 0)]
	}
	if d.exact() {
		if d.negative {
			f = -f
		}
		l.number, l.value = numberDouble, f
		return f, f, true
	}
	const slack = 1.0 / (1 << 49)
	if d.negative {
		return -f * (1 + slack), -f * (1 - slack), true
	}
	return f * (1 - slack), f * (1 + slack), true
}

// exact reports that the number stands for a double exactly, and that one
// operation on its parts, which are doubles too, finds it.
func (d scaled) exact() bool {
	return d.mantissa < 1<<53 && -22 <= d.exp && d.exp <= 22 && d.digits <= 15
}

// double returns the double that the leaf stands for exactly, if there is one.
func (l *scannedLeaf) double() (float64, bool) {
	if !l.scale() {
		return 0, false
	}
	if l.number != numberScaled {
		return l.value, l.number == numberDouble
	}
	d := l.decimal
	l.number = numberDouble
	if d.exact() {
		l.number = numberScaled
		l.value, _, _ = l.near()
		return l.value, true
	}
	f, err := strconv.ParseFloat(stringOf(l.text), 64)
	if err != nil {
		l.number = numberOther
		return 0, false
	}
	var buf [32]byte
	if back, _ := scale(strconv.AppendFloat(buf[:0], f, 'e', -1, 64)); back != d {
		l.number = numberOther
		return 0, false
	}
	l.value = f
	return f, true
}

// stringOf views bytes as a string for as long as one comparison lasts.
func stringOf(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // the event is not written to while it is matched
}
