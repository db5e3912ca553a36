package pattern

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/waybill-dev/waybill/internal/rawjson"
)

var patternCases = flag.Int("pattern.cases", 30_000, "pairs of random pattern and event to compare the matchers on")

// gen makes random patterns and events from one small vocabulary, so that they
// often meet.
type gen struct {
	*rand.Rand
	// arrays is for events with many arrays of objects, and rules with several
	// fields on few values, so that it matters which element a leaf is in.
	arrays bool
	// distinct is for events that have no two members of one path.
	distinct bool
}

func (g gen) pick(list ...string) string { return list[g.IntN(len(list))] }

var (
	vocabNames = []string{"a", "b", "c", "a.b", "b.c", "a.b.c", "", "long.name.with.dots", "k\u00e9y", "nineteen-letters-xx", "nineteen-letters-xy"}
	vocabTexts = []string{
		"", "x", "xy", "xyz", "XYZ", "xYz", "abcabc", "abcabcabcabc", "zabcz", "stra\u00dfe", "STRASSE", "strasse",
		"\u00df", "SS", "k", "K", "\u212a", "10.0.0.1", "010.0.0.1", "10.0.0.2", "::1", "0:0:0:0:0:0:0:1", "fe80::1", "::ffff:10.0.0.1",
		"a*b", `a\b`, "quote\"d", "line\nbreak", "\U00010400", "1", "true", "\ufffd", "\u01f0", "J\u030c",
		"a text of more than sixty-four bytes, which is what the index keeps of prefixes and suffixes",
		"a text of more than sixty-four bytes, which is what the index keeps of prefixes and Suffixes",
	}
	vocabNumbers = []string{
		"0", "-0", "0.0", "1", "1.0", "10e-1", "300", "3.0e2", "-1.5", "0.1", "0.10000000000000001", "0.1000000000000000055",
		"9007199254740993", "9007199254740992", "12345678901234567890", "1e300", "1e-300", "4.9e-324", "5e-324", "1e23", "100000000000000000000000",
		"-122.42200352825247", "37.80848009696725", "0.30000000000000004", "1e400", "0e999", "2", "1.5", "123456789012345678",
	}
)

func (g gen) name() string {
	if g.arrays {
		return g.pick("a", "b", "c")
	}
	return g.pick(vocabNames[:3+g.IntN(len(vocabNames)-2)]...)
}
func (g gen) text() string   { return g.pick(vocabTexts...) }
func (g gen) number() string { return g.pick(vocabNumbers...) }

func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n' && len(text)%2 == 0:
			b.WriteString(`\n`)
		case r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quote writes a text as an event might: sometimes with needless escapes.
