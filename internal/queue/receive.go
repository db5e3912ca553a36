package queue

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// Receive asks for messages.
type Receive struct {
	QueueURL string
	// Max is how many, 1 to 10; nil is 1.
	Max *int
	// Visibility and Wait are in seconds; nil for the queue's.
	Visibility, Wait *int
	// System and Attributes name what is wanted along with the bodies: "All",
	// and for Attributes a prefix followed by ".*", select several.
	System, Attributes []string
}

// Received is a message handed out.
type Received struct {
	MessageID     string
	Handle        string
	Body          string
	BodyMD5       string
	AttributesMD5 string // of those in Attributes; "" if there are none
	Attributes    []event.Attribute
	System        map[string]string
}

// systemAttributes are what a receiver can ask for.
var systemAttributes = []string{
	"SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SequenceNumber",
	"MessageDeduplicationId", "MessageGroupId", traceHeader, "DeadLetterQueueSourceArn",
}

// Receive hands out messages and hides them from others for a while. If there
// are none it waits, until some come, the time is up or ctx ends.
func (s *Service) Receive(ctx context.Context, c account.AWSCaller, p Receive) ([]Received, error) {
	q, err := s.queueAt(ctx, c, p.QueueURL)
	if err != nil {
		return nil, err
	}
	most, hide, wait := 1, q.visibility, q.wait
	if p.Max != nil {
		if most = *p.Max; most < 1 || most > MaxBatch {
			return nil, badParameter("MaxNumberOfMessages", most, "Must be between 1 and 10, if provided.")
		}
	}
	if p.Visibility != nil {
		if *p.Visibility < 0 || *p.Visibility > maxVisibility {
			return nil, badParameter(attrVisibility, *p.Visibility, "Must be >= 0 and <= 43200, if provided.")
		}
		hide = time.Duration(*p.Visibility) * time.Second
	}
	if p.Wait != nil {
		if *p.Wait < 0 || *p.Wait > 20 {
			return nil, badParameter("WaitTimeSeconds", *p.Wait, "Must be >= 0 and <= 20, if provided.")
		}
		wait = time.Duration(*p.Wait) * time.Second
	}
	for _, name := range p.System {
		if name != "All" && !slices.Contains(systemAttributes, name) {
			return nil, invalid(codeAttributeName, "Unknown Attribute %s.", name)
		}
	}
	messages, err := s.await(ctx, q, most, hide, wait)
	if err != nil {
		return nil, err
	}
	out := make([]Received, len(messages))
	for i, m := range messages {
		out[i] = s.received(q, m, p)
	}
	return out, nil
}

// await receives, and waits for messages where there are none.
func (s *Service) await(ctx context.Context, q *queue, most int, hide, wait time.Duration) ([]*store.QueueMessage, error) {
	w := s.bells.listen(q.number)
	defer s.bells.leave(w)
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		messages, err := s.receive(ctx, q, most, hide)
		if err != nil || len(messages) > 0 || wait == 0 {
			return messages, err
		}
		visible, err := s.nextVisible(ctx, q)
		if err != nil {
			return nil, err
		}
		select {
		case <-w.rung:
		case <-visible:
		case <-end.C:
			wait = 0 // look once more: a message may just have become visible
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.life.Done():
			return nil, nil
		}
		// The queue may have been changed meanwhile; that it was deleted is
		// found by the next receive.
		if current := s.dir.Load().byNumber[q.number]; current != nil {
			q = current
		}
	}
}

// nextVisible is a channel that tells when the next hidden message becomes
// visible; nil if none is hidden.
func (s *Service) nextVisible(ctx context.Context, q *queue) (<-chan time.Time, error) {
	now := s.now()
	at, err := s.store.NextVisible(ctx, q.number, now)
	if err != nil {
		return nil, failed("wait for messages", err)
	}
	if at.IsZero() {
		return nil, nil
	}
	// Not before the millisecond the store compares with.
	return time.After(at.Sub(now) + time.Millisecond), nil
}

