package awsapi

import (
	"context"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/queue"
)

// sqsQueryCodes are the codes of the query protocol for those of the JSON
// protocol that differ.
var sqsQueryCodes = map[string]string{
	"BatchEntryIdsNotDistinct":     "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
	"BatchRequestTooLong":          "AWS.SimpleQueueService.BatchRequestTooLong",
	"EmptyBatchRequest":            "AWS.SimpleQueueService.EmptyBatchRequest",
	"InvalidBatchEntryId":          "AWS.SimpleQueueService.InvalidBatchEntryId",
	"MessageNotInflight":           "AWS.SimpleQueueService.MessageNotInflight",
	"PurgeQueueInProgress":         "AWS.SimpleQueueService.PurgeQueueInProgress",
	"QueueDeletedRecently":         "AWS.SimpleQueueService.QueueDeletedRecently",
	"QueueDoesNotExist":            "AWS.SimpleQueueService.NonExistentQueue",
	"QueueNameExists":              "QueueAlreadyExists",
	"TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
	"UnsupportedOperation":         "AWS.SimpleQueueService.UnsupportedOperation",
}

// sqsOperations are all operations of SQS. What clients sign as one request in
// either protocol arrives here as the same JSON.
func (a *api) sqsOperations() map[string]operation {
	return map[string]operation{
		"AddPermission":                act(a.addQueuePermission),
		"CancelMessageMoveTask":        op(a.cancelMessageMoveTask),
		"ChangeMessageVisibility":      act(a.changeMessageVisibility),
		"ChangeMessageVisibilityBatch": op(a.changeMessageVisibilityBatch),
		"CreateQueue":                  op(a.createQueue),
		"DeleteMessage":                act(a.deleteMessage),
		"DeleteMessageBatch":           op(a.deleteMessageBatch),
		"DeleteQueue":                  act(a.deleteQueue),
		"GetQueueAttributes":           op(a.getQueueAttributes),
		"GetQueueUrl":                  op(a.getQueueURL),
		"ListDeadLetterSourceQueues":   op(a.listDeadLetterSourceQueues),
		"ListMessageMoveTasks":         op(a.listMessageMoveTasks),
		"ListQueueTags":                op(a.listQueueTags),
		"ListQueues":                   op(a.listQueues),
		"PurgeQueue":                   act(a.purgeQueue),
		"ReceiveMessage":               op(a.receiveMessage),
		"RemovePermission":             act(a.removeQueuePermission),
		"SendMessage":                  op(a.sendMessage),
		"SendMessageBatch":             op(a.sendMessageBatch),
		"SetQueueAttributes":           act(a.setQueueAttributes),
		"StartMessageMoveTask":         op(a.startMessageMoveTask),
		"TagQueue":                     act(a.tagQueue),
		"UntagQueue":                   act(a.untagQueue),
	}
}

// reachable completes the URL of a queue that has no host: it begins with where
// this client reached the server.
func reachable(ctx context.Context, url string) string {
	if strings.HasPrefix(url, "/") {
		return origin(ctx) + url
	}
	return url
}

func allReachable(ctx context.Context, urls []string) []string {
	out := make([]string, len(urls))
	for i, url := range urls {
		out[i] = reachable(ctx, url)
	}
	return out
}

type queueInput struct {
	QueueURL string `json:"QueueUrl"`
}

type createQueueInput struct {
	QueueName  string
	Attributes map[string]string
	Tags       map[string]string `json:"tags"`
}

type queueURLOutput struct {
	QueueURL string `json:"QueueUrl"`
}

func (a *api) createQueue(ctx context.Context, c account.AWSCaller, in *createQueueInput) (*queueURLOutput, error) {
	url, err := a.o.Queues.Create(ctx, c, in.QueueName, in.Attributes, in.Tags)
	return &queueURLOutput{reachable(ctx, url)}, err
}

func (a *api) deleteQueue(ctx context.Context, c account.AWSCaller, in *queueInput) error {
	return a.o.Queues.Delete(ctx, c, in.QueueURL)
}

type getQueueURLInput struct {
	QueueName string
	Owner     string `json:"QueueOwnerAWSAccountId"`
}

func (a *api) getQueueURL(ctx context.Context, c account.AWSCaller, in *getQueueURLInput) (*queueURLOutput, error) {
	url, err := a.o.Queues.URL(ctx, c, in.QueueName, in.Owner)
	return &queueURLOutput{reachable(ctx, url)}, err
}

type listQueuesInput struct {
	QueueNamePrefix string
	MaxResults      int
	NextToken       string
}

type listQueuesOutput struct {
	QueueURLs []string `json:"QueueUrls,omitempty"`
	NextToken string   `json:",omitempty"`
}

func (a *api) listQueues(ctx context.Context, c account.AWSCaller, in *listQueuesInput) (*listQueuesOutput, error) {
	urls, next, err := a.o.Queues.List(ctx, c, in.QueueNamePrefix, in.MaxResults, in.NextToken)
	return &listQueuesOutput{allReachable(ctx, urls), next}, err
}

type listSourcesInput struct {
	QueueURL   string `json:"QueueUrl"`
	MaxResults int
	NextToken  string
}

type listSourcesOutput struct {
	QueueURLs []string `json:"queueUrls"` // the one name in lower case
	NextToken string   `json:",omitempty"`
}

func (a *api) listDeadLetterSourceQueues(ctx context.Context, c account.AWSCaller, in *listSourcesInput) (*listSourcesOutput, error) {
	urls, next, err := a.o.Queues.DeadLetterSources(ctx, c, in.QueueURL, in.MaxResults, in.NextToken)
	return &listSourcesOutput{allReachable(ctx, urls), next}, err
}

