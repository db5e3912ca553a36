package store

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// Shelves holds what deliveries deposited into log groups and archives.
type Shelves interface {
	// AppendLog adds entries to a log group, beside those deposited.
	AppendLog(ctx context.Context, group int64, entries []LogEntry) error
	// LogEntries returns a page of a log group, oldest first.
	LogEntries(ctx context.Context, p LogQuery) ([]LogEntry, error)
	// TrimLog removes up to limit entries older than before; it returns how many.
	TrimLog(ctx context.Context, group int64, before time.Time, limit int) (int, error)
	// ArchivedEvents returns copies that an archive holds, in order of time,
	// then of acceptance.
	ArchivedEvents(ctx context.Context, p ArchiveQuery) ([]ArchivedEvent, error)
	// ArchiveSize counts what an archive holds.
	ArchiveSize(ctx context.Context, archive int64) (count, bytes int64, err error)
	// TrimArchive removes up to limit events accepted before a time.
	TrimArchive(ctx context.Context, archive int64, before time.Time, limit int) (int, error)
}

// LogEntry is one entry of a log group.
type LogEntry struct {
	ID      int64 // order of arrival
	Time    time.Time
	Stream  string
	Message []byte
}

// LogQuery asks for entries with After < ID, From <= Time < To (zero times are
// unbounded), whose message contains Contains.
type LogQuery struct {
	Group    int64
	After    int64
	From, To time.Time
	Stream   string // "" for all
	Contains string
	Limit    int
}

// ArchivedEvent is a copy of an event.
type ArchivedEvent struct {
	Seq     event.Seq
	Time    time.Time // the envelope's
	Payload []byte    // the envelope
}

// ArchiveQuery asks for events with From <= Time < To that come after
// (AfterTime, AfterSeq).
type ArchiveQuery struct {
	Archive   int64
	From, To  time.Time
	AfterTime time.Time
	AfterSeq  event.Seq
	Limit     int
}
