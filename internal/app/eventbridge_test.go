package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/waybill-dev/waybill/internal/config"
)

const (
	awsKeyID   = "AKIAEVENTBRIDGETESTS"
	awsSecret  = "eventbridge-tests-secret-01"
	awsAccount = "123456789012"
	awsRegion  = "us-east-1"
)

// withBus gives a server's first account an access key and an AWS account id,
// and makes the installation a partner by the name of stripe.com.
func withBus(cfg *config.Config) {
	cfg.BootstrapAWSKey, cfg.BootstrapAWSAccountID = awsKeyID+":"+awsSecret, awsAccount
	cfg.PartnerName = "stripe.com"
}

func (s *server) events() *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{
		BaseEndpoint: aws.String(s.url), Region: awsRegion, HTTPClient: s.http,
		Credentials: credentials.NewStaticCredentialsProvider(awsKeyID, awsSecret, ""),
	})
}

func (s *server) queues() *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: aws.String(s.url), Region: awsRegion, HTTPClient: s.http,
		Credentials: credentials.NewStaticCredentialsProvider(awsKeyID, awsSecret, ""),
	})
}

// busDestination creates an event destination for the account's bus, and
// returns its id and its source's name.
func (c client) busDestination() (id, source string) {
	c.t.Helper()
	made := c.post("/v2/core/event_destinations", object{
		"name": "bus", "type": "amazon_eventbridge", "event_payload": "snapshot", "enabled_events": []string{"*"},
		"amazon_eventbridge": object{"aws_account_id": awsAccount, "aws_region": awsRegion},
	}).ok()
	id = made.text("id")
	source = "aws.partner/stripe.com/" + id
	if arn, want := made.text("amazon_eventbridge", "aws_event_source_arn"), "arn:aws:events:"+awsRegion+"::event-source/"+source; arn != want {
		c.t.Errorf("the source is %s, want %s", arn, want)
	}
	c.sourceIs(id, "pending")
	return id, source
}

func (c client) sourceIs(id, want string) {
	c.t.Helper()
	if got := c.get("/v2/core/event_destinations/"+id).ok().text("amazon_eventbridge", "aws_event_source_status"); got != want {
		c.t.Fatalf("aws_event_source_status is %s, want %s", got, want)
	}
}

// count is how many deliveries of a destination have a status.
func (c client) count(destination, status string) int {
	c.t.Helper()
	n := 0
	for path := "/v2/core/deliveries?limit=100&destination=" + destination + "&status=" + status; path != ""; {
		var page struct {
			Data []delivery
			Next string `json:"next_page_url"`
		}
		c.get(path).ok().into(&page)
		n, path = n+len(page.Data), strings.TrimPrefix(page.Next, c.url)
	}
	return n
}

// publishMany publishes n events about customers in requests of size.
func (c client) publishMany(n, size int) ([]string, error) {
	var ids []string
	for len(ids) < n {
		var events []object
		for range min(size, n-len(ids)) {
			events = append(events, customer("customer.created", "cus_"+strconv.Itoa(len(ids)+len(events))))
		}
		raw, err := json.Marshal(batch(events...))
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/v2/core/events", strings.NewReader(string(raw)))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+c.key)
		response, err := c.http.Do(r)
		if err != nil {
			return nil, err
		}
		var page struct{ Data []struct{ ID string } }
		err = errors.Join(json.NewDecoder(response.Body).Decode(&page), response.Body.Close())
		if err != nil || response.StatusCode != http.StatusOK || len(page.Data) != len(events) {
			return nil, fmt.Errorf("publish answered %s with %d events: %w", response.Status, len(page.Data), err)
		}
		for _, e := range page.Data {
			ids = append(ids, e.ID)
		}
	}
	return ids, nil
}

