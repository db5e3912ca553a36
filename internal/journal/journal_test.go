package journal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/journal"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
	"github.com/waybill-dev/waybill/internal/target"
)

// desk is a journal over a real store and a real engine, with a clock that a
// test can set.
type desk struct {
	*journal.Service
	t            *testing.T
	db           store.Store
	destinations *destination.Service
	caller       account.Caller
	ahead        time.Duration
	fixed        time.Time   // stops the clock if set
	sent         chan string // event ids
}

// refusing is a target that takes the events of one type only.
type refusing struct {
	d     *desk
	takes string
}

func (r refusing) Send(_ context.Context, m target.Message) target.Result {
	r.d.sent <- m.EventID
	res := target.Result{Status: 200, Started: time.Now(), Total: time.Millisecond}
	if m.Type != r.takes {
		res.Class, res.Status, res.Message = event.ClassStatus, 500, "no"
	}
	return res
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "waybill.db")})
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.ParseKey(strings.Repeat("5a", 32))
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, db: db, sent: make(chan string, 1000)}
	d.destinations = destination.New(destination.Options{Store: db, Key: key, Guard: netguard.Policy{}})
	e := engine.New(engine.Options{
		Store: db, Load: d.destinations.Load, Gone: d.destinations.DisableGone, Log: slog.New(slog.DiscardHandler),
		Open: func(event.Target) (target.Target, error) { return refusing{d, "good.one"}, nil },
	})
	d.destinations.SetEngine(e)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	accounts := account.New(account.Options{Store: db, DefaultAPIVersion: "2026-03-25.dahlia"})
	made, err := accounts.Create(t.Context(), "test", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if d.caller, err = accounts.Authenticate(t.Context(), made.TestKey); err != nil {
		t.Fatal(err)
	}
	d.caller.Generation = 2
	d.Service = journal.New(journal.Options{
		Store: db, Registry: db, Destinations: d.destinations, Engine: e,
		Now: func() time.Time {
			if !d.fixed.IsZero() {
				return d.fixed
			}
			return time.Now().Add(d.ahead)
		},
	})
	return d
}

func (d *desk) destination(payload string, types ...string) *destination.Destination {
	d.t.Helper()
	made, err := d.destinations.Create(d.t.Context(), d.caller, destination.CreateParams{
		Name: "d", Type: destination.TypeWebhookEndpoint, EventPayload: payload, EnabledEvents: types,
		WebhookEndpoint: &destination.WebhookEndpoint{URL: "https://example.com/"},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return made
}

func draft(typ string) *event.Draft {
	return &event.Draft{Type: typ, Object: []byte(`{"id":"o"}`), ObjectID: "o"}
}

func thin(typ string) *event.Draft {
	return &event.Draft{Type: typ, RelatedObject: []byte(`{"id":"o","type":"t","url":"/u"}`), ObjectID: "o"}
}

// publish returns the ids of events of these types.
func (d *desk) publish(drafts ...*event.Draft) []string {
	d.t.Helper()
	events, err := d.Publish(d.t.Context(), d.caller, drafts)
	if err != nil {
		d.t.Fatal(err)
	}
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID()
	}
	return ids
}

// settled waits until so many deliveries have been tried.
func (d *desk) settled(n int) {
	d.t.Helper()
	for range n {
		<-d.sent
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		page, err := d.Deliveries(d.t.Context(), d.caller, journal.DeliveryQuery{Limit: 1000})
		if err != nil {
			d.t.Fatal(err)
		}
		tried := 0
		for _, one := range page.Items {
			if one.Attempts > 0 {
				tried++
			}
		}
		if tried == n {
			return
		}
	}
	d.t.Fatal("the deliveries were not settled")
}

// isFault checks an error's kind, parameter and text.
func isFault(t *testing.T, err error, kind fault.Kind, param, text string) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Kind != kind || f.Param != param || !strings.Contains(f.Message, text) {
		t.Errorf("error %v (%+v), want kind %d of %q with %q", err, f, kind, param, text)
	}
}