type queueAttributesInput struct {
	QueueURL       string `json:"QueueUrl"`
	AttributeNames []string
}

type queueAttributesOutput struct {
	Attributes map[string]string `json:",omitempty"`
}

func (a *api) getQueueAttributes(ctx context.Context, c account.AWSCaller, in *queueAttributesInput) (*queueAttributesOutput, error) {
	attributes, err := a.o.Queues.Attributes(ctx, c, in.QueueURL, in.AttributeNames)
	return &queueAttributesOutput{attributes}, err
}

type setQueueAttributesInput struct {
	QueueURL   string `json:"QueueUrl"`
	Attributes map[string]string
}

func (a *api) setQueueAttributes(ctx context.Context, c account.AWSCaller, in *setQueueAttributesInput) error {
	return a.o.Queues.SetAttributes(ctx, c, in.QueueURL, in.Attributes)
}

func (a *api) purgeQueue(ctx context.Context, c account.AWSCaller, in *queueInput) error {
	return a.o.Queues.Purge(ctx, c, in.QueueURL)
}

type tagQueueInput struct {
	QueueURL string `json:"QueueUrl"`
	Tags     map[string]string
}

func (a *api) tagQueue(ctx context.Context, c account.AWSCaller, in *tagQueueInput) error {
	return a.o.Queues.Tag(ctx, c, in.QueueURL, in.Tags)
}

type untagQueueInput struct {
	QueueURL string `json:"QueueUrl"`
	TagKeys  []string
}

func (a *api) untagQueue(ctx context.Context, c account.AWSCaller, in *untagQueueInput) error {
	return a.o.Queues.Untag(ctx, c, in.QueueURL, in.TagKeys)
}

type listQueueTagsOutput struct {
	Tags map[string]string `json:",omitempty"`
}

func (a *api) listQueueTags(ctx context.Context, c account.AWSCaller, in *queueInput) (*listQueueTagsOutput, error) {
	tags, err := a.o.Queues.Tags(ctx, c, in.QueueURL)
	return &listQueueTagsOutput{tags}, err
}

type permissionInput struct {
	QueueURL   string   `json:"QueueUrl"`
	Label      string   `json:"Label"`
	AccountIDs []string `json:"AWSAccountIds"`
	Actions    []string `json:"Actions"`
}

func (a *api) addQueuePermission(ctx context.Context, c account.AWSCaller, in *permissionInput) error {
	return a.o.Queues.AddPermission(ctx, c, in.QueueURL, in.Label, in.AccountIDs, in.Actions)
}

func (a *api) removeQueuePermission(ctx context.Context, c account.AWSCaller, in *permissionInput) error {
	return a.o.Queues.RemovePermission(ctx, c, in.QueueURL, in.Label)
}

type startMoveInput struct {
	SourceARN      string `json:"SourceArn"`
	DestinationARN string `json:"DestinationArn"`
	Rate           *int   `json:"MaxNumberOfMessagesPerSecond"`
}

type taskOutput struct {
	TaskHandle string
}

func (a *api) startMessageMoveTask(ctx context.Context, c account.AWSCaller, in *startMoveInput) (*taskOutput, error) {
	handle, err := a.o.Queues.StartMove(ctx, c, in.SourceARN, in.DestinationARN, in.Rate)
	return &taskOutput{handle}, err
}

type cancelMoveInput struct {
	TaskHandle string
}

type cancelMoveOutput struct {
	Moved int64 `json:"ApproximateNumberOfMessagesMoved"`
}

func (a *api) cancelMessageMoveTask(ctx context.Context, c account.AWSCaller, in *cancelMoveInput) (*cancelMoveOutput, error) {
	moved, err := a.o.Queues.CancelMove(ctx, c, in.TaskHandle)
	return &cancelMoveOutput{moved}, err
}

type listMovesInput struct {
	SourceARN  string `json:"SourceArn"`
	MaxResults int
}

type listMovesOutput struct {
	Results []moveTask
}

type moveTask struct {
	TaskHandle     string `json:",omitempty"`
	Status         string
	SourceARN      string `json:"SourceArn"`
	DestinationARN string `json:"DestinationArn,omitempty"`
	Rate           int    `json:"MaxNumberOfMessagesPerSecond,omitempty"`
	Moved          int64  `json:"ApproximateNumberOfMessagesMoved"`
	ToMove         int64  `json:"ApproximateNumberOfMessagesToMove"`
	FailureReason  string `json:",omitempty"`
	Started        int64  `json:"StartedTimestamp"` // Unix milliseconds
}

func (a *api) listMessageMoveTasks(ctx context.Context, c account.AWSCaller, in *listMovesInput) (*listMovesOutput, error) {
	tasks, err := a.o.Queues.Moves(ctx, c, in.SourceARN, in.MaxResults)
	out := &listMovesOutput{Results: []moveTask{}}
	for _, t := range tasks {
		out.Results = append(out.Results, moveTaskOf(t))
	}
	return out, err
}

func moveTaskOf(t queue.MoveTask) moveTask {
	return moveTask{
		TaskHandle: t.Handle, Status: t.Status, SourceARN: t.Source, DestinationARN: t.Destination, Rate: t.Rate,
		Moved: t.Moved, ToMove: t.ToMove, FailureReason: t.Reason, Started: t.Started.UnixMilli(),
	}
}
