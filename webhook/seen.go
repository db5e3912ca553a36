package webhook

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// Seen remembers which events were handled.
//
// Once runs handle, unless it has succeeded for this id before: then it returns
// nil and does nothing. If handle fails, its error is returned and the id is not
// remembered, so that the next delivery of the event is handled. Of several
// calls with one id at a time, one runs handle; the others wait for its end, or
// return an error, which makes the sender try again. handle does not panic.
//
// An implementation may commit the memory together with what handle did, and
// hand its transaction over in the context that it passes on: see the example.
// Handlers for different purposes need a Seen each, or none of them gets what
// another has handled.
type Seen interface {
	Once(ctx context.Context, id string, handle func(context.Context) error) error
}

// Memory is a [Seen] in memory, of bounded size. It is safe for concurrent use.
type Memory struct {
	size int
	ttl  time.Duration

	mu      sync.Mutex
	running map[string]chan struct{} // closed at the end
	handled map[string]bool
	order   []memory // of handled, oldest first
}

type memory struct {
	id string
	at time.Time
}

// NewMemory returns a memory of the last size ids (0 means 100,000, which take
// about 15 MB), each kept for ttl (0 means 7 days: longer than Waybill retries).
func NewMemory(size int, ttl time.Duration) *Memory {
	return &Memory{
		size:    cmp.Or(size, 100_000),
		ttl:     cmp.Or(ttl, 7*24*time.Hour),
		running: map[string]chan struct{}{},
		handled: map[string]bool{},
	}
}

// Once implements [Seen]. A call that waits for another returns when ctx ends.
func (m *Memory) Once(ctx context.Context, id string, handle func(context.Context) error) error {
	for {
		ended, other := m.begin(id)
		switch {
		case ended == nil:
			return nil
		case !other:
			return m.run(ctx, id, ended, handle)
		}
		select {
		case <-ended: // whether it succeeded, the next look tells
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *Memory) run(ctx context.Context, id string, ended chan struct{}, handle func(context.Context) error) error {
	handled := false
	defer func() { m.end(id, ended, handled) }() // even if handle panics
	err := handle(ctx)
	handled = err == nil
	return err
}

// begin returns nil if id was handled; otherwise what is closed when its
// handling ends, and whether that is another call's.
func (m *Memory) begin(id string) (ended chan struct{}, other bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	if m.handled[id] {
		return nil, false
	}
	if ended, other = m.running[id]; !other {
		ended = make(chan struct{})
		m.running[id] = ended
	}
	return ended, other
}

func (m *Memory) end(id string, ended chan struct{}, handled bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.running, id)
	close(ended)
	if handled {
		m.handled[id] = true
		m.order = append(m.order, memory{id, time.Now()})
		m.forget()
	}
}

// forget drops what is too old or too much.
func (m *Memory) forget() {
	for len(m.order) > 0 && (len(m.order) > m.size || time.Since(m.order[0].at) >= m.ttl) {
		delete(m.handled, m.order[0].id)
		m.order[0] = memory{} // the array behind the slice must not keep the id
		m.order = m.order[1:]
	}
}
