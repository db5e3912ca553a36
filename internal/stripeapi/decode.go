package stripeapi

import (
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// maxBatch is how many events one request can publish.
const maxBatch = 1000

// Bounds of what a publisher states, in bytes.
const (
	maxEventID    = 255
	maxEventType  = 255
	maxAPIVersion = 64
	maxReference  = 255 // ids and tags inside of objects, request ids
)

// A publisher's clock may be ahead by this much.
const maxAhead = 5 * time.Minute

// earliest is the first moment an event can claim to be from.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// decoder turns the body of a publish request into drafts, in one pass. The raw
// parts of the drafts point into the body.
//
// What an event may hold depends on its kind, which is known only when
// related_object has come or the event has ended. Fields are therefore read as
// they come, and judged at the end.
type decoder struct {
	now      time.Time
	live     bool
	maxEvent int
	hash     []byte // to compact into
	index    int    // of the event in a batch, -1 outside of one
	batch    bool

	drafts []*event.Draft
	chunk  []event.Draft // where the next drafts are put
	s      rawjson.Scanner
	body   []byte
}

// decode returns the drafts of a body.
func (d *decoder) decode(body []byte) ([]*event.Draft, error) {
	d.body, d.s = body, rawjson.New(body)
	if d.s.Kind() == rawjson.EOF { // no body is an empty object
		return nil, d.fault("type", "The event type is missing. Send one like customer.created.")
	}
	start := d.s.Offset()
	if err := d.s.BeginObject(); err != nil {
		return nil, badJSON("", err)
	}
	key, ok, err := d.s.NextKey()
	if err != nil {
		return nil, badJSON("", err)
	}
	if ok && string(key) == "events" {
		d.batch = true
		if err := d.decodeBatch(); err != nil {
			return nil, err
		}
	} else {
		d.drafts = make([]*event.Draft, 0, 1)
		if err := d.decodeEvent(start, key, ok); err != nil {
			return nil, err
		}
	}
	return d.drafts, badJSON("", d.s.End())
}

func (d *decoder) decodeBatch() error {
	if err := d.s.BeginArray(); err != nil {
		return badJSON("events", err)
	}
	for {
		ok, err := d.s.NextElement()
		if err != nil {
			return badJSON("events", err)
		}
		if !ok {
			break
		}
		d.index++
		if d.index == maxBatch {
			return fault.Invalidf("events", "There are more than %d events. Send them in several requests.", maxBatch)
		}
		d.s.Kind() // skips the space in front
		start := d.s.Offset()
		if err := d.s.BeginObject(); err != nil {
			return d.bad("", err)
		}
		key, ok, err := d.s.NextKey()
		if err != nil {
			return d.bad("", err)
		}
		if err := d.decodeEvent(start, key, ok); err != nil {
			return err
		}
	}
	if d.index < 0 {
		return fault.Invalidf("events", "The list is empty. Send at least one event.")
	}
	key, more, err := d.s.NextKey()
	switch {
	case err != nil:
		return badJSON("", err)
	case more && string(key) == "events":
		return duplicate("events")
	case more:
		return fault.Invalidf(cutText(string(key)), "This parameter is unknown beside events. Put it into the events it belongs to.")
	}
	return nil
}

// The fields of an event, as bits.
const (
	fID = 1 << iota
	fObject
	fType
	fCreated
	fLivemode
	fContext
	fAccount
	fData
	fAPIVersion // from here on of snapshots only
	fRequest
	fPendingWebhooks
	fRelatedObject // from here on of thin events only
	fChanges
	fReason
	fSnapshotEvent
)

func fieldOf(key []byte) uint32 {
	switch string(key) {
	case "id":
		return fID
	case "object":
		return fObject
	case "type":
		return fType
	case "created":
		return fCreated
	case "livemode":
		return fLivemode
	case "context":
		return fContext
	case "account":
		return fAccount
	case "data":
		return fData
	case "api_version":
		return fAPIVersion
	case "request":
		return fRequest
	case "pending_webhooks":
		return fPendingWebhooks
	case "related_object":
		return fRelatedObject
	case "changes":
		return fChanges
	case "reason":
		return fReason
	case "snapshot_event":
		return fSnapshotEvent
	}
	return 0
}

const eventFields = "account, api_version, changes, context, created, data, id, livemode, object, pending_webhooks, reason, related_object, request, snapshot_event, type"

// reading is what is known of the event being read.
type reading struct {
	draft *event.Draft
	seen  uint32
	tag   event.Kind // what the object field claims, 0 if it is not there
	given uint32     // the fields that are there and not null
	data  dataShape
}

// decodeEvent reads an event whose opening brace, at start, and first key have
// been consumed; ok is false if it has no key.
func (d *decoder) decodeEvent(start int, key []byte, ok bool) error {
	r := reading{draft: d.newDraft()}
	for ok {
		f := fieldOf(key)
		switch {
		case f == 0 && string(key) == "events":
			return d.fault("events", "A request holds either one event or a list named events. Put this event into the list.")
		case f == 0:
			return d.fault(cutText(string(key)), "This parameter is unknown here. Those possible are: "+eventFields+".")
		case r.seen&f != 0:
			return d.duplicate(string(key))
		}
		r.seen |= f
		if !d.s.Null() {
			r.given |= f
			if err := d.readField(&r, f); err != nil {
				return err
			}
		} else if f&(fID|fObject|fType|fCreated|fLivemode) != 0 {
			return d.bad(string(key), &rawjson.TypeError{Want: "a value", Got: "null"})
		}
		var err error
		if key, ok, err = d.s.NextKey(); err != nil {
			return d.bad("", err)
		}
	}
	raw := d.body[start:d.s.Offset()]
	if len(raw) > d.maxEvent {
		f := fault.New(fault.TooLarge, "event_too_large",
			"The event has %d bytes; at most %d are possible. Leave out what its receivers can look up.", len(raw), d.maxEvent)
		f.Param = d.path("")
		return f
	}
	if err := d.judge(&r); err != nil {
		return err
	}
	if r.draft.ID != "" {
		d.hash = rawjson.AppendCompact(d.hash[:0], raw)
		r.draft.Hash = sha256.Sum256(d.hash)
	}
	d.drafts = append(d.drafts, r.draft)
	return nil
}

// newDraft takes drafts from chunks that grow, so that a batch costs few
// allocations and a single event no more than it needs.
func (d *decoder) newDraft() *event.Draft {
	if len(d.chunk) == 0 {
		n := 1
		if d.batch {
			n = min(max(8, 2*len(d.drafts)), 64)
		}
		d.chunk = make([]event.Draft, n)
	}
	draft := &d.chunk[0]
	d.chunk = d.chunk[1:]
	return draft
}

// readField reads the value of a field, which is not null.
func (d *decoder) readField(r *reading, f uint32) (err error) {
	draft := r.draft
	switch f {
	case fID:
		if draft.ID, err = d.s.String(); err != nil {
			return d.bad("id", err)
		}
		if !validID(draft.ID) {
			return d.fault("id", "An event id has 1 to 255 letters, digits and _ - . : characters.")
		}
	case fObject:
		tag, err := d.s.StringBytes()
		if err != nil {
			return d.bad("object", err)
		}
		switch string(tag) {
		case "event":
			r.tag = event.Snapshot
		case "v2.core.event":
			r.tag = event.Thin
		default:
			return d.fault("object", "The object must be event (a snapshot) or v2.core.event (a thin event), or be left out.")
		}
	case fType:
		if draft.Type, err = d.s.String(); err != nil {
			return d.bad("type", err)
		}
		if !validType(draft.Type) {
			return d.fault("type", "An event type has 1 to 255 letters, digits and _ . - [ ] characters, as in customer.created.")
		}
	case fCreated:
		return d.readCreated(draft)
	case fLivemode:
		live, err := d.s.Bool()
		if err != nil {
			return d.bad("livemode", err)
		}
		if live != d.live {
			return d.fault("livemode", "The event is of the other mode than the API key. Use the key of the event's mode, or leave livemode out.")
		}
	case fContext, fAccount:
		name := "context"
		if f == fAccount {
			name = "account"
		}
		return d.fault(name, "Events of connected accounts cannot be published. Send null or leave it out.")
	case fData:
		return d.readData(r)
	case fAPIVersion:
		if draft.APIVersion, err = d.s.String(); err != nil {
			return d.bad("api_version", err)
		}
		if !validVersion(draft.APIVersion) {
			return d.fault("api_version", "This is not an API version. Send one like 2026-03-25.dahlia.")
		}
	case fPendingWebhooks:
		if _, err := d.s.Int64(); err != nil {
			return d.bad("pending_webhooks", err)
		}
	case fRequest:
		draft.RequestID, draft.IdempotencyKey, err = d.readRequest("request")
		return err
	case fRelatedObject:
		return d.readRelated(draft)
	case fChanges:
		return d.readChanges(draft)
	case fReason:
		return d.readReason(draft)
	case fSnapshotEvent:
		return d.fault("snapshot_event", "The snapshot event of a thin event is set by its publisher's own snapshot. Send null or leave it out.")
	}
	return nil
}

func (d *decoder) readCreated(draft *event.Draft) error {
	var t time.Time
	if d.s.Kind() == rawjson.String {
		text, err := d.s.String()
		if err != nil {
			return d.bad("created", err)
		}
		if t, err = time.Parse(time.RFC3339, text); err != nil {
			return d.fault("created", "This is not a time. Send Unix seconds, or RFC 3339 like 2026-01-31T12:00:00.000Z.")
		}
	} else {
		n, err := d.s.Int64()
		if err != nil {
			return d.bad("created", err)
		}
		if n < 0 || n > maxUnix {
			return d.fault("created", "This is not a time in Unix seconds. Were they milliseconds?")
		}
		t = time.Unix(n, 0)
	}
	switch {
	case t.Before(earliest):
		return d.fault("created", "The time is before the year 2000. Send when the event happened, or leave it out.")
	case t.Sub(d.now) > maxAhead:
		return d.fault("created", "The time is more than 5 minutes in the future. Check the clock, or leave it out.")
	}
	draft.Created = t.UTC()
	return nil
}

// judge checks, once an event has been read, that its fields fit together.
func (d *decoder) judge(r *reading) error {
	draft := r.draft
	if r.seen&fType == 0 {
		return d.fault("type", "The event type is missing. Send one like customer.created.")
	}
	thin := draft.RelatedObject != nil
	const snapshotOnly, thinOnly = fAPIVersion | fRequest | fPendingWebhooks, fChanges | fReason
	switch {
	case thin && r.tag == event.Snapshot:
		return d.fault("object", "The object event is that of a snapshot, but the event has a related_object, which makes it thin. Send v2.core.event, or leave it out.")
	case !thin && r.tag == event.Thin:
		return d.fault("related_object", "A thin event must name its related object. Send related_object with type and url.")
	case thin && r.given&snapshotOnly != 0:
		return d.fault(nameOf(r.given&snapshotOnly), "Only snapshot events have this, and related_object makes the event thin. Leave one of them out.")
	case !thin && r.given&thinOnly != 0:
		return d.fault(nameOf(r.given&thinOnly), "Only thin events have this. Send related_object too, or leave it out.")
	case thin:
		draft.Data = r.data.raw
		return nil
	}
	return d.judgeData(r)
}

// nameOf returns the name of one of the fields that belong to one kind only.
func nameOf(f uint32) string {
	switch {
	case f&fAPIVersion != 0:
		return "api_version"
	case f&fRequest != 0:
		return "request"
	case f&fPendingWebhooks != 0:
		return "pending_webhooks"
	case f&fChanges != 0:
		return "changes"
	}
	return "reason"
}

// path names a field of the event being read.
func (d *decoder) path(name string) string {
	if d.index < 0 {
		return name
	}
	p := "events[" + strconv.Itoa(d.index) + "]"
	if name == "" {
		return p
	}
	return p + "." + name
}

func (d *decoder) fault(name, message string) error {
	return fault.Invalidf(d.path(name), "%s", message)
}

func (d *decoder) bad(name string, err error) error { return badJSON(d.path(name), err) }

func (d *decoder) duplicate(name string) error { return duplicate(d.path(name)) }

// The forms of what a publisher states. They are loops and not regular
// expressions because every event passes here.

func validType(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c), c == '_', c == '.', c == '-', c == '[', c == ']':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxEventType
}

func validID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c), c == '_', c == '.', c == '-', c == ':':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxEventID
}

// validVersion allows only what can be written into a payload unquoted.
func validVersion(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c), c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxAPIVersion
}

func isAlnum(c byte) bool { return c-'0' <= 9 || c|0x20-'a' <= 25 }
