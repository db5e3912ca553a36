package account_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// countingStore knows the keys it is given and counts who asks.
type countingStore struct {
	account.Store
	mu      sync.Mutex
	keys    map[[32]byte]store.Account
	asked   int
	err     error
	created *store.CreateAccount
	aws     []store.AWSKey
	owners  map[int64]store.Account
}

func (s *countingStore) CreateAccount(_ context.Context, p *store.CreateAccount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	p.Account.Number = 7
	if p.Account.AWSID == "" {
		p.Account.AWSID = "000000000007"
	}
	if s.owners == nil {
		s.owners = make(map[int64]store.Account)
	}
	s.owners[7] = p.Account
	if s.keys == nil {
		s.keys = make(map[[32]byte]store.Account)
	}
	for _, key := range p.Keys {
		s.keys[key.Hash] = p.Account
	}
	s.created = p
	return nil
}

func (s *countingStore) TouchKey(context.Context, [32]byte, time.Time) error { return nil }

func (s *countingStore) Accounts(context.Context) ([]store.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.owners), func(a, b store.Account) int { return int(a.Number - b.Number) }), s.err
}

func (s *countingStore) CreateAWSKey(_ context.Context, k *store.AWSKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.aws {
		if known.ID == k.ID {
			return fmt.Errorf("insert key: %w", store.ErrExists)
		}
	}
	s.aws = append(s.aws, *k)
	return s.err
}

func (s *countingStore) AWSKeyOwner(_ context.Context, id string) (store.AWSKey, store.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return store.AWSKey{}, store.Account{}, s.err
	}
	for _, known := range s.aws {
		if known.ID == id {
			return known, s.owners[known.Account], nil
		}
	}
	return store.AWSKey{}, store.Account{}, fmt.Errorf("find key: %w", store.ErrNotFound)
}

func (s *countingStore) AWSKeysOf(_ context.Context, number int64) (list []store.AWSKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.aws {
		if known.Account == number {
			list = append(list, known)
		}
	}
	return list, s.err
}

func (s *countingStore) DeleteAWSKey(_ context.Context, number int64, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.aws)
	s.aws = slices.DeleteFunc(s.aws, func(k store.AWSKey) bool { return k.ID == id && k.Account == number })
	if len(s.aws) == n {
		return fmt.Errorf("delete key: %w", store.ErrNotFound)
	}
	return s.err
}

func (s *countingStore) AccountByAWSID(_ context.Context, id string) (store.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, owner := range s.owners {
		if owner.AWSID == id {
			return owner, nil
		}
	}
	return store.Account{}, fmt.Errorf("find account: %w", store.ErrNotFound)
}

func (s *countingStore) KeyOwner(_ context.Context, hash [32]byte) (store.APIKey, store.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return store.APIKey{}, store.Account{}, s.err
	}
	acct, ok := s.keys[hash]
	if !ok {
		return store.APIKey{}, store.Account{}, fmt.Errorf("find key: %w", store.ErrNotFound)
	}
	return store.APIKey{Hash: hash, Account: acct.Number}, acct, nil
}

func (s *countingStore) set(key string, acct store.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = make(map[[32]byte]store.Account)
	}
	s.keys[sha256.Sum256([]byte(key))] = acct
}

func (s *countingStore) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, sha256.Sum256([]byte(key)))
}

func (s *countingStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *countingStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// advance moves a synctest bubble's clock.
func advance(d time.Duration) { <-time.After(d) }

func TestGoodKeysAreRememberedAndCheckedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &countingStore{}
		db.set(testKey, store.Account{Number: 3, ID: "acct_3"})
		s := account.New(account.Options{Store: db, DefaultAPIVersion: "v1"})
		auth := func() (account.Caller, error) { return s.Authenticate(t.Context(), testKey) }

		for range 10 {
			c, err := auth()
			if err != nil || c.AccountID != "acct_3" || c.Scope != event.NewScope(3, false) || c.APIVersion != "v1" {
				t.Fatalf("Authenticate = %+v, %v", c, err)
			}
		}
		if db.count() != 1 {
			t.Errorf("the store was asked %d times, want 1", db.count())
		}

		// What changes in the store holds after 30 seconds, not before.
		db.set(testKey, store.Account{Number: 3, ID: "acct_3", APIVersion: "v2"})
		advance(30*time.Second - time.Nanosecond)
		if c, _ := auth(); c.APIVersion != "v1" || db.count() != 1 {
			t.Errorf("before 30 s: version %q, asked %d times", c.APIVersion, db.count())
		}
		advance(time.Nanosecond)
		if c, _ := auth(); c.APIVersion != "v2" || db.count() != 2 {
			t.Errorf("after 30 s: version %q, asked %d times", c.APIVersion, db.count())
		}

		// The second check renews it.
		advance(29 * time.Second)
		if _, _ = auth(); db.count() != 2 {
			t.Errorf("asked %d times within the renewed 30 s", db.count())
		}

		// Without the store a remembered key works until it is due.
		db.fail(store.ErrUnavailable)
		if _, err := auth(); err != nil {
			t.Errorf("remembered key while the store is down: %v", err)
		}
		advance(time.Second)
		_, err := auth()
		mustFault(t, err, fault.Unavailable, "")

		db.fail(nil)
		db.forget(testKey)
		_, err = auth()
		mustFault(t, err, fault.Unauthorized, "")
	})
}

