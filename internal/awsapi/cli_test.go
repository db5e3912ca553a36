package awsapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/awsapi"
)

// step is one command of the AWS CLI, as it is typed after `aws` in a shell
// whose variables are ACCOUNT and CUSTOMER, two account ids, and what steps
// before have kept.
type step struct {
	typed string
	// want is the answer as compact JSON, in which variables stand for what they
	// are; "" is no answer. After a "!" it is part of the error message.
	want string
	keep string // the variable that has the answer from now on, instead of want
	wait bool   // types it again until the answer is the one wanted
}

// Each scenario has a server of its own. Together they have every operation,
// and every list in pages.
var scenarios = map[string][]step{
	"buses and rules":                  busSteps,
	"partner event sources":            partnerSteps,
	"archives and replays":             archiveSteps,
	"connections and API destinations": connectionSteps,
	"queues":                           queueSteps,
	"logs":                             logSteps,
	"what is newer than some CLIs":     newerSteps,
}

// TestCLI types the scenarios into the AWS CLI that comes first in PATH. That
// of SQS is typed into every other that is installed, too: since a CLI of 2023
// it speaks JSON, before that the query protocol.
func TestCLI(t *testing.T) {
	t.Parallel()
	programs := clis()
	if len(programs) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI needs the AWS CLI; scripts/need-aws installs it")
		}
		t.Log("NOT TESTED: there is no AWS CLI here, so no operation was called with it")
		return
	}
	for name, steps := range scenarios {
		with := programs[:1]
		switch name {
		case "queues":
			with = programs
		case "what is newer than some CLIs":
			i := slices.IndexFunc(programs, isNew)
			if i < 0 {
				t.Log("NOT TESTED: no AWS CLI here is of 2024 or later, so what AWS added since 2023 was not called with it")
				continue
			}
			with = programs[i : i+1]
		}
		for _, program := range with {
			t.Run(name+" "+program, func(t *testing.T) {
				t.Parallel()
				shell := newShell(t, program)
				for _, s := range steps {
					shell.do(s)
				}
			})
		}
	}
}

// isNew tells whether a CLI has the newest operations.
func isNew(program string) bool {
	out, _ := exec.Command(program, "events", "update-event-bus").CombinedOutput() //nolint:noctx // it only says what it needs
	return !strings.Contains(string(out), "Invalid choice")
}

// An operation that no scenario has is one that nobody has typed.
func TestCLIHasEveryOperation(t *testing.T) {
	t.Parallel()
	typed := map[string]bool{}
	for _, steps := range scenarios {
		for _, s := range steps {
			words := strings.Fields(s.typed)
			typed[words[0]+" "+words[1]] = true
		}
	}
	hump := regexp.MustCompile(`([a-z])([A-Z])`)
	for service, operations := range awsapi.Operations() {
		for _, name := range operations {
			if command := service + " " + strings.ToLower(hump.ReplaceAllString(name, "$1-$2")); !typed[command] {
				t.Errorf("aws %s is not in any scenario", command)
			}
		}
	}
}

// clis are the AWS CLIs in PATH, the first one first.
func clis() []string {
	var found, targets []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := exec.LookPath(filepath.Join(dir, "aws"))
		if err != nil {
			continue
		}
		// /bin is often /usr/bin.
		if target, err := filepath.EvalSymlinks(path); err == nil && !slices.Contains(targets, target) {
			found, targets = append(found, path), append(targets, target)
		}
	}
	return found
}

// shell runs the AWS CLI against a server of its own.
type shell struct {
	t    *testing.T
	vars map[string]string
	env  []string // without vars
}

func newShell(t *testing.T, program string) *shell {
	t.Helper()
	s, home := newServer(t), t.TempDir()
	credentials := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n[customer]\naws_access_key_id = %s\naws_secret_access_key = %s\n",
		s.key, s.secret, s.customer.key, s.customer.secret)
	if err := os.WriteFile(filepath.Join(home, "credentials"), []byte(credentials), 0o600); err != nil {
		t.Fatal(err)
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	return &shell{
		t:    t,
		vars: map[string]string{"ACCOUNT": s.account, "CUSTOMER": s.customer.account},
		env: append(env, "HOME="+home, "AWS_SHARED_CREDENTIALS_FILE="+home+"/credentials", "AWS_CONFIG_FILE="+home+"/config",
			"AWS_EC2_METADATA_DISABLED=true", "AWS_DEFAULT_REGION="+sdkRegion, "AWS_DEFAULT_OUTPUT=json", "AWS_PAGER=",
			"PROGRAM="+program, "URL="+s.url),
	}
}

func (s *shell) do(step step) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := s.run(step.typed)
		if step.keep != "" {
			if err := json.Unmarshal([]byte(got), new(string)); err != nil {
				s.t.Fatalf("aws %s\nanswered %s, which is no text to keep", step.typed, got)
			}
			s.vars[step.keep] = got[1 : len(got)-1]
			return
		}
		want := os.Expand(step.want, func(name string) string { return s.vars[name] })
		part, refusal := strings.CutPrefix(want, "!")
		if got == want || refusal && strings.HasPrefix(got, "!") && strings.Contains(got, part) {
			return
		}
		if !step.wait || time.Now().After(deadline) {
			s.t.Fatalf("aws %s\nanswered %s\nwant     %s", step.typed, got, want)
		}
	}
}

// run returns the answer as compact JSON, or "!" and the error message.
func (s *shell) run(typed string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", `exec "$PROGRAM" --endpoint-url "$URL" `+typed) //nolint:gosec // the tables of this package
	cmd.Env = s.env
	for name, value := range s.vars {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "!" + strings.TrimSpace(stderr.String())
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, out); err != nil && len(bytes.TrimSpace(out)) > 0 {
		s.t.Fatalf("aws %s\nanswered %s", typed, out)
	}
	return compact.String()
}
