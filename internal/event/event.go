package event

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Scope owns things: one account in one mode. Nothing in one scope is ever
// visible in another.
type Scope int64

// NewScope combines an account's number with its mode.
func NewScope(account int64, live bool) Scope {
	s := Scope(account << 1)
	if live {
		s |= 1
	}
	return s
}

// Account returns the account's number.
func (s Scope) Account() int64 { return int64(s >> 1) }

// Live tells live mode from test mode.
func (s Scope) Live() bool { return s&1 == 1 }

// Kind says how an event is rendered.
type Kind uint8

// The kinds of event. Their values are stored.
const (
	Snapshot Kind = 1 // Stripe v1: carries a copy of the object
	Thin     Kind = 2 // Stripe v2: names the object
	OnBus    Kind = 3 // on an event bus: an EventBridge envelope
	// A connected account's event, as it lies with the account above it.
	RelayedSnapshot Kind = 4
	RelayedThin     Kind = 5
)

// Form is the kind of payload: a relayed event has that of the event itself.
func (k Kind) Form() Kind {
	switch k {
	case RelayedSnapshot:
		return Snapshot
	case RelayedThin:
		return Thin
	}
	return k
}

func (k Kind) String() string {
	switch k.Form() {
	case Snapshot:
		return "snapshot"
	case Thin:
		return "thin"
	case OnBus:
		return "bus"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Event is one accepted event. After Assign it never changes.
type Event struct {
	Seq     Seq
	Scope   Scope
	Kind    Kind
	Type    string
	Created time.Time // millisecond precision, UTC
	// ObjectID is the id of the object the event is about, or "".
	ObjectID string
	// Bus is the number of the event bus that an event of kind OnBus is on.
	Bus int64
	// Hops counts the buses it was on before: rules that send events in a
	// circle come to an end.
	Hops int
	// Payload is the event as retrieved through the API, one JSON object
	// (a snapshot without its pending_webhooks, which changes), or the
	// EventBridge envelope.
	Payload []byte
	// Cut is where a thin event's Payload stops being part of the pushed
	// notification: data, changes and snapshot_event come after it and can
	// only be retrieved. 0 for a snapshot.
	Cut int
	// Routes are the subscriptions the event matched when it was accepted.
	Routes []Route

	seqAt  int    // where Assign writes the sequence number, 0 for a client's id
	twinOf *Event // the snapshot event whose sequence number goes to twinAt
	twinAt int
	// relayed is the event that this one is a copy of, and shift by how much
	// longer it is in front of what tells of a twin.
	relayed *Event
	shift   int
}

// Disposition says what was decided for a route when the event was accepted.
type Disposition uint8

// The dispositions. Their values are stored.
const (
	Dispatch          Disposition = 0 // handed to the dispatcher
	Parked            Disposition = 1 // a retry row was written in the same transaction
	DiscardedDisabled Disposition = 2 // the destination was disabled at that moment
)

// Discarded tells whether the route was closed at acceptance.
func (d Disposition) Discarded() bool { return d == DiscardedDisabled }

// Route is one subscription an event matched.
type Route struct {
	Subscription int64
	Disposition  Disposition
	// Group is that of the retry which a parked delivery gets; 0 is none. It is
	// not stored with the route.
	Group int64
}

// AppendRoutes encodes routes compactly for the store.
func AppendRoutes(dst []byte, routes []Route) []byte {
	for _, r := range routes {
		dst = binary.AppendUvarint(dst, uint64(r.Subscription))
		dst = append(dst, byte(r.Disposition))
	}
	return dst
}

// ParseRoutes is the reverse of AppendRoutes.
func ParseRoutes(data []byte) ([]Route, error) {
	var routes []Route
	for len(data) > 0 {
		sub, n := binary.Uvarint(data)
		if n <= 0 || n == len(data) {
			return nil, fmt.Errorf("parse routes: truncated")
		}
		routes = append(routes, Route{Subscription: int64(sub), Disposition: Disposition(data[n])})
		data = data[n+1:]
	}
	return routes, nil
}

// ID returns the event's id: Waybill's own, or the one its publisher chose.
func (e *Event) ID() string {
	start := idAt
	if e.Kind == OnBus {
		start = envelopeIDAt
	}
	end := start
	for end < len(e.Payload) && e.Payload[end] != '"' {
		end++
	}
	return string(e.Payload[start:end])
}

// Assign gives the event its place in the sequence and writes it into the id
// that the prepared payload has room for. A twin must be assigned after the
// snapshot event it belongs to, and a copy after what it is a copy of.
func (e *Event) Assign(s Seq) {
	e.Seq = s
	switch {
	case e.seqAt == 0:
	case e.Kind == OnBus:
		putUUID(e.Payload[e.seqAt:], s)
	default:
		putSeq(e.Payload[e.seqAt:], s)
	}
	if e.twinOf != nil {
		putSeq(e.Payload[e.twinAt:], e.twinOf.Seq)
	}
	if e.relayed != nil {
		e.takeIDs()
	}
}

// Open returns how many routes were handed on, which is what a pushed
// snapshot states as pending_webhooks.
func (e *Event) Open() int {
	n := 0
	for _, r := range e.Routes {
		if !r.Disposition.Discarded() {
			n++
		}
	}
	return n
}
