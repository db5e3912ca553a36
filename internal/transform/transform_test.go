package transform

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

const event = `{"version":"0","id":"6a7e8feb-b491","detail-type":"order \"placed\"","source":"shop","account":"123456789012","time":"2026-01-02T03:04:05Z","region":"eu-west-1","resources":["arn:a","arn:b"],` +
	`"detail":{ "status" : "ACTIVE", "quote":"say \"hi\"\n", "n": 1.50, "big":123456789012345678901, "ok":true, "none":null, "empty":{}, "list":["ACTIVE", "INACTIVE"], "numbers":[1, 2],` +
	` "payload":{"acc_id":"0a78", "sf_id":"baz"}, "items":[{"id":"a","tags":[1,2]},{"x":1},{"id":"b","tags":[3]}], "a b":"space", "d\u006ft":"escaped", "twice":1, "twice":2}}`

var vars = Vars{
	RuleARN:  "arn:aws:events:eu-west-1:123456789012:rule/r",
	RuleName: "r",
	Ingested: time.Date(2026, 1, 2, 4, 4, 5, 678, time.FixedZone("", 3600)),
}

var paths = map[string]string{
	"status": "$.detail.status", "quote": "$.detail.quote", "n": "$.detail.n", "big": "$.detail.big", "ok": "$.detail.ok",
	"none": "$.detail.none", "empty": "$.detail.empty", "list": "$.detail.list", "numbers": "$.detail.numbers", "payload": "$.detail.payload",
	"missing": "$.detail.nothing.here", "type": "$.detail-type", "first": "$.resources[0]", "all": "$",
}

func apply(t *testing.T, in Input) (string, error) {
	t.Helper()
	compiled, err := Compile(in)
	if err != nil {
		t.Fatalf("compile %+v: %v", in, err)
	}
	out, err := compiled.Apply([]byte("dst"), []byte(event), vars)
	rest, ok := bytes.CutPrefix(out, []byte("dst"))
	if !ok {
		t.Fatalf("dst was lost: %s", out)
	}
	return string(rest), err
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, template, want string }{
		{"values as JSON", `{"s": <status>, "n": <n>, "b": <big>, "t": <ok>, "z": <none>}`, `{"s": "ACTIVE", "n": 1.50, "b": 123456789012345678901, "t": true, "z": null}`},
		{"object and list as JSON", `{"p":<payload>,"l":<list>}`, `{"p":{"acc_id":"0a78","sf_id":"baz"},"l":["ACTIVE","INACTIVE"]}`},
		{"bare text inside quotes", `{"s":"is <status>, <n>, <ok>, <none>"}`, `{"s":"is ACTIVE, 1.50, true, null"}`},
		{"quotes stay escaped inside quotes", `{"s":"<quote>"}`, `{"s":"say \"hi\"\n"}`},
		{"escaped quotes around a placeholder", `{"s":"is \"<status>\""}`, `{"s":"is \"ACTIVE\""}`},
		{"missing in JSON", `{"a":<missing>,"b":"<missing>","c":["x<missing>"]}`, `{"a":"","b":"","c":["x"]}`},
		{"an array", `[<status>, 1, "<first>"]`, `["ACTIVE", 1, "arn:a"]`},
		{"a placeholder alone", `<payload>`, `{"acc_id":"0a78","sf_id":"baz"}`},
		{"a number list inside quotes is still JSON", `{"a":"<numbers> <empty>"}`, `{"a":"[1,2] {}"}`},
		{"a placeholder twice", `[<n>,<n>]`, `[1.50,1.50]`},
		{"a key of text", `{"<status>":1}`, `{"ACTIVE":1}`},
		{"no placeholder", ` {"a": [1] } `, ` {"a": [1] } `},
		{"< that starts nothing", `{"a":"1 < 2, <>, <a b>, </status>","b":<n>}`, `{"a":"1 < 2, <>, <a b>, </status>","b":1.50}`},

		{"text keeps its quotes", `"<status> at <n>"`, `"ACTIVE at 1.50"`},
		{"text with escaped quotes", `"it is \"<status>\""`, `"it is \"ACTIVE\""`},
		{"text of several lines", "\"one <status>\"\n\"two <n>\"\n", "\"one ACTIVE\"\n\"two 1.50\"\n"},
		{"missing in text", `"a<missing>b"`, `"ab"`},
		{"objects in text", `"<payload>"`, `"{acc_id:0a78,sf_id:baz}"`},
		{"lists in text", `"<list> <numbers>"`, `"[ACTIVE,INACTIVE] [1,2]"`},
		{"escapes in text", `"<type> <quote>"`, `"order \"placed\" say \"hi\"\n"`},

		{"reserved in JSON", `{"a":<aws.events.rule-arn>,"n":"<aws.events.rule-name>","t":<aws.events.event.ingestion-time>}`, `{"a":"arn:aws:events:eu-west-1:123456789012:rule/r","n":"r","t":"2026-01-02T03:04:05Z"}`},
		{"reserved in text", `"<aws.events.rule-name> <aws.events.event.ingestion-time>"`, `"r 2026-01-02T03:04:05Z"`},
		{
			"the event without detail", `{"e":<aws.events.event>}`,
			`{"e":{"version":"0","id":"6a7e8feb-b491","detailType":"order \"placed\"","source":"shop","account":"123456789012","time":"2026-01-02T03:04:05Z","region":"eu-west-1","resources":["arn:a","arn:b"]}}`,
		},
	} {
		got, err := apply(t, Input{Paths: paths, Template: test.template})
		if err != nil || got != test.want {
			t.Errorf("%s: %s (%v), want %s", test.name, got, err, test.want)
		}
	}
}

