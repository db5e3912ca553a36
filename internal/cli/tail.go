package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
)

func (c *cli) eventsTail() *cobra.Command {
	l := &listener{cli: c}
	var thin, follow bool
	var limit int
	cmd := &cobra.Command{
		Use: "tail", Short: "Print the newest events, and those that come",
		Long: `Print the newest events, oldest first, a line each: when, type, id. With --follow
it goes on with those that come, as "waybill listen" does.`,
		Example: `  waybill events tail --follow
  waybill events tail --type customer.created --limit 50`,
		Args: args(),
	}
	f := cmd.Flags()
	f.BoolVar(&follow, "follow", false, "go on with those that come, until interrupted")
	f.StringSliceVar(&l.types, "type", nil, "only events of this type (repeatable)")
	f.IntVar(&limit, "limit", 20, "how many to begin with, up to 100")
	f.BoolVar(&thin, "thin", false, "thin events instead of snapshots")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if l.client, err = c.client(); err != nil {
			return err
		}
		l.feature = featureOf(thin)
		path := "/v1/events"
		if thin {
			path = "/v2/core/events"
		}
		newest := func(ctx context.Context) error { return l.showNewest(ctx, path, limit) }
		if !follow {
			return newest(cmd.Context())
		}
		l.ready = newest // once events are received, so that none comes in between
		return l.run(cmd.Context())
	}
	return cmd
}

// showNewest prints the newest events, and remembers that it did.
func (l *listener) showNewest(ctx context.Context, path string, limit int) error {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	for _, t := range l.types {
		query.Add("types[]", t)
	}
	raw, err := l.client.get(ctx, path, query)
	if err != nil {
		return err
	}
	var page struct {
		Data []heard `json:"data"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	l.shown = map[string]bool{}
	for _, e := range slices.Backward(page.Data) {
		l.shown[e.ID] = true
		l.show(&e, result{at: e.Created.Time})
	}
	return nil
}
