package stripeapi

import (
	"context"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// What include can ask for.
const (
	includeURL    = "webhook_endpoint.url"
	includeSecret = "webhook_endpoint.signing_secret"
)

// shown is what a request asked to see of a destination.
type shown struct{ url, secret bool }

// readInclude turns include into what is shown. The secret can only be asked
// for when it is made; later it is never revealed, and silence about that would
// leave a client with null for a secret.
func readInclude(values []string, making bool) (shown, error) {
	var s shown
	for _, v := range values {
		switch {
		case v == includeURL:
			s.url = true
		case v == includeSecret && making:
			s.secret = true
		case v == includeSecret:
			return s, fault.Invalidf("include", "The signing secret is shown once, in the answer that makes it (create or roll_secret). Leave %s out.", includeSecret)
		case making:
			return s, fault.Invalidf("include", "%q cannot be included. Those possible are: %s, %s.", cutText(v), includeSecret, includeURL)
		default:
			return s, fault.Invalidf("include", "%q cannot be included. The one possible is: %s.", cutText(v), includeURL)
		}
	}
	return s, nil
}

func (c *call) createDestination() ([]byte, error) {
	var p destination.CreateParams
	var include []string
	var meta map[string]*string
	err := c.readJSON(fields{
		"name":                 text(&p.Name),
		"type":                 text(&p.Type),
		"event_payload":        text(&p.EventPayload),
		"description":          orNull(text(&p.Description)),
		"enabled_events":       texts(&p.EnabledEvents),
		"events_from":          orNull(texts(&p.EventsFrom)),
		"metadata":             orNull(metadata(&meta)),
		"snapshot_api_version": orNull(text(&p.SnapshotAPIVersion)),
		"retry_schedule":       orNull(integers(&p.RetrySchedule)),
		"waybill":              settings(&p.Settings),
		"include":              orNull(texts(&include)),
		"webhook_endpoint": orNull(func(s *rawjson.Scanner, path string) error {
			p.WebhookEndpoint = new(destination.WebhookEndpoint)
			return readObject(s, path, fields{"url": text(&p.WebhookEndpoint.URL)})
		}),
		"amazon_eventbridge": orNull(func(s *rawjson.Scanner, path string) error {
			p.AmazonEventBridge = new(destination.AmazonEventBridge)
			return readObject(s, path, fields{
				"aws_account_id": text(&p.AmazonEventBridge.AWSAccountID),
				"aws_region":     text(&p.AmazonEventBridge.AWSRegion),
			})
		}),
		"azure_event_grid": orNull(func(s *rawjson.Scanner, path string) error {
			p.AzureEventGrid = new(destination.AzureEventGrid)
			return readObject(s, path, fields{
				"azure_region":              text(&p.AzureEventGrid.AzureRegion),
				"azure_resource_group_name": text(&p.AzureEventGrid.AzureResourceGroupName),
				"azure_subscription_id":     text(&p.AzureEventGrid.AzureSubscriptionID),
			})
		}),
	})
	if err != nil {
		return nil, err
	}
	show, err := readInclude(include, true)
	if err != nil {
		return nil, err
	}
	for key, value := range meta {
		if value == nil {
			continue
		}
		if p.Metadata == nil {
			p.Metadata = make(map[string]string, len(meta))
		}
		p.Metadata[key] = *value
	}
	d, err := c.api.destinations.Create(c.r.Context(), c.caller, p)
	if err != nil {
		return nil, err
	}
	return c.encodeDestination(d, show)
}

// fixed refuses a parameter that only Create takes.
func fixed(_ *rawjson.Scanner, path string) error {
	return fault.Invalidf(path, "This cannot be changed after the destination was created. Create another destination instead.")
}

func (c *call) updateDestination() ([]byte, error) {
	var p destination.UpdateParams
	var include []string
	known := fields{
		"name":           textPtr(&p.Name),
		"enabled_events": texts(&p.EnabledEvents),
		"metadata":       metadata(&p.Metadata),
		"waybill":        settings(&p.Settings),
		"include":        orNull(texts(&include)),
		// null clears, as stripe-go's UnsetFields sends it.
		"description": func(s *rawjson.Scanner, path string) error {
			if s.Null() {
				p.Description = new(string)
				return nil
			}
			return textPtr(&p.Description)(s, path)
		},
		"retry_schedule": func(s *rawjson.Scanner, path string) error {
			p.RetrySchedule = new([]int64)
			return orNull(integers(p.RetrySchedule))(s, path)
		},
		"webhook_endpoint": object(fields{"url": textPtr(&p.URL)}),
	}
	for _, name := range []string{
		"type", "event_payload", "events_from", "snapshot_api_version", "amazon_eventbridge", "azure_event_grid",
	} {
		known[name] = fixed
	}
	if err := c.readJSON(known); err != nil {
		return nil, err
	}
	show, err := readInclude(include, false)
	if err != nil {
		return nil, err
	}
	d, err := c.api.destinations.Update(c.r.Context(), c.caller, c.arg, p)
	if err != nil {
		return nil, err
	}
	return c.encodeDestination(d, show)
}

func (c *call) retrieveDestination() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	show, err := readInclude(q.list("include"), false)
	if err != nil {
		return nil, err
	}
	if err := q.done("include"); err != nil {
		return nil, err
	}
	d, err := c.api.destinations.Retrieve(c.r.Context(), c.caller, c.arg)
	if err != nil {
		return nil, err
	}
	return c.encodeDestination(d, show)
}

