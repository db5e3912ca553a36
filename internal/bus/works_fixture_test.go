package bus

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
	"github.com/waybill-dev/waybill/internal/target"
)

// worksFixture is a service with a real engine, whose queues are recorded
// instead of filled.
type worksFixture struct {
	*Service
	t      *testing.T
	db     *sqlite.DB
	ground *Ground
	caller account.AWSCaller
	// sent has what each delivery was, as "queue payload".
	sent chan string
	end  func() // of the process
}

func newWorks(t *testing.T) *worksFixture {
	t.Helper()
	g := NewGround(t, time.Now().UTC().Truncate(time.Second))
	f := &worksFixture{t: t, ground: g, caller: g.One, sent: make(chan string, 1000)}
	f.start()
	return f
}

// open begins another process on the store; the one before is ended.
func (f *worksFixture) open() {
	f.t.Helper()
	f.end()
	f.ground.Open()
	f.start()
}

func (f *worksFixture) start() {
	t := f.t
	t.Helper()
	f.db = f.ground.DB
	f.Service = New(Options{Store: f.db, Key: f.ground.Key, AllowHTTP: true, Now: f.now})
	e := engine.New(engine.Options{Store: f.db, Load: f.Load, Open: f.openTarget})
	f.SetEngine(e)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.end = sync.OnceFunc(func() {
		if err := e.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		f.ground.Close()
	})
	t.Cleanup(f.end)
}

func (f *worksFixture) now() time.Time          { return f.ground.Now() }
func (f *worksFixture) advance(d time.Duration) { f.ground.Advance(d) }

func (f *worksFixture) openTarget(to event.Target) (target.Target, error) {
	switch to.Kind {
	case event.TargetArchive:
		return sender(func(m target.Message) target.Result {
			return target.Result{Started: time.Now(), Deposit: &event.Deposit{Kind: event.IntoArchive, Into: to.Archive.Number, Event: m.Event}}
		}), nil
	case event.TargetQueue:
		_, name, _ := strings.Cut(to.Queue.ARN, f.caller.AccountID+":")
		return sender(func(m target.Message) target.Result {
			f.sent <- name + " " + string(m.Body)
			return target.Result{Started: time.Now()}
		}), nil
	}
	return nil, fmt.Errorf("no target of kind %s in this test", to.Kind)
}

type sender func(target.Message) target.Result

func (s sender) Send(_ context.Context, m target.Message) target.Result { return s(m) }

// received waits for n deliveries, and that there are no more of them.
func (f *worksFixture) received(n int) []string {
	f.t.Helper()
	got := make([]string, 0, n)
	for range n {
		select {
		case one := <-f.sent:
			got = append(got, one)
		case <-time.After(30 * time.Second):
			f.t.Fatalf("only %d deliveries of %d: %q", len(got), n, got)
		}
	}
	select {
	case one := <-f.sent:
		f.t.Fatalf("a delivery too many: %s", one)
	default:
	}
	return got
}

// rule makes a rule on the default bus with a queue of its own name as target.
func (f *worksFixture) rule(name, eventPattern, schedule string) *store.Resource {
	f.t.Helper()
	bus, _, err := f.bus(f.t.Context(), f.caller, DefaultBus)
	if err != nil {
		f.t.Fatal(err)
	}
	r := &store.Resource{ResourceKey: key(f.caller, store.KindRule, bus.Number, name)}
	f.must(put(r, &ruleDoc{ARN: arn(f.caller, "rule/"+name), BusName: DefaultBus, Pattern: eventPattern, Schedule: schedule, State: RuleEnabled}))
	f.must(f.change(f.t.Context(), r))
	to := &store.Resource{ResourceKey: key(f.caller, store.KindRuleTarget, r.Number, "1")}
	f.must(put(to, &targetDoc{ARN: "arn:aws:sqs:" + f.caller.Region + ":" + f.caller.AccountID + ":" + name}))
	f.must(f.change(f.t.Context(), to))
	return r
}

func (f *worksFixture) busARN() string { return arn(f.caller, "event-bus/default") }

func (f *worksFixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// put puts an event on the default bus.
func (f *worksFixture) put(detailType string, at time.Time, detail string) {
	f.t.Helper()
	bus, _, err := f.bus(f.t.Context(), f.caller, DefaultBus)
	f.must(err)
	f.must(f.publish(f.t.Context(), engine.Publish{Scope: f.caller.Scope, Drafts: []*event.Draft{{
		Type: detailType, Created: at,
		Envelope: &event.Envelope{Bus: bus.Number, Source: "shop", Account: f.caller.AccountID, Region: f.caller.Region, Detail: []byte(detail)},
	}}}))
}

// until waits for something that another goroutine brings about.
func (f *worksFixture) until(what string, is func() bool) {
	f.t.Helper()
	deadline := time.After(30 * time.Second)
	for !is() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-deadline:
			f.t.Fatal("waited in vain for " + what)
		}
	}
}

// run runs one of the loops until the test ends or stop is called.
func (f *worksFixture) run(loop func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	f.t.Cleanup(stop)
	return stop
}

func mustFault(t *testing.T, err error, code string) {
	t.Helper()
	if got := faultCode(err); got != code {
		t.Errorf("error %v of code %q, want %s", err, got, code)
	}
}
