package stripeapi

import (
	"cmp"
	"time"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// settings reads what Waybill adds to a webhook endpoint.
func settings(p *destination.SettingsParams) field {
	return orNull(object(fields{
		"payload_format": orNull(textPtr(&p.Format)),
		"signatures":     orNull(texts(&p.Signatures)),
		"headers":        orNull(metadata(&p.Headers)),
		"ordering":       orNull(textPtr(&p.Ordering)),
		"rate_limit": func(s *rawjson.Scanner, path string) error {
			p.RateLimit = new(*event.RateLimit)
			if s.Null() {
				return nil
			}
			limit := new(event.RateLimit)
			*p.RateLimit = limit
			return readObject(s, path, fields{"per_second": integer(&limit.PerSecond), "burst": integer(&limit.Burst)})
		},
	}))
}

func integer(into *int) field {
	return func(s *rawjson.Scanner, _ string) error {
		v, err := s.Int64()
		*into = int(v)
		return err
	}
}

// settingsObject is what Waybill adds to a webhook endpoint, as shown.
type settingsObject struct {
	PayloadFormat string           `json:"payload_format"`
	Signatures    []string         `json:"signatures"`
	HeaderNames   []string         `json:"header_names"` // their values are secret
	RateLimit     *event.RateLimit `json:"rate_limit"`
	Ordering      string           `json:"ordering"`

	PublicKey          *string `json:"public_key"`
	PreviousSecretsEnd *string `json:"previous_secrets_end"`
	FailingSince       *string `json:"failing_since"`
	DisablesAt         *string `json:"disables_at"`
}

func newSettingsObject(d *destination.Destination, now time.Time) *settingsObject {
	if d.Type != destination.TypeWebhookEndpoint {
		return nil
	}
	to := &d.Settings
	o := &settingsObject{
		PayloadFormat: string(cmp.Or(to.Format, event.FormatStripe)), Signatures: to.Signatures, HeaderNames: to.HeaderNames,
		RateLimit: to.RateLimit, Ordering: cmp.Or(to.Ordering, destination.OrderNone), PublicKey: textOrNull(to.PublicKey),
		FailingSince: timeOrNull(d.Health.FailingSince), DisablesAt: timeOrNull(d.Health.DisablesAt),
	}
	if len(o.Signatures) == 0 {
		o.Signatures = []string{destination.SignStripe}
	}
	if o.HeaderNames == nil {
		o.HeaderNames = []string{}
	}
	if d.PreviousSecretsEnd.After(now) {
		o.PreviousSecretsEnd = timeOrNull(d.PreviousSecretsEnd)
	}
	return o
}

// rollSecret gives a destination a new signing secret.
func (c *call) rollSecret() ([]byte, error) {
	var after *int64
	var include []string
	if err := c.readJSON(fields{
		"expires_after": func(s *rawjson.Scanner, _ string) error {
			v, err := s.Int64()
			after = &v
			return err
		},
		"include": orNull(texts(&include)),
	}); err != nil {
		return nil, err
	}
	most := int64(destination.MaxOverlap / time.Second)
	if after == nil || *after < 0 || *after > most {
		return nil, fault.Invalidf("expires_after", "Say for how many seconds the old secret goes on signing beside the new one: 0 (it ends at once) to %d.", most)
	}
	show, err := readInclude(include, true)
	if err != nil {
		return nil, err
	}
	d, err := c.api.destinations.RollSecret(c.r.Context(), c.caller, c.arg, time.Duration(*after)*time.Second)
	if err != nil {
		return nil, err
	}
	return c.encodeDestination(d, show)
}
