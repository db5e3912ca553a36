package pattern

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lots makes events of some 850 bytes in the shape of GeoJSON city lots.
func lots(n int) [][]byte {
	g := gen{Rand: rand.New(rand.NewPCG(7, 7))}
	streets := []string{"UNKNOWN", "JEFFERSON", "HYDE", "BEACH", "LARKIN", "NORTH POINT", "COLUMBUS", "FRANCISCO", "CRANLEIGH", "VALLEJO"}
	events := make([][]byte, n)
	for i := range events {
		block, lot := g.IntN(9000), g.IntN(200)
		var b strings.Builder
		fmt.Fprintf(&b, `{"type":"Feature","properties":{"MAPBLKLOT":"%04d%03d","BLKLOT":"%04d%03d","BLOCK_NUM":"%04d","LOT_NUM":"%03d",`, block, lot, block, lot, block, lot)
		fmt.Fprintf(&b, `"FROM_ST":"%d","TO_ST":"%d","STREET":"%s","ST_TYPE":%s,"ODD_EVEN":"%s"},`,
			g.IntN(3000), g.IntN(3000), g.pick(streets...), g.pick(`"ST"`, `"AVE"`, `null`), g.pick("E", "O"))
		b.WriteString(`"geometry":{"type":"Polygon","coordinates":[[`)
		for j := range 11 + g.IntN(5) {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "[%s,%s,0.0]", decimalOf(-122.5+g.Float64()/5), decimalOf(37.7+g.Float64()/5))
		}
		b.WriteString("]]}}")
		events[i] = []byte(b.String())
	}
	return events
}

func decimalOf(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// coordinate is a number that the n-th event has.
func coordinate(events [][]byte, n int) string {
	_, rest, _ := strings.Cut(string(events[n]), `"coordinates":[[[`)
	number, _, _ := strings.Cut(rest, ",")
	return number
}

func parsef(tb testing.TB, format string, args ...any) *Pattern {
	tb.Helper()
	text := fmt.Sprintf(format, args...)
	p, err := Parse([]byte(text))
	if err != nil {
		tb.Fatalf("parse %s: %v", text, err)
	}
	return p
}

// classes are five rules for each class of operators.
func classes(tb testing.TB, events [][]byte) map[string][]*Pattern {
	tb.Helper()
	list := func(format string, args ...string) (ps []*Pattern) {
		for _, arg := range args {
			ps = append(ps, parsef(tb, format, arg))
		}
		return ps
	}
	numbers := make([]string, 5)
	for i := range numbers {
		numbers[i] = coordinate(events, 3*i+1)
	}
	return map[string][]*Pattern{
		"exact":         list(`{"properties":{"MAPBLKLOT":["%s"]}}`, "1430022", "2607117", "2607218", "3745012", "VACSTWIL"),
		"prefix":        list(`{"properties":{"STREET":[{"prefix":"%s"}]}}`, "AC", "BL", "DR", "FU", "RH"),
		"ignore-case":   list(`{"properties":{"STREET":[{"equals-ignore-case":"%s"}]}}`, "jefferson", "Cranleigh", "north POINT", "Vallejo", "larkin"),
		"wildcard":      list(`{"properties":{"STREET":[{"wildcard":"%s"}]}}`, "*LEIGH", "N*TH*", "*FF*", "B*H", "*O*B*S"),
		"anything-but":  list(`{"properties":{"STREET":[{"anything-but":["%s"]}]}}`, "FULTON", "MASON", "VALLEJO", "FRANCISCO", "HYDE"),
		"number-arrays": list(`{"geometry":{"coordinates":[{"numeric":["=",%s]}]}}`, numbers...),
		"complex-arrays": list(`{"geometry":{"type":["Polygon"],"coordinates":[{"numeric":[">",%s,"<",-122.31]}]},"properties":{"ST_TYPE":[{"anything-but":["ST"]}]}}`,
			"-122.32", "-122.33", "-122.34", "-122.35", "-122.311"),
	}
}

// validTime is what json.Valid takes for an event, in ns: the yardstick.
func validTime(events [][]byte) float64 {
	const rounds = 20
	best := time.Hour
	for range 3 {
		start := time.Now()
		for range rounds {
			for _, e := range events {
				if !json.Valid(e) {
					panic("an event is not valid")
				}
			}
		}
		best = min(best, time.Since(start))
	}
	return float64(best.Nanoseconds()) / float64(rounds*len(events))
}

func benchmarkMatch(b *testing.B, m *Matcher, events [][]byte) { benchmark(b, m, events, true) }

func benchmark(b *testing.B, m *Matcher, events [][]byte, distinct bool) {
	valid := validTime(events)
	var dst []int64
	for _, e := range events {
		dst = m.Match(dst[:0], e, distinct) // grows what there is to grow
	}
	matched, i := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		dst = m.Match(dst[:0], events[i], distinct)
		matched += len(dst)
		if i++; i == len(events) {
			i = 0
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/valid, "of-json.Valid")
	b.ReportMetric(float64(matched)/float64(b.N), "matches/op")
}

func BenchmarkClass(b *testing.B) {
	events := lots(256)
	all := NewMatcher()
	var id int64
	for _, name := range []string{"exact", "prefix", "ignore-case", "wildcard", "anything-but", "number-arrays", "complex-arrays"} {
		m := NewMatcher()
		for _, p := range classes(b, events)[name] {
			id++
			m.Add(id, p)
			all.Add(id, p)
		}
		b.Run(name, func(b *testing.B) { benchmarkMatch(b, m, events) })
	}
	b.Run("all", func(b *testing.B) { benchmarkMatch(b, all, events) })
	b.Run("all-strict", func(b *testing.B) { benchmark(b, all, events, false) })
}

// orders makes events of some 500 bytes, each of which one of the first so many
// order rules matches.
func orders(n, rules int) [][]byte {
	g := gen{Rand: rand.New(rand.NewPCG(8, 8))}
	events := make([][]byte, n)
	for i := range events {
		customer := g.IntN(rules)
		events[i] = fmt.Appendf(nil, `{"version":"0","id":"%08x-0000-4000-8000-%012x","detail-type":"type-%d","source":"shop.%d","account":"123456789012",`+
			`"time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":[],"detail":{"customer":"cus_%d","amount":%d,"currency":"eur",`+
			`"note":"%s","items":[{"sku":"sku-%d","n":1},{"sku":"sku-%d","n":2}],"address":{"city":"Utrecht","zip":"3511","country":"NL"},`+
			`"flags":{"paid":true,"gift":false},"carrier":"a carrier with a rather long name","warehouse":"AMS-%d"}}`,
			g.Uint32(), g.Uint64N(1<<48), customer%20, customer%10, customer, g.IntN(1_000_000),
			words(g), g.IntN(1000), g.IntN(1000), g.IntN(50))
	}
	return events
}

// words is a text of some 60 bytes.
func words(g gen) string {
	var b strings.Builder
	for b.Len() < 56 {
		b.WriteString(word(g.IntN(5000)))
		b.WriteByte(' ')
	}
	return b.String()
}

// word spells a number made of n in four syllables.
func word(n int) string {
	const first, then = "bdfgklmnprstvz", "aeiou"
	h := uint32(n+1) * 2654435761
	var b strings.Builder
	for range 4 {
		h = h>>7 ^ h*31
		b.WriteByte(first[h%uint32(len(first))])
		b.WriteByte(then[h/64%uint32(len(then))])
	}
	return b.String()
}

func orderRule(tb testing.TB, i int) *Pattern {
	return parsef(tb, `{"source":["shop.%d"],"detail-type":["type-%d"],"detail":{"customer":["cus_%d"]}}`, i%10, i%20, i)
}

func BenchmarkExactRules(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		events := orders(4096, n)
		m := NewMatcher()
		for i := range n {
			m.Add(int64(i), orderRule(b, i))
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchmarkMatch(b, m, events) })
	}
}

