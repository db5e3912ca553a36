// Package queue owns queues: their life cycle and attributes, sending,
// receiving with visibility, FIFO order, dead letters and moving them back. The
// words and the error texts are SQS's.
//
// A queue is one resource of the store, a JSON document with a name; its
// messages are rows of their own. Operations of many callers on messages share
// transactions: a committer gathers what is there and has the store carry it
// out at once. No send is confirmed and no message handed out before its
// transaction is durable, so a crash loses nothing sent; what was handed out
// and not answered shows up again when its visibility timeout ends.
//
// Receivers that find nothing wait. They are woken by sends, by what deliveries
// leave here (Arrived), by dead letters and moves, and by the moment the next
// hidden message becomes visible. Where other processes share the store, queues
// that somebody waits at are looked into several times a second as well.
//
// Each process knows the queues as of its last Load. What it does not know it
// looks for in the store before it says that there is no such queue.
//
// When the store fails, every verb answers 503 until it works again; tasks that
// move messages stay as they are and go on. Every verb returns a *fault.Error
// whose code is SQS's for what a caller can act on; anything else is our own
// failure.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// Store is the part of the store that queues need.
type Store interface {
	store.Resources
	store.Queues
}

// Options is what a Service is made of.
type Options struct {
	Store Store
	// URL returns what the URLs of queues begin with, such as
	// http://127.0.0.1:4242. Where it is nil or returns "" URLs are paths, for
	// the surface to complete by where the client reached it.
	URL func() string
	// Now is the store's; nil is time.Now.
	Now func() time.Time
	// Poll is how often queues that somebody waits at are looked into for what
	// other processes did; 0 where the store has no others.
	Poll time.Duration
	Log  *slog.Logger // nil is slog.DiscardHandler
}

// Service owns all queues of an installation. It is safe for concurrent use
// between Start and Stop.
type Service struct {
	store Store
	url   func() string
	now   func() time.Time
	every time.Duration // Options.Poll
	log   *slog.Logger

	committer committer
	bells     bells
	moves     moves
	purges    purges

	dir     atomic.Pointer[directory]
	loading sync.Mutex
	misses  chan struct{} // holds those who look for a queue in the store

	// life ends with Stop, and with it everything that waits or runs.
	life    context.Context
	endLife context.CancelFunc
	running sync.WaitGroup
}

// maxMisses is how many look for a queue in the store at a time: those who ask
// for what there is not leave the store's connections to others.
const maxMisses = 4

// New returns a Service that is not started.
func New(o Options) *Service {
	s := &Service{store: o.Store, url: o.URL, now: o.Now, every: o.Poll, log: o.Log, moves: newMoves()}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.url == nil {
		s.url = func() string { return "" }
	}
	s.life, s.endLife = context.WithCancel(context.Background())
	s.committer.init(s)
	s.dir.Store(newDirectory())
	s.misses = make(chan struct{}, maxMisses)
	return s
}

// Start loads the queues and begins to commit.
func (s *Service) Start(ctx context.Context) error {
	if err := s.Load(ctx, 0); err != nil {
		return fmt.Errorf("start queues: %w", err)
	}
	s.running.Go(s.committer.run)
	if s.every > 0 {
		s.running.Go(s.poll)
	}
	return nil
}

// Stop ends waiting receivers, commits what was handed in and returns when
// nothing runs any more. What is asked for later is answered with 503.
func (s *Service) Stop() {
	s.endLife()
	s.committer.stop()
	s.running.Wait()
}

// dropBatch is how many messages one transaction drops from a queue: little
// enough that the engine's commits do not wait for it.
const dropBatch = 500

// DropExpired removes messages past their retention from queues that nobody
// receives from; a receive drops what it comes across. It is to be called now
// and then, by one process.
//
// A message that was received and came back is taken for as old as its return:
// in a queue that is never looked into again it stays that much longer.
func (s *Service) DropExpired(ctx context.Context) error {
	for _, q := range s.dir.Load().byNumber {
		if err := s.drop(ctx, q, &store.QueueDrop{Before: s.now().Add(-q.retention), Max: dropBatch}); err != nil && !isCode(err, codeNoQueue) {
			return err
		}
	}
	return nil
}

// drop carries out a drop by and by.
func (s *Service) drop(ctx context.Context, q *queue, d *store.QueueDrop) error {
	for d.More = true; d.More; {
		op := &store.QueueOp{Queue: q.number, Drop: d}
		if err := s.committer.do(ctx, op); err != nil {
			return err
		}
		if err := refused("drop messages", op.Err); err != nil {
			return err
		}
	}
	return nil
}

// SQS's codes for what goes wrong.
const (
	codeNoQueue          = "QueueDoesNotExist"
	codeExists           = "QueueNameExists"
	codeAttributeName    = "InvalidAttributeName"
	codeAttributeValue   = "InvalidAttributeValue"
	codeParameter        = "InvalidParameterValue"
	codeMissing          = "MissingParameter"
	codeReceipt          = "ReceiptHandleIsInvalid"
	codeNotInflight      = "MessageNotInflight"
	codeContents         = "InvalidMessageContents"
	codePurging          = "PurgeQueueInProgress"
	codeEmptyBatch       = "EmptyBatchRequest"
	codeTooManyEntries   = "TooManyEntriesInBatchRequest"
	codeEntryIDs         = "BatchEntryIdsNotDistinct"
	codeEntryID          = "InvalidBatchEntryId"
	codeBatchTooLong     = "BatchRequestTooLong"
	codeUnsupported      = "UnsupportedOperation"
	codeResourceNotFound = "ResourceNotFoundException"
	codeAddress          = "InvalidAddress"
	codeThrottled        = "RequestThrottled"
)

