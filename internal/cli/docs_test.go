package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	redirected = regexp.MustCompile(`\s+(#|[<>|]).*|\)\s.*`)
)

// What the reference has one type exists, with these flags.
func TestReference(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range shellBlock.FindAllStringSubmatch(string(raw), -1) {
		for line := range strings.Lines(block[1]) {
			_, line, found := strings.Cut(line, "waybill ")
			if !found {
				t.Errorf("%q is no command", line)
			}
			n++
			root := (&cli{}).root()
			root.InitDefaultCompletionCmd()
			words := strings.Fields(strings.ReplaceAll(redirected.ReplaceAllString(line, ""), "'", ""))
			cmd, rest, err := root.Find(words)
			if err != nil || cmd == root {
				t.Errorf("waybill %s: there is no such command", line)
				continue
			}
			if err := cmd.ParseFlags(rest); err != nil {
				t.Errorf("waybill %s: %v", line, err)
			}
			if cmd.Args != nil && cmd.Flags().Lookup("list") == nil {
				if err := cmd.Args(cmd, cmd.Flags().Args()); err != nil {
					t.Errorf("waybill %s: %v", line, err)
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d commands were found", n)
	}
}
