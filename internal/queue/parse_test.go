package queue

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
)

func FuzzParseHandle(f *testing.F) {
	for _, seed := range []string{"", "x", handle{1, 2, 3}.String(), handle{-1, 0, 1 << 62}.String() + "=", strings.Repeat("A", 33)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, queue := range []int64{0, 1} {
			h, err := parseHandle(queue, text)
			if err == nil && (h.queue != queue || h.String() != text) {
				t.Errorf("%q is read as %+v, which is written %q", text, h, h)
			}
		}
	})
}

func FuzzParseRedrive(f *testing.F) {
	for _, seed := range []string{
		`{"deadLetterTargetArn":"a","maxReceiveCount":3}`, `{"deadLetterTargetArn":"a","maxReceiveCount":"1000"}`,
		`{"deadLetterTargetArn":"a","maxReceiveCount":"\"5\""}`, `{"maxReceiveCount":3}`, `null`, `[]`, ``,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseRedrive(text)
		if err == nil && (p.Max < 1 || p.Max > 1000 || !json.Valid([]byte(text))) {
			t.Errorf("%q is read as %+v", text, p)
		}
	})
}

func TestParseHandle(t *testing.T) {
	t.Parallel()
	h := handle{queue: 7, id: 1 << 40, receipt: 1<<62 + 5}
	if got, err := parseHandle(7, h.String()); err != nil || got != h {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parseHandle(8, h.String()); !isCode(err, codeReceipt) {
		t.Errorf("of another queue: %v", err)
	}
}

func TestParseRedrive(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]redrive{
		`{"deadLetterTargetArn":"a","maxReceiveCount":3}`:   {"a", 3},
		`{"deadLetterTargetArn":"a","maxReceiveCount":"3"}`: {"a", 3},
	} {
		if got, err := parseRedrive(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{``, `null`, `3`, `{}`, `{"deadLetterTargetArn":"a"}`, `{"deadLetterTargetArn":"a","maxReceiveCount":1001}`, `{"deadLetterTargetArn":"a","maxReceiveCount":1.5}`} {
		if got, err := parseRedrive(text); err == nil {
			t.Errorf("%s: %+v, want an error", text, got)
		}
	}
}

func TestChecksums(t *testing.T) {
	t.Parallel()
	attrs := []event.Attribute{
		{Name: "text", Type: "String.label", Value: "ü"}, {Name: "bytes", Type: "Binary", Value: "\x00\x01\xff"}, {Name: "number", Type: "Number", Value: "-1.5e3"},
	}
	if got, want := attributesMD5(attrs), "855cc8524803a6c62eed14b8614c5293"; got != want {
		t.Errorf("of attributes %s, want %s", got, want)
	}
	if got := attributesMD5(nil); got != "" {
		t.Errorf("of no attributes %q", got)
	}
	if got, want := bodyMD5([]byte("hello")), "5d41402abc4b2a76b9719d911017c592"; got != want {
		t.Errorf("of a body %s, want %s", got, want)
	}
}

func TestSelected(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		wanted string
		name   string
		want   bool
	}{
		{"All", "a", true},
		{".*", "a", true},
		{"a", "a", true},
		{"a", "ab", false},
		{"a.*", "a.b", true},
		{"a.*", "ab", false},
	} {
		if got := selected([]string{tc.wanted}, tc.name); got != tc.want {
			t.Errorf("%s by %s: %t", tc.name, tc.wanted, got)
		}
	}
}