// alongside runs change while others publish, and returns what they published:
// some events before change began, some after it ended.
func (c client) alongside(change func() error) []string {
	c.t.Helper()
	const publishers, each = 4, 100
	var mu sync.Mutex
	var ids []string
	var group sync.WaitGroup
	begun := make(chan struct{}, publishers)
	for range publishers {
		group.Go(func() {
			for i := range each {
				more, err := c.publishMany(1, 1)
				if err != nil {
					c.t.Error(err)
					break
				}
				mu.Lock()
				ids = append(ids, more...)
				mu.Unlock()
				if i == each/4 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range publishers {
		select {
		case <-begun:
		case <-c.t.Context().Done():
		}
	}
	if err := change(); err != nil {
		c.t.Error(err)
	}
	group.Wait()
	return ids
}

// heldEvents is how many events a destination holds in these tests.
// WAYBILL_HELD_EVENTS sets another number.
func heldEvents(t *testing.T) int {
	t.Helper()
	text := os.Getenv("WAYBILL_HELD_EVENTS")
	if text == "" {
		return 2000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What is published while a source is pending arrives when it is associated,
// and what is published at that very moment too: each once.
func TestEventsAreHeldWhileTheSourceIsPending(t *testing.T) {
	t.Parallel()
	s := newServer(t, withBus)
	n := heldEvents(t)
	bus, queues := s.events(), s.queues()
	id, source := s.busDestination()

	early, err := s.publishMany(n, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.count(id, "pending"); got != n {
		t.Fatalf("%d deliveries are pending while the source is, want %d", got, n)
	}
	early = append(early, s.alongside(func() error {
		// The last moment before: nothing may have gone.
		if got := s.count(id, "delivered"); got != 0 {
			t.Errorf("%d deliveries went before there was a bus", got)
		}
		_, err := bus.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: &source, EventSourceName: &source})
		return err
	})...)
	s.sourceIs(id, "active")
	until(t, "all that was held is on the bus", func() bool { return s.count(id, "pending") == 0 })
	if got := s.count(id, "delivered"); got != len(early) {
		t.Errorf("%d deliveries are on the bus, want %d", got, len(early))
	}

	made, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("all")})
	if err != nil {
		t.Fatal(err)
	}
	s.ruleToQueue(bus, source)

	// Deactivated is pending again.
	if _, err := bus.DeactivateEventSource(t.Context(), &eventbridge.DeactivateEventSourceInput{Name: &source}); err != nil {
		t.Fatal(err)
	}
	s.sourceIs(id, "pending")
	held, err := s.publishMany(n, 100)
	if err != nil {
		t.Fatal(err)
	}
	held = append(held, s.alongside(func() error {
		out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: made.QueueUrl})
		if err != nil {
			return err
		}
		if len(out.Messages) > 0 {
			t.Errorf("a message came while the source was pending: %s", *out.Messages[0].Body)
		}
		_, err = bus.ActivateEventSource(t.Context(), &eventbridge.ActivateEventSourceInput{Name: &source})
		return err
	})...)
	until(t, "all that was held is on the bus again", func() bool { return s.count(id, "pending") == 0 })

	got := drain(t, queues, *made.QueueUrl, source, len(held))
	if !same(got, held) {
		t.Errorf("%d events came (%d different), of %d", len(got), distinct(got), len(held))
	}
}

// One at a time, what a source held flows in the order in which it was
// accepted: when the source is associated, and when it is activated again.
func TestHeldEventsFlowOldestFirst(t *testing.T) {
	t.Parallel()
	s := newServer(t, withBus, func(cfg *config.Config) { cfg.MaxInFlight = 1 })
	bus, queues := s.events(), s.queues()
	id, source := s.busDestination()
	held := func() []string {
		t.Helper()
		var ids []string
		for range 3 { // held at different times
			more, err := s.publishMany(20, 20)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, more...)
		}
		return ids
	}
	flown := func() bool { return s.count(id, "pending") == 0 }

	ids := held()
	if _, err := bus.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: &source, EventSourceName: &source}); err != nil {
		t.Fatal(err)
	}
	until(t, "all that was held is on the bus", flown)
	var last time.Time
	for i, event := range ids { // no rule can have seen them: the attempts tell
		attempts := s.attempts(s.awaitDelivery(event, "delivered").ID)
		if len(attempts) != 1 {
			t.Fatalf("event %d took %d attempts, want 1", i, len(attempts))
		}
		if at := attempts[0].StartedAt; at.Before(last) {
			t.Fatalf("event %d went at %v, before the one accepted before it (%v)", i, at, last)
		} else {
			last = at
		}
	}

	s.ruleToQueue(bus, source)
	made, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("all")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.DeactivateEventSource(t.Context(), &eventbridge.DeactivateEventSourceInput{Name: &source}); err != nil {
		t.Fatal(err)
	}
	ids = held()
	if _, err := bus.ActivateEventSource(t.Context(), &eventbridge.ActivateEventSourceInput{Name: &source}); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, queues, *made.QueueUrl, source, len(ids)); !slices.Equal(got, ids) {
		t.Errorf("%d events came, of %d, or in another order:\n%v\nwant\n%v", len(got), len(ids), got, ids)
	}
}

