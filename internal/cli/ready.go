package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// readyEvery is the time between two looks at a server that is not ready, and
// readyTimeout how long one look may take: longer than the server gives its
// store.
const (
	readyEvery   = 250 * time.Millisecond
	readyTimeout = 6 * time.Second
)

func (c *cli) readyCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "ready", Short: "Tell whether the server is ready, for health checks",
		Long: `Ask the server whether it is ready (GET /readyz): the store answers, and delivery
moves. Ends with 0 if it is, with 1 if not. It needs no key.

Where no server is named, that is the one on this machine that listens where
WAYBILL_LISTEN says.`,
		Example: `  waybill ready --wait 30s && waybill trigger charge.succeeded`,
		Args:    args(),
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait until it is")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if wait < 0 {
			return usagef("--wait is negative: give how long to wait, such as 30s")
		}
		base, err := c.localAddress(c.env("WAYBILL_LISTEN"))
		if err != nil {
			return err
		}
		ctx, release := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer release()
		state, err := awaitReady(ctx, newClient(base, ""), wait)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]any{"server": base, "status": state})
		}
		_, err = fmt.Fprintf(c.stdout, "%s is %s\n", base, c.paint(state))
		return err
	}
	return cmd
}

// awaitReady asks until the server is ready or the time is over; the error is
// the last reason why it was not.
func awaitReady(ctx context.Context, client *client, wait time.Duration) (state string, err error) {
	over := time.Now().Add(wait)
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		state, err = readiness(ctx, client)
		if err == nil || !time.Now().Add(readyEvery).Before(over) {
			return state, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", err
		}
	}
}

// readiness is what a server says of itself; the error says why it is not ready.
func readiness(ctx context.Context, client *client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, client.base+"/readyz", nil)
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	answer, err := client.http.Do(r)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return "", fmt.Errorf("%s has not answered within %s", client.base, readyTimeout)
		}
		return "", client.unreachable(err)
	}
	defer answer.Body.Close()
	var body struct{ Status, Reason string }
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read answer of %s: %w", client.base, err)
	}
	if json.Unmarshal(raw, &body) != nil || body.Status == "" {
		return "", fmt.Errorf("%s answered %s to /readyz: is it a Waybill server?", client.base, answer.Status)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s is not ready (%s): %s", client.base, printable(body.Status), printable(body.Reason))
	}
	return body.Status, nil
}

// localAddress is the server that is named, or else the one on this machine
// that listens at the given address; "" is the default one.
func (c *cli) localAddress(listen string) (string, error) {
	if c.server != "" || c.env("WAYBILL_URL") != "" || listen == "" {
		return c.address()
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", usagef("WAYBILL_LISTEN is not an address; write HOST:PORT, such as 127.0.0.1:4242")
	}
	switch host {
	case "", "0.0.0.0", "::":
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}
