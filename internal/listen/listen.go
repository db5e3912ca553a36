// Package listen owns the sessions of `stripe listen` and `waybill listen`:
// what a developer's terminal receives of an account's events.
//
//	Prepare ──ticket──► Connect ──► session ──► EndIdle, End
//	                       ▲           │
//	                       └──redial───┘
//
// Prepare keeps nothing: it seals what the session will be into its ticket,
// which is its id. The first socket that shows the ticket makes the session: a
// document, a queue that no other API shows, and one subscription of the
// engine for each kind of event. From then on each event is left in the queue
// by the transaction that settles its delivery, whether a socket is there or
// not. A socket takes messages from the queue, and removes what its client
// acknowledged; what it did not comes back at once when the socket is closed,
// or with the queue's visibility timeout if this process was killed. So nothing
// is lost between two sockets of a session, and an event may come twice. The
// socket may be at any node.
//
// A session ends when no socket was seen for ten minutes, and what is in its
// queue with it. Its key is authenticated with each socket and while that
// lasts: a key that was revoked hears no more.
//
// Every verb returns a *fault.Error for what a caller can act on, or
// [ErrUnknown]; anything else is our own failure.
package listen

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/queue"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// MaxSessions is how many sessions an account has in one mode.
	MaxSessions = 25
	// ReconnectDelay is how long a client keeps a socket before it dials anew.
	ReconnectDelay = 5 * time.Minute
	// idle is how long a session lasts without a socket.
	idle = 10 * time.Minute
	// seenEvery is how often it is noted that a session has a socket, and
	// unseen is after how long without a note it has none.
	seenEvery = 30 * time.Second
	unseen    = 2 * time.Minute
	// ticketLife is how long after Prepare a session can be made.
	ticketLife = 24 * time.Hour
)

// LatestAPIVersion is the newest version of Stripe's API that Waybill knows by
// name. Clients that ask for the latest get snapshots labelled with it, or with
// the account's own if that is newer.
const LatestAPIVersion = "2026-10-28.endive"

// ErrUnknown is a ticket that is none, is too old, or whose key is not good any
// more. A client should prepare a new session.
var ErrUnknown = errors.New("unknown session")

// Queues are the verbs of queue.Service.
type Queues interface {
	Create(ctx context.Context, c account.AWSCaller, name string, attributes, tags map[string]string) (string, error)
	Delete(ctx context.Context, c account.AWSCaller, queueURL string) error
	Receive(ctx context.Context, c account.AWSCaller, p queue.Receive) ([]queue.Received, error)
	DeleteMessages(ctx context.Context, c account.AWSCaller, queueURL string, entries []queue.Change) ([]string, []queue.Failure, error)
	ChangeVisibilities(ctx context.Context, c account.AWSCaller, queueURL string, entries []queue.Change) ([]string, []queue.Failure, error)
}

// Options is what a Service is made of.
type Options struct {
	Store  store.Resources
	Queues Queues
	Key    seal.Key
	// Authenticate tells who has a key. It is asked often and must be fast.
	Authenticate func(ctx context.Context, key string) (account.Caller, error)
	// UserAgent is what forwarded events say they come from.
	UserAgent string
	Now       func() time.Time // nil is time.Now
	Log       *slog.Logger     // nil is slog.DiscardHandler
}

// Service owns all sessions of an installation. It is safe for concurrent use.
type Service struct {
	o       Options
	refresh func(ctx context.Context) error

	mu      sync.Mutex
	sockets map[string]*Socket // those at this node, by the name of their session
	stopped bool
}

// New returns a Service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o, sockets: map[string]*Socket{}}
}

// SetRefresh completes a Service that was made before the engine, which needs
// Load: refresh makes committed changes hold before it returns.
func (s *Service) SetRefresh(refresh func(ctx context.Context) error) { s.refresh = refresh }

// Request asks for a session.
type Request struct {
	Key    string // the API key
	Device string // what the client calls its machine
	// Snapshot and Thin are what it wants to receive.
	Snapshot, Thin bool
}

