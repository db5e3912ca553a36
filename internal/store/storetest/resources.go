package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const region = "eu-central-1"

func newResource(kind store.ResourceKind, parent int64, name string) *store.Resource {
	return &store.Resource{
		ResourceKey: store.ResourceKey{Scope: scopeA, Region: region, Kind: kind, Parent: parent, Name: name},
		Status:      event.Enabled, Created: start, Updated: start, Config: []byte(`{"of":"` + name + `"}`), Secrets: []byte("sealed"),
	}
}

// resource creates one.
func (f *fixture) resource(kind store.ResourceKind, name string) *store.Resource {
	f.Helper()
	r := newResource(kind, 0, name)
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{r}, false))
	f.reload()
	return r
}

func (f *fixture) remove(r *store.Resource) {
	f.Helper()
	r.Status = event.Deleted
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{r}, false))
	f.reload()
}

func (f *fixture) testSharedNumbers() {
	seen := map[int64]bool{}
	for i := range 5 {
		d := newDestination(scopeA, fmt.Sprint("ed_", i))
		f.ok(f.s.CreateDestination(f.ctx, d, nil))
		r, other := newResource(store.KindRule, 0, fmt.Sprint("r", i)), newResource(store.KindRule, 0, fmt.Sprint("s", i))
		f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{r, other}, i%2 == 0))
		for _, n := range []int64{d.Number, r.Number, other.Number} {
			if n <= 0 || seen[n] {
				f.Fatalf("number %d was given out twice", n)
			}
			seen[n] = true
		}
	}
}

func (f *fixture) testResources() {
	before := f.version()
	r := newResource(store.KindBus, 0, "orders")
	other := newResource(store.KindBus, 0, "other")
	other.Secrets = nil
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{r, other}, false))
	if r.Number <= 0 || r.Revision == 0 || r.Version != before+1 || other.Version != r.Version || f.version() != r.Version {
		f.Fatalf("stored as %+v, version %d before and %d after", r, before, f.version())
	}
	for _, want := range []*store.Resource{r, other} {
		got, err := f.s.Resource(f.ctx, want.ResourceKey)
		f.ok(err)
		f.same("resource", got, want)
	}
	for i := range 5 {
		key := r.ResourceKey
		switch i {
		case 0:
			key.Scope = scopeB
		case 1:
			key.Region = "x"
		case 2:
			key.Kind = store.KindQueue
		case 3:
			key.Parent = r.Number
		case 4:
			key.Name = "Orders"
		}
		_, err := f.s.Resource(f.ctx, key)
		f.is(err, store.ErrNotFound)
		// The same name in another place is free.
		f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{{ResourceKey: key, Status: event.Enabled, Created: start, Updated: start, Config: []byte("{}")}}, true))
	}
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{newResource(store.KindBus, 0, "orders")}, false), store.ErrExists)

	version := f.version()
	was := *r
	r.Config, r.Updated, r.Status = []byte("{}"), start.Add(time.Hour), event.Held
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{r}, true))
	f.same("version after a quiet change", f.version(), version)
	f.same("version of the resource", r.Version, was.Version)
	if r.Revision <= was.Revision {
		f.Fatalf("revision %d became %d", was.Revision, r.Revision)
	}
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{r}, false))
	f.same("version of the resource", r.Version, version+1)
	got, err := f.s.Resource(f.ctx, r.ResourceKey)
	f.ok(err)
	f.same("resource", got, r)

	f.remove(other)
	_, err = f.s.Resource(f.ctx, other.ResourceKey)
	f.is(err, store.ErrNotFound)
	numbers, err := f.s.ResourcesByNumber(f.ctx, []int64{r.Number, other.Number, 1 << 40})
	f.ok(err)
	f.same("by number", numbers, map[int64]*store.Resource{r.Number: r, other.Number: other})
	again := f.resource(store.KindBus, "other")
	if again.Number == other.Number {
		f.Fatal("a new resource took over a number")
	}
}

