// Package cli owns the command line: `waybill serve` and `waybill demo` run a
// server, the other verbs are clients of a running one and know only its HTTP
// API. Excepted are those that open the store itself: `accounts` and `keys`, as
// without an account there is no key to call with, and `migrate`, `backup`,
// `restore` and `import`, whose matter it is.
//
// A verb prints tables for people, or with --json what the API answered. What
// fails prints one line that says what to do, and ends with 1; a command line
// that cannot be understood, or a configuration that cannot be used, ends with
// 2. Keys are never printed but where they are made, and never logged.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/config"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// cli is what the verbs share.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	version        string
	now            func() time.Time

	server, apiKey string // the global flags
	json           bool
}

// Main runs the command line, args without the program's name, and returns the
// exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string, version string) int {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr, env: env, version: version, now: time.Now}
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "waybill: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nwaybill: "))
	var usage usageError
	var unusable *config.Error
	if errors.As(err, &usage) || errors.As(err, &unusable) {
		return exitUsage
	}
	return exitFailed
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "waybill",
		Short: "Stripe-compatible event destinations in one binary",
		Long: `Waybill accepts events over HTTP, stores them durably, and delivers them to
webhooks that are managed through Stripe's Event Destinations API.

Try it:          waybill demo
Run a server:    waybill serve
Send an event:   waybill trigger payment_intent.succeeded`,
		Version:       c.version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // RunE refuses them as usage errors
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 0 {
				return cmd.Help()
			}
			return usagef("there is no command %q; see `waybill --help`", given[0])
		},
	}
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetVersionTemplate("waybill {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.PersistentFlags().StringVar(&c.server, "server", "", "server to talk to (default $WAYBILL_URL or "+defaultServer+")")
	root.PersistentFlags().StringVar(&c.apiKey, "api-key", "", "secret key sk_… (default $WAYBILL_API_KEY, which others cannot read)")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON instead of tables")
	root.AddCommand(c.serveCommand(), c.demoCommand(), c.readyCommand(), c.doctorCommand(), c.accountsCommand(), c.keysCommand(), c.auditCommand(),
		c.triggerCommand(), c.eventsCommand(), c.destinationsCommand(), c.deliveriesCommand(), c.replayCommand(),
		c.listenCommand(), c.patternCommand(), c.applyCommand(), c.logsCommand(),
		c.migrateCommand(), c.backupCommand(), c.restoreCommand(), c.importCommand())
	c.complete(root)
	return root
}

// group is a command that only holds others.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("`%s` needs a verb; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			return usagef("`%s` has no verb %q; see `%s --help`", cmd.CommandPath(), args[0], cmd.CommandPath())
		},
	}
	g.AddCommand(verbs...)
	return g
}

// args checks that a command has the named arguments and no others.
func args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		switch {
		case len(given) < len(names):
			return usagef("%s is missing; see `%s --help`", names[len(given)], cmd.CommandPath())
		case len(given) > len(names):
			return usagef("there is nothing to do with %q; see `%s --help`", given[len(names)], cmd.CommandPath())
		}
		return nil
	}
}

// bind adds the flags of a configuration.
func bind(cmd *cobra.Command, loader *config.Loader) {
	for _, f := range loader.Flags() {
		flag := cmd.Flags().VarPF(f, f.Name, "", f.Usage)
		if f.Bool {
			flag.NoOptDefVal = "true"
		}
	}
}

// listenError says which flag helps if the address is in use.
func listenError(err error, listen string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is taken by another program: stop that, or choose another address with --listen, such as --listen 127.0.0.1:0 for any free port", listen)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is no address of this machine: choose one with --listen, such as --listen 127.0.0.1:4242", listen)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s may not be used by this user: choose a port above 1023 with --listen, such as --listen 127.0.0.1:4242", listen)
	}
	return err
}