// Prepared is a session that a socket can make.
type Prepared struct {
	Ticket string
	// Secret signs what the session sends: always the same for an account, a
	// mode and a device.
	Secret                        string
	DefaultVersion, LatestVersion string
}

// ticket is what is sealed in a Prepared.Ticket.
type ticket struct {
	Name     string      `json:"n"`
	Scope    event.Scope `json:"s"` // whose events come
	Key      string      `json:"k"`
	Owner    event.Scope `json:"o"` // of the key, which may act for another account
	Latest   string      `json:"l"`
	Device   string      `json:"d"`
	Snapshot bool        `json:"a,omitzero"`
	Thin     bool        `json:"b,omitzero"`
	Issued   time.Time   `json:"t"`
}

var ticketContext = []byte("listen session")

// Prepare checks that a session can be had, and describes it.
func (s *Service) Prepare(ctx context.Context, c account.Caller, r Request) (*Prepared, error) {
	if !r.Snapshot && !r.Thin {
		return nil, fault.Invalidf("websocket_features", "There is nothing to listen to. Ask for webhooks, v2_events or both; request logs are not streamed.")
	}
	if err := s.makeRoom(ctx, c.Scope); err != nil {
		return nil, err
	}
	owner, err := s.o.Authenticate(ctx, r.Key)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(ticket{
		Name: event.NewID("listen_", 24), Scope: c.Scope, Key: r.Key, Owner: owner.Scope, Latest: latest(c), Device: r.Device,
		Snapshot: r.Snapshot, Thin: r.Thin, Issued: s.o.Now(),
	})
	if err != nil {
		return nil, fmt.Errorf("encode session: %w", err)
	}
	return &Prepared{
		Ticket: base64.RawURLEncoding.EncodeToString(s.o.Key.Seal(plain, ticketContext)),
		Secret: s.secret(c.Scope, r.Device), DefaultVersion: c.APIVersion, LatestVersion: latest(c),
	}, nil
}

func (s *Service) readTicket(text string) (*ticket, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrUnknown
	}
	plain, err := s.o.Key.Open(sealed, ticketContext)
	if err != nil {
		return nil, ErrUnknown
	}
	t := &ticket{}
	if err := json.Unmarshal(plain, t); err != nil {
		return nil, ErrUnknown
	}
	return t, nil
}

func latest(c account.Caller) string { return max(c.APIVersion, LatestAPIVersion) }

func (s *Service) secret(scope event.Scope, device string) string {
	key := s.o.Key.Listeners()
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(strconv.FormatInt(int64(scope), 10) + "\n" + device))
	return "whsec_" + hex.EncodeToString(mac.Sum(nil))
}

// document is a session as stored.
type document struct {
	Device string    `json:"device"`
	Seen   time.Time `json:"seen"` // when it had a socket the last time
}

func decode(r *store.Resource) (*document, error) {
	doc := &document{}
	if err := json.Unmarshal(r.Config, doc); err != nil {
		return nil, fmt.Errorf("decode session %s: %w", r.Name, err)
	}
	return doc, nil
}

func encode(r *store.Resource, doc *document) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode session: %w", err)
	}
	r.Config = b
	return nil
}

// makeRoom sees to it that one more session may be had: among too many, the one
// that lacks a socket for the longest time gives way.
func (s *Service) makeRoom(ctx context.Context, scope event.Scope) error {
	page, err := s.o.Store.ListResources(ctx, store.ListResources{Scope: scope, Kind: store.KindListenSession})
	if err != nil {
		return failed("list sessions", err)
	}
	if len(page.Items) < MaxSessions {
		return nil
	}
	seen := func(r *store.Resource) time.Time {
		doc, err := decode(r)
		if err != nil {
			return time.Time{} // one that cannot be read goes first
		}
		return doc.Seen
	}
	oldest := slices.MinFunc(page.Items, func(a, b *store.Resource) int { return cmp.Compare(seen(a).UnixNano(), seen(b).UnixNano()) })
	if s.o.Now().Sub(seen(oldest)) < unseen {
		return fault.New(fault.Limited, "too_many_sessions", "This account has %d listening sessions already. End one of them.", MaxSessions)
	}
	return s.end(ctx, oldest)
}

