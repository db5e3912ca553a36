package account_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
)

func TestAct(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ctx := t.Context()
	add := func(n account.NewAccount) *account.Created {
		t.Helper()
		made, err := s.CreateAccount(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	org := add(account.NewAccount{Name: "org", IsOrganization: true})
	platform := add(account.NewAccount{Name: "platform", Organization: org.Account.ID})
	shop := add(account.NewAccount{Name: "shop", Platform: platform.Account.ID, APIVersion: "2025-01-27.acacia"})
	sandbox := add(account.NewAccount{Name: "sandbox", SandboxOf: platform.Account.ID, Organization: org.Account.ID})
	if sandbox.LiveKey != "" || !strings.HasPrefix(org.Account.ID, "org_") {
		t.Errorf("made %+v and %+v", sandbox, org)
	}
	o, p, c, b := org.Account.ID, platform.Account.ID, shop.Account.ID, sandbox.Account.ID
	for _, tc := range []struct {
		key, path, want string // "" is refused
	}{
		{platform.TestKey, p, p},
		{platform.TestKey, c, c},
		{platform.LiveKey, c, c},
		{platform.TestKey, p + "/" + c, c},
		{org.TestKey, p, p},
		{org.TestKey, o + "/" + p, p},
		{org.TestKey, o + "/" + p + "/" + c, c},
		{org.TestKey, b, b},
		{org.LiveKey, b, ""}, // a sandbox has no live mode
		{org.TestKey, c, ""}, // no member itself
		{platform.TestKey, o, ""},
		{platform.TestKey, b, ""}, // a sandbox has its own keys
		{shop.TestKey, p, ""},
		{shop.TestKey, "acct_none", ""},
		{shop.TestKey, c + "/", ""},
		{shop.TestKey, "/", ""},
	} {
		caller, err := s.Authenticate(ctx, tc.key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Act(ctx, caller, tc.path)
		if tc.want == "" {
			mustFault(t, err, fault.Forbidden, "")
			continue
		}
		if err != nil || got.AccountID != tc.want || got.Scope.Live() != caller.Scope.Live() || got.Key != caller.Key {
			t.Errorf("%s… in %s = %+v, %v", tc.key[:8], tc.path, got, err)
		}
		if want := map[string]string{c: "2025-01-27.acacia"}[tc.want]; want != "" && got.APIVersion != want {
			t.Errorf("version %s in %s", got.APIVersion, tc.path)
		}
	}

	// Who leaves is out of reach at once.
	if _, err := s.Update(ctx, c, account.Changes{Platform: new(string)}); err != nil {
		t.Fatal(err)
	}
	caller, err := s.Authenticate(ctx, platform.TestKey)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Act(ctx, caller, c)
	mustFault(t, err, fault.Forbidden, "")

	text := func(s string) *string { return &s }
	for _, tc := range []struct {
		id      string
		changes account.Changes
		param   string
	}{
		{c, account.Changes{Platform: text("acct_none")}, "platform"},
		{c, account.Changes{Platform: text(o)}, "platform"},
		{c, account.Changes{Platform: text(c)}, "platform"},
		{c, account.Changes{Organization: text(p)}, "organization"},
		{o, account.Changes{Platform: text(p)}, "platform"},
		{c, account.Changes{APIVersion: text(`x"`)}, "api_version"},
		{c, account.Changes{Name: text("")}, "name"},
	} {
		_, err := s.Update(ctx, tc.id, tc.changes)
		mustFault(t, err, fault.Invalid, tc.param)
	}
	for _, n := range []account.NewAccount{
		{Name: "x", SandboxOf: b}, {Name: "x", SandboxOf: o}, {Name: "x", SandboxOf: p, IsOrganization: true},
	} {
		_, err := s.CreateAccount(ctx, n)
		mustFault(t, err, fault.Invalid, "sandbox_of")
	}
	_, _, err = s.CreateKey(ctx, sandbox.Account, account.NewKey{Live: true})
	mustFault(t, err, fault.Invalid, "live")
}

// Another service on the same store learns of changes by Load.
func TestLoadForgetsKeys(t *testing.T) {
	t.Parallel()
	db := openStore(t)
	here, there := account.New(account.Options{Store: db}), account.New(account.Options{Store: db})
	a, err := here.Create(t.Context(), "a", testKey, liveKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Authenticate(t.Context(), testKey); err != nil {
		t.Fatal(err)
	}
	if _, err := here.RevokeKey(t.Context(), a.Account.Number, testKey); err != nil {
		t.Fatal(err)
	}
	if _, err := there.Authenticate(t.Context(), testKey); err != nil {
		t.Fatalf("without Load it is remembered: %v", err)
	}
	lineages, err := there.Load(t.Context(), 0)
	if err != nil || len(lineages) != 1 || lineages[0].ID != a.Account.ID {
		t.Fatalf("Load = %+v, %v", lineages, err)
	}
	_, err = there.Authenticate(t.Context(), testKey)
	mustFault(t, err, fault.Unauthorized, "")
}

func TestKeysAreRolled(t *testing.T) {
	t.Parallel()
	db := openStore(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := account.New(account.Options{Store: db, Now: func() time.Time { return now }})
	ctx := t.Context()
	a, err := s.Create(ctx, "a", testKey, liveKey)
	if err != nil {
		t.Fatal(err)
	}
	good := func(key string, want bool) {
		t.Helper()
		if _, err := s.Authenticate(ctx, key); (err == nil) != want {
			t.Errorf("%s: %v, want good: %t", key, err, want)
		}
	}
	old, made, err := s.CreateKey(ctx, a.Account, account.NewKey{Name: "n", Restricted: true, Allow: []string{"events:read", "deliveries:write"}})
	if err != nil || !strings.HasPrefix(old, "rk_test_") || made.Grants != "deliveries:write events:read" {
		t.Fatalf("CreateKey = %q, %+v, %v", old, made, err)
	}
	fresh, rolled, err := s.RollKey(ctx, a.Account.Number, made.ID, time.Hour)
	if err != nil || !strings.HasPrefix(fresh, "rk_test_") || rolled.Grants != made.Grants || rolled.Name != "n" {
		t.Fatalf("RollKey = %q, %+v, %v", fresh, rolled, err)
	}
	good(old, true)
	good(fresh, true)
	now = now.Add(time.Hour)
	good(old, false)
	good(fresh, true)
	_, _, err = s.RollKey(ctx, a.Account.Number, made.ID, 0)
	mustFault(t, err, fault.Invalid, "key")
	_, _, err = s.RollKey(ctx, a.Account.Number, rolled.ID, 8*24*time.Hour)
	mustFault(t, err, fault.Invalid, "overlap")
	if _, err := s.RevokeKey(ctx, a.Account.Number, rolled.ID); err != nil {
		t.Fatal(err)
	}
	good(fresh, false)
	_, err = s.RevokeKey(ctx, a.Account.Number, "key_none")
	mustFault(t, err, fault.NotFound, "")
	_, err = s.RevokeKey(ctx, a.Account.Number, "sk_test_none0000000000000000")
	if f := mustFault(t, err, fault.NotFound, ""); strings.Contains(f, "none0000") {
		t.Errorf("the error repeats the key: %s", f)
	}

	keys, err := s.ListKeys(ctx, a.Account.Number)
	if err != nil || len(keys) != 4 {
		t.Fatalf("%+v, %v", keys, err)
	}
	for _, k := range keys {
		if used := k.Grants != ""; used == k.LastUsed.IsZero() {
			t.Errorf("%s was last used %v", k.Hint, k.LastUsed)
		}
	}
	for _, n := range []account.NewKey{
		{Allow: []string{"events:read"}},
		{Restricted: true},
		{Restricted: true, Allow: []string{"events"}},
		{Restricted: true, Allow: []string{"events:all"}},
		{Restricted: true, Allow: []string{"nothing:read"}},
		{Restricted: true, Allow: []string{"events/:read"}},
		{Restricted: true, Allow: []string{"events/a b:read"}},
	} {
		_, _, err := s.CreateKey(ctx, a.Account, n)
		mustFault(t, err, fault.Invalid, "allow")
	}
	_, _, err = s.CreateKey(ctx, a.Account, account.NewKey{Expires: now})
	mustFault(t, err, fault.Invalid, "expires")
}

// A key ends when it expires, however lately it was looked up.
func TestRememberedKeysExpire(t *testing.T) {
	t.Parallel()
	db := openStore(t)
	synctest.Test(t, func(t *testing.T) {
		s := account.New(account.Options{Store: db})
		a, err := s.Create(t.Context(), "a", "", "")
		if err != nil {
			t.Fatal(err)
		}
		key, _, err := s.CreateKey(t.Context(), a.Account, account.NewKey{Expires: time.Now().Add(10 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		advance(10 * time.Second)
		_, err = s.Authenticate(t.Context(), key)
		mustFault(t, err, fault.Unauthorized, "")
	})
}

func TestGrants(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		grants         account.Grants
		resource       string
		read, write    bool
		allRead, below bool
	}{
		{"", "anything", true, true, true, false},
		{"events:read", "events", true, false, true, false},
		{"events:write", "events", true, true, true, false},
		{"events:read", "events/charge.dispute", true, false, true, false},
		{"events:read", "deliveries", false, false, false, false},
		{"events:none", "events", false, false, false, false},
		{"*:read", "deliveries", true, false, true, false},
		{"*:write deliveries:none", "deliveries", false, false, false, false},
		{"events/charge:read", "events", false, false, false, true},
		{"events/charge:read", "events/charge", true, false, true, false},
		{"events/charge:read", "events/charge.dispute", true, false, true, false},
		{"events/charge:read", "events/charges", false, false, false, false},
		{"events:read events/charge.dispute:none", "events", true, false, false, false},
		{"events:read events/charge.dispute:none", "events/charge", true, false, false, false},
		{"events:read events/charge.dispute:none", "events/charge.dispute", false, false, false, false},
		{"events:read events/charge:write", "events", true, false, true, true},
	} {
		g := tc.grants
		if r, w := g.Allows(tc.resource, account.Read), g.Allows(tc.resource, account.Write); r != tc.read || w != tc.write {
			t.Errorf("%q allows %s: read %t, write %t", g, tc.resource, r, w)
		}
		if all, below := g.AllowsAll(tc.resource, account.Read), g.AllowsBelow(tc.resource, account.Read); all != tc.allRead || below != tc.below {
			t.Errorf("%q allows all of %s: %t, something below: %t", g, tc.resource, all, below)
		}
	}
}

func FuzzParseGrants(f *testing.F) {
	f.Add("events:read", "*:none")
	f.Add("events/charge:write", "x")
	f.Fuzz(func(t *testing.T, a, b string) {
		g, err := account.ParseGrants([]string{a, b}, account.Resources)
		if err != nil {
			return
		}
		again, err := account.ParseGrants(strings.Split(string(g), " "), account.Resources)
		if err != nil || again != g {
			t.Errorf("%q, %q became %q, and that %q (%v)", a, b, g, again, err)
		}
	})
}
