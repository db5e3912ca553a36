package store

import (
	"context"

	"github.com/waybill-dev/waybill/internal/event"
)

// Objects holds what the sandbox made, and knows of every other object in
// which event its newest state is.
type Objects interface {
	// Object finds one of the sandbox's objects.
	Object(ctx context.Context, scope event.Scope, id string) (*Object, error)
	// ListObjects returns a page of them, newest first.
	ListObjects(ctx context.Context, p ListObjects) (Page[*Object], error)
	// ChangeObjects writes all changes or none, and raises the revisions.
	// ErrExists: an id is taken, or the idempotency key was used before (see
	// Idempotent). ErrConflict: an object changed since it was read.
	ChangeObjects(ctx context.Context, changes []ObjectChange, idem *Idempotency) error

	// LatestMention finds the snapshot event that shows an object's newest
	// state: the one created last, and of those the one accepted last.
	LatestMention(ctx context.Context, scope event.Scope, objectID string) (*event.Event, error)
	// IndexMentions takes note of up to limit events that were accepted since
	// it was last called, in each lane, and returns of how many. Without it
	// LatestMention answers the same, but reads all of these.
	IndexMentions(ctx context.Context, limit int) (int, error)
}

// Object is one of the sandbox's objects as stored.
type Object struct {
	Scope event.Scope
	ID    string
	Kind  string // such as payment_intent
	// Parent is the id of the object that it is mostly looked for by, or "".
	Parent string
	// Made gives objects their order.
	Made     int64
	Revision int64 // 0 before it is stored
	Body     []byte
}

// ObjectChange stores an object, or removes it. Its revision is the one that
// was read.
type ObjectChange struct {
	*Object
	Remove bool
}

// ListObjects selects objects of one scope and kind.
type ListObjects struct {
	Scope  event.Scope
	Kind   string
	Parent string // "" for all
	// Older asks for those made before, Newer for those made after; the page
	// is adjacent to the cursor. 0 is none.
	Older, Newer int64
	Limit        int
}
