package pattern

import (
	"math"
	"strings"
	"testing"
)

func mustParse(t *testing.T, text string) *Pattern {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return p
}

// one is a case of a pattern with the list tests for the field a.
type one struct {
	tests string
	event string // the value of a, or a whole event if it begins with "{ "
	want  bool
}

func TestMatchesField(t *testing.T) {
	t.Parallel()
	for _, c := range []one{
		// Plain values.
		{`"x"`, `"x"`, true},
		{`"x"`, `"X"`, false},
		{`"x"`, `"\u0078"`, true},
		{`"é"`, `"e\u0301"`, false},
		{`"x", "y"`, `"y"`, true},
		{`"x"`, `["a","x"]`, true},
		{`""`, `""`, true},
		{`""`, `null`, false},
		{`true`, `true`, true},
		{`true`, `"true"`, false},
		{`"true"`, `true`, false},
		{`null`, `null`, true},
		{`null`, `[]`, false},
		{`null`, `{}`, false},
		{`{"exactly":"x"}`, `"x"`, true},
		{`{"exactly":"10.0.0.1"}`, `"010.0.0.1"`, false},

		// Numbers.
		{`300`, `300.0`, true},
		{`300`, `3.0e2`, true},
		{`3.0e2`, `300`, true},
		{`300`, `"300"`, false},
		{`"300"`, `300`, false},
		{`0`, `-0.0`, true},
		{`0.1`, `1e-1`, true},
		{`9007199254740993`, `9007199254740993`, true},
		{`9007199254740993`, `9007199254740993.0`, false},
		{`9007199254740993`, `9007199254740992`, false},
		{`9007199254740992`, `9007199254740993`, false},
		{`9007199254740992`, `9007199254740992.0`, true},
		{`12345678901234567890`, `12345678901234567890`, true},
		{`1e309`, `1e309`, true},
		{`1e309`, `10e308`, false},
		{`{"numeric":["=",300]}`, `3e2`, true},
		{`{"numeric":["=",300]}`, `"300"`, false},
		{`{"numeric":["<",5]}`, `4.99`, true},
		{`{"numeric":["<",5]}`, `5`, false},
		{`{"numeric":["<=",5]}`, `5`, true},
		{`{"numeric":[">",5]}`, `5`, false},
		{`{"numeric":[">=",5]}`, `5`, true},
		{`{"numeric":[">",-1e300]}`, `1.7976931348623157e308`, true},
		{`{"numeric":[">",0,"<=",5]}`, `0`, false},
		{`{"numeric":[">",0,"<=",5]}`, `5.0`, true},
		{`{"numeric":[">",0]}`, `9007199254740993`, false},
		{`{"numeric":[">",0]}`, `1e309`, false},
		{`{"numeric":[">",0]}`, `[-1,1]`, true},

		// exists.
		{`{"exists":true}`, `null`, true},
		{`{"exists":true}`, `[]`, false},
		{`{"exists":true}`, `{}`, false},
		{`{"exists":true}`, `[{}]`, false},
		{`{"exists":true}`, `{"b":1}`, false},
		{`{"exists":false}`, `{"b":1}`, true},
		{`{"exists":false}`, `[]`, true},
		{`{"exists":false}`, `null`, false},
		{`{"exists":false}`, `{ "b":1}`, true},
		{`"x", {"exists":false}`, `{ }`, true},
		{`"x", {"exists":false}`, `"x"`, true},
		{`"x", {"exists":false}`, `"y"`, false},

		// anything-but.
		{`{"anything-but":"x"}`, `{ "b":1}`, false},
		{`{"anything-but":"x"}`, `null`, true},
		{`{"anything-but":"x"}`, `1`, true},
		{`{"anything-but":"x"}`, `"x"`, false},
		{`{"anything-but":"x"}`, `["x","x"]`, false},
		{`{"anything-but":"x"}`, `["x","y"]`, true},
		{`{"anything-but":["x","y"]}`, `"y"`, false},
		{`{"anything-but":["x","y"]}`, `"z"`, true},
		{`{"anything-but":5}`, `5.0`, false},
		{`{"anything-but":5}`, `"5"`, true},
		{`{"anything-but":"5"}`, `5`, true},
		{`{"anything-but":"true"}`, `true`, true},
		{`{"anything-but":[5,6]}`, `7`, true},
		{`{"anything-but":[5]}`, `9007199254740993`, true},
		{`{"anything-but":{"prefix":"x"}}`, `"xy"`, false},
		{`{"anything-but":{"prefix":["x","y"]}}`, `"yz"`, false},
		{`{"anything-but":{"prefix":["x","y"]}}`, `"zy"`, true},
		{`{"anything-but":{"prefix":"x"}}`, `1`, true},
		{`{"anything-but":{"suffix":"x"}}`, `"yx"`, false},
		{`{"anything-but":{"suffix":["x","z"]}}`, `"xy"`, true},
		{`{"anything-but":{"equals-ignore-case":"x"}}`, `"X"`, false},
		{`{"anything-but":{"equals-ignore-case":["x","y"]}}`, `"z"`, true},
		{`{"anything-but":{"wildcard":"a*c"}}`, `"abc"`, false},
		{`{"anything-but":{"wildcard":["a*c","*z"]}}`, `"xyz"`, false},
		{`{"anything-but":{"wildcard":["a*c","*z"]}}`, `"abd"`, true},
		{`{"anything-but":"10.0.0.1"}`, `"010.0.0.1"`, true},

		// prefix and suffix.
		{`{"prefix":"ab"}`, `"abc"`, true},
		{`{"prefix":"ab"}`, `"ab"`, true},
		{`{"prefix":"ab"}`, `"a"`, false},
		{`{"prefix":""}`, `""`, true},
		{`{"prefix":""}`, `"x"`, true},
		{`{"prefix":""}`, `1`, false},
		{`{"prefix":"1"}`, `12`, false},
		{`{"suffix":"bc"}`, `"abc"`, true},
		{`{"suffix":"bc"}`, `"abcd"`, false},
		{`{"suffix":""}`, `"x"`, true},
		{`{"suffix":""}`, `null`, false},
		{`{"prefix":{"equals-ignore-case":"AB"}}`, `"aBc"`, true},
		{`{"suffix":{"equals-ignore-case":"BC"}}`, `"abC"`, true},
		{`{"suffix":{"equals-ignore-case":"BC"}}`, `"abCd"`, false},
		{`{"suffix":{"equals-ignore-case":""}}`, `""`, true},

		// equals-ignore-case.
		{`{"equals-ignore-case":"straße"}`, `"STRASSE"`, true},
		{`{"equals-ignore-case":"straße"}`, `"Straße"`, true},
		{`{"equals-ignore-case":"straße"}`, `"strasse"`, false},
		{`{"equals-ignore-case":"strasse"}`, `"straße"`, false},
		{`{"equals-ignore-case":"k"}`, `"\u212a"`, false},
		{`{"equals-ignore-case":"\u00b5"}`, `"\u03bc"`, false},
		{`{"equals-ignore-case":"\u00b5"}`, `"\u039c"`, true},
		{`{"equals-ignore-case":"é"}`, `"É"`, true},
		{`{"equals-ignore-case":"\ud801\udc00"}`, `"\ud801\udc28"`, false},
		{`{"equals-ignore-case":"\ud801\udc00"}`, `"\ud801\udc00"`, true},
		{`{"suffix":{"equals-ignore-case":"ß"}}`, `"maSS"`, true},
		{`{"prefix":{"equals-ignore-case":"ßx"}}`, `"SSXy"`, true},

		// wildcard.
		{`{"wildcard":"*"}`, `""`, true},
		{`{"wildcard":"a*c"}`, `"ac"`, true},
		{`{"wildcard":"a*c"}`, `"abcbc"`, true},
		{`{"wildcard":"a*c"}`, `"abcb"`, false},
		{`{"wildcard":"*a*b*"}`, `"xxaxxbxx"`, true},
		{`{"wildcard":"*a*b*"}`, `"xxbxxaxx"`, false},
		{`{"wildcard":"*aab"}`, `"aaab"`, true},
		{`{"wildcard":"a\\*b"}`, `"a*b"`, true},
		{`{"wildcard":"a\\*b"}`, `"axb"`, false},
		{`{"wildcard":"a\\\\*"}`, `"a\\x"`, true},
		{`{"wildcard":"a"}`, `"ab"`, false},
		{`{"wildcard":"é*"}`, `"éa"`, true},
		{`{"wildcard":"*"}`, `1`, false},
		{`{"wildcard":""}`, `""`, true},

		// Addresses.
		{`{"cidr":"10.0.0.5/24"}`, `"10.0.0.200"`, true},
		{`{"cidr":"10.0.0.5/24"}`, `"10.0.1.0"`, false},
		{`{"cidr":"10.0.0.0/24"}`, `"010.0.0.1"`, true},
		{`{"cidr":"0.0.0.0/0"}`, `"255.255.255.255"`, true},
		{`{"cidr":"0.0.0.0/0"}`, `"::1"`, false},
		{`{"cidr":"::/0"}`, `"10.0.0.1"`, true},
		{`{"cidr":"::/0"}`, `"2001:db8::1"`, true},
		{`{"cidr":"2001:db8::/32"}`, `"2001:DB8:0:0::1"`, true},
		{`{"cidr":"2001:db8::/32"}`, `"2001:db9::1"`, false},
		{`{"cidr":"10.0.0.0/24"}`, `"::ffff:a00:1"`, true},
		{`{"cidr":"10.0.0.0/24"}`, `"10.0.0"`, false},
		{`{"cidr":"10.0.0.0/24"}`, `"10.0.0.256"`, false},
		{`"::1"`, `"0:0:0:0:0:0:0:1"`, true},
		{`"0:0:0:0:0:0:0:1"`, `"::1"`, true},
		{`"::1"`, `"::2"`, false},
		{`"10.0.0.1"`, `"010.000.0.01"`, true},
		{`"10.0.0.1"`, `"10.0.0.10"`, false},
		{`"10.0.0.256"`, `"10.0.0.256"`, true},
		{`"::ffff:1.2.3.4"`, `"::ffff:1.2.3.4"`, true},
	} {
		event := `{"a":` + c.event + `}`
		if strings.HasPrefix(c.event, "{ ") {
			event = c.event
		}
		if got := mustParse(t, `{"a":[`+c.tests+`]}`).Matches([]byte(event)); got != c.want {
			t.Errorf("[%s] on %s: %v, want %v", c.tests, event, got, c.want)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, pattern, event string
		want                 bool
	}{
		{"and", `{"a":[1],"b":[2]}`, `{"a":1,"b":2}`, true},
		{"and fails", `{"a":[1],"b":[2]}`, `{"a":1,"b":3}`, false},
		{"nested", `{"a":{"b":[1]}}`, `{"a":{"b":1}}`, true},
		{"dotted pattern", `{"a.b":[1]}`, `{"a":{"b":1}}`, true},
		{"dotted event", `{"a":{"b":[1]}}`, `{"a.b":1}`, true},
		{"empty names", `{"":{"a":[1]}}`, `{"":{"a":1}}`, true},
		{"empty name is no nothing", `{"":{"a":[1]}}`, `{"a":1}`, false},
		{"not an object", `{"a":[1]}`, `[{"a":1}]`, false},
		{"not JSON", `{"a":[1]}`, `{"a":1`, false},
		{"empty event text", `{"a":[{"exists":false}]}`, ``, false},

		{"duplicate keys, first", `{"a":[1]}`, `{"a":1,"a":2}`, true},
		{"duplicate keys, last", `{"a":[2]}`, `{"a":1,"a":2}`, true},
		{"duplicate objects", `{"a":{"b":[1],"c":[2]}}`, `{"a":{"b":1},"a":{"c":2}}`, true},
		{"duplicate pattern keys", `{"a":[1],"a":[2]}`, `{"a":1}`, false},
		{"duplicate pattern objects", `{"a":{"b":[1]},"a":{"c":[2]}}`, `{"a":{"c":2}}`, false},

		{"or, first", `{"$or":[{"a":[1]},{"b":[2]}]}`, `{"a":1}`, true},
		{"or, second", `{"$or":[{"a":[1]},{"b":[2]}]}`, `{"b":2}`, true},
		{"or, none", `{"$or":[{"a":[1]},{"b":[2]}]}`, `{"a":2,"b":1}`, false},
		{"or and", `{"c":[3],"$or":[{"a":[1]},{"b":[2]}]}`, `{"b":2}`, false},
		{"or nested", `{"d":{"$or":[{"a":[1]},{"$or":[{"b":[2]},{"c":[3]}]}]}}`, `{"d":{"c":3}}`, true},
		{"or overridden", `{"$or":[{"a":[1]},{"b":[2]}],"a":[3]}`, `{"a":1,"b":2}`, false},
		{"or overridden, matches", `{"$or":[{"a":[1]},{"b":[2]}],"a":[3]}`, `{"a":3}`, true},
		{"two ors", `{"$or":[{"a":[1]},{"a":[2]}],"x":{"$or":[{"b":[1]},{"b":[2]}]}}`, `{"a":2,"x":{"b":1}}`, true},
		{"or as a name", `{"$or":{"a":[1]}}`, `{"$or":{"a":1}}`, true},

		{"same element", `{"l":{"a":[1],"b":[2]}}`, `{"l":[{"a":1},{"a":1,"b":2}]}`, true},
		{"other element", `{"l":{"a":[1],"b":[2]}}`, `{"l":[{"a":1,"b":3},{"a":3,"b":2}]}`, false},
		{"other arrays", `{"l":{"a":[1]},"m":{"b":[2]}}`, `{"l":[{"a":1}],"m":[{},{"b":2}]}`, true},
		{"nested arrays agree", `{"l":{"a":[1],"m":{"b":[2]}}}`, `{"l":[{"a":3,"m":[{"b":2}]},{"a":1,"m":[{"b":4},{"b":2}]}]}`, true},
		{"nested arrays disagree", `{"l":{"a":[1],"m":{"b":[2]}}}`, `{"l":[{"a":1,"m":[{"b":4}]},{"a":3,"m":[{"b":2}]}]}`, false},
		{"three fields", `{"l":{"a":[1],"b":[2],"c":[3]}}`, `{"l":[{"a":1,"b":2},{"b":2,"c":3},{"a":1,"c":3}]}`, false},
		{"outside the array", `{"t":["x"],"l":{"a":[1]}}`, `{"l":[{"a":2},{"a":1}],"t":"x"}`, true},
		{"scalars are no elements", `{"l":["x"],"l.a":[1]}`, `{"l":["x",{"a":1}]}`, true},
		{"arrays in arrays", `{"l":{"a":[1],"b":[2]}}`, `{"l":[[{"a":1}],[{"b":2}]]}`, false},
		{"same key twice is two arrays", `{"l":{"a":[1],"b":[2]}}`, `{"l":[{"a":1}],"l":[{"c":1},{"b":2}]}`, true},

		{"absence by element", `{"l":{"a":[{"exists":true}],"b":[{"exists":false}]}}`, `{"l":[{"a":1},{"b":2}]}`, true},
		{"absence by element, names the other way", `{"l":{"b":[{"exists":true}],"a":[{"exists":false}]}}`, `{"l":[{"a":1},{"b":2}]}`, true},
		{"absence fails in each element", `{"l":{"a":[{"exists":true}],"b":[{"exists":false}]}}`, `{"l":[{"a":1,"b":1},{"b":2}]}`, false},
		{"value or absence by element", `{"l":{"a":[1],"b":[2,{"exists":false}]}}`, `{"l":[{"a":1},{"b":3}]}`, true},
		{"value or absence, neither", `{"l":{"a":[1],"b":[2,{"exists":false}]}}`, `{"l":[{"a":1,"b":3},{"b":2}]}`, false},
		{"only absence", `{"x":[{"exists":false}]}`, `{}`, true},
		{"trailing text", `{"a":[1]} and more`, `{"a":1}`, true},
		{"white space", " \n{\t\"a\" : [ 1 ] }", " {\r\n\"a\" :\t1 } ", true},
	} {
		if got := mustParse(t, c.pattern).Matches([]byte(c.event)); got != c.want {
			t.Errorf("%s: %s on %s: %v, want %v", c.name, c.pattern, c.event, got, c.want)
		}
	}
}

func TestComparable64(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{
		"0": 0, "-0": 0, "-0.00e5": 0, "1": 1, "-1.50": -1.5, "1e2": 100, "100E-2": 1, "0.001e3": 1,
		"9007199254740992": 1 << 53, "5e-324": 5e-324, "1.7976931348623157e308": math.MaxFloat64, "0e99999999999999999999": 0,
	} {
		if got, ok := comparable64(text); !ok || got != want || math.Signbit(got) != math.Signbit(want) {
			t.Errorf("%s: %v %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"9007199254740993", "12345678901234567890", "1e309", "-1e309", "1e-400", "0.10000000000000000001",
		"1e99999999999999999999", "1e-99999999999999999999", "1152921504606846976",
	} {
		if got, ok := comparable64(text); ok {
			t.Errorf("%s: %v, want none", text, got)
		}
	}
}
