package pattern

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrEvent is AWS's answer to an event that is none. Its code there is
// ValidationException.
var ErrEvent = errors.New("Parameter Event is not valid.") //nolint:staticcheck,revive // the wire's text

// CheckEvent tells whether the text is an event as TestEventPattern wants it: a
// JSON object with id, account, source, time, region and detail-type, whatever
// their values. The error is ErrEvent.
func CheckEvent(event []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(event, &members); err != nil || bytes.TrimLeft(event, " \t\r\n")[0] != '{' {
		return ErrEvent
	}
	for _, name := range []string{"id", "account", "source", "time", "region", "detail-type"} {
		if _, ok := members[name]; !ok {
			return ErrEvent
		}
	}
	return nil
}