// ruleToQueue makes a rule that sends all of a source's events to the queue
// "all".
func (s *server) ruleToQueue(bus *eventbridge.Client, source string) {
	s.t.Helper()
	if _, err := bus.PutRule(s.t.Context(), &eventbridge.PutRuleInput{
		Name: aws.String("all"), EventBusName: &source, EventPattern: aws.String(`{"source":[{"prefix":"aws.partner/stripe.com"}]}`),
	}); err != nil {
		s.t.Fatal(err)
	}
	put, err := bus.PutTargets(s.t.Context(), &eventbridge.PutTargetsInput{
		Rule: aws.String("all"), EventBusName: &source, Targets: []eventbridgetypes.Target{{
			Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:" + awsRegion + ":" + awsAccount + ":all"),
		}},
	})
	if err != nil || put.FailedEntryCount != 0 {
		s.t.Fatalf("%+v, %v", put, err)
	}
}

func distinct(ids []string) int {
	return len(slices.Compact(slices.Sorted(slices.Values(ids))))
}

// drain receives n messages, and then whatever is more than n, and returns the
// ids of their Stripe events.
func drain(t *testing.T, queues *sqs.Client, url, source string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var ids []string
	for {
		out, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, VisibilityTimeout: 43200, WaitTimeSeconds: waitFor(len(ids) < n),
		})
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(ids), n, err)
		}
		for _, m := range out.Messages {
			var e struct {
				Source     string
				DetailType string `json:"detail-type"`
				Detail     struct{ ID, Object, Type string }
			}
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
				t.Fatal(err)
			}
			if e.Source != source || e.DetailType != e.Detail.Type || e.Detail.Object != "event" {
				t.Fatalf("the envelope is %s", *m.Body)
			}
			ids = append(ids, e.Detail.ID)
		}
		if len(out.Messages) == 0 && len(ids) >= n {
			return ids
		}
	}
}

func waitFor(more bool) int32 {
	if more {
		return 20
	}
	return 1
}

// gone checks that a destination has lost its source for good, and that what
// it held can be seen.
func (c client) gone(id, held string) {
	c.t.Helper()
	d := c.get("/v2/core/event_destinations/" + id).ok()
	if got := d.text("status"); got != "disabled" {
		c.t.Errorf("the destination is %s", got)
	}
	if got := d.text("status_details", "disabled", "reason"); got != "no_aws_event_source_exists" {
		c.t.Errorf("it is disabled for %s", got)
	}
	c.sourceIs(id, "deleted")
	c.post("/v2/core/event_destinations/"+id+"/enable", "").refused(http.StatusBadRequest, "Create a new event destination")
	if d := c.awaitDelivery(held, "discarded"); d.EventDestination != id || d.Reason == "" {
		c.t.Errorf("what was held is shown as %+v", d)
	}
}

func (c client) untilDisabled(id string) {
	c.t.Helper()
	until(c.t, "the destination is disabled", func() bool {
		return c.get("/v2/core/event_destinations/"+id).ok().text("status") == "disabled"
	})
}

func TestDeletedSourceDisablesItsDestination(t *testing.T) {
	t.Parallel()
	s := newServer(t, withBus)
	// The partner is the account itself, by its live key, and so may delete the
	// source behind the destination's back.
	live := s.as(liveKey)
	id, source := live.busDestination()
	held := live.publish(customer("customer.created", "cus_1"))
	if _, err := s.events().DeletePartnerEventSource(t.Context(), &eventbridge.DeletePartnerEventSourceInput{
		Name: &source, Account: aws.String(awsAccount),
	}); err != nil {
		t.Fatal(err)
	}
	live.untilDisabled(id)
	// Nobody can put one in its place and have the destination's events.
	if _, err := s.events().CreatePartnerEventSource(t.Context(), &eventbridge.CreatePartnerEventSourceInput{
		Name: &source, Account: aws.String(awsAccount),
	}); err == nil || !strings.Contains(err.Error(), "use another partner name") {
		t.Errorf("making the source again: %v", err)
	}
	live.gone(id, held)
}

func TestExpiredSourceDisablesItsDestination(t *testing.T) {
	t.Parallel()
	s := newServer(t, withBus, func(cfg *config.Config) { cfg.SourceExpiry = 1 })
	id, _ := s.busDestination()
	held := s.publish(customer("customer.created", "cus_1"))
	s.restart() // upon which it looks for what has expired
	s.untilDisabled(id)
	s.gone(id, held)
}

