package store

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// Queues holds the messages of queues. A queue itself is a Resource.
type Queues interface {
	// ChangeQueues carries out several operations in one transaction, in
	// order. What one operation finds wrong stands in its own Err and does
	// not keep the others from being carried out.
	ChangeQueues(ctx context.Context, ops []*QueueOp, now time.Time) error
	// QueueDepth counts a queue's messages.
	QueueDepth(ctx context.Context, queue int64, now time.Time) (QueueDepth, error)
	// NextVisible returns when the next message that is hidden now becomes
	// visible; zero if there is none.
	NextVisible(ctx context.Context, queue int64, now time.Time) (time.Time, error)
	// ReadyQueues returns those of several queues that a receive would find a
	// message in.
	ReadyQueues(ctx context.Context, queues []int64, now time.Time) ([]int64, error)
}

// QueueOp is one operation. Exactly one of the pointers is set.
type QueueOp struct {
	Queue      int64
	Send       *QueueSend
	Receive    *QueueReceive
	Delete     *QueueReceipt
	Visibility *QueueReceipt // with VisibleAt
	Move       *QueueMove
	Drop       *QueueDrop

	// Set by ChangeQueues: ErrNotFound for a queue that does not exist (Queue
	// itself, or Move.To), and for a receipt that is not, or no longer, of a
	// message in the queue.
	Err error
}

// QueueMessage is one message.
type QueueMessage struct {
	ID         int64      // order of arrival in the store
	MessageID  event.UUID // kept when the message moves to another queue
	Body       []byte
	Attributes []event.Attribute
	GroupID    string
	DedupID    string
	Sequence   int64 // FIFO sequence number
	Sent       time.Time
	VisibleAt  time.Time
	// FirstReceived is zero until then.
	FirstReceived time.Time
	Receives      int
	// Receipt changes with each receive; it is part of the receipt handle.
	Receipt int64
	// Source is the queue a dead letter came from, 0 if none.
	Source int64
}

// QueueSend adds a message. In a FIFO queue a DedupID seen in the last five
// minutes adds nothing and yields the earlier message's id and sequence.
type QueueSend struct {
	Message *QueueMessage // ID and, if zero, MessageID are set
	FIFO    bool
	// DedupScope is "" for the whole queue or the group id for one group.
	DedupScope string
	Duplicate  bool // set: it was one
}

// QueueReceive hands out visible messages, at most Max, and hides them until
// HideUntil. Messages sent before Expired are dropped. With FIFO a group that
// has a message in flight is passed over and order within groups is kept.
type QueueReceive struct {
	Max       int
	HideUntil time.Time
	Expired   time.Time
	FIFO      bool
	// DeadLetter, if not 0, gets those that were received MaxReceives times
	// already, instead of the receiver. There they count as never received and
	// come last; only a FIFO queue's are sent anew. If it does not exist they
	// are handed out like the others.
	DeadLetter  int64
	MaxReceives int

	Messages []*QueueMessage // set
	Moved    int             // set: how many went to DeadLetter
}

// QueueReceipt names a message that was received.
type QueueReceipt struct {
	ID        int64
	Receipt   int64
	VisibleAt time.Time // for a change of visibility
}

// QueueMove moves messages, oldest first, to To, or each to the queue it came
// from where To is 0 (those that came from none stay, or from one that was deleted).
// Only what a receive could hand out is moved; it arrives as if just sent.
type QueueMove struct {
	To    int64
	Max   int
	Moved int  // set
	More  bool // set: there are others that could be moved
}

// QueueDrop removes up to Max messages, whatever their state.
type QueueDrop struct {
	// Before leaves out those that came, or come, to sight at this time or
	// later. As none is in sight before it is sent, all others are older. Zero
	// leaves out none.
	Before time.Time
	// UpTo leaves out those that arrived after the message of this ID; 0 is set
	// to the last that there is now.
	UpTo int64
	Max  int
	More bool // set: there may be others
}

// QueueDepth is what a queue holds.
type QueueDepth struct {
	Visible, InFlight, Delayed int
}
