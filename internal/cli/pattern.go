package cli

import (
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
	var patternText, eventText string
	cmd := &cobra.Command{
		Use: "explain --pattern PATTERN --event EVENT", Short: "Say why an event matches a pattern, or why not",
		Long: `Say why an event matches a pattern, or why not: for each field of the pattern,
what it wanted and what it saw in the event. No server is needed. Ends with 0
if the event matches, with 1 if not.

PATTERN and EVENT are JSON, or @FILE, or - for standard input.`,
		Example: `  waybill pattern explain --pattern '{"detail":{"amount":[{"numeric":[">",100]}]}}' --event @event.json`,
		Args:    args(),
	}
	cmd.Flags().StringVar(&patternText, "pattern", "", "event pattern")
	cmd.Flags().StringVar(&eventText, "event", "", "event")
	cmd.RunE = func(*cobra.Command, []string) error {
		p, err := c.textOrFile("--pattern", patternText)
		if err != nil {
			return err
		}
		e, err := c.textOrFile("--event", eventText)
		if err != nil {
			return err
		}
		parsed, err := pattern.Parse(p)
		if err != nil {
			return err
		}
		x, err := parsed.Explain(e)
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
