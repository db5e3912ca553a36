package pattern

import (
	"encoding/json"
	"errors"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"a":["x",1,null,{"exists":false}]}`, `{"a":["x",{"a":1}]}`},
		{`{"l":{"a":[{"numeric":[">",0,"<=",5]}],"b":[{"anything-but":{"wildcard":["a*","*b"]}}]}}`, `{"l":[{"a":3,"b":"c"},{"a":3}]}`},
		{`{"$or":[{"a":["10.0.0.1"]},{"a":[{"cidr":"::/0"}]}],"b":[{"suffix":{"equals-ignore-case":"ß"}}]}`, `{"a":"::1","b":"SS"}`},
		{`{"a":[{"anything-but":[1e309]}]}`, `{"a":9007199254740993}`},
		{`{"a\u00e9":[{"wildcard":"\\*\\\\*"}]} x`, "{\"a\xff\":\"\\ud800\"}"},
		{"{\"\xff\":", `{"a":1,"a":[]}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, text, event []byte) {
		p, err := Parse(text)
		if err != nil {
			var e *Error
			if p != nil || !errors.As(err, &e) || e.Reason == "" {
				t.Fatalf("%v, %#v", p, err)
			}
			return
		}
		for _, branch := range p.Branches {
			if len(branch) == 0 {
				t.Fatal("a branch without fields would match everything")
			}
			for i, field := range branch {
				if len(field.Tests) == 0 || i > 0 && branch[i-1].Path >= field.Path {
					t.Fatalf("%+v", branch)
				}
				for _, test := range field.Tests {
					// The form shown to people is a pattern again, of the same meaning.
					again, err := Parse([]byte(`{"a":[` + test.String() + `]}`))
					if err != nil {
						t.Fatalf("%s: %v", test, err)
					}
					if got := again.Branches[0][0].Tests[0]; got.String() != test.String() {
						t.Fatalf("%s reads as %s", test, got)
					}
				}
			}
		}
		matched := p.Matches(event)
		x, err := p.Explain(event)
		if err != nil {
			if matched || json.Valid(event) && event[0] == '{' {
				t.Fatal(err)
			}
			return
		}
		if x.Matched != matched {
			t.Fatalf("explained %v, matches %v", x.Matched, matched)
		}
		for _, branch := range x.Branches {
			ok := true
			for _, field := range branch.Fields {
				ok = ok && field.OK
			}
			if ok != branch.Matched {
				t.Fatalf("%+v", branch)
			}
		}
		if _, err := json.Marshal(x); err != nil {
			t.Fatal(err)
		}
	})
}
