package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type replayObject struct {
	ID          string  `json:"id"`
	Destination string  `json:"event_destination"`
	Status      string  `json:"status"`
	Reason      string  `json:"status_reason"`
	Progress    float64 `json:"progress"`
	Created     when    `json:"created"`
	Counts      struct {
		Selected int64 `json:"selected"`
		Sent     int64 `json:"sent"`
		Skipped  int64 `json:"skipped"`
	} `json:"counts"`
}

func (r *replayObject) status() string {
	if r.Reason != "" {
		return r.Status + " (" + r.Reason + ")"
	}
	return r.Status
}

func (r *replayObject) percent() string { return strconv.Itoa(int(r.Progress*100)) + " %" }

// moves tells whether it will go on by itself.
func (r *replayObject) moves() bool { return r.Status == "queued" || r.Status == "running" }

func (c *cli) replayCommand() *cobra.Command {
	var from, to string
	var states, types []string
	var throttle int
	var wait bool
	cmd := &cobra.Command{
		Use: "replay DESTINATION", Short: "Send again what a destination did not get",
		Long: `Send again what a destination did not get in a range of time: what failed, and
what was discarded while it was disabled. --status chooses others. The range ends
now at the latest; what comes later is no part of the replay.

The server carries it out, in the order in which the events came, also across
restarts. See docs/replay.md.`,
		Example: `  waybill replay ed_… --from 2h --wait
  waybill replay ed_… --from 2026-01-31T12:00:00Z --to 2026-01-31T14:00:00Z --status all
  waybill replay ed_… --types 'invoice.*' --throttle 50`,
		Args: args("DESTINATION, the id of a destination (ed_…),"),
	}
	cmd.Flags().StringVar(&from, "from", "", "events from here on: a time (RFC 3339), or how long ago, such as 2h or 7d (default: as far as events are kept)")
	cmd.Flags().StringVar(&to, "to", "", "events up to here, written like --from (default: now)")
	cmd.Flags().StringSliceVar(&states, "status", nil, "deliveries that are failed, discarded, pending, delivered, undelivered (default: failed or discarded) or all")
	cmd.Flags().StringSliceVar(&types, "types", nil, "only these event types, such as invoice.paid or invoice.*")
	cmd.Flags().IntVar(&throttle, "throttle", 0, "at most that many deliveries a second (default: as fast as fits beside fresh ones)")
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until everything is on its way")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		body := map[string]any{}
		created := map[string]string{}
		for flag, text := range map[string]string{"from": from, "to": to} {
			if text == "" {
				continue
			}
			at, err := c.moment(text)
			if err != nil {
				return usagef("--%s: %w", flag, err)
			}
			created[map[string]string{"from": "gte", "to": "lte"}[flag]] = at.UTC().Format(time.RFC3339Nano)
		}
		if len(created) > 0 {
			body["created"] = created
		}
		if len(states) > 0 {
			body["delivery_status"] = states
		}
		if len(types) > 0 {
			body["types"] = types
		}
		if cmd.Flags().Changed("throttle") {
			body["throttle"] = throttle
		}
		request, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		raw, err := client.postJSON(cmd.Context(), pathID(destinationsPath+"/", args[0], "/replay"), request)
		if err != nil {
			return err
		}
		if wait {
			if raw, err = c.watchReplay(cmd.Context(), client, raw); err != nil {
				return err
			}
		}
		return c.printReplay(raw, wait)
	}
	cmd.AddCommand(c.replayList(),
		c.replayTurn("pause", "Stop a replay for now", "What is on its way already is still sent."),
		c.replayTurn("resume", "Let a paused replay go on where it stopped", ""),
		c.replayTurn("cancel", "End a replay", "What is on its way already is still sent."))
	return cmd
}

