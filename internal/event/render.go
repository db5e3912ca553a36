package event

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Every payload starts with the id, so that Event.ID and Event.Assign find it
// without parsing.
const idAt = len(`{"id":"`)

const (
	snapshotAfterID = `","object":"event","api_version":"`
	pendingKey      = `,"pending_webhooks":`
	timeLayout      = "2006-01-02T15:04:05.000Z"
)

// AppendTime appends t as API v2 writes times: RFC 3339 UTC with milliseconds
// and Z. stripe-go fails on anything else.
func AppendTime(dst []byte, t time.Time) []byte { return t.UTC().AppendFormat(dst, timeLayout) }

// Draft is what a publisher states of an event. Raw fields hold valid JSON.
type Draft struct {
	ID string // "" lets Waybill choose
	// Hash is the SHA-256 of the compacted input, needed with a chosen ID to
	// tell a repeat from a conflict.
	Hash       [32]byte
	Type       string
	Created    time.Time // zero means now
	APIVersion string    // snapshot only; "" means the account's default

	// Snapshot.
	Object             []byte // data.object
	PreviousAttributes []byte // data.previous_attributes, or nil
	RequestID          string
	IdempotencyKey     string // request.idempotency_key

	// Thin.
	RelatedObject []byte // {"id","type","url"}; nil makes the event a snapshot
	Data          []byte
	Changes       []byte
	Reason        []byte

	// Envelope makes it an event on a bus; of the fields above only ID, Type
	// (its detail-type) and Created (its time) are then used.
	Envelope *Envelope

	// ObjectID is the id inside Object or RelatedObject, or "".
	ObjectID string
	// ObjectType is data.object.object, for the twin's related_object.
	ObjectType string
}

// Build renders a draft. The id is final only after Assign.
func (d *Draft) Build(scope Scope, now time.Time, defaultVersion string) *Event {
	created := d.Created
	if created.IsZero() {
		created = now
	}
	e := &Event{Scope: scope, Type: d.Type, Created: created.UTC().Truncate(time.Millisecond), ObjectID: d.ObjectID}
	switch {
	case d.Envelope != nil:
		d.buildEnvelope(e)
	case d.RelatedObject != nil:
		d.buildThin(e)
	default:
		d.buildSnapshot(e, defaultVersion)
	}
	return e
}

func (d *Draft) buildSnapshot(e *Event, defaultVersion string) {
	version := d.APIVersion
	if version == "" {
		version = defaultVersion
	}
	e.Kind = Snapshot
	b := make([]byte, 0, 256+len(d.Object)+len(d.PreviousAttributes)+len(d.ID)+len(d.RequestID)+len(d.IdempotencyKey))
	b = e.appendID(b, d.ID)
	b = append(b, snapshotAfterID...)
	b = append(b, version...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, e.Created.Unix(), 10)
	b = append(b, `,"data":{"object":`...)
	b = append(b, d.Object...)
	if d.PreviousAttributes != nil {
		b = append(b, `,"previous_attributes":`...)
		b = append(b, d.PreviousAttributes...)
	}
	b = append(b, `},"livemode":`...)
	b = strconv.AppendBool(b, e.Scope.Live())
	b = append(b, `,"request":{"id":`...)
	b = appendNullable(b, d.RequestID)
	b = append(b, `,"idempotency_key":`...)
	b = appendNullable(b, d.IdempotencyKey)
	b = append(b, `},"type":`...)
	b = appendString(b, d.Type)
	e.Payload = append(b, '}')
}

func (d *Draft) buildThin(e *Event) {
	e.Kind = Thin
	b := make([]byte, 0, 256+len(d.RelatedObject)+len(d.Data)+len(d.Changes)+len(d.Reason)+len(d.ID))
	b = e.appendThinHead(b, d.ID, d.Type, d.Reason, d.RelatedObject)
	e.Cut = len(b)
	b = appendRaw(append(b, `,"data":`...), d.Data)
	b = appendRaw(append(b, `,"changes":`...), d.Changes)
	b = append(b, `,"snapshot_event":null}`...)
	e.Payload = b
}

func (e *Event) appendThinHead(b []byte, id, typ string, reason, related []byte) []byte {
	b = e.appendID(b, id)
	b = append(b, `","object":"v2.core.event","type":`...)
	b = appendString(b, typ)
	b = append(b, `,"livemode":`...)
	b = strconv.AppendBool(b, e.Scope.Live())
	b = append(b, `,"created":"`...)
	b = AppendTime(b, e.Created)
	b = append(b, noContext...)
	b = appendRaw(b, reason)
	b = append(b, `,"related_object":`...)
	return appendRaw(b, related)
}

// TwinType is the type of a snapshot event's thin twin.
func TwinType(snapshotType string) string { return "v1." + snapshotType }

// Twin renders the thin event that accompanies a snapshot event where a thin
// destination selects it: type v1.<type>, with snapshot_event naming the
// snapshot. d is the snapshot's draft and s the event built from it.
func (d *Draft) Twin(s *Event) *Event {
	t := &Event{Scope: s.Scope, Kind: Thin, Type: TwinType(s.Type), Created: s.Created, ObjectID: s.ObjectID}
	related := relatedObject(d.ObjectType, d.ObjectID)
	reason := []byte(nil)
	if d.RequestID != "" {
		reason = append(reason, `{"type":"request","request":{"id":`...)
		reason = appendString(reason, d.RequestID)
		reason = append(reason, `,"idempotency_key":`...)
		reason = append(appendNullable(reason, d.IdempotencyKey), `}}`...)
	}
	b := make([]byte, 0, 384+len(related)+len(reason))
	b = t.appendThinHead(b, "", t.Type, reason, related)
	t.Cut = len(b)
	b = appendRaw(append(b, `,"data":null,"changes":`...), d.changes())
	b = append(b, `,"snapshot_event":"`...)
	if s.seqAt != 0 {
		t.twinOf = s
		t.twinAt = len(b) + s.seqAt - idAt
	}
	b = append(b, s.ID()...)
	t.Payload = append(b, `"}`...)
	return t
}

