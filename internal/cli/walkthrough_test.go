package cli_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What docs/walkthrough-eventbridge.md tells people to type is typed, and
// answers what it says.
func TestWalkthroughEventBridge(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/walkthrough-eventbridge.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := typed(string(text))
	if len(steps) < 10 {
		t.Fatalf("found %d blocks to type, so they are not looked for well", len(steps))
	}
	for _, program := range []string{"bash", "aws", "python3"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("CI needs %s; scripts/need-aws installs what there is to install", program)
		}
		t.Logf("NOT TESTED: there is no %s here, so docs/walkthrough-eventbridge.md was not typed", program)
		return
	}
	outputs := typeAll(t, steps)
	for i, s := range steps {
		if i >= len(outputs) {
			t.Fatalf("it ended before this block was done:\n%s", s.command)
		}
		rest := outputs[i]
		for _, line := range s.answer {
			at := pattern(line).FindStringIndex(rest)
			if at == nil {
				t.Fatalf("there is no %q in the rest of the answer\n%s\nto\n%s", line, rest, s.command)
			}
			rest = rest[at[1]:]
		}
	}
}

// step is a block of a document to type, and the lines to expect.
type step struct {
	command string
	answer  []string
}

var block = regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$")

// typed finds the blocks of a document.
func typed(text string) []step {
	var steps []step
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		if m[1] == "sh" {
			steps = append(steps, step{command: m[2]})
		} else if n := len(steps); n > 0 {
			steps[n-1].answer = append(steps[n-1].answer, strings.Split(strings.TrimSpace(m[2]), "\n")...)
		}
	}
	return steps
}

// pattern matches a line of an expected answer: … is anything in a line, and
// one blank is as good as many.
func pattern(line string) *regexp.Regexp {
	words := strings.Fields(line)
	for i, w := range words {
		words[i] = strings.ReplaceAll(regexp.QuoteMeta(w), "…", ".*")
	}
	return regexp.MustCompile(strings.Join(words, `[ \t]+`))
}

// typeAll runs all steps in one shell, which ends where one fails, and returns
// the output of each.
func typeAll(t *testing.T, steps []step) []string {
	t.Helper()
	const mark = "\x1e"
	var script strings.Builder
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
	for _, s := range steps {
		fmt.Fprintf(&script, "%s\nprintf '\\036'\n", s.command)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String()) //nolint:gosec // the script is this repository's own page //nolint:gosec // the repository's own document
	cmd.Dir = t.TempDir()
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "WAYBILL_")
	})
	_, port, err := net.SplitHostPort(unused(t))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "LISTEN="+unused(t), "RECEIVER_PORT="+port, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE="+cmd.Dir+"/config", "AWS_SHARED_CREDENTIALS_FILE="+cmd.Dir+"/credentials")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	// The server may outlive a shell that was killed, and has its output.
	cmd.WaitDelay = patience
	out, err := cmd.Output()
	outputs := strings.Split(string(out), mark)
	if err != nil {
		log, _ := os.ReadFile(cmd.Dir + "/server.log")
		t.Fatalf("%v, after %d of %d blocks\nlast output: %s\nstderr: %s\nserver: %s", err, len(outputs)-1, len(steps), outputs[len(outputs)-1], stderr.String(), log)
	}
	return outputs[:len(outputs)-1]
}
