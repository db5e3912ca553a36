package event

import "time"

// Format is how an event is wrapped for a webhook endpoint. The values are
// stored, and are those of the API.
type Format string

// The formats of a payload. All but the first carry, as their data, exactly
// what the first sends.
const (
	FormatStripe Format = "stripe" // the event itself; "" is this one too
	// FormatStandard is the envelope of Standard Webhooks: type, timestamp,
	// data. See https://github.com/standard-webhooks/standard-webhooks.
	FormatStandard Format = "standard_webhooks"
	// FormatCloudEvents is the structured mode of CloudEvents 1.0 over HTTP,
	// FormatCloudEventsBinary the binary one: the event itself, with its
	// attributes in headers (see AppendCloudHeaders).
	FormatCloudEvents       Format = "cloudevents"
	FormatCloudEventsBinary Format = "cloudevents_binary"
)

// ContentType is that of a body in this format.
func (f Format) ContentType() string {
	if f == FormatCloudEvents {
		return "application/cloudevents+json; charset=utf-8"
	}
	return "application/json; charset=utf-8"
}

// AppendBody appends the body that a subscription's target receives, unless the
// subscription shapes it otherwise.
func (e *Event) AppendBody(dst []byte, sub *Subscription) []byte {
	switch sub.Format {
	case FormatStandard:
		dst = appendString(append(dst, `{"type":`...), e.Type)
		dst = AppendTime(append(dst, `,"timestamp":"`...), e.Created)
		dst = append(dst, `","data":`...)
	case FormatCloudEvents:
		dst = appendString(append(dst, `{"specversion":"1.0","id":`...), e.ID())
		dst = appendString(append(dst, `,"source":`...), cloudSource(sub.Name))
		dst = appendString(append(dst, `,"type":`...), e.Type)
		if e.ObjectID != "" {
			dst = appendString(append(dst, `,"subject":`...), e.ObjectID)
		}
		dst = AppendTime(append(dst, `,"time":"`...), e.Created)
		dst = append(dst, `","datacontenttype":"application/json","data":`...)
	default:
		return e.AppendPush(dst, sub.APIVersion)
	}
	return append(e.AppendPush(dst, sub.APIVersion), '}')
}

// cloudSource names a destination as the source of what it sends: an id is
// unique within a source, and each destination sends an event once.
func cloudSource(destination string) string { return "/v2/core/event_destinations/" + destination }

// AppendCloudHeaders appends the attributes of an event as the header lines of
// the binary mode, each with its CRLF.
func (e *Event) AppendCloudHeaders(dst []byte, destination string) []byte {
	dst = append(dst, "ce-specversion: 1.0\r\n"...)
	dst = appendCloudHeader(dst, "ce-id", e.ID())
	dst = appendCloudHeader(dst, "ce-source", cloudSource(destination))
	dst = appendCloudHeader(dst, "ce-type", e.Type)
	if e.ObjectID != "" {
		dst = appendCloudHeader(dst, "ce-subject", e.ObjectID)
	}
	return appendCloudHeader(dst, "ce-time", string(AppendTime(make([]byte, 0, len(timeLayout)), e.Created)))
}

// appendCloudHeader encodes a value as the HTTP binding of CloudEvents asks,
// section 3.1.3.2: what is not printable ASCII, and space, " and %, as %XX.
func appendCloudHeader(dst []byte, name, value string) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(append(dst, name...), ": "...)
	for i := range len(value) {
		if c := value[i]; c > ' ' && c < 0x7f && c != '"' && c != '%' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, "\r\n"...)
}

// RateLimit bounds how many deliveries are begun: PerSecond on average, Burst
// at once after a pause.
type RateLimit struct {
	PerSecond int `json:"per_second"`
	Burst     int `json:"burst"`
}

// Every is the time between two deliveries at the limit.
func (r RateLimit) Every() time.Duration { return time.Second / time.Duration(r.PerSecond) }
