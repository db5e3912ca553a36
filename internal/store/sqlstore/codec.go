package sqlstore

import (
	"encoding/binary"
	"errors"

	"github.com/waybill-dev/waybill/internal/event"
)

// AppendDetail encodes what only a person reads of an attempt: message,
// headers, body. Nil when there is nothing.
func AppendDetail(dst []byte, a *event.Attempt) []byte {
	if a.Message == "" && len(a.Headers) == 0 && len(a.Body) == 0 && !a.Truncated {
		return nil
	}
	flags := byte(0)
	if a.Truncated {
		flags = 1
	}
	dst = append(dst, flags)
	dst = appendText(dst, a.Message)
	dst = binary.AppendUvarint(dst, uint64(len(a.Headers)))
	for _, h := range a.Headers {
		dst = appendText(appendText(dst, h.Name), h.Value)
	}
	return append(dst, a.Body...)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// parseDetail is the reverse of AppendDetail.
func parseDetail(a *event.Attempt, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	a.Truncated = data[0]&1 != 0
	data = data[1:]
	var ok bool
	if a.Message, data, ok = cutText(data); !ok {
		return errDetail
	}
	count, n := binary.Uvarint(data)
	if n <= 0 || count > uint64(len(data)) {
		return errDetail
	}
	data = data[n:]
	a.Headers = make([]event.Header, count)
	for i := range a.Headers {
		if a.Headers[i].Name, data, ok = cutText(data); !ok {
			return errDetail
		}
		if a.Headers[i].Value, data, ok = cutText(data); !ok {
			return errDetail
		}
	}
	if len(data) > 0 {
		a.Body = data
	}
	return nil
}

var errDetail = errors.New("parse attempt: damaged detail")

func cutText(data []byte) (text string, rest []byte, ok bool) {
	n, w := binary.Uvarint(data)
	if w <= 0 || n > uint64(len(data)-w) {
		return "", nil, false
	}
	return string(data[w : w+int(n)]), data[w+int(n):], true
}

// AppendAttributes encodes message attributes, whose values may be any bytes.
// Nil when there are none.
func AppendAttributes(dst []byte, attributes []event.Attribute) []byte {
	if len(attributes) == 0 {
		return nil
	}
	dst = binary.AppendUvarint(dst, uint64(len(attributes)))
	for _, a := range attributes {
		dst = appendText(appendText(appendText(dst, a.Name), a.Type), a.Value)
	}
	return dst
}

var errAttributes = errors.New("parse message: damaged attributes")

// parseAttributes is the reverse of AppendAttributes.
func parseAttributes(data []byte) ([]event.Attribute, error) {
	if len(data) == 0 {
		return nil, nil
	}
	count, n := binary.Uvarint(data)
	if n <= 0 || count > uint64(len(data)) {
		return nil, errAttributes
	}
	data = data[n:]
	attributes := make([]event.Attribute, count)
	for i := range attributes {
		a := &attributes[i]
		for _, to := range []*string{&a.Name, &a.Type, &a.Value} {
			var ok bool
			if *to, data, ok = cutText(data); !ok {
				return nil, errAttributes
			}
		}
	}
	if len(data) > 0 {
		return nil, errAttributes
	}
	return attributes, nil
}
