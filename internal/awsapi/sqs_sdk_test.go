package awsapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

func TestSQSQueues(t *testing.T) {
	t.Parallel()
	f, ctx := newServer(t), t.Context()
	c := f.queues
	url := f.queue("orders", map[string]string{"DelaySeconds": "0", "VisibilityTimeout": "40"})
	if got := must[sqs.GetQueueUrlOutput](t)(c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("orders")})); *got.QueueUrl != *url {
		t.Errorf("url %q, want %q", *got.QueueUrl, *url)
	}
	_, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("none")})
	if gone := (*types.QueueDoesNotExist)(nil); !errors.As(err, &gone) {
		t.Errorf("no such queue: %v", err)
	}
	_, err = c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("orders"), Attributes: map[string]string{"VisibilityTimeout": "41"}})
	if exists := (*types.QueueNameExists)(nil); !errors.As(err, &exists) {
		t.Errorf("other attributes: %v", err)
	}

	must[sqs.SetQueueAttributesOutput](t)(c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: url, Attributes: map[string]string{"MessageRetentionPeriod": "3600"},
	}))
	got := must[sqs.GetQueueAttributesOutput](t)(c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	}))
	for name, want := range map[string]string{"QueueArn": *f.arn("sqs", "orders"), "VisibilityTimeout": "40", "MessageRetentionPeriod": "3600"} {
		if got.Attributes[name] != want {
			t.Errorf("%s = %q, want %q", name, got.Attributes[name], want)
		}
	}
	_, err = c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"Nonsense": "1"}})
	if unknown := (*types.InvalidAttributeName)(nil); !errors.As(err, &unknown) {
		t.Errorf("unknown attribute: %v", err)
	}

	must[sqs.TagQueueOutput](t)(c.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: url, Tags: map[string]string{"team": "a", "tier": "1"}}))
	must[sqs.UntagQueueOutput](t)(c.UntagQueue(ctx, &sqs.UntagQueueInput{QueueUrl: url, TagKeys: []string{"tier"}}))
	if tags := must[sqs.ListQueueTagsOutput](t)(c.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: url})); fmt.Sprint(tags.Tags) != "map[team:a]" {
		t.Errorf("tags %v", tags.Tags)
	}

	must[sqs.AddPermissionOutput](t)(c.AddPermission(ctx, &sqs.AddPermissionInput{
		QueueUrl: url, Label: aws.String("l"), AWSAccountIds: []string{"111111111111"}, Actions: []string{"SendMessage"},
	}))
	must[sqs.RemovePermissionOutput](t)(c.RemovePermission(ctx, &sqs.RemovePermissionInput{QueueUrl: url, Label: aws.String("l")}))

	f.queue("orders-2", nil)
	f.queue("other", nil)
	var names []string
	pages := sqs.NewListQueuesPaginator(c, &sqs.ListQueuesInput{QueueNamePrefix: aws.String("orders"), MaxResults: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, page.QueueUrls...)
	}
	if len(names) != 2 || names[0] != *url {
		t.Errorf("queues %v", names)
	}

	must[sqs.PurgeQueueOutput](t)(c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: url}))
	_, err = c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: url})
	if busy := (*types.PurgeQueueInProgress)(nil); !errors.As(err, &busy) {
		t.Errorf("purge twice: %v", err)
	}
	must[sqs.DeleteQueueOutput](t)(c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: url}))
	_, err = c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("x")})
	if gone := (*types.QueueDoesNotExist)(nil); !errors.As(err, &gone) {
		t.Errorf("send to a deleted queue: %v", err)
	}
}

