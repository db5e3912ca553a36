package destination_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
)

type params = destination.CreateParams

func many(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("type.number_%d", i)
	}
	return out
}

func manyKeys(n int) map[string]string {
	out := make(map[string]string, n)
	for i := range n {
		out[fmt.Sprint("key", i)] = "value"
	}
	return out
}

func amazon(p *params) {
	p.Type, p.WebhookEndpoint = destination.TypeAmazonEventBridge, nil
	p.AmazonEventBridge = &destination.AmazonEventBridge{AWSAccountID: "123456789012", AWSRegion: "us-east-1"}
}

func azure(p *params) {
	p.Type, p.WebhookEndpoint = destination.TypeAzureEventGrid, nil
	p.AzureEventGrid = &destination.AzureEventGrid{
		AzureRegion: "westus2", AzureResourceGroupName: "my-group", AzureSubscriptionID: "6fa459ea-ee8a-3ca4-894e-db77e160355e",
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, tc := range []struct {
		what   string
		change func(*params)
		param  string
		says   string // part of the message
	}{
		{"no name", func(p *params) { p.Name = "" }, "name", "missing"},
		{"blank name", func(p *params) { p.Name = " \n" }, "name", "missing"},
		{"long name", func(p *params) { p.Name = strings.Repeat("é", 257) }, "name", "257"},
		{"name not UTF-8", func(p *params) { p.Name = "a\xff" }, "name", "UTF-8"},
		{"no type", func(p *params) { p.Type = "" }, "type", "missing"},
		{"unknown type", func(p *params) { p.Type = "kafka" }, "type", `"kafka"`},
		{"no payload", func(p *params) { p.EventPayload = "" }, "event_payload", "missing"},
		{"unknown payload", func(p *params) { p.EventPayload = "fat" }, "event_payload", `"fat"`},
		{"long description", func(p *params) { p.Description = strings.Repeat("x", 5001) }, "description", "5000"},
		{"description not UTF-8", func(p *params) { p.Description = "\xc3" }, "description", "UTF-8"},

		{"no events", func(p *params) { p.EnabledEvents = nil }, "enabled_events", "empty"},
		{"too many events", func(p *params) { p.EnabledEvents = many(501) }, "enabled_events", `["*"]`},
		{"too many thin events", func(p *params) { thin(p); p.EnabledEvents = many(501) }, "enabled_events", "501"},
		{"empty event", func(p *params) { p.EnabledEvents = []string{"a.b", ""} }, "enabled_events[1]", "not an event type"},
		{"event with a space", func(p *params) { p.EnabledEvents = []string{"a b"} }, "enabled_events[0]", `"a b"`},
		{"event with a line end", func(p *params) { p.EnabledEvents = []string{"a.b\n"} }, "enabled_events[0]", `\n`},
		{"event with a quote", func(p *params) { p.EnabledEvents = []string{`a"b`} }, "enabled_events[0]", "not an event type"},
		{"event in another alphabet", func(p *params) { p.EnabledEvents = []string{"künde.neu"} }, "enabled_events[0]", "not an event type"},
		{"long event", func(p *params) { p.EnabledEvents = []string{strings.Repeat("a", 256)} }, "enabled_events[0]", "255"},
		{"event twice", func(p *params) { p.EnabledEvents = []string{"a.b", "c.d", "a.b"} }, "enabled_events[2]", "enabled_events[0]"},
		{"prefix wildcard", func(p *params) { p.EnabledEvents = []string{"customer.*"} }, "enabled_events[0]", `["*"]`},
		{"wildcard and more", func(p *params) { p.EnabledEvents = []string{"a.b", "*"} }, "enabled_events[1]", "alone"},
		{"wildcard twice", func(p *params) { p.EnabledEvents = []string{"*", "*"} }, "enabled_events[0]", "alone"},
		{"thin wildcard", func(p *params) { thin(p); p.EnabledEvents = []string{"*"} }, "enabled_events[0]", "Thin"},
		{"thin prefix wildcard", func(p *params) { thin(p); p.EnabledEvents = []string{"v1.*"} }, "enabled_events[0]", "Thin"},

		{"unknown origin", func(p *params) { p.EventsFrom = []string{"@self", "others"} }, "events_from[1]", `"others"`},
		{"too much metadata", func(p *params) { p.Metadata = manyKeys(51) }, "metadata", "51"},
		{"empty metadata key", func(p *params) { p.Metadata = map[string]string{"": "x"} }, "metadata", "empty"},
		{"long metadata key", func(p *params) { p.Metadata = map[string]string{strings.Repeat("ü", 41): "x"} }, "metadata", "41"},
		{"metadata key not UTF-8", func(p *params) { p.Metadata = map[string]string{"\xff": "x"} }, "metadata", "UTF-8"},
		{"long metadata value", func(p *params) { p.Metadata = map[string]string{"a": "x", "team": strings.Repeat("ü", 501)} }, "metadata.team", "501"},

		{"version of thin events", func(p *params) { thin(p); p.SnapshotAPIVersion = "2026-03-25.dahlia" }, "snapshot_api_version", "Thin"},
		{"version not a date", func(p *params) { p.SnapshotAPIVersion = "latest" }, "snapshot_api_version", `"latest"`},
		{"version with a quote", func(p *params) { p.SnapshotAPIVersion = `2026-03-25.a"` }, "snapshot_api_version", "not an API version"},
		{"version with a line end", func(p *params) { p.SnapshotAPIVersion = "2026-03-25\n" }, "snapshot_api_version", "not an API version"},

		{"no endpoint", func(p *params) { p.WebhookEndpoint = nil }, "webhook_endpoint", "missing"},
		{"no URL", func(p *params) { p.WebhookEndpoint.URL = "" }, "webhook_endpoint.url", "missing"},
		{"URL of another scheme", func(p *params) { p.WebhookEndpoint.URL = "ftp://example.com/" }, "webhook_endpoint.url", "https://"},
		{"relative URL", func(p *params) { p.WebhookEndpoint.URL = "/hook" }, "webhook_endpoint.url", "https://"},
		{"private URL", func(p *params) { p.WebhookEndpoint.URL = "https://10.0.0.1/" }, "webhook_endpoint.url", "--allow-network"},
		{"URL with a password", func(p *params) { p.WebhookEndpoint.URL = "https://me:hunter2@example.com/" }, "webhook_endpoint.url", "password"},

		{"negative retry", func(p *params) { p.RetrySchedule = []int64{60, -1} }, "retry_schedule", "too short"},
		{"late retry", func(p *params) { p.RetrySchedule = []int64{1 << 62} }, "retry_schedule", "too long"},
		{"many retries", func(p *params) { p.RetrySchedule = slices.Repeat([]int64{60}, 51) }, "retry_schedule", "51"},

		{"webhook with EventBridge", func(p *params) { p.AmazonEventBridge = &destination.AmazonEventBridge{} }, "amazon_eventbridge", "webhook_endpoint"},
		{"webhook with Event Grid", func(p *params) { p.AzureEventGrid = &destination.AzureEventGrid{} }, "azure_event_grid", "webhook_endpoint"},
		{"EventBridge with webhook", func(p *params) { amazon(p); p.WebhookEndpoint = &destination.WebhookEndpoint{} }, "webhook_endpoint", "amazon_eventbridge"},
		{"EventBridge without parameters", func(p *params) { amazon(p); p.AmazonEventBridge = nil }, "amazon_eventbridge", "missing"},
		{"AWS account of 11 digits", func(p *params) { amazon(p); p.AmazonEventBridge.AWSAccountID = "12345678901" }, "amazon_eventbridge.aws_account_id", "12 digits"},
		{"AWS account with dashes", func(p *params) { amazon(p); p.AmazonEventBridge.AWSAccountID = "1234-5678-90" }, "amazon_eventbridge.aws_account_id", "12 digits"},
		{"not an AWS region", func(p *params) { amazon(p); p.AmazonEventBridge.AWSRegion = "Virginia" }, "amazon_eventbridge.aws_region", "us-east-1"},
		{"Event Grid without parameters", func(p *params) { azure(p); p.AzureEventGrid = nil }, "azure_event_grid", "missing"},
		{"not an Azure region", func(p *params) { azure(p); p.AzureEventGrid.AzureRegion = "West US 2" }, "azure_event_grid.azure_region", "westus2"},
		{"no resource group", func(p *params) { azure(p); p.AzureEventGrid.AzureResourceGroupName = "" }, "azure_event_grid.azure_resource_group_name", "90"},
		{"resource group ends in a stop", func(p *params) { azure(p); p.AzureEventGrid.AzureResourceGroupName = "a." }, "azure_event_grid.azure_resource_group_name", "90"},
		{"subscription not a UUID", func(p *params) { azure(p); p.AzureEventGrid.AzureSubscriptionID = "1" }, "azure_event_grid.azure_subscription_id", "UUID"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			d, err := f.Create(t.Context(), f.test, webhook(tc.change))
			got := mustFault(t, err, fault.Invalid, "invalid_fields", tc.param)
			if !strings.Contains(got, tc.says) {
				t.Errorf("message %q does not say %q", got, tc.says)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("message %q repeats a password", got)
			}
			if d != nil {
				t.Errorf("Create = %+v beside the error", d)
			}
		})
	}
	t.Cleanup(func() {
		if n := f.engine.refreshes(); n != 0 {
			t.Errorf("refused requests refreshed the engine %d times", n)
		}
	})
}

func TestCreateAcceptsTheLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for what, change := range map[string]func(*params){
		"name":          func(p *params) { p.Name = strings.Repeat("é", 256) },
		"description":   func(p *params) { p.Description = strings.Repeat("é", 5000) },
		"events":        func(p *params) { p.EnabledEvents = many(500) },
		"event":         func(p *params) { p.EnabledEvents = []string{strings.Repeat("a", 255)} },
		"brackets":      func(p *params) { p.EnabledEvents = []string{"v2.core.account[configuration.customer].updated"} },
		"star":          func(p *params) { p.EnabledEvents = []string{"*"} },
		"metadata":      func(p *params) { p.Metadata = manyKeys(50) },
		"metadata size": func(p *params) { p.Metadata = map[string]string{strings.Repeat("ü", 40): strings.Repeat("ü", 500)} },
		"version":       func(p *params) { p.SnapshotAPIVersion = "2026-03-25.dahlia" },
		"plain version": func(p *params) { p.SnapshotAPIVersion = "2019-03-14" },
		"http in test":  func(p *params) { p.WebhookEndpoint.URL = "http://example.com/hook" },
		"retries":       func(p *params) { p.RetrySchedule = slices.Repeat([]int64{1}, 50) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := webhook(change)
			d, err := f.Create(t.Context(), f.test, p)
			if err != nil {
				t.Fatal(err)
			}
			d = f.retrieve(f.test, d.ID)
			if d.Name != p.Name || d.Description != p.Description || !slices.Equal(d.EnabledEvents, p.EnabledEvents) ||
				!maps.Equal(d.Metadata, p.Metadata) || d.SnapshotAPIVersion != p.SnapshotAPIVersion ||
				d.URL != p.WebhookEndpoint.URL || !slices.Equal(d.RetrySchedule, p.RetrySchedule) {
				t.Errorf("stored %+v for %+v", d, p)
			}
		})
	}
}