// receive hands out what is there.
func (s *Service) receive(ctx context.Context, q *queue, most int, hide time.Duration) ([]*store.QueueMessage, error) {
	now := s.stamp()
	r := &store.QueueReceive{Max: most, HideUntil: now.Add(hide), Expired: now.Add(-q.retention), FIFO: q.fifo}
	if q.deadLetter != "" {
		if dlq := s.dir.Load().byARN[q.deadLetter]; dlq != nil && dlq.number != q.number {
			r.DeadLetter, r.MaxReceives = dlq.number, q.maxReceives
		}
	}
	op := &store.QueueOp{Queue: q.number, Receive: r}
	if err := s.committer.do(ctx, op); err != nil {
		return nil, err
	}
	if err := refused("receive messages", op.Err); err != nil {
		return nil, err
	}
	if r.Moved > 0 {
		s.bells.ring(r.DeadLetter, r.Moved)
	}
	if len(r.Messages) > 0 && ctx.Err() != nil {
		s.giveBack(context.WithoutCancel(ctx), q, r.Messages)
		return nil, ctx.Err()
	}
	if len(r.Messages) > 0 {
		s.bells.ring(q.number, 1)
	}
	return r.Messages, nil
}

// giveBack makes messages visible again whose receiver left meanwhile.
func (s *Service) giveBack(ctx context.Context, q *queue, messages []*store.QueueMessage) {
	ops := make([]*store.QueueOp, len(messages))
	for i, m := range messages {
		ops[i] = &store.QueueOp{Queue: q.number, Visibility: &store.QueueReceipt{ID: m.ID, Receipt: m.Receipt, VisibleAt: s.stamp()}}
	}
	if err := s.committer.do(ctx, ops...); err != nil {
		s.log.Warn("messages whose receiver left stay hidden until their visibility timeout ends", "queue", q.arn, "error", err)
		return
	}
	s.bells.ring(q.number, len(messages))
}

func (s *Service) received(q *queue, m *store.QueueMessage, p Receive) Received {
	out := Received{
		MessageID: m.MessageID.String(), Handle: handle{q.number, m.ID, m.Receipt}.String(),
		Body: string(m.Body), BodyMD5: bodyMD5(m.Body), System: map[string]string{},
	}
	trace := ""
	for _, a := range m.Attributes {
		if a.Name == traceHeaderStored {
			trace = a.Value
		} else if selected(p.Attributes, a.Name) {
			out.Attributes = append(out.Attributes, a)
		}
	}
	out.AttributesMD5 = attributesMD5(out.Attributes)
	all := slices.Contains(p.System, "All")
	set := func(name, value string) {
		if value != "" && (all || slices.Contains(p.System, name)) {
			out.System[name] = value
		}
	}
	set("SenderId", q.accountID)
	set("SentTimestamp", strconv.FormatInt(m.Sent.UnixMilli(), 10))
	set("ApproximateReceiveCount", strconv.Itoa(m.Receives))
	set("ApproximateFirstReceiveTimestamp", strconv.FormatInt(m.FirstReceived.UnixMilli(), 10))
	set("MessageGroupId", m.GroupID)
	set(traceHeader, trace)
	if q.fifo {
		set("MessageDeduplicationId", m.DedupID)
		set("SequenceNumber", formatSequence(m.Sequence))
	}
	if source := s.dir.Load().byNumber[m.Source]; source != nil {
		set("DeadLetterQueueSourceArn", source.arn)
	}
	return out
}

// selected tells whether an attribute is among those asked for.
func selected(wanted []string, name string) bool {
	for _, w := range wanted {
		if w == "All" || w == ".*" || w == name {
			return true
		}
		if prefix, ok := strings.CutSuffix(w, ".*"); ok && strings.HasPrefix(name, prefix+".") {
			return true
		}
	}
	return false
}

// Change is an entry of a batch about messages received before.
type Change struct {
	ID         string
	Handle     string
	Visibility *int // seconds; for ChangeVisibility
}

// maxVisibility is in seconds.
const maxVisibility = 43200

// DeleteMessage removes a message that was received. One that is gone already
// was removed too; on a FIFO queue an outdated receipt is told.
func (s *Service) DeleteMessage(ctx context.Context, c account.AWSCaller, queueURL, receipt string) error {
	_, failures, err := s.changeMessages(ctx, c, queueURL, []Change{{Handle: receipt}}, deleteOp)
	return first(failures, err)
}

