package destination

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/retry"
)

// Limits on what a destination may hold. Lengths are in characters.
const (
	maxName          = 256
	maxDescription   = 5000
	maxEvents        = 500
	maxEventType     = 255
	maxMetadata      = 50
	maxMetadataKey   = 40
	maxMetadataValue = 500
)

// The words of events_from.
const (
	fromSelf            = "@self"
	fromAccounts        = "@accounts"
	fromMembers         = "@organization_members"
	fromMembersAccounts = "@organization_members/@accounts"
)

var (
	eventType     = regexp.MustCompile(`^[a-zA-Z0-9_.\[\]-]+$`)
	awsAccount    = regexp.MustCompile(`^[0-9]{12}$`)
	awsRegion     = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	azureRegion   = regexp.MustCompile(`^[a-z0-9]{1,64}$`)
	azureGroup    = regexp.MustCompile(`^[\p{L}\p{N}_().-]{0,89}[\p{L}\p{N}_()-]$`)
	azureUUIDForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// validate returns the destination that p asks for, or a fault about the first
// parameter that does not fit.
func (s *Service) validate(p CreateParams, live bool) (*Destination, error) {
	switch p.Type {
	case TypeWebhookEndpoint, TypeAmazonEventBridge, TypeAzureEventGrid:
	case "":
		return nil, fault.Invalidf("type", "The type is missing. Send webhook_endpoint or amazon_eventbridge.")
	default:
		return nil, fault.Invalidf("type", "%s is not a type of event destination. Send webhook_endpoint or amazon_eventbridge.", show(p.Type))
	}
	d := &Destination{
		Name: p.Name, Description: p.Description, Type: p.Type, Live: live,
		EnabledEvents: slices.Clone(p.EnabledEvents), SnapshotAPIVersion: p.SnapshotAPIVersion,
		Metadata: make(map[string]string, len(p.Metadata)), Status: event.Enabled,
		RetrySchedule: slices.Clone(p.RetrySchedule),
	}
	maps.Copy(d.Metadata, p.Metadata)
	switch p.EventPayload {
	case "thin":
		d.Payload = event.Thin
	case "snapshot":
		d.Payload = event.Snapshot
	case "":
		return nil, fault.Invalidf("event_payload", "The payload is missing. Send thin or snapshot.")
	default:
		return nil, fault.Invalidf("event_payload", "%s is not a kind of payload. Send thin or snapshot.", show(p.EventPayload))
	}
	var err error
	if d.EventsFrom, err = normalizeEventsFrom(p.EventsFrom); err != nil {
		return nil, err
	}
	if err := d.checkCommon(); err != nil {
		return nil, err
	}
	if err := checkAPIVersion(d.Payload, p.SnapshotAPIVersion); err != nil {
		return nil, err
	}
	if err := checkForeign(p); err != nil {
		return nil, err
	}
	if err := s.checkTarget(p, d); err != nil {
		return nil, err
	}
	return d, nil
}

// checkCommon checks what both Create and Update can set.
func (d *Destination) checkCommon() error {
	if strings.TrimSpace(d.Name) == "" {
		return fault.Invalidf("name", "The name is missing. Send a text of 1 to %d characters.", maxName)
	}
	if err := checkText("name", d.Name, maxName); err != nil {
		return err
	}
	if err := checkText("description", d.Description, maxDescription); err != nil {
		return err
	}
	if err := checkEvents(d.Payload, d.EnabledEvents); err != nil {
		return err
	}
	if err := checkMetadata(d.Metadata); err != nil {
		return err
	}
	return checkRetrySchedule(d.RetrySchedule)
}

func checkText(param, text string, most int) error {
	if !utf8.ValidString(text) {
		return fault.Invalidf(param, "The text is not valid UTF-8. Encode it as UTF-8.")
	}
	if n := utf8.RuneCountInString(text); n > most {
		return fault.Invalidf(param, "The text has %d characters. Shorten it to at most %d.", n, most)
	}
	return nil
}

func checkEvents(payload event.Kind, types []string) error {
	const param = "enabled_events"
	if len(types) == 0 {
		return fault.Invalidf(param, "The list is empty. Name at least one event type, such as customer.created.")
	}
	if len(types) > maxEvents {
		return fault.Invalidf(param, "The list has %d event types; at most %d are possible.%s", len(types), maxEvents, starAdvice(payload))
	}
	seen := make(map[string]int, len(types))
	for i, t := range types {
		at := param + "[" + strconv.Itoa(i) + "]"
		if strings.Contains(t, "*") {
			if err := checkWildcard(payload, at, t, len(types)); err != nil {
				return err
			}
			continue
		}
		if err := checkText(at, t, maxEventType); err != nil {
			return err
		}
		if !eventType.MatchString(t) {
			return fault.Invalidf(at, "%s is not an event type. Send letters, digits and _ . - [ ], as in customer.created.", show(t))
		}
		if first, ok := seen[t]; ok {
			return fault.Invalidf(at, "%s is in the list already, at %s[%d]. Name each event type once.", show(t), param, first)
		}
		seen[t] = i
	}
	return nil
}

// checkWildcard explains a wildcard that cannot be used.
func checkWildcard(payload event.Kind, at, t string, listed int) error {
	switch {
	case payload == event.Thin:
		return fault.Invalidf(at, "Thin destinations do not support wildcards. Name each event type.")
	case t != "*":
		return fault.Invalidf(at, "%s: part of a type cannot be a wildcard.%s", show(t), starAdvice(payload))
	case listed > 1:
		return fault.Invalidf(at, "* selects all event types already. Send it alone, or name each event type.")
	}
	return nil
}

func starAdvice(payload event.Kind) string {
	if payload == event.Snapshot {
		return ` Name each event type, or send ["*"] for all.`
	}
	return " Leave out the ones you do not handle."
}

func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return fault.Invalidf("metadata", "There would be %d keys; at most %d are possible. Remove a key by setting it to null.", len(m), maxMetadata)
	}
	for _, key := range slices.Sorted(maps.Keys(m)) { // so that the same request always gets the same error
		if key == "" {
			return fault.Invalidf("metadata", "A key is empty. Give it a name of 1 to %d characters.", maxMetadataKey)
		}
		if !utf8.ValidString(key) {
			return fault.Invalidf("metadata", "A key is not valid UTF-8. Encode it as UTF-8.")
		}
		if n := utf8.RuneCountInString(key); n > maxMetadataKey {
			return fault.Invalidf("metadata", "The key %s has %d characters. Shorten it to at most %d.", show(key), n, maxMetadataKey)
		}
		if err := checkText("metadata."+key, m[key], maxMetadataValue); err != nil {
			return err
		}
	}
	return nil
}