func TestLiveModeNeedsHTTPS(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.Create(t.Context(), f.live, webhook(func(p *params) { p.WebhookEndpoint.URL = "http://example.com/" }))
	mustFault(t, err, fault.Invalid, "invalid_fields", "webhook_endpoint.url")
	d := f.create(f.live)
	_, err = f.Update(t.Context(), f.live, d.ID, destination.UpdateParams{URL: ptr("http://example.com/")})
	mustFault(t, err, fault.Invalid, "invalid_fields", "webhook_endpoint.url")
}

func TestCloudTypesAreNotAvailable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, change := range []func(*params){amazon, azure} {
		_, err := f.Create(t.Context(), f.test, webhook(change))
		got := mustFault(t, err, fault.Invalid, "destination_type_not_available", "type")
		if !strings.Contains(got, "webhook_endpoint") {
			t.Errorf("message %q does not say what is supported", got)
		}
	}
}

func TestEventsFrom(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ given, want []string }{
		{nil, []string{"@self"}},
		{[]string{}, []string{"@self"}},
		{[]string{"self"}, []string{"@self"}},
		{[]string{"other_accounts"}, []string{"@accounts"}},
		{[]string{"self", "@self", "other_accounts"}, []string{"@self", "@accounts"}},
		{[]string{"@organization_members/@accounts", "@organization_members"}, []string{"@organization_members/@accounts", "@organization_members"}},
	} {
		t.Run(strings.Join(tc.given, ","), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			d := f.create(f.test, func(p *params) { p.EventsFrom = tc.given })
			if !slices.Equal(d.EventsFrom, tc.want) {
				t.Errorf("events_from %q became %q, want %q", tc.given, d.EventsFrom, tc.want)
			}
			var from event.Origins
			for _, word := range tc.want {
				from |= map[string]event.Origins{
					"@self": event.FromSelf, "@accounts": event.FromAccounts,
					"@organization_members": event.FromMembers, "@organization_members/@accounts": event.FromMembersAccounts,
				}[word]
			}
			if got := f.load().From; got != from {
				t.Errorf("a destination for %q selects from %b, want %b", tc.want, got, from)
			}
		})
	}
}

