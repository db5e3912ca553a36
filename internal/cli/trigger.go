package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/cli/fixture"
	"github.com/waybill-dev/waybill/internal/event"
)

func (c *cli) triggerCommand() *cobra.Command {
	var texts []string
	var thin, list bool
	cmd := &cobra.Command{
		Use:   "trigger TYPE",
		Short: "Publish a sample event",
		Long: `Publish a sample event of the given type, with fresh ids. --list shows the types.

--override replaces values. Its path is one of the object, or of the event where
it begins with data; the value is JSON or else text:

  waybill trigger payment_intent.succeeded --override amount=5000 --override metadata.plan=gold
  waybill trigger invoice.paid --override 'lines.data[0].quantity=2'
  waybill trigger customer.updated --override data.previous_attributes.name=Bob`,
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
	cmd.Flags().BoolVar(&list, "list", false, "list the types there are")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if list {
			return c.listFixtures()
		}
		client, err := c.client()
		if err != nil {
			return err
		}
		body, err := sample(given[0], thin, client.live(), texts)
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
