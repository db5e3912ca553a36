package queue

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// maxBatchOps and maxBatchBytes bound one transaction; a single call may
	// exceed them.
	maxBatchOps   = 2048
	maxBatchBytes = 16 << 20
	// A batch is closed when that many yields in a row brought nobody, or after
	// maxYields.
	quietYields = 2
	maxYields   = 32
)

// call is operations that one caller hands in together.
type call struct {
	ctx   context.Context
	ops   []*store.QueueOp
	bytes int
	err   error
	done  chan struct{}
}

// committer carries out the operations of all callers, many in one
// transaction. It gathers by yielding to those that already run and never waits
// by a timer, which would cost a quiet system its latency.
type committer struct {
	s    *Service
	wake chan struct{}

	mu      sync.Mutex
	calls   []*call
	stopped bool
}

func (c *committer) init(s *Service) {
	c.s = s
	c.wake = make(chan struct{}, 1)
}

var errStopped = errors.Join(store.ErrUnavailable, errors.New("queues are stopped"))

// do carries operations out and returns when they are durable; what one
// operation finds wrong stands in its own Err. If ctx ends before they are
// begun they are not carried out; afterwards nobody can hurry a commit, and do
// waits for it.
func (c *committer) do(ctx context.Context, ops ...*store.QueueOp) error {
	if len(ops) == 0 {
		return nil
	}
	w := &call{ctx: ctx, ops: ops, done: make(chan struct{})}
	for _, op := range ops {
		if op.Send != nil {
			w.bytes += len(op.Send.Message.Body)
		}
	}
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return failed("use a queue", errStopped)
	}
	c.calls = append(c.calls, w)
	c.mu.Unlock()
	c.signal()
	<-w.done
	return w.err
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// stop ends the committer when it has carried out what is there.
func (c *committer) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.signal()
}

func (c *committer) run() {
	var ops []*store.QueueOp
	for range c.wake {
		for {
			c.linger()
			calls, last := c.take()
			if len(calls) > 0 {
				ops = c.commit(calls, ops[:0])
				continue
			}
			if last {
				return
			}
			break
		}
	}
}

func (c *committer) linger() {
	size, quiet := -1, 0
	for range maxYields {
		c.mu.Lock()
		n := len(c.calls)
		c.mu.Unlock()
		if n != size {
			size, quiet = n, 0
		} else if quiet++; quiet == quietYields {
			return
		}
		runtime.Gosched()
	}
}

// take returns the next calls, within the bounds of a transaction, and whether
// none will follow once there are none.
func (c *committer) take() ([]*call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops, bytes, n := 0, 0, 0
	for n < len(c.calls) && (n == 0 || ops+len(c.calls[n].ops) <= maxBatchOps && bytes+c.calls[n].bytes <= maxBatchBytes) {
		ops += len(c.calls[n].ops)
		bytes += c.calls[n].bytes
		n++
	}
	taken := c.calls[:n:n]
	c.calls = c.calls[n:]
	return taken, c.stopped
}

func (c *committer) commit(calls []*call, ops []*store.QueueOp) []*store.QueueOp {
	for _, w := range calls {
		// A client that left must not have messages hidden for it.
		if err := w.ctx.Err(); err != nil {
			w.err = err
			continue
		}
		ops = append(ops, w.ops...)
	}
	if len(ops) > 0 {
		err := c.s.store.ChangeQueues(context.Background(), ops, c.s.now())
		if err != nil {
			err = failed("use a queue", err)
		}
		for _, w := range calls {
			if w.err == nil {
				w.err = err
			}
		}
	}
	for _, w := range calls {
		close(w.done)
	}
	clear(ops)
	return ops
}
