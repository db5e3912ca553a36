package queue

import (
	"slices"
	"sync"
)

// bells wake receivers that wait for messages. One message wakes one receiver:
// to wake all would have each of them ask the store for nothing. So that no
// ring is lost, a receiver that got messages rings on (there may be more), and
// one that leaves with an unheard ring passes it on.
type bells struct {
	mu      sync.Mutex
	waiting map[int64][]*waiter // in the order they came
}

type waiter struct {
	queue int64
	rung  chan struct{} // holds one ring
}

// listen enters a receiver. It must do so before it looks for messages, lest
// one come in between; and leave when it is done.
func (b *bells) listen(queue int64) *waiter {
	w := &waiter{queue: queue, rung: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[int64][]*waiter{}
	}
	b.waiting[queue] = append(b.waiting[queue], w)
	return w
}

func (b *bells) leave(w *waiter) {
	b.mu.Lock()
	all := b.waiting[w.queue]
	if i := slices.Index(all, w); i >= 0 {
		all = slices.Delete(all, i, i+1)
	}
	if len(all) == 0 {
		delete(b.waiting, w.queue)
	} else {
		b.waiting[w.queue] = all
	}
	b.mu.Unlock()
	select {
	case <-w.rung:
		b.ring(w.queue, 1)
	default:
	}
}

// ring wakes up to n receivers of a queue, those that waited longest.
func (b *bells) ring(queue int64, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.waiting[queue] {
		if n <= 0 {
			return
		}
		select {
		case w.rung <- struct{}{}:
			n--
		default: // it has a ring to hear already
		}
	}
}

// ringAll wakes one receiver of every queue.
func (b *bells) ringAll() {
	b.mu.Lock()
	queues := make([]int64, 0, len(b.waiting))
	for queue := range b.waiting {
		queues = append(queues, queue)
	}
	b.mu.Unlock()
	for _, queue := range queues {
		b.ring(queue, 1)
	}
}
