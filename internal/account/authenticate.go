package account

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// positiveTTL is how long a good key is believed without asking the store.
	positiveTTL = 30 * time.Second
	// negativeTTL is how long an unknown key is refused without asking: long
	// enough that a client in a loop costs no queries, short enough that a key
	// just created by another process works soon.
	negativeTTL = 5 * time.Second
	// maxPositives and maxNegatives bound memory. There are a few good keys an
	// account; bad ones are as many as anyone cares to send.
	maxPositives = 4096
	maxNegatives = 1024
)

// touchEvery is how exactly it is known when a key was last used.
const touchEvery = time.Hour

// identity is what a good key stands for.
type identity struct {
	caller  Caller
	expires int64 // Unix milliseconds, 0 for never
}

// Authenticate returns the caller that a key stands for, or a fault:
// Unauthorized, or Unavailable if that could not be found out. What the
// request adds (Generation, IdempotencyKey, RequestHash) is for the surface to
// fill in.
//
// Keys are compared by their SHA-256 only. How long that takes depends on the
// hash, which a guesser can neither choose nor see, so the time tells nothing
// about any key.
func (s *Service) Authenticate(ctx context.Context, key string) (Caller, error) {
	switch {
	case key == "":
		return Caller{}, unauthorized("The API key is missing. Send it as a header: Authorization: Bearer sk_test_…")
	case !wellFormed(key):
		return Caller{}, unauthorized("The API key is malformed. Send a secret key, which starts with sk_test_ or sk_live_, or a restricted one, with rk_test_ or rk_live_.")
	}
	hash, now := hashKey(key), s.now()
	known, ok := s.known.get(hash, now)
	if !ok {
		var err error
		if known, err = s.lookUp(ctx, hash, now); err != nil {
			return Caller{}, err
		}
	}
	if known.expires != 0 && now.UnixMilli() >= known.expires {
		return Caller{}, fault.New(fault.Unauthorized, "api_key_expired", "The API key %s has expired or was revoked. Use another key of the account.", known.caller.KeyHint)
	}
	return known.caller, nil
}

// lookUp asks the store for a key.
func (s *Service) lookUp(ctx context.Context, hash [32]byte, now time.Time) (identity, error) {
	if s.unknown.has(hash, now) {
		return identity{}, unknownKey()
	}
	before := s.changes.Load()
	stored, acct, err := s.store.KeyOwner(ctx, hash)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.known.drop(hash)
		s.unknown.add(hash, now)
		return identity{}, unknownKey()
	case err != nil:
		return identity{}, failed("look up API key", err)
	}
	if now.Sub(stored.LastUsed) >= touchEvery {
		_ = s.store.TouchKey(ctx, hash, now) // that a note is missing must refuse nobody
	}
	found := identity{caller: Caller{
		Scope: event.NewScope(acct.Number, stored.Live), AccountID: acct.ID, APIVersion: s.version(&acct),
		Key: keyID(hash), KeyHint: stored.Hint, Grants: Grants(stored.Grants),
	}}
	if !stored.Expires.IsZero() {
		found.expires = stored.Expires.UnixMilli()
	}
	if s.changes.Load() == before {
		s.known.put(hash, found, now)
	}
	return found, nil
}

func unauthorized(message string) error {
	return fault.New(fault.Unauthorized, "unauthorized", "%s", message)
}

func unknownKey() error {
	return unauthorized("The API key is not known. Check that it is complete and that it belongs to this installation.")
}

// positives remembers by their hash what good keys stand for. Readers take no
// lock: the map is copied to add a key, which happens once per key, and
// renewing one only moves its time.
type positives[T comparable] struct {
	mu  sync.Mutex // held by writers
	set atomic.Pointer[map[[32]byte]*positive[T]]
}

type positive[T comparable] struct {
	owner T
	until atomic.Int64 // Unix nanoseconds
}

func (p *positives[T]) load() map[[32]byte]*positive[T] {
	if set := p.set.Load(); set != nil {
		return *set
	}
	return nil
}

func (p *positives[T]) get(hash [32]byte, now time.Time) (T, bool) {
	one := p.load()[hash]
	if one == nil {
		var none T
		return none, false
	}
	// Bounded above too: a clock set back must not make a key good for longer.
	left := time.Duration(one.until.Load() - now.UnixNano())
	return one.owner, left > 0 && left <= positiveTTL
}

func (p *positives[T]) put(hash [32]byte, owner T, now time.Time) {
	until := now.Add(positiveTTL).UnixNano()
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.load()
	if one := old[hash]; one != nil && one.owner == owner {
		one.until.Store(until)
		return
	}
	set := maps.Clone(old)
	if set == nil || len(set) >= maxPositives {
		set = make(map[[32]byte]*positive[T]) // those in use are back with their next request
	}
	one := &positive[T]{owner: owner}
	one.until.Store(until)
	set[hash] = one
	p.set.Store(&set)
}

func (p *positives[T]) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set.Store(nil)
}

func (p *positives[T]) drop(hash [32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.load()[hash] == nil {
		return
	}
	set := maps.Clone(p.load())
	delete(set, hash)
	p.set.Store(&set)
}

// negatives remembers unknown keys by their hash. Its lock is met only by
// requests whose key is not remembered as good.
type negatives struct {
	mu  sync.Mutex
	set map[[32]byte]time.Time // until when
}

func (n *negatives) has(hash [32]byte, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return now.Before(n.set[hash])
}

func (n *negatives) add(hash [32]byte, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.set == nil {
		n.set = make(map[[32]byte]time.Time)
	}
	if len(n.set) >= maxNegatives {
		clear(n.set) // a flood of keys gains nothing from being remembered
	}
	n.set[hash] = now.Add(negativeTTL)
}

func (n *negatives) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.set)
}
