package awsapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/queue"
)

// messageAttribute is an attribute's value: StringValue, or BinaryValue of a
// Binary type.
type messageAttribute struct {
	DataType    string
	StringValue string `json:",omitempty"`
	BinaryValue []byte `json:",omitempty"`
}

func isBinaryType(dataType string) bool {
	kind, _, _ := strings.Cut(dataType, ".")
	return kind == "Binary"
}

func attributesFrom(in map[string]messageAttribute) []event.Attribute {
	var out []event.Attribute
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v := in[name]
		a := event.Attribute{Name: name, Type: v.DataType, Value: v.StringValue}
		if isBinaryType(v.DataType) {
			a.Value = string(v.BinaryValue)
		}
		out = append(out, a)
	}
	return out
}

func attributesTo(in []event.Attribute) map[string]messageAttribute {
	out := make(map[string]messageAttribute, len(in))
	for _, a := range in {
		if isBinaryType(a.Type) {
			out[a.Name] = messageAttribute{DataType: a.Type, BinaryValue: []byte(a.Value)}
		} else {
			out[a.Name] = messageAttribute{DataType: a.Type, StringValue: a.Value}
		}
	}
	return out
}

// message is what is sent, alone or in a batch.
type message struct {
	ID                      string `json:"Id"`
	MessageBody             string
	DelaySeconds            *int
	MessageAttributes       map[string]messageAttribute
	MessageSystemAttributes map[string]messageAttribute
	MessageGroupID          string `json:"MessageGroupId"`
	MessageDeduplicationID  string `json:"MessageDeduplicationId"`
}

func (m message) entry() queue.Entry {
	return queue.Entry{
		ID: m.ID, Body: m.MessageBody, Delay: m.DelaySeconds,
		Attributes: attributesFrom(m.MessageAttributes), SystemAttributes: attributesFrom(m.MessageSystemAttributes),
		GroupID: m.MessageGroupID, DedupID: m.MessageDeduplicationID,
	}
}

type sendMessageInput struct {
	QueueURL string `json:"QueueUrl"`
	message
}

type sentMessage struct {
	ID                  string `json:"Id,omitempty"`
	MessageID           string `json:"MessageId"`
	BodyMD5             string `json:"MD5OfMessageBody"`
	AttributesMD5       string `json:"MD5OfMessageAttributes,omitempty"`
	SystemAttributesMD5 string `json:"MD5OfMessageSystemAttributes,omitempty"`
	SequenceNumber      string `json:",omitempty"`
}

func sentMessageOf(s queue.Sent) sentMessage {
	return sentMessage{
		ID: s.ID, MessageID: s.MessageID, BodyMD5: s.BodyMD5, AttributesMD5: s.AttributesMD5,
		SystemAttributesMD5: s.SystemAttributesMD5, SequenceNumber: s.Sequence,
	}
}

func (a *api) sendMessage(ctx context.Context, c account.AWSCaller, in *sendMessageInput) (*sentMessage, error) {
	entry := in.entry()
	entry.ID = ""
	sent, err := a.o.Queues.Send(ctx, c, in.QueueURL, entry)
	out := sentMessageOf(sent)
	return &out, err
}

// failedMessage is an entry of a batch that was not carried out.
type failedMessage struct {
	ID          string `json:"Id"`
	SenderFault bool
	Code        string
	Message     string
}

func failedMessages(in []queue.Failure) []failedMessage {
	out := make([]failedMessage, len(in))
	for i, f := range in {
		out[i] = failedMessage{ID: f.ID, SenderFault: f.SenderFault, Code: f.Code, Message: f.Message}
	}
	return out
}

type sendBatchInput struct {
	QueueURL string `json:"QueueUrl"`
	Entries  []message
}

type sendBatchOutput struct {
	Successful []sentMessage
	Failed     []failedMessage `json:",omitempty"`
}

func (a *api) sendMessageBatch(ctx context.Context, c account.AWSCaller, in *sendBatchInput) (*sendBatchOutput, error) {
	entries := make([]queue.Entry, len(in.Entries))
	for i, m := range in.Entries {
		entries[i] = m.entry()
	}
	sent, failures, err := a.o.Queues.SendBatch(ctx, c, in.QueueURL, entries)
	out := &sendBatchOutput{Successful: make([]sentMessage, len(sent)), Failed: failedMessages(failures)}
	for i, s := range sent {
		out.Successful[i] = sentMessageOf(s)
	}
	return out, err
}

