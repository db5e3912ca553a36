package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

// cutOff ends a server that has sends under way, which are not waited for.
func (s *server) cutOff() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	if err := s.app.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
		s.t.Error(err)
	}
	s.app = nil
}

func (s *server) put(bus *eventbridge.Client, n int) {
	s.t.Helper()
	entries := make([]eventbridgetypes.PutEventsRequestEntry, n)
	for i := range entries {
		entries[i] = eventbridgetypes.PutEventsRequestEntry{
			Source: aws.String("shop"), DetailType: aws.String("order.paid"), Detail: aws.String(fmt.Sprintf(`{"n":%d}`, i)),
		}
	}
	if out, err := bus.PutEvents(s.t.Context(), &eventbridge.PutEventsInput{Entries: entries}); err != nil || out.FailedEntryCount > 0 {
		s.t.Fatalf("put events: %+v, %v", out, err)
	}
}

// receive takes n messages off a queue, and checks that there are no more.
func receive(t *testing.T, queues *sqs.Client, url *string, n int) (bodies []string) {
	t.Helper()
	for {
		out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: url, MaxNumberOfMessages: 10, VisibilityTimeout: 43200, WaitTimeSeconds: waitFor(len(bodies) < n),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			bodies = append(bodies, *m.Body)
		}
		if len(out.Messages) == 0 {
			if len(bodies) != n {
				t.Fatalf("%d messages, want %d", len(bodies), n)
			}
			return bodies
		}
	}
}

// An installation that was at work moves to PostgreSQL: what it knew is known
// there, and what it had not done is done there.
func TestImportMovesAnInstallation(t *testing.T) {
	t.Parallel()
	database := config.Secret(pgtest.Database(t))
	s := newServer(t, withBus)
	moved := make(chan struct{})
	at := newReceiver(t, func(p post) reply {
		select {
		case <-moved:
			return reply{}
		default:
		}
		switch p.path {
		case "/down":
			return reply{status: 500}
		case "/held":
			return reply{hold: moved}
		}
		return reply{}
	})
	ctx := t.Context()
	steady := s.destination(at, "/steady", object{"enabled_events": []string{"customer.created"}})
	down := s.destination(at, "/down", object{"enabled_events": []string{"customer.updated"}})
	held := s.destination(at, "/held", object{"enabled_events": []string{"customer.deleted"}})

	bus, queues := s.events(), s.queues()
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("all")})
	if err != nil {
		t.Fatal(err)
	}
	fifo, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("turn.fifo"), Attributes: map[string]string{"FifoQueue": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("paid"), EventPattern: aws.String(`{"source":["shop"]}`)}); err != nil {
		t.Fatal(err)
	}
	if out, err := bus.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("paid"), Targets: []eventbridgetypes.Target{
		{Id: aws.String("q"), Arn: aws.String("arn:aws:sqs:" + awsRegion + ":" + awsAccount + ":all")},
	}}); err != nil || out.FailedEntryCount > 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := bus.CreateArchive(ctx, &eventbridge.CreateArchiveInput{
		ArchiveName: aws.String("kept"), EventSourceArn: aws.String("arn:aws:events:" + awsRegion + ":" + awsAccount + ":event-bus/default"),
	}); err != nil {
		t.Fatal(err)
	}
	s.put(bus, 5)
	send := func(group, body string) {
		t.Helper()
		if _, err := s.queues().SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: fifo.QueueUrl, MessageGroupId: &group, MessageDeduplicationId: &body, MessageBody: &body,
		}); err != nil {
			t.Fatal(err)
		}
	}
	send("g", "one")
	send("g", "two")

	delivered := s.publish(object{"id": "evt_chosenbytheclient", "type": "customer.created", "data": object{"object": object{"id": "cus_1", "object": "customer"}}})
	s.awaitDelivery(delivered, "delivered")
	var late []string
	for i := range 20 {
		late = append(late, s.publish(customer("customer.deleted", fmt.Sprint("cus_held", i))))
	}
	failed := s.publish(customer("customer.updated", "cus_down"))
	s.awaitAttempts(failed, 1)
	until(t, "the rule has done its work", func() bool {
		out, err := s.queues().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"ApproximateNumberOfMessages"}})
		return err == nil && out.Attributes["ApproximateNumberOfMessages"] == "5"
	})
	lists := []string{
		"/v2/core/events?limit=100", "/v2/core/event_destinations?limit=100", "/v2/core/deliveries?limit=100&destination=" + steady,
		"/v2/core/deliveries/" + s.deliveries("event=" + delivered)[0].ID + "/attempts",
	}
	was := map[string]string{}
	for _, path := range lists {
		was[path] = string(s.get(path).ok().body)
	}
	rules, err := bus.ListRules(ctx, &eventbridge.ListRulesInput{})
	if err != nil {
		t.Fatal(err)
	}
	s.cutOff()

	cfg := s.cfg
	cfg.Database = database
	tables := map[string]int64{}
	again, err := app.Import(ctx, cfg, func(p app.ImportProgress) { tables[p.Table] = p.Rows })
	if err != nil || again || tables["events"] != 27 || tables["retries"] == 0 || tables["messages"] != 7 || tables["archived"] != 5 {
		t.Fatalf("import: %v, %v, %v", tables, again, err)
	}
	if again, err := app.Import(ctx, cfg, func(app.ImportProgress) {}); err != nil || !again {
		t.Fatalf("import once more: %v, %v", again, err)
	}
	if _, err := app.New(ctx, s.cfg, app.Options{}); err == nil || !strings.Contains(err.Error(), "imported into PostgreSQL") {
		t.Fatalf("the embedded store is still served: %v", err)
	}

	close(moved)
	s.cfg = cfg
	s.start()
	for _, path := range lists {
		// Addresses of further pages have the server's own.
		if now := string(s.get(path).ok().body); now != was[path] {
			t.Errorf("%s was\n%s\nand is\n%s", path, was[path], now)
		}
	}
	for _, id := range append(slices.Clone(late), failed) {
		s.awaitDelivery(id, "delivered")
	}
	for _, destination := range []string{down, held} {
		if n := s.count(destination, "pending"); n != 0 {
			t.Errorf("%d deliveries of %s are pending", n, destination)
		}
	}
	if got := at.received("/held"); !same(slices.Compact(slices.Sorted(slices.Values(got))), late) {
		t.Errorf("/held received %v, want %v", got, late)
	}
	if n := len(at.received("/steady")); n != 1 {
		t.Errorf("what was delivered was delivered %d times", n)
	}
	if repeated := s.publish(object{"id": "evt_chosenbytheclient", "type": "customer.created", "data": object{"object": object{"id": "cus_1", "object": "customer"}}}); repeated != delivered {
		t.Errorf("the client's id is %s now", repeated)
	}

	bus, queues = s.events(), s.queues()
	if now, err := bus.ListRules(ctx, &eventbridge.ListRulesInput{}); err != nil || len(now.Rules) != len(rules.Rules) || *now.Rules[0].Arn != *rules.Rules[0].Arn {
		t.Errorf("the rules are %+v, %v", now, err)
	}
	s.put(bus, 2)
	receive(t, queues, queue.QueueUrl, 7)
	send("g", "two") // which was sent within five minutes
	if got := receive(t, queues, fifo.QueueUrl, 2); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("the FIFO queue gave %v", got)
	}
	until(t, "the archive has all", func() bool {
		kept, err := bus.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: aws.String("kept")})
		return err == nil && kept.EventCount == 7
	})
}
