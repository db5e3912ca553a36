package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type deliveryObject struct {
	ID          string `json:"id"`
	Event       string `json:"event"`
	EventType   string `json:"event_type"`
	Destination string `json:"event_destination"`
	Status      string `json:"status"`
	Reason      string `json:"reason"`
	Created     when   `json:"created"`
	Next        when   `json:"next_attempt_at"`
	Attempts    int    `json:"attempt_count"`
	Last        *struct {
		StatusCode int    `json:"status_code"`
		Class      string `json:"error_class"`
		At         when   `json:"at"`
	} `json:"last_attempt"`
}

func (d *deliveryObject) status() string {
	if d.Reason != "" {
		return d.Status + " (" + d.Reason + ")"
	}
	return d.Status
}

func (d *deliveryObject) last() string {
	if d.Last == nil {
		return "-"
	}
	return outcome(d.Last.StatusCode, d.Last.Class)
}

// outcome words an attempt: its status, and why it failed where the status does
// not say so.
func outcome(status int, class string) string {
	switch {
	case status == 0:
		return orDash(class)
	case class == "" || class == "http_status":
		return strconv.Itoa(status)
	}
	return fmt.Sprintf("%d %s", status, class)
}

type attemptObject struct {
	Run        int     `json:"run"`
	Attempt    int     `json:"attempt"`
	Outcome    string  `json:"outcome"`
	Class      string  `json:"error_class"`
	Message    string  `json:"message"`
	StatusCode int     `json:"status_code"`
	Started    when    `json:"started_at"`
	Duration   float64 `json:"duration_ms"`
	Next       when    `json:"next_attempt_at"`
	Body       string  `json:"response_body"`
}

func (a *attemptObject) why() string {
	const most = 100
	text := a.Message
	if text == "" {
		text = strings.TrimSpace(a.Body)
	}
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return orDash(text)
}

func (c *cli) deliveriesCommand() *cobra.Command {
	return group("deliveries", "See what was delivered, and what was not and why", c.deliveriesList(), c.deliveriesGet())
}

func (c *cli) deliveriesList() *cobra.Command {
	var destination, event, status string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List deliveries, newest first", Args: args(),
		Example: `  waybill deliveries list --status failed
  waybill deliveries list --event evt_…`,
	}
	cmd.Flags().StringVar(&destination, "destination", "", "only deliveries to this destination (ed_…)")
	cmd.Flags().StringVar(&event, "event", "", "only deliveries of this event (evt_…)")
	cmd.Flags().StringVar(&status, "status", "", "only those pending, delivered, failed or discarded")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most, up to 100")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		for name, value := range map[string]string{"destination": destination, "event": event, "status": status} {
			if value != "" {
				query.Set(name, value)
			}
		}
		raw, err := client.get(cmd.Context(), "/v2/core/deliveries", query)
		if err != nil {
			return err
		}
		if c.json {
			return c.printRaw(raw)
		}
		var page struct {
			Data []deliveryObject `json:"data"`
			Next string           `json:"next_page_url"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		rows := make([][]string, len(page.Data))
		for i := range page.Data {
			d := &page.Data[i]
			rows[i] = []string{
				d.ID, d.status(), d.EventType, orDash(d.Destination),
				strconv.Itoa(d.Attempts), d.last(), c.ago(d.Next), c.ago(d.Created),
			}
		}
		return c.table([]string{"ID", "STATUS", "EVENT TYPE", "DESTINATION", "TRIES", "LAST", "NEXT TRY", "CREATED"}, rows,
			"No deliveries.", more(page.Next != "")...)
	}
	return cmd
}

func (c *cli) deliveriesGet() *cobra.Command {
	return &cobra.Command{
		Use: "get DELIVERY", Short: "Show a delivery and its attempts",
		Long: `Show a delivery and its attempts. Run 0 is the scheduled one, each resend is a
run of its own. With --json, the attempts are a field of the delivery.`,
		Args: args("DELIVERY, the id of a delivery (dlv_…),"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			raw, err := client.get(cmd.Context(), pathID("/v2/core/deliveries/", args[0], ""), nil)
			if err != nil {
				return err
			}
			attempts, err := client.get(cmd.Context(), pathID("/v2/core/deliveries/", args[0], "/attempts"), nil)
			if err != nil {
				return err
			}
			return c.printDelivery(raw, attempts)
		},
	}
}

func (c *cli) printDelivery(raw, rawAttempts []byte) error {
	var page struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(rawAttempts, &page); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if c.json {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		fields["attempts"] = page.Data
		return c.printJSON(fields)
	}
	var d deliveryObject
	var attempts []attemptObject
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if err := json.Unmarshal(page.Data, &attempts); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	next := ""
	if !d.Next.IsZero() {
		next = c.ago(d.Next)
	}
	err := c.fields([][2]string{
		{"Delivery", d.ID},
		{"Event", d.Event + " (" + d.EventType + ")"},
		{"Destination", d.Destination},
		{"Status", d.status()},
		{"Created", c.ago(d.Created)},
		{"Next try", next},
	}, "")
	if err != nil {
		return err
	}
	rows := make([][]string, len(attempts))
	for i := range attempts {
		a := &attempts[i]
		took := time.Duration(a.Duration * float64(time.Millisecond))
		rows[i] = []string{
			strconv.Itoa(a.Run), strconv.Itoa(a.Attempt), a.Outcome, outcome(a.StatusCode, a.Class),
			c.ago(a.Started), took.Round(100 * time.Microsecond).String(), a.why(),
		}
	}
	return c.table([]string{"RUN", "TRY", "OUTCOME", "ANSWER", "STARTED", "TOOK", "WHY"}, rows, "No attempts.")
}