func TestTheWholeEvent(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := json.Compact(&want, []byte(event)); err != nil {
		t.Fatal(err)
	}
	for _, in := range []Input{
		{Template: `<aws.events.event.json>`},
		{Template: `<all>`, Paths: paths},
	} {
		if got, err := apply(t, in); err != nil || got != want.String() {
			t.Errorf("%s: %s (%v)", in.Template, got, err)
		}
	}
	text, err := apply(t, Input{Template: `"<aws.events.event.json>"`})
	if err != nil || !json.Valid([]byte(text)) {
		t.Errorf("in text: %s (%v)", text, err)
	}
}

// The event must come out of a transform as it went in: several targets share
// its bytes.
func TestApplyLeavesTheEventAlone(t *testing.T) {
	t.Parallel()
	compiled, err := Compile(Input{Paths: paths, Template: `[<aws.events.event>,<payload>,<list>,"<quote>"]`})
	if err != nil {
		t.Fatal(err)
	}
	mine := []byte(event)
	if _, err := compiled.Apply(nil, mine, vars); err != nil {
		t.Fatal(err)
	}
	if string(mine) != event {
		t.Errorf("changed to %s", mine)
	}
}

func TestPassThroughConstantAndPath(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	for _, test := range []struct {
		name string
		in   Input
		want string
		pass bool
	}{
		{"zero", Input{}, event, true},
		{"the root", Input{Path: "$"}, event, true},
		{"constant", Input{Constant: text(` {"a": 1}`)}, ` {"a": 1}`, false},
		{"constant text", Input{Constant: text(`"hello"`)}, `"hello"`, false},
		{"object", Input{Path: "$.detail.payload"}, `{"acc_id":"0a78","sf_id":"baz"}`, false},
		{"string", Input{Path: "$.detail.status"}, `"ACTIVE"`, false},
		{"null", Input{Path: "$.detail.none"}, `null`, false},
		{"bracket", Input{Path: "$['detail']['a b']"}, `"space"`, false},
		{"double quotes", Input{Path: `$["detail-type"]`}, `"order \"placed\""`, false},
		{"index", Input{Path: "$.detail.items[2].tags[0]"}, `3`, false},
		{"an escaped key", Input{Path: "$.detail.dot"}, `"escaped"`, false},
		{"the last of two", Input{Path: "$.detail.twice"}, `2`, false},
		{"all elements", Input{Path: "$.detail.items[*].id"}, `["a","b"]`, false},
		{"all of all", Input{Path: "$.detail.items[*].tags[*]"}, `[1,2,3]`, false},
		{"all members", Input{Path: "$.detail.payload.*"}, `["0a78","baz"]`, false},
		{"all of none", Input{Path: "$.detail.items[*].zzz[*]"}, `[]`, false},
	} {
		compiled, err := Compile(test.in)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if compiled.PassThrough() != test.pass {
			t.Errorf("%s: PassThrough = %t", test.name, compiled.PassThrough())
		}
		if got, err := apply(t, test.in); err != nil || got != test.want {
			t.Errorf("%s: %s (%v), want %s", test.name, got, err, test.want)
		}
	}
	var none *Transform
	if got, err := none.Apply(nil, []byte(event), vars); err != nil || string(got) != event || !none.PassThrough() {
		t.Errorf("nil: %s (%v)", got, err)
	}
}

