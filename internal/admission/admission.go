// Package admission bounds how many bytes of request bodies a surface works on
// at a time. What is over the bound waits in the sockets' buffers, not in
// memory; whoever gives up waiting has taken nothing.
//
// A request's length is what it announces. One never counts for more than a
// part of the bound, so that a few slow senders of large bodies do not hold up
// everybody, and ordinary small ones do not count at all.
package admission

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"
)

// The bounds, in bytes: of all bodies together, of what one counts for, and up
// to which one counts for nothing.
const (
	admitted   = 2 << 20
	maxWeight  = 512 << 10
	weightless = 32 << 10
)

// ErrFull says that there was no room for as long as the gate lets one wait.
var ErrFull = errors.New("too many bytes of request bodies are under way")

// Gate is what the requests of one surface pass.
type Gate struct {
	bytes   *semaphore.Weighted
	maxWait time.Duration
}

// NewGate returns a gate that nobody has passed yet. maxWait bounds how long
// one waits before it; 0 is as long as its context lasts.
func NewGate(maxWait time.Duration) *Gate {
	return &Gate{semaphore.NewWeighted(admitted), maxWait}
}

// Enter waits until there is room for a body of this length in bytes, -1 if it
// is not known. leave is to be called once, when the body is no longer held.
// The error is ErrFull or the context's.
func (g *Gate) Enter(ctx context.Context, length int64) (leave func(), err error) {
	if length < 0 || length > maxWeight {
		length = maxWeight
	}
	if length <= weightless {
		return func() {}, nil
	}
	if g.maxWait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, g.maxWait, ErrFull)
		defer cancel()
	}
	if err := g.bytes.Acquire(ctx, length); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { g.bytes.Release(length) }, nil
}
