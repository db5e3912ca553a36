package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
)

func (c *cli) serveCommand() *cobra.Command {
	loader := config.NewLoader()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: `Run a server. Each flag can also be set in the environment (--max-in-flight is
WAYBILL_MAX_IN_FLIGHT) and in a YAML file (max_in_flight). Secrets have no flag:

  WAYBILL_ENCRYPTION_KEY      64 hex digits that encrypt signing secrets at rest
                              (default: encryption.key in the data folder)
  WAYBILL_BOOTSTRAP_TEST_KEY  keys of the account that the first start makes
  WAYBILL_BOOTSTRAP_LIVE_KEY  (default: generated, and printed once)
  WAYBILL_BOOTSTRAP_AWS_KEY   ID:SECRET, an access key of the first account for the
                              AWS CLI and SDKs (default: none; waybill keys create --aws)

SIGINT and SIGTERM end the server once the requests and attempts under way are
done, within --shutdown-timeout; a second signal ends it at once. Either way
nothing that was accepted is lost.`,
		Args: args(),
	}
	bind(cmd, loader)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loader.Load(c.env)
		if err != nil {
			return err
		}
		return c.serve(cmd.Context(), cfg)
	}
	return cmd
}

// gcPercent lets the heap, which is small, grow further than Go's default of 100
// before it is collected: some percent less processor time a delivery for some ten
// megabytes. GOGC overrides it.
const gcPercent = 150

// serve runs a server until it is told to stop or fails.
func (c *cli) serve(ctx context.Context, cfg config.Config) (err error) {
	ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	log := slog.New(c.logHandler(cfg))
	log.Debug("configuration", "config", cfg)
	if c.env("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	a, err := app.New(ctx, cfg, app.Options{Log: log, Version: c.version})
	if err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	defer func() { err = errors.Join(err, stop(ctx, a, cfg)) }()
	c.announce(a, cfg)
	if err := a.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start server: %w", listenError(err, cfg.Listen))
	}
	fmt.Fprintf(c.stdout, "Waybill %s listens on %s\n", c.version, a.URL())
	select {
	case <-ctx.Done():
		release() // from here on a signal has its usual effect: the end
		fmt.Fprintln(c.stdout, "Stopping; a second signal ends it at once.")
		return nil
	case err := <-a.Failed():
		return err
	}
}

// stop ends a server in the time it is given, though ctx is done already.
func stop(ctx context.Context, a *app.App, cfg config.Config) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		return fmt.Errorf("stop server: %w", err)
	}
	return nil
}

// announce prints the keys of a first start. It comes before the server listens:
// whoever waits for the port and then reads the output finds them there.
func (c *cli) announce(a *app.App, cfg config.Config) {
	created := a.Created()
	if created == nil {
		return
	}
	fmt.Fprintf(c.stdout, "Created account %s\n", created.Account.ID)
	shown := 0
	for _, key := range []struct {
		mode, key string
		given     config.Secret
		variable  string
	}{
		{"Test", created.TestKey, cfg.BootstrapTestKey, "bootstrap_test_key"},
		{"Live", created.LiveKey, cfg.BootstrapLiveKey, "bootstrap_live_key"},
	} {
		if key.given != "" {
			fmt.Fprintf(c.stdout, "  %s key  as given by %s\n", key.mode, key.variable)
			continue
		}
		shown++
		fmt.Fprintf(c.stdout, "  %s key  %s\n", key.mode, key.key)
	}
	if shown > 0 {
		fmt.Fprintln(c.stdout, "Keep them now: they are stored as hashes and not shown again.")
	}
}

func (c *cli) logHandler(cfg config.Config) slog.Handler {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.LogJSON {
		return slog.NewJSONHandler(c.stderr, options)
	}
	return slog.NewTextHandler(c.stderr, options)
}