func TestSQSMessages(t *testing.T) {
	t.Parallel()
	f, ctx := newServer(t), t.Context()
	c := f.queues
	url := f.queue("q", nil)
	arrived := make(chan *sqs.ReceiveMessageOutput)
	go func() {
		out, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: url, WaitTimeSeconds: 20, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			t.Error(err)
		}
		arrived <- out
	}()
	binary := []byte{0, 1, 0xff}
	sent := must[sqs.SendMessageOutput](t)(c.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: url, MessageBody: aws.String("grüße\n<&>"),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"text":   {DataType: aws.String("String.label"), StringValue: aws.String("ü")},
			"number": {DataType: aws.String("Number"), StringValue: aws.String("-1.5e3")},
			"bytes":  {DataType: aws.String("Binary"), BinaryValue: binary},
		},
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1")},
		},
	}))
	// The client checks the body's sum only. These two follow from SQS's
	// documentation, computed by other means.
	if *sent.MD5OfMessageBody != "b32ea5f002d3749738512ede00a6de27" || *sent.MD5OfMessageAttributes != "855cc8524803a6c62eed14b8614c5293" {
		t.Errorf("checksums %s and %s", *sent.MD5OfMessageBody, *sent.MD5OfMessageAttributes)
	}
	out := <-arrived
	if out == nil || len(out.Messages) != 1 {
		t.Fatalf("received %+v", out)
	}
	m := out.Messages[0]
	if *m.Body != "grüße\n<&>" || *m.MessageId != *sent.MessageId || *m.MD5OfMessageAttributes != *sent.MD5OfMessageAttributes {
		t.Errorf("sent %+v, received %+v", sent, m)
	}
	if a := m.MessageAttributes; *a["text"].StringValue != "ü" || *a["text"].DataType != "String.label" || *a["number"].StringValue != "-1.5e3" || !bytes.Equal(a["bytes"].BinaryValue, binary) {
		t.Errorf("attributes %+v", a)
	}
	if m.Attributes["AWSTraceHeader"] != "Root=1" || m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["SenderId"] == "" || m.Attributes["SentTimestamp"] == "" {
		t.Errorf("system attributes %v", m.Attributes)
	}
	must[sqs.ChangeMessageVisibilityOutput](t)(c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle}))
	again := receive(t, c, &sqs.ReceiveMessageInput{QueueUrl: url, MessageAttributeNames: []string{"num.*", "number"}})
	if len(again) != 1 || len(again[0].MessageAttributes) != 1 || len(again[0].Attributes) != 0 {
		t.Fatalf("received again %+v", again)
	}
	_, err := c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 5})
	if late := (*types.MessageNotInflight)(nil); !errors.As(err, &late) {
		t.Errorf("outdated receipt: %v", err)
	}
	must[sqs.DeleteMessageOutput](t)(c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: again[0].ReceiptHandle}))
	_, err = c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: aws.String("nonsense")})
	if bad := (*types.ReceiptHandleIsInvalid)(nil); !errors.As(err, &bad) {
		t.Errorf("bad receipt: %v", err)
	}
	_, err = c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("\x01")})
	if bad := (*types.InvalidMessageContents)(nil); !errors.As(err, &bad) {
		t.Errorf("bad characters: %v", err)
	}
	_, err = c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 11})
	if bad := smithy.APIError(nil); !errors.As(err, &bad) || bad.ErrorCode() != "InvalidParameterValue" {
		t.Errorf("too many: %v", err)
	}
}