func BenchmarkRangeRules(b *testing.B) {
	events := orders(4096, 1000)
	m := NewMatcher()
	for i := range 100_000 {
		m.Add(int64(i), parsef(b, `{"detail":{"amount":[{"numeric":[">=",%d,"<",%d]}]}}`, 10*i, 10*i+15))
	}
	b.Run("100000", func(b *testing.B) { benchmarkMatch(b, m, events) })
}

func BenchmarkWildcardRules(b *testing.B) {
	events := orders(4096, 1000)
	m := NewMatcher()
	for i := range 1000 {
		m.Add(int64(i), parsef(b, `{"detail":{"note":[{"wildcard":"*%s*%s*"}]}}`, word(2*i), word(2*i + 1)[:5]))
	}
	b.Run("1000", func(b *testing.B) { benchmarkMatch(b, m, events) })
}

// BenchmarkPairs has every value of one field with every value of another, so
// that no single field tells rules apart.
func BenchmarkPairs(b *testing.B) {
	m := NewMatcher()
	for i := range 300 {
		for j := range 300 {
			m.Add(int64(300*i+j), parsef(b, `{"detail":{"x":["x%d"],"y":["y%d"]}}`, i, j))
		}
	}
	var events [][]byte
	for i := range 300 {
		events = append(events, fmt.Appendf(nil, `{"source":"shop","detail":{"x":"x%d","y":"y%d","z":[1,2,3]}}`, i, i*7%300))
	}
	b.Run("90000", func(b *testing.B) { benchmarkMatch(b, m, events) })
}

// BenchmarkChange adds and removes three-field rules beside 100,000 others.
// Parsing is not counted.
func BenchmarkChange(b *testing.B) {
	const n = 100_000
	ps := make([]*Pattern, n)
	for i := range ps {
		ps[i] = orderRule(b, i)
	}
	b.Run("add", func(b *testing.B) {
		var m *Matcher
		i := 0
		for b.Loop() {
			if i%n == 0 {
				m = NewMatcher()
			}
			m.Add(int64(i%n), ps[i%n])
			i++
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "additions/s")
	})
	b.Run("add-remove", func(b *testing.B) {
		m := NewMatcher()
		for i, p := range ps {
			m.Add(int64(i), p)
		}
		i := 0
		for b.Loop() {
			m.Remove(int64(i))
			m.Add(int64(i), ps[i])
			if i++; i == n {
				i = 0
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "additions/s")
	})
	b.Run("replace", func(b *testing.B) {
		m := NewMatcher()
		for i, p := range ps {
			m.Add(int64(i), p)
		}
		i := 0
		for b.Loop() {
			m.Add(int64(i), ps[(i+1)%n])
			if i++; i == n {
				i = 0
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "additions/s")
	})
}

// BenchmarkMemory reports what 100,000 three-field rules take.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	ps := make([]*Pattern, n)
	for i := range ps {
		ps[i] = orderRule(b, i)
	}
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := NewMatcher()
		for i, p := range ps {
			m.Add(int64(i), p)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/rule")
		runtime.KeepAlive(m)
	}
	runtime.KeepAlive(ps)
}