// awsCLI returns the AWS CLI's way to a server: arguments in, output out. It is
// nil where there is none, which CI does not allow.
func (s *server) awsCLI() func(args ...string) string {
	t := s.t
	t.Helper()
	program, err := exec.LookPath("aws")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI needs the AWS CLI: scripts/need-aws installs it")
		}
		t.Log("NOT TESTED: there is no AWS CLI here; `make test` as root installs it")
		return nil
	}
	home := t.TempDir()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	env = append(env,
		"AWS_ACCESS_KEY_ID="+awsKeyID, "AWS_SECRET_ACCESS_KEY="+awsSecret, "AWS_DEFAULT_REGION="+awsRegion,
		"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+home+"/config", "AWS_SHARED_CREDENTIALS_FILE="+home+"/credentials")
	return func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append([]string{"--endpoint-url", s.url, "--output", "text"}, args...)...) //nolint:gosec // the AWS CLI, with arguments of this test
		cmd.Env = env
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("aws %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
}

// From the partner's first call to the customer's message, by the unmodified
// AWS CLI.
func TestPartnerWalkThroughByTheAWSCLI(t *testing.T) {
	t.Parallel()
	s := newServer(t, withBus)
	cli := s.awsCLI()
	if cli == nil {
		return
	}
	const source = "aws.partner/shop.example/orders"
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Fatalf("%s: got %q, want %q", what, got, want)
		}
	}
	arn := cli("events", "create-partner-event-source", "--name", source, "--account", awsAccount, "--query", "EventSourceArn")
	want("create-partner-event-source", arn, "arn:aws:events:"+awsRegion+"::event-source/"+source)
	want("list-partner-event-source-accounts", cli("events", "list-partner-event-source-accounts", "--event-source-name", source,
		"--query", "PartnerEventSourceAccounts[].[Account,State]"), awsAccount+"\tPENDING")
	want("list-event-sources", cli("events", "list-event-sources", "--name-prefix", "aws.partner/shop.example", "--query", "EventSources[].[Name,State,CreatedBy]"),
		source+"\tPENDING\taws.partner/shop.example")
	cli("events", "create-event-bus", "--name", source, "--event-source-name", source)
	want("describe-event-source", cli("events", "describe-event-source", "--name", source, "--query", "State"), "ACTIVE")
	queue := cli("sqs", "create-queue", "--queue-name", "orders", "--query", "QueueUrl")
	queueARN := cli("sqs", "get-queue-attributes", "--queue-url", queue, "--attribute-names", "QueueArn", "--query", "Attributes.QueueArn")
	want("get-queue-attributes", queueARN, "arn:aws:sqs:"+awsRegion+":"+awsAccount+":orders")
	cli("events", "put-rule", "--name", "big", "--event-bus-name", source, "--event-pattern",
		`{"source":[{"prefix":"aws.partner/shop.example"}],"detail":{"total":[{"numeric":[">=",100]}]}}`)
	want("put-targets", cli("events", "put-targets", "--rule", "big", "--event-bus-name", source, "--query", "FailedEntryCount", "--targets",
		`[{"Id":"queue","Arn":"`+queueARN+`","InputTransformer":{"InputPathsMap":{"id":"$.detail.id"},"InputTemplate":"{\"order\":<id>}"}}]`), "0")
	want("put-partner-events", cli("events", "put-partner-events", "--query", "FailedEntryCount", "--entries",
		`[{"Source":"`+source+`","DetailType":"order.paid","Detail":"{\"id\":\"ord_1\",\"total\":99.99}"},
		  {"Source":"`+source+`","DetailType":"order.paid","Detail":"{\"id\":\"ord_2\",\"total\":100}"}]`), "0")
	received := strings.Split(cli("sqs", "receive-message", "--queue-url", queue, "--wait-time-seconds", "20", "--query", "Messages[].[Body,ReceiptHandle]"), "\t")
	want("receive-message", received[0], `{"order":"ord_2"}`)
	cli("sqs", "delete-message", "--queue-url", queue, "--receipt-handle", received[1])
	want("receive-message after delete-message", cli("sqs", "receive-message", "--queue-url", queue, "--query", "Messages[].Body"), "None")
	cli("events", "delete-partner-event-source", "--name", source, "--account", awsAccount)
	want("describe-event-source after its deletion", cli("events", "describe-event-source", "--name", source, "--query", "State"), "DELETED")
}
