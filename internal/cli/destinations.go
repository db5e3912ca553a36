package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const destinationsPath = "/v2/core/event_destinations"

type destinationObject struct {
	ID            string   `json:"id"`
	Name          string   `json:"name"`
	Description   string   `json:"description"`
	Type          string   `json:"type"`
	Payload       string   `json:"event_payload"`
	EnabledEvents []string `json:"enabled_events"`
	APIVersion    string   `json:"snapshot_api_version"`
	Status        string   `json:"status"`
	Created       when     `json:"created"`
	StatusDetails *struct {
		Disabled *struct {
			Reason string `json:"reason"`
		} `json:"disabled"`
	} `json:"status_details"`
	Amazon *struct {
		ARN    string `json:"aws_event_source_arn"`
		Status string `json:"aws_event_source_status"`
	} `json:"amazon_eventbridge"`
	Webhook *struct {
		URL    string `json:"url"`
		Secret string `json:"signing_secret"`
	} `json:"webhook_endpoint"`
	Waybill *struct {
		SecretsEnd   when `json:"previous_secrets_end"`
		FailingSince when `json:"failing_since"`
		DisablesAt   when `json:"disables_at"`
	} `json:"waybill"`
}

func (d *destinationObject) status() string {
	if d.StatusDetails != nil && d.StatusDetails.Disabled != nil && d.StatusDetails.Disabled.Reason != "" {
		return d.Status + " (" + d.StatusDetails.Disabled.Reason + ")"
	}
	return d.Status
}

func (d *destinationObject) url() string {
	if d.Amazon != nil {
		return d.Amazon.ARN + " (" + d.Amazon.Status + ")"
	}
	if d.Webhook == nil {
		return ""
	}
	return d.Webhook.URL
}

func (d *destinationObject) secret() string {
	if d.Webhook == nil {
		return ""
	}
	return d.Webhook.Secret
}

func (c *cli) printDestination(raw []byte) error {
	if c.json {
		return c.printRaw(raw)
	}
	var d destinationObject
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	var notes []string
	if d.secret() != "" {
		notes = append(notes, "Keep the signing secret now: it is not shown again.")
	}
	fields := [][2]string{
		{"Destination", d.ID},
		{"Name", d.Name},
		{"Description", d.Description},
		{"Status", d.status()},
		{"Sends to", d.url()},
		{"Payload", d.Payload},
		{"Events", strings.Join(d.EnabledEvents, ", ")},
		{"API version", d.APIVersion},
		{"Created", c.ago(d.Created)},
		{"Signing secret", d.secret()},
	}
	if w := d.Waybill; w != nil {
		for _, at := range []struct {
			name string
			when when
		}{{"Old secrets end", w.SecretsEnd}, {"Failing since", w.FailingSince}, {"Disabled unless it answers", w.DisablesAt}} {
			if !at.when.IsZero() {
				fields = append(fields, [2]string{at.name, c.ago(at.when)})
			}
		}
	}
	return c.fields(fields, notes...)
}

var includeURL = url.Values{"include[0]": {"webhook_endpoint.url"}}

func (c *cli) destinationsCommand() *cobra.Command {
	return group("destinations", "Manage where events go",
		c.destinationsList(), c.destinationsCreate(), c.destinationsGet(),
		c.destinationsSwitch("disable", "Stop deliveries to a destination", "Its events are recorded as discarded while it is disabled."),
		c.destinationsSwitch("enable", "Resume deliveries to a destination", ""),
		c.destinationsDelete(), c.destinationsPing(), c.destinationsRollSecret())
}

