package destination

import (
	"encoding/json"
	"fmt"
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

	PreviousSecretsEnd time.Time `json:"previous_secrets_end,omitzero"`
	Settings           Settings  `json:"settings,omitzero"`
}

func encode(d *Destination) ([]byte, error) {
	doc, err := json.Marshal(config{
		Name: d.Name, Description: d.Description, Type: d.Type, Payload: d.Payload,
		EnabledEvents: d.EnabledEvents, EventsFrom: d.EventsFrom, Metadata: d.Metadata,
		SnapshotAPIVersion: d.SnapshotAPIVersion, DisabledReason: d.DisabledReason,
		URL: d.URL, EventBridge: d.EventBridge, RetrySchedule: d.RetrySchedule,
		PreviousSecretsEnd: d.PreviousSecretsEnd, Settings: d.Settings,
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
		PreviousSecretsEnd: c.PreviousSecretsEnd, Settings: c.Settings,
	}, nil
}
