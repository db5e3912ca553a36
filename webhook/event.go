package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrNotAnEvent is returned for a body that is no event: it is not JSON, or
// lacks what an event has. Errors wrap it and say what is wrong.
var ErrNotAnEvent = errors.New("webhook: the body is not an event")

// Kind says what a delivery holds. The first two are what a destination's
// event_payload chooses.
type Kind string

// The kinds of delivery.
const (
	Snapshot Kind = "snapshot" // the object as it was when the event happened, in [Event.Object]
	Thin     Kind = "thin"     // where the object is to be fetched, in [Event.RelatedObject]
	Message  Kind = "message"  // any other JSON object, of another sender by Standard Webhooks
)

// How bodies tell their kind, in the field "object".
const (
	snapshotTag = "event"
	thinTag     = "v2.core.event"
)

// An Event is a delivery's body, read. Fields that the body lacks, or has as
// null, are zero.
type Event struct {
	Kind Kind
	// ID is the same in every delivery of an event. That of a [Message] is in
	// a header, so [Parse] leaves it empty and [Verifier.Event] sets it.
	ID   string
	Type string // such as "invoice.paid"
	// Created is when it happened: to the second for a snapshot, to the
	// millisecond for a thin event. Of a [Message] it is the field timestamp.
	Created  time.Time
	Livemode bool
	Context  string          // the account path it came from; "" for your own
	Raw      json.RawMessage // the body as it came

	// Of snapshots.

	APIVersion         string
	Account            string          // the connected account; "" for your own
	Object             json.RawMessage // data.object, never empty
	PreviousAttributes json.RawMessage // data.previous_attributes: what changed, as it was
	PendingWebhooks    int             // how many deliveries had not succeeded yet
	Request            *Request

	// Of thin events.

	RelatedObject *RelatedObject
	Reason        *Reason
	Data          json.RawMessage // data, also of a [Message]
}

// A Request is the API request that caused an event.
type Request struct {
	ID             string `json:"id"`
	IdempotencyKey string `json:"idempotency_key"`
}

// A RelatedObject is what a thin event is about.
type RelatedObject struct {
	ID   string `json:"id"` // "" of an object that an account has only one of
	Type string `json:"type"`
	URL  string `json:"url"` // a path, to be fetched from the API
}

// A Reason is why a thin event happened.
type Reason struct {
	Type    string   `json:"type"` // "request"
	Request *Request `json:"request"`
}

// Parse reads the body of a delivery without verifying it, which is for bodies
// from a place you trust, such as your own queue. It returns [ErrNotAnEvent] if
// the body is not a JSON object, or if it says to be an event and lacks what one
// has.
func Parse(body []byte) (*Event, error) {
	var tagged struct {
		Object json.RawMessage `json:"object"`
	}
	if err := json.Unmarshal(body, &tagged); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAnEvent, err)
	}
	if bytes.TrimSpace(body)[0] != '{' { // the one other value that passes is null
		return nil, fmt.Errorf("%w: it is not a JSON object", ErrNotAnEvent)
	}
	var e *Event
	var err error
	switch string(tagged.Object) {
	case `"` + snapshotTag + `"`:
		e, err = parseSnapshot(body)
	case `"` + thinTag + `"`:
		e, err = parseThin(body)
	default:
		return parseMessage(body), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAnEvent, err)
	}
	if e.ID == "" || e.Type == "" || e.Created.Unix() <= 0 {
		return nil, fmt.Errorf("%w: it has no id, no type or no time", ErrNotAnEvent)
	}
	return e, nil
}

func parseSnapshot(body []byte) (*Event, error) {
	var w struct {
		ID, Type, Account, Context string
		APIVersion                 string `json:"api_version"`
		Created                    int64
		Livemode                   bool
		Data                       struct {
			Object             json.RawMessage
			PreviousAttributes json.RawMessage `json:"previous_attributes"`
		}
		PendingWebhooks int `json:"pending_webhooks"`
		Request         *Request
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, err
	}
	if present(w.Data.Object) == nil {
		return nil, errors.New("it has no data.object")
	}
	return &Event{
		Kind: Snapshot, ID: w.ID, Type: w.Type, Created: time.Unix(w.Created, 0).UTC(),
		Livemode: w.Livemode, Context: w.Context, Raw: body,
		APIVersion: w.APIVersion, Account: w.Account, PendingWebhooks: w.PendingWebhooks, Request: w.Request,
		Object: w.Data.Object, PreviousAttributes: present(w.Data.PreviousAttributes),
	}, nil
}

func parseThin(body []byte) (*Event, error) {
	var w struct {
		ID, Type, Context string
		Created           time.Time // RFC 3339
		Livemode          bool
		RelatedObject     *RelatedObject `json:"related_object"`
		Reason            *Reason
		Data              json.RawMessage
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, err
	}
	return &Event{
		Kind: Thin, ID: w.ID, Type: w.Type, Created: w.Created.UTC(),
		Livemode: w.Livemode, Context: w.Context, Raw: body,
		RelatedObject: w.RelatedObject, Reason: w.Reason, Data: present(w.Data),
	}, nil
}

// parseMessage takes what has the form that Standard Webhooks recommends, and
// minds nothing else: the rest is in Raw.
func parseMessage(body []byte) *Event {
	var w struct {
		Type, Timestamp any
		Data            json.RawMessage
	}
	_ = json.Unmarshal(body, &w) // it is a JSON object, and every one fits
	e := &Event{Kind: Message, Raw: body, Data: present(w.Data)}
	e.Type, _ = w.Type.(string)
	stamp, _ := w.Timestamp.(string)
	if created, err := time.Parse(time.RFC3339, stamp); err == nil {
		e.Created = created.UTC()
	}
	return e
}

// present returns raw, or nil if it is null.
func present(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
