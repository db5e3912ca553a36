package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/event"
)

// demoEvents is what the demo publishes, in this order.
var demoEvents = []string{
	"payment_intent.created",
	"charge.succeeded",
	"payment_intent.succeeded",
	"v1.billing.meter.error_report_triggered",
	demoFails,
	"customer.subscription.updated",
}

const (
	// demoFails is refused by the receiver for demoRefusals tries.
	demoFails    = "invoice.payment_failed"
	demoRefusals = 2
	// demoPatience is longer than all retries of development take, 7 s.
	demoPatience = 30 * time.Second
)

// demoThin are the events that the thin destination takes. The second is the
// twin of a snapshot event.
var demoThin = []string{"v1.billing.meter.error_report_triggered", "v1.payment_intent.succeeded"}

func (c *cli) demoCommand() *cobra.Command {
	var listen, data string
	var count int
	var exit bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a server, a receiver and a few events",
		Long: `Run a server for a first look, with a receiver beside it: creates a snapshot and
a thin destination, publishes events that look real, shows each delivery that
the receiver verified, and one that fails and is retried. Then it stays up.`,
		Args: args(),
	}
	cmd.Flags().StringVar(&listen, "listen", config.Default().Listen, "address to serve the API on")
	cmd.Flags().StringVar(&data, "data", "", "folder to keep the data in (default: a temporary one)")
	cmd.Flags().IntVar(&count, "events", len(demoEvents), "how many events to publish")
	cmd.Flags().BoolVar(&exit, "exit", false, "end after the summary; 0 if every delivery was verified")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if count < 0 || count > 10_000 {
			return usagef("--events must be from 0 to 10000")
		}
		d := &demo{cli: c, cfg: config.Default(), count: count, news: make(chan struct{}, 1), verified: map[string]int{}}
		d.cfg.Listen, d.cfg.Data, d.cfg.Dev, d.cfg.LogLevel = listen, data, true, slog.LevelWarn
		if data == "" {
			if d.cfg.Data, err = os.MkdirTemp("", "waybill-demo-"); err != nil {
				return fmt.Errorf("make folder for the demo: %w", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(d.cfg.Data)) }()
			d.temporary = true
		}
		return d.run(cmd.Context(), exit)
	}
	cmd.AddCommand(c.demoEventBridgeCommand())
	return cmd
}

// demo is one run of the demo.
type demo struct {
	*cli
	cfg       config.Config
	temporary bool
	count     int
	client    *client
	receiver  *receiver

	testKey, liveKey     string
	snapshotTo, thinTo   string
	expected             map[string]int // deliveries by path and event type
	total                int
	mu                   sync.Mutex // guards what follows, and the lines printed
	start                time.Time
	verified             map[string]int
	refusals, unverified int
	news                 chan struct{} // has one entry when verified has changed
}

func (d *demo) run(ctx context.Context, exit bool) (err error) {
	ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	d.start = d.now()
	if d.receiver, err = startReceiver(ctx, demoFails, demoRefusals, d.heard); err != nil {
		return err
	}
	defer d.receiver.close()
	a, err := app.New(ctx, d.cfg, app.Options{Log: slog.New(d.logHandler(d.cfg)), Version: d.version})
	if err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	defer func() { err = errors.Join(err, stop(ctx, a, d.cfg)) }()
	if err := a.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start server: %w", listenError(err, d.cfg.Listen))
	}
	if err := d.prepare(ctx, a); err != nil {
		return err
	}
	if err := d.publish(ctx); err != nil {
		return err
	}
	failed, err := d.wait(ctx, a)
	if err != nil || ctx.Err() != nil {
		return err
	}
	d.summary(a.URL())
	if exit {
		return failed
	}
	if failed != nil {
		fmt.Fprintf(d.stderr, "waybill: %v\n", failed)
	}
	fmt.Fprintln(d.stdout, "\nThe server stays up, and what you send appears here. Ctrl-C ends it.")
	select {
	case <-ctx.Done():
		release()
		return nil
	case err := <-a.Failed():
		return err
	}
}

// prepare gets keys and makes the destinations, as a user would: by HTTP.
func (d *demo) prepare(ctx context.Context, a *app.App) error {
	created := a.Created()
	if created == nil { // the folder is from an earlier run, whose keys nobody knows any more
		var err error
		if created, err = app.CreateAccount(ctx, d.cfg, "demo"); err != nil {
			return fmt.Errorf("create account: %w", err)
		}
	}
	d.testKey, d.liveKey = created.TestKey, created.LiveKey
	d.client = newClient(a.URL(), d.testKey)
	d.printf("Waybill %s serves %s; a receiver listens on %s\n\n", d.version, a.URL(), d.receiver.url(""))
	for _, to := range []struct {
		path string
		id   *string
		new  newDestination
	}{
		{snapshotPath, &d.snapshotTo, newDestination{name: "Demo snapshots", payload: "snapshot", events: []string{"*"}}},
		{thinPath, &d.thinTo, newDestination{name: "Demo thin events", payload: "thin", events: demoThin}},
	} {
		to.new.url = d.receiver.url(to.path)
		raw, err := d.client.createDestination(ctx, to.new)
		if err != nil {
			return fmt.Errorf("create destination: %w", err)
		}
		var made destinationObject
		if err := json.Unmarshal(raw, &made); err != nil {
			return fmt.Errorf("create destination: read answer: %w", err)
		}
		if made.secret() == "" {
			return errors.New("create destination: the answer has no signing secret")
		}
		*to.id = made.ID
		d.receiver.trust(to.path, made.secret())
		d.line("created", to.new.payload+" destination", made.ID)
	}
	return nil
}

