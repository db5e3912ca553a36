package stripeapi

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/rawjson"
	"github.com/waybill-dev/waybill/internal/sandbox"
)

const meterStreamPath = "/v2/billing/meter_event_stream"

// meterSession is for how long a meter event session holds, as Stripe has it.
const meterSession = 15 * time.Minute

const meterTokenPrefix = "mes_"

// meterGrant is what the token of a meter event session says. It is signed, so
// that every node can read it and none has to keep it.
type meterGrant struct {
	Scope      event.Scope
	AccountID  string
	APIVersion string
	Until      int64 // Unix milliseconds
}

func (g *meterGrant) mac(keys cursors, body []byte) []byte {
	return keys.mac(g.Scope, "meter_event_session", g.AccountID, body)
}

// createMeterSession gives out a token with which meter events can be sent.
func (c *call) createMeterSession() ([]byte, error) {
	if err := c.readJSON(fields{}); err != nil {
		return nil, err
	}
	now := c.api.now()
	until := now.Add(meterSession)
	grant := meterGrant{Scope: c.caller.Scope, AccountID: c.caller.AccountID, APIVersion: c.caller.APIVersion, Until: until.UnixMilli()}
	body, err := json.Marshal(grant)
	if err != nil {
		return nil, err
	}
	token := meterTokenPrefix + base64.RawURLEncoding.EncodeToString(append(body, grant.mac(c.api.cursors, body)...))
	return encode(map[string]any{
		"id": event.NewID("mes_", 24), "object": "v2.billing.meter_event_session", "authentication_token": token,
		"created": string(event.AppendTime(nil, now)), "expires_at": string(event.AppendTime(nil, until)), "livemode": c.caller.Scope.Live(),
	})
}

// identify finds out who calls: by an API key, or, where meter events are
// streamed to, by the token of a session.
func (c *call) identify(ctx context.Context, key string) (account.Caller, error) {
	text, ok := strings.CutPrefix(key, meterTokenPrefix)
	if !ok || c.r.URL.Path != meterStreamPath {
		return c.api.accounts.Authenticate(ctx, key)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	var grant meterGrant
	if err == nil && len(raw) > macLen {
		body, mac := raw[:len(raw)-macLen], raw[len(raw)-macLen:]
		if json.Unmarshal(body, &grant) == nil && hmac.Equal(mac, grant.mac(c.api.cursors, body)) && c.api.now().UnixMilli() < grant.Until {
			return account.Caller{Scope: grant.Scope, AccountID: grant.AccountID, APIVersion: grant.APIVersion}, nil
		}
	}
	return account.Caller{}, fault.New(fault.Unauthorized, "billing_meter_event_session_expired",
		"The meter event session is not valid any more. Create another with POST /v2/billing/meter_event_session.")
}

// streamMeterEvents takes {"events": […]}.
func (c *call) streamMeterEvents() ([]byte, error) {
	var events []sandbox.MeterEvent
	err := c.readJSON(fields{"events": func(s *rawjson.Scanner, path string) error {
		return readArray(s, path, func(at string) error {
			var e sandbox.MeterEvent
			if err := object(meterEvent(&e))(s, at); err != nil {
				return err
			}
			events = append(events, e)
			return nil
		})
	}})
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fault.Invalidf("events", "There are no meter events. Send at least one.")
	}
	return []byte("{}"), c.meter(events)
}

// createMeterEvent takes one event as an object of its own.
func (c *call) createMeterEvent() ([]byte, error) {
	var e sandbox.MeterEvent
	if err := c.readJSON(meterEvent(&e)); err != nil {
		return nil, err
	}
	if err := c.meter([]sandbox.MeterEvent{e}); err != nil {
		return nil, err
	}
	return encode(map[string]any{
		"object": "v2.billing.meter_event", "event_name": e.Name, "identifier": e.Identifier, "payload": e.Payload,
		"created": string(event.AppendTime(nil, c.api.now())), "livemode": c.caller.Scope.Live(),
	})
}

func (c *call) meter(events []sandbox.MeterEvent) error {
	if c.api.sandbox == nil {
		return fault.NotFoundf("There is no sandbox here, and so no meters.")
	}
	for _, e := range events {
		if e.Name == "" {
			return fault.Invalidf("event_name", "A meter event needs the event_name of its meter.")
		}
	}
	return c.api.sandbox.MeterEvents(c.r.Context(), c.caller, events)
}

func meterEvent(e *sandbox.MeterEvent) fields {
	var timestamp string
	return fields{
		"event_name": text(&e.Name), "identifier": text(&e.Identifier), "timestamp": text(&timestamp),
		"payload": func(s *rawjson.Scanner, path string) error {
			var values map[string]*string
			if err := metadata(&values)(s, path); err != nil {
				return err
			}
			e.Payload = make(map[string]string, len(values))
			for k, v := range values {
				if v != nil {
					e.Payload[k] = *v
				}
			}
			return nil
		},
	}
}
