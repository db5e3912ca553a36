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
// hidden message becomes visible.
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
	Now func() time.Time // nil is time.Now
	Log *slog.Logger     // nil is slog.DiscardHandler
}

// Service owns all queues of an installation. It is safe for concurrent use
// between Start and Stop.
type Service struct {
	store Store
	url   func() string
	now   func() time.Time
	log   *slog.Logger

	committer committer
	bells     bells
	moves     moves
	purges    purges

	dir     atomic.Pointer[directory]
	loading sync.Mutex

	// life ends with Stop, and with it everything that waits or runs.
	life    context.Context
	endLife context.CancelFunc
	running sync.WaitGroup
}

// New returns a Service that is not started.
func New(o Options) *Service {
	s := &Service{store: o.Store, url: o.URL, now: o.Now, log: o.Log}
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
	return s
}

// Start loads the queues, begins to commit and goes on with the moves that an
// earlier life left unfinished.
func (s *Service) Start(ctx context.Context) error {
	if err := s.Load(ctx, 0); err != nil {
		return fmt.Errorf("start queues: %w", err)
	}
	s.running.Go(s.committer.run)
	s.running.Go(s.sweep)
	s.resumeMoves() //nolint:contextcheck // what it begins ends with Stop, not with the start
	return nil
}

// Stop ends waiting receivers, commits what was handed in and returns when
// nothing runs any more. What is asked for later is answered with 503.
func (s *Service) Stop() {
	s.endLife()
	s.moves.stop()
	s.committer.stop()
	s.running.Wait()
}

// sweepEvery is how often queues that nobody receives from are rid of messages
// past their retention.
const sweepEvery = 5 * time.Minute

func (s *Service) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
		}
		now := s.now()
		for _, q := range s.dir.Load().byNumber {
			drop := &store.QueueOp{Queue: q.number, Receive: &store.QueueReceive{HideUntil: now, Expired: now.Add(-q.retention), FIFO: q.fifo}}
			if err := s.committer.do(s.life, drop); err != nil {
				s.log.Warn("messages past their retention could not be dropped", "queue", q.arn, "error", err)
				break
			}
		}
	}
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
	name, err := nameIn(c, queueURL)
	if err != nil {
		return nil, err
	}
	if q := s.dir.Load().byKey[key(c, name)]; q != nil {
		return q, nil
	}
	// Another process may just have created it.
	r, _, err := s.read(ctx, key(c, name))
	if err != nil {
		return nil, err
	}
	return compile(r)
}

// resourceAt is the place of the caller's queue that a URL means, for the verbs
// on the queue itself.
func resourceAt(c account.AWSCaller, queueURL string) (store.ResourceKey, error) {
	name, err := nameIn(c, queueURL)
	return key(c, name), err
}
