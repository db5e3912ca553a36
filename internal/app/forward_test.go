package app_test

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Who sent an event is what policies decide by. So a rule that sends it on to
// another bus cannot state anything else, by its target's input.
func TestARuleCannotForgeWhatItSendsOn(t *testing.T) {
	t.Parallel()
	s := newServer(t, withBus)
	bus, queues := s.events(), s.queues()
	made, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("all")})
	if err != nil {
		t.Fatal(err)
	}
	onward, err := bus.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: aws.String("onward")})
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []struct {
		bus    string
		target eventbridgetypes.Target
	}{
		{"default", eventbridgetypes.Target{Arn: onward.EventBusArn, Input: aws.String(
			`{"version":"0","id":"forged","detail-type":"paid","source":"aws.health","account":"999999999999","time":"2020-01-01T00:00:00Z","region":"mars","resources":[],"detail":{"n":2}}`)}},
		{"onward", eventbridgetypes.Target{Arn: aws.String("arn:aws:sqs:" + awsRegion + ":" + awsAccount + ":all")}},
	} {
		if _, err := bus.PutRule(t.Context(), &eventbridge.PutRuleInput{
			Name: aws.String("r"), EventBusName: &rule.bus, EventPattern: aws.String(`{"version":["0"]}`),
		}); err != nil {
			t.Fatal(err)
		}
		rule.target.Id = aws.String("1")
		if _, err := bus.PutTargets(t.Context(), &eventbridge.PutTargetsInput{
			Rule: aws.String("r"), EventBusName: &rule.bus, Targets: []eventbridgetypes.Target{rule.target},
		}); err != nil {
			t.Fatal(err)
		}
	}
	put, err := bus.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []eventbridgetypes.PutEventsRequestEntry{{
		Source: aws.String("shop"), DetailType: aws.String("paid"), Detail: aws.String(`{"n":1}`),
	}}})
	if err != nil || put.FailedEntryCount != 0 {
		t.Fatal(put, err)
	}
	got, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: made.QueueUrl, WaitTimeSeconds: 20})
	if err != nil || len(got.Messages) != 1 {
		t.Fatal(got, err)
	}
	var e struct {
		ID, Source, Account, Region string
		Detail                      struct{ N int }
	}
	if err := json.Unmarshal([]byte(*got.Messages[0].Body), &e); err != nil {
		t.Fatal(err)
	}
	if e.ID != *put.Entries[0].EventId || e.Source != "shop" || e.Account != awsAccount || e.Region != awsRegion || e.Detail.N != 1 {
		t.Errorf("what was sent on is %+v", e)
	}
}
