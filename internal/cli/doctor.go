package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/config"
)

// The outcomes of a check. Only failed ones end the doctor with 1, unless it is
// strict.
const (
	statusOK      = "ok"
	statusWarning = "warning"
	statusError   = "error"
	statusSkipped = "skipped"
)

// finding is what came of a check.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Found  string `json:"found"`
	Hint   string `json:"hint,omitempty"` // what to do
}

// doctor looks at one installation and collects findings. It changes nothing.
type doctor struct {
	*cli
	cfg      config.Config
	client   *client // without a key if none is given
	findings []finding
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{check, statusOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, hint, format string, args ...any) {
	d.findings = append(d.findings, finding{check, statusWarning, fmt.Sprintf(format, args...), hint})
}

func (d *doctor) fail(check, hint, format string, args ...any) {
	d.findings = append(d.findings, finding{check, statusError, fmt.Sprintf(format, args...), hint})
}

func (d *doctor) skip(check, hint, format string, args ...any) {
	d.findings = append(d.findings, finding{check, statusSkipped, fmt.Sprintf(format, args...), hint})
}

func (c *cli) doctorCommand() *cobra.Command {
	loader := config.NewLoader("data", "database", "listen", "max_store_size", "dev", "allow_network")
	var strict bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check an installation, and say what to do",
		Long: `Check configuration, store, encryption key, server, clocks, destinations and
backlog, and say what to do about each finding. It changes nothing, and sends
nothing to destinations: it only connects to them.

Run it where the server runs, as its user and with its configuration: then it
looks into the store too, whether the server runs or not. From elsewhere it asks
the server only. WAYBILL_API_KEY lets it look at the destinations of that key.

Ends with 0 if there is no error, with 1 if there is; with --strict warnings
count too.`,
		Example: `  waybill doctor
  waybill doctor --config /etc/waybill/waybill.yaml --data /var/lib/waybill
  waybill doctor --server https://events.example.com --json`,
		Args: args(),
	}
	bind(cmd, loader)
	cmd.Flags().BoolVar(&strict, "strict", false, "end with 1 for warnings too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d := &doctor{cli: c}
		if err := d.examine(cmd.Context(), loader); err != nil {
			return err
		}
		return d.report(strict)
	}
	return cmd
}

func (d *doctor) examine(ctx context.Context, loader *config.Loader) error {
	usable := d.checkConfig(loader)
	base, err := d.localAddress(d.cfg.Listen)
	if err != nil {
		return err
	}
	d.client = newClient(base, d.apiKey)
	if d.client.key == "" {
		d.client.key = d.env("WAYBILL_API_KEY")
	}
	_, down := readiness(ctx, d.client)
	local := false
	if usable {
		local = d.checkStore(ctx, down == nil)
	}
	d.checkServer(ctx, down)
	if down == nil {
		d.checkDestinations(ctx, local)
	}
	return nil
}

// secretLine is a setting in a file that only its owner may read.
var secretLine = regexp.MustCompile(`(?m)^(encryption_key|database|bootstrap_[a-z_]*key):`)

// checkConfig reads the configuration as a server does, and tells whether it can
// be used.
func (d *doctor) checkConfig(loader *config.Loader) (usable bool) {
	known := map[string]bool{"WAYBILL_URL": true, "WAYBILL_API_KEY": true}
	cfg, err := loader.Load(func(name string) string {
		known[name] = true
		return d.env(name)
	})
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "WAYBILL_") && !strings.HasPrefix(name, "WAYBILL_TEST_") && !known[name] {
			d.warn("config", "correct or remove it; `waybill serve --help` lists the settings", "there is no setting %s, which the environment has", name)
		}
	}
	path := loader.Flags()[0].String()
	if path == "" {
		path = d.env("WAYBILL_CONFIG")
	}
	if raw, err := os.ReadFile(path); err == nil && secretLine.Match(raw) { //nolint:gosec // G304: the operator names the file
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			d.warn("config", "run: chmod 600 "+path, "%s holds secrets and is open to other users (mode %04o)", path, info.Mode().Perm())
		}
	}
	var unusable *config.Error
	if errors.As(err, &unusable) {
		d.cfg = config.Default()
		for _, problem := range unusable.Problems {
			d.fail("config", "a server does not start with it", "%s", problem)
		}
		d.skip("store", "mend the configuration first", "not looked at")
		return false
	}
	d.cfg = cfg
	if path == "" {
		d.ok("config", "from defaults and the environment")
	} else {
		d.ok("config", "from %s and the environment", path)
	}
	return true
}

// report prints the findings; the error counts those that matter.
func (d *doctor) report(strict bool) error {
	counts := map[string]int{}
	for _, f := range d.findings {
		counts[f.Status]++
	}
	if d.json {
		if err := d.printJSON(map[string]any{"data": d.findings, "errors": counts[statusError], "warnings": counts[statusWarning]}); err != nil {
			return err
		}
	} else {
		for _, f := range d.findings {
			gap := strings.Repeat(" ", max(0, len(statusWarning)-len(f.Status)))
			fmt.Fprintf(d.stdout, "%s%s  %-12s %s\n", d.paint(f.Status), gap, f.Check, printable(f.Found))
			if f.Hint != "" {
				fmt.Fprintf(d.stdout, "%22s %s\n", "→", printable(f.Hint))
			}
		}
	}
	switch {
	case counts[statusError] > 0:
		return fmt.Errorf("%d errors, %d warnings", counts[statusError], counts[statusWarning])
	case strict && counts[statusWarning] > 0:
		return fmt.Errorf("%d warnings", counts[statusWarning])
	case !d.json:
		fmt.Fprintf(d.stdout, "No errors, %d warnings.\n", counts[statusWarning])
	}
	return nil
}
