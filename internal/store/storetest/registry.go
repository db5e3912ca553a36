package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func (f *fixture) testBindKey() {
	for i, give := range []string{"one", "two", "one"} {
		got, err := f.s.BindKey(f.ctx, give)
		f.ok(err)
		f.same(fmt.Sprint("call ", i), got, "one")
	}
}

func newAccount(id string, keys ...string) *store.CreateAccount {
	p := &store.CreateAccount{Account: store.Account{ID: id, Name: "n " + id, APIVersion: "v", Created: start}}
	for i, k := range keys {
		p.Keys = append(p.Keys, store.APIKey{Hash: hash(k), Live: i%2 == 1, Hint: "sk_" + k, Created: start})
	}
	return p
}

func (f *fixture) testAccounts() {
	a, b := newAccount("acct_1", "a", "b"), newAccount("acct_2")
	f.ok(f.s.CreateAccount(f.ctx, a))
	f.ok(f.s.CreateAccount(f.ctx, b))
	if a.Account.Number <= 0 || a.Account.Number >= b.Account.Number {
		f.Fatalf("numbers %d, %d", a.Account.Number, b.Account.Number)
	}
	// A repeated id, and a repeated key, which takes its account along.
	f.is(f.s.CreateAccount(f.ctx, newAccount("acct_1", "c")), store.ErrExists)
	f.is(f.s.CreateAccount(f.ctx, newAccount("acct_3", "d", "a")), store.ErrExists)
	all, err := f.s.Accounts(f.ctx)
	f.ok(err)
	f.same("accounts", all, []store.Account{a.Account, b.Account})
	for _, want := range a.Keys {
		key, owner, err := f.s.KeyOwner(f.ctx, want.Hash)
		f.ok(err)
		f.same("key", key, want)
		f.same("owner", owner, a.Account)
		f.same("key's account", key.Account, a.Account.Number)
	}
	for _, k := range []string{"c", "d", ""} {
		_, _, err := f.s.KeyOwner(f.ctx, hash(k))
		f.is(err, store.ErrNotFound)
	}
}

func (f *fixture) testOnlyFirst() {
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := newAccount(fmt.Sprint("acct_", i), fmt.Sprint(i))
			p.OnlyFirst = true
			err := f.s.CreateAccount(f.ctx, p)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrExists):
				f.Errorf("create account: %v", err)
			}
		})
	}
	wg.Wait()
	f.same("accounts made", won.Load(), int32(1))
}

func newDestination(scope event.Scope, id string) *store.Destination {
	return &store.Destination{
		Scope: scope, ID: id, Status: event.Enabled, Created: start, Updated: start,
		Config: []byte(`{"url":"https://example.com"}`), Secrets: []byte("sealed " + id),
	}
}

func (f *fixture) version() int64 {
	f.Helper()
	_, v, err := f.s.ChangedDestinations(f.ctx, 1<<62)
	f.ok(err)
	return v
}

func (f *fixture) testDestinations() {
	var all []*store.Destination
	for i := range 7 {
		before := f.version()
		d := newDestination(scopeA, fmt.Sprint("ed_", i))
		if i == 3 {
			d.Secrets = nil
		}
		f.ok(f.s.CreateDestination(f.ctx, d, nil))
		if d.Number <= 0 || d.Revision == 0 || d.Version <= before || d.Version != f.version() {
			f.Fatalf("stored as %+v, version %d before and %d after", d, before, f.version())
		}
		got, err := f.s.Destination(f.ctx, scopeA, d.ID)
		f.ok(err)
		f.same("destination", got, d)
		all = append([]*store.Destination{d}, all...)
		f.ok(f.s.CreateDestination(f.ctx, newDestination(scopeB, fmt.Sprint("ed_live_", i)), nil))
	}
	f.is(f.s.CreateDestination(f.ctx, newDestination(scopeA, "ed_1"), nil), store.ErrExists)

	gone := all[2]
	gone.Status, gone.Secrets = event.Deleted, nil
	f.ok(f.s.UpdateDestination(f.ctx, gone, nil))
	_, err := f.s.Destination(f.ctx, scopeA, gone.ID)
	f.is(err, store.ErrNotFound)
	f.is(f.s.UpdateDestination(f.ctx, gone, nil), store.ErrNotFound)
	numbers, err := f.s.DestinationsByNumber(f.ctx, scopeA, []int64{gone.Number, all[0].Number, 1 << 40})
	f.ok(err)
	f.same("by number", numbers, map[int64]*store.Destination{gone.Number: gone, all[0].Number: all[0]})

	left := append(append([]*store.Destination(nil), all[:2]...), all[3:]...)
	list := func(p store.ListDestinations, want []*store.Destination, more bool) {
		f.Helper()
		p.Scope = scopeA
		got, err := f.s.ListDestinations(f.ctx, p)
		f.ok(err)
		f.same("list", got, store.Page[*store.Destination]{Items: want, More: more})
	}
	list(store.ListDestinations{Limit: 6}, left, false)
	list(store.ListDestinations{Limit: 2}, left[:2], true)
	list(store.ListDestinations{Limit: 3, Older: left[1].Number}, left[2:5], true)
	list(store.ListDestinations{Limit: 4, Older: left[1].Number}, left[2:], false)
	list(store.ListDestinations{Limit: 2, Newer: left[4].Number}, left[2:4], true)
	list(store.ListDestinations{Limit: 9, Newer: left[4].Number}, left[:4], false)
	list(store.ListDestinations{Limit: 9, Newer: left[0].Number}, nil, false)
}

