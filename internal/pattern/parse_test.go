package pattern

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseTree(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `{"b":{"c":["x",{"exists":false}]},"a":[1,null,{"numeric":[">",0,"<=",5]},"10.0.0.1",9007199254740993]} tail`)
	want := []Branch{{
		{Path: "a", Tests: []Test{
			{Op: OpNumber, Number: 1},
			{Op: OpLiteral, Text: "null"},
			{Op: OpRange, Range: Range{Low: 0, High: 5, LowOpen: true}},
			{Op: OpCIDR, Net: netip.MustParsePrefix("10.0.0.1/32")},
			{Op: OpLiteral, Text: "9007199254740993"},
		}},
		{Path: "b.c", Tests: []Test{{Op: OpString, Text: "x"}, {Op: OpAbsent}}},
	}}
	if !reflect.DeepEqual(p.Branches, want) {
		t.Errorf("got  %+v\nwant %+v", p.Branches, want)
	}
	if !strings.HasSuffix(string(p.Text), " tail") {
		t.Errorf("Text is %s", p.Text)
	}
}

// at is the location of an error in pattern, as a message ends with it.
func at(pattern, column string) string {
	return "\n at [Source: (String)\"" + pattern + "\"; line: 1, column: " + column + "]"
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	const listKind = "Inside anything but list, start|null|boolean is not supported."
	const anyButKind = "Value of anything-but must be an array or single string/number value."
	for _, c := range []struct {
		pattern, reason string
		column          string // "" for none; twice for two places
	}{
		// Recorded from AWS, column and all.
		{`{"source":["test.event-pattern"],"detail":{"lenderId":"LenderA"}}`, `"lenderId" must be an object or an array`, "56"},

		{`"x"`, "Filter is not an object", "2"},
		{`["x"]`, "Filter is not an object", "2"},
		{``, "Filter is not an object", "1"},
		{`{}`, "Empty objects are not allowed", "3"},
		{`{"a":{}}`, "Empty objects are not allowed", "8"},
		{`{"a":1}`, `"a" must be an object or an array`, "7"},
		{`{"a":[]}`, "Empty arrays are not allowed", "8"},
		{`{"a":[[1]]}`, "Match value must be String, number, true, false, or null", "8"},
		{`{"a":[{}]}`, "Match expression name not found", "9"},
		{`{"a":[{"foo":1}]}`, "Unrecognized match type foo", "15"},
		{`{"a":[{"prefix":1}]}`, "prefix match pattern must be a string", "18"},
		{`{"a":[{"prefix":"x","suffix":"y"}]}`, "Only one key allowed in match expression", "31"},
		{`{"a":[{"prefix":{"foo":"x"}}]}`, "Unsupported prefix pattern: foo", "25"},
		{`{"a":[{"prefix":{}}]}`, "Prefix expression name not found", "19"},
		{`{"a":[{"prefix":{"equals-ignore-case":1}}]}`, "equals-ignore-case match pattern must be a string", "40"},
		{`{"a":[{"suffix":null}]}`, "suffix match pattern must be a string", "21"},
		{`{"a":[{"exactly":1}]}`, "exact match pattern must be a string", "19"},
		{`{"a":[{"equals-ignore-case":["x"]}]}`, "equals-ignore-case match pattern must be a string", "30"},
		{`{"a":[{"wildcard":5}]}`, "wildcard match pattern must be a string", "20"},
		{`{"a":[{"wildcard":"a**b"}]}`, "Consecutive wildcard characters at pos 2", "25"},
		{`{"a":[{"wildcard":"a\\b"}]}`, "Invalid escape character at pos 2", "25"},
		{`{"a":[{"wildcard":"a\\"}]}`, "Invalid escape character at pos 2", "24"},
		{`{"a":[{"exists":"x"}]}`, "exists match pattern must be either true or false.", "18"},
		{`{"a":[{"cidr":5}]}`, "prefix match pattern must be a string", "16"},
		{`{"a":[{"cidr":"10.0.0.0"}]}`, "Malformed CIDR, one '/' required", ""},
		{`{"a":[{"cidr":"10.0.0.0/x"}]}`, "Malformed CIDR, mask bits must be an integer", ""},
		{`{"a":[{"cidr":"10.0.0.0/-1"}]}`, "Malformed CIDR, mask bits must not be negative", ""},
		{`{"a":[{"cidr":"10.0.0.0/32"}]}`, "IPv4 mask bits must be < 32", ""},
		{`{"a":[{"cidr":"::1/128"}]}`, "IPv6 mask bits must be < 128", ""},
		{`{"a":[{"cidr":"bad/8"}]}`, "Nonstandard IP address: bad", ""},
		{`{"a":[{"cidr":"10.0.0.300/8"}]}`, "Invalid IP address: 10.0.0.300", ""},

		{`{"a":[{"numeric":5}]}`, "Value of numeric must be an array.", "19"},
		{`{"a":[{"numeric":[5]}]}`, "Invalid member in numeric match: 5", "20"},
		{`{"a":[{"numeric":["?",5]}]}`, "Unrecognized numeric range operator: ?", "24"},
		{`{"a":[{"numeric":["=","5"]}]}`, "Value of equals must be numeric", "24"},
		{`{"a":[{"numeric":["<","5"]}]}`, "Value of < must be numeric", "24"},
		{`{"a":[{"numeric":["<"]}]}`, "Value of < must be numeric", "23"},
		{`{"a":[{"numeric":[">",0,"foo",5]}]}`, "Bad numeric range operator: foo", "30"},
		{`{"a":[{"numeric":[">",0,">",5]}]}`, "Bad numeric range operator: >", "28"},
		{`{"a":[{"numeric":[">",0,5]}]}`, "Bad value in numeric range: 5", "26"},
		{`{"a":[{"numeric":[">",0,"<","5"]}]}`, "Value of < must be numeric", "30"},
		{`{"a":[{"numeric":[">",5,"<",5]}]}`, "Bottom must be less than top", "31"},
		{`{"a":[{"numeric":["<",5,">",0]}]}`, "Too many elements in numeric expression", "26"},
		{`{"a":[{"numeric":[">",0,"<",5,1]}]}`, "Too many terms in numeric range expression", "32"},
		{`{"a":[{"numeric":["=",9007199254740993]}]}`, "Cannot compare number : 9007199254740993", "40"},
		{`{"a":[{"numeric":["<",1e309]}]}`, "Cannot compare number : 1e309", "29"},

		{`{"a":[{"anything-but":null}]}`, anyButKind, "27"},
		{`{"a":[{"anything-but":{"prefix":null}}]}`, anyButKind, "37"},
		{`{"a":[{"anything-but":[]}]}`, "Inside anything but list, either all values are number or string, mixed type is not supported", "25"},
		{`{"a":[{"anything-but":[1,"x"]}]}`, "Inside anything but list, either all values are number or string, mixed type is not supported", "30"},
		{`{"a":[{"anything-but":[null]}]}`, listKind, "28 28"},
		{`{"a":[{"anything-but":[{"numeric":["=",1]}]}]}`, listKind, "25 25"},
		{`{"a":[{"anything-but":{"numeric":["=",1]}}]}`, "Unsupported anything-but pattern: numeric", "35"},
		{`{"a":[{"anything-but":{"prefix":""}}]}`, "Null prefix/suffix not allowed", "35"},
		{`{"a":[{"anything-but":{"suffix":["x",""]}}]}`, "Null prefix/suffix not allowed", "40 40"},
		{`{"a":[{"anything-but":{"suffix":[1]}}]}`, "prefix/suffix match pattern must be a string", "35 35"},
		{`{"a":[{"anything-but":{"equals-ignore-case":[1]}}]}`, "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.", "47 47"},
		{`{"a":[{"anything-but":{"wildcard":1}}]}`, "wildcard match pattern must be a string", "36"},
		{`{"a":[{"anything-but":{"wildcard":["x","a**"]}}]}`, "Consecutive wildcard characters at pos 2", "46"},
		{`{"a":[{"anything-but":1e309}]}`, "Cannot compare number : 1e309", ""},
		{`{"a":[{"anything-but":[1,1e309]}]}`, "Cannot compare number : 1e309", "31"},

		{`{"$or":[{"a":[1]}]}`, "There must have at least 2 Objects in $or relationship.", "19"},
		{`{"$or":[]}`, "There must have at least 2 Objects in $or relationship.", "10"},
		{`{"$or":[1,2]}`, "Only JSON object is allowed in array of $or relationship.", "10"},
		{`{"$or":"x"}`, `"$or" must be an object or an array`, "9"},
		{`{"$or":[{"a":[1]},{}]}`, "Empty objects are not allowed", "21"},
		{`{"$or":[{"prefix":["x"]},{"a":[1]}]}`, "prefix is Ruler reserved fieldName which cannot be used inside $or.", "20"},

		// JSON.
		{`this is not JSON`, "Unrecognized token 'this': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')", "5"},
		{`{'a':1}`, "Unexpected character (''' (code 39)): was expecting double-quote to start field name", "3"},
		{`{"a":[tru]}`, "Unrecognized token 'tru': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')", "10"},
		{`{"a":["x" "y"]}`, "Unexpected character ('\"' (code 34)): was expecting comma to separate Array entries", "12"},
		{`{"a" ["x"]}`, "Unexpected character ('[' (code 91)): was expecting a colon to separate field name and value", "7"},
		{`{"a":["x",]}`, "Unexpected character (']' (code 93)): expected a value", "12"},
		{`{"a":["x"],}`, "Unexpected character ('}' (code 125)): was expecting double-quote to start field name", "13"},
		{`{"a":[01]}`, "Invalid numeric value: Leading zeroes not allowed", "9"},
		{`{"a":[-]}`, "Unexpected character (']' (code 93)) in numeric value: expected digit (0-9) to follow minus sign, for valid numeric value", "9"},
		{`{"a":["\x"]}`, "Unrecognized character escape 'x' (code 120)", "10"},
	} {
		_, err := Parse([]byte(c.pattern))
		want := "Event pattern is not valid. Reason: " + c.reason
		for column := range strings.FieldsSeq(c.column) {
			want += at(c.pattern, column)
		}
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%s)\ngot  %v\nwant %v", c.pattern, err, want)
		}
		var e *Error
		if !errors.As(err, &e) || e.Reason != c.reason {
			t.Errorf("Parse(%s): %#v", c.pattern, err)
		}
	}
}

