package destination

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// config is a destination's document as stored. It holds no secrets: those are
// sealed in a column of their own.
type config struct {
	Name               string            `json:"name"`
	Description        string            `json:"description,omitzero"`
	Type               string            `json:"type"`
	Payload            event.Kind        `json:"payload"`
	EnabledEvents      []string          `json:"enabled_events"`
	EventsFrom         []string          `json:"events_from"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	SnapshotAPIVersion string            `json:"snapshot_api_version,omitzero"`
	DisabledReason     string            `json:"disabled_reason,omitzero"`
	URL                string            `json:"url,omitzero"`
	EventBridge        *EventBridge      `json:"eventbridge,omitempty"`
	// omitzero, unlike omitempty, tells the empty schedule from none.
	RetrySchedule []int64 `json:"retry_schedule,omitzero"`
}

func encode(d *Destination) ([]byte, error) {
	doc, err := json.Marshal(config{
		Name: d.Name, Description: d.Description, Type: d.Type, Payload: d.Payload,
		EnabledEvents: d.EnabledEvents, EventsFrom: d.EventsFrom, Metadata: d.Metadata,
		SnapshotAPIVersion: d.SnapshotAPIVersion, DisabledReason: d.DisabledReason,
		URL: d.URL, EventBridge: d.EventBridge, RetrySchedule: d.RetrySchedule,
	})
	if err != nil {
		return nil, fmt.Errorf("encode event destination: %w", err)
	}
	return doc, nil
}

func decode(row *store.Destination) (*Destination, error) {
	var c config
	if err := json.Unmarshal(row.Config, &c); err != nil {
		return nil, fmt.Errorf("decode event destination %s: %w", row.ID, err)
	}
	if c.Metadata == nil {
		c.Metadata = map[string]string{}
	}
	return &Destination{
		Number: row.Number, ID: row.ID, Name: c.Name, Description: c.Description, Type: c.Type,
		Live: row.Scope.Live(), Payload: c.Payload, EnabledEvents: c.EnabledEvents, EventsFrom: c.EventsFrom,
		Metadata: c.Metadata, SnapshotAPIVersion: c.SnapshotAPIVersion, Status: row.Status,
		DisabledReason: c.DisabledReason, Created: row.Created, Updated: row.Updated,
		URL: c.URL, EventBridge: c.EventBridge, RetrySchedule: c.RetrySchedule,
	}, nil
}

// secret is one signing secret. Several are live while one replaces another.
type secret struct {
	Secret  string    `json:"secret"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero is never
}

// sealContext ties sealed secrets to their destination, so that those of one
// cannot be used for another by copying them in the database.
func sealContext(scope event.Scope, id string) []byte {
	return []byte("event_destination/" + strconv.FormatInt(int64(scope), 10) + "/" + id)
}

func (s *Service) sealSecrets(scope event.Scope, id string, secrets []secret) ([]byte, error) {
	plain, err := json.Marshal(secrets) //nolint:gosec // it is sealed before it leaves here
	if err != nil {
		return nil, fmt.Errorf("encode signing secrets: %w", err)
	}
	return s.key.Seal(plain, sealContext(scope, id)), nil
}

// liveSecrets returns a stored destination's secrets that can sign now, newest
// first. Its errors say nothing of what was sealed.
func (s *Service) liveSecrets(row *store.Destination) ([]string, error) {
	plain, err := s.key.Open(row.Secrets, sealContext(row.Scope, row.ID))
	if err != nil {
		return nil, fmt.Errorf("open signing secrets of %s: %w", row.ID, err)
	}
	var all []secret
	if json.Unmarshal(plain, &all) != nil { // its error could quote the plaintext
		return nil, fmt.Errorf("decode signing secrets of %s: not a list of secrets", row.ID)
	}
	now := s.now()
	slices.SortStableFunc(all, func(a, b secret) int { return b.Created.Compare(a.Created) })
	live := make([]string, 0, len(all))
	for _, one := range all {
		if one.Expires.IsZero() || one.Expires.After(now) {
			live = append(live, one.Secret)
		}
	}
	if len(live) == 0 {
		return nil, fmt.Errorf("open signing secrets of %s: none is live", row.ID)
	}
	return live, nil
}