// make finds or makes the session of a ticket, and what belongs to it.
func (s *Service) make(ctx context.Context, t *ticket) error {
	key := sessionKey(t)
	r, err := s.o.Store.Resource(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		r, err = s.create(ctx, t)
	}
	if err != nil {
		return err
	}
	// All of it again for a session that is there: its making may have been
	// interrupted anywhere.
	if _, err := s.o.Queues.Create(ctx, queueOwner(t.Scope), t.Name, nil, nil); err != nil {
		return err
	}
	var listeners []*store.Resource
	for _, kind := range []event.Kind{event.Snapshot, event.Thin} {
		if kind == event.Snapshot && !t.Snapshot || kind == event.Thin && !t.Thin {
			continue
		}
		k := store.ResourceKey{Scope: t.Scope, Kind: store.KindListener, Parent: r.Number, Name: kind.String()}
		config, err := json.Marshal(listener{Queue: queueARN(t.Name)})
		if err != nil {
			return fmt.Errorf("encode listener: %w", err)
		}
		listeners = append(listeners, &store.Resource{ResourceKey: k, Status: event.Enabled, Created: r.Created, Updated: r.Created, Config: config})
	}
	if err := s.o.Store.ChangeResources(ctx, listeners, false); err != nil && !errors.Is(err, store.ErrExists) {
		return failed("begin to listen", err)
	}
	if err := s.refresh(context.WithoutCancel(ctx)); err != nil {
		return failed("begin to listen", err)
	}
	return nil
}

func (s *Service) create(ctx context.Context, t *ticket) (*store.Resource, error) {
	now := s.now()
	if now.Sub(t.Issued) > ticketLife {
		return nil, ErrUnknown
	}
	if err := s.makeRoom(ctx, t.Scope); err != nil {
		return nil, err
	}
	r := &store.Resource{ResourceKey: sessionKey(t), Status: event.Enabled, Created: now, Updated: now}
	if err := encode(r, &document{Device: t.Device, Seen: now}); err != nil {
		return nil, err
	}
	if err := s.o.Store.ChangeResources(ctx, []*store.Resource{r}, true); err != nil {
		return nil, failed("create session", err)
	}
	return r, nil
}

func sessionKey(t *ticket) store.ResourceKey {
	return store.ResourceKey{Scope: t.Scope, Kind: store.KindListenSession, Name: t.Name}
}

// The queues of sessions are in no region, where no AWS API looks.
const queueAccount = "listen"

func queueOwner(scope event.Scope) account.AWSCaller {
	return account.AWSCaller{Scope: scope, AccountID: queueAccount}
}

func queueURL(name string) string { return "/" + queueAccount + "/" + name }

func queueARN(name string) string { return "arn:aws:sqs::" + queueAccount + ":" + name }

// touch notes that a session has a socket.
func (s *Service) touch(ctx context.Context, key store.ResourceKey) error {
	r, err := s.o.Store.Resource(ctx, key)
	if err != nil {
		return failed("read session", err)
	}
	doc, err := decode(r)
	if err != nil {
		return err
	}
	r.Updated = s.now()
	doc.Seen = r.Updated
	if err := encode(r, doc); err != nil {
		return err
	}
	err = s.o.Store.ChangeResources(ctx, []*store.Resource{r}, true)
	if errors.Is(err, store.ErrConflict) {
		return nil // somebody else just did
	}
	if err != nil {
		return failed("note session", err)
	}
	return nil
}

// EndIdle ends the sessions that no socket was seen of for long. It is to be
// called now and then, by one process.
func (s *Service) EndIdle(ctx context.Context) error {
	page, err := s.o.Store.ListResources(ctx, store.ListResources{AllScopes: true, AllRegions: true, Kind: store.KindListenSession})
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	var errs []error
	for _, r := range page.Items {
		doc, err := decode(r)
		if err == nil && s.o.Now().Sub(doc.Seen) < idle {
			continue
		}
		errs = append(errs, s.end(ctx, r))
	}
	return errors.Join(errs...)
}