// changes derives a twin's {before, after}, which hold only what was modified,
// from data.previous_attributes and the object as it is now.
func (d *Draft) changes() []byte {
	if d.PreviousAttributes == nil {
		return nil
	}
	after := pick(d.Object, d.PreviousAttributes)
	b := append([]byte(`{"before":`), d.PreviousAttributes...)
	b = append(append(b, `,"after":`...), after...)
	return append(b, '}')
}

// pick returns the members of object that mask names, descending where both
// hold objects. A member that object lacks is null.
func pick(object, mask json.RawMessage) json.RawMessage {
	var from, want map[string]json.RawMessage
	if json.Unmarshal(mask, &want) != nil || json.Unmarshal(object, &from) != nil || want == nil || from == nil {
		return object
	}
	for name, sub := range want {
		value, ok := from[name]
		if !ok {
			value = json.RawMessage("null")
		}
		want[name] = pick(value, sub)
	}
	out, err := json.Marshal(want)
	if err != nil {
		return object
	}
	return out
}

// singletons are the objects an account has one of: they have no id, and
// their URL is their name.
var singletons = map[string]string{
	"balance":          "/v1/balance",
	"balance_settings": "/v1/balance_settings",
	"tax.settings":     "/v1/tax/settings",
}

// relatedObject derives {id, type, url} of an API v1 object from its object
// tag, as Stripe's own URLs are formed: "checkout.session" is at
// /v1/checkout/sessions/:id. An object without a tag has no twin reference.
func relatedObject(objectType, id string) []byte {
	if objectType == "" {
		return nil
	}
	if url, ok := singletons[objectType]; ok {
		b := appendString([]byte(`{"type":`), objectType)
		return append(appendString(append(b, `,"url":`...), url), '}')
	}
	if id == "" {
		return nil
	}
	path := strings.ReplaceAll(objectType, ".", "/")
	switch {
	case strings.HasSuffix(path, "s") && !strings.HasSuffix(path, "ss"):
	case strings.HasSuffix(path, "y") && !strings.ContainsAny(path[max(0, len(path)-2):len(path)-1], "aeiou"):
		path = path[:len(path)-1] + "ies"
	case strings.HasSuffix(path, "ss"), strings.HasSuffix(path, "x"):
		path += "es"
	default:
		path += "s"
	}
	b := appendString([]byte(`{"id":`), id)
	b = appendString(append(b, `,"type":`...), objectType)
	b = appendString(append(b, `,"url":`...), "/v1/"+path+"/"+id)
	return append(b, '}')
}

// appendID opens the payload. Without a client's id it leaves room for the
// sequence number.
func (e *Event) appendID(b []byte, id string) []byte {
	b = append(b, `{"id":"`...)
	if id != "" {
		return append(b, id...)
	}
	b = append(b, idPrefix(eventPrefix, e.Scope.Live())...)
	e.seqAt = len(b)
	return append(b, "00000000000"...)
}

// AppendPush appends the body that a destination receives. apiVersion is the
// version a snapshot destination pinned, or "" for the event's own.
func (e *Event) AppendPush(dst []byte, apiVersion string) []byte {
	switch e.Kind.Form() {
	case Thin:
		return append(append(dst, e.Payload[:e.Cut]...), '}')
	case OnBus:
		return append(dst, e.Payload...)
	}
	body := e.Payload
	if apiVersion != "" {
		from, to := versionIn(body)
		dst = append(append(dst, body[:from]...), apiVersion...)
		body = body[to:]
	}
	return appendPending(dst, body, e.Open())
}

// Relabel returns the pushed body of a snapshot with another API version.
func Relabel(body []byte, apiVersion string) []byte {
	from, to := versionIn(body)
	return append(append(append(make([]byte, 0, len(body)+len(apiVersion)), body[:from]...), apiVersion...), body[to:]...)
}

// versionIn is where a snapshot's API version stands.
func versionIn(snapshot []byte) (from, to int) {
	from = idAt + bytes.IndexByte(snapshot[idAt:], '"') + len(snapshotAfterID)
	return from, from + bytes.IndexByte(snapshot[from:], '"')
}

// AppendFull appends the event as the API returns it. pending is the count of
// deliveries not yet successful, shown by snapshot events.
func (e *Event) AppendFull(dst []byte, pending int) []byte {
	if e.Kind.Form() != Snapshot {
		return append(dst, e.Payload...)
	}
	return appendPending(dst, e.Payload, pending)
}

func appendPending(dst, payload []byte, pending int) []byte {
	dst = append(dst, payload[:len(payload)-1]...)
	dst = append(dst, pendingKey...)
	return append(strconv.AppendInt(dst, int64(pending), 10), '}')
}

func appendRaw(b, raw []byte) []byte {
	if raw == nil {
		return append(b, "null"...)
	}
	return append(b, raw...)
}

func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendString appends s as a JSON string. Most of what passes here is plain;
// the rest goes through encoding/json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			q, _ := json.Marshal(s) // a string cannot fail to marshal
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
