package event

import (
	"encoding/json"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

func built(d Draft) *Event {
	e := d.Build(NewScope(1, false), time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC), "2026-03-25.dahlia")
	e.Assign(SeqAt(time.Unix(1772600767, 0)))
	return e
}

// Whatever wraps it, the data is what is sent unwrapped.
func TestFormats(t *testing.T) {
	t.Parallel()
	snapshot := built(Draft{Type: "customer.created", Object: []byte(`{"id":"cus_1"}`), ObjectID: "cus_1"})
	thin := built(Draft{Type: "v1.odd", RelatedObject: []byte(`{"type":"balance","url":"/v1/balance"}`)})
	for _, e := range []*Event{snapshot, thin} {
		sub := &Subscription{Name: "ed_test_1", APIVersion: "2025-01-27.acacia"}
		plain := string(e.AppendPush(nil, sub.APIVersion))
		for format, want := range map[Format]map[string]string{
			"": nil, FormatStripe: nil, FormatCloudEventsBinary: nil,
			FormatStandard: {"type": e.Type, "timestamp": "2026-03-04T05:06:07.089Z"},
			FormatCloudEvents: {
				"specversion": "1.0", "id": e.ID(), "source": "/v2/core/event_destinations/ed_test_1", "type": e.Type,
				"subject": e.ObjectID, "time": "2026-03-04T05:06:07.089Z", "datacontenttype": "application/json",
			},
		} {
			sub.Format = format
			body := string(e.AppendBody([]byte("x"), sub))
			if want == nil {
				if body != "x"+plain {
					t.Errorf("%q: %s", format, body)
				}
				continue
			}
			var got map[string]json.RawMessage
			if err := json.Unmarshal([]byte(body[1:]), &got); err != nil {
				t.Fatalf("%q: %v: %s", format, err, body)
			}
			if string(got["data"]) != plain {
				t.Errorf("%q: data = %s", format, got["data"])
			}
			delete(got, "data")
			for name, value := range want {
				if value != "" && string(got[name]) != `"`+value+`"` || value == "" && got[name] != nil {
					t.Errorf("%q: %s = %s, want %s", format, name, got[name], value)
				}
				delete(got, name)
			}
			if len(got) != 0 {
				t.Errorf("%q: more than wanted: %s", format, got)
			}
		}
	}
}

func FuzzCloudHeaders(f *testing.F) {
	f.Add("customer.created", "cus_1")
	f.Add("a", "100% \"\r\nX: é")
	f.Fuzz(func(t *testing.T, typ, object string) {
		e := built(Draft{Type: typ, Object: []byte(`{}`), ObjectID: object})
		lines := strings.Split(string(e.AppendCloudHeaders(nil, "ed_1")), "\r\n")
		want := 5
		if object != "" {
			want++
		}
		if len(lines) != want+1 || lines[want] != "" {
			t.Fatalf("lines: %q", lines)
		}
		for _, line := range lines[:want] {
			name, value, _ := strings.Cut(line, ": ")
			if !strings.HasPrefix(name, "ce-") || textproto.TrimString(value) != value || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' }) {
				t.Errorf("line %q", line)
			}
		}
	})
}
