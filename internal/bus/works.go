package bus

import (
	"context"
	"sync"
	"time"
)

// works is what the background work needs of the verbs. Its zero value is
// ready.
type works struct {
	endpoints      endpointCache
	logGroups      logGroups
	replays        bell // a replay began or is to end
	authorizations bell // a connection is to be authorized
	// authorizer asks for a first token; see SetAuthorizer.
	authorizer func(ctx context.Context, e Endpoint) (refused bool, err error)
}

// bell wakes one who waits. Ringing it never blocks, and rings that nobody
// heard are one.
type bell struct {
	once sync.Once
	c    chan struct{}
}

func (b *bell) rung() <-chan struct{} { return b.channel() }

func (b *bell) ring() {
	select {
	case b.channel() <- struct{}{}:
	default:
	}
}

func (b *bell) channel() chan struct{} {
	b.once.Do(func() { b.c = make(chan struct{}, 1) })
	return b.c
}

// wait returns when the bell is rung, after at most d, and false when ctx ends.
func (b *bell) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-b.rung():
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
