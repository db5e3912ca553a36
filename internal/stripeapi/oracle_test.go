package stripeapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
)

// This is the publish decoder once more, with encoding/json and regular
// expressions: slow, and plain enough to be read against the documentation.

var errOracle = errors.New("refused")

type member struct {
	key string
	raw json.RawMessage
}

// members returns the members of an object in order, or nil and false.
func members(raw []byte) ([]member, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	list := []member{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, false
		}
		m := member{key: t.(string)}
		if d.Decode(&m.raw) != nil {
			return nil, false
		}
		list = append(list, m)
	}
	return list, true
}

// known returns an object's members by name, if all are among names and none
// is there twice.
func known(raw []byte, names ...string) (map[string]json.RawMessage, bool) {
	list, ok := members(raw)
	if !ok {
		return nil, false
	}
	allowed := map[string]bool{}
	for _, n := range names {
		allowed[n] = true
	}
	m := map[string]json.RawMessage{}
	for _, one := range list {
		if _, twice := m[one.key]; twice || !allowed[one.key] {
			return nil, false
		}
		m[one.key] = one.raw
	}
	return m, true
}

func isNull(raw []byte) bool { return raw == nil || string(raw) == "null" }

func str(raw []byte) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

var (
	oracleInt     = regexp.MustCompile(`^-?[0-9]+$`)
	oracleType    = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]{1,255}$`)
	oracleID      = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,255}$`)
	oracleVersion = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

func integer(raw []byte) (int64, bool) {
	if !oracleInt.Match(raw) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

func oracleDecode(body []byte, now time.Time, maxEvent int) ([]*event.Draft, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, errOracle
	}
	list, ok := members(body)
	if !ok {
		return nil, errOracle
	}
	if len(list) == 0 || list[0].key != "events" {
		d, err := oracleEvent(bytes.TrimSpace(body), now, maxEvent)
		return []*event.Draft{d}, err
	}
	var elements []json.RawMessage
	if len(list) != 1 || isNull(list[0].raw) || json.Unmarshal(list[0].raw, &elements) != nil || len(elements) == 0 || len(elements) > 1000 {
		return nil, errOracle
	}
	var drafts []*event.Draft
	for _, raw := range elements {
		d, err := oracleEvent(raw, now, maxEvent)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

func oracleEvent(raw []byte, now time.Time, maxEvent int) (*event.Draft, error) {
	m, ok := known(raw, "account", "api_version", "changes", "context", "created", "data", "id", "livemode", "object",
		"pending_webhooks", "reason", "related_object", "request", "snapshot_event", "type")
	if !ok || len(raw) > maxEvent {
		return nil, errOracle
	}
	d := &event.Draft{}
	good := true
	check := func(ok bool) { good = good && ok }
	is := func(name string) bool { return !isNull(m[name]) }
	for _, name := range []string{"id", "object", "type", "created", "livemode"} {
		check(string(m[name]) != "null")
	}
	for _, name := range []string{"account", "context", "snapshot_event"} {
		check(!is(name))
	}
	d.Type, ok = str(m["type"])
	check(ok && oracleType.MatchString(d.Type))
	if is("id") {
		d.ID, ok = str(m["id"])
		check(ok && oracleID.MatchString(d.ID))
		var compact bytes.Buffer
		check(json.Compact(&compact, raw) == nil)
		d.Hash = sha256.Sum256(compact.Bytes())
	}
	if is("livemode") {
		check(string(m["livemode"]) == "false")
	}
	if is("pending_webhooks") {
		_, ok = integer(m["pending_webhooks"])
		check(ok)
	}
	if is("created") {
		if text, ok := str(m["created"]); ok {
			t, err := time.Parse(time.RFC3339, text)
			check(err == nil)
			d.Created = t.UTC()
		} else {
			n, ok := integer(m["created"])
			check(ok && n < 1e12)
			d.Created = time.Unix(n, 0).UTC()
		}
		check(d.Created.Year() >= 2000 && !d.Created.After(now.Add(5*time.Minute)))
	}
	thin := is("related_object")
	if is("object") {
		tag, _ := str(m["object"])
		check(tag == map[bool]string{true: "v2.core.event", false: "event"}[thin])
	}
	if thin {
		check(!is("api_version") && !is("request") && !is("pending_webhooks"))
		check(oracleThin(d, m))
	} else {
		check(!is("changes") && !is("reason"))
		check(oracleSnapshot(d, m))
	}
	if !good {
		return nil, errOracle
	}
	return d, nil
}

func oracleSnapshot(d *event.Draft, m map[string]json.RawMessage) bool {
	var ok bool
	if !isNull(m["api_version"]) {
		if d.APIVersion, ok = str(m["api_version"]); !ok || !oracleVersion.MatchString(d.APIVersion) {
			return false
		}
	}
	if !isNull(m["request"]) {
		if d.RequestID, d.IdempotencyKey, ok = oracleRequest(m["request"]); !ok {
			return false
		}
	}
	data, ok := known(m["data"], "object", "previous_attributes")
	if !ok {
		return false
	}
	object, ok := members(data["object"])
	if !ok {
		return false
	}
	d.Object = data["object"]
	if !isNull(data["previous_attributes"]) {
		if _, ok := members(data["previous_attributes"]); !ok {
			return false
		}
		d.PreviousAttributes = data["previous_attributes"]
	}
	seen := map[string]bool{}
	for _, one := range object {
		if into := map[string]*string{"id": &d.ObjectID, "object": &d.ObjectType}[one.key]; into != nil && !seen[one.key] {
			*into, _ = str(one.raw)
			if len(*into) > 255 {
				return false
			}
			seen[one.key] = true
		}
	}
	return true
}

func oracleRequest(raw []byte) (id, key string, ok bool) {
	m, ok := known(raw, "id", "idempotency_key")
	if !ok {
		return "", "", false
	}
	for name, into := range map[string]*string{"id": &id, "idempotency_key": &key} {
		if isNull(m[name]) {
			continue
		}
		if *into, ok = str(m[name]); !ok || len(*into) > 255 {
			return "", "", false
		}
	}
	return id, key, true
}

func oracleThin(d *event.Draft, m map[string]json.RawMessage) bool {
	related, ok := known(m["related_object"], "id", "type", "url")
	if !ok {
		return false
	}
	for _, name := range []string{"type", "url"} {
		if s, ok := str(related[name]); !ok || s == "" {
			return false
		}
	}
	if id, given := related["id"]; given {
		if d.ObjectID, ok = str(id); !ok || len(d.ObjectID) > 255 {
			return false
		}
	}
	d.RelatedObject = m["related_object"]
	if !isNull(m["data"]) {
		if _, ok := members(m["data"]); !ok {
			return false
		}
		d.Data = m["data"]
	}
	if !isNull(m["changes"]) {
		changes, ok := known(m["changes"], "before", "after")
		if !ok {
			return false
		}
		for _, raw := range changes {
			if _, ok := members(raw); !ok && !isNull(raw) {
				return false
			}
		}
		d.Changes = m["changes"]
	}
	if !isNull(m["reason"]) {
		reason, ok := known(m["reason"], "type", "request")
		if !ok {
			return false
		}
		if typ, _ := str(reason["type"]); typ != "request" {
			return false
		}
		if _, _, ok := oracleRequest(reason["request"]); !ok {
			return false
		}
		d.Reason = m["reason"]
	}
	return true
}
