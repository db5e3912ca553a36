package listen_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/listen"
	"github.com/waybill-dev/waybill/internal/queue"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
)

// fixture is a service whose engine only keeps the subscriptions.
type fixture struct {
	*listen.Service
	t      *testing.T
	queues *queue.Service
	caller account.Caller
	keys   map[string]account.Caller
	subs   map[int64]event.Subscription
}

// bubble runs a test on a store, in fake time.
func bubble(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "waybill.db")})
		if err != nil {
			t.Fatal(err)
		}
		f := &fixture{
			t: t, queues: queue.New(queue.Options{Store: db}), subs: map[int64]event.Subscription{},
			caller: account.Caller{Scope: event.NewScope(1, false), AccountID: "acct_1", APIVersion: "2026-03-25.dahlia"},
		}
		f.keys = map[string]account.Caller{"sk_test_1": f.caller}
		if err := f.queues.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		key, err := seal.ParseKey(strings.Repeat("ab", 32))
		if err != nil {
			t.Fatal(err)
		}
		f.Service = listen.New(listen.Options{
			Store: db, Queues: f.queues, Key: key, UserAgent: "test",
			Authenticate: func(_ context.Context, key string) (account.Caller, error) {
				c, ok := f.keys[key]
				if !ok {
					return c, fault.New(fault.Unauthorized, "unauthorized", "no such key")
				}
				return c, nil
			},
		})
		f.SetRefresh(func(ctx context.Context) error {
			subs, _, err := f.Load(ctx, 1)
			for _, s := range subs {
				f.subs[s.ID] = s
				if s.Status == event.Deleted {
					delete(f.subs, s.ID)
				}
			}
			return errors.Join(err, f.queues.Load(ctx, 1))
		})
		test(t, f)
		f.Stop()
		f.queues.Stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (f *fixture) prepare(r listen.Request) *listen.Prepared {
	f.t.Helper()
	p, err := f.Prepare(f.t.Context(), f.caller, r)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

var both = listen.Request{Key: "sk_test_1", Device: "laptop", Snapshot: true, Thin: true}

func (f *fixture) connect(ticket string) *listen.Socket {
	f.t.Helper()
	k, err := f.Connect(f.t.Context(), ticket)
	if err != nil {
		f.t.Fatal(err)
	}
	return k
}

// deliver does what the engine does with an event: it leaves it with all
// subscriptions of its kind.
func (f *fixture) deliver(kind event.Kind, body string) {
	f.t.Helper()
	for _, s := range f.subs {
		if s.Kind != kind {
			continue
		}
		name := s.Target.Queue.ARN[strings.LastIndexByte(s.Target.Queue.ARN, ':')+1:]
		_, err := f.queues.Send(f.t.Context(), account.AWSCaller{Scope: s.Scope, AccountID: "listen"}, "/listen/"+name, queue.Entry{Body: body})
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) receive(k *listen.Socket) []listen.Message {
	f.t.Helper()
	got, err := k.Receive(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return got
}

const (
	snapshot = `{"id":"evt_test_1","object":"event","api_version":"v","type":"customer.created"}`
	thin     = `{"id":"evt_test_2","object":"v2.core.event","type":"v1.customer.created"}`
)

func TestWhatIsNotAcknowledgedComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.prepare(both)
		k := f.connect(p.Ticket)
		if len(f.subs) != 2 {
			t.Fatalf("it compiles to %d subscriptions, want one of each kind", len(f.subs))
		}
		f.deliver(event.Snapshot, snapshot)
		f.deliver(event.Thin, thin)
		first := f.receive(k)
		if len(first) != 2 || k.Held() != 2 {
			t.Fatalf("%d messages came, %d are held, want 2", len(first), k.Held())
		}
		for _, m := range first {
			if (m.Kind == event.Thin) != (string(m.Body) == thin) {
				t.Errorf("%s is said to be %s", m.Body, m.Kind)
			}
			if err := sign.VerifyStripe(k.Header(m.Body)[sign.StripeHeader], m.Body, []string{p.Secret}, time.Now(), 0); err != nil {
				t.Error(err)
			}
		}
		if err := k.Ack(t.Context(), []string{first[0].ID}); err != nil {
			t.Fatal(err)
		}
		k.Close(t.Context())
		f.deliver(event.Snapshot, snapshot) // while nobody is there

		k = f.connect(p.Ticket)
		began := time.Now()
		var again []string
		for len(again) < 2 {
			for _, m := range f.receive(k) {
				again = append(again, m.ID)
			}
		}
		if took := time.Since(began); took > time.Second || !slices.Contains(again, first[1].ID) || slices.Contains(again, first[0].ID) {
			t.Errorf("after %v came %v, want %s and the new one", took, again, first[1].ID)
		}
		if err := k.Ack(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if more := f.receive(k); len(more) > 0 || k.Held() > 0 {
			t.Errorf("all are acknowledged, and %d came", len(more))
		}
		k.Close(t.Context())
	})
}

func TestASessionOutlivesItsSocketForTenMinutes(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.prepare(both)
		k := f.connect(p.Ticket)
		for range 30 { // a socket keeps it, however long
			<-time.After(time.Minute)
			if err := errors.Join(k.Keep(t.Context()), f.EndIdle(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		k.Close(t.Context())
		<-time.After(9 * time.Minute)
		if err := f.EndIdle(t.Context()); err != nil || len(f.subs) != 2 {
			t.Fatalf("after nine minutes it has %d subscriptions: %v", len(f.subs), err)
		}
		<-time.After(2 * time.Minute)
		if err := f.EndIdle(t.Context()); err != nil || len(f.subs) != 0 {
			t.Fatalf("after eleven minutes it has %d subscriptions: %v", len(f.subs), err)
		}
		if queues, _, err := f.queues.List(t.Context(), account.AWSCaller{Scope: f.caller.Scope}, "", 0, ""); err != nil || len(queues) > 0 {
			t.Errorf("its queue is left: %v, %v", queues, err)
		}

		k = f.connect(p.Ticket) // a client that slept makes it anew
		if err := k.End(t.Context()); err != nil || len(f.subs) != 0 {
			t.Errorf("it was ended, and has %d subscriptions: %v", len(f.subs), err)
		}
		k.Close(t.Context())
		<-time.After(24 * time.Hour)
		if _, err := f.Connect(t.Context(), p.Ticket); !errors.Is(err, listen.ErrUnknown) {
			t.Errorf("a ticket of yesterday: %v", err)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		for range 3 * listen.MaxSessions { // as --print-secret does
			f.prepare(both)
		}
		var sockets []*listen.Socket
		for range listen.MaxSessions {
			sockets = append(sockets, f.connect(f.prepare(both).Ticket))
		}
		_, err := f.Prepare(t.Context(), f.caller, both)
		if e := fault.As(err); e == nil || e.Kind != fault.Limited {
			t.Errorf("one more: %v", err)
		}
		other := f.caller // for which the key may act
		other.Scope = event.NewScope(2, false)
		p, err := f.Prepare(t.Context(), other, both)
		if err != nil {
			t.Fatalf("another account: %v", err)
		}
		f.connect(p.Ticket).Close(t.Context())
		// One without a socket gives way.
		sockets[3].Close(t.Context())
		<-time.After(3 * time.Minute)
		for i, k := range sockets {
			if i != 3 {
				if err := k.Keep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		sockets[3] = f.connect(f.prepare(both).Ticket)
		if len(f.subs) != 2*listen.MaxSessions+2 {
			t.Errorf("there are %d subscriptions", len(f.subs))
		}
		for _, k := range sockets {
			k.Close(t.Context())
		}
	})
}

func TestTicketsAndKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.prepare(both)
		for name, ticket := range map[string]string{"none": "", "forged": "QUJD" + p.Ticket[4:], "no base64": "!"} {
			if _, err := f.Connect(t.Context(), ticket); !errors.Is(err, listen.ErrUnknown) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := f.Prepare(t.Context(), f.caller, listen.Request{Key: "sk_test_1"}); fault.As(err) == nil {
			t.Errorf("listening to nothing: %v", err)
		}
		old := f.connect(p.Ticket)
		closed := make(chan struct{})
		go func() {
			<-old.Done()
			old.Close(context.WithoutCancel(t.Context()))
			close(closed)
		}()
		k := f.connect(p.Ticket) // takes the place of the first
		<-closed
		delete(f.keys, "sk_test_1")
		if err := k.Keep(t.Context()); !errors.Is(err, listen.ErrUnknown) {
			t.Errorf("the key was revoked: %v", err)
		}
		k.Close(t.Context())
		if _, err := f.Connect(t.Context(), p.Ticket); !errors.Is(err, listen.ErrUnknown) {
			t.Errorf("the key was revoked: %v", err)
		}
	})
}

func TestTheSecretIsStable(t *testing.T) {
	bubble(t, func(_ *testing.T, f *fixture) {
		seen := map[string]string{}
		for _, c := range []struct {
			name, device string
			live         bool
		}{{"laptop", "laptop", false}, {"other", "other", false}, {"live", "laptop", true}} {
			f.caller.Scope = event.NewScope(1, c.live)
			r := listen.Request{Key: "sk_test_1", Device: c.device, Snapshot: true}
			secret := f.prepare(r).Secret
			if again := f.prepare(r).Secret; again != secret || !strings.HasPrefix(secret, "whsec_") {
				f.t.Errorf("%s: %s, then %s", c.name, secret, again)
			}
			if was := seen[secret]; was != "" {
				f.t.Errorf("%s and %s share a secret", was, c.name)
			}
			seen[secret] = c.name
		}
	})
}
