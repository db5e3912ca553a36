package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
)

// What the walk-through makes.
const (
	busDemoPartner = "stripe.com"
	busDemoType    = "payment_intent.succeeded"
	busDemoQueue   = "big-payments"
	busDemoRule    = "big-payments"
	busDemoHook    = "accounting"
	busDemoHeader  = "X-Api-Key"
	busDemoAPIKey  = "demo-api-key" //nolint:gosec // guards nothing
	busDemoKeyID   = "AKIAWAYBILLDEMO00000"
	busDemoSecret  = "waybill-demo-secret-0123456789" //nolint:gosec // guards nothing
	// busDemoLeast is what the rule's pattern compares amounts to.
	busDemoLeast = 5000
)

// busDemoWait is how long the demo waits for anything; nothing should take a
// second.
const busDemoWait = 30 * time.Second

func (c *cli) demoEventBridgeCommand() *cobra.Command {
	var listen string
	var exit bool
	cmd := &cobra.Command{
		Use:   "eventbridge",
		Short: "See both halves: a Stripe event destination on an EventBridge bus",
		Long: `Run a server in a temporary folder and play what connects the two halves: an
event destination of type amazon_eventbridge, its partner event source, a bus, a
rule with a numeric pattern, an input transformer, a queue and an HTTP target.

Each step is printed as a command that does the same from another terminal; the
demo does it itself, without the AWS CLI. Then it stays up.`,
		Args: args(),
	}
	cmd.Flags().StringVar(&listen, "listen", config.Default().Listen, "address to serve the API on")
	cmd.Flags().BoolVar(&exit, "exit", false, "end after the last step; 0 if everything happened")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		d := &busDemo{cli: c, cfg: config.Default(), hooks: make(chan hook, 16)}
		d.cfg.Listen, d.cfg.Dev, d.cfg.LogLevel = listen, true, slog.LevelWarn
		d.cfg.PartnerName, d.cfg.BootstrapAWSKey = busDemoPartner, busDemoKeyID+":"+busDemoSecret
		if d.cfg.Data, err = os.MkdirTemp("", "waybill-demo-"); err != nil {
			return fmt.Errorf("make folder for the demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.cfg.Data)) }()
		return d.run(cmd.Context(), exit)
	}
	return cmd
}

// busDemo is one run of the walk-through.
type busDemo struct {
	*cli
	cfg    config.Config
	client *client
	aws    *awsClient
	hooks  chan hook // what the HTTP target got

	account             string // 12 digits
	receiver            string // the URL of the HTTP target
	destination, source string
	queueURL            string
	steps               int
}

// hook is a request to the HTTP target.
type hook struct{ key, body string }

func (d *busDemo) run(ctx context.Context, exit bool) (err error) {
	ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	closeReceiver, err := d.startReceiver(ctx)
	if err != nil {
		return err
	}
	defer closeReceiver()
	a, err := app.New(ctx, d.cfg, app.Options{Log: slog.New(d.logHandler(d.cfg)), Version: d.version})
	if err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	defer func() { err = errors.Join(err, stop(ctx, a, d.cfg)) }()
	if err := a.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start server: %w", listenError(err, d.cfg.Listen))
	}
	created := a.Created()
	d.account = created.Account.AWSID
	d.client = newClient(a.URL(), created.TestKey)
	d.aws = d.newAWSClient(a.URL(), busDemoKeyID, busDemoSecret, d.cfg.AWSRegion)
	d.introduce(a.URL(), created.TestKey)
	for _, part := range []func(context.Context) error{d.connect, d.associate, d.route, d.deliver, d.pause} {
		if err := part(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("step %d: %w", d.steps, err)
		}
	}
	fmt.Fprintln(d.stdout, "\nEverything happened as it should.")
	if exit {
		return nil
	}
	fmt.Fprintln(d.stdout, "The server stays up for commands of your own. Ctrl-C ends it and removes its data.")
	for {
		select {
		case h := <-d.hooks:
			d.show("the HTTP target received " + h.body)
		case <-ctx.Done():
			release()
			return nil
		case err := <-a.Failed():
			return err
		}
	}
}

// startReceiver listens for the HTTP target.
func (d *busDemo) startReceiver(ctx context.Context) (stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start receiver: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: busDemoWait, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
		if err != nil {
			return // the sender gave up, and tries again
		}
		w.WriteHeader(http.StatusNoContent)
		select {
		case d.hooks <- hook{r.Header.Get(busDemoHeader), string(body)}:
		case <-ctx.Done():
		}
	})}
	go func() { _ = server.Serve(l) }()
	d.receiver = "http://" + l.Addr().String() + "/payments"
	return func() { _ = server.Close() }, nil
}

