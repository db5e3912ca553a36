package queue

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// keptMoves is how many tasks a queue remembers.
	keptMoves = 10
	// moveChunk is how many messages one transaction moves where no rate is set.
	moveChunk = 200
	maxRate   = 500
	// saveEvery is how often a task's progress is kept, and moveRetry how long
	// it waits after a failure of the store.
	saveEvery = time.Second
	moveRetry = time.Second
)

// The states of a task.
const (
	moveRunning   = "RUNNING"
	moveCompleted = "COMPLETED"
	moveCancelled = "CANCELLED"
	moveFailed    = "FAILED"
)

// move is a task that moves messages out of a dead-letter queue. It is kept in
// the queue's document, so that it survives a restart: messages move each in a
// transaction, and only the count of them may fall behind.
type move struct {
	ID          string    `json:"id"`
	Destination string    `json:"destination,omitempty"` // ARN, "" for where each came from
	Rate        int       `json:"rate,omitempty"`        // messages a second, 0 for as fast as it goes
	Status      string    `json:"status"`
	Started     time.Time `json:"started"`
	Moved       int64     `json:"moved"`
	ToMove      int64     `json:"to_move"`
	Reason      string    `json:"reason,omitempty"`
}

// MoveTask is what a caller sees of a task.
type MoveTask struct {
	Handle              string // "" unless it runs
	Status, Reason      string
	Source, Destination string // ARNs; Destination "" for where each came from
	Rate                int    // messages a second, 0 if not limited
	Moved, ToMove       int64
	Started             time.Time
}

// moves are the tasks that this process runs, by their id.
type moves struct {
	changed chan struct{} // holds one ring: queues were loaded

	mu      sync.Mutex
	running map[string]context.CancelFunc
}

func newMoves() moves {
	return moves{changed: make(chan struct{}, 1), running: map[string]context.CancelFunc{}}
}

func (m *moves) ring() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// taskHandle names a task and where it is found.
type taskHandle struct {
	ID     string `json:"taskId"`
	Source string `json:"sourceArn"`
}

func (h taskHandle) String() string {
	raw, _ := json.Marshal(h) // two strings can always be encoded
	return base64.StdEncoding.EncodeToString(raw)
}