func invalid(code, format string, args ...any) error {
	return fault.New(fault.Invalid, code, format, args...)
}

// badParameter words a value that does not do as SQS does.
func badParameter(name string, value any, reason string, args ...any) error {
	return invalid(codeParameter, "Value %v for parameter %s is invalid. Reason: %s", value, name, fmt.Sprintf(reason, args...))
}

func missing(name string) error {
	return invalid(codeMissing, "The request must contain the parameter %s.", name)
}

func noQueue() error {
	return invalid(codeNoQueue, "The specified queue does not exist.")
}

// failed makes a store's error ours: a fault if it will pass, else wrapped,
// so that callers can tell the store's own sentinels.
func failed(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return fault.Unavailablef(fmt.Errorf("%s: %w", doing, err), "Waybill cannot reach its database right now. Send the request again in a moment.")
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// document is what a queue's resource holds. Attributes are those that were
// set, in SQS's words; all others have their defaults.
type document struct {
	AccountID  string            `json:"account"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	// Modified is when attributes were last set.
	Modified time.Time `json:"modified,omitzero"`
	// Moves are the tasks that move messages out of the queue, newest first.
	Moves []*move `json:"moves,omitempty"`
}

func decode(r *store.Resource) (*document, error) {
	doc := &document{}
	if err := json.Unmarshal(r.Config, doc); err != nil {
		return nil, fmt.Errorf("decode queue %s: %w", r.Name, err)
	}
	if doc.Attributes == nil {
		doc.Attributes = map[string]string{}
	}
	return doc, nil
}

func encode(r *store.Resource, doc *document) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode queue: %w", err)
	}
	r.Config = b
	return nil
}

func key(c account.AWSCaller, name string) store.ResourceKey {
	return store.ResourceKey{Scope: c.Scope, Region: c.Region, Kind: store.KindQueue, Name: name}
}

// read finds a queue and its document as they are in the store.
func (s *Service) read(ctx context.Context, k store.ResourceKey) (*store.Resource, *document, error) {
	r, err := s.store.Resource(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, noQueue()
	}
	if err != nil {
		return nil, nil, failed("read queue", err)
	}
	doc, err := decode(r)
	return r, doc, err
}

// errUnchanged, from an alteration, leaves the queue as it is.
var errUnchanged = errors.New("nothing to change")

// change alters a queue, again if somebody else did meanwhile. Quiet is for
// what no event is routed by.
func (s *Service) change(ctx context.Context, k store.ResourceKey, quiet bool, alter func(*store.Resource, *document) error) error {
	for range 20 {
		r, doc, err := s.read(ctx, k)
		if err != nil {
			return err
		}
		if err := alter(r, doc); errors.Is(err, errUnchanged) {
			return nil
		} else if err != nil {
			return err
		}
		if err := encode(r, doc); err != nil {
			return err
		}
		r.Updated = s.stamp()
		err = s.store.ChangeResources(ctx, []*store.Resource{r}, quiet)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return failed("change queue", err)
		}
		if quiet {
			return nil
		}
		return s.reload(ctx)
	}
	return fault.New(fault.Limited, codeThrottled, "Too many changes of this queue at a time. Try again.")
}

// stamp is now as the store keeps it.
func (s *Service) stamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// arn forms a queue's ARN.
func arn(region, accountID, name string) string {
	return "arn:aws:sqs:" + region + ":" + accountID + ":" + name
}

// queueURL forms a queue's URL.
func (s *Service) queueURL(accountID, name string) string {
	return strings.TrimSuffix(s.url(), "/") + "/" + accountID + "/" + name
}

// nameIn returns the name of the caller's queue that a URL means. The host is
// of no account: clients reach one server by many names.
func nameIn(c account.AWSCaller, queueURL string) (string, error) {
	if queueURL == "" {
		return "", missing("QueueUrl")
	}
	u, err := url.Parse(queueURL)
	if err != nil {
		return "", invalid(codeAddress, "The address %s is not valid for this endpoint.", queueURL)
	}
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	name := path[len(path)-1]
	if name == "" {
		return "", invalid(codeAddress, "The address %s is not valid for this endpoint.", queueURL)
	}
	if len(path) > 1 && path[len(path)-2] != c.AccountID {
		return "", noQueue()
	}
	return name, nil
}

// queueAt finds the caller's queue that a URL means, for the verbs on messages.
func (s *Service) queueAt(ctx context.Context, c account.AWSCaller, queueURL string) (*queue, error) {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return nil, err
	}
	return s.find(ctx, k)
}

// find finds a queue by its place: as it was loaded, or else in the store, as
// another process may just have created it.
func (s *Service) find(ctx context.Context, k store.ResourceKey) (*queue, error) {
	if q := s.dir.Load().byKey[k]; q != nil {
		return q, nil
	}
	select {
	case s.misses <- struct{}{}:
		defer func() { <-s.misses }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r, _, err := s.read(ctx, k)
	if err != nil {
		return nil, err
	}
	return compile(r)
}

// findARN finds a queue of an account by its ARN.
func (s *Service) findARN(ctx context.Context, scope event.Scope, text string) (*queue, error) {
	p := strings.Split(text, ":")
	if len(p) != 6 {
		return nil, noQueue()
	}
	q, err := s.find(ctx, store.ResourceKey{Scope: scope, Region: p[3], Kind: store.KindQueue, Name: p[5]})
	if err == nil && q.arn != text {
		err = noQueue()
	}
	return q, err
}

// resourceAt is the place of the caller's queue that a URL means, for the verbs
// on the queue itself.
func resourceAt(c account.AWSCaller, queueURL string) (store.ResourceKey, error) {
	name, err := nameIn(c, queueURL)
	return key(c, name), err
}
