package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// stripeNode is where scripts/need-stripe-node puts it.
const stripeNode = "../../.tools/stripe-node-23.1.0"

// nodeDestination is an event destination as stripe-node has it.
type nodeDestination struct {
	ID, Object, Name, Description, Status, Type string
	EventPayload                                string            `json:"event_payload"`
	EnabledEvents                               []string          `json:"enabled_events"`
	Metadata                                    map[string]string `json:"metadata"`
	StatusDetails                               *struct {
		Disabled struct{ Reason string }
	} `json:"status_details"`
	WebhookEndpoint struct {
		SigningSecret *string `json:"signing_secret"`
		URL           *string
	} `json:"webhook_endpoint"`
	Created time.Time
}

// nodeEndpoint is a webhook endpoint of API v1.
type nodeEndpoint struct {
	ID, Object, Secret, Status, URL string
	Description                     *string
	APIVersion                      *string  `json:"api_version"`
	EnabledEvents                   []string `json:"enabled_events"`
	Metadata                        map[string]string
	Created                         int64
	Livemode                        *bool
	Deleted                         bool
}

// nodeEvent is a thin event or its notification.
type nodeEvent struct {
	ID, Object, Type string
	Data             map[string]any
	RelatedObject    struct{ ID, Type, URL string } `json:"related_object"`
}

// nodeError is an error of stripe-node's.
type nodeError struct {
	Class  string
	Status int
	Code   string
	Param  string
	Named  bool // has the id of the request
}

// nodeSaw is what testdata/stripe-node.mjs prints.
type nodeSaw struct {
	Created, Retrieved, Updated, Disabled, Enabled nodeDestination
	Destinations                                   struct{ Made, Listed []string }
	Deleted                                        []struct{ ID, Object string }
	Left                                           []string
	Ping                                           struct {
		Returned, Notified nodeEvent
		Fetched, Related   string
	}
	Endpoint struct {
		Created, Retrieved, Merged, Cleared, Disabled, Enabled, Deleted nodeEndpoint

		Destination          nodeDestination
		Made, Listed, Before []string
	}
	Snapshot struct {
		Published   string
		Constructed struct {
			ID, Object, Type string
			APIVersion       string `json:"api_version"`
			Data             struct{ Object struct{ Email string } }
		}
		Forged nodeError
		Resent []string
	}
	Snapshots struct {
		Retrieved                                                  struct{ Email string }
		Newest, All, Wildcard, Types, Since, Exactly, Later, After []string
	}
	Thin struct {
		Published, Notified, Retrieved string
		Fetched                        nodeEvent
		Related                        struct{ ID, Object, Email string }
		OfType, OfObject, Later        []string
	}
	Idempotency struct{ Repeated1, Repeated2 bool }
	Errors      map[string]nodeError
}

func TestStripeNode(t *testing.T) {
	t.Parallel()
	saw := runStripeNode(t)
	if saw == nil {
		return
	}

	made := saw.Created
	if secret, url := made.WebhookEndpoint.SigningSecret, made.WebhookEndpoint.URL; secret == nil || !strings.HasPrefix(*secret, "whsec_") ||
		url == nil || !strings.HasSuffix(*url, "/thin") || !strings.HasPrefix(made.ID, "ed_test_") || made.Object != "v2.core.event_destination" ||
		made.Name != "first" || made.Description != "a text" || made.Metadata["drop"] != "2" || made.Status != "enabled" ||
		made.EventPayload != "thin" || time.Since(made.Created) > time.Minute {
		t.Errorf("created %+v", made)
	}
	if got := saw.Retrieved; got.ID != made.ID || got.WebhookEndpoint.SigningSecret != nil || *got.WebhookEndpoint.URL != *made.WebhookEndpoint.URL {
		t.Errorf("retrieved %+v", got)
	}
	if got := saw.Updated; got.Name != "renamed" || got.Description != "" || fmt.Sprint(got.Metadata) != "map[keep:1 new:3]" || got.WebhookEndpoint.URL != nil {
		t.Errorf("updated %+v", got)
	}
	if got := saw.Disabled; got.Status != "disabled" || got.StatusDetails == nil || got.StatusDetails.Disabled.Reason != "user" {
		t.Errorf("disabled %+v", got)
	}
	if got := saw.Enabled; got.Status != "enabled" || got.StatusDetails != nil {
		t.Errorf("enabled %+v", got)
	}
	if got := saw.Destinations; !slices.Equal(got.Listed, got.Made) || len(got.Made) != 5 {
		t.Errorf("listed %v, want %v", got.Listed, got.Made)
	}
	for i, got := range saw.Deleted {
		if got.ID != saw.Destinations.Made[i] || got.Object != "v2.core.event_destination" {
			t.Errorf("deleted %+v", got)
		}
	}
	if !slices.Equal(saw.Left, []string{made.ID}) {
		t.Errorf("left are %v", saw.Left)
	}

	if got := saw.Ping; got.Returned.Type != "v2.core.event_destination.ping" || got.Returned.RelatedObject.ID != made.ID ||
		got.Notified.ID != got.Returned.ID || got.Fetched != got.Returned.ID || got.Related != made.ID {
		t.Errorf("ping %+v", got)
	}

	saw.judgeEndpoints(t)
	saw.judgeEvents(t)
	saw.judgeErrors(t)
}

