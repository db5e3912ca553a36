package webhook_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-dev/waybill/webhook"
)

func TestParse(t *testing.T) {
	t.Parallel()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for _, test := range []struct {
		name string
		body string
		want webhook.Event
	}{
		{
			"snapshot",
			`{"id":"evt_1","object":"event","api_version":"2026-03-25.dahlia","created":1760000000,"account":"acct_2","context":"acct_1/acct_2",
			"data":{"object":{"n":1.50},"previous_attributes":{"n": 9007199254740993}},"livemode":true,"future":[1],
			"request":{"id":"req_1","idempotency_key":"k"},"type":"a.b","pending_webhooks":2}`,
			webhook.Event{
				Kind: webhook.Snapshot, ID: "evt_1", Type: "a.b", Created: time.Unix(1760000000, 0).UTC(), Livemode: true,
				Context: "acct_1/acct_2", Account: "acct_2", APIVersion: "2026-03-25.dahlia", PendingWebhooks: 2,
				Object: raw(`{"n":1.50}`), PreviousAttributes: raw(`{"n": 9007199254740993}`),
				Request: &webhook.Request{ID: "req_1", IdempotencyKey: "k"},
			},
		},
		{
			"least snapshot",
			`{"id":"evt_1","object":"event","created":1,"type":"a.b","data":{"object":{},"previous_attributes":null},"api_version":null,"account":null,"request":null}`,
			webhook.Event{Kind: webhook.Snapshot, ID: "evt_1", Type: "a.b", Created: time.Unix(1, 0).UTC(), Object: raw(`{}`)},
		},
		{
			"thin",
			`{"id":"evt_2","object":"v2.core.event","type":"v2.core.account[configuration.customer].updated","livemode":true,
			"created":"2026-01-02T03:04:05.678Z","context":"acct_1","reason":{"type":"request","request":{"id":"req_1","idempotency_key":null}},
			"related_object":{"id":"acct_1","type":"v2.core.account","url":"/v2/core/accounts/acct_1"},"data":{"a":1}}`,
			webhook.Event{
				Kind: webhook.Thin, ID: "evt_2", Type: "v2.core.account[configuration.customer].updated", Livemode: true,
				Created: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC), Context: "acct_1",
				Reason:        &webhook.Reason{Type: "request", Request: &webhook.Request{ID: "req_1"}},
				RelatedObject: &webhook.RelatedObject{ID: "acct_1", Type: "v2.core.account", URL: "/v2/core/accounts/acct_1"},
				Data:          raw(`{"a":1}`),
			},
		},
		{
			"thin about a singleton",
			`{"id":"evt_2","object":"v2.core.event","type":"a","created":"2026-01-02T04:04:05+01:00","context":null,"reason":null,"data":null,
			"related_object":{"type":"balance","url":"/v1/balance"}}`,
			webhook.Event{
				Kind: webhook.Thin, ID: "evt_2", Type: "a", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
				RelatedObject: &webhook.RelatedObject{Type: "balance", URL: "/v1/balance"},
			},
		},
		{
			"message",
			` {"id":7,"type":"user.created","timestamp":"2026-01-02T03:04:05Z","data":{"id":"u"}}`,
			webhook.Event{
				Kind: webhook.Message, Type: "user.created", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Data: raw(`{"id":"u"}`),
			},
		},
		{"message of another form", `{"object":{"x":1},"type":5,"timestamp":1760000000}`, webhook.Event{Kind: webhook.Message}},
		{"empty message", `{}`, webhook.Event{Kind: webhook.Message}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := webhook.Parse([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			test.want.Raw = raw(test.body)
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	thin := `{"id":"evt_2","object":"v2.core.event","type":"a","created":"2026-01-02T03:04:05Z"}`
	for name, body := range map[string]string{
		"nothing":                  ``,
		"no JSON":                  `id=evt_1`,
		"cut":                      snapshot[:len(snapshot)-1],
		"two":                      snapshot + snapshot,
		"an array":                 `[` + snapshot + `]`,
		"null":                     ` null`,
		"snapshot without id":      strings.Replace(snapshot, `"evt_1"`, `null`, 1),
		"snapshot without type":    strings.Replace(snapshot, `"type"`, `"kind"`, 1),
		"snapshot without time":    strings.Replace(snapshot, `"created"`, `"made"`, 1),
		"snapshot without data":    strings.Replace(snapshot, `"data"`, `"date"`, 1),
		"snapshot without object":  strings.Replace(snapshot, `{"object":`, `{"thing":`, 1),
		"snapshot of null":         strings.Replace(snapshot, `{"id":"in_1","object":"invoice","total":1.50}`, `null`, 1),
		"snapshot with thin time":  strings.Replace(snapshot, `1760000000`, `"2026-01-02T03:04:05Z"`, 1),
		"snapshot, id is a number": strings.Replace(snapshot, `"evt_1"`, `1`, 1),
		"thin without id":          strings.Replace(thin, `"id"`, `"di"`, 1),
		"thin without type":        strings.Replace(thin, `"type"`, `"kind"`, 1),
		"thin without time":        strings.Replace(thin, `"created"`, `"made"`, 1),
		"thin with a snapshot's":   strings.Replace(thin, `"2026-01-02T03:04:05Z"`, `1760000000`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if e, err := webhook.Parse([]byte(body)); e != nil || !errors.Is(err, webhook.ErrNotAnEvent) {
				t.Errorf("Parse(%s) = %+v, %v", body, e, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(snapshot))
	f.Add([]byte(`{"id":"evt_2","object":"v2.core.event","type":"a","created":"2026-01-02T03:04:05Z","related_object":{"id":"o","type":"t","url":"/u"},"reason":{"type":"request","request":{}}}`))
	f.Add([]byte(`{"type":"a.b","timestamp":"2026-01-02T03:04:05Z","data":[]}`))
	f.Add([]byte(` null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := webhook.Parse(body)
		if err != nil {
			if e != nil || !errors.Is(err, webhook.ErrNotAnEvent) {
				t.Fatalf("Parse(%q) = %+v, %v", body, e, err)
			}
			return
		}
		var oracle map[string]any
		if err := json.Unmarshal(body, &oracle); err != nil || oracle == nil {
			t.Fatalf("Parse(%q) = %+v, but it is no JSON object: %v", body, e, err)
		}
		for _, part := range []json.RawMessage{e.Object, e.PreviousAttributes, e.Data} {
			if part != nil && !json.Valid(part) {
				t.Fatalf("Parse(%q) sliced %q", body, part)
			}
		}
		isMessage := e.Kind == webhook.Message
		if string(e.Raw) != string(body) || (e.ID == "") != isMessage || !isMessage && e.Type == "" || (e.Object != nil) != (e.Kind == webhook.Snapshot) {
			t.Fatalf("Parse(%q) = %+v", body, e)
		}
	})
}
