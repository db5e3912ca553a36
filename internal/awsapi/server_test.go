package awsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/sign"
)

const (
	sdkAccount = "210987654321"
	sdkRegion  = "us-west-2"
	sdkKeyID   = "AKIAI44QH8DHBEXAMPLE"
	sdkSecret  = "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"
)

// patience bounds every wait. Only a broken server makes a test use it up.
const patience = 30 * time.Second

// server is a whole Waybill on a folder of its own, because what official
// clients are promised is what the binary does. It is its first account's
// client; the second account is the customer of the first, a partner.
type server struct {
	*client
	customer *client
}

// client is an account with the official clients of all services, which verify
// checksums and sign what they send.
type client struct {
	t                         *testing.T
	url, account, key, secret string
	events                    *eventbridge.Client
	queues                    *sqs.Client
	logs                      *cloudwatchlogs.Client
}

func newServer(t *testing.T) *server {
	t.Helper()
	cfg := config.Default()
	cfg.Data, cfg.Listen, cfg.Dev = t.TempDir(), "127.0.0.1:0", true
	cfg.BootstrapAWSAccountID, cfg.BootstrapAWSKey = sdkAccount, config.Secret(sdkKeyID+":"+sdkSecret)
	a, err := app.New(t.Context(), cfg, app.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	customer, err := app.CreateAccount(t.Context(), cfg, "customer")
	if err != nil {
		t.Fatal(err)
	}
	key, err := app.CreateAWSKey(t.Context(), cfg, customer.Account.ID)
	if err != nil {
		t.Fatal(err)
	}
	return &server{
		client:   newClient(t, a.URL(), sdkAccount, sdkKeyID, sdkSecret),
		customer: newClient(t, a.URL(), key.AWSAccountID, key.ID, key.Secret),
	}
}

func newClient(t *testing.T, url, account, key, secret string) *client {
	who := credentials.NewStaticCredentialsProvider(key, secret, "")
	return &client{
		t: t, url: url, account: account, key: key, secret: secret,
		events: eventbridge.New(eventbridge.Options{Region: sdkRegion, BaseEndpoint: &url, RetryMaxAttempts: 1, Credentials: who}),
		queues: sqs.New(sqs.Options{Region: sdkRegion, BaseEndpoint: &url, RetryMaxAttempts: 1, Credentials: who}),
		logs:   cloudwatchlogs.New(cloudwatchlogs.Options{Region: sdkRegion, BaseEndpoint: &url, RetryMaxAttempts: 1, Credentials: who}),
	}
}

// arn is that of something of the account's, such as "sqs", "orders".
func (c *client) arn(service, resource string) *string {
	return aws.String("arn:aws:" + service + ":" + sdkRegion + ":" + c.account + ":" + resource)
}

// queue makes a queue.
func (c *client) queue(name string, attributes map[string]string) (url *string) {
	c.t.Helper()
	out := must[sqs.CreateQueueOutput](c.t)(c.queues.CreateQueue(c.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}))
	if !strings.HasSuffix(*out.QueueUrl, "/"+c.account+"/"+name) || !strings.HasPrefix(*out.QueueUrl, "http://127.0.0.1:") {
		c.t.Errorf("url %q", *out.QueueUrl)
	}
	return out.QueueUrl
}

// next is the body of the message that comes next, which it leaves hidden.
func (c *client) next(url *string) string {
	c.t.Helper()
	got := must[sqs.ReceiveMessageOutput](c.t)(c.queues.ReceiveMessage(c.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20}))
	if len(got.Messages) != 1 {
		c.t.Fatal("no message came")
	}
	return *got.Messages[0].Body
}

// rule makes a rule on the default bus with one target.
func (c *client) rule(name, pattern string, to types.Target) string {
	c.t.Helper()
	rule := must[eventbridge.PutRuleOutput](c.t)(c.events.PutRule(c.t.Context(), &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern}))
	to.Id = aws.String("1")
	out := must[eventbridge.PutTargetsOutput](c.t)(c.events.PutTargets(c.t.Context(), &eventbridge.PutTargetsInput{Rule: &name, Targets: []types.Target{to}}))
	if out.FailedEntryCount != 0 {
		c.t.Fatalf("%+v", out.FailedEntries)
	}
	return *rule.RuleArn
}

// put puts an event of the shop on the default bus.
func (c *client) put(detail string) {
	c.t.Helper()
	out := must[eventbridge.PutEventsOutput](c.t)(c.events.PutEvents(c.t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		Source: aws.String("shop"), DetailType: aws.String("order"), Detail: &detail,
	}}}))
	if out.FailedEntryCount != 0 {
		c.t.Fatalf("%+v", out.Entries)
	}
}

// messages are all of a log group.
func (c *client) messages(group string) []string {
	c.t.Helper()
	var all []string
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(c.logs, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, Limit: aws.Int32(2)})
	for pages.HasMorePages() {
		page := must[cloudwatchlogs.FilterLogEventsOutput](c.t)(pages.NextPage(c.t.Context()))
		for _, e := range page.Events {
			all = append(all, *e.Message)
		}
	}
	return all
}

// in is the input of an operation.
type in = map[string]any

// call calls an operation as it is written here, which no client that checks
// its input first would send.
func (c *client) call(service, target string, input in) (code string, body []byte) {
	c.t.Helper()
	raw, err := json.Marshal(input)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url, strings.NewReader(string(raw)))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", target)
	sign.SignSigV4(r, raw, c.key, c.secret, sdkRegion, service, time.Now())
	response, err := new(http.Client).Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(response.Body); err != nil {
		c.t.Fatal(err)
	}
	var refused struct {
		Type string `json:"__type"`
	}
	if response.StatusCode != http.StatusOK {
		if err := json.Unmarshal(body, &refused); err != nil || response.StatusCode != http.StatusBadRequest {
			c.t.Fatalf("%s: %d %s", target, response.StatusCode, body)
		}
	}
	return strings.TrimPrefix(refused.Type, "com.amazonaws.sqs#"), body
}

// until waits for what the server does by itself.
func (c *client) until(what string, is func() bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for !is() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			c.t.Fatal("waited in vain for " + what)
		}
	}
}

func must[Out any](t *testing.T) func(*Out, error) *Out {
	return func(out *Out, err error) *Out {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// wantAWS checks an error as a client sees it.
func wantAWS(t *testing.T, err error, code, text string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		t.Errorf("error %v, want %s: …%s…", err, code, text)
	}
}