// DeleteMessages removes up to ten messages and returns the ids of the entries
// that were carried out.
func (s *Service) DeleteMessages(ctx context.Context, c account.AWSCaller, queueURL string, entries []Change) ([]string, []Failure, error) {
	if err := checkBatch(entries, "DeleteMessageBatchRequestEntry", func(e Change) string { return e.ID }); err != nil {
		return nil, nil, err
	}
	done, failed, err := s.changeMessages(ctx, c, queueURL, entries, deleteOp)
	return done, failures(failed), err
}

// ChangeVisibility sets when a message that was received becomes visible again,
// in seconds from now.
func (s *Service) ChangeVisibility(ctx context.Context, c account.AWSCaller, queueURL, receipt string, visibility *int) error {
	_, failures, err := s.changeMessages(ctx, c, queueURL, []Change{{Handle: receipt, Visibility: visibility}}, s.visibilityOp)
	return first(failures, err)
}

// ChangeVisibilities does so for up to ten messages and returns the ids of the
// entries that were carried out.
func (s *Service) ChangeVisibilities(ctx context.Context, c account.AWSCaller, queueURL string, entries []Change) ([]string, []Failure, error) {
	if err := checkBatch(entries, "ChangeMessageVisibilityBatchRequestEntry", func(e Change) string { return e.ID }); err != nil {
		return nil, nil, err
	}
	done, failed, err := s.changeMessages(ctx, c, queueURL, entries, s.visibilityOp)
	return done, failures(failed), err
}

// refusal is an entry's error.
type refusal struct {
	id  string
	err error
}

func first(refusals []refusal, err error) error {
	if err == nil && len(refusals) > 0 {
		return refusals[0].err
	}
	return err
}

func failures(refusals []refusal) []Failure {
	var out []Failure
	for _, r := range refusals {
		out = append(out, failure(r.id, r.err))
	}
	return out
}

func deleteOp(_ *queue, _ Change, h handle) (*store.QueueOp, error) {
	return &store.QueueOp{Queue: h.queue, Delete: &store.QueueReceipt{ID: h.id, Receipt: h.receipt}}, nil
}

func (s *Service) visibilityOp(_ *queue, e Change, h handle) (*store.QueueOp, error) {
	if e.Visibility == nil {
		return nil, missing(attrVisibility)
	}
	if n := *e.Visibility; n < 0 || n > maxVisibility {
		return nil, badParameter(attrVisibility, n, "VisibilityTimeout must be an integer between 0 and 43200.")
	}
	at := s.stamp().Add(time.Duration(*e.Visibility) * time.Second)
	return &store.QueueOp{Queue: h.queue, Visibility: &store.QueueReceipt{ID: h.id, Receipt: h.receipt, VisibleAt: at}}, nil
}

func (s *Service) changeMessages(ctx context.Context, c account.AWSCaller, queueURL string, entries []Change, makeOp func(*queue, Change, handle) (*store.QueueOp, error)) (done []string, refusals []refusal, err error) {
	q, err := s.queueAt(ctx, c, queueURL)
	if err != nil {
		return nil, nil, err
	}
	var ops []*store.QueueOp
	var good []Change
	for _, e := range entries {
		h, err := parseHandle(q.number, e.Handle)
		var op *store.QueueOp
		if err == nil {
			op, err = makeOp(q, e, h)
		}
		if err != nil {
			refusals = append(refusals, refusal{e.ID, err})
			continue
		}
		ops, good = append(ops, op), append(good, e)
	}
	if err := s.committer.do(ctx, ops...); err != nil {
		return nil, nil, err
	}
	for i, op := range ops {
		if err := changeError(q, good[i], op); err != nil {
			refusals = append(refusals, refusal{good[i].ID, err})
			continue
		}
		done = append(done, good[i].ID)
	}
	// A message may be visible again, or its group free, or it may become
	// visible at another time than those who wait believe.
	s.bells.ring(q.number, len(done))
	return done, refusals, nil
}

// changeError words what the store found wrong with a receipt.
func changeError(q *queue, e Change, op *store.QueueOp) error {
	switch {
	case op.Err == nil:
		return nil
	case !errors.Is(op.Err, store.ErrNotFound):
		return failed("change a message", op.Err)
	case op.Visibility != nil:
		return invalid(codeNotInflight, "Value %s for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.", e.Handle)
	case q.fifo:
		return badParameter("ReceiptHandle", e.Handle, "The receipt handle has expired.")
	default:
		return nil
	}
}
