package pattern

import (
	"strconv"
	"strings"
)

// comparable64 returns the double that a JSON number stands for, and whether it
// stands for exactly that one: the shortest decimal that reads back as the
// double has the value of the text. 0.1 does, 9007199254740993 and 1e309 do
// not. Numbers that do not are compared as text only. Zero has no sign.
func comparable64(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, false
	}
	want, wantExp := decimal(text)
	got, gotExp := decimal(strconv.FormatFloat(f, 'e', -1, 64))
	if want != got || wantExp != gotExp {
		return 0, false
	}
	if f == 0 {
		f = 0 // -0 is 0
	}
	return f, true
}

// decimal returns the value of a JSON number as 0.digits × 10^exp, with a sign
// and without zeros at either end, so that equal values have equal results.
func decimal(text string) (digits string, exp int) {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		var err error
		if exp, err = strconv.Atoi(text[i+1:]); err != nil || exp > 1<<40 || exp < -1<<40 {
			// No double has such an exponent, unless all digits are zeros.
			exp = 1 << 40
		}
		text = text[:i]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	exp += len(whole)
	digits = whole + fraction
	n := len(digits)
	digits = strings.TrimLeft(digits, "0")
	exp -= n - len(digits)
	if digits = strings.TrimRight(digits, "0"); digits == "" {
		return "", 0
	}
	return sign + digits, exp
}
