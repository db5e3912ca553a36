package stripeapi_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/rawjson"
	"github.com/waybill-dev/waybill/internal/stripeapi"
)

// deep tells whether the JSON might nest deeper than rawjson allows, which the
// oracle does not check.
func deep(body []byte) bool {
	return bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) >= rawjson.MaxDepth
}

func FuzzPublishDecode(f *testing.F) {
	for _, seed := range []string{
		customer, thinCustomer, `{"events":[` + customer + `, ` + thinCustomer + `]}`, ``, ` `, `{}`, `null`, `{"events":[]}`, `{"events":null}`,
		`{"type":"a","events":[]}`, `{"events":[` + customer + `],"events":[]}`,
		`{"id":"x","type":"a","data":{"object":{"id":"\ud800","object":"\u0063"},"previous_attributes":{}}}`,
		`{"\u0074ype":"a","type":"b","data":{"object":{}}}`,
		`{"created":1700000000,"type":"a","data":{"object":{"id":1,"id":"b"}}}`,
		`{"created":"2024-01-01T00:00:00Z","type":"a","data":{"object":{}}, "request":{"id":null,"idempotency_key":"k"}}`,
		`{"created":-0,"pending_webhooks":-0,"type":"a","data":{"object":{}}}`,
		`{"created":1e9,"type":"a","data":{"object":{}}}`,
		`{"type":"a","data":{"object":{},"object":{}},"related_object":{"type":"t","url":"u"}}`,
		`{"type":"a","changes":{"before":null,"after":{}},"reason":{"type":"request","request":{}},"related_object":{"type":"t","url":"u","id":""}}`,
		`{"type":"a","data":{"x":1},"related_object":null}`, `{"type":"a","data":nul}`, `{"type":"a","data":{"object":{}}}}`,
		"{\"type\":\"a\",\"data\":{\"object\":{\"\xff\":1}}}", "\ufeff" + customer,
		`{"object":"event","livemode":false,"account":null,"context":null,"snapshot_event":null,"api_version":"1","type":"a","data":{"object":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const maxEvent = 4096
	f.Fuzz(func(t *testing.T, body []byte) {
		if deep(body) {
			return
		}
		input := bytes.Clone(body)
		got, _, err := stripeapi.Decode(body, now, maxEvent)
		if !bytes.Equal(body, input) {
			t.Fatal("the body was changed")
		}
		want, wantErr := oracleDecode(body, now, maxEvent)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("decoder: %v; oracle: %v", err, wantErr)
		}
		if err != nil {
			if fault.As(err) == nil {
				t.Fatalf("not a fault: %v", err)
			}
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%d drafts, want %d", len(got), len(want))
		}
		for i := range got {
			if !reflect.DeepEqual(plain(got[i]), plain(want[i])) {
				t.Fatalf("draft %d:\n%s\nwant\n%s", i, plain(got[i]), plain(want[i]))
			}
			e := got[i].Build(event.NewScope(1, false), now, "2026-01-01")
			if !json.Valid(e.Payload) {
				t.Fatalf("what was built is not JSON: %s", e.Payload)
			}
		}
	})
}

// plain makes drafts comparable: empty and nil differ, capacities do not.
func plain(d *event.Draft) string {
	c := *d
	b, err := json.Marshal(map[string]any{
		"draft": []any{c.ID, c.Hash, c.Type, c.Created, c.APIVersion, c.RequestID, c.IdempotencyKey, c.ObjectID, c.ObjectType},
		"raw":   []any{c.Object, c.PreviousAttributes, c.RelatedObject, c.Data, c.Changes, c.Reason},
	})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func FuzzCursor(f *testing.F) {
	key, scope := [32]byte{1}, event.NewScope(3, false)
	f.Add("", "events", "", true, int64(1), int64(0))
	f.Add("AAAA", "deliveries", `"status"="failed"`, false, int64(-1), int64(1<<62))
	f.Add(stripeapi.SealCursor(key, scope, "a", "b", true, 5, 6), "events", "x", false, int64(5), int64(6))
	f.Fuzz(func(t *testing.T, token, list, filters string, newer bool, at, sub int64) {
		sealed := stripeapi.SealCursor(key, scope, list, filters, newer, at, sub)
		n, a, s, err := stripeapi.OpenCursor(key, scope, list, filters, sealed)
		if err != nil || n != newer || a != at || s != sub {
			t.Fatalf("sealed %v %d %d, opened %v %d %d: %v", newer, at, sub, n, a, s, err)
		}
		if url.QueryEscape(sealed) != sealed {
			t.Fatalf("token %q needs escapes", sealed)
		}
		for name, open := range map[string]func() error{
			"key": func() error {
				_, _, _, err := stripeapi.OpenCursor([32]byte{2}, scope, list, filters, sealed)
				return err
			},
			"scope":   func() error { _, _, _, err := stripeapi.OpenCursor(key, scope+1, list, filters, sealed); return err },
			"list":    func() error { _, _, _, err := stripeapi.OpenCursor(key, scope, list+"x", filters, sealed); return err },
			"filters": func() error { _, _, _, err := stripeapi.OpenCursor(key, scope, list, filters+"x", sealed); return err },
			"border": func() error {
				if filters == "" {
					return fault.Invalidf("page", "There is nothing to move.")
				}
				_, _, _, err := stripeapi.OpenCursor(key, scope, list+filters[:1], filters[1:], sealed)
				return err
			},
		} {
			if f := fault.As(open()); f == nil || f.Kind != fault.Invalid {
				t.Fatalf("a token of another %s was taken", name)
			}
		}
		if token == sealed {
			return
		}
		if _, _, _, err := stripeapi.OpenCursor(key, scope, list, filters, token); err == nil {
			t.Fatalf("a token that was made up was taken: %q", token)
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "limit=5", "a=1&a=2", "include[0]=x&include[]=y&include=z", "include%5B12%5D=x", "created[gt]=5&created[lte]=2024-01-01T00:00:00Z",
		"=x", "&&", "a=%zz", "%ff=1", "a=%00", "a+b=c+d", "page=abc&limit=1", "a;b=c", "created=9999999999999999999", "[]=x", "include[=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := stripeapi.ParseQuery(raw)
		want, wantErr := url.ParseQuery(raw)
		if err != nil {
			if fault.As(err) == nil {
				t.Fatalf("not a fault: %v", err)
			}
			if wantErr == nil && validValues(want) {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		if wantErr != nil && !strings.Contains(raw, ";") { // net/url refuses these for an old ambiguity
			t.Fatalf("taken, but: %v", wantErr)
		}
		if wantErr == nil {
			n := 0
			for name, values := range want {
				n += len(values)
				got, ok, err := q.Text(name)
				if len(values) > 1 {
					if err == nil {
						t.Fatalf("%q is there twice and was taken", name)
					}
				} else if err != nil || !ok || got != values[0] {
					t.Fatalf("%q: %q %v %v, want %q", name, got, ok, err, values[0])
				}
			}
			if q.Len() != n {
				t.Fatalf("%d parameters, want %d", q.Len(), n)
			}
		}
		page := q.PageURL("/v2/x", "token")
		u, err := url.Parse(page)
		if err != nil || u.Path != "/v2/x" {
			t.Fatalf("page URL %q: %v", page, err)
		}
		again, err := stripeapi.ParseQuery(u.RawQuery)
		if err != nil {
			t.Fatalf("page URL %q: %v", page, err)
		}
		if token, _, err := again.Text("page"); err != nil || token != "token" {
			t.Fatalf("page URL %q carries the token %q", page, token)
		}
		if again.Filters() != q.Filters() {
			t.Fatalf("filters %q became %q", q.Filters(), again.Filters())
		}
		fresh, err := stripeapi.ParseQuery(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fresh.Limit()
		_ = fresh.List("include")
		if from, to, err := fresh.Created(); err == nil && (from.Year() > 10000 || to.Year() > 10000) {
			t.Fatalf("created from %v to %v", from, to)
		}
		_ = fresh.Done()
	})
}

func validValues(v url.Values) bool {
	for name, values := range v {
		if !utf8.ValidString(name) || !utf8.ValidString(strings.Join(values, "")) {
			return false
		}
	}
	return true
}

func FuzzFormMetadata(f *testing.F) {
	for _, seed := range []string{"metadata=", "metadata[a]=1&metadata[b]=", "metadata[a[b]]=1", "metadata[]=1", "metadata[a=1", "metadata[a]=1&metadata[a]=2", "metadata=x", "metadata"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := stripeapi.ParseQuery(raw)
		if err != nil {
			return
		}
		changes, none, err := q.Metadata()
		if err != nil {
			if fault.As(err) == nil {
				t.Fatalf("not a fault: %v", err)
			}
			return
		}
		want, err := url.ParseQuery(raw)
		if err != nil {
			return // semicolons
		}
		if none != want.Has("metadata") {
			t.Fatalf("removes all: %v", none)
		}
		for key, value := range changes {
			sent := want["metadata["+key+"]"]
			if len(sent) != 1 || (value == nil) != (sent[0] == "") || (value != nil && *value != sent[0]) {
				t.Fatalf("%q: %v, sent %q", key, value, sent)
			}
		}
	})
}