func parseTaskHandle(text string) (taskHandle, error) {
	var h taskHandle
	if text == "" {
		return h, missing("TaskHandle")
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(raw, &h) != nil || h.ID == "" || h.Source == "" {
		return h, badParameter("TaskHandle", text, "It is not a task handle.")
	}
	return h, nil
}

// queueByARN finds the caller's queue that a parameter names.
func (s *Service) queueByARN(ctx context.Context, c account.AWSCaller, param, text string) (*queue, error) {
	if text == "" {
		return nil, missing(param)
	}
	if !strings.HasPrefix(text, "arn:aws:sqs:") {
		return nil, badParameter(param, text, "It is not the ARN of a queue.")
	}
	q, err := s.findARN(ctx, c.Scope, text)
	if isCode(err, codeNoQueue) {
		err = fault.New(fault.NotFound, codeResourceNotFound, "The resource that you specified for the %s parameter doesn't exist.", param)
	}
	return q, err
}

// StartMove begins to move a dead-letter queue's messages to the queue with
// ARN destination, or each to where it came from if that is "". Rate bounds the
// messages a second; nil does not. It returns the task's handle.
func (s *Service) StartMove(ctx context.Context, c account.AWSCaller, source, destination string, rate *int) (string, error) {
	q, err := s.queueByARN(ctx, c, "SourceArn", source)
	if err != nil {
		return "", err
	}
	m := &move{ID: rand.Text(), Destination: destination, Status: moveRunning, Started: s.stamp()}
	if rate != nil {
		if m.Rate = *rate; m.Rate < 1 || m.Rate > maxRate {
			return "", badParameter("MaxNumberOfMessagesPerSecond", m.Rate, "It must be between 1 and %d.", maxRate)
		}
	}
	if destination != "" {
		to, err := s.queueByARN(ctx, c, "DestinationArn", destination)
		if err != nil {
			return "", err
		}
		if to.number == q.number {
			return "", badParameter("DestinationArn", destination, "Source and destination queue must be different.")
		}
		if to.fifo != q.fifo {
			return "", badParameter("DestinationArn", destination, "Source and destination queue must be of the same type.")
		}
	}
	d, err := s.latest(ctx)
	if err != nil {
		return "", err
	}
	if !d.isDeadLetter(q.arn) {
		return "", badParameter("SourceArn", source, "Source queue must be configured as a Dead Letter Queue.")
	}
	depth, err := s.store.QueueDepth(ctx, q.number, s.now())
	if err != nil {
		return "", failed("count messages", err)
	}
	m.ToMove = int64(depth.Visible)
	// Not quiet, so that whichever process runs the tasks hears of it.
	err = s.change(ctx, q.key, false, func(_ *store.Resource, doc *document) error {
		if doc.running() != nil {
			return invalid(codeUnsupported, "There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
		}
		doc.Moves = slices.Insert(doc.Moves, 0, m)
		if len(doc.Moves) > keptMoves {
			doc.Moves = doc.Moves[:keptMoves]
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return taskHandle{m.ID, q.arn}.String(), nil
}

// isDeadLetter tells whether some queue sends its dead letters here.
func (d *directory) isDeadLetter(arn string) bool {
	for _, q := range d.byNumber {
		if q.deadLetter == arn {
			return true
		}
	}
	return false
}

// Moves lists a queue's latest tasks, newest first; limit 0 is 1.
func (s *Service) Moves(ctx context.Context, c account.AWSCaller, source string, limit int) ([]MoveTask, error) {
	q, err := s.queueByARN(ctx, c, "SourceArn", source)
	if err != nil {
		return nil, err
	}
	if limit < 0 || limit > keptMoves {
		return nil, badParameter("MaxResults", limit, "It must be between 1 and %d.", keptMoves)
	}
	_, doc, err := s.read(ctx, q.key)
	if err != nil {
		return nil, err
	}
	var out []MoveTask
	for _, m := range doc.Moves[:min(max(limit, 1), len(doc.Moves))] {
		t := MoveTask{
			Status: m.Status, Reason: m.Reason, Source: q.arn, Destination: m.Destination, Rate: m.Rate,
			Moved: m.Moved, ToMove: m.ToMove, Started: m.Started,
		}
		if m.Status == moveRunning {
			t.Handle = taskHandle{m.ID, q.arn}.String()
		}
		out = append(out, t)
	}
	return out, nil
}

// CancelMove ends a task and returns how many messages it had moved. Those stay
// where they are.
func (s *Service) CancelMove(ctx context.Context, c account.AWSCaller, text string) (int64, error) {
	h, err := parseTaskHandle(text)
	if err != nil {
		return 0, err
	}
	q, err := s.findARN(ctx, c.Scope, h.Source)
	if isCode(err, codeNoQueue) {
		return 0, noTask()
	}
	if err != nil {
		return 0, err
	}
	var moved int64
	err = s.change(ctx, q.key, false, func(_ *store.Resource, doc *document) error {
		m := doc.move(h.ID)
		if m == nil {
			return noTask()
		}
		if m.Status != moveRunning {
			return invalid(codeUnsupported, "Only active tasks can be cancelled.")
		}
		m.Status = moveCancelled
		moved = m.Moved
		return nil
	})
	return moved, err
}

func noTask() error {
	return fault.New(fault.NotFound, codeResourceNotFound, "Task does not exist.")
}

// running is the task that runs, nil if none does.
func (d *document) running() *move {
	i := slices.IndexFunc(d.Moves, func(m *move) bool { return m.Status == moveRunning })
	if i < 0 {
		return nil
	}
	return d.Moves[i]
}

func (d *document) move(id string) *move {
	i := slices.IndexFunc(d.Moves, func(m *move) bool { return m.ID == id })
	if i < 0 {
		return nil
	}
	return d.Moves[i]
}

// RunMoves carries out the tasks that move messages until ctx or the service
// ends, those that another process began or left unfinished too. It is to run
// once in an installation. Should it run twice for a moment, each message is
// still moved once, and only the counts are off.
func (s *Service) RunMoves(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		s.adjustMoves(ctx, &tasks)
		select {
		case <-s.moves.changed:
		case <-s.life.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// adjustMoves begins the tasks that are to run, and ends those that are not.
func (s *Service) adjustMoves(ctx context.Context, tasks *sync.WaitGroup) {
	wanted := map[string]bool{}
	s.moves.mu.Lock()
	defer s.moves.mu.Unlock()
	for _, q := range s.dir.Load().byNumber {
		id := q.moving
		if id == "" {
			continue
		}
		wanted[id] = true
		if s.moves.running[id] != nil {
			continue
		}
		task, cancel := context.WithCancel(ctx)
		s.moves.running[id] = cancel
		tasks.Go(func() {
			defer cancel()
			s.runMove(task, q, id)
			s.moves.mu.Lock()
			defer s.moves.mu.Unlock()
			delete(s.moves.running, id)
		})
	}
	for id, cancel := range s.moves.running {
		if !wanted[id] {
			cancel()
		}
	}
}

// runMove runs a task as it was left, if it still is to run.
func (s *Service) runMove(ctx context.Context, q *queue, id string) {
	for ctx.Err() == nil {
		_, doc, err := s.read(ctx, q.key)
		if err == nil {
			if m := doc.move(id); m != nil && m.Status == moveRunning {
				s.moveAll(ctx, q, m)
			}
			return
		}
		if isCode(err, codeNoQueue) {
			return
		}
		s.log.Warn("a move of messages waits for the store", "queue", q.arn, "error", err)
		pauseFor(ctx, moveRetry)
	}
}

func (s *Service) moveAll(ctx context.Context, q *queue, m *move) {
	chunk, pause := moveChunk, time.Duration(0)
	if m.Rate > 0 {
		chunk = max(1, m.Rate/10)
		pause = time.Second * time.Duration(chunk) / time.Duration(m.Rate)
	}
	saved := s.now()
	for ctx.Err() == nil {
		more, err := s.moveChunk(ctx, q, m, chunk)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, ErrNoQueue):
			m.Status, m.Reason = moveFailed, "The destination queue does not exist."
		case err != nil:
			s.log.Warn("a move of messages waits for the store", "queue", q.arn, "error", err)
			pauseFor(ctx, moveRetry)
			continue
		case !more:
			m.Status = moveCompleted
		}
		if m.Status != moveRunning || s.now().Sub(saved) >= saveEvery {
			ended, err := s.saveMove(ctx, q, m)
			if ended {
				return
			}
			if err != nil {
				pauseFor(ctx, moveRetry)
			}
			saved = s.now()
		}
		pauseFor(ctx, pause)
	}
	// The count as it is when the task is cancelled or the service stops.
	_, _ = s.saveMove(context.WithoutCancel(ctx), q, m) // it has logged what failed
}

// moveChunk moves some messages and tells whether there are more.
func (s *Service) moveChunk(ctx context.Context, q *queue, m *move, most int) (bool, error) {
	op := &store.QueueMove{Max: most}
	if m.Destination != "" {
		to, err := s.findARN(ctx, q.key.Scope, m.Destination)
		if isCode(err, codeNoQueue) {
			return false, ErrNoQueue
		}
		if err != nil {
			return false, err
		}
		op.To = to.number
	}
	o := &store.QueueOp{Queue: q.number, Move: op}
	if err := s.committer.do(ctx, o); err != nil {
		return false, err
	}
	if o.Err != nil {
		if errors.Is(o.Err, store.ErrNotFound) {
			return false, ErrNoQueue
		}
		return false, o.Err
	}
	m.Moved += int64(op.Moved)
	switch {
	case op.Moved == 0:
	case op.To != 0:
		s.bells.ring(op.To, op.Moved)
	default:
		s.bells.ringAll()
	}
	return op.More, nil
}

func pauseFor(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// saveMove keeps a task's progress, and tells whether the task has ended. A
// cancellation that came first stands.
func (s *Service) saveMove(ctx context.Context, q *queue, m *move) (bool, error) {
	quiet := m.Status == moveRunning
	err := s.change(ctx, q.key, quiet, func(r *store.Resource, doc *document) error {
		kept := doc.move(m.ID)
		if r.Number != q.number || kept == nil {
			m.Status = moveCancelled // the queue was deleted
			return errUnchanged
		}
		kept.Moved = m.Moved
		if kept.Status != moveRunning {
			m.Status = kept.Status
			return nil
		}
		kept.Status, kept.Reason = m.Status, m.Reason
		return nil
	})
	if isCode(err, codeNoQueue) {
		return true, nil
	}
	if err != nil {
		s.log.Warn("the progress of a move could not be kept", "queue", q.arn, "error", err)
		return false, err
	}
	return m.Status != moveRunning, nil
}