func (c *call) listDestinations() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	show, err := readInclude(q.list("include"), false)
	if err != nil {
		return nil, err
	}
	l, err := c.newListing("event_destinations", q)
	if err != nil {
		return nil, err
	}
	if err := q.done("limit, page, include"); err != nil {
		return nil, err
	}
	p := destination.ListParams{Limit: l.limit}
	if l.at.newer {
		p.Newer = l.at.key
	} else {
		p.Older = l.at.key
	}
	page, err := c.api.destinations.List(c.r.Context(), c.caller, p)
	if err != nil {
		return nil, err
	}
	reply := pageObject[destinationObject]{Data: make([]destinationObject, len(page.Items))}
	for i, d := range page.Items {
		reply.Data[i] = c.destinationObject(d, show)
	}
	if n := len(page.Items); n > 0 {
		reply.Next, reply.Previous = l.links(cursor{key: page.Items[0].Number}, cursor{key: page.Items[n-1].Number}, page.More)
	}
	return encode(reply)
}

func (c *call) deleteDestination() ([]byte, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	c.fingerprint(nil)
	if err := c.api.destinations.Delete(c.r.Context(), c.caller, c.arg); err != nil {
		return nil, err
	}
	return encode(struct {
		ID     string `json:"id"`
		Object string `json:"object"`
	}{c.arg, destinationTag})
}

func (c *call) disableDestination() ([]byte, error) {
	return c.switchDestination(c.api.destinations.Disable)
}

func (c *call) enableDestination() ([]byte, error) {
	return c.switchDestination(c.api.destinations.Enable)
}

func (c *call) switchDestination(verb func(context.Context, account.Caller, string) (*destination.Destination, error)) ([]byte, error) {
	if err := c.readJSON(fields{}); err != nil {
		return nil, err
	}
	d, err := verb(c.r.Context(), c.caller, c.arg)
	if err != nil {
		return nil, err
	}
	return c.encodeDestination(d, shown{})
}

func (c *call) pingDestination() ([]byte, error) {
	if err := c.readJSON(fields{}); err != nil {
		return nil, err
	}
	e, err := c.api.destinations.Ping(c.r.Context(), c.caller, c.arg)
	if err != nil {
		return nil, err
	}
	return e.AppendFull(nil, e.Open()), nil
}

const destinationTag = "v2.core.event_destination"

// pageObject is the envelope of API v2 lists.
type pageObject[T any] struct {
	Data     []T     `json:"data"`
	Next     *string `json:"next_page_url"`
	Previous *string `json:"previous_page_url"`
}