func (c *cli) destinationsList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List destinations, newest first", Args: args()}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most, up to 100")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		raw, err := client.get(cmd.Context(), destinationsPath, url.Values{
			"limit": {strconv.Itoa(limit)}, "include[0]": {"webhook_endpoint.url"},
		})
		if err != nil {
			return err
		}
		if c.json {
			return c.printRaw(raw)
		}
		var page struct {
			Data []destinationObject `json:"data"`
			Next string              `json:"next_page_url"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		rows := make([][]string, len(page.Data))
		for i := range page.Data {
			d := &page.Data[i]
			rows[i] = []string{d.ID, d.Name, d.status(), d.Payload, few(d.EnabledEvents), orDash(d.url()), c.ago(d.Created)}
		}
		return c.table([]string{"ID", "NAME", "STATUS", "PAYLOAD", "EVENTS", "URL", "CREATED"}, rows,
			"No destinations. Make one: waybill destinations create --url https://example.com/hooks --events '*'", more(page.Next != "")...)
	}
	return cmd
}

// few shortens a list of event types to what a table has room for.
func few(types []string) string {
	const most = 2
	if len(types) <= most {
		return strings.Join(types, ",")
	}
	return fmt.Sprintf("%s,… (%d)", strings.Join(types[:most], ","), len(types))
}

func (c *cli) destinationsCreate() *cobra.Command {
	var target, payload, name, description, version, awsAccount, awsRegion string
	var events []string
	cmd := &cobra.Command{
		Use: "create (--url URL | --aws-account-id ID) --events TYPES", Short: "Add a destination",
		Long: `Add a webhook destination, whose signing secret is printed once, or with
--aws-account-id an Amazon EventBridge destination: a partner event source for
the account of this installation that has that AWS account id.

Snapshot destinations take '*' for all events; thin ones list theirs.`,
		Example: `  waybill destinations create --url https://example.com/hooks --events '*'
  waybill destinations create --url https://example.com/thin --payload thin \
      --events v1.customer.created,v2.core.account.updated`,
		Args: args(),
	}
	cmd.Flags().StringVar(&target, "url", "", "URL that events are sent to")
	cmd.Flags().StringVar(&awsAccount, "aws-account-id", "", "12-digit id of the account whose event bus gets the events")
	cmd.Flags().StringVar(&awsRegion, "aws-region", defaultRegion, "region of that event bus")
	cmd.Flags().StringSliceVar(&events, "events", nil, "event types, separated by commas")
	cmd.Flags().StringVar(&payload, "payload", "snapshot", "snapshot or thin")
	cmd.Flags().StringVar(&name, "name", "", "name (default: the URL's host)")
	cmd.Flags().StringVar(&description, "description", "", "description")
	cmd.Flags().StringVar(&version, "api-version", "", "API version that snapshots are labelled with")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case target != "" && awsAccount != "":
			return usagef("--url and --aws-account-id are two kinds of destination: give one of them")
		case target == "" && awsAccount == "":
			return usagef("--url is missing: say where the events go, such as --url https://example.com/hooks")
		case len(events) == 0:
			return usagef("--events is missing: list event types, such as --events payment_intent.succeeded,invoice.paid, or '*' for all")
		}
		client, err := c.client()
		if err != nil {
			return err
		}
		raw, err := client.createDestination(cmd.Context(), newDestination{
			name: name, url: target, awsAccount: awsAccount, awsRegion: awsRegion, payload: payload, events: events, description: description, version: version,
		})
		if err != nil {
			return err
		}
		return c.printDestination(raw)
	}
	return cmd
}

type newDestination struct {
	name, url, payload, description, version string
	awsAccount, awsRegion                    string // instead of url
	events                                   []string
}

func (c *client) createDestination(ctx context.Context, d newDestination) ([]byte, error) {
	if d.name == "" {
		d.name = d.url
		if u, err := url.Parse(d.url); err == nil && u.Host != "" {
			d.name = u.Host
		}
	}
	params := map[string]any{
		"name": d.name, "type": "webhook_endpoint", "event_payload": d.payload, "enabled_events": d.events,
		"webhook_endpoint": map[string]string{"url": d.url},
		"include":          []string{"webhook_endpoint.signing_secret", "webhook_endpoint.url"},
	}
	if d.awsAccount != "" {
		if d.name == "" {
			params["name"] = "EventBridge " + d.awsAccount
		}
		params["type"] = "amazon_eventbridge"
		params["amazon_eventbridge"] = map[string]string{"aws_account_id": d.awsAccount, "aws_region": d.awsRegion}
		delete(params, "webhook_endpoint")
		delete(params, "include")
	}
	if d.description != "" {
		params["description"] = d.description
	}
	if d.version != "" {
		params["snapshot_api_version"] = d.version
	}
	body, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("encode destination: %w", err)
	}
	return c.postJSON(ctx, destinationsPath, body)
}

const needsDestination = "DESTINATION, the id of a destination (ed_…),"

func (c *cli) destinationsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get DESTINATION", Short: "Show a destination", Args: args(needsDestination),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			raw, err := client.get(cmd.Context(), pathID(destinationsPath+"/", args[0], ""), includeURL)
			if err != nil {
				return err
			}
			return c.printDestination(raw)
		},
	}
}

func (c *cli) destinationsSwitch(verb, short, long string) *cobra.Command {
	if long != "" {
		long = short + ". " + long
	}
	return &cobra.Command{
		Use: verb + " DESTINATION", Short: short, Long: long, Args: args(needsDestination),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			raw, err := client.postJSON(cmd.Context(), pathID(destinationsPath+"/", args[0], "/"+verb), nil)
			if err != nil {
				return err
			}
			return c.printDestination(raw)
		},
	}
}

func (c *cli) destinationsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete DESTINATION", Short: "Delete a destination and discard what waits for it", Args: args(needsDestination),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			raw, err := client.do(cmd.Context(), http.MethodDelete, pathID(destinationsPath+"/", args[0], ""), "", nil)
			if err != nil {
				return err
			}
			if c.json {
				return c.printRaw(raw)
			}
			fmt.Fprintf(c.stdout, "Deleted %s\n", args[0])
			return nil
		},
	}
}

func (c *cli) destinationsPing() *cobra.Command {
	return &cobra.Command{
		Use: "ping DESTINATION", Short: "Send a test event to a destination", Args: args(needsDestination),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			raw, err := client.postJSON(cmd.Context(), pathID(destinationsPath+"/", args[0], "/ping"), nil)
			if err != nil {
				return err
			}
			return c.printEvents(raw, "See what came of it: waybill deliveries list --destination "+args[0])
		},
	}
}

func (c *cli) destinationsRollSecret() *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "roll-secret DESTINATION", Short: "Replace a destination's signing secret",
		Long: `Replace the signing secret of a webhook destination. The new one is printed
once. The old one goes on signing beside it for the time of the overlap, at most
24h; each request then carries a signature by both.`,
		Example: `  waybill destinations roll-secret ed_test_… --overlap 24h`,
		Args:    args(needsDestination),
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 0, "how long the old secret goes on signing, up to 24h; 0 ends it at once")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("overlap") {
			return usagef("--overlap is missing: say how long the old secret goes on signing, such as --overlap 24h, or 0 to end it at once")
		}
		client, err := c.client()
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]any{
			"expires_after": int64(overlap / time.Second),
			"include":       []string{"webhook_endpoint.signing_secret", "webhook_endpoint.url"},
		})
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		raw, err := client.postJSON(cmd.Context(), pathID(destinationsPath+"/", args[0], "/roll_secret"), body)
		if err != nil {
			return err
		}
		return c.printDestination(raw)
	}
	return cmd
}
