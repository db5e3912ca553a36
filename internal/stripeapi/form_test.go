package stripeapi

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestFormNests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ form, want string }{
		{"", `{}`},
		{"a=1&b=", `{"a":"1","b":""}`},
		{"a[b]=1&a[c][d]=2", `{"a":{"b":"1","c":{"d":"2"}}}`},
		{"a[]=1&a[]=2", `{"a":["1","2"]}`},
		{"a[1]=y&a[0]=x&a[10]=z", `{"a":["x","y","z"]}`},
		{"a[0][b]=1&a[0][c]=2&a[1][b]=3", `{"a":[{"b":"1","c":"2"},{"b":"3"}]}`},
		{"a[][b]=1&a[][c]=2&a[][b]=3&a[][c]=4", `{"a":[{"b":"1","c":"2"},{"b":"3","c":"4"}]}`},
		{"a[][b][]=1&a[][b][]=2", `{"a":[{"b":["1"]},{"b":["2"]}]}`},
		{"m[0]=x&m[k]=y", `{"m":{"0":"x","k":"y"}}`},
		{"0=x", `{"0":"x"}`},
		{"a%5Bb%5D=%C3%A9+%26", `{"a":{"b":"é &"}}`},
		{"a.b=1&c[b.c]=2", `{"a.b":"1","c":{"b.c":"2"}}`},
	} {
		p, err := parseParams(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.tree()
		if err != nil {
			t.Errorf("%s: %v", tt.form, err)
			continue
		}
		var want map[string]any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", tt.form, got, want)
		}
	}
}

func TestFormRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ form, says string }{
		{"a=1&a=2", "more than once"},
		{"a[b]=1&a[b]=2", "more than once"},
		{"a=1&a[b]=2", "both a value and"},
		{"a[b]=1&a=2", "more than once"},
		{"a[b=1", "not formed well"},
		{"a[b]c=1", "not formed well"},
		{"a[", "no name"},
		{"=1", "no name"},
		{"[a]=1", "no name"},
		{"a" + strings.Repeat("[b]", deepestForm+1) + "=1", "not formed well"},
	} {
		p, err := parseParams(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.tree(); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, %v; want %q", tt.form, got, err, tt.says)
		}
	}
}

// Whatever is sent, the tree holds each value once or the form is refused.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"a=1", "a[b][0][c]=1&a[b][1][c]=2", "a[]=1&a[]=2", "a[][b]=1&a[][b]=2", "a[0]=1&a[k]=2", "a[[b]]=1", "a[b]c=d", "%61%5b%5d=1", "a[-1]=x&a[00]=y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, form string) {
		p, err := parseParams(form)
		if err != nil {
			return
		}
		tree, err := p.tree()
		if err != nil {
			return
		}
		if n := leaves(t, tree); n != len(p.all) {
			t.Errorf("%q has %d parameters, and its tree %d values: %v", form, len(p.all), n, tree)
		}
	})
}

func leaves(t *testing.T, v any) int {
	t.Helper()
	n := 0
	switch v := v.(type) {
	case string:
		return 1
	case []any:
		for _, child := range v {
			n += leaves(t, child)
		}
	case map[string]any:
		for _, child := range v {
			n += leaves(t, child)
		}
	default:
		t.Fatalf("a %T in the tree", v)
	}
	return n
}