func (d *busDemo) introduce(address, testKey string) {
	fmt.Fprintf(d.stdout, `Waybill %s serves %s. To type the commands below in another terminal:

  export WAYBILL_URL=%s WAYBILL_API_KEY=%s
  export AWS_ENDPOINT_URL=%s AWS_REGION=%s AWS_DEFAULT_REGION=%s
  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s
`, d.version, address, address, testKey, address, d.aws.region, d.aws.region, busDemoKeyID, busDemoSecret)
}

// step begins a step. What it prints is what a person would type.
func (d *busDemo) step(title, command string) {
	d.steps++
	fmt.Fprintf(d.stdout, "\n%d. %s\n   $ %s\n", d.steps, title, command)
}

// show prints what came of a step.
func (d *busDemo) show(text string) { fmt.Fprintf(d.stdout, "   %s\n", printable(text)) }

// call prints a command and carries it out. out may be nil.
func (d *busDemo) call(ctx context.Context, title string, command awsCommand, out any) error {
	line, err := command.line()
	if err != nil {
		return err
	}
	d.step(title, line)
	if err := d.aws.call(ctx, command.service, command.operation, command.values(), out); err != nil {
		return fmt.Errorf("%s: %w", kebab(command.operation), err)
	}
	return nil
}

// connect makes the event destination, and has its first event held.
func (d *busDemo) connect(ctx context.Context) error {
	d.step("Create an event destination by Stripe's API. Its partner event source is pending.",
		fmt.Sprintf("%s destinations create --name Bus --aws-account-id %s --aws-region %s --events %s", os.Args[0], d.account, d.aws.region, busDemoType))
	raw, err := d.client.createDestination(ctx, newDestination{
		name: "Bus", awsAccount: d.account, awsRegion: d.aws.region, payload: "snapshot", events: []string{busDemoType},
	})
	if err != nil {
		return fmt.Errorf("create destination: %w", err)
	}
	var made destinationObject
	if err := json.Unmarshal(raw, &made); err != nil {
		return fmt.Errorf("create destination: read answer: %w", err)
	}
	if made.Amazon == nil || made.Amazon.Status != "pending" {
		return fmt.Errorf("create destination: its event source is not pending: %s", raw)
	}
	d.destination = made.ID
	d.source = made.Amazon.ARN[strings.LastIndex(made.Amazon.ARN, "aws.partner/"):]
	d.show(fmt.Sprintf("%s: aws_event_source_status %s, aws_event_source_arn %s", made.ID, made.Amazon.Status, made.Amazon.ARN))
	return nil
}

// associate gives the source a bus, upon which what was held flows.
func (d *busDemo) associate(ctx context.Context) error {
	held, err := d.trigger(ctx, "An event that comes too early is held: not sent, and not lost.", 2000)
	if err != nil {
		return err
	}
	if err := d.await(ctx, held, "pending"); err != nil {
		return err
	}
	var list struct {
		EventSources []struct{ Name, State string }
	}
	if err := d.call(ctx, "The account that is to get the events sees the partner event source.",
		newAWSCommand(awsEvents, "ListEventSources", awsParam{"NamePrefix", "aws.partner/" + busDemoPartner}), &list); err != nil {
		return err
	}
	if len(list.EventSources) != 1 || list.EventSources[0].Name != d.source || list.EventSources[0].State != "PENDING" {
		return fmt.Errorf("list-event-sources: %s is not PENDING in %v", d.source, list.EventSources)
	}
	d.show(list.EventSources[0].Name + " " + list.EventSources[0].State)
	if err := d.call(ctx, "Associate it: a bus with the source's name makes it active, and what was held flows.",
		newAWSCommand(awsEvents, "CreateEventBus", awsParam{"Name", d.source}, awsParam{"EventSourceName", d.source}), nil); err != nil {
		return err
	}
	if err := d.sourceBecomes(ctx, "active"); err != nil {
		return err
	}
	if err := d.await(ctx, held, "delivered"); err != nil {
		return err
	}
	d.show("the bus has no rule yet, so that event ends there, as it would on AWS")
	return nil
}

// transformed is what the rule makes of an event.
func (d *busDemo) transformed() map[string]any {
	return map[string]any{
		"InputPathsMap": map[string]string{
			"payment": "$.detail.data.object.id", "amount": "$.detail.data.object.amount", "currency": "$.detail.data.object.currency",
		},
		"InputTemplate": `{"payment": <payment>, "text": "<amount> <currency> came in"}`,
	}
}

