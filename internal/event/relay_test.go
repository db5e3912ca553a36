package event

import (
	"encoding/json"
	"testing"
	"time"
)

// A copy is the same event, id and all, that says whose it is.
func TestRelay(t *testing.T) {
	t.Parallel()
	below, above := NewScope(1, false), NewScope(2, false)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, path string
		draft      Draft
	}{
		{"snapshot", "", Draft{Type: "a.b", Object: []byte(`{"id":"o","context":null}`), ObjectID: "o", ObjectType: "charge"}},
		{"snapshot for an organization", "org_1/acct_1", Draft{Type: "a.b", Object: []byte(`{}`)}},
		{"id of a client", "", Draft{ID: "mine", Type: "a.b", Object: []byte(`{}`)}},
		{"thin", "", Draft{Type: `v1."context":null`, RelatedObject: []byte(`{"id":"o","type":"t","url":"/u"}`), Data: []byte(`{"context":null}`)}},
		{"thin for an organization", "org_1/acct_1", Draft{Type: "v1.a.b", RelatedObject: []byte(`{"id":"o"}`)}},
	} {
		e := tc.draft.Build(below, now, "2026-03-25.dahlia")
		events := []*Event{e}
		if e.Kind == Snapshot {
			events = append(events, tc.draft.Twin(e))
		}
		var relays []*Event
		for i, one := range events {
			relay := one.Relay(above, "acct_1", tc.path)
			one.Assign(SeqAt(now) + Seq(i))
			relays = append(relays, relay)
		}
		for i, relay := range relays {
			relay.Assign(SeqAt(now) + Seq(10+i))
			one := events[i]
			if relay.Scope != above || relay.Kind.Form() != one.Kind || relay.Kind == one.Kind || relay.ID() != one.ID() || relay.Seq == one.Seq {
				t.Errorf("%s: %+v is a copy of %+v", tc.name, relay, one)
			}
			path, account := tc.path, any("acct_1")
			if one.Kind == Thin {
				account = nil
				if path == "" {
					path = "acct_1"
				}
			}
			for what, bytes := range map[string][2][]byte{
				"full": {one.AppendFull(nil, 1), relay.AppendFull(nil, 1)},
				"push": {one.AppendPush(nil, "2025-01-27.acacia"), relay.AppendPush(nil, "2025-01-27.acacia")},
			} {
				var want, got map[string]any
				if err := json.Unmarshal(bytes[0], &want); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(bytes[1], &got); err != nil {
					t.Fatalf("%s, %s: %v\n%s", tc.name, what, err, bytes[1])
				}
				if account != nil {
					want["account"] = account
				}
				if path != "" {
					want["context"] = path
				}
				if a, b := marshal(t, want), marshal(t, got); a != b {
					t.Errorf("%s, %s:\n%s, want\n%s", tc.name, what, b, a)
				}
			}
		}
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