// mergeMetadata returns have with changes applied: nil removes a key.
func mergeMetadata(have map[string]string, changes map[string]*string) map[string]string {
	merged := make(map[string]string, len(have)+len(changes))
	maps.Copy(merged, have)
	for key, value := range changes {
		if value == nil {
			delete(merged, key)
		} else {
			merged[key] = *value
		}
	}
	return merged
}

func checkRetrySchedule(seconds []int64) error {
	if _, err := retry.FromSeconds(seconds); err != nil {
		return fault.Invalidf("retry_schedule", "The schedule cannot be used: %v. Send the waits between tries in seconds, or [] for no retries.", err)
	}
	return nil
}

func checkAPIVersion(payload event.Kind, version string) error {
	const param = "snapshot_api_version"
	switch {
	case version == "":
		return nil
	case payload == event.Thin:
		return fault.Invalidf(param, "Thin events have no version. Leave it out, or send event_payload snapshot.")
	case !event.IsAPIVersion(version):
		return fault.Invalidf(param, "%s is not an API version. Send a date with or without a release name, such as 2026-03-25.dahlia.", show(version))
	}
	return nil
}

// normalizeEventsFrom returns the words in their present form; nothing is the
// account's own events. Before 2026-03-25.dahlia two of them had other names,
// which clients still send.
func normalizeEventsFrom(words []string) ([]string, error) {
	if len(words) == 0 {
		return []string{fromSelf}, nil
	}
	out := make([]string, 0, min(len(words), 4))
	for i, word := range words {
		switch word {
		case "self":
			word = fromSelf
		case "other_accounts":
			word = fromAccounts
		case fromSelf, fromAccounts, fromMembers, fromMembersAccounts:
		default:
			return nil, fault.Invalidf("events_from["+strconv.Itoa(i)+"]", "%s is not an origin of events. Send %s, or one of %s, %s, %s.",
				show(word), fromSelf, fromAccounts, fromMembers, fromMembersAccounts)
		}
		if !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	return out, nil
}

// checkForeign refuses the parameters of a type that is not the destination's:
// whoever sends both means something else than they will get.
func checkForeign(p CreateParams) error {
	for _, part := range []struct {
		typ   string
		given bool
	}{
		{TypeWebhookEndpoint, p.WebhookEndpoint != nil},
		{TypeAmazonEventBridge, p.AmazonEventBridge != nil},
		{TypeAzureEventGrid, p.AzureEventGrid != nil},
	} {
		if part.given && part.typ != p.Type {
			return foreign(part.typ, p.Type)
		}
	}
	return nil
}

func foreign(param, typ string) error {
	return fault.Invalidf(param, "These parameters belong to the type %s, but the destination has the type %s. Leave them out.", param, typ)
}

// checkTarget checks the parameters of the destination's own type.
func (s *Service) checkTarget(p CreateParams, d *Destination) error {
	switch p.Type {
	case TypeAmazonEventBridge:
		if err := checkAmazon(p.AmazonEventBridge); err != nil {
			return err
		}
		if s.sources == nil {
			return notAvailable(p.Type)
		}
		d.EventBridge = &EventBridge{AccountID: p.AmazonEventBridge.AWSAccountID, Region: p.AmazonEventBridge.AWSRegion}
		return checkEventBridgeEvents(d)
	case TypeAzureEventGrid:
		if err := checkAzure(p.AzureEventGrid); err != nil {
			return err
		}
		return notAvailable(p.Type)
	}
	if p.WebhookEndpoint == nil {
		return fault.Invalidf("webhook_endpoint", "The endpoint is missing. Send webhook_endpoint with a url.")
	}
	d.URL = p.WebhookEndpoint.URL
	return s.checkURL(d.URL, d.Live)
}

func notAvailable(typ string) error {
	f := fault.New(fault.Invalid, "destination_type_not_available",
		"This version of Waybill cannot deliver to %s. The types it supports are: %s, %s.", typ, TypeWebhookEndpoint, TypeAmazonEventBridge)
	f.Param = "type"
	return f
}

func (s *Service) checkURL(raw string, live bool) error {
	const param = "webhook_endpoint.url"
	if raw == "" {
		return fault.Invalidf(param, "The URL is missing. Send where to deliver, like https://example.com/webhooks.")
	}
	u, err := s.guard.CheckURL(raw)
	if err != nil {
		return fault.Invalidf(param, "%v.", err)
	}
	if live && u.Scheme != "https" {
		return fault.Invalidf(param, "In live mode the URL must start with https://. Plain http:// is possible in test mode only.")
	}
	return nil
}

func checkAmazon(p *AmazonEventBridge) error {
	switch {
	case p == nil:
		return fault.Invalidf("amazon_eventbridge", "The parameters are missing. Send amazon_eventbridge with aws_account_id and aws_region.")
	case !awsAccount.MatchString(p.AWSAccountID):
		return fault.Invalidf("amazon_eventbridge.aws_account_id", "An AWS account id has 12 digits. Send it without dashes or spaces.")
	case !awsRegion.MatchString(p.AWSRegion):
		return fault.Invalidf("amazon_eventbridge.aws_region", "%s is not an AWS region. Send one like us-east-1.", show(p.AWSRegion))
	}
	return nil
}

func checkAzure(p *AzureEventGrid) error {
	switch {
	case p == nil:
		return fault.Invalidf("azure_event_grid", "The parameters are missing. Send azure_event_grid with azure_region, azure_resource_group_name and azure_subscription_id.")
	case !azureRegion.MatchString(p.AzureRegion):
		return fault.Invalidf("azure_event_grid.azure_region", "%s is not an Azure region. Send its short name, like westus2.", show(p.AzureRegion))
	case !azureGroup.MatchString(p.AzureResourceGroupName):
		return fault.Invalidf("azure_event_grid.azure_resource_group_name", "%s is not the name of a resource group. Send up to 90 letters, digits and _ - . ( ), not ending in a full stop.", show(p.AzureResourceGroupName))
	case !azureUUIDForm.MatchString(p.AzureSubscriptionID):
		return fault.Invalidf("azure_event_grid.azure_subscription_id", "%s is not a subscription id. Send a UUID like 6fa459ea-ee8a-3ca4-894e-db77e160355e.", show(p.AzureSubscriptionID))
	}
	return nil
}

// show quotes what a client sent for an error about it, cut to what a person
// needs to recognise it.
func show(text string) string {
	const most = 64
	text = strings.ToValidUTF8(text, "\uFFFD")
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most]) + "…"
	}
	return strconv.Quote(text)
}
