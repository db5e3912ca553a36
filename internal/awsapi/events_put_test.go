package awsapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestDecodePut(t *testing.T) {
	t.Parallel()
	entries, err := decodePut([]byte(` {"EndpointId": "e", "Entries": [
		{"Source": "s", "DetailType": "t\u00fc", "Detail": "{\"a\":1}", "EventBusName": "b", "Resources": ["r", "\"q\""], "Time": 1767323045.5, "More": {"x": []}},
		{"Source": null, "Resources": null, "Time": "2026-01-02T03:04:05Z"}, {}]}`))
	if err != nil || len(entries) != 3 {
		t.Fatal(entries, err)
	}
	e := entries[0]
	if e.Source != "s" || e.DetailType != "tü" || string(e.Detail) != `{"a":1}` || e.Bus != "b" || len(e.Resources) != 2 || e.Resources[1] != `"q"` ||
		!e.Time.Equal(time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC)) {
		t.Errorf("%+v", e)
	}
	if e := entries[1]; e.Source != "" || e.Resources != nil || !e.Time.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("%+v", e)
	}
	for _, body := range []string{"", "{}", `{"Entries":null}`} {
		if entries, err := decodePut([]byte(body)); err != nil || len(entries) != 0 {
			t.Errorf("%s: %v, %v", body, entries, err)
		}
	}
	for _, body := range []string{
		"[]", "{", `{"Entries":{}}`, `{"Entries":[1]}`, `{"Entries":[{"Source":1}]}`, `{"Entries":[{"Detail":{}}]}`,
		`{"Entries":[{"Resources":[1]}]}`, `{"Entries":[{"Resources":"r"}]}`, `{"Entries":[{"Time":"x"}]}`, `{"Entries":[{"Time":{}}]}`, `{"Entries":[]} x`,
		`{"Entries":[{"Resources":[` + strings.Repeat(`"",`, maxResources) + `""]}]}`,
	} {
		if _, err := decodePut([]byte(body)); err == nil {
			t.Errorf("%.60s was accepted", body)
		}
	}
}

// What encoding/json writes must be read back as it was, and nothing may break
// the decoder.
func FuzzDecodePut(f *testing.F) {
	f.Add("s", "t", `{"a":1}`, "b", "r", []byte(`{"Entries":[{"Source":null},{}],"x":[1,{"a":true}]}`))
	f.Add("\"", "\u2028<&>", "\x00", "", "ü", []byte(`{"Entries":[{"Source":"\ud800","Time":1}]}`))
	f.Fuzz(func(t *testing.T, source, detailType, detail, bus, resource string, body []byte) {
		_, _ = decodePut(body)
		type entry struct {
			Source, DetailType, Detail, EventBusName string
			Resources                                []string
		}
		want := entry{source, detailType, detail, bus, []string{resource}}
		written, err := json.Marshal(map[string][]entry{"Entries": {{}, want}})
		if err != nil {
			t.Fatal(err)
		}
		entries, err := decodePut(written)
		if err != nil || len(entries) != 2 {
			t.Fatalf("%s: %v, %v", written, entries, err)
		}
		for i, part := range [][2]string{
			{entries[1].Source, source},
			{entries[1].DetailType, detailType},
			{string(entries[1].Detail), detail},
			{entries[1].Bus, bus},
			{entries[1].Resources[0], resource},
		} {
			if utf8.ValidString(part[1]) && part[0] != part[1] {
				t.Errorf("part %d: %q, want %q", i, part[0], part[1])
			}
		}
	})
}

func BenchmarkDecodePut(b *testing.B) {
	body, err := json.Marshal(map[string]any{"Entries": []map[string]any{{
		"Source": "shop", "DetailType": "order.created", "EventBusName": "default", "Detail": `{"id":"` + strings.Repeat("x", 1000) + `"}`,
	}}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodePut(body); err != nil {
			b.Fatal(err)
		}
	}
}