func (saw *nodeSaw) judgeEndpoints(t *testing.T) {
	e := &saw.Endpoint
	made := e.Created
	if !strings.HasPrefix(made.ID, "we_") || made.Object != "webhook_endpoint" || !strings.HasPrefix(made.Secret, "whsec_") || made.Status != "enabled" ||
		!strings.HasSuffix(made.URL, "/snapshot") || *made.Description != "v1" || *made.APIVersion != "2026-03-25.dahlia" || *made.Livemode ||
		!slices.Equal(made.EnabledEvents, []string{"customer.created", "invoice.paid"}) || fmt.Sprint(made.Metadata) != "map[a:1 b:2]" ||
		time.Since(time.Unix(made.Created, 0)) > time.Minute {
		t.Errorf("created %+v", made)
	}
	made.Secret = ""
	if !reflect.DeepEqual(e.Retrieved, made) {
		t.Errorf("retrieved %+v, want %+v", e.Retrieved, made)
	}
	if got := e.Merged; fmt.Sprint(got.Metadata) != "map[b:2 c:3]" || *got.Description != "changed" || got.URL != made.URL {
		t.Errorf("metadata merged: %+v", got)
	}
	if got := e.Cleared; len(got.Metadata) != 0 || *got.Description != "changed" {
		t.Errorf("metadata cleared: %+v", got)
	}
	if e.Disabled.Status != "disabled" || e.Enabled.Status != "enabled" || !slices.Equal(e.Enabled.EnabledEvents, []string{"*"}) {
		t.Errorf("disabled %+v, enabled %+v", e.Disabled, e.Enabled)
	}
	if got := e.Destination; got.Description != "changed" || got.Type != "webhook_endpoint" || got.EventPayload != "snapshot" ||
		*got.WebhookEndpoint.URL != made.URL || !slices.Equal(got.EnabledEvents, []string{"*"}) {
		t.Errorf("in API v2 it is %+v", got)
	}
	if !slices.Equal(e.Listed, e.Made) || len(e.Made) != 3 || !slices.Equal(e.Before, e.Made[:2]) {
		t.Errorf("listed %v, before the first %v, want %v", e.Listed, e.Before, e.Made)
	}
	if got := e.Deleted; got.ID != e.Made[0] || !got.Deleted || got.Object != "webhook_endpoint" {
		t.Errorf("deleted %+v", got)
	}
}

