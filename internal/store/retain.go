package store

import (
	"context"
	"time"
)

// Retention removes what is old, a little at a time.
type Retention interface {
	// Retain does one step of what is left to do, and tells whether there is
	// more. What still waits for its delivery is kept however old it is.
	Retain(ctx context.Context, p Retain) (more bool, err error)
}

// Retain says what is old: what was accepted before these times.
type Retain struct {
	// Attempts: how each delivery ended is folded into a summary of its event
	// before they go.
	Attempts time.Time
	// Events: their payloads and the ids their publishers chose. Not before
	// Attempts.
	Events time.Time
	// Summaries are all that was left of an event.
	Summaries time.Time
	// Audit is about entries of the audit log; zero keeps them all.
	Audit time.Time
	// Limit is how many events one step is about.
	Limit int
}
