package event

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

const version = "2026-03-25.dahlia"

var (
	live = NewScope(7, true)
	test = NewScope(7, false)
	seq  = SeqAt(noon).Next(noon, 3)
)

type object = map[string]any

// decode holds the bytes to encoding/json: one valid object, numbers as sent.
func decode(t *testing.T, data []byte) object {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out object
	if err := d.Decode(&out); err != nil || !json.Valid(data) {
		t.Fatalf("not a JSON object: %v\n%s", err, data)
	}
	return out
}

func wantJSON(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if g, w := decode(t, got), decode(t, []byte(want)); !reflect.DeepEqual(g, w) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestBuildSnapshot(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		draft Draft
		scope Scope
		want  string
	}{
		{
			"least",
			Draft{Type: "a.b", Object: []byte(`{}`)},
			test,
			`{"id":"` + seq.ID(false) + `","object":"event","api_version":"` + version + `","created":1774440000,
			"data":{"object":{}},"livemode":false,"request":{"id":null,"idempotency_key":null},"type":"a.b"}`,
		},
		{
			"all",
			Draft{
				ID: "evt_mine", Type: "a.b", Created: time.Unix(1234567890, 0), APIVersion: "2020-01-01",
				Object: []byte(`{"id":"o_1","n":1.50}`), PreviousAttributes: []byte(`{"n":9007199254740993}`),
				RequestID: "req_1", IdempotencyKey: `a "key"`,
			},
			live,
			`{"id":"evt_mine","object":"event","api_version":"2020-01-01","created":1234567890,
			"data":{"object":{"id":"o_1","n":1.50},"previous_attributes":{"n":9007199254740993}},"livemode":true,
			"request":{"id":"req_1","idempotency_key":"a \"key\""},"type":"a.b"}`,
		},
	} {
		e := tc.draft.Build(tc.scope, noon, version)
		decode(t, e.Payload) // valid before its number is known, too
		e.Assign(seq)
		wantJSON(t, tc.name, e.Payload, tc.want)
		if e.Kind != Snapshot || e.Type != "a.b" || e.Scope != tc.scope || e.Seq != seq || e.Cut != 0 {
			t.Errorf("%s: event %+v", tc.name, e)
		}
		if want := decode(t, e.Payload)["id"]; e.ID() != want {
			t.Errorf("%s: ID = %q, want %q", tc.name, e.ID(), want)
		}
	}
}

func TestBuildThin(t *testing.T) {
	t.Parallel()
	d := Draft{Type: "v2.a.b", RelatedObject: []byte(`{"id":"o","type":"t","url":"/u"}`), ObjectID: "o"}
	e := d.Build(test, noon.Add(456*time.Microsecond).In(time.FixedZone("", 3600)), version)
	e.Assign(seq)
	wantJSON(t, "least", e.Payload, `{"id":"`+seq.ID(false)+`","object":"v2.core.event","type":"v2.a.b","livemode":false,
		"created":"2026-03-25T12:00:00.123Z","context":null,"reason":null,
		"related_object":{"id":"o","type":"t","url":"/u"},"data":null,"changes":null,"snapshot_event":null}`)
	if e.Kind != Thin || e.ObjectID != "o" || !e.Created.Equal(noon) {
		t.Errorf("event %+v", e)
	}

	d.ID, d.Created = "evt_mine", time.Unix(1234567890, 0)
	d.Data, d.Changes, d.Reason = []byte(`{"x":1}`), []byte(`{"before":{},"after":{}}`), []byte(`{"type":"request"}`)
	e = d.Build(live, noon, version)
	e.Assign(seq)
	wantJSON(t, "all", e.Payload, `{"id":"evt_mine","object":"v2.core.event","type":"v2.a.b","livemode":true,
		"created":"2009-02-13T23:31:30.000Z","context":null,"reason":{"type":"request"},
		"related_object":{"id":"o","type":"t","url":"/u"},"data":{"x":1},"changes":{"before":{},"after":{}},"snapshot_event":null}`)
	if e.ID() != "evt_mine" || e.Seq != seq {
		t.Errorf("ID %q, seq %d", e.ID(), e.Seq)
	}
}

func TestAppendThin(t *testing.T) {
	t.Parallel()
	d := Draft{
		Type: "v2.a", RelatedObject: []byte(`{"id":"o"}`),
		Data: []byte(`{"secret":1}`), Changes: []byte(`{"before":{}}`),
	}
	e := d.Build(live, noon, version)
	e.Assign(seq)
	push := e.AppendPush([]byte("kept"), "")
	push, ok := bytes.CutPrefix(push, []byte("kept"))
	if !ok {
		t.Fatal("AppendPush does not append")
	}
	want := decode(t, e.Payload)
	for _, cut := range []string{"data", "changes", "snapshot_event"} {
		if _, ok := want[cut]; !ok {
			t.Errorf("the full event lacks %s", cut)
		}
		delete(want, cut)
	}
	if got := decode(t, push); !reflect.DeepEqual(got, want) {
		t.Errorf("pushed %s", push)
	}
	if again := e.AppendPush(nil, "2020-01-01"); !bytes.Equal(again, push) {
		t.Errorf("a pinned version changes a thin event: %s", again)
	}
	if full := e.AppendFull(nil, 5); !bytes.Equal(full, e.Payload) {
		t.Errorf("full %s", full)
	}
}