type destinationObject struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	AmazonEventBridge  *amazonSource     `json:"amazon_eventbridge"`
	AzureEventGrid     *struct{}         `json:"azure_event_grid"`
	Created            string            `json:"created"`
	Description        string            `json:"description"`
	EnabledEvents      []string          `json:"enabled_events"`
	EventPayload       string            `json:"event_payload"`
	EventsFrom         []string          `json:"events_from"`
	Livemode           bool              `json:"livemode"`
	Metadata           map[string]string `json:"metadata"`
	Name               string            `json:"name"`
	RetrySchedule      []int64           `json:"retry_schedule"` // Waybill's own: seconds, null is the default
	SnapshotAPIVersion *string           `json:"snapshot_api_version"`
	Status             string            `json:"status"`
	StatusDetails      *statusDetails    `json:"status_details"`
	Type               string            `json:"type"`
	Updated            string            `json:"updated"`
	Waybill            *settingsObject   `json:"waybill"` // Waybill's own
	WebhookEndpoint    *webhookEndpoint  `json:"webhook_endpoint"`
}

type statusDetails struct {
	Disabled struct {
		Reason string `json:"reason"`
	} `json:"disabled"`
}

type amazonSource struct {
	AccountID string `json:"aws_account_id"`
	SourceARN string `json:"aws_event_source_arn"`
	Status    string `json:"aws_event_source_status"`
}

type webhookEndpoint struct {
	SigningSecret *string `json:"signing_secret"`
	URL           *string `json:"url"`
}

func (c *call) encodeDestination(d *destination.Destination, show shown) ([]byte, error) {
	return encode(c.destinationObject(d, show))
}

func (c *call) destinationObject(d *destination.Destination, show shown) destinationObject {
	o := destinationObject{
		ID: d.ID, Object: destinationTag, Created: timeText(d.Created), Updated: timeText(d.Updated),
		Name: d.Name, Description: d.Description, EnabledEvents: d.EnabledEvents, EventPayload: d.Payload.String(),
		EventsFrom: c.eventsFrom(d.EventsFrom), Livemode: d.Live, Metadata: d.Metadata,
		RetrySchedule: d.RetrySchedule, Status: "enabled", Type: d.Type, Waybill: newSettingsObject(d, c.api.now()),
	}
	if d.Payload == event.Snapshot && d.SnapshotAPIVersion != "" {
		o.SnapshotAPIVersion = &d.SnapshotAPIVersion
	}
	if d.Status == event.Disabled {
		o.Status = "disabled"
		o.StatusDetails = new(statusDetails)
		o.StatusDetails.Disabled.Reason = d.DisabledReason
	}
	if b := d.EventBridge; b != nil {
		o.AmazonEventBridge = &amazonSource{AccountID: b.AccountID, SourceARN: b.SourceARN, Status: c.api.destinations.SourceStatus(d)}
	}
	if d.Type == destination.TypeWebhookEndpoint {
		o.WebhookEndpoint = new(webhookEndpoint)
		if show.url {
			o.WebhookEndpoint.URL = &d.URL
		}
		if show.secret && d.SigningSecret != "" {
			o.WebhookEndpoint.SigningSecret = &d.SigningSecret
		}
	}
	return o
}

// wordsChanged is the version from which events_from has its present words.
const wordsChanged = "2026-03-25"

// eventsFrom returns the words that the request's version knows. The words for
// organizations have no older form.
func (c *call) eventsFrom(words []string) []string {
	version := c.r.Header.Get(headerVersion)
	if version == "" {
		version = c.caller.APIVersion
	}
	if len(version) < len(wordsChanged) || strings.Trim(version[:len(wordsChanged)], "0123456789-") != "" ||
		version[:len(wordsChanged)] >= wordsChanged {
		return words
	}
	old := slices.Clone(words)
	for i, w := range old {
		switch w {
		case "@self":
			old[i] = "self"
		case "@accounts":
			old[i] = "other_accounts"
		}
	}
	return old
}