// What AWS drops in silence has a reason here, and leaves nothing half written.
func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in     Input
		reason string
	}{
		{Input{Paths: paths, Template: `{"a":"<payload>"}`}, "<payload>"},
		{Input{Paths: paths, Template: `{"a":<n>,"b":"x <list>"}`}, "<list>"},
		{Input{Template: `{"a":"<aws.events.event>"}`}, "<aws.events.event>"},
		{Input{Template: `{"a":"<aws.events.event.json>"}`}, "<aws.events.event.json>"},
		{Input{Path: "$.detail.nothing"}, "$.detail.nothing"},
		{Input{Path: "$.detail.list[2]"}, "$.detail.list[2]"},
		{Input{Path: "$.detail.status.x"}, "$.detail.status.x"},
		{Input{Path: "$.detail[0]"}, "$.detail[0]"},
		{Input{Path: "$.detail.status[*]"}, "$.detail.status[*]"},
	} {
		got, err := apply(t, test.in)
		var typed *ApplyError
		if !errors.As(err, &typed) || !strings.Contains(typed.Reason, test.reason) || got != "" {
			t.Errorf("%+v: %q, %v", test.in, got, err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	empty, broken, valid := "", "{", "{}"
	for _, test := range []struct {
		in   Input
		want error
	}{
		{Input{Constant: &valid, Path: "$"}, ErrOnlyOne},
		{Input{Constant: &valid, Template: "{}"}, ErrOnlyOne},
		{Input{Path: "$", Template: "{}"}, ErrOnlyOne},
		{Input{Path: "$", Paths: paths}, ErrOnlyOne},
		{Input{Paths: paths}, ErrNoTemplate},
		{Input{Constant: &empty}, ErrConstant},
		{Input{Constant: &broken}, ErrConstant},
	} {
		if _, err := Compile(test.in); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, want %v", test.in, err, test.want)
		}
	}

	for _, name := range []string{"unknown", "aws.events.nothing", "aws.events", "Status"} {
		for _, template := range []string{`{"a":<` + name + `>}`, `{"a":"<` + name + `>"}`, `"<` + name + `>"`} {
			_, err := Compile(Input{Paths: paths, Template: template})
			var typed *PlaceholderError
			if !errors.As(err, &typed) || typed.Name != name {
				t.Errorf("%s: %v", template, err)
			}
		}
	}

	for _, template := range []string{
		" ", "{", "}", `{"a":<n>`, `{<n>:1}`, `{"a":<n><n>}`, `{"a":1<n>}`, `{"a":-<n>}`, `{"a":"\<n>"}`, `{"a":"\u00<n>41"}`, `{"a":"<n>}`, `{"a":tru<ok>}`,
		`hello <n>`, `"a" <n>`, `"a`, `"a" 1`, `"a" null`, "\"a\nb\"", `"a"}`, `"\x"`, `{} {}`, `'a'`,
	} {
		_, err := Compile(Input{Paths: paths, Template: template})
		var typed *TemplateError
		if !errors.As(err, &typed) {
			t.Errorf("%s: %v", template, err)
		}
	}

	for _, path := range []string{
		"", "detail", ".detail", "$detail", "$.", "$..a", "$.a.", "$.a..b", "$[", "$[]", "$[a]", "$[-1]", "$[1", "$['a]", "$['']", `$['a"]`, "$['a'b']",
		"$[1:2]", "$[0,1]", "$.a[?(@.b)]", "$.a b", "$.*a", "$ ", "$[99999999999]", "$['a']b",
	} {
		var typed *PathError
		_, err := Compile(Input{Paths: map[string]string{"x": path}, Template: "{}"})
		if !errors.As(err, &typed) || typed.Name != "x" || typed.Path != path || typed.Reason == "" {
			t.Errorf("path %q: %v", path, err)
		}
		if path == "" {
			continue
		}
		if _, err := Compile(Input{Path: path}); !errors.As(err, &typed) || typed.Name != "" {
			t.Errorf("input path %q: %v", path, err)
		}
	}
	for _, name := range []string{"", "a b", "a.b", "<a>", "ä", "AWS", "AWS-x", "aws.events.event"} {
		var typed *PathError
		if _, err := Compile(Input{Paths: map[string]string{name: "$"}, Template: "{}"}); !errors.As(err, &typed) || typed.Name != name {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestInputAsJSON(t *testing.T) {
	t.Parallel()
	const text = `{"input_paths":{"a":"$.b"},"template":"<a>"}`
	var in Input
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(in); err != nil || !strings.Contains(string(out), `"input_paths":{"a":"$.b"}`) || strings.Contains(string(out), `"input"`) {
		t.Errorf("%s (%v)", out, err)
	}
}

// A path must find what a decoder would.
func FuzzPath(f *testing.F) {
	f.Add("$.detail.payload", []byte(event))
	f.Add("$['a b'][1].c", []byte(`{"a b":[0,{"c":{}}]}`))
	f.Add("$.a", []byte(`{"a":1,"\u0061":[2]}`))
	f.Add("$[0]", []byte(` [ "x\"]" , 2 ] `))
	f.Add("$.a[*].b.*", []byte(`{"a":[{"b":[1]},{"b":{"c":2}},3]}`))
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		p, reason := parsePath(text)
		if reason != "" {
			return
		}
		value, ok := p.find(data)
		if !json.Valid(data) {
			return // only not to crash
		}
		var want any
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		if err := decoder.Decode(&want); err != nil {
			t.Fatal(err)
		}
		found := true
		for _, s := range p {
			switch v := want.(type) {
			case map[string]any:
				if want, found = v[s.name]; s.kind != stepName {
					found = false
				}
			case []any:
				if found = s.kind == stepIndex && s.index < len(v); found {
					want = v[s.index]
				}
			default:
				found = false
			}
			if s.kind == stepAll {
				if ok && !json.Valid(value) {
					t.Fatalf("%s of %s: %s is not JSON", text, data, value)
				}
				return
			}
			if !found {
				break
			}
		}
		if ok != found {
			t.Fatalf("%s of %s: found %t, want %t", text, data, ok, found)
		}
		if !ok {
			return
		}
		wantText, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		decoder = json.NewDecoder(bytes.NewReader(value))
		decoder.UseNumber()
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%s of %s: %s: %v", text, data, value, err)
		}
		if gotText, err := json.Marshal(got); err != nil || !bytes.Equal(gotText, wantText) {
			t.Fatalf("%s of %s: %s, want %s", text, data, gotText, wantText)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, value); err != nil || !bytes.Equal(compact.Bytes(), appendCompact(nil, value)) {
			t.Fatalf("compact %s, want %s (%v)", appendCompact(nil, value), compact.Bytes(), err)
		}
	})
}

// Whatever compiles gives JSON, or strings, or an error; never bad output.
func FuzzTemplate(f *testing.F) {
	f.Add(`{"a":<x>,"b":"<y>"}`, "$.detail.payload", []byte(event))
	f.Add(`"<x> <y>"`, "$.detail.list", []byte(event))
	f.Add("\"<x>\"\n\"<aws.events.event>\"", "$", []byte(event))
	f.Add(`[<aws.events.event>,"<aws.events.rule-name>"]`, "$", []byte(`{"detail-type":"a","detail":{}}`))
	f.Add(`{"a":"\"<x>\\"}`, "$.a", []byte(`{"a":"\\"}`))
	f.Fuzz(func(t *testing.T, template, path string, data []byte) {
		compiled, err := Compile(Input{Template: template, Paths: map[string]string{"x": path, "y": "$.detail"}})
		if err != nil {
			return
		}
		out, err := compiled.Apply(nil, data, vars)
		if err != nil || !json.Valid(data) {
			return
		}
		if compiled.text {
			if err := checkStrings(out); err != nil {
				t.Fatalf("%s gave %s: %v", template, out, err)
			}
		} else if len(compiled.parts) > 0 && !json.Valid(out) {
			t.Fatalf("%s gave %s", template, out)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	compiled, err := Compile(Input{Paths: paths, Template: `{"s":<status>,"p":<payload>,"t":"<type>"}`})
	if err != nil {
		b.Fatal(err)
	}
	data := []byte(event)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = compiled.Apply(dst[:0], data, vars); err != nil {
			b.Fatal(err)
		}
	}
}
