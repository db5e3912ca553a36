package apidestination

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// burst is how much of an API destination's rate may come at once after a
// pause, in time.
const burst = 100 * time.Millisecond

type turnKey struct {
	scope event.Scope
	arn   string
}

// turns spaces the requests to one API destination.
type turns struct {
	mu   sync.Mutex
	next time.Time
}

// turnsOf returns those that all rules share which send to one API
// destination.
func (c *Client) turnsOf(to *event.APIDestinationTarget) *turns {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := turnKey{to.Scope, to.ARN}
	t := c.turns[k]
	if t == nil {
		t = &turns{}
		c.turns[k] = t
	}
	return t
}

// take waits for a turn at a rate a second. It is false if ctx ended, or if
// the turn is so far off that it is better to come back after wait.
func (t *turns) take(ctx context.Context, rate int) (wait time.Duration, ok bool) {
	now := time.Now()
	t.mu.Lock()
	at := t.next
	if earliest := now.Add(-burst); at.Before(earliest) {
		at = earliest
	}
	if wait = at.Sub(now); wait > maxTurn {
		t.mu.Unlock()
		return wait, false
	}
	t.next = at.Add(time.Second / time.Duration(rate))
	t.mu.Unlock()
	if wait <= 0 {
		return 0, true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, true
	case <-ctx.Done():
		return 0, false
	}
}
