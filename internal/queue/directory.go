package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// What keeps a deposit out of a queue. No retry helps until somebody changes
// the queue or what is sent to it.
var (
	// ErrNoQueue: there is no queue with this ARN in the account.
	ErrNoQueue = errors.New("the queue does not exist")
	// ErrTooLong: the message is longer than the queue's MaximumMessageSize.
	ErrTooLong = errors.New("the message is longer than the queue takes")
	// ErrNoGroup: a FIFO queue takes messages with a message group id only.
	ErrNoGroup = errors.New("a FIFO queue needs a message group id")
)

// queue is a queue as the verbs on messages need it. It is never changed.
type queue struct {
	key       store.ResourceKey
	number    int64
	arn       string
	accountID string

	delay, retention, wait, visibility time.Duration
	maxSize                            int

	fifo, contentDedup bool
	dedupByGroup       bool

	deadLetter  string // ARN, "" for none
	maxReceives int
	allow       redriveAllow // who may use it for dead letters

	moving string // the task that moved its messages when it was loaded
}

// compile makes a queue of its resource.
func compile(r *store.Resource) (*queue, error) {
	doc, err := decode(r)
	if err != nil {
		return nil, err
	}
	a := doc.Attributes
	q := &queue{
		key: r.ResourceKey, number: r.Number, arn: arn(r.Region, doc.AccountID, r.Name), accountID: doc.AccountID,
		delay: seconds(a, attrDelay), retention: seconds(a, attrRetention), wait: seconds(a, attrWait),
		visibility: seconds(a, attrVisibility), maxSize: number(a, attrMaxSize),
		fifo: a[attrFIFO] == "true", contentDedup: a[attrContentDedup] == "true", dedupByGroup: a[attrDedupScope] == "messageGroup",
	}
	if text := a[attrRedrive]; text != "" {
		p, err := parseRedrive(text)
		if err != nil {
			return nil, fmt.Errorf("read redrive policy of %s: %w", q.arn, err)
		}
		q.deadLetter, q.maxReceives = p.Target, p.Max
	}
	if m := doc.running(); m != nil {
		q.moving = m.ID
	}
	q.allow, _ = parseRedriveAllow(a[attrRedriveAllow])
	return q, nil
}

// number is the value of a numeric attribute, or its default.
func number(attributes map[string]string, name string) int {
	text, ok := attributes[name]
	if !ok {
		text = defaults[name]
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

func seconds(attributes map[string]string, name string) time.Duration {
	return time.Duration(number(attributes, name)) * time.Second
}

// dedupScope is where a deduplication id has to be unique.
func (q *queue) dedupScope(groupID string) string {
	if q.dedupByGroup {
		return groupID
	}
	return ""
}

// contentID is the deduplication id that follows from a body.
func contentID(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// directory is all queues at one configuration version. It is built aside and
// swapped, so that it is read without a lock.
type directory struct {
	version  int64
	byKey    map[store.ResourceKey]*queue
	byARN    map[string]*queue
	byNumber map[int64]*queue
}

func newDirectory() *directory {
	return &directory{
		byKey: map[store.ResourceKey]*queue{}, byARN: map[string]*queue{}, byNumber: map[int64]*queue{},
	}
}

func (d *directory) clone() *directory {
	return &directory{version: d.version, byKey: maps.Clone(d.byKey), byARN: maps.Clone(d.byARN), byNumber: maps.Clone(d.byNumber)}
}

func (d *directory) remove(number int64) {
	q := d.byNumber[number]
	if q == nil {
		return
	}
	delete(d.byNumber, number)
	if d.byARN[q.arn] == q {
		delete(d.byARN, q.arn)
	}
	if d.byKey[q.key] == q {
		delete(d.byKey, q.key)
	}
}

func (d *directory) add(q *queue) {
	d.remove(q.number)
	d.byNumber[q.number] = q
	d.byARN[q.arn] = q
	d.byKey[q.key] = q
}

// Load brings the service up to date with the configuration in the store, of
// which it knows the changes up to since already; 0 loads everything.
func (s *Service) Load(ctx context.Context, since int64) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	return s.load(ctx, since)
}

// reload follows a change of our own.
func (s *Service) reload(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	return s.load(context.WithoutCancel(ctx), s.dir.Load().version)
}

func (s *Service) load(ctx context.Context, since int64) error {
	changed, version, err := s.store.ChangedResources(ctx, since)
	if err != nil {
		return failed("load queues", err)
	}
	old := s.dir.Load()
	next := newDirectory()
	if since != 0 {
		next = old.clone()
	}
	// Deletions first: a name may have passed from one queue to another.
	var gone []int64
	for _, r := range changed {
		if r.Kind == store.KindQueue && r.Status == event.Deleted {
			next.remove(r.Number)
			gone = append(gone, r.Number)
		}
	}
	for _, r := range changed {
		if r.Kind != store.KindQueue || r.Status == event.Deleted {
			continue
		}
		q, err := compile(r)
		if err != nil {
			// One that cannot be read must not keep the others from working.
			s.log.Error("a queue cannot be loaded and takes no messages", "queue", r.Name, "error", err)
			next.remove(r.Number)
			continue
		}
		next.add(q)
	}
	next.version = max(version, since)
	s.dir.Store(next)
	// Those who wait for messages learn that none will come.
	for _, number := range gone {
		s.bells.ring(number, math.MaxInt)
	}
	s.moves.ring()
	return nil
}

// latest is the directory with all that other processes changed.
func (s *Service) latest(ctx context.Context) (*directory, error) {
	if s.every > 0 {
		if err := s.reload(ctx); err != nil {
			return nil, err
		}
	}
	return s.dir.Load(), nil
}

// Deposit prepares what a delivery leaves in the queue with this ARN: it is
// written in the transaction that records the delivery, and Arrived is to be
// called then. A FIFO queue takes dedupID unless it deduplicates by content; a
// standard queue ignores it. The error is ErrNoQueue, ErrTooLong or ErrNoGroup,
// perhaps wrapped.
func (s *Service) Deposit(scope event.Scope, arn string, groupID, dedupID string, body []byte, attrs []event.Attribute) (event.Deposit, error) {
	q := s.dir.Load().byARN[arn]
	if q == nil || q.key.Scope != scope {
		return event.Deposit{}, fmt.Errorf("%w: %s", ErrNoQueue, arn)
	}
	if n := messageSize(body, attrs); n > q.maxSize {
		return event.Deposit{}, fmt.Errorf("%w: %d bytes, and %s takes %d", ErrTooLong, n, q.key.Name, q.maxSize)
	}
	d := event.Deposit{Kind: event.IntoQueue, Into: q.number, Body: body, Attributes: attrs}
	if q.delay > 0 {
		d.VisibleAt = s.now().Add(q.delay)
	}
	if !q.fifo {
		return d, nil
	}
	if groupID == "" {
		return event.Deposit{}, fmt.Errorf("%w: %s", ErrNoGroup, q.key.Name)
	}
	d.GroupID, d.DedupID, d.DedupScope = groupID, dedupID, q.dedupScope(groupID)
	if q.contentDedup {
		d.DedupID = contentID(body)
	}
	return d, nil
}

// Arrived tells that a deposit into the queue was committed.
func (s *Service) Arrived(queue int64) { s.bells.ring(queue, 1) }