func (f *fixture) testResourceConflict() {
	r := f.resource(store.KindRule, "r")
	stale := *r
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{r}, false))
	version, given := f.version(), stale
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{&stale}, false), store.ErrConflict)
	f.same("resource given", stale, given)
	f.same("version", f.version(), version)
	absent := *r
	absent.Number = 1 << 40
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{&absent}, false), store.ErrNotFound)

	var won atomic.Int32
	var wg sync.WaitGroup
	for range 6 {
		mine := *r
		wg.Go(func() {
			switch err := f.s.ChangeResources(f.ctx, []*store.Resource{&mine}, false); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrConflict):
				f.Errorf("change resources: %v", err)
			}
		})
	}
	wg.Wait()
	f.same("changes that won", won.Load(), int32(1))
}

func (f *fixture) testResourceAllOrNothing() {
	taken := f.resource(store.KindRule, "taken")
	version := f.version()
	fresh := newResource(store.KindRule, 0, "fresh")
	changed := *taken
	changed.Config = []byte(`{"changed":1}`)
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{fresh, &changed, newResource(store.KindRule, 0, "taken")}, false), store.ErrExists)
	if fresh.Number != 0 || fresh.Revision != 0 || changed.Revision != taken.Revision {
		f.Fatal("a change that was refused left its marks")
	}
	f.same("version", f.version(), version)
	_, err := f.s.Resource(f.ctx, fresh.ResourceKey)
	f.is(err, store.ErrNotFound)
	got, err := f.s.Resource(f.ctx, taken.ResourceKey)
	f.ok(err)
	f.same("resource", got, taken)

	// A name that is given up can be taken in the same change.
	taken.Status = event.Deleted
	heir := newResource(store.KindRule, 0, "taken")
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{taken, heir}, false))
	got, err = f.s.Resource(f.ctx, heir.ResourceKey)
	f.ok(err)
	f.same("heir", got, heir)
}

func (f *fixture) testResourceLives() {
	r := f.resource(store.KindRuleTarget, "t")
	alive := *r
	alive.Revision = 0
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{&alive}, false), store.ErrExists)
	f.remove(r)
	dead := *r
	dead.Status = event.Enabled
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{&dead}, false), store.ErrNotFound)
	next := newResource(store.KindRuleTarget, 0, "t")
	next.Number, next.Config = r.Number, []byte(`{"life":2}`)
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{next}, false))
	if next.Number != r.Number || next.Revision <= r.Revision || next.Version <= r.Version {
		f.Fatalf("lives again as %+v after %+v", next, r)
	}
	got, err := f.s.Resource(f.ctx, r.ResourceKey)
	f.ok(err)
	f.same("second life", got, next)
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{r}, false), store.ErrConflict)

	unknown := newResource(store.KindRuleTarget, 0, "u")
	unknown.Number = 1 << 40
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{unknown}, false), store.ErrNotFound)
	q := f.resource(store.KindQueue, "q")
	f.remove(q)
	q.Revision, q.Status = 0, event.Enabled
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{q}, false), store.ErrExists)
}

func (f *fixture) testResourceParents() {
	bus := f.resource(store.KindBus, "bus")
	below := func(parent int64, name string) *store.Resource { return newResource(store.KindRule, parent, name) }
	rule := below(bus.Number, "r")
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{rule}, false))
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{below(1<<40, "r")}, false), store.ErrNotFound)

	// What has something below it stays.
	gone := *bus
	gone.Status = event.Deleted
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{&gone}, false), store.ErrConflict)
	f.same("revision given", gone.Revision, bus.Revision)
	_, err := f.s.Resource(f.ctx, bus.ResourceKey)
	f.ok(err)
	// Both can go at once, in any order.
	rule.Status = event.Deleted
	f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{&gone, rule}, false))
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{below(bus.Number, "s")}, false), store.ErrNotFound)
	f.is(f.s.ChangeResources(f.ctx, []*store.Resource{rule}, false), store.ErrNotFound)

	// Of a deletion and a birth at a time one is refused.
	for i := range 8 {
		bus := f.resource(store.KindBus, fmt.Sprint("bus", i))
		child := below(bus.Number, "r")
		var wg sync.WaitGroup
		var born, died error
		wg.Go(func() { born = f.s.ChangeResources(f.ctx, []*store.Resource{child}, false) })
		bus.Status = event.Deleted
		died = f.s.ChangeResources(f.ctx, []*store.Resource{bus}, false)
		wg.Wait()
		if errors.Is(born, store.ErrNotFound) == errors.Is(died, store.ErrConflict) {
			f.Fatalf("born: %v, died: %v", born, died)
		}
	}
}