func (f *fixture) testDestinationConflict() {
	d := newDestination(scopeA, "ed_1")
	f.ok(f.s.CreateDestination(f.ctx, d, nil))
	mine, theirs := *d, *d
	mine.Config, mine.Updated, mine.Status = []byte(`{}`), start.Add(time.Hour), event.Disabled
	f.ok(f.s.UpdateDestination(f.ctx, &mine, nil))
	if mine.Revision <= d.Revision || mine.Version <= d.Version || mine.Version != f.version() {
		f.Fatalf("updated to %+v from %+v", mine, d)
	}
	before := f.version()
	stale := theirs
	f.is(f.s.UpdateDestination(f.ctx, &stale, idempotency("k", "r")), store.ErrConflict)
	f.same("destination given", stale, theirs)
	f.same("version", f.version(), before)
	_, err := f.s.Idempotent(f.ctx, scopeA, 1, "k", f.now)
	f.is(err, store.ErrNotFound)
	got, err := f.s.Destination(f.ctx, scopeA, "ed_1")
	f.ok(err)
	f.same("destination", got, &mine)

	var won atomic.Int32
	var wg sync.WaitGroup
	for range 6 {
		mine := mine
		wg.Go(func() {
			switch err := f.s.UpdateDestination(f.ctx, &mine, nil); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrConflict):
				f.Errorf("update destination: %v", err)
			}
		})
	}
	wg.Wait()
	f.same("updates that won", won.Load(), int32(1))
}

func (f *fixture) testDestinationIdempotency() {
	d := newDestination(scopeA, "ed_1")
	f.ok(f.s.CreateDestination(f.ctx, d, idempotency("create", "ed_1")))
	before := f.version()
	f.is(f.s.CreateDestination(f.ctx, newDestination(scopeA, "ed_2"), idempotency("create", "ed_2")), store.ErrExists)
	_, err := f.s.Destination(f.ctx, scopeA, "ed_2")
	f.is(err, store.ErrNotFound)
	known, err := f.s.Idempotent(f.ctx, scopeA, 1, "create", f.now)
	f.ok(err)
	f.same("record", known, idempotency("create", "ed_1"))

	again := *d
	d.Status = event.Deleted
	f.ok(f.s.UpdateDestination(f.ctx, d, idempotency("delete", "ed_1")))
	// The repeat is known as one although the destination has gone since.
	f.is(f.s.UpdateDestination(f.ctx, &again, idempotency("delete", "ed_1")), store.ErrExists)
	f.same("version", f.version(), before+1)

	late := idempotency("create", "ed_3")
	late.Created = start.Add(store.IdempotencyWindow + time.Millisecond)
	f.ok(f.s.CreateDestination(f.ctx, newDestination(scopeA, "ed_3"), late))
}

func (f *fixture) testChangedDestinations() {
	changed := func(since int64, want ...*store.Destination) {
		f.Helper()
		got, version, err := f.s.ChangedDestinations(f.ctx, since)
		f.ok(err)
		byNumber := map[int64]*store.Destination{}
		for _, d := range got {
			byNumber[d.Number] = d
		}
		wanted := map[int64]*store.Destination{}
		for _, d := range want {
			wanted[d.Number] = d
		}
		f.same(fmt.Sprint("changed since ", since), byNumber, wanted)
		f.same("version", version, f.version())
	}
	changed(0)
	a, b, c := newDestination(scopeA, "ed_1"), newDestination(scopeB, "ed_2"), newDestination(scopeA, "ed_3")
	for _, d := range []*store.Destination{a, b, c} {
		f.ok(f.s.CreateDestination(f.ctx, d, nil))
	}
	changed(0, a, b, c)
	changed(a.Version, b, c)
	f.reload()
	f.accept(f.event(draft{routes: []event.Route{{Subscription: c.Number, Disposition: event.Parked}}}))
	for _, d := range []*store.Destination{a, c} {
		d.Status = event.Deleted
		f.ok(f.s.UpdateDestination(f.ctx, d, nil))
	}
	changed(b.Version, a, c)
	changed(c.Version)
	changed(0, b, c) // c has something waiting
}