func TestAppendSnapshot(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "evt_mine", "x"} {
		d := Draft{ID: id, Type: "a", Object: []byte(`{"api_version":"inner"}`)}
		e := d.Build(live, noon, version)
		e.Assign(seq)
		e.Routes = []Route{{1, Dispatch, 0}, {2, DiscardedDisabled, 0}, {3, Parked, 0}}
		before := string(e.Payload)
		for _, pinned := range []string{"", "v", "2999-12-31.a-much-longer-name-than-before"} {
			got := e.AppendPush([]byte("kept"), pinned)
			got, ok := bytes.CutPrefix(got, []byte("kept"))
			if !ok {
				t.Fatal("AppendPush does not append")
			}
			if again := Relabel(e.AppendPush(nil, ""), pinned); pinned != "" && !bytes.Equal(again, got) {
				t.Errorf("id %q relabelled %q: %s", id, pinned, again)
			}
			want := decode(t, e.Payload)
			want["pending_webhooks"] = json.Number("2")
			if pinned != "" {
				want["api_version"] = pinned
			}
			if g := decode(t, got); !reflect.DeepEqual(g, want) {
				t.Errorf("id %q pinned %q: pushed %s", id, pinned, got)
			}
		}
		want := decode(t, e.Payload)
		want["pending_webhooks"] = json.Number("41")
		if g := decode(t, e.AppendFull(nil, 41)); !reflect.DeepEqual(g, want) {
			t.Errorf("id %q: full %v", id, g)
		}
		if string(e.Payload) != before {
			t.Errorf("id %q: rendering changed the payload", id)
		}
	}
}

func TestTwin(t *testing.T) {
	t.Parallel()
	for _, scope := range []Scope{live, test} {
		for _, id := range []string{"", "evt_a_client_s_own"} {
			d := Draft{
				ID: id, Type: "charge.updated", Object: []byte(`{"id":"ch_1","object":"charge","n":2}`),
				PreviousAttributes: []byte(`{"n":1}`), ObjectID: "ch_1", ObjectType: "charge",
				RequestID: `req_"1"`,
			}
			s := d.Build(scope, noon, version)
			twin := d.Twin(s)
			decode(t, twin.Payload)
			s.Assign(seq)
			next := seq.Next(noon, 3)
			twin.Assign(next)
			liveText := "false"
			if scope.Live() {
				liveText = "true"
			}
			wantJSON(t, "twin of "+s.ID(), twin.Payload, `{"id":"`+next.ID(scope.Live())+`","object":"v2.core.event",
				"type":"v1.charge.updated","livemode":`+liveText+`,"created":"2026-03-25T12:00:00.123Z","context":null,
				"reason":{"type":"request","request":{"id":"req_\"1\"","idempotency_key":null}},
				"related_object":{"id":"ch_1","type":"charge","url":"/v1/charges/ch_1"},
				"data":null,"changes":{"before":{"n":1},"after":{"n":2}},"snapshot_event":"`+s.ID()+`"}`)
			if id == "" && s.ID() != seq.ID(scope.Live()) || id != "" && s.ID() != id {
				t.Errorf("the snapshot's id is %q", s.ID())
			}
			if twin.Kind != Thin || twin.Type != "v1.charge.updated" || twin.Scope != scope || !twin.Created.Equal(s.Created) || twin.ObjectID != "ch_1" {
				t.Errorf("twin %+v", twin)
			}
			push := decode(t, twin.AppendPush(nil, ""))
			if _, ok := push["snapshot_event"]; ok || push["related_object"] == nil {
				t.Errorf("pushed %v", push)
			}
		}
	}
}