// moment reads a time, or how long ago one was.
func (c *cli) moment(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	span, days := strings.CutSuffix(text, "d")
	if n, err := strconv.Atoi(span); days && err == nil && n >= 0 && n <= 36500 {
		return c.now().AddDate(0, 0, -n), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, fmt.Errorf("%q is no time: write it like 2026-01-31T12:00:00Z, or as how long ago, like 90m, 2h or 7d", text)
	}
	return c.now().Add(-d), nil
}

// watchEvery is how often a replay that is waited for is looked at.
const watchEvery = 500 * time.Millisecond

// watchReplay shows a replay's progress until it stops, and returns it as it is
// then.
func (c *cli) watchReplay(ctx context.Context, client *client, raw []byte) ([]byte, error) {
	terminal := isTerminal(c.stderr)
	last := ""
	for {
		var r replayObject
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		line := fmt.Sprintf("%s  %d sent, %d skipped  %s", r.percent(), r.Counts.Sent, r.Counts.Skipped, r.status())
		switch {
		case terminal:
			fmt.Fprintf(c.stderr, "\r\x1b[K%s %s", bar(r.Progress), line)
		case line != last:
			fmt.Fprintln(c.stderr, line)
		}
		last = line
		if !r.moves() {
			if terminal {
				fmt.Fprintln(c.stderr)
			}
			return raw, nil
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		var err error
		if raw, err = client.get(ctx, replayPath(r.Destination, r.ID, ""), nil); err != nil {
			return nil, err
		}
	}
}

func replayPath(destination, id, verb string) string {
	return pathID(destinationsPath+"/", destination, pathID("/replays/", id, verb))
}

func bar(progress float64) string {
	const width = 30
	full := int(progress * width)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (c *cli) printReplay(raw []byte, waited bool) error {
	var r replayObject
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if c.json {
		if err := c.printRaw(raw); err != nil {
			return err
		}
	} else if err := c.fields([][2]string{
		{"Replay", r.ID},
		{"Destination", r.Destination},
		{"Status", r.status()},
		{"Progress", r.percent()},
		{"Sent", strconv.FormatInt(r.Counts.Sent, 10)},
		{"Skipped", strconv.FormatInt(r.Counts.Skipped, 10)},
		{"Created", c.ago(r.Created)},
	}); err != nil {
		return err
	}
	if waited && r.Status != "completed" {
		return fmt.Errorf("the replay is %s", r.status())
	}
	return nil
}

func (c *cli) replayList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list DESTINATION", Short: "List the replays to a destination, newest first",
		Args: args("DESTINATION, the id of a destination (ed_…),"),
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most, up to 100")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		raw, err := client.get(cmd.Context(), pathID(destinationsPath+"/", args[0], "/replays"), url.Values{"limit": {strconv.Itoa(limit)}})
		if err != nil {
			return err
		}
		if c.json {
			return c.printRaw(raw)
		}
		var page struct {
			Data []replayObject `json:"data"`
			Next string         `json:"next_page_url"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		rows := make([][]string, len(page.Data))
		for i := range page.Data {
			r := &page.Data[i]
			rows[i] = []string{
				r.ID, r.status(), r.percent(), strconv.FormatInt(r.Counts.Sent, 10), strconv.FormatInt(r.Counts.Skipped, 10), c.ago(r.Created),
			}
		}
		return c.table([]string{"ID", "STATUS", "PROGRESS", "SENT", "SKIPPED", "CREATED"}, rows, "No replays.", more(page.Next != "")...)
	}
	return cmd
}

func (c *cli) replayTurn(verb, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " DESTINATION REPLAY", Short: short, Long: strings.TrimSpace(short + ". " + long),
		Args: args("DESTINATION, the id of a destination (ed_…),", "REPLAY, the id of a replay (rpl_…),"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			raw, err := client.postJSON(cmd.Context(), replayPath(args[0], args[1], "/"+verb), nil)
			if err != nil {
				return err
			}
			return c.printReplay(raw, false)
		},
	}
}