// receiveInput asks for messages. AttributeNames is the older name of
// MessageSystemAttributeNames. ReceiveRequestAttemptId is not used: a receive
// that was not answered gives its messages back.
type receiveInput struct {
	QueueURL                    string `json:"QueueUrl"`
	MaxNumberOfMessages         *int
	VisibilityTimeout           *int
	WaitTimeSeconds             *int
	AttributeNames              []string
	MessageSystemAttributeNames []string
	MessageAttributeNames       []string
}

type receiveOutput struct {
	Messages []receivedMessage `json:",omitempty"`
}

type receivedMessage struct {
	MessageID         string `json:"MessageId"`
	ReceiptHandle     string
	BodyMD5           string `json:"MD5OfBody"`
	Body              string
	Attributes        map[string]string           `json:",omitempty"`
	AttributesMD5     string                      `json:"MD5OfMessageAttributes,omitempty"`
	MessageAttributes map[string]messageAttribute `json:",omitempty"`
}

func (a *api) receiveMessage(ctx context.Context, c account.AWSCaller, in *receiveInput) (*receiveOutput, error) {
	got, err := a.o.Queues.Receive(ctx, c, queue.Receive{
		QueueURL: in.QueueURL, Max: in.MaxNumberOfMessages, Visibility: in.VisibilityTimeout, Wait: in.WaitTimeSeconds,
		System:     slices.Concat(in.AttributeNames, in.MessageSystemAttributeNames),
		Attributes: in.MessageAttributeNames,
	})
	out := &receiveOutput{Messages: make([]receivedMessage, len(got))}
	for i, m := range got {
		out.Messages[i] = receivedMessage{
			MessageID: m.MessageID, ReceiptHandle: m.Handle, BodyMD5: m.BodyMD5, Body: m.Body, Attributes: m.System,
			AttributesMD5: m.AttributesMD5, MessageAttributes: attributesTo(m.Attributes),
		}
	}
	return out, err
}

// receipt is what a message received before is named by, alone or in a batch.
type receipt struct {
	ID                string `json:"Id"`
	ReceiptHandle     string
	VisibilityTimeout *int
}

type receiptInput struct {
	QueueURL string `json:"QueueUrl"`
	receipt
}

type receiptsInput struct {
	QueueURL string `json:"QueueUrl"`
	Entries  []receipt
}

func (in *receiptsInput) changes() []queue.Change {
	out := make([]queue.Change, len(in.Entries))
	for i, e := range in.Entries {
		out[i] = queue.Change{ID: e.ID, Handle: e.ReceiptHandle, Visibility: e.VisibilityTimeout}
	}
	return out
}

type changedEntry struct {
	ID string `json:"Id"`
}

type receiptsOutput struct {
	Successful []changedEntry
	Failed     []failedMessage `json:",omitempty"`
}

func receiptsOutputOf(done []string, failures []queue.Failure) *receiptsOutput {
	out := &receiptsOutput{Successful: make([]changedEntry, len(done)), Failed: failedMessages(failures)}
	for i, id := range done {
		out.Successful[i] = changedEntry{id}
	}
	return out
}

func (a *api) deleteMessage(ctx context.Context, c account.AWSCaller, in *receiptInput) error {
	return a.o.Queues.DeleteMessage(ctx, c, in.QueueURL, in.ReceiptHandle)
}

func (a *api) deleteMessageBatch(ctx context.Context, c account.AWSCaller, in *receiptsInput) (*receiptsOutput, error) {
	done, failures, err := a.o.Queues.DeleteMessages(ctx, c, in.QueueURL, in.changes())
	return receiptsOutputOf(done, failures), err
}

func (a *api) changeMessageVisibility(ctx context.Context, c account.AWSCaller, in *receiptInput) error {
	return a.o.Queues.ChangeVisibility(ctx, c, in.QueueURL, in.ReceiptHandle, in.VisibilityTimeout)
}

func (a *api) changeMessageVisibilityBatch(ctx context.Context, c account.AWSCaller, in *receiptsInput) (*receiptsOutput, error) {
	done, failures, err := a.o.Queues.ChangeVisibilities(ctx, c, in.QueueURL, in.changes())
	return receiptsOutputOf(done, failures), err
}
