package account_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	testKey = "sk_test_aaaaBBBBcccc1234"
	liveKey = "sk_live_aaaaBBBBcccc5678"
)

func newService(t *testing.T) *account.Service {
	t.Helper()
	return account.New(account.Options{Store: openStore(t), DefaultAPIVersion: "2026-03-25.dahlia"})
}

func mustFault(t *testing.T, err error, kind fault.Kind, param string) (message string) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Kind != kind || f.Param != param {
		t.Fatalf("error = %v (%+v), want a fault of kind %d about %q", err, f, kind, param)
	}
	return f.Error()
}

func TestBootstrapGeneratesKeysOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	created, err := s.Bootstrap(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if created.Account.Name != account.DefaultName || !regexp.MustCompile(`^acct_[0-9A-Za-z]{16}$`).MatchString(created.Account.ID) {
		t.Errorf("account = %+v", created.Account)
	}
	for key, prefix := range map[string]string{created.TestKey: "sk_test_", created.LiveKey: "sk_live_"} {
		if !regexp.MustCompile("^" + prefix + "[0-9A-Za-z]{24,}$").MatchString(key) {
			t.Errorf("key %q does not fit %s", key, prefix)
		}
	}
	again, err := s.Bootstrap(t.Context(), "", "")
	if err != nil || again != nil {
		t.Errorf("second Bootstrap = %v, %v; want nil, nil", again, err)
	}
	if again, err := s.Bootstrap(t.Context(), created.TestKey, created.LiveKey); err != nil || again != nil {
		t.Errorf("Bootstrap with the known keys = %v, %v; want nil, nil", again, err)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != created.Account.ID {
		t.Errorf("List = %+v, %v", list, err)
	}
}

func TestBootstrapTakesGivenKeys(t *testing.T) {
	t.Parallel()
	s := newService(t)
	created, err := s.Bootstrap(t.Context(), testKey, liveKey)
	if err != nil {
		t.Fatal(err)
	}
	if created.TestKey != testKey || created.LiveKey != liveKey {
		t.Errorf("keys = %q, %q", created.TestKey, created.LiveKey)
	}
	for key, live := range map[string]bool{testKey: false, liveKey: true} {
		c, err := s.Authenticate(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		want := account.Caller{
			Scope:     event.NewScope(created.Account.Number, live),
			AccountID: created.Account.ID, APIVersion: "2026-03-25.dahlia", Key: c.Key, KeyHint: key[:8] + "…" + key[len(key)-4:],
		}
		if c != want {
			t.Errorf("Authenticate = %+v, want %+v", c, want)
		}
	}
}

func TestBootstrapRefusesUnknownKeys(t *testing.T) {
	t.Parallel()
	s := newService(t)
	if _, err := s.Bootstrap(t.Context(), testKey, liveKey); err != nil {
		t.Fatal(err)
	}
	unknown := "sk_test_zzzzzzzzzzzzzzzz"
	_, err := s.Bootstrap(t.Context(), unknown, "")
	f := mustFault(t, err, fault.Invalid, "test_key")
	if strings.Contains(f, unknown) {
		t.Errorf("the error repeats the key: %v", f)
	}
	_, err = s.Bootstrap(t.Context(), testKey, "sk_live_zzzzzzzzzzzzzzzz")
	mustFault(t, err, fault.Invalid, "live_key")
	_, err = s.Bootstrap(t.Context(), liveKey, "")
	mustFault(t, err, fault.Invalid, "test_key")
}

func TestBootstrapByManyProcessesMakesOneAccount(t *testing.T) {
	t.Parallel()
	db := openStore(t)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		made int
	)
	for range 8 {
		wg.Go(func() {
			created, err := account.New(account.Options{Store: db}).Bootstrap(t.Context(), testKey, liveKey)
			if err != nil {
				t.Error(err)
			}
			if created != nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	list, err := db.Accounts(t.Context())
	if err != nil || made != 1 || len(list) != 1 {
		t.Errorf("%d processes created an account, there are %d (%v); want 1 and 1", made, len(list), err)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	s := newService(t)
	if _, err := s.Create(t.Context(), "first", testKey, liveKey); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what, name, test, live string
		kind                   fault.Kind
		param                  string
	}{
		{"no name", "", "", "", fault.Invalid, "name"},
		{"blank name", " \t", "", "", fault.Invalid, "name"},
		{"broken name", "a\xff", "", "", fault.Invalid, "name"},
		{"long name", strings.Repeat("ä", 257), "", "", fault.Invalid, "name"},
		{"short key", "x", "sk_test_aaaaBBBBcccc123", "", fault.Invalid, "test_key"},
		{"long key", "x", "sk_test_" + strings.Repeat("a", 248), "", fault.Invalid, "test_key"},
		{"foreign characters", "x", "", "sk_live_aaaaBBBBcccc123-", fault.Invalid, "live_key"},
		{"line end", "x", "", liveKey + "\n", fault.Invalid, "live_key"},
		{"restricted key", "x", "rk_test_aaaaBBBBcccc1234", "", fault.Invalid, "test_key"},
		{"live key for test", "x", liveKey, "", fault.Invalid, "test_key"},
		{"test key for live", "x", "", testKey, fault.Invalid, "live_key"},
		{"key in use", "x", testKey, "", fault.Conflict, ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			created, err := s.Create(t.Context(), tc.name, tc.test, tc.live)
			f := mustFault(t, err, tc.kind, tc.param)
			if created != nil {
				t.Errorf("Create = %+v beside the error", created)
			}
			for _, key := range []string{tc.test, tc.live} {
				if key != "" && strings.Contains(f, key) {
					t.Errorf("the error repeats the key: %v", f)
				}
			}
		})
	}
}

func TestKeysAreStoredAsHashAndHint(t *testing.T) {
	t.Parallel()
	spy := &countingStore{}
	s := account.New(account.Options{Store: spy})
	if _, err := s.Create(t.Context(), "x", testKey, ""); err != nil {
		t.Fatal(err)
	}
	for _, key := range spy.created.Keys {
		if strings.Contains(key.Hint, "aaaa") || len(key.Hint) != len("sk_test_…1234") {
			t.Errorf("hint %q shows too much or too little", key.Hint)
		}
	}
	if got := spy.created.Keys[0].Hint; got != "sk_test_…1234" {
		t.Errorf("hint = %q", got)
	}
}

func TestStoreFailures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cause error
		fault bool
	}{
		{store.ErrUnavailable, true},
		{errors.New("surprise"), false},
		{context.Canceled, false},
	} {
		s := account.New(account.Options{Store: &countingStore{err: tc.cause}})
		_, authErr := s.Authenticate(t.Context(), testKey)
		_, bootErr := s.Bootstrap(t.Context(), "", "")
		_, createErr := s.Create(t.Context(), "x", "", "")
		for what, err := range map[string]error{"Authenticate": authErr, "Bootstrap": bootErr, "Create": createErr} {
			f := fault.As(err)
			if !errors.Is(err, tc.cause) || (f != nil) != tc.fault || (f != nil && f.Kind != fault.Unavailable) {
				t.Errorf("%s with %v = %v (fault %+v)", what, tc.cause, err, f)
			}
		}
	}
}