func TestPendingCountsWhatDidNotSucceed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.destination("snapshot", "*")
	d.destination("snapshot", "*")
	d.destination("snapshot", "rare.one")
	off := d.destination("snapshot", "*")
	if _, err := d.destinations.Disable(t.Context(), d.caller, off.ID); err != nil {
		t.Fatal(err)
	}
	var want []string // newest first
	var drafts []*event.Draft
	for i := range 12 {
		typ, pending := "good.one", 0
		switch i % 4 {
		case 1:
			typ, pending = "bad.one", 2
		case 2:
			typ, pending = "rare.one", 3
		}
		drafts = append(drafts, draft(typ))
		want = append(want, fmt.Sprint(typ, pending))
	}
	slices.Reverse(want)
	ids := d.publish(drafts...)
	d.settled(12*2 + 3)
	list := func(q journal.EventQuery) []string {
		t.Helper()
		q.Kind = event.Snapshot
		page, err := d.Events(t.Context(), d.caller, q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range page.Items {
			got = append(got, fmt.Sprint(v.Type, v.Pending))
		}
		return got
	}
	if got := list(journal.EventQuery{Limit: 100}); !slices.Equal(got, want) {
		t.Errorf("all:\n%v\nwant\n%v", got, want)
	}
	// Far apart, so that one query over the stretch does not find them all.
	if got := list(journal.EventQuery{Limit: 100, Types: []string{"rare.*"}}); !slices.Equal(got, []string{"rare.one3", "rare.one3", "rare.one3"}) {
		t.Errorf("rare: %v", got)
	}
	// That query ends within the deliveries of the second rare one.
	if got := list(journal.EventQuery{Limit: 4, Types: []string{"rare.one", "bad.one"}}); !slices.Equal(got, []string{"rare.one3", "bad.one2", "rare.one3", "bad.one2"}) {
		t.Errorf("rare and bad: %v", got)
	}
	if got := list(journal.EventQuery{Limit: 3, StartingAfter: ids[9]}); !slices.Equal(got, want[3:6]) {
		t.Errorf("a page: %v, want %v", got, want[3:6])
	}
	v, err := d.Event(t.Context(), d.caller, ids[1], 0)
	if err != nil || v.Pending != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestEventsAreVisibleFor30Days(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ctx := t.Context()
	to := d.destination("snapshot", "x.y")
	claimed := draft("a.b")
	claimed.Created = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) // it is the acceptance that counts
	ids := d.publish(claimed, draft("a.c"))
	if _, err := d.Event(ctx, d.caller, ids[0], event.Snapshot); err != nil {
		t.Error(err)
	}
	d.ahead = journal.Visible - time.Hour
	if _, err := d.Event(ctx, d.caller, ids[0], event.Snapshot); err != nil {
		t.Error(err)
	}
	d.ahead = journal.Visible + time.Hour
	_, err := d.Event(ctx, d.caller, ids[0], event.Snapshot)
	isFault(t, err, fault.NotFound, "", ids[0])
	_, err = d.Resend(ctx, d.caller, ids[0], to.ID)
	isFault(t, err, fault.NotFound, "", ids[0])
	_, err = d.Events(ctx, d.caller, journal.EventQuery{Kind: event.Snapshot, StartingAfter: ids[1], Limit: 10})
	isFault(t, err, fault.Invalid, "starting_after", ids[1])
	page, err := d.Events(ctx, d.caller, journal.EventQuery{Kind: event.Snapshot, Limit: 1})
	if err != nil || len(page.Items) != 0 || page.More {
		t.Errorf("%+v, %v", page, err)
	}
	page, err = d.Events(ctx, d.caller, journal.EventQuery{Kind: event.Snapshot, Newer: 1, Limit: 10})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestPagesBeginWithWhatIsVisible(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first := mustSeq(t, d.publish(draft("a.b"))[0])
	second := first
	for second.Time().Equal(first.Time()) {
		second = mustSeq(t, d.publish(draft("a.b"))[0])
	}
	d.fixed = second.Time().Add(journal.Visible)
	page, err := d.Events(t.Context(), d.caller, journal.EventQuery{Kind: event.Snapshot, Newer: first - 1, Limit: 1})
	if err != nil || len(page.Items) != 1 || page.Items[0].Seq != second {
		t.Errorf("%+v, %v, want %d", page, err, second)
	}
	page, err = d.Events(t.Context(), d.caller, journal.EventQuery{Kind: event.Snapshot, Limit: 100})
	if err != nil || len(page.Items) != 1 || page.More {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestEventsOfOtherScopesAndKinds(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ctx := t.Context()
	id := d.publish(draft("a.b"))[0]
	_, err := d.Event(ctx, d.caller, id, event.Thin)
	isFault(t, err, fault.NotFound, "", id)
	live := d.caller
	live.Scope = event.NewScope(d.caller.Scope.Account(), true)
	_, err = d.Event(ctx, live, id, 0)
	isFault(t, err, fault.NotFound, "", id)
	_, err = d.Events(ctx, live, journal.EventQuery{Kind: event.Snapshot, EndingBefore: id, Limit: 1})
	isFault(t, err, fault.Invalid, "ending_before", id)
	_, err = d.Deliveries(ctx, live, journal.DeliveryQuery{Event: id, Limit: 1})
	isFault(t, err, fault.Invalid, "event", id)
}

func TestPublishChecksIDs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ctx := t.Context()
	with := func(id, hash string) *event.Draft {
		one := draft("a.b")
		one.ID = id
		copy(one.Hash[:], hash)
		return one
	}
	own := event.SeqAt(time.Now()).ID(false)
	_, err := d.Publish(ctx, d.caller, []*event.Draft{with(own, "")})
	isFault(t, err, fault.Invalid, "id", own)
	_, err = d.Publish(ctx, d.caller, []*event.Draft{draft("a"), with(own, "")})
	isFault(t, err, fault.Invalid, "events[1].id", own)
	_, err = d.Publish(ctx, d.caller, []*event.Draft{with("x", "1"), draft("a"), with("x", "1")})
	isFault(t, err, fault.Invalid, "events[2].id", "events[0].id")
	if got := d.publish(with("x", "1"), with("y", "1")); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("%v", got)
	}
	if got := d.publish(with("x", "1")); !slices.Equal(got, []string{"x"}) {
		t.Errorf("%v", got)
	}
	_, err = d.Publish(ctx, d.caller, []*event.Draft{with("x", "2")})
	isFault(t, err, fault.Conflict, "", "id")
	c := d.caller
	c.IdempotencyKey, c.RequestHash = "k", [32]byte{1}
	if _, err := d.Publish(ctx, c, []*event.Draft{draft("a.b")}); err != nil {
		t.Fatal(err)
	}
	c.RequestHash = [32]byte{2}
	_, err = d.Publish(ctx, c, []*event.Draft{draft("a.b")})
	isFault(t, err, fault.Idempotency, "", "key")
}

func TestResendIsARunOfItsOwn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ctx := t.Context()
	to, other := d.destination("snapshot", "bad.one"), d.destination("thin", "v1.other")
	id := d.publish(draft("bad.one"))[0]
	d.settled(1)
	c := d.caller
	c.Generation, c.IdempotencyKey, c.RequestHash = 1, "again", [32]byte{9}
	for range 3 { // the repeats send nothing
		v, err := d.Resend(ctx, c, id, to.ID)
		if err != nil || v.ID() != id || v.Pending != 1 {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	if got := <-d.sent; got != id {
		t.Errorf("sent %s", got)
	}
	dlv := event.DeliveryID(mustSeq(t, id), to.Number, false)
	var attempts []*event.Attempt
	for end := time.Now().Add(10 * time.Second); len(attempts) < 2 && time.Now().Before(end); {
		var err error
		if attempts, err = d.Attempts(ctx, d.caller, dlv); err != nil {
			t.Fatal(err)
		}
	}
	if len(attempts) != 2 || attempts[0].Run != 0 || attempts[1].Run == 0 || attempts[1].N != 1 || attempts[1].Outcome != event.FailedFinal {
		t.Fatalf("attempts %+v", attempts)
	}
	one, err := d.Delivery(ctx, d.caller, dlv)
	if err != nil || one.State != event.StatePending || one.DestinationID != to.ID {
		t.Errorf("the scheduled tries do not go on: %+v, %v", one, err)
	}
	c.RequestHash = [32]byte{8}
	_, err = d.Resend(ctx, c, id, to.ID)
	isFault(t, err, fault.Idempotency, "", "key")
	_, err = d.Resend(ctx, d.caller, id, "")
	isFault(t, err, fault.Invalid, "webhook_endpoint", "listening")
	_, err = d.Resend(ctx, d.caller, id, "we_1")
	isFault(t, err, fault.NotFound, "", "we_1")
	_, err = d.Resend(ctx, d.caller, id, other.ID)
	isFault(t, err, fault.Invalid, "webhook_endpoint", "thin")
	_, err = d.Resend(ctx, d.caller, "evt_none", to.ID)
	isFault(t, err, fault.NotFound, "", "evt_none")
	if _, err := d.destinations.Disable(ctx, d.caller, to.ID); err != nil {
		t.Fatal(err)
	}
	_, err = d.Resend(ctx, d.caller, id, to.ID)
	isFault(t, err, fault.Invalid, "webhook_endpoint", "disabled")
	if n := len(d.sent); n != 0 {
		t.Errorf("%d more were sent", n)
	}
}

func mustSeq(t *testing.T, id string) event.Seq {
	t.Helper()
	seq, ok := event.ParseID(id, false)
	if !ok {
		t.Fatalf("id %q", id)
	}
	return seq
}

func TestDeliveryIDs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, id := range []string{"", "dlv_test_", "evt_test_00000000000", "dlv_00000000000" + "1", event.DeliveryID(5, 6, false), event.DeliveryID(5, 6, true)} {
		_, err := d.Delivery(t.Context(), d.caller, id)
		isFault(t, err, fault.NotFound, "", "No such delivery")
		_, err = d.Attempts(t.Context(), d.caller, id)
		isFault(t, err, fault.NotFound, "", "No such delivery")
	}
	if got := d.publish(thin("v1.x")); len(got) != 1 {
		t.Fatal(got)
	}
	page, err := d.Deliveries(t.Context(), d.caller, journal.DeliveryQuery{Limit: 10})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
}

// outage is everything a journal works with, failing in one way.
type outage struct {
	store.History
	store.Registry
	err error
}

func (o outage) Event(context.Context, event.Scope, string) (*event.Event, error) { return nil, o.err }

func (o outage) ListEvents(context.Context, store.ListEvents) (store.Page[*event.Event], error) {
	return store.Page[*event.Event]{}, o.err
}

func (o outage) ListDeliveries(context.Context, store.ListDeliveries) (store.Page[*event.Delivery], error) {
	return store.Page[*event.Delivery]{}, o.err
}

func (o outage) Publish(context.Context, engine.Publish) ([]*event.Event, error) { return nil, o.err }

func (o outage) Redeliver(context.Context, event.Scope, event.Seq, int64, *store.Idempotency) error {
	return o.err
}

func (o outage) Retrieve(context.Context, account.Caller, string) (*destination.Destination, error) {
	return nil, o.err
}

func TestOutages(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		kind fault.Kind // 0: no fault
	}{
		{fmt.Errorf("commit: %w", store.ErrUnavailable), fault.Unavailable},
		{fmt.Errorf("commit: %w", context.DeadlineExceeded), fault.Unavailable},
		{context.Canceled, 0},
		{errors.New("a defect"), 0},
	} {
		o := outage{err: tc.err}
		s := journal.New(journal.Options{Store: o, Registry: o, Destinations: o, Engine: o})
		ctx, c := t.Context(), account.Caller{Scope: event.NewScope(1, false), Generation: 2}
		errs := map[string]error{}
		_, errs["publish"] = s.Publish(ctx, c, []*event.Draft{draft("a.b")})
		_, errs["event"] = s.Event(ctx, c, "evt_1", 0)
		_, errs["events"] = s.Events(ctx, c, journal.EventQuery{Limit: 1})
		_, errs["after"] = s.Events(ctx, c, journal.EventQuery{StartingAfter: "evt_1", Limit: 1})
		_, errs["deliveries"] = s.Deliveries(ctx, c, journal.DeliveryQuery{Limit: 1})
		_, errs["attempts"] = s.Attempts(ctx, c, event.DeliveryID(1, 1, false))
		_, errs["resend"] = s.Resend(ctx, c, "evt_1", "ed_1")
		for verb, err := range errs {
			f := fault.As(err)
			switch {
			case tc.kind == 0 && (f != nil || !errors.Is(err, tc.err)):
				t.Errorf("%s: %v became %v", verb, tc.err, err)
			case tc.kind != 0 && (f == nil || f.Kind != tc.kind || f.RetryAfter <= 0):
				t.Errorf("%s: %v became %v", verb, tc.err, err)
			}
		}
	}
}