func (f *fixture) testListResources() {
	parent := f.resource(store.KindBus, "parent").Number
	var names []string
	for i, name := range []string{"a", "ab", "abc", "ä", "äb", "b", "B", "a%", "a_"} {
		f.resource(store.KindRule, name)
		names = append(names, name)
		for j := range 4 {
			r := newResource(store.KindRule, 0, fmt.Sprint("else", i, j))
			switch j {
			case 0:
				r.Scope = scopeB
			case 1:
				r.Region = "us-east-1"
			case 2:
				r.Kind = store.KindQueue
			case 3:
				r.Parent = parent
			}
			f.ok(f.s.ChangeResources(f.ctx, []*store.Resource{r}, true))
		}
	}
	f.remove(f.resource(store.KindRule, "abd"))
	slices.Sort(names)
	list := func(p store.ListResources) ([]string, bool) {
		f.Helper()
		p.Kind = store.KindRule
		if !p.AllScopes {
			p.Scope, p.Region = scopeA, region
		}
		got, err := f.s.ListResources(f.ctx, p)
		f.ok(err)
		var found []string
		for _, r := range got.Items {
			found = append(found, r.Name)
		}
		return found, got.More
	}
	for _, prefix := range []string{"", "a", "ab", "ä", "B", "a%", "a_", "c"} {
		for _, after := range []string{"", "a", "ab", "zz"} {
			for _, limit := range []int{0, 1, 2, 20} {
				var want []string
				for _, n := range names {
					if strings.HasPrefix(n, prefix) && n > after {
						want = append(want, n)
					}
				}
				more := limit > 0 && len(want) > limit
				if more {
					want = want[:limit]
				}
				got, gotMore := list(store.ListResources{Prefix: prefix, After: after, Limit: limit})
				f.same(fmt.Sprintf("prefix %q after %q limit %d", prefix, after, limit), got, want)
				f.same("more", gotMore, more)
			}
		}
	}
	got, _ := list(store.ListResources{Parent: parent})
	f.same("of one parent", len(got), 9)
	got, _ = list(store.ListResources{Parent: -1})
	f.same("of any parent", len(got), 18)
	got, _ = list(store.ListResources{AllScopes: true, AllRegions: true, Parent: -1})
	f.same("everywhere", len(got), 36)
	f.same("in order", slices.IsSorted(got), true)
}

func (f *fixture) testChangedResources() {
	changed := func(since int64, want ...*store.Resource) {
		f.Helper()
		got, version, err := f.s.ChangedResources(f.ctx, since)
		f.ok(err)
		slices.SortFunc(got, func(a, b *store.Resource) int { return int(a.Number - b.Number) })
		f.same(fmt.Sprint("changed since ", since), got, want)
		f.same("version", version, f.version())
	}
	changed(0)
	a, b, c := f.resource(store.KindRuleTarget, "a"), f.resource(store.KindRuleTarget, "b"), f.resource(store.KindRuleTarget, "c")
	changed(0, a, b, c)
	changed(a.Version, b, c)
	f.accept(f.event(draft{routes: []event.Route{{Subscription: c.Number, Disposition: event.Parked}}}))
	f.remove(a)
	f.remove(c)
	changed(b.Version, a, c)
	changed(c.Version)
	changed(0, b, c) // c has something waiting

	// What was routed before a change of a resource is stale.
	f.config--
	stale := f.batch()
	stale.Submissions = []*store.Submission{{Events: []*event.Event{f.event(draft{})}}}
	f.is(f.s.Commit(f.ctx, stale), store.ErrStaleRoutes)
}

func (f *fixture) testAWSIDs() {
	seen := map[string]bool{}
	for i := range 20 {
		p := newAccount(fmt.Sprint("acct_", i))
		if i == 7 {
			p.Account.AWSID = "000000000042"
		}
		f.ok(f.s.CreateAccount(f.ctx, p))
		id := p.Account.AWSID
		if len(id) != 12 || strings.Trim(id, "0123456789") != "" || seen[id] || i == 7 && id != "000000000042" {
			f.Fatalf("account %d has the AWS id %q", i, id)
		}
		seen[id] = true
		got, err := f.s.AccountByAWSID(f.ctx, id)
		f.ok(err)
		f.same("account", got, p.Account)
	}
	p := newAccount("acct_taken")
	p.Account.AWSID = "000000000042"
	f.is(f.s.CreateAccount(f.ctx, p), store.ErrExists)
	for _, id := range []string{"", "00000000004"} {
		_, err := f.s.AccountByAWSID(f.ctx, id)
		f.is(err, store.ErrNotFound)
	}
}