func (g gen) quote(text string) string {
	if g.IntN(8) > 0 {
		return quote(text)
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, u := range utf16.Encode([]rune(text)) {
		fmt.Fprintf(&b, `\u%04x`, u)
	}
	b.WriteByte('"')
	return b.String()
}

func (g gen) space() string {
	if g.IntN(10) > 0 {
		return ""
	}
	return g.pick(" ", "\n\t", "\r\n  ")
}

func (g gen) leaf() string {
	if g.arrays {
		return g.pick(`"x"`, `"xy"`, "1")
	}
	switch g.IntN(8) {
	case 0, 1, 2, 3:
		return g.quote(g.text())
	case 4, 5:
		return g.number()
	case 6:
		return g.pick("true", "false", "null")
	}
	if g.distinct {
		return g.pick(`"\ud800"`, `"\udc00x"`)
	}
	return g.pick(`"\ud800"`, `"\udc00x"`, "\"\xff\"", "\"x\xc3\"")
}

func (g gen) value(depth int) string {
	n := g.IntN(10)
	if g.arrays {
		n += 2 - g.IntN(3)*depth/4
	}
	switch {
	case depth == 0 || n < 5:
		return g.leaf()
	case n < 8:
		return g.object(depth - 1)
	}
	parts := make([]string, g.IntN(4))
	for i := range parts {
		parts[i] = g.space() + g.value(depth-1)
	}
	return "[" + strings.Join(parts, g.space()+",") + g.space() + "]"
}

func (g gen) object(depth int) string {
	var parts, names []string
	for range g.IntN(5) {
		name := g.name()
		key := g.quote(name)
		if g.distinct {
			if slices.Contains(names, name) || strings.Contains(name, ".") {
				continue
			}
			names = append(names, name)
			key = quote(name)
		}
		parts = append(parts, g.space()+key+g.space()+":"+g.space()+g.value(depth)+g.space())
	}
	return "{" + strings.Join(parts, ",") + g.space() + "}"
}

func (g gen) list(one func() string) string {
	n := 1 + g.IntN(3)
	if g.arrays {
		n = 1 + g.IntN(5)/4
	}
	parts := make([]string, n)
	for i := range parts {
		parts[i] = one()
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func (g gen) quotedText() string { return quote(g.text()) }

func (g gen) wildcard() string {
	return quote(g.pick("*", "x*", "*x", "*bc*", "a*c", "*abcabc*", "x*z", "*a*b*c*", `a\*b`, `*\\*`, "", "xyz", "*y*z", "*abcabcab*", "s*e", "*z"))
}

func (g gen) test() string {
	if g.arrays {
		return g.pick(`"x"`, `"xy"`, `1`, `{"prefix":"x"}`, `{"anything-but":["x"]}`, `{"exists":false}`, `{"exists":true}`, `{"numeric":["<",2]}`)
	}
	switch g.IntN(24) {
	case 0, 1, 2, 3:
		return g.quotedText()
	case 4, 5:
		return g.number()
	case 6:
		return g.pick("true", "false", "null")
	case 7:
		return `{"prefix":` + g.quotedText() + `}`
	case 8:
		return `{"suffix":` + g.quotedText() + `}`
	case 9:
		return `{"equals-ignore-case":` + g.quotedText() + `}`
	case 10:
		return `{"prefix":{"equals-ignore-case":` + g.quotedText() + `}}`
	case 11:
		return `{"suffix":{"equals-ignore-case":` + g.quotedText() + `}}`
	case 12:
		return `{"wildcard":` + g.wildcard() + `}`
	case 13:
		return `{"numeric":[">=",` + g.pick("-2", "0", "0.1", "1") + `,"<",` + g.pick("2", "1.5", "301") + `]}`
	case 14:
		return `{"numeric":["` + g.pick("<", "<=", ">", ">=", "=") + `",` + g.number() + `]}`
	case 15:
		return `{"cidr":"` + g.pick("10.0.0.0/24", "10.0.0.1/31", "0.0.0.0/0", "::/0", "fe80::/10", "::/127") + `"}`
	case 16, 17:
		return `{"exists":` + g.pick("true", "false") + `}`
	case 18:
		return `{"anything-but":` + g.list(g.quotedText) + `}`
	case 19:
		return `{"anything-but":` + g.list(g.number) + `}`
	case 20:
		return `{"anything-but":{"prefix":` + g.list(g.quotedText) + `}}`
	case 21:
		return `{"anything-but":{"suffix":` + g.list(g.quotedText) + `}}`
	case 22:
		return `{"anything-but":{"equals-ignore-case":` + g.list(g.quotedText) + `}}`
	}
	return `{"anything-but":{"wildcard":` + g.list(g.wildcard) + `}}`
}

func (g gen) patternObject(depth int) string {
	parts := make([]string, 1+g.IntN(3))
	for i := range parts {
		if g.IntN(12) == 0 {
			parts[i] = `"$or":[` + g.patternObject(0) + "," + g.patternObject(0) + "]"
			continue
		}
		parts[i] = quote(g.name()) + ":"
		if depth > 0 && g.IntN(3) == 0 {
			parts[i] += g.patternObject(depth - 1)
		} else {
			parts[i] += g.list(g.test)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (g gen) pattern() *Pattern {
	if g.IntN(100) == 0 {
		return &Pattern{Branches: []Branch{{}}}
	}
	for {
		if p, err := Parse([]byte(g.patternObject(2))); err == nil {
			return p
		}
	}
}

// distinct is what the door finds out about an event.
func distinct(event []byte) bool {
	s := rawjson.New(event)
	_, form, err := s.RawForm()
	return err == nil && form.Distinct
}

// TestMatcherAgreesWithMatches compares the two matchers on random rules and
// events while rules come, change and go.
func TestMatcherAgreesWithMatches(t *testing.T) {
	t.Parallel()
	const workers = 8
	for w := range workers {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			t.Parallel()
			g := gen{Rand: rand.New(rand.NewPCG(uint64(w), 42)), arrays: w%2 == 1}
			matched := 0
			for cases := 0; cases < *patternCases/workers; {
				m := NewMatcher()
				rules := map[int64]*Pattern{}
				for range 1 + g.IntN(40) {
					id := int64(g.IntN(30))
					if g.IntN(4) == 0 {
						m.Remove(id)
						delete(rules, id)
					} else {
						p := g.pattern()
						m.Add(id, p)
						rules[id] = p
					}
				}
				for n := range 8 {
					g.distinct = n%2 == 1
					event := []byte(g.object(3 + w%2))
					isDistinct := distinct(event)
					if g.distinct && !isDistinct {
						t.Fatalf("not distinct: %s", event)
					}
					got := m.Match(nil, event, isDistinct)
					slices.Sort(got)
					var want []int64
					for id, p := range rules {
						cases++
						if p.Matches(event) {
							want = append(want, id)
						}
					}
					slices.Sort(want)
					matched += len(want)
					if !slices.Equal(got, want) {
						for id, p := range rules {
							if slices.Contains(got, id) != slices.Contains(want, id) {
								t.Errorf("%s\nmatched = %v on %s, distinct %v", p.Text, slices.Contains(got, id), event, isDistinct)
							}
						}
						t.Fatalf("Match = %v, want %v", got, want)
					}
					strict := m.Match(nil, event, false)
					if slices.Sort(strict); !slices.Equal(strict, want) {
						t.Fatalf("Match = %v of an event not known to be distinct, want %v: %s", strict, want, event)
					}
				}
			}
			if matched == 0 {
				t.Fatal("nothing ever matched")
			}
		})
	}
}

// TestMatchBesideChanges lets rules come, be exchanged and go while others are
// matched. Rule 0 is exchanged for a like one all the time and must never be
// missed; rule 1 has two branches, of which an event meets both or none.
func TestMatchBesideChanges(t *testing.T) {
	t.Parallel()
	m := NewMatcher()
	constant := parsef(t, "%s", `{"a":["x",{"prefix":"x"}],"z":[{"exists":false}]}`)
	m.Add(0, constant)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			g := gen{Rand: rand.New(rand.NewPCG(uint64(w), 1))}
			var dst []int64
			event := []byte(`{"a":["x","x",{"b":"xyz"}],"b":"abcabcabcabc","c":{"d":1.5,"e":"10.0.0.1"}}`)
			for {
				select {
				case <-done:
					return
				default:
				}
				dst = m.Match(dst[:0], event, true)
				slices.Sort(dst)
				if len(dst) == 0 || dst[0] != 0 {
					t.Errorf("rule 0 was missed: %v", dst)
					return
				}
				if len(slices.Compact(dst)) != len(dst) {
					t.Errorf("a rule twice: %v", dst)
					return
				}
				dst = m.Match(dst[:0], []byte(g.object(3)), false)
			}
		})
	}
	g := gen{Rand: rand.New(rand.NewPCG(9, 9))}
	for i := range 3000 {
		m.Add(0, constant)
		id := int64(1 + g.IntN(50))
		if g.IntN(3) == 0 {
			m.Remove(id)
			continue
		}
		m.Add(id, g.pattern())
		// A new path each time, for the trie to grow beside its readers.
		m.Add(100, parsef(t, "%s", fmt.Sprintf(`{"a":{"p%d":[{"exists":false}]},"b":[{"wildcard":"*c*b*"}]}`, i)))
	}
	close(done)
	wg.Wait()
}

// TestMatchSeesAddedRulesWhole adds rules on paths that no rule had before: a
// match that began earlier has not read those and must not take them as absent,
// nor stop for them before it has read what it needs.
func TestMatchSeesAddedRulesWhole(t *testing.T) {
	t.Parallel()
	m := NewMatcher()
	m.Add(1000, parsef(t, "%s", `{"end":[true]}`))
	var event strings.Builder
	event.WriteString("{")
	for i := range 400 {
		fmt.Fprintf(&event, `"p%d":[{"q":1},{"q":2}],`, i)
	}
	event.WriteString(`"end":true}`)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if got := m.Match(nil, []byte(event.String()), true); !slices.Equal(got, []int64{1000}) {
				t.Errorf("Match = %v, want [1000]", got)
				return
			}
		}
	})
	for i := range 400 {
		m.Add(int64(i), parsef(t, "%s", fmt.Sprintf(`{"p%d":{"q":[{"exists":false}]}}`, i)))
	}
	close(done)
	wg.Wait()
}

func TestMatchDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		// The race detector has sync.Pool drop things at random.
		return
	}
	events := lots(64)
	m := NewMatcher()
	var id int64
	for _, ps := range classes(t, events) {
		for _, p := range ps {
			m.Add(id, p)
			id++
		}
	}
	for i := range 200 {
		m.Add(id+int64(i), parsef(t, "%s", fmt.Sprintf(`{"properties":{"STREET":["%d",{"equals-ignore-case":"stra\u00dfe"},{"cidr":"10.0.0.0/8"}],"ST_TYPE":["ST"]}}`, i)))
	}
	dst := make([]int64, 0, 1000)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		dst = m.Match(dst[:0], events[i%len(events)], i%2 == 0)
		i++
	}); n >= 1 {
		t.Errorf("a match allocates %v times, want none", n)
	}
}

func TestMatcherWithoutFields(t *testing.T) {
	t.Parallel()
	m := NewMatcher()
	m.Add(1, &Pattern{Branches: []Branch{{}}})
	m.Add(2, &Pattern{})
	for event, want := range map[string][]int64{"{}": {1}, ` {"a":1}`: {1}, "[]": nil, "1": nil, "": nil} {
		if got := m.Match(nil, []byte(event), false); !slices.Equal(got, want) {
			t.Errorf("Match(%q) = %v, want %v", event, got, want)
		}
	}
	m.Add(2, &Pattern{Branches: []Branch{{}, {}}})
	m.Remove(1)
	m.Remove(7)
	if got := m.Match([]int64{9}, []byte("{}"), false); !slices.Equal(got, []int64{9, 2}) {
		t.Errorf("Match = %v, want [9 2]", got)
	}
}

