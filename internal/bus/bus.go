// Package bus owns event buses and what hangs on them: rules, their targets,
// partner event sources, archives, replays, connections, API destinations,
// schedules, log groups. The words and the error texts are EventBridge's.
//
// Each thing is one resource of the store: a JSON document with a name. A rule
// compiles to one subscription for each of its targets, an archive to one of
// its own; Load hands them to the engine, which matches, delivers, retries and
// dead-letters. Nothing here sends anything.
//
// Any number of processes can share a store. The Run… methods, ExpireSources and
// TrimShelves are for one of them at a time; that it is another one from now on
// does no harm, as all that they do is either decided by a document's revision
// or can be done twice. What another process changed is known here with the
// next Load, or when it is missed.
//
// Changes are optimistic: a verb reads, changes and writes, and is done again
// if somebody else wrote meanwhile. Every verb returns a *fault.Error with
// AWS's code for what a caller can act on; anything else is our own failure.
package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
)

// Store is the part of the store that buses need.
type Store interface {
	store.Resources
	store.Shelves
	AccountByAWSID(ctx context.Context, id string) (store.Account, error)
	Accounts(ctx context.Context) ([]store.Account, error)
}

// Engine is the part of the engine that buses need.
type Engine interface {
	Publish(ctx context.Context, p engine.Publish) ([]*event.Event, error)
	Refresh(ctx context.Context) error
}

// Options is what a Service is made of.
type Options struct {
	Store Store
	Key   seal.Key
	// SourceExpiry is how long a partner event source may stay PENDING; 0 is
	// 7 days.
	SourceExpiry time.Duration
	// Partner is the partner inside the installation: nobody else makes event
	// sources of its name.
	Partner string
	// MaxEntrySize bounds the entries of one PutEvents in bytes; 0 is 1,000,000.
	MaxEntrySize int
	// AllowHTTP lets API destinations and their authorization endpoints be
	// http://, for development.
	AllowHTTP bool
	// Shared says that other processes change the store too: what is not known
	// here is looked for there before it is said not to exist.
	Shared bool
	Now    func() time.Time // the store's; nil is time.Now
	Log    *slog.Logger
}

// Service owns all buses of an installation. It is safe for concurrent use.
type Service struct {
	o      Options
	store  Store
	engine Engine
	log    *slog.Logger
	now    func() time.Time
	// dir is what the last Load saw, for the verbs that are called for each
	// event.
	dir atomic.Pointer[directory]
	// loaded is what dir and the subscriptions are made from.
	loaded   loaded
	catching catching
	// onSource is told of each change of a partner event source's state.
	onSource func(ctx context.Context, name string)

	works works // what the Run… methods and APIDestination share with the verbs
}

// New returns a Service. SetEngine must be called before it is used.
func New(o Options) *Service {
	s := &Service{o: o, store: o.Store, log: o.Log, now: o.Now, catching: catching{turn: make(chan struct{}, 1)}}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.o.SourceExpiry == 0 {
		s.o.SourceExpiry = 7 * 24 * time.Hour
	}
	if s.o.MaxEntrySize == 0 {
		s.o.MaxEntrySize = 1_000_000
	}
	s.dir.Store(newDirectory())
	return s
}

// SetEngine joins the service to the engine that loads from it.
func (s *Service) SetEngine(e Engine) { s.engine = e }

// AWS's codes for what goes wrong.
const (
	codeValidation   = "ValidationException"
	codeNotFound     = "ResourceNotFoundException"
	codeExists       = "ResourceAlreadyExistsException"
	codeLimit        = "LimitExceededException"
	codeConcurrent   = "ConcurrentModificationException"
	codeInvalidState = "InvalidStateException"
	codeIllegal      = "IllegalStatusException"
	codePattern      = "InvalidEventPatternException"
	codeUnsupported  = "OperationDisabledException"
)

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, codeValidation, format, args...)
}

func notFound(format string, args ...any) error {
	return fault.New(fault.NotFound, codeNotFound, format, args...)
}

// key is a place in the caller's account and region.
func key(c account.AWSCaller, kind store.ResourceKind, parent int64, name string) store.ResourceKey {
	return store.ResourceKey{Scope: c.Scope, Region: c.Region, Kind: kind, Parent: parent, Name: name}
}

// get reads a resource and its document. The error is store.ErrNotFound where
// there is none; the caller words it.
func get[T any](ctx context.Context, s *Service, k store.ResourceKey) (*store.Resource, *T, error) {
	r, err := s.store.Resource(ctx, k)
	if err != nil {
		return nil, nil, failed("read "+string(k.Kind), err)
	}
	doc, err := decode[T](r)
	return r, doc, err
}

func decode[T any](r *store.Resource) (*T, error) {
	doc := new(T)
	if err := json.Unmarshal(r.Config, doc); err != nil {
		return nil, fmt.Errorf("decode %s %s: %w", r.Kind, r.Name, err)
	}
	return doc, nil
}

// put sets a resource's document.
func put(r *store.Resource, doc any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode %s: %w", r.Kind, err)
	}
	r.Config = b
	return nil
}

// change writes resources and has the engine load them.
func (s *Service) change(ctx context.Context, changed ...*store.Resource) error {
	now := s.now().UTC().Truncate(time.Millisecond)
	for _, r := range changed {
		r.Updated = now
		if r.Revision == 0 && r.Created.IsZero() {
			r.Created = now
		}
		if r.Status == 0 {
			r.Status = event.Enabled
		}
	}
	if err := s.store.ChangeResources(ctx, changed, false); err != nil {
		return failed("change resources", meanwhile(err))
	}
	if s.engine != nil {
		if err := s.engine.Refresh(context.WithoutCancel(ctx)); err != nil {
			s.log.Warn("the engine could not load a change at once; its next commit will", "error", err)
		}
	}
	return nil
}

// meanwhile makes a conflict of what was there when it was read, and is deleted
// now: done again, the caller finds that out by itself.
func meanwhile(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	}
	return err
}

// again runs fn until no other change gets in between.
func again(fn func() error) error {
	for range 20 {
		err := fn()
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fault.New(fault.Conflict, codeConcurrent, "Too many changes of this resource at a time. Try again.")
}

// failed makes a store's error ours: a fault if it will pass, else wrapped,
// so that callers can tell the store's own sentinels.
func failed(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return fault.Unavailablef(fmt.Errorf("%s: %w", doing, err), "Waybill cannot reach its database right now. Send the request again in a moment.")
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// arn forms an ARN of the events service.
func arn(c account.AWSCaller, resource string) string {
	return "arn:aws:events:" + c.Region + ":" + c.AccountID + ":" + resource
}

// ARN is an ARN in parts.
type ARN struct {
	Service, Region, Account, Resource string
}

// ParseARN takes an ARN apart.
func ParseARN(text string) (ARN, bool) {
	p := strings.SplitN(text, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] == "" || p[2] == "" || p[5] == "" {
		return ARN{}, false
	}
	return ARN{Service: p[2], Region: p[3], Account: p[4], Resource: p[5]}, true
}
