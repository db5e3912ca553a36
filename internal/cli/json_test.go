package cli_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/cli"
	"github.com/waybill-dev/waybill/internal/config"
)

// noJSON are the commands that print nothing that a program reads, and those
// whose JSON, a line for each thing that happens until they are interrupted, has
// tests of its own.
var noJSON = []string{"serve", "demo", "demo eventbridge", "listen", "events tail"}

// jsonCommands is every other command, with arguments, in an order in which they
// work. {NAME} is the first id of that form in what was printed so far.
var jsonCommands = []struct{ command, args string }{
	{"ready", ""},
	{"doctor", "--data {data}"},
	{"accounts create", "--data {data} --name second"},
	{"accounts list", "--data {data}"},
	{"accounts update", "{acct} --data {data} --name renamed"},
	{"keys create", "--data {data} --account {acct}"},
	{"keys list", "--data {data}"},
	{"keys roll", "{key} --data {data} --account {acct} --overlap 1h"},
	{"keys revoke", "{key} --data {data} --account {acct}"},
	{"audit", ""},
	{"keys create", "--aws --data {data} --account {acct}"},
	{"keys list", "--aws --data {data}"},
	{"destinations create", "--url {receiver} --events *"},
	{"destinations list", ""},
	{"destinations get", "{ed_test}"},
	{"destinations roll-secret", "{ed_test} --overlap 1h"},
	{"trigger", "charge.succeeded"},
	{"trigger", "charge.succeeded --count 3"},
	{"trigger", "--list"},
	{"events publish", "{file}"},
	{"events list", ""},
	{"events get", "{evt_test}"},
	{"events resend", "{evt_test} --destination {ed_test}"},
	{"destinations ping", "{ed_test}"},
	{"replay", "{ed_test} --status all --throttle 1"},
	{"replay list", "{ed_test}"},
	{"replay pause", "{ed_test} {rpl_test}"},
	{"replay resume", "{ed_test} {rpl_test}"},
	{"replay cancel", "{ed_test} {rpl_test}"},
	{"deliveries list", ""},
	{"deliveries get", "{dlv_test}"},
	{"destinations disable", "{ed_test}"},
	{"destinations enable", "{ed_test}"},
	{"apply", "-f {template}"},
	{"apply", "-f {template} --dry-run"},
	{"pattern explain", `--pattern {"type":["order.paid"]} --event @{file}`},
	{"logs groups", ""},
	{"logs tail", "json"},
	{"keys delete", "AKIASCRIPTS000000000 --data {data}"},
	{"migrate status", "--data {data}"},
	{"migrate up", "--data {data}"},
	{"backup", "{backup} --data {data}"},
	{"restore", "{backup} --data {other}"},
	{"destinations delete", "{ed_test}"},
}

// needsMore are commands with JSON for which a script does what they need.
var needsMore = []string{"import"}

var printedID = regexp.MustCompile(`"((acct|ed_test|evt_test|dlv_test|rpl_test|key)_[A-Za-z0-9_]+)"`)

// Whatever prints data prints JSON when it is told to, and nothing else.
func TestEveryCommandPrintsJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	known := map[string]string{}
	for _, name := range []string{"data", "other", "backup", "file", "template"} {
		known[name] = filepath.Join(dir, name)
	}
	url, stop, err := startServer(known["data"], func(c *config.Config) { c.BootstrapAWSKey = awsKeyID + ":" + awsSecret })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	known["receiver"] = receiver.URL
	for name, content := range map[string]string{
		"file":     `{"type": "order.paid", "data": {"object": {"id": "ord_1", "object": "order"}}}`,
		"template": "Resources:\n  Orders: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: json}}\n",
	} {
		if err := os.WriteFile(known[name], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{
		"WAYBILL_URL": url, "WAYBILL_API_KEY": testKey,
		"AWS_ACCESS_KEY_ID": awsKeyID, "AWS_SECRET_ACCESS_KEY": awsSecret,
	}
	tried := slices.Concat(noJSON, needsMore)
	for _, c := range jsonCommands {
		tried = append(tried, c.command)
		args := strings.Fields(c.command + " " + c.args)
		for i := range args {
			args[i] = regexp.MustCompile(`\{(\w+)\}`).ReplaceAllStringFunc(args[i], func(name string) string {
				value, ok := known[strings.Trim(name, "{}")]
				if !ok {
					t.Fatalf("%s: nothing has printed a %s", c.command, name)
				}
				return value
			})
		}
		code, out, errs := run(env, "", append(args, "--json")...)
		if code != 0 {
			t.Errorf("%q: %s", args, errs)
			continue
		}
		d := json.NewDecoder(strings.NewReader(out))
		var err error
		for err == nil {
			err = d.Decode(new(any))
		}
		if !errors.Is(err, io.EOF) || out == "" && c.command != "logs tail" {
			t.Errorf("%q printed %q: %v", args, out, err)
		}
		for _, m := range printedID.FindAllStringSubmatch(out, -1) {
			if known[m[2]] == "" {
				known[m[2]] = m[1]
			}
		}
	}
	for _, command := range cli.Leaves() {
		if !slices.Contains(tried, command) {
			t.Errorf("waybill %s: give it --json and say above how it is called, or why it has none", command)
		}
	}
}
