package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/cli/fixture"
	"github.com/waybill-dev/waybill/internal/event"
)

func (c *cli) triggerCommand() *cobra.Command {
	var texts []string
	var thin, list bool
	var count int
	var rate float64
	cmd := &cobra.Command{
		Use:   "trigger TYPE",
		Short: "Publish a sample event",
		Long: `Publish a sample event of the given type, with fresh ids. --list shows the types.
--count publishes many, --rate so many a second, until interrupted.

--override replaces values. Its path is one of the object, or of the event where
it begins with data; the value is JSON or else text:

  waybill trigger payment_intent.succeeded --override amount=5000 --override metadata.plan=gold
  waybill trigger invoice.paid --override 'lines.data[0].quantity=2'
  waybill trigger customer.updated --override data.previous_attributes.name=Bob
  waybill trigger charge.succeeded --count 1000 --rate 50`,
		Args: func(cmd *cobra.Command, given []string) error {
			if list {
				return args()(cmd, given)
			}
			return args("TYPE, such as payment_intent.succeeded (--list shows all),")(cmd, given)
		},
	}
	// An array: a value may hold commas.
	cmd.Flags().StringArrayVar(&texts, "override", nil, "PATH=VALUE to replace (repeatable)")
	cmd.Flags().BoolVar(&thin, "thin", false, "publish the thin event v1.TYPE instead of the snapshot")
	cmd.Flags().IntVar(&count, "count", 1, "how many events to publish")
	cmd.Flags().Float64Var(&rate, "rate", 0, "how many a second at most; 0 is as many as the server takes")
	cmd.Flags().BoolVar(&list, "list", false, "list the types there are")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if list {
			return c.listFixtures()
		}
		if count < 1 || rate < 0 {
			return usagef("--count is at least 1, and --rate is not negative; see `%s --help`", cmd.CommandPath())
		}
		client, err := c.client()
		if err != nil {
			return err
		}
		build := func() ([]byte, error) { return sample(given[0], thin, client.live(), texts) }
		if count > 1 {
			return c.triggerMany(cmd.Context(), client, given[0], build, count, rate)
		}
		body, err := build()
		if err != nil {
			return err
		}
		raw, err := client.postJSON(cmd.Context(), "/v2/core/events", body)
		if err != nil {
			return err
		}
		return c.printEvents(raw)
	}
	return cmd
}

// triggerBatch is how many events are published with one request at most.
const triggerBatch = 100

// triggerMany publishes samples: at each moment as many as are due by then.
func (c *cli) triggerMany(ctx context.Context, client *client, name string, build func() ([]byte, error), count int, rate float64) error {
	ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	start, sent := time.Now(), 0
	for sent < count {
		due := count
		if rate > 0 {
			due = min(count, 1+int(time.Since(start).Seconds()*rate))
		}
		if due == sent {
			next := time.NewTimer(time.Until(start.Add(time.Duration(float64(sent) / rate * float64(time.Second)))))
			select {
			case <-next.C:
				continue
			case <-ctx.Done():
				next.Stop()
			}
		}
		if ctx.Err() != nil {
			break
		}
		var batch struct {
			Events []json.RawMessage `json:"events"`
		}
		for range min(due-sent, triggerBatch) {
			event, err := build()
			if err != nil {
				return err
			}
			batch.Events = append(batch.Events, event)
		}
		body, err := json.Marshal(batch)
		if err != nil {
			return fmt.Errorf("encode events: %w", err)
		}
		// One that is under way ends even if interrupted, so that the count is right.
		if _, err := client.postJSON(context.WithoutCancel(ctx), "/v2/core/events", body); err != nil {
			return fmt.Errorf("%w (%d of %d were published)", err, sent, count)
		}
		sent += len(batch.Events)
	}
	took := time.Since(start).Seconds()
	if c.json {
		return c.printJSON(map[string]any{"type": name, "published": sent, "seconds": took})
	}
	_, err := fmt.Fprintf(c.stdout, "Published %d events of %s in %.1f s\n", sent, name, took)
	return err
}

// sample builds the body that publishes a fixture. A name of a thin event is
// one, whether --thin is given or not.
func sample(name string, thin, live bool, texts []string) ([]byte, error) {
	build := fixture.Snapshot
	if thin || strings.HasPrefix(name, event.TwinType("")) || strings.HasPrefix(name, "v2.") {
		build, thin = fixture.Thin, true
	}
	if live && !thin {
		texts = append([]string{"livemode=true"}, texts...)
	}
	overrides := make([]fixture.Override, len(texts))
	for i, text := range texts {
		o, err := fixture.ParseOverride(text)
		if err != nil {
			return nil, usageError{err}
		}
		overrides[i] = o
	}
	body, err := build(name, overrides)
	if err != nil {
		return nil, usagef("%w (`waybill trigger --list` shows all)", err)
	}
	return body, nil
}

func (c *cli) listFixtures() error {
	types := fixture.Types()
	if c.json {
		type entry struct {
			Type   string `json:"type"`
			Kind   string `json:"event_payload"`
			Object string `json:"object"`
		}
		entries := make([]entry, len(types))
		for i, t := range types {
			entries[i] = entry{t.Name, t.Kind.String(), t.Object}
		}
		return c.printJSON(map[string]any{"data": entries})
	}
	rows := make([][]string, len(types))
	for i, t := range types {
		rows[i] = []string{t.Name, t.Kind.String(), t.Object}
	}
	return c.table([]string{"TYPE", "KIND", "ABOUT"}, rows, "")
}
