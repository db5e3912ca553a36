package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// Entry is a message to send.
type Entry struct {
	ID   string // in a batch
	Body string
	// Delay overrides the queue's, in seconds; nil for the queue's.
	Delay            *int
	Attributes       []event.Attribute
	SystemAttributes []event.Attribute
	GroupID, DedupID string
}

// Sent is a message that was taken.
type Sent struct {
	ID                  string // in a batch
	MessageID           string
	BodyMD5             string
	AttributesMD5       string // "" if it has none
	SystemAttributesMD5 string // "" if it has none
	Sequence            string // "" unless the queue is FIFO
}

// Send puts one message into a queue.
func (s *Service) Send(ctx context.Context, c account.AWSCaller, queueURL string, e Entry) (Sent, error) {
	q, err := s.queueAt(ctx, c, queueURL)
	if err != nil {
		return Sent{}, err
	}
	op, err := s.sendOp(q, e)
	if err != nil {
		return Sent{}, err
	}
	if err := s.committer.do(ctx, op); err != nil {
		return Sent{}, err
	}
	if err := refused("send a message", op.Err); err != nil {
		return Sent{}, err
	}
	s.bells.ring(q.number, 1)
	return sent(q, e, op.Send), nil
}

// SendBatch puts up to ten messages into a queue: each that is good, in order.
func (s *Service) SendBatch(ctx context.Context, c account.AWSCaller, queueURL string, entries []Entry) ([]Sent, []Failure, error) {
	q, err := s.queueAt(ctx, c, queueURL)
	if err != nil {
		return nil, nil, err
	}
	if err := checkBatch(entries, "SendMessageBatchRequestEntry", func(e Entry) string { return e.ID }); err != nil {
		return nil, nil, err
	}
	total := 0
	for _, e := range entries {
		total += len(e.Body) + messageSize(nil, e.Attributes)
	}
	if total > MaxRequest {
		return nil, nil, invalid(codeBatchTooLong, "Batch requests cannot be longer than %d bytes. You have sent %d bytes.", MaxRequest, total)
	}
	var failures []Failure
	var ops []*store.QueueOp
	var good []Entry
	for _, e := range entries {
		op, err := s.sendOp(q, e)
		if err != nil {
			failures = append(failures, failure(e.ID, err))
			continue
		}
		ops, good = append(ops, op), append(good, e)
	}
	if err := s.committer.do(ctx, ops...); err != nil {
		return nil, nil, err
	}
	var done []Sent
	for i, op := range ops {
		if err := refused("send a message", op.Err); err != nil {
			failures = append(failures, failure(good[i].ID, err))
			continue
		}
		done = append(done, sent(q, good[i], op.Send))
	}
	s.bells.ring(q.number, len(done))
	return done, failures, nil
}

// sendOp checks an entry and makes the operation that sends it.
func (s *Service) sendOp(q *queue, e Entry) (*store.QueueOp, error) {
	if e.Body == "" {
		return nil, missing("MessageBody")
	}
	if !goodText(e.Body) {
		return nil, invalid(codeContents, badCharacters)
	}
	if err := checkMessageAttributes(e.Attributes); err != nil {
		return nil, err
	}
	attrs := append([]event.Attribute(nil), e.Attributes...)
	for _, a := range e.SystemAttributes {
		if a.Name != traceHeader || a.Type != "String" || a.Value == "" {
			return nil, invalid(codeParameter, "Message system attribute name '%s' is invalid: only %s of type String can be set.", a.Name, traceHeader)
		}
		a.Name = traceHeaderStored
		attrs = append(attrs, a)
	}
	body := []byte(e.Body)
	if messageSize(body, attrs) > q.maxSize {
		return nil, invalid(codeParameter, "One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", q.maxSize)
	}
	if err := checkGroup(q, &e, body); err != nil {
		return nil, err
	}
	delay := q.delay
	if e.Delay != nil {
		if *e.Delay < 0 || *e.Delay > 900 {
			return nil, badParameter(attrDelay, *e.Delay, "DelaySeconds must be >= 0 and <= 900.")
		}
		if q.fifo && *e.Delay != 0 {
			return nil, badParameter(attrDelay, *e.Delay, "The request include parameter that is not valid for this queue type.")
		}
		if !q.fifo {
			delay = time.Duration(*e.Delay) * time.Second
		}
	}
	now := s.stamp()
	m := &store.QueueMessage{
		MessageID: event.NewUUID(), Body: body, Attributes: attrs, GroupID: e.GroupID, DedupID: e.DedupID,
		Sent: now, VisibleAt: now.Add(delay),
	}
	return &store.QueueOp{Queue: q.number, Send: &store.QueueSend{Message: m, FIFO: q.fifo, DedupScope: q.dedupScope(e.GroupID)}}, nil
}

// checkGroup checks an entry's group and deduplication id, and fills in the
// latter where it follows from the body.
func checkGroup(q *queue, e *Entry, body []byte) error {
	if e.GroupID != "" && !identifier.MatchString(e.GroupID) {
		return badParameter("MessageGroupId", e.GroupID, "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	if !q.fifo {
		if e.DedupID != "" {
			return badParameter("MessageDeduplicationId", e.DedupID, "The request include parameter that is not valid for this queue type.")
		}
		return nil
	}
	if e.GroupID == "" {
		return missing("MessageGroupId")
	}
	switch {
	case e.DedupID != "":
		if !identifier.MatchString(e.DedupID) {
			return badParameter("MessageDeduplicationId", e.DedupID, "MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
		}
	case q.contentDedup:
		e.DedupID = contentID(body)
	default:
		return invalid(codeParameter, "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return nil
}

// refused words what the store found wrong with an operation on a queue as a
// whole: that it was deleted a moment ago.
func refused(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return noQueue()
	default:
		return failed(doing, err)
	}
}

func sent(q *queue, e Entry, send *store.QueueSend) Sent {
	out := Sent{
		ID: e.ID, MessageID: send.Message.MessageID.String(), BodyMD5: bodyMD5([]byte(e.Body)),
		AttributesMD5: attributesMD5(e.Attributes), SystemAttributesMD5: attributesMD5(e.SystemAttributes),
	}
	if q.fifo {
		out.Sequence = formatSequence(send.Message.Sequence)
	}
	return out
}

// formatSequence writes a sequence number with SQS's 20 digits, so that texts
// are in the order of numbers.
func formatSequence(n int64) string { return fmt.Sprintf("%020d", n) }