func TestParseErrorsAtEnd(t *testing.T) {
	t.Parallel()
	whole := `{"a":[{"anything-but":{"wildcard":["a\\*","\u00e9"]}},-1.5e3,true]}`
	for i := 1; i < len(whole); i++ {
		if _, err := Parse([]byte(whole[:i])); err == nil {
			t.Errorf("Parse(%s) succeeds", whole[:i])
		}
	}
	_, err := Parse([]byte(`{"a":`))
	want := "Event pattern is not valid. Reason: Unexpected end-of-input within/between Object entries" + at(`{"a":`, "6")
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
	_, err = Parse([]byte(`{"a":["x"]`))
	want = `Event pattern is not valid. Reason: Unexpected end-of-input: expected close marker for Object (start marker at [Source: (String)"{"a":["x"]"; line: 1, column: 1])` + at(`{"a":["x"]`, "11")
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestErrorLocation(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte("{\n \"é\U0001F600\": 5}"))
	var e *Error
	if !errors.As(err, &e) || !strings.HasSuffix(e.Location, "; line: 2, column: 10]") {
		t.Errorf("line and column in UTF-16 units: %v", err)
	}
	long := `{"` + strings.Repeat("a", 600) + `":5}`
	_, err = Parse([]byte(long))
	want := "\n at [Source: (String)\"" + long[:500] + "\"[truncated 106 chars]; line: 1, column: 606]"
	if !errors.As(err, &e) || e.Location != want {
		t.Errorf("a long pattern is cut short: %v", err)
	}
}

