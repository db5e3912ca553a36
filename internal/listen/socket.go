package listen

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/queue"
	"github.com/waybill-dev/waybill/internal/sign"
)

// Socket is one client's connection to a session. Its verbs may be called at
// the same time, except for Close.
type Socket struct {
	s      *Service
	ticket *ticket
	signer *sign.Stripe

	ctx    context.Context
	cancel context.CancelFunc
	closed chan struct{}

	mu   sync.Mutex
	held map[string]string // receipt handles of what is not acknowledged, by message
	seen time.Time
}

// Message is an event on its way to a client.
type Message struct {
	ID   string // of this sending
	Kind event.Kind
	Body []byte
}

// Connect opens a socket of a session, which it makes if need be. An earlier
// socket of it at this node is closed first. The caller must Close what it got,
// and do so when [Socket.Done] is closed.
func (s *Service) Connect(ctx context.Context, text string) (*Socket, error) {
	t, err := s.readTicket(text)
	if err != nil {
		return nil, err
	}
	if err := s.authenticate(ctx, t); err != nil {
		return nil, err
	}
	k := &Socket{
		s: s, ticket: t, signer: sign.NewStripe(s.secret(t.Scope, t.Device)),
		closed: make(chan struct{}), held: map[string]string{},
	}
	k.ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.enter(ctx, k); err != nil {
		return nil, err
	}
	if err = s.make(ctx, t); err == nil {
		err = k.Keep(ctx)
	}
	if err != nil {
		k.leave()
		return nil, err
	}
	return k, nil
}

func (s *Service) authenticate(ctx context.Context, t *ticket) error {
	owner, err := s.o.Authenticate(ctx, t.Key)
	if f := fault.As(err); f != nil && f.Kind == fault.Unauthorized || err == nil && owner.Scope != t.Owner {
		return ErrUnknown
	}
	return err
}

// enter makes a socket its session's one at this node.
func (s *Service) enter(ctx context.Context, k *Socket) error {
	for {
		s.mu.Lock()
		if s.stopped {
			s.mu.Unlock()
			return fault.Unavailablef(nil, "The server is shutting down. Try again in a moment.")
		}
		old := s.sockets[k.ticket.Name]
		if old == nil {
			s.sockets[k.ticket.Name] = k
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		old.cancel()
		select {
		case <-old.closed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *Socket) leave() {
	k.s.mu.Lock()
	delete(k.s.sockets, k.ticket.Name)
	k.s.mu.Unlock()
	k.cancel()
	close(k.closed)
}

// Stop has all sockets closed, and no others opened.
func (s *Service) Stop() {
	s.mu.Lock()
	s.stopped = true
	sockets := slices.Collect(maps.Values(s.sockets))
	s.mu.Unlock()
	for _, k := range sockets {
		k.cancel()
	}
	for _, k := range sockets {
		<-k.closed
	}
}

// Done is closed when the socket is to be.
func (k *Socket) Done() <-chan struct{} { return k.ctx.Done() }

// Keep is to be called every few seconds while the client lives. It returns
// ErrUnknown if its key is not good any more.
func (k *Socket) Keep(ctx context.Context) error {
	if err := k.s.authenticate(ctx, k.ticket); err != nil {
		return err
	}
	k.mu.Lock()
	now := k.s.now()
	due := now.Sub(k.seen) >= seenEvery
	if due {
		k.seen = now
	}
	k.mu.Unlock()
	if !due {
		return nil
	}
	return k.s.touch(ctx, sessionKey(k.ticket))
}

// Latest is the version that copies for clients of the latest one are labelled
// with.
func (k *Socket) Latest() string { return k.ticket.Latest }

// Held counts the messages that were received and not acknowledged.
func (k *Socket) Held() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.held)
}

// Receive waits up to 20 seconds for messages.
func (k *Socket) Receive(ctx context.Context) ([]Message, error) {
	most, wait := queue.MaxBatch, 20
	got, err := k.s.o.Queues.Receive(ctx, queueOwner(k.ticket.Scope), queue.Receive{QueueURL: queueURL(k.ticket.Name), Max: &most, Wait: &wait})
	if err != nil {
		return nil, err
	}
	messages := make([]Message, len(got))
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, m := range got {
		k.held[m.MessageID] = m.Handle
		messages[i] = Message{ID: m.MessageID, Kind: kindOf([]byte(m.Body)), Body: []byte(m.Body)}
	}
	return messages, nil
}

func kindOf(body []byte) event.Kind {
	var e struct {
		Object string `json:"object"`
	}
	if json.Unmarshal(body, &e) == nil && e.Object == "v2.core.event" {
		return event.Thin
	}
	return event.Snapshot
}

// Header is what a client is to send along with a body.
func (k *Socket) Header(body []byte) map[string]string {
	return map[string]string{
		"Content-Type": "application/json; charset=utf-8", "User-Agent": k.s.o.UserAgent, "Accept": "*/*", "Cache-Control": "no-cache",
		sign.StripeHeader: string(k.signer.AppendHeader(nil, k.s.o.Now(), body)),
	}
}

// Ack removes messages: the client has them.
func (k *Socket) Ack(ctx context.Context, ids []string) error {
	return k.change(ids, func(entries []queue.Change) error {
		_, _, err := k.s.o.Queues.DeleteMessages(ctx, queueOwner(k.ticket.Scope), queueURL(k.ticket.Name), entries)
		return err
	})
}

// change carries something out for messages that are held, and lets go of them.
func (k *Socket) change(ids []string, do func([]queue.Change) error) error {
	for part := range slices.Chunk(ids, queue.MaxBatch) {
		var entries []queue.Change
		k.mu.Lock()
		for i, id := range part {
			if handle := k.held[id]; handle != "" {
				entries = append(entries, queue.Change{ID: strconv.Itoa(i), Handle: handle, Visibility: new(int)})
			}
		}
		k.mu.Unlock()
		if len(entries) == 0 {
			continue
		}
		if err := do(entries); err != nil {
			return fmt.Errorf("settle messages: %w", err)
		}
		k.mu.Lock()
		for _, id := range part {
			delete(k.held, id)
		}
		k.mu.Unlock()
	}
	return nil
}

// Close gives back what was not acknowledged.
func (k *Socket) Close(ctx context.Context) {
	defer k.leave()
	k.mu.Lock()
	ids := slices.Collect(maps.Keys(k.held))
	k.mu.Unlock()
	err := k.change(ids, func(entries []queue.Change) error {
		_, _, err := k.s.o.Queues.ChangeVisibilities(ctx, queueOwner(k.ticket.Scope), queueURL(k.ticket.Name), entries)
		return err
	})
	if err == nil {
		err = k.s.touch(ctx, sessionKey(k.ticket))
	}
	if err != nil {
		k.s.o.Log.Debug("what a listening session did not take stays hidden for half a minute", "error", err)
	}
}

// End ends the socket's session, which its client does not want any more. The
// socket is still to be closed.
func (k *Socket) End(ctx context.Context) error {
	r, err := k.s.o.Store.Resource(ctx, sessionKey(k.ticket))
	if err != nil {
		return failed("find session", err)
	}
	return k.s.end(ctx, r)
}
