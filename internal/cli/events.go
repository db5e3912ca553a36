package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"
)

// maxPublish is the most that is read for one publish; the server takes less
// and says so.
const maxPublish = 64 << 20

// eventObject is what the tables show of an event of either kind.
type eventObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Type    string `json:"type"`
	Created when   `json:"created"`
	Pending *int   `json:"pending_webhooks"`
	Data    struct {
		Object objectRef `json:"object"`
	} `json:"data"`
	RelatedObject *objectRef `json:"related_object"`
}

type objectRef struct {
	ID string `json:"id"`
}

func (e *eventObject) kind() string {
	if e.Object == "event" {
		return "snapshot"
	}
	return "thin"
}

func (e *eventObject) about() string {
	if e.RelatedObject != nil {
		return orDash(e.RelatedObject.ID)
	}
	return orDash(e.Data.Object.ID)
}

func (c *cli) eventTable(events []eventObject, none string, notes ...string) error {
	rows := make([][]string, len(events))
	for i := range events {
		e := &events[i]
		rows[i] = []string{e.ID, e.kind(), e.Type, e.about(), c.ago(e.Created)}
	}
	return c.table([]string{"ID", "KIND", "TYPE", "ABOUT", "CREATED"}, rows, none, notes...)
}

// printEvents prints what publishing answers: an event, or {"data": […]}.
func (c *cli) printEvents(raw []byte, notes ...string) error {
	if c.json {
		return c.printRaw(raw)
	}
	var one eventObject
	var batch struct {
		Data []eventObject `json:"data"`
	}
	// Only an event is tagged, and only a batch has a list in data.
	if err := json.Unmarshal(raw, &one); err == nil && one.Object != "" {
		batch.Data = []eventObject{one}
	} else if err := json.Unmarshal(raw, &batch); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return c.eventTable(batch.Data, "No events.", notes...)
}

func (c *cli) eventsCommand() *cobra.Command {
	return group("events", "Publish, find and resend events",
		c.eventsList(), c.eventsGet(), c.eventsPublish(), c.eventsResend(), c.eventsTail())
}

func (c *cli) eventsList() *cobra.Command {
	var types []string
	var limit int
	var thin bool
	cmd := &cobra.Command{
		Use: "list", Short: "List events, newest first",
		Long: `List events, newest first: the snapshot events, or with --thin the thin ones.`,
		Args: args(),
	}
	cmd.Flags().StringSliceVar(&types, "type", nil, "only events of this type; snapshot events also by customer.* (repeatable)")
	cmd.Flags().IntVar(&limit, "limit", 10, "how many at most, up to 100")
	cmd.Flags().BoolVar(&thin, "thin", false, "list thin events")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		path := "/v1/events"
		if thin {
			path = "/v2/core/events"
		}
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		for _, t := range types {
			query.Add("types[]", t)
		}
		raw, err := client.get(cmd.Context(), path, query)
		if err != nil {
			return err
		}
		if c.json {
			return c.printRaw(raw)
		}
		var page struct {
			Data    []eventObject `json:"data"`
			HasMore bool          `json:"has_more"`
			Next    string        `json:"next_page_url"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		return c.eventTable(page.Data, "No events. Send one: waybill trigger payment_intent.succeeded", more(page.HasMore || page.Next != "")...)
	}
	return cmd
}

// more is the note below a list that goes on.
func more(there bool) []string {
	if there {
		return []string{"There are more; raise --limit (up to 100) or narrow the list."}
	}
	return nil
}

func (c *cli) eventsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get EVENT", Short: "Show an event of either kind, as JSON",
		Args: args("EVENT, the id of an event (evt_…),"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			// The id does not tell which kind it is.
			raw, err := client.get(cmd.Context(), pathID("/v1/events/", args[0], ""), nil)
			if isNotFound(err) {
				raw, err = client.get(cmd.Context(), pathID("/v2/core/events/", args[0], ""), nil)
			}
			if err != nil {
				return err
			}
			return c.printRaw(raw)
		},
	}
}

func (c *cli) eventsPublish() *cobra.Command {
	return &cobra.Command{
		Use:   "publish FILE|-",
		Short: "Publish one event, or {\"events\": […]}, from a JSON file",
		Long: `Publish one event, or up to 1,000 as {"events": […]}, all or nothing. FILE holds
JSON; - is standard input. An event with related_object is thin, else it is a
snapshot:

  {"type": "order.paid", "data": {"object": {"id": "ord_1", "object": "order"}}}
  {"type": "v1.order.paid", "related_object": {"id": "ord_1", "type": "order", "url": "/v1/orders/ord_1"}}`,
		Args: args("FILE, or - for standard input,"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			body, err := c.readInput(args[0])
			if err != nil {
				return err
			}
			raw, err := client.postJSON(cmd.Context(), "/v2/core/events", body)
			if err != nil {
				return err
			}
			return c.printEvents(raw)
		},
	}
}

func (c *cli) readInput(name string) ([]byte, error) {
	from := c.stdin
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // G304: the user names the file
		if err != nil {
			return nil, fmt.Errorf("open events: %w", err)
		}
		defer func() { _ = file.Close() }() // it was only read
		from = file
	}
	body, err := io.ReadAll(io.LimitReader(from, maxPublish))
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return body, nil
}

func (c *cli) eventsResend() *cobra.Command {
	var destination string
	cmd := &cobra.Command{
		Use: "resend EVENT --destination DESTINATION", Short: "Deliver an event once more",
		Long: `Deliver an event to a destination once more. The retries that are scheduled go
on beside it.`,
		Args: args("EVENT, the id of an event (evt_…),"),
	}
	cmd.Flags().StringVar(&destination, "destination", "", "destination to deliver it to (ed_…)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if destination == "" {
			return usagef("--destination is missing: name the ed_… that `waybill destinations list` shows")
		}
		client, err := c.client()
		if err != nil {
			return err
		}
		raw, err := client.postForm(cmd.Context(), pathID("/v1/events/", args[0], "/retry"), url.Values{"webhook_endpoint": {destination}})
		if err != nil {
			return err
		}
		return c.printEvents(raw, "See what came of it: waybill deliveries list --event "+args[0])
	}
	return cmd
}