func TestParseLimits(t *testing.T) {
	t.Parallel()
	or := func(n int) string {
		one := `"x":{"$or":[` + strings.Repeat(`{"a":[1]},`, n-1) + `{"b":[2]}]}`
		return one
	}
	if p := mustParse(t, "{"+or(1000)+"}"); len(p.Branches) != 1000 {
		t.Errorf("%d branches", len(p.Branches))
	}
	for _, text := range []string{"{" + or(1001) + "}", "{" + or(32) + "," + or(32) + "}"} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), "Too many combinations of $or: at most 1000 are allowed") {
			t.Errorf("%v", err)
		}
	}
	deep := strings.Repeat(`{"a":`, maxDepth+1)
	_, err := Parse([]byte(deep))
	if err == nil || !strings.Contains(err.Error(), "Document nesting depth (1001) exceeds the maximum allowed (1000,") {
		t.Errorf("%v", err)
	}
}

func TestComplexity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		texts []string
		want  int
	}{
		{nil, 0},
		{[]string{"*ab*ad"}, 4},
		{[]string{"*aa"}, 3},
		{[]string{"a*b*bb"}, 5},
		{[]string{"*ab*b*b*"}, 7},
		{[]string{"*:*:*:event-bus/*"}, 7},
		{[]string{"*:*:*:*:*:event-bus/*"}, 11},
		{[]string{"a*aaa", "aa*aa"}, 7},
		{[]string{"F*eatureFeature", "Fe*atureFeature", "Fea*tureFeature"}, 10},
		{[]string{"*abc", "*abc"}, 2},
		// AWS accepts the first two and refuses the third.
		{[]string{"*.bif", "*.tiff", "*.tif", "*.svs"}, 8},
		{[]string{"*/datasync/*.bif", "*/datasync/*.tif"}, 8},
		{[]string{"*/datasync/*.bif", "*/datasync/*.tif", "*/datasync/*.tiff", "*/datasync/*.svs"}, 11},
		{[]string{strings.Repeat("F*e*a*t*u*r*e*", 300)}, 11},
		{[]string{strings.Repeat("x", 4000)}, 1},
		{[]string{strings.Repeat("x", 1<<20)}, 11},
	} {
		var tests []Test
		for _, text := range c.texts {
			tests = append(tests, Test{Op: OpWildcard, Text: text})
		}
		if got := complexity(tests); got != c.want {
			t.Errorf("%.80q: %d, want %d", c.texts, got, c.want)
		}
		if got := complexity([]Test{{Op: OpAnythingButWildcard, Texts: c.texts}}); got != c.want {
			t.Errorf("anything-but %.80q: %d, want %d", c.texts, got, c.want)
		}
	}
	_, err := Parse([]byte(`{"resources":[{"wildcard":"*:*:*:*:*:event-bus/*"}]}`))
	want := "Event pattern is not valid. Reason: Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