// route makes a queue, an HTTP target and the rule.
func (d *busDemo) route(ctx context.Context) error {
	var queue struct{ QueueUrl string } //nolint:revive // AWS's own word
	if err := d.call(ctx, "A queue", newAWSCommand(awsQueues, "CreateQueue", awsParam{"QueueName", busDemoQueue}), &queue); err != nil {
		return err
	}
	d.queueURL = queue.QueueUrl
	d.show(d.queueURL)
	var connection struct{ ConnectionArn, ConnectionState string }
	if err := d.call(ctx, "and an HTTP target, to which a connection keeps the API key",
		newAWSCommand(awsEvents, "CreateConnection", awsParam{"Name", busDemoHook}, awsParam{"AuthorizationType", "API_KEY"},
			awsParam{"AuthParameters", map[string]any{"ApiKeyAuthParameters": map[string]string{"ApiKeyName": busDemoHeader, "ApiKeyValue": busDemoAPIKey}}}),
		&connection); err != nil {
		return err
	}
	d.show(connection.ConnectionArn + " " + connection.ConnectionState)
	var hook struct{ ApiDestinationArn, ApiDestinationState string } //nolint:revive // AWS's own word
	if err := d.call(ctx, "An API destination: a receiver that this demo runs",
		newAWSCommand(awsEvents, "CreateApiDestination", awsParam{"Name", busDemoHook}, awsParam{"ConnectionArn", connection.ConnectionArn},
			awsParam{"InvocationEndpoint", d.receiver}, awsParam{"HttpMethod", "POST"}), &hook); err != nil {
		return err
	}
	d.show(hook.ApiDestinationArn + " " + hook.ApiDestinationState)
	pattern := fmt.Sprintf(`{"source":[{"prefix":"aws.partner/%s"}],"detail-type":["%s"],"detail":{"data":{"object":{"amount":[{"numeric":[">",%d]}]}}}}`,
		busDemoPartner, busDemoType, busDemoLeast)
	var rule struct{ RuleArn string }
	if err := d.call(ctx, fmt.Sprintf("A rule: payments above %d", busDemoLeast),
		newAWSCommand(awsEvents, "PutRule", awsParam{"Name", busDemoRule}, awsParam{"EventBusName", d.source}, awsParam{"EventPattern", pattern}), &rule); err != nil {
		return err
	}
	d.show(rule.RuleArn)
	targets := []map[string]any{
		{"Id": "queue", "Arn": fmt.Sprintf("arn:aws:sqs:%s:%s:%s", d.aws.region, d.account, busDemoQueue), "InputTransformer": d.transformed()},
		{"Id": "http", "Arn": hook.ApiDestinationArn, "RoleArn": "arn:aws:iam::" + d.account + ":role/events", "InputTransformer": d.transformed()},
	}
	var put struct {
		FailedEntryCount int
		FailedEntries    []struct{ ErrorMessage string }
	}
	if err := d.call(ctx, "Its targets, each with an input transformer",
		newAWSCommand(awsEvents, "PutTargets", awsParam{"Rule", busDemoRule}, awsParam{"EventBusName", d.source}, awsParam{"Targets", targets}), &put); err != nil {
		return err
	}
	if put.FailedEntryCount != 0 {
		return fmt.Errorf("put-targets: %v", put.FailedEntries)
	}
	d.show("2 targets")
	return nil
}

// deliver publishes one event below the rule's bound and one above.
func (d *busDemo) deliver(ctx context.Context) error {
	small, err := d.trigger(ctx, "A small payment reaches the bus, and no target.", busDemoLeast/2)
	if err != nil {
		return err
	}
	if err := d.await(ctx, small, "delivered"); err != nil {
		return err
	}
	if _, err := d.trigger(ctx, "A big one matches.", 12500); err != nil {
		return err
	}
	return d.receive(ctx, 12500)
}

// pause shows that deactivated is pending again.
func (d *busDemo) pause(ctx context.Context) error {
	source := awsParam{"Name", d.source}
	if err := d.call(ctx, "Deactivate the source: it is pending again,", newAWSCommand(awsEvents, "DeactivateEventSource", source), nil); err != nil {
		return err
	}
	if err := d.sourceBecomes(ctx, "pending"); err != nil {
		return err
	}
	held, err := d.trigger(ctx, "so that this is held,", 99900)
	if err != nil {
		return err
	}
	if err := d.await(ctx, held, "pending"); err != nil {
		return err
	}
	if err := d.call(ctx, "until it is activated.", newAWSCommand(awsEvents, "ActivateEventSource", source), nil); err != nil {
		return err
	}
	if err := d.sourceBecomes(ctx, "active"); err != nil {
		return err
	}
	return d.receive(ctx, 99900)
}