func (saw *nodeSaw) judgeEvents(t *testing.T) {
	if got := saw.Snapshot; got.Constructed.ID != got.Published || got.Constructed.APIVersion != "2026-03-25.dahlia" ||
		got.Constructed.Data.Object.Email != "jenny@example.com" || !slices.Equal(got.Resent, []string{got.Published, got.Published}) ||
		got.Forged.Class != "StripeSignatureVerificationError" {
		t.Errorf("snapshot %+v", got)
	}
	s := &saw.Snapshots
	for name, got := range map[string]struct{ listed, want []string }{
		"all": {s.All, s.Newest}, "wildcard": {s.Wildcard, s.Newest[1:]}, "types": {s.Types, s.Newest[:1]}, "since": {s.Since, s.Newest},
		"exactly": {s.Exactly, s.Newest[1:]}, "later": {s.Later, nil}, "after": {s.After, s.Newest[1:]},
	} {
		if !slices.Equal(got.listed, got.want) {
			t.Errorf("snapshots, %s: %v, want %v", name, got.listed, got.want)
		}
	}
	if s.Retrieved.Email != "jenny@example.com" {
		t.Errorf("retrieved %+v", s.Retrieved)
	}
	thin, one := &saw.Thin, []string{saw.Thin.Published}
	if thin.Notified != thin.Published || thin.Fetched.ID != thin.Published || thin.Fetched.Data["some"] != "data" || thin.Retrieved != thin.Published ||
		thin.Related.ID != "cus_1" || thin.Related.Object != "customer" || thin.Related.Email != "jenny@example.com" ||
		!slices.Equal(thin.OfType, one) || !slices.Equal(thin.OfObject, one) || len(thin.Later) != 0 {
		t.Errorf("thin %+v", thin)
	}
}

func (saw *nodeSaw) judgeErrors(t *testing.T) {
	if !saw.Idempotency.Repeated1 || !saw.Idempotency.Repeated2 {
		t.Errorf("repeats made something new: %+v", saw.Idempotency)
	}
	want := map[string]nodeError{
		"idempotency2": {"StripeIdempotencyError", 409, "idempotency_error", "", true},
		"idempotency1": {"StripeIdempotencyError", 400, "", "", true},
		"stranger2":    {"StripeAuthenticationError", 401, "unauthorized", "", true},
		"stranger1":    {"StripeAuthenticationError", 401, "unauthorized", "", true},
		"missing2":     {"StripeInvalidRequestError", 404, "not_found", "", true},
		"missing1":     {"StripeInvalidRequestError", 404, "resource_missing", "", true},
		"event2":       {"StripeInvalidRequestError", 404, "not_found", "", true},
		"event1":       {"StripeInvalidRequestError", 404, "resource_missing", "", true},
		"invalid2":     {"StripeInvalidRequestError", 400, "invalid_fields", "", true},
		"invalid1":     {"StripeInvalidRequestError", 400, "", "url", true},
		"both":         {"StripeInvalidRequestError", 400, "", "type", true},
		"thinEndpoint": {"StripeInvalidRequestError", 404, "resource_missing", "", true},
	}
	for name, got := range saw.Errors {
		if got != want[name] {
			t.Errorf("%s: %+v, want %+v", name, got, want[name])
		}
	}
	if len(saw.Errors) != len(want) {
		t.Errorf("there are %d errors, want %d", len(saw.Errors), len(want))
	}
}

// runStripeNode runs the script against a server of its own. It returns nil
// where there is no stripe-node, which CI does not allow.
func runStripeNode(t *testing.T) *nodeSaw {
	t.Helper()
	s := newServer(t)
	folder, err := filepath.Abs(stripeNode)
	if err != nil {
		t.Fatal(err)
	}
	saw := new(nodeSaw)
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(folder)
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI needs stripe-node: scripts/need-stripe-node installs it")
		}
		t.Log("NOT TESTED: there is no Node with stripe-node; scripts/need-stripe-node installs it")
		return nil
	}
	run := exec.CommandContext(t.Context(), node, "testdata/stripe-node.mjs", folder, s.url, testKey) //nolint:gosec // Node, with arguments of this test
	var output, trouble bytes.Buffer
	run.Stdout, run.Stderr = &output, &trouble
	if err := run.Run(); err != nil {
		t.Fatalf("stripe-node: %v\n%s", err, &trouble)
	}
	if err := json.Unmarshal(output.Bytes(), saw); err != nil {
		t.Fatalf("%v: %s", err, &output)
	}
	return saw
}