// end removes a session and what belongs to it, itself last: what was begun is
// ended by the next call.
func (s *Service) end(ctx context.Context, r *store.Resource) error {
	listeners, err := s.o.Store.ListResources(ctx, store.ListResources{Scope: r.Scope, Kind: store.KindListener, Parent: r.Number})
	if err != nil {
		return failed("list listeners", err)
	}
	for _, l := range listeners.Items {
		l.Status, l.Updated = event.Deleted, s.now()
	}
	if len(listeners.Items) > 0 {
		if err := s.o.Store.ChangeResources(ctx, listeners.Items, false); err != nil && !gone(err) {
			return failed("end listeners", err)
		}
		if err := s.refresh(context.WithoutCancel(ctx)); err != nil {
			return failed("end listeners", err)
		}
	}
	err = s.o.Queues.Delete(ctx, queueOwner(r.Scope), queueURL(r.Name))
	if err != nil && !noQueue(err) {
		return err
	}
	r.Status, r.Updated = event.Deleted, s.now()
	if err := s.o.Store.ChangeResources(ctx, []*store.Resource{r}, true); err != nil && !gone(err) {
		return failed("end session", err)
	}
	return nil
}

// gone tells that somebody else changed or deleted it meanwhile.
func gone(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound)
}

func noQueue(err error) bool {
	f := fault.As(err)
	return f != nil && f.Code == "QueueDoesNotExist"
}

// listener is what a session listens to, as stored: events of the kind that is
// its name.
type listener struct {
	Queue string `json:"queue"` // its ARN
}

// Load returns the subscriptions that changed after a configuration version, of
// all accounts, and the present version. With since 0 it returns all that
// matter.
func (s *Service) Load(ctx context.Context, since int64) ([]event.Subscription, int64, error) {
	changed, version, err := s.o.Store.ChangedResources(ctx, since)
	if err != nil {
		return nil, 0, failed("load listening sessions", err)
	}
	var subs []event.Subscription
	for _, r := range changed {
		if r.Kind != store.KindListener {
			continue
		}
		sub := event.Subscription{ID: r.Number, Name: "listen", Scope: r.Scope, Status: r.Status}
		if r.Status != event.Deleted {
			var doc listener
			if err := json.Unmarshal(r.Config, &doc); err != nil {
				s.o.Log.Error("a listening session cannot be loaded and hears nothing", "number", r.Number, "error", err)
				continue
			}
			sub.Kind, sub.Types, sub.Retry = event.Snapshot, []string{"*"}, retry.None()
			sub.From = event.FromSelf | event.FromAccounts // clients tell them apart
			if r.Name == event.Thin.String() {
				sub.Kind = event.Thin
			}
			sub.Target = event.Target{Kind: event.TargetQueue, Queue: &event.QueueTarget{Queue: event.Queue{Scope: r.Scope, ARN: doc.Queue}}}
		}
		subs = append(subs, sub)
	}
	return subs, version, nil
}

// Listeners returns the subscriptions of all sessions that listen to a kind of
// event.
func (s *Service) Listeners(ctx context.Context, scope event.Scope, kind event.Kind) ([]int64, error) {
	page, err := s.o.Store.ListResources(ctx, store.ListResources{Scope: scope, Kind: store.KindListener, Parent: -1, Prefix: kind.String()})
	if err != nil {
		return nil, failed("list listeners", err)
	}
	var numbers []int64
	for _, r := range page.Items {
		numbers = append(numbers, r.Number)
	}
	return numbers, nil
}

// now is the time as the store keeps it.
func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Millisecond) }

// failed makes a store's error ours.
func failed(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return fault.Unavailablef(fmt.Errorf("%s: %w", doing, err), "Waybill cannot reach its database right now. Try again in a moment.")
	}
	return fmt.Errorf("%s: %w", doing, err)
}
