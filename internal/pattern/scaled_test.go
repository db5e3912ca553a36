package pattern

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestScaleAgreesWithDecimal(t *testing.T) {
	t.Parallel()
	g := rand.New(rand.NewPCG(3, 3))
	for range 50_000 {
		text := ""
		if g.IntN(4) == 0 {
			text = "-"
		}
		digits := func(n int) {
			for range n {
				text += strconv.Itoa(g.IntN(10) * g.IntN(2))
			}
		}
		if g.IntN(4) == 0 {
			text += "0"
		} else {
			text += strconv.Itoa(1 + g.IntN(9))
			digits(g.IntN(22))
		}
		if g.IntN(2) == 0 {
			text += "."
			digits(1 + g.IntN(22))
		}
		if g.IntN(3) == 0 {
			text += "e" + strconv.Itoa(g.IntN(800)-400)
		}
		want, wantOK := comparable64(text)
		l := scannedLeaf{text: []byte(text), kind: scannedNumber}
		low, high, near := l.near()
		if wantOK && (!near || want < low || want > high) {
			t.Fatalf("near %s = %v, %v, %v, want around %v", text, low, high, near, want)
		}
		got, ok := l.double()
		if ok != wantOK || got != want {
			t.Fatalf("double %s = %v, %v, want %v, %v", text, got, ok, want, wantOK)
		}
		if again, ok := l.double(); ok != wantOK || again != want {
			t.Fatalf("double %s again = %v, %v", text, again, ok)
		}
		if d, ok := scale(l.text); wantOK && (!ok || d != scaleFloat(want)) {
			t.Fatalf("scale %s = %+v, %v, want %+v", text, d, ok, scaleFloat(want))
		} else if !wantOK && ok {
			if f, err := strconv.ParseFloat(text, 64); err == nil && d == scaleFloat(f) {
				t.Fatalf("scale %s = %+v as if it stood for a double", text, d)
			}
		}
	}
}
