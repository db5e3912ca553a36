package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) logsCommand() *cobra.Command {
	return group("logs", "Read log groups, which rules can write to", c.logsGroups(), c.logsTail())
}

func (c *cli) logsGroups() *cobra.Command {
	return &cobra.Command{
		Use: "groups", Short: "List log groups", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.aws()
			if err != nil {
				return err
			}
			groups, err := client.list(cmd.Context(), awsLogs, "DescribeLogGroups", "logGroups", nil)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(groups)
			}
			rows := make([][]string, len(groups))
			for i, g := range groups {
				kept := "for good"
				if days, ok := g["retentionInDays"].(float64); ok {
					kept = strconv.Itoa(int(days)) + "d"
				}
				rows[i] = []string{text(g["logGroupName"]), kept, c.ago(when{moment(g["creationTime"])})}
			}
			return c.table([]string{"LOG GROUP", "KEPT", "CREATED"}, rows, "No log groups. Make one: aws logs create-log-group --log-group-name NAME")
		},
	}
}

func (c *cli) logsTail() *cobra.Command {
	var since time.Duration
	var follow bool
	cmd := &cobra.Command{
		Use: "tail GROUP", Short: "Print the newest entries of a log group",
		Long: `Print the newest entries of a log group, oldest first: when, the log stream,
what. With --json it is one entry a line, as CloudWatch Logs' API has it.`,
		Example: `  waybill logs tail /shop/orders --follow
  waybill logs tail /shop/orders --since 24h`,
		Args: args("GROUP, the name of a log group,"),
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on with those that come, until interrupted")
	cmd.Flags().DurationVar(&since, "since", 10*time.Minute, "how far to go back")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if since < 0 {
			return usagef("--since is negative: give how far to go back, such as 1h30m")
		}
		client, err := c.aws()
		if err != nil {
			return err
		}
		from := c.now().Add(-since)
		if !follow {
			return c.tail(cmd.Context(), client, args[0], from, nil)
		}
		ctx, release := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer release()
		err = c.follow(ctx, client, args[0], from)
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	return cmd
}

// followEvery is the time between two looks at a log group that is followed.
// Each goes back by followBack from the newest entry that was seen: those that
// are written at the same time may come in any order.
const (
	followEvery = time.Second
	followBack  = 10 * time.Second
)

// follow prints entries until ctx ends.
func (c *cli) follow(ctx context.Context, client *awsClient, group string, from time.Time) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	seen := map[string]time.Time{} // by the ids of entries
	for {
		if err := c.tail(ctx, client, group, from, seen); err != nil {
			return err
		}
		for _, at := range seen {
			if back := at.Add(-followBack); back.After(from) {
				from = back
			}
		}
		for id, at := range seen {
			if at.Before(from) {
				delete(seen, id)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tail prints the entries from a moment on that are not in seen, and adds them
// unless it is nil.
func (c *cli) tail(ctx context.Context, client *awsClient, group string, from time.Time, seen map[string]time.Time) error {
	in := map[string]any{"logGroupName": group, "startTime": from.UnixMilli()}
	for e, err := range client.each(ctx, awsLogs, "FilterLogEvents", "events", in) {
		if err != nil {
			return err
		}
		id, at := text(e["eventId"]), moment(e["timestamp"])
		if _, twice := seen[id]; twice {
			continue
		}
		if seen != nil {
			seen[id] = at
		}
		line := at.Format("2006-01-02T15:04:05.000Z") + " " + text(e["logStreamName"]) + " " + text(e["message"])
		if c.json {
			raw, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("encode entry: %w", err)
			}
			line = string(raw)
		}
		if _, err := fmt.Fprintln(c.stdout, printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// moment is one of CloudWatch Logs', in milliseconds since 1970.
func moment(v any) time.Time {
	ms, _ := v.(float64)
	return time.UnixMilli(int64(ms)).UTC()
}
