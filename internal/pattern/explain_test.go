package pattern

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestExplainJSON(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `{"a":["x",{"numeric":[">",0,"<=",5]}],"b":{"c":[{"exists":false}]}}`)
	x, err := p.Explain([]byte(`{"a":["y", 7.50],"b":{"d":"<"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	var have, want any
	if err := json.Unmarshal(got, &have); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"matched":false,"branches":[{"matched":false,"fields":[
		{"path":"a","wanted":["x",{"numeric":[">",0,"<=",5]}],"saw":["y",7.50],"ok":false,
		 "why":"None of the 2 values meets any of the 2 alternatives."},
		{"path":"b.c","wanted":[{"exists":false}],"saw":[],"ok":true,
		 "why":"There is no value, which {\"exists\":false} wants."}]}]}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("got %s", got)
	}
}

func TestExplainWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pattern, event, path, why string }{
		{`{"a":["x"]}`, `{"a":"x"}`, "a", `The value "x" meets "x".`},
		{`{"a":["x"]}`, `{"a":"X"}`, "a", `The value "X" does not meet "x": they differ in case only.`},
		{`{"a":["x"]}`, `{"a":"xy"}`, "a", `The value "xy" does not meet "x": it has to be the whole value; {"prefix":…} is for the beginning of one.`},
		{`{"a":["x*"]}`, `{"a":"xy"}`, "a", `The value "xy" does not meet "x*": * means something only inside {"wildcard":…}.`},
		{`{"a":["5"]}`, `{"a":5}`, "a", `The value 5 does not meet "5": a string is wanted, and it is not one.`},
		{`{"a":[5]}`, `{"a":"5"}`, "a", `The value "5" does not meet 5: a number is wanted, and it is a string.`},
		{`{"a":[{"numeric":[">",5]}]}`, `{"a":9007199254740993}`, "a", `The value 9007199254740993 does not meet {"numeric":[">",5]}: the number has more digits than can be compared.`},
		{`{"a":[true]}`, `{"a":"true"}`, "a", `The value "true" does not meet true: it is a string.`},
		{`{"a":[{"cidr":"10.0.0.0/8"}]}`, `{"a":"x"}`, "a", `The value "x" does not meet {"cidr":"10.0.0.0/8"}: it is not an IP address.`},
		{`{"a":["x"]}`, `{"b":1}`, "a", `There is no such value in the event; an empty object or list is none either.`},
		{`{"a":["x"]}`, `{"a":{"b":1}}`, "a", `There is an object, but no value: a pattern speaks of the values inside an object.`},
		{`{"a":[{"exists":false}]}`, `{"a":null}`, "a", `There is the value null, but {"exists":false} wants none.`},
		{`{"a":{"b":[{"exists":false}]}}`, `{"a":[{"b":1},{}]}`, "a.b", `There are values in array elements, but {"exists":false} wants none, and no other field chooses an element without.`},
		{
			`{"l":{"a":[1],"b":[2]}}`, `{"l":[{"a":1},{"b":2}]}`, "l.b",
			`By itself this is met, but not in the same array element as "l.a": fields inside an array must be met by one and the same element.`,
		},
		{
			`{"l":{"a":[{"exists":false}],"b":[2],"c":["x"]}}`, `{"l":[{"a":1,"b":2,"c":"x"},{"c":"x"}]}`, "l.a",
			`By itself this is met, but not in the same array element as "l.b": fields inside an array must be met by one and the same element.`,
		},
		{
			`{"l":{"a":[1],"b":[2],"c":[3]}}`, `{"l":[{"a":1,"b":2},{"b":2,"c":3},{"a":1,"c":3}]}`, "l.c",
			`By itself this is met, but not in the same array element as "l.a" and "l.b": fields inside an array must be met by one and the same element.`,
		},
		{`{"a":["x"]}`, `{"a":"` + strings.Repeat("y", 200) + `"}`, "a", `The value "` + strings.Repeat("y", 99) + `… does not meet "x".`},
	} {
		p := mustParse(t, c.pattern)
		x, err := p.Explain([]byte(c.event))
		if err != nil {
			t.Errorf("%s on %s: %v", c.pattern, c.event, err)
			continue
		}
		if want := p.Matches([]byte(c.event)); x.Matched != want {
			t.Errorf("%s on %s: matched %v, want %v", c.pattern, c.event, x.Matched, want)
		}
		for _, f := range x.Branches[0].Fields {
			if f.Path == c.path && (f.Why != c.why || f.OK != x.Matched) {
				t.Errorf("%s on %s: %v\ngot  %s\nwant %s", c.pattern, c.event, f.OK, f.Why, c.why)
			}
		}
	}
	if _, err := mustParse(t, `{"a":[1]}`).Explain([]byte(`[]`)); !errors.Is(err, ErrEvent) {
		t.Errorf("%v", err)
	}
}

// What a test is shown as must mean the same test.
func TestTestString(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`"x<y>&"`, `{"exactly":"10.0.0.1"}`, `"10.0.0.1"`, `true`, `null`, `9007199254740993`, `-1.5`, `1e+300`, `0.1`,
		`{"prefix":"x"}`, `{"suffix":"x"}`, `{"equals-ignore-case":"x"}`, `{"wildcard":"a\\*b*"}`,
		`{"prefix":{"equals-ignore-case":"x"}}`, `{"suffix":{"equals-ignore-case":"x"}}`,
		`{"numeric":[">",0]}`, `{"numeric":[">=",0,"<",5]}`, `{"numeric":["<=",5]}`,
		`{"cidr":"10.0.0.0/8"}`, `{"cidr":"2001:db8::/32"}`, `{"exists":true}`, `{"exists":false}`,
		`{"anything-but":"x"}`, `{"anything-but":["x","y"]}`, `{"anything-but":[1,2.5]}`,
		`{"anything-but":{"prefix":"x"}}`, `{"anything-but":{"suffix":["x","y"]}}`,
		`{"anything-but":{"equals-ignore-case":"x"}}`, `{"anything-but":{"wildcard":"*x"}}`,
	} {
		test := mustParse(t, `{"a":[`+text+`]}`).Branches[0][0].Tests[0]
		if got := test.String(); got != text {
			t.Errorf("%s is shown as %s", text, got)
		}
	}
}

func TestCheckEvent(t *testing.T) {
	t.Parallel()
	const full = `{"id":"1","account":"2","source":"s","time":"t","region":"r","detail-type":"d","detail":{}}`
	if err := CheckEvent([]byte(full)); err != nil {
		t.Error(err)
	}
	for _, event := range []string{
		``, `null`, `[]`, `"x"`, `{`, `{}`, full + "x",
		strings.Replace(full, `"id"`, `"x"`, 1), strings.Replace(full, `"account"`, `"x"`, 1),
		strings.Replace(full, `"source"`, `"x"`, 1), strings.Replace(full, `"time"`, `"x"`, 1),
		strings.Replace(full, `"region"`, `"x"`, 1), strings.Replace(full, `"detail-type"`, `"x"`, 1),
	} {
		if err := CheckEvent([]byte(event)); !errors.Is(err, ErrEvent) || err.Error() != "Parameter Event is not valid." {
			t.Errorf("%s: %v", event, err)
		}
	}
}