func (f *fixture) testAWSKeys() {
	a, b := newAccount("acct_1"), newAccount("acct_2")
	f.ok(f.s.CreateAccount(f.ctx, a))
	f.ok(f.s.CreateAccount(f.ctx, b))
	var keys []store.AWSKey
	for i := range 3 {
		k := store.AWSKey{ID: fmt.Sprint("AKIA", 9-i), Account: a.Account.Number, Secret: []byte{byte(i), 0}, Created: start.Add(time.Duration(i) * time.Second)}
		f.ok(f.s.CreateAWSKey(f.ctx, &k))
		keys = append(keys, k)
	}
	f.is(f.s.CreateAWSKey(f.ctx, &store.AWSKey{ID: "AKIA9", Account: b.Account.Number, Secret: []byte("s"), Created: start}), store.ErrExists)
	f.is(f.s.CreateAWSKey(f.ctx, &store.AWSKey{ID: "AKIA1", Account: 1 << 40, Secret: []byte("s"), Created: start}), store.ErrNotFound)
	k, owner, err := f.s.AWSKeyOwner(f.ctx, "AKIA8")
	f.ok(err)
	f.same("key", k, keys[1])
	f.same("owner", owner, a.Account)
	f.is(f.s.DeleteAWSKey(f.ctx, b.Account.Number, "AKIA8"), store.ErrNotFound)
	f.ok(f.s.DeleteAWSKey(f.ctx, a.Account.Number, "AKIA8"))
	f.is(f.s.DeleteAWSKey(f.ctx, a.Account.Number, "AKIA8"), store.ErrNotFound)
	_, _, err = f.s.AWSKeyOwner(f.ctx, "AKIA8")
	f.is(err, store.ErrNotFound)
	left, err := f.s.AWSKeysOf(f.ctx, a.Account.Number)
	f.ok(err)
	f.same("keys", left, []store.AWSKey{keys[0], keys[2]})
	left, err = f.s.AWSKeysOf(f.ctx, b.Account.Number)
	f.ok(err)
	f.same("keys of another", left, []store.AWSKey(nil))
}

func (f *fixture) busEvent(bus int64, hops int, created time.Time) *event.Event {
	d := event.Draft{Type: "order.placed", Created: created, Envelope: &event.Envelope{
		Bus: bus, Source: "shop", Account: "123456789012", Region: region, Detail: []byte(`{"a":1}`), Hops: hops,
	}}
	e := d.Build(scopeA, f.now, "")
	f.assign(e)
	return e
}

func (f *fixture) testBusEvents() {
	e, plain := f.busEvent(17, 3, f.now), f.event(draft{})
	e.Routes = []event.Route{{Subscription: 1, Disposition: event.Parked}}
	f.accept(e, plain)
	f.same("log", f.log(), []*event.Event{e, plain})
	got, err := f.s.Event(f.ctx, scopeA, e.ID())
	f.ok(err)
	f.same("by id", got, e)
	_, err = f.s.Event(f.ctx, scopeB, e.ID())
	f.is(err, store.ErrNotFound)
	due, err := f.s.DueRetries(f.ctx, store.DueParams{Subscription: 1, Before: f.now, Limit: 1})
	f.ok(err)
	f.same("due", due[0].Event, e)
	page, err := f.s.ListEvents(f.ctx, store.ListEvents{Scope: scopeA, Kind: event.OnBus, Limit: 5})
	f.ok(err)
	f.same("listed", page.Items, []*event.Event{e})
	skimmed, err := f.s.EventsAfter(f.ctx, store.AfterParams{UpTo: f.seq, Limit: 5, Skim: true})
	f.ok(err)
	f.same("skimmed routes", skimmed[0].Routes, e.Routes)
}