var typeForm = regexp.MustCompile(`\A(\*|[a-zA-Z0-9_.\[\]-]{1,255})\z`)

func FuzzEnabledEvents(f *testing.F) {
	for _, seed := range []string{"", "*", "a.b", "a.b\na.b", "a.b\n*", "customer.*", "v2.core.account[defaults].updated", "a\x00", "ä", "\xff"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, list string, snapshot bool) {
		types, payload := strings.Split(list, "\n"), event.Thin
		if snapshot {
			payload = event.Snapshot
		}
		err := destination.CheckEvents(payload, types)
		ok := len(types) <= 500
		seen := map[string]bool{}
		for _, typ := range types {
			ok = ok && typeForm.MatchString(typ) && !seen[typ] && (typ != "*" || snapshot && len(types) == 1)
			seen[typ] = true
		}
		if (err == nil) != ok {
			t.Fatalf("%s %q: error %v, but acceptable is %t", payload, types, err, ok)
		}
		checkMessage(t, err)
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add("a", "x", "b", "", true)
	f.Add("a", "x", "a", "y", false)
	f.Add("", "x", strings.Repeat("k", 41), "\xff", false)
	f.Fuzz(func(t *testing.T, key, value, change, to string, remove bool) {
		have, changes := map[string]string{key: value}, map[string]*string{change: &to}
		if remove {
			changes[change] = nil
		}
		merged := destination.MergeMetadata(have, changes)
		if len(have) != 1 || have[key] != value {
			t.Fatalf("merging changed what it was given: %q", have)
		}
		want := map[string]string{key: value, change: to}
		if remove {
			delete(want, change)
		}
		if !maps.Equal(merged, want) {
			t.Fatalf("merged %q, want %q", merged, want)
		}
		ok := true
		for k, v := range want {
			ok = ok && k != "" && utf8.ValidString(k+v) && utf8.ValidString(k) && utf8.RuneCountInString(k) <= 40 && utf8.RuneCountInString(v) <= 500
		}
		err := destination.CheckMetadata(merged)
		if (err == nil) != ok {
			t.Fatalf("%q: error %v, but acceptable is %t", merged, err, ok)
		}
		checkMessage(t, err)
	})
}

// checkMessage checks that an error about anything at all can be shown.
func checkMessage(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if f := fault.As(err); f == nil || !utf8.ValidString(f.Error()) || len(f.Message) > 1000 {
		t.Fatalf("error %q cannot be shown", err)
	}
}
