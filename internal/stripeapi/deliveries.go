package stripeapi

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/journal"
)

// Deliveries are Waybill's own resource, in the manner of API v2.

type deliveryObject struct {
	ID               string       `json:"id"`
	Object           string       `json:"object"`
	Event            string       `json:"event"`
	EventType        string       `json:"event_type"`
	EventDestination *string      `json:"event_destination"`
	Status           string       `json:"status"`
	Reason           *string      `json:"reason"`
	Created          string       `json:"created"`
	NextAttemptAt    *string      `json:"next_attempt_at"`
	AttemptCount     int          `json:"attempt_count"`
	LastAttempt      *lastAttempt `json:"last_attempt"`
	Livemode         bool         `json:"livemode"`
}

type lastAttempt struct {
	StatusCode *int    `json:"status_code"`
	ErrorClass *string `json:"error_class"`
	At         string  `json:"at"`
}

func newDelivery(d *journal.Delivery) deliveryObject {
	o := deliveryObject{
		ID: d.ID(), Object: "waybill.delivery", Event: d.EventID, EventType: d.EventType,
		EventDestination: textOrNull(d.DestinationID), Status: string(d.State), Reason: textOrNull(d.Reason),
		Created: timeText(d.Created), NextAttemptAt: timeOrNull(d.Next), AttemptCount: d.Attempts,
		Livemode: d.Scope.Live(),
	}
	if !d.LastAttempt.IsZero() {
		o.LastAttempt = &lastAttempt{
			StatusCode: intOrNull(d.LastStatus), ErrorClass: textOrNull(string(d.LastClass)), At: timeText(d.LastAttempt),
		}
	}
	return o
}

type attemptObject struct {
	Object                string            `json:"object"`
	Run                   int               `json:"run"`
	Attempt               int               `json:"attempt"`
	Outcome               string            `json:"outcome"`
	ErrorClass            *string           `json:"error_class"`
	Message               *string           `json:"message"`
	StatusCode            *int              `json:"status_code"`
	StartedAt             string            `json:"started_at"`
	DurationMS            float64           `json:"duration_ms"`
	FirstByteMS           *float64          `json:"first_byte_ms"`
	NextAttemptAt         *string           `json:"next_attempt_at"`
	ResponseHeaders       map[string]string `json:"response_headers"`
	ResponseBody          *string           `json:"response_body"`
	ResponseBodyBase64    *string           `json:"response_body_base64,omitempty"`
	ResponseBodyTruncated bool              `json:"response_body_truncated"`
}

func newAttempt(a *event.Attempt) attemptObject {
	o := attemptObject{
		Object: "waybill.attempt", Run: a.Run, Attempt: a.N, Outcome: "failed",
		ErrorClass: textOrNull(string(a.Class)), Message: textOrNull(a.Message), StatusCode: intOrNull(a.Status),
		StartedAt: timeText(a.Started), DurationMS: milliseconds(a.Total), NextAttemptAt: timeOrNull(a.Next),
		ResponseHeaders: make(map[string]string, len(a.Headers)), ResponseBodyTruncated: a.Truncated,
	}
	switch a.Outcome {
	case event.Delivered:
		o.Outcome = "succeeded"
	case event.WasDiscarded:
		o.Outcome = "discarded"
	}
	if a.FirstByte > 0 {
		first := milliseconds(a.FirstByte)
		o.FirstByteMS = &first
	}
	for _, h := range a.Headers {
		if have, ok := o.ResponseHeaders[h.Name]; ok {
			h.Value = have + ", " + h.Value
		}
		o.ResponseHeaders[h.Name] = h.Value
	}
	if a.Status == 0 && len(a.Body) == 0 {
		return o // there was no answer
	}
	body := a.Body
	if a.Truncated {
		body = wholeRunes(body)
	}
	if utf8.Valid(body) {
		s := string(body)
		o.ResponseBody = &s
	} else {
		s := base64.StdEncoding.EncodeToString(a.Body)
		o.ResponseBodyBase64 = &s
	}
	return o
}

// wholeRunes leaves out a character at the end that was cut in two.
func wholeRunes(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

func (c *call) listDeliveries() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	var dq journal.DeliveryQuery
	if dq.Destination, _, err = q.text("destination"); err != nil {
		return nil, err
	}
	if dq.Event, _, err = q.text("event"); err != nil {
		return nil, err
	}
	status, _, err := q.text("status")
	if err != nil {
		return nil, err
	}
	switch s := event.State(status); s {
	case "", event.StatePending, event.StateDelivered, event.StateFailed, event.StateDiscarded:
		dq.State = s
	default:
		return nil, fault.Invalidf("status", "%q is no status. Send pending, delivered, failed or discarded.", cutText(status))
	}
	if dq.CreatedFrom, dq.CreatedTo, err = q.created(time.Millisecond); err != nil {
		return nil, err
	}
	if include := q.list("include"); len(include) > 0 {
		return nil, fault.Invalidf("include", "%q cannot be included. Leave it out.", cutText(include[0]))
	}
	l, err := c.newListing("deliveries", q)
	if err != nil {
		return nil, err
	}
	if err := q.done("created, destination, event, limit, page, status"); err != nil {
		return nil, err
	}
	dq.Limit, dq.Older, dq.OlderSub = l.limit, event.Seq(l.at.key), l.at.sub
	page, err := c.api.journal.Deliveries(c.r.Context(), c.caller, dq)
	if err != nil {
		return nil, err
	}
	reply := pageObject[deliveryObject]{Data: make([]deliveryObject, len(page.Items))}
	for i, d := range page.Items {
		reply.Data[i] = newDelivery(d)
	}
	// This list is read forwards only.
	if n := len(page.Items); n > 0 && page.More {
		last := page.Items[n-1]
		reply.Next = l.url(cursor{key: int64(last.Seq), sub: last.Subscription})
	}
	return encode(reply)
}

func (c *call) retrieveDelivery() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	if err := q.done(""); err != nil {
		return nil, err
	}
	d, err := c.api.journal.Delivery(c.r.Context(), c.caller, c.arg)
	if err != nil {
		return nil, err
	}
	return encode(newDelivery(d))
}

// listAttempts answers with all of them: their number is bounded by the retry
// schedule and by how often somebody resends.
func (c *call) listAttempts() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	if err := q.done(""); err != nil {
		return nil, err
	}
	attempts, err := c.api.journal.Attempts(c.r.Context(), c.caller, c.arg)
	if err != nil {
		return nil, err
	}
	reply := pageObject[attemptObject]{Data: make([]attemptObject, len(attempts))}
	for i, a := range attempts {
		reply.Data[i] = newAttempt(a)
	}
	return encode(reply)
}

// timeText writes a time as API v2 does.
func timeText(t time.Time) string { return string(event.AppendTime(nil, t)) }

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := timeText(t)
	return &s
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func intOrNull(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
