package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/cli/fixture"
)

// completionPatience is how long a shell waits for what a server has to say.
const completionPatience = time.Second

// complete gives the arguments and flags of all commands below root what a
// shell completes them with: by their names, which mean the same everywhere.
func (c *cli) complete(cmd *cobra.Command) {
	arguments := map[string]cobra.CompletionFunc{
		"TYPE": completeTypes, "DESTINATION": c.completeDestinations, "EVENT": c.completeEvents,
		"FILE": nil, "FILE|-": nil, // the shell knows them
	}
	flags := map[string]cobra.CompletionFunc{
		"destination": c.completeDestinations, "type": completeTypes, "events": completeList(completeTypes),
		"payload":    cobra.FixedCompletions([]string{"snapshot", "thin"}, cobra.ShellCompDirectiveNoFileComp),
		"log-format": cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp),
		"log-level":  cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp),
		"data": func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	if cmd.Parent() != nil && cmd.Parent().Name() == "deliveries" {
		flags["status"] = cobra.FixedCompletions([]string{"pending", "delivered", "failed", "discarded"}, cobra.ShellCompDirectiveNoFileComp)
		flags["event"] = c.completeEvents
	}
	if words := strings.Fields(cmd.Use); len(words) > 1 || !cmd.HasSubCommands() {
		first := cobra.NoFileCompletions
		if len(words) > 1 {
			if f, known := arguments[words[1]]; known {
				first = f
			}
		}
		cmd.ValidArgsFunction = onlyFirst(first)
	}
	for name, complete := range flags {
		if complete != nil && cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, complete) // it fails only for one that has its own
		}
	}
	for _, sub := range cmd.Commands() {
		c.complete(sub)
	}
}

// onlyFirst completes the first argument; nil leaves it to the shell.
func onlyFirst(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(given) > 0:
			return nil, cobra.ShellCompDirectiveNoFileComp
		case complete == nil:
			return nil, cobra.ShellCompDirectiveDefault
		}
		return complete(cmd, given, begun)
	}
}

func completeTypes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	types := fixture.Types()
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = cobra.CompletionWithDesc(t.Name, t.Kind.String())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeList completes the last entry of a list with commas.
func completeList(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		done := begun[:strings.LastIndexByte(begun, ',')+1]
		names, directive := complete(cmd, given, begun[len(done):])
		for i := range names {
			names[i] = done + names[i]
		}
		return names, directive | cobra.ShellCompDirectiveNoSpace
	}
}

func (c *cli) completeDestinations(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.completeObjects(cmd, destinationsPath, func(o *completed) string { return o.Name })
}

func (c *cli) completeEvents(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.completeObjects(cmd, "/v1/events", func(o *completed) string { return o.Type })
}

// completed is what is shown of an object that a server has.
type completed struct{ ID, Name, Type string }

// completeObjects asks the server for its newest objects. Whatever goes wrong
// leaves nothing to complete: a shell has no room for errors.
func (c *cli) completeObjects(cmd *cobra.Command, path string, describe func(*completed) string) ([]string, cobra.ShellCompDirective) {
	client, err := c.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	raw, err := client.get(ctx, path, url.Values{"limit": {"100"}})
	var page struct{ Data []completed }
	if err != nil || json.Unmarshal(raw, &page) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ids := make([]string, len(page.Data))
	for i := range page.Data {
		ids[i] = cobra.CompletionWithDesc(page.Data[i].ID, printable(describe(&page.Data[i])))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
