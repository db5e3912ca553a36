package storetest

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func (f *fixture) testAccountFamilies() {
	before := f.version()
	org, platform := newAccount("org_1"), newAccount("acct_1")
	f.ok(f.s.CreateAccount(f.ctx, org))
	f.ok(f.s.CreateAccount(f.ctx, platform))
	if f.version() <= before {
		f.Errorf("the configuration version stays %d", before)
	}
	below := newAccount("acct_2")
	below.Account.Platform, below.Account.Organization, below.Account.SandboxOf = platform.Account.Number, org.Account.Number, platform.Account.Number
	f.ok(f.s.CreateAccount(f.ctx, below))
	got, err := f.s.AccountByID(f.ctx, "acct_2")
	f.ok(err)
	f.same("account", got, below.Account)
	_, err = f.s.AccountByID(f.ctx, "acct_none")
	f.is(err, store.ErrNotFound)

	seen := f.version()
	changed, err := f.s.ChangedAccounts(f.ctx, seen)
	f.ok(err)
	f.same("changed", len(changed), 0)
	got.Name, got.APIVersion, got.Platform, got.Organization = "other", "v2", 0, org.Account.Number
	f.ok(f.s.UpdateAccount(f.ctx, &got))
	changed, err = f.s.ChangedAccounts(f.ctx, seen)
	f.ok(err)
	f.same("changed", changed, []store.Account{got})
	all, err := f.s.ChangedAccounts(f.ctx, 0)
	f.ok(err)
	f.same("all", all, []store.Account{org.Account, platform.Account, got})
	f.is(f.s.UpdateAccount(f.ctx, &store.Account{Number: 1 << 40}), store.ErrNotFound)
}

func (f *fixture) testKeys() {
	a, b := newAccount("acct_1", "a"), newAccount("acct_2", "b")
	f.ok(f.s.CreateAccount(f.ctx, a))
	f.ok(f.s.CreateAccount(f.ctx, b))
	seen := f.version()
	later := start.Add(time.Hour)
	fresh := &store.APIKey{
		Hash: hash("new"), Live: true, Hint: "rk_live_…", Name: "n", Created: start.Add(time.Second), Grants: "events:read", Expires: later,
	}
	old := hash("a")
	f.ok(f.s.ChangeKeys(f.ctx, &store.ChangeKeys{Account: a.Account.Number, Add: fresh, End: &old, At: later}))
	keys, err := f.s.KeysOf(f.ctx, a.Account.Number)
	f.ok(err)
	a.Keys[0].Expires = later
	f.same("keys", keys, []store.APIKey{a.Keys[0], *fresh})
	key, owner, err := f.s.KeyOwner(f.ctx, fresh.Hash)
	f.ok(err)
	f.same("key", key, *fresh)
	f.same("owner", owner, a.Account)
	// Its account has changed, so that whoever remembers keys forgets them.
	changed, err := f.s.ChangedAccounts(f.ctx, seen)
	f.ok(err)
	f.same("changed", changed, []store.Account{a.Account})

	// All or nothing: the key of another account does not end, and nothing is
	// added beside.
	other := hash("b")
	f.is(f.s.ChangeKeys(f.ctx, &store.ChangeKeys{Account: a.Account.Number, Add: &store.APIKey{Hash: hash("more"), Created: start}, End: &other, At: later}), store.ErrNotFound)
	f.is(f.s.ChangeKeys(f.ctx, &store.ChangeKeys{Account: a.Account.Number, Add: &store.APIKey{Hash: other, Created: start}}), store.ErrExists)
	keys, err = f.s.KeysOf(f.ctx, a.Account.Number)
	f.ok(err)
	f.same("keys", len(keys), 2)

	for _, at := range []time.Time{later, start} { // the latest counts
		f.ok(f.s.TouchKey(f.ctx, other, at))
	}
	key, _, err = f.s.KeyOwner(f.ctx, other)
	f.ok(err)
	f.same("last used", key.LastUsed, later)
}

func (f *fixture) testAuditLog() {
	by := store.Actor{Key: "key_1", Hint: "sk_…", Verb: "event_destination.create", Fields: []string{"name", "url"}, IP: "::1", Request: "req_1", UserAgent: "a b"}
	ctx := store.WithActor(f.ctx, &by)
	d := newDestination(scopeA, "ed_1")
	f.ok(f.s.CreateDestination(ctx, d, nil))
	f.ok(f.s.CreateDestination(f.ctx, newDestination(scopeA, "ed_quiet"), nil)) // by Waybill itself
	f.ok(f.s.CreateDestination(ctx, newDestination(scopeB, "ed_live"), nil))
	// What fails is not recorded.
	f.is(f.s.CreateDestination(ctx, newDestination(scopeA, "ed_1"), nil), store.ErrExists)
	by.Verb = "event_destination.delete"
	d.Status, d.Updated = event.Deleted, start.Add(time.Minute)
	f.ok(f.s.UpdateDestination(ctx, d, nil))
	f.ok(f.s.Record(f.ctx, &store.AuditEntry{Scope: scopeA, At: start.Add(time.Hour), Object: "evt_1", Actor: store.Actor{Verb: "event.retry"}}))

	var got []string
	p := store.ListAudit{Scope: scopeA, Limit: 2}
	for more := true; more; {
		page, err := f.s.AuditLog(f.ctx, p)
		f.ok(err)
		for _, e := range page.Items {
			got = append(got, e.Verb+" "+e.Object)
			p.Older = e.Number
		}
		more = page.More
	}
	want := []string{"event.retry evt_1", "event_destination.delete ed_1", "event_destination.create ed_1"}
	f.same("log", got, want)
	page, err := f.s.AuditLog(f.ctx, store.ListAudit{Scope: scopeA, Object: "ed_1", Limit: 10})
	f.ok(err)
	f.same("entries", len(page.Items), 2)
	first := page.Items[1]
	by.Verb = "event_destination.create"
	f.same("entry", fmt.Sprint(first), fmt.Sprint(store.AuditEntry{Number: first.Number, Scope: scopeA, At: start, Actor: by, Object: "ed_1"}))

	for {
		more, err := f.s.Retain(f.ctx, store.Retain{Audit: start.Add(time.Minute), Limit: 1})
		f.ok(err)
		if !more {
			break
		}
	}
	page, err = f.s.AuditLog(f.ctx, store.ListAudit{Scope: scopeA, Limit: 10})
	f.ok(err)
	f.same("left", len(page.Items), 2)
}
