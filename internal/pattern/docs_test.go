package pattern

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// The specification's fenced blocks are run: a pattern applies to the events
// behind it, a reason to the invalid pattern before it.
func TestSpecification(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/patterns.md")
	if err != nil {
		t.Fatal(err)
	}
	var p *Pattern
	var invalid error
	counts := map[string]int{}
	blocks := strings.Split("\n"+string(text), "\n```")
	if len(blocks)%2 == 0 {
		t.Fatal("a fence is not closed")
	}
	for i := 1; i < len(blocks); i += 2 {
		kind, body, _ := strings.Cut(blocks[i], "\n")
		counts[kind]++
		switch kind {
		case "json pattern":
			p = mustParse(t, body)
		case "json event match", "json event no match":
			want := kind == "json event match"
			if p.Matches([]byte(body)) != want {
				t.Errorf("%s on %s: want %v", p.Text, body, want)
			}
			if x, err := p.Explain([]byte(body)); err != nil || x.Matched != want {
				t.Errorf("%s on %s: explained %v, %v", p.Text, body, x.Matched, err)
			}
		case "json invalid":
			if _, invalid = Parse([]byte(body)); invalid == nil {
				t.Errorf("%s is accepted", body)
			}
		case "reason":
			var e *Error
			if !errors.As(invalid, &e) || e.Reason != body {
				t.Errorf("got %v, want %s", invalid, body)
			}
		default:
			t.Errorf("no such kind of block: %q", kind)
		}
	}
	for kind, least := range map[string]int{"json pattern": 25, "json event match": 40, "json event no match": 35, "json invalid": 30} {
		if counts[kind] < least {
			t.Errorf("only %d of %q", counts[kind], kind)
		}
	}
	if counts["json invalid"] != counts["reason"] {
		t.Errorf("%d invalid patterns, %d reasons", counts["json invalid"], counts["reason"])
	}
}