// TestMatchArraysInTime has an event for which trying all combinations would
// take hours: only the last two of its fields cannot be had together.
func TestMatchArraysInTime(t *testing.T) {
	t.Parallel()
	m := NewMatcher()
	var fields, arrays []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		fields = append(fields, fmt.Sprintf(`"%s":{"x":[1],"y":[2]}`, name))
		elements := `{"x":1,"y":2}`
		if name == "e" {
			elements = `{"x":1},{"y":2}`
		}
		arrays = append(arrays, fmt.Sprintf(`"%s":[{"x":1},{"y":2}%s]`, name, strings.Repeat(","+elements, 300)))
	}
	m.Add(1, parsef(t, "{%s}", strings.Join(fields, ",")))
	m.Add(2, parsef(t, "{%s}", strings.Join(fields[:4], ",")))
	got := m.Match(nil, []byte("{"+strings.Join(arrays, ",")+"}"), false)
	if !slices.Equal(got, []int64{2}) {
		t.Errorf("Match = %v, want [2]", got)
	}
}

// TestMatcherCrowded has so many rules on so few values that no single field
// tells them apart.
func TestMatcherCrowded(t *testing.T) {
	t.Parallel()
	g := gen{Rand: rand.New(rand.NewPCG(11, 11))}
	values := []string{`"x"`, `"y"`, "1", "1.0", "true", `"1"`}
	list := func() string { return strings.Join(values[g.IntN(3):][:1+g.IntN(3)], ",") }
	m := NewMatcher()
	rules := map[int64]*Pattern{}
	for i := range int64(3000) {
		text := fmt.Sprintf(`{"a":[%s],"b":[%s],"c":[%s],"d":[%s]}`, list(), list(), list(), list())
		if i%10 == 0 {
			text = fmt.Sprintf(`{"a":[%s],"b":[{"anything-but":"z"}]}`, list())
		}
		p := parsef(t, "%s", text)
		m.Add(i, p)
		rules[i] = p
	}
	for i := range int64(3000) {
		if i%3 == 0 {
			m.Remove(i)
			delete(rules, i)
		}
	}
	for range 20 {
		event := fmt.Appendf(nil, `{"a":%s,"b":[%s],"c":[%s],"d":%s}`, g.pick(values...), list(), list(), g.pick(values...))
		got := m.Match(nil, event, false)
		slices.Sort(got)
		var want []int64
		for id, p := range rules {
			if p.Matches(event) {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("on %s %d match, want %d", event, len(got), len(want))
		}
	}
}

// FuzzMatch holds that no bytes make a match panic or differ from Matches, if
// they are an event at all.
func FuzzMatch(f *testing.F) {
	m := NewMatcher()
	var ps []*Pattern
	g := gen{Rand: rand.New(rand.NewPCG(5, 5))}
	for i := range 200 {
		g.arrays = i%2 == 1
		p := g.pattern()
		ps = append(ps, p)
		m.Add(int64(i), p)
	}
	for range 20 {
		f.Add([]byte(g.object(4)))
	}
	for _, seed := range []string{"", "{", `{"a"`, `{"a":`, `{"a":[`, `{"a":"\`, `{"a":"\ud8`, `{"x":[[[`, `{"x":"\"}`, `{"x":{"]":"\\","}":[1,2,"\""]},"a":"x"}`, `{"a":-}`, `{"a":1e}`, `{"a":}`, `{"a":,}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, event []byte) {
		got := m.Match(nil, event, distinct(event))
		if !json.Valid(event) {
			return
		}
		slices.Sort(got)
		var want []int64
		for i, p := range ps {
			if p.Matches(event) {
				want = append(want, int64(i))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("Match(%q) = %v, want %v", event, got, want)
		}
	})
}