func receive(t *testing.T, c *sqs.Client, in *sqs.ReceiveMessageInput) []types.Message {
	t.Helper()
	out, err := c.ReceiveMessage(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out.Messages
}

func TestSQSBatches(t *testing.T) {
	t.Parallel()
	f, ctx := newServer(t), t.Context()
	c := f.queues
	url := f.queue("q.fifo", map[string]string{"FifoQueue": "true"})
	entry := func(id, group string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &id, MessageGroupId: aws.String(group), MessageDeduplicationId: &id}
	}
	bad := entry("bad", "g")
	bad.MessageDeduplicationId = nil
	sent := must[sqs.SendMessageBatchOutput](t)(c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{
		QueueUrl: url, Entries: []types.SendMessageBatchRequestEntry{entry("a", "g"), bad, entry("b", "g"), entry("a2", "h")},
	}))
	if len(sent.Successful) != 3 || len(sent.Failed) != 1 || *sent.Failed[0].Id != "bad" || !sent.Failed[0].SenderFault || *sent.Successful[0].SequenceNumber >= *sent.Successful[1].SequenceNumber {
		t.Fatalf("sent %+v, failed %+v", sent.Successful, sent.Failed)
	}
	got := receive(t, c, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10})
	if len(got) != 3 || *got[0].Body != "a" || *got[1].Body != "b" {
		t.Fatalf("received %+v", got)
	}
	changed := must[sqs.ChangeMessageVisibilityBatchOutput](t)(c.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{
		QueueUrl: url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
			{Id: aws.String("x"), ReceiptHandle: got[0].ReceiptHandle, VisibilityTimeout: 90},
			{Id: aws.String("y"), ReceiptHandle: aws.String("nonsense"), VisibilityTimeout: 90},
		},
	}))
	if len(changed.Successful) != 1 || len(changed.Failed) != 1 || *changed.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("changed %+v", changed)
	}
	deleted := must[sqs.DeleteMessageBatchOutput](t)(c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{
		QueueUrl: url, Entries: []types.DeleteMessageBatchRequestEntry{
			{Id: aws.String("x"), ReceiptHandle: got[0].ReceiptHandle}, {Id: aws.String("y"), ReceiptHandle: got[1].ReceiptHandle},
		},
	}))
	if len(deleted.Successful) != 2 || len(deleted.Failed) != 0 {
		t.Errorf("deleted %+v", deleted)
	}
	for name, call := range map[string]func(context.Context) error{
		"EmptyBatchRequest": func(ctx context.Context) error {
			_, err := c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: url, Entries: []types.SendMessageBatchRequestEntry{}})
			return err
		},
		"BatchEntryIdsNotDistinct": func(ctx context.Context) error {
			_, err := c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: url, Entries: []types.SendMessageBatchRequestEntry{entry("a", "g"), entry("a", "g")}})
			return err
		},
		"TooManyEntriesInBatchRequest": func(ctx context.Context) error {
			var all []types.SendMessageBatchRequestEntry
			for i := range 11 {
				all = append(all, entry(fmt.Sprint(i), "g"))
			}
			_, err := c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: url, Entries: all})
			return err
		},
	} {
		if got := smithy.APIError(nil); !errors.As(call(ctx), &got) || got.ErrorCode() != "AWS.SimpleQueueService."+name {
			t.Errorf("%v, want %s", got, name)
		}
	}
}

func TestSQSDeadLetters(t *testing.T) {
	t.Parallel()
	f, ctx := newServer(t), t.Context()
	c := f.queues
	dead := f.queue("dead", nil)
	source := f.queue("source", map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"` + *f.arn("sqs", "dead") + `","maxReceiveCount":1}`,
	})
	for range 2 {
		must[sqs.SendMessageOutput](t)(c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: source, MessageBody: aws.String("m")}))
	}
	for _, m := range receive(t, c, &sqs.ReceiveMessageInput{QueueUrl: source, MaxNumberOfMessages: 10}) {
		must[sqs.ChangeMessageVisibilityOutput](t)(c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: source, ReceiptHandle: m.ReceiptHandle}))
	}
	if again := receive(t, c, &sqs.ReceiveMessageInput{QueueUrl: source}); len(again) != 0 {
		t.Fatalf("received again %+v", again)
	}
	if sources := must[sqs.ListDeadLetterSourceQueuesOutput](t)(c.ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: dead})); len(sources.QueueUrls) != 1 || sources.QueueUrls[0] != *source {
		t.Errorf("sources %v", sources.QueueUrls)
	}

	task := must[sqs.StartMessageMoveTaskOutput](t)(c.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: f.arn("sqs", "dead"), MaxNumberOfMessagesPerSecond: aws.Int32(1)}))
	if back := receive(t, c, &sqs.ReceiveMessageInput{QueueUrl: source, WaitTimeSeconds: 20}); len(back) != 1 {
		t.Fatalf("moved back %+v", back)
	}
	must[sqs.CancelMessageMoveTaskOutput](t)(c.CancelMessageMoveTask(ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: task.TaskHandle}))
	_, err := c.CancelMessageMoveTask(ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: task.TaskHandle})
	if ended := (*types.UnsupportedOperation)(nil); !errors.As(err, &ended) {
		t.Errorf("cancel twice: %v", err)
	}
	tasks := must[sqs.ListMessageMoveTasksOutput](t)(c.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: f.arn("sqs", "dead")}))
	if len(tasks.Results) != 1 || *tasks.Results[0].Status != "CANCELLED" || *tasks.Results[0].ApproximateNumberOfMessagesToMove != 2 || tasks.Results[0].StartedTimestamp == 0 {
		t.Errorf("tasks %+v", tasks.Results)
	}
	_, err = c.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: f.arn("sqs", "none")})
	if none := (*types.ResourceNotFoundException)(nil); !errors.As(err, &none) {
		t.Errorf("no such queue: %v", err)
	}
}