func TestTwinWithoutRequestOrChanges(t *testing.T) {
	t.Parallel()
	d := Draft{Type: "a", Object: []byte(`{}`)}
	got := decode(t, d.Twin(d.Build(live, noon, version)).Payload)
	for _, field := range []string{"reason", "related_object", "changes", "data"} {
		if v, ok := got[field]; !ok || v != nil {
			t.Errorf("%s is %v, want null", field, v)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ object, previous, after string }{
		{`{"a":1,"b":2}`, `{"a":0}`, `{"a":1}`},
		{`{"a":1}`, `{}`, `{}`},
		{`{"a":1}`, `{"gone":"x"}`, `{"gone":null}`},
		{`{"m":{"x":1,"y":2},"z":3}`, `{"m":{"x":0}}`, `{"m":{"x":1}}`},
		{`{"m":{"x":1}}`, `{"m":{"x":0,"w":5}}`, `{"m":{"x":1,"w":null}}`},
		{`{"m":{"x":1,"y":2}}`, `{"m":null}`, `{"m":{"x":1,"y":2}}`},
		{`{"m":null}`, `{"m":{"x":1}}`, `{"m":null}`},
		{`{"l":[1,2]}`, `{"l":[{"x":1}]}`, `{"l":[1,2]}`},
		{`{"n":9007199254740993}`, `{"n":1.0}`, `{"n":9007199254740993}`},
		{`{"s":"<&>é"}`, `{"s":""}`, `{"s":"<&>é"}`},
	} {
		d := Draft{Object: []byte(tc.object), PreviousAttributes: []byte(tc.previous)}
		wantJSON(t, tc.object, d.changes(), `{"before":`+tc.previous+`,"after":`+tc.after+`}`)
	}
}

func TestRelatedObject(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ typ, id, url string }{
		{"charge", "ch_1", "/v1/charges/ch_1"},
		{"checkout.session", "cs_1", "/v1/checkout/sessions/cs_1"},
		{"radar.early_fraud_warning", "issfr_1", "/v1/radar/early_fraud_warnings/issfr_1"},
		{"capability", "card", "/v1/capabilities/card"},
		{"address", "adr_1", "/v1/addresses/adr_1"},
		{"box", "b_1", "/v1/boxes/b_1"},
		{"goods", "g_1", "/v1/goods/g_1"},
		{"balance", "", "/v1/balance"},
		{"balance_settings", "", "/v1/balance_settings"},
		{"tax.settings", "", "/v1/tax/settings"},
	} {
		want := object{"type": tc.typ, "url": tc.url}
		if tc.id != "" {
			want["id"] = tc.id
		}
		if got := decode(t, relatedObject(tc.typ, tc.id)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", tc.typ, got, want)
		}
	}
	if got := relatedObject("", "x_1"); got != nil {
		t.Errorf("without a tag: %s", got)
	}
	if got := relatedObject("charge", ""); got != nil {
		t.Errorf("without an id: %s", got)
	}
}

// Strings from outside are escaped as encoding/json would.
func FuzzDraft(f *testing.F) {
	f.Add("charge.failed", "req_1", "key", "charge", "ch_1")
	f.Add(`"`, `\`, "\n\x00\x1f\x7f", "</script>&", "\u2028")
	f.Add("é", "\xff\xfe", "a\xc3", "😀", "balance")
	f.Add("", "", "", "", "")
	f.Fuzz(func(t *testing.T, typ, request, key, objectType, objectID string) {
		// What encoding/json makes of s: invalid UTF-8 is replaced.
		clean := func(s string) any {
			q, _ := json.Marshal(s)
			var out string
			if err := json.Unmarshal(q, &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		orNull := func(s string) any {
			if s == "" {
				return nil
			}
			return clean(s)
		}
		d := Draft{
			Type: typ, Object: []byte(`{}`), RequestID: request, IdempotencyKey: key,
			ObjectType: objectType, ObjectID: objectID,
		}
		s := d.Build(test, noon, version)
		twin := d.Twin(s)
		s.Assign(seq)
		twin.Assign(seq + 1)

		got := decode(t, s.AppendPush(nil, "pinned"))
		if got["type"] != clean(typ) || got["api_version"] != "pinned" || got["id"] != seq.ID(false) {
			t.Fatalf("snapshot %s", s.Payload)
		}
		if want := (object{"id": orNull(request), "idempotency_key": orNull(key)}); !reflect.DeepEqual(got["request"], want) {
			t.Fatalf("request %v, want %v", got["request"], want)
		}

		got = decode(t, twin.Payload)
		if got["type"] != clean("v1."+typ) || got["snapshot_event"] != seq.ID(false) {
			t.Fatalf("twin %s", twin.Payload)
		}
		if request != "" {
			want := object{"type": "request", "request": object{"id": clean(request), "idempotency_key": orNull(key)}}
			if !reflect.DeepEqual(got["reason"], want) {
				t.Fatalf("reason %v, want %v", got["reason"], want)
			}
		}
		if related, ok := got["related_object"].(object); ok {
			if related["type"] != clean(objectType) || !strings.HasPrefix(related["url"].(string), "/v1/") {
				t.Fatalf("related object %v", related)
			}
		}
		decode(t, twin.AppendPush(nil, ""))

		d.RelatedObject = []byte(`null`)
		if got := decode(t, d.Build(live, noon, version).Payload); got["type"] != clean(typ) {
			t.Fatalf("thin %v", got)
		}
	})
}

func TestAppendTime(t *testing.T) {
	t.Parallel()
	for want, at := range map[string]time.Time{
		"2026-03-25T12:00:00.123Z": noon,
		"2026-03-25T12:00:00.000Z": noon.Truncate(time.Second),
		"2026-03-25T11:30:00.123Z": time.Date(2026, 3, 25, 13, 30, 0, 123_999_999, time.FixedZone("", 2*3600)),
	} {
		if got := string(AppendTime(nil, at)); got != want {
			t.Errorf("%v is %s, want %s", at, got, want)
		}
	}
}
