package event

import "time"

// Deposit is what a delivery leaves inside Waybill's own store: a queue's
// message, a log group's entry, an archived event. It is written in the
// transaction that records its attempt, so that it is there exactly once.
type Deposit struct {
	Kind DepositKind
	Into int64 // the number of the queue, log group or archive
	Body []byte

	// For a queue.
	Attributes []Attribute
	GroupID    string    // FIFO only
	DedupID    string    // FIFO only
	DedupScope string    // where DedupID is unique: "" is the queue, else a group
	VisibleAt  time.Time // zero is at once

	// For an archive: what the event was.
	Event *Event
}

// DepositKind says which kind of store a deposit goes to.
type DepositKind uint8

// The kinds of deposit.
const (
	IntoQueue   DepositKind = 1
	IntoLog     DepositKind = 2
	IntoArchive DepositKind = 3
)

// Attribute is a message attribute as SQS has them.
type Attribute struct {
	Name  string `json:"n"`
	Type  string `json:"t"` // String, Number or Binary, with an optional .suffix
	Value string `json:"v"` // of a Binary one the bytes
}