func TestUnknownKeysAreRememberedBriefly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &countingStore{}
		s := account.New(account.Options{Store: db})
		refused := func() {
			t.Helper()
			_, err := s.Authenticate(t.Context(), testKey)
			mustFault(t, err, fault.Unauthorized, "")
		}
		refused()
		refused()
		if db.count() != 1 {
			t.Errorf("the store was asked %d times, want 1", db.count())
		}
		db.set(testKey, store.Account{Number: 1, ID: "acct_1"}) // by another process
		advance(5*time.Second - time.Nanosecond)
		refused()
		advance(time.Nanosecond)
		if _, err := s.Authenticate(t.Context(), testKey); err != nil {
			t.Errorf("after 5 s: %v", err)
		}
	})
}

func TestAKeyWorksAsSoonAsItIsCreated(t *testing.T) {
	t.Parallel()
	s := account.New(account.Options{Store: &countingStore{}})
	if _, err := s.Authenticate(t.Context(), testKey); err == nil {
		t.Fatal("the key is good before it was created")
	}
	if _, err := s.Create(t.Context(), "x", testKey, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(t.Context(), testKey); err != nil {
		t.Errorf("right after Create: %v", err)
	}
}

func TestMalformedKeysCostNoQuery(t *testing.T) {
	t.Parallel()
	db := &countingStore{}
	s := account.New(account.Options{Store: db})
	for _, key := range []string{
		"", "sk_test_", "sk_test_short", "pk_test_aaaaBBBBcccc1234", "sk_prod_aaaaBBBBcccc1234",
		testKey + " ", "SK_TEST_aaaaBBBBcccc1234", "sk_test_aaaaBBBBcccc12é4", "sk_test_" + strings.Repeat("a", 1<<20),
	} {
		_, err := s.Authenticate(t.Context(), key)
		f := mustFault(t, err, fault.Unauthorized, "")
		if len(key) > len("sk_test_") && strings.Contains(f, key) {
			t.Errorf("the error repeats the key: %v", f)
		}
	}
	if db.count() != 0 {
		t.Errorf("the store was asked %d times, want 0", db.count())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	db := &countingStore{}
	s := account.New(account.Options{Store: db})
	good := func(i int) string { return fmt.Sprintf("sk_test_good%012d", i) }
	const n = 4200 // more than either memory holds
	for i := range n {
		db.set(good(i), store.Account{Number: int64(i + 1)})
		if c, err := s.Authenticate(t.Context(), good(i)); err != nil || c.Scope.Account() != int64(i+1) {
			t.Fatalf("key %d = %+v, %v", i, c, err)
		}
		_, err := s.Authenticate(t.Context(), fmt.Sprintf("sk_test_bad0%012d", i))
		mustFault(t, err, fault.Unauthorized, "")
	}
	known, unknown := s.Remembered()
	if known > 4096 || unknown > 1024 || known == 0 || unknown == 0 {
		t.Errorf("%d good and %d unknown keys are remembered", known, unknown)
	}
}

func TestConcurrentAuthentication(t *testing.T) {
	t.Parallel()
	db := &countingStore{}
	s := account.New(account.Options{Store: db})
	key := func(i int) string { return fmt.Sprintf("sk_test_%016d", i) }
	for i := range 8 {
		db.set(key(i), store.Account{Number: int64(i + 1)})
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 400 {
				n := i % 16 // half of them unknown
				c, err := s.Authenticate(t.Context(), key(n))
				if good := n < 8; (err == nil) != good || good && c.Scope.Account() != int64(n+1) {
					t.Errorf("key %d = %+v, %v", n, c, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestAClockSetBackAsksTheStore(t *testing.T) {
	t.Parallel()
	db := &countingStore{}
	db.set(testKey, store.Account{Number: 1})
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := account.New(account.Options{Store: db, Now: func() time.Time { return now }})
	if _, err := s.Authenticate(t.Context(), testKey); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	if _, err := s.Authenticate(t.Context(), testKey); err != nil || db.count() != 2 {
		t.Errorf("asked %d times (%v), want 2", db.count(), err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	db := &countingStore{}
	db.set(testKey, store.Account{Number: 1})
	s := account.New(account.Options{Store: db})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Authenticate(b.Context(), testKey); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzAuthenticate(f *testing.F) {
	for _, key := range []string{"", testKey, liveKey, "sk_test_", "sk_live_aaaaBBBBcccc123\x00"} {
		f.Add(key)
	}
	db := &countingStore{}
	s := account.New(account.Options{Store: db})
	f.Fuzz(func(t *testing.T, key string) {
		if _, err := s.Authenticate(t.Context(), key); fault.As(err) == nil {
			t.Errorf("Authenticate(%q) = %v, want a fault", key, err)
		}
	})
}

func TestAForgottenKeyStaysForgotten(t *testing.T) {
	t.Parallel()
	db := &countingStore{}
	db.set(testKey, store.Account{Number: 1})
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := start
	s := account.New(account.Options{Store: db, Now: func() time.Time { return now }})
	if _, err := s.Authenticate(t.Context(), testKey); err != nil {
		t.Fatal(err)
	}
	db.forget(testKey)
	now = start.Add(time.Minute)
	_, err := s.Authenticate(t.Context(), testKey)
	mustFault(t, err, fault.Unauthorized, "")
	now = start.Add(time.Second) // the clock is set back to when it was good
	_, err = s.Authenticate(t.Context(), testKey)
	mustFault(t, err, fault.Unauthorized, "")
}