// trigger publishes a payment, as `waybill trigger` does, and returns the
// event's id.
func (d *busDemo) trigger(ctx context.Context, title string, amount int) (string, error) {
	override := "amount=" + strconv.Itoa(amount)
	d.step(title, fmt.Sprintf("%s trigger %s --override %s", os.Args[0], busDemoType, override))
	body, err := sample(busDemoType, false, false, []string{override})
	if err != nil {
		return "", err
	}
	raw, err := d.client.postJSON(ctx, "/v2/core/events", body)
	if err != nil {
		return "", fmt.Errorf("publish %s: %w", busDemoType, err)
	}
	var published eventObject
	if err := json.Unmarshal(raw, &published); err != nil {
		return "", fmt.Errorf("publish %s: read answer: %w", busDemoType, err)
	}
	return published.ID, nil
}

// receive shows that the payment came to both targets, and nothing before it.
func (d *busDemo) receive(ctx context.Context, amount int) error {
	var got struct {
		Messages []struct{ Body, ReceiptHandle string }
	}
	if err := d.call(ctx, "The queue has it, transformed.",
		newAWSCommand(awsQueues, "ReceiveMessage", awsParam{"QueueUrl", d.queueURL}, awsParam{"WaitTimeSeconds", 20}), &got); err != nil {
		return err
	}
	if len(got.Messages) != 1 {
		return fmt.Errorf("receive-message: %d messages, want 1", len(got.Messages))
	}
	d.show(got.Messages[0].Body)
	if err := d.transformedWell("the queue", got.Messages[0].Body, amount); err != nil {
		return err
	}
	select {
	case h := <-d.hooks:
		d.show(fmt.Sprintf("the HTTP target received %s with %s: %s", h.body, busDemoHeader, h.key))
		if h.key != busDemoAPIKey {
			return fmt.Errorf("the HTTP target got the API key %q", h.key)
		}
		if err := d.transformedWell("the HTTP target", h.body, amount); err != nil {
			return err
		}
	case <-time.After(busDemoWait):
		return errors.New("the HTTP target received nothing")
	case <-ctx.Done():
		return ctx.Err()
	}
	return d.call(ctx, "Done with it",
		newAWSCommand(awsQueues, "DeleteMessage", awsParam{"QueueUrl", d.queueURL}, awsParam{"ReceiptHandle", got.Messages[0].ReceiptHandle}), nil)
}

func (d *busDemo) transformedWell(at, body string, amount int) error {
	var m struct{ Payment, Text string }
	if err := json.Unmarshal([]byte(body), &m); err != nil || !strings.HasPrefix(m.Payment, "pi_") || m.Text != fmt.Sprintf("%d usd came in", amount) {
		return fmt.Errorf("%s got %s instead of the payment of %d", at, body, amount)
	}
	return nil
}

// sourceBecomes waits until the destination shows the state of its source, and
// is itself as that says.
func (d *busDemo) sourceBecomes(ctx context.Context, status string) error {
	var shown destinationObject
	if err := d.poll(ctx, func() (bool, error) {
		raw, err := d.client.get(ctx, pathID(destinationsPath+"/", d.destination, ""), nil)
		if err != nil {
			return false, err
		}
		shown = destinationObject{}
		if err := json.Unmarshal(raw, &shown); err != nil {
			return false, fmt.Errorf("read destination: %w", err)
		}
		return shown.Amazon != nil && shown.Amazon.Status == status, nil
	}); err != nil {
		return fmt.Errorf("wait until aws_event_source_status is %s: %w", status, err)
	}
	d.show(fmt.Sprintf("%s: aws_event_source_status %s", d.destination, shown.Amazon.Status))
	return nil
}

// await waits until the only delivery of an event has a status.
func (d *busDemo) await(ctx context.Context, event, status string) error {
	var seen []string
	if err := d.poll(ctx, func() (bool, error) {
		raw, err := d.client.get(ctx, "/v2/core/deliveries", url.Values{"event": {event}})
		if err != nil {
			return false, err
		}
		var page struct{ Data []deliveryObject }
		if err := json.Unmarshal(raw, &page); err != nil {
			return false, fmt.Errorf("read deliveries: %w", err)
		}
		seen = seen[:0]
		for i := range page.Data {
			seen = append(seen, page.Data[i].Status)
		}
		return slices.Equal(seen, []string{status}), nil
	}); err != nil {
		return fmt.Errorf("wait until the delivery of %s is %s (it is %v): %w", event, status, seen, err)
	}
	d.show(fmt.Sprintf("%s: its delivery to %s is %s", event, d.destination, status))
	return nil
}

// poll asks until done says so.
func (d *busDemo) poll(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, busDemoWait)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
