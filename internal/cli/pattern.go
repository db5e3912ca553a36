package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/pattern"
)

func (c *cli) patternCommand() *cobra.Command {
	return group("pattern", "Try event patterns", c.patternExplain())
}

func (c *cli) patternExplain() *cobra.Command {
	var patternText, eventText, rule, bus string
	cmd := &cobra.Command{
		Use: "explain (--pattern PATTERN | --rule NAME) --event EVENT", Short: "Say why an event matches a pattern, or why not",
		Long: `Say why an event matches a pattern, or why not: for each field of the pattern,
what it wanted and what it saw in the event. Ends with 0 if the event matches,
with 1 if not.

The pattern is given, which needs no server, or is that of a rule on a server,
which needs an access key. PATTERN and EVENT are JSON, or @FILE, or - for
standard input.`,
		Example: `  waybill pattern explain --pattern '{"detail":{"amount":[{"numeric":[">",100]}]}}' --event @event.json
  waybill pattern explain --rule big-orders --event @event.json`,
		Args: args(),
	}
	cmd.Flags().StringVar(&patternText, "pattern", "", "event pattern")
	cmd.Flags().StringVar(&rule, "rule", "", "rule whose pattern it is")
	cmd.Flags().StringVar(&bus, "event-bus-name", "", "event bus of the rule (default: default)")
	cmd.Flags().StringVar(&eventText, "event", "", "event")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var x pattern.Explanation
		var err error
		switch {
		case rule != "" && patternText != "":
			return usagef("--rule and --pattern cannot both be given: the rule has its pattern")
		case rule != "":
			x, err = c.explainRule(cmd.Context(), rule, bus, eventText)
		case bus != "":
			return usagef("--rule is missing: name a rule of the event bus %s", bus)
		default:
			x, err = c.explainPattern(patternText, eventText)
		}
		if err != nil {
			return err
		}
		if err := c.printExplanation(x); err != nil {
			return err
		}
		if !x.Matched {
			return errors.New("the event does not match")
		}
		return nil
	}
	return cmd
}

func (c *cli) explainPattern(patternText, eventText string) (x pattern.Explanation, err error) {
	p, err := c.textOrFile("--pattern", patternText)
	if err != nil {
		return x, err
	}
	e, err := c.textOrFile("--event", eventText)
	if err != nil {
		return x, err
	}
	parsed, err := pattern.Parse(p)
	if err != nil {
		return x, err
	}
	return parsed.Explain(e)
}

func (c *cli) explainRule(ctx context.Context, rule, bus, eventText string) (x pattern.Explanation, err error) {
	e, err := c.textOrFile("--event", eventText)
	if err != nil {
		return x, err
	}
	client, err := c.aws()
	if err != nil {
		return x, err
	}
	in := map[string]string{"Rule": rule, "Event": string(e)}
	if bus != "" {
		in["EventBusName"] = bus
	}
	err = client.call(ctx, awsOwn, "ExplainRule", in, &x)
	return x, err
}

// maxText bounds a pattern or an event that is read from a file.
const maxText = 16 << 20

// textOrFile reads an argument that is given as it is, as @FILE, or as -.
func (c *cli) textOrFile(flag, arg string) ([]byte, error) {
	var from io.Reader
	switch name, isFile := strings.CutPrefix(arg, "@"); {
	case arg == "":
		return nil, usagef("%s is missing: give JSON, @FILE, or - for standard input", flag)
	case arg == "-":
		from = c.stdin
	case isFile:
		f, err := os.Open(name) //nolint:gosec // the user names the file
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", flag, err)
		}
		defer func() { _ = f.Close() }()
		from = f
	default:
		return []byte(arg), nil
	}
	b, err := io.ReadAll(io.LimitReader(from, maxText+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", flag, err)
	}
	if len(b) > maxText {
		return nil, usagef("%s is larger than %d bytes", flag, maxText)
	}
	return b, nil
}

func (c *cli) printExplanation(x pattern.Explanation) error {
	if c.json {
		raw, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("encode explanation: %w", err)
		}
		return c.printRaw(raw)
	}
	for i, b := range x.Branches {
		if len(x.Branches) > 1 {
			fmt.Fprintf(c.stdout, "Alternative %d of %d:\n", i+1, len(x.Branches))
		}
		for _, f := range b.Fields {
			mark := "✗"
			if f.OK {
				mark = "✓"
			}
			fmt.Fprintf(c.stdout, "%s %s  %s\n", mark, f.Path, printable(f.Why))
		}
	}
	if x.Matched {
		fmt.Fprintln(c.stdout, "The event matches.")
	}
	return nil
}
