package queue

import (
	"maps"
	"slices"
	"sync"
	"time"
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

// waitedAt are the queues that somebody waits at.
func (b *bells) waitedAt() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.waiting))
}

// ringAll wakes one receiver of every queue.
func (b *bells) ringAll() {
	for _, queue := range b.waitedAt() {
		b.ring(queue, 1)
	}
}

// poll wakes receivers for what other processes did: a message that was sent or
// came back, a group that was opened. One query is for all queues.
func (s *Service) poll() {
	for pause := s.every; ; {
		pauseFor(s.life, pause)
		if s.life.Err() != nil {
			return
		}
		queues := s.bells.waitedAt()
		if len(queues) == 0 {
			continue
		}
		began := time.Now()
		ready, err := s.store.ReadyQueues(s.life, queues, s.now())
		if err != nil {
			s.log.Debug("queues that receivers wait at could not be looked into", "error", err)
		}
		for _, queue := range ready {
			s.bells.ring(queue, 1)
		}
		// A deep queue whose groups are all closed takes a while to look
		// into. That must not become all the store does.
		pause = max(s.every, 10*time.Since(began))
	}
}