// publish sends the events one by one and notes what must come of them.
func (d *demo) publish(ctx context.Context) error {
	d.expected = map[string]int{}
	for i := range d.count {
		name := demoEvents[i%len(demoEvents)]
		body, err := sample(name, false, false, nil)
		if err != nil {
			return err
		}
		// Before, as the delivery is often faster than the answer.
		d.line("publish", name, "")
		raw, err := d.client.postJSON(ctx, "/v2/core/events", body)
		if err != nil {
			return fmt.Errorf("publish %s: %w", name, err)
		}
		var published eventObject
		if err := json.Unmarshal(raw, &published); err != nil {
			return fmt.Errorf("publish %s: read answer: %w", name, err)
		}
		if published.kind() == "snapshot" {
			d.expect(snapshotPath, name)
			name = event.TwinType(name)
		}
		for _, thin := range demoThin {
			if name == thin {
				d.expect(thinPath, name)
			}
		}
	}
	return nil
}

func (d *demo) expect(path, typ string) {
	d.expected[path+" "+typ]++
	d.total++
}

// heard prints what the receiver got, and counts each delivery once: a
// duplicate is possible by design.
func (d *demo) heard(r receipt) {
	what := fmt.Sprintf("%-8s  %s", strings.TrimPrefix(r.path, "/"), r.event)
	final := r.tries == 1 || r.typ == demoFails && r.tries == demoRefusals+1
	switch {
	case r.err != nil:
		d.line("REJECTED", "a request to "+r.path, r.err.Error())
	case r.refused:
		d.line("refused", r.typ, fmt.Sprintf("%s  answered 500 to try %d", what, r.tries))
	case !final:
		d.line("again", r.typ, what+"  signature is genuine")
	case r.tries > 1:
		d.line("verified", r.typ, fmt.Sprintf("%s  signature is genuine, try %d", what, r.tries))
	default:
		d.line("verified", r.typ, what+"  signature is genuine")
	}
	d.mu.Lock()
	switch {
	case r.err != nil:
		d.unverified++
	case r.refused:
		d.refusals++
	case final:
		d.verified[r.path+" "+r.typ]++
	}
	d.mu.Unlock()
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// wait returns when everything was verified. failed says that it was not, in
// time; err that the server cannot go on.
func (d *demo) wait(ctx context.Context, a *app.App) (failed, err error) {
	late := time.NewTimer(demoPatience)
	defer late.Stop()
	for {
		missing := d.missing()
		if missing == 0 {
			return nil, nil
		}
		select {
		case <-d.news:
		case <-late.C:
			return fmt.Errorf("%d of %d deliveries were not verified within %s", missing, d.total, demoPatience), nil
		case <-ctx.Done():
			return nil, nil
		case err := <-a.Failed():
			return nil, err
		}
	}
}

func (d *demo) missing() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for key, want := range d.expected {
		n += max(want-d.verified[key], 0)
	}
	return n
}

func (d *demo) summary(url string) {
	missing := d.missing()
	d.mu.Lock()
	defer d.mu.Unlock()
	program := os.Args[0]
	data := d.cfg.Data
	if d.temporary {
		data += " (removed at the end)"
	}
	fmt.Fprintf(d.stdout, `
%d of %d deliveries verified; %d tries were refused on purpose and retried, %d had a bad signature.

  API             %s
  Test key        %s
  Live key        %s
  Snapshots go to %s at %s
  Thin events to  %s at %s
  Data            %s

Try next, in another terminal:

  export WAYBILL_URL=%s WAYBILL_API_KEY=%s
  %s trigger charge.refunded --override amount=5000
  %s deliveries list
  %s events list --thin
  %s destinations list
  curl $WAYBILL_URL/v2/core/events -H "Authorization: Bearer $WAYBILL_API_KEY" \
    -d '{"type":"order.paid","data":{"object":{"id":"ord_1","object":"order"}}}'
  curl $WAYBILL_URL/metrics
`,
		d.total-missing, d.total, d.refusals, d.unverified,
		url, d.testKey, d.liveKey,
		d.snapshotTo, d.receiver.url(snapshotPath), d.thinTo, d.receiver.url(thinPath), data,
		url, d.testKey, program, program, program, program)
}

func (d *demo) printf(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.stdout, format, args...)
}

// line prints one thing that happened, and when.
func (d *demo) line(what, subject, detail string) {
	text := fmt.Sprintf("%7.3fs  %-8s  %-40s %s", d.now().Sub(d.start).Seconds(), what, subject, printable(detail))
	d.printf("%s\n", strings.TrimRight(text, " "))
}
