package bus

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
)

// Ground is what the fixtures inside and outside of this package stand on: a
// store with two accounts, and a clock that is only advanced by hand.
type Ground struct {
	T        *testing.T
	DB       *sqlite.DB
	Key      seal.Key
	One, Two account.AWSCaller // in the same region

	path string
	mu   sync.Mutex
	now  time.Time
}

// NewGround opens a store, which whoever stands on it closes.
func NewGround(t *testing.T, now time.Time) *Ground {
	t.Helper()
	key, err := seal.ParseKey(strings.Repeat("0a", 32))
	if err != nil {
		t.Fatal(err)
	}
	g := &Ground{T: t, Key: key, path: filepath.Join(t.TempDir(), "waybill.db"), now: now}
	g.Open()
	g.One, g.Two = g.account("one"), g.account("two")
	return g
}

// Open opens the store, again if it was closed.
func (g *Ground) Open() {
	g.T.Helper()
	db, err := sqlite.Open(g.T.Context(), sqlite.Options{Path: g.path})
	if err != nil {
		g.T.Fatal(err)
	}
	g.DB = db
}

// Close closes the store.
func (g *Ground) Close() {
	if err := g.DB.Close(); err != nil {
		g.T.Error(err)
	}
}

// Now is the time on the clock.
func (g *Ground) Now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

// Advance advances the clock.
func (g *Ground) Advance(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

func (g *Ground) account(name string) account.AWSCaller {
	g.T.Helper()
	ctx := g.T.Context()
	if err := g.DB.CreateAccount(ctx, &store.CreateAccount{Account: store.Account{ID: "acct_" + name, Name: name, Created: g.Now()}}); err != nil {
		g.T.Fatal(err)
	}
	accounts, err := g.DB.Accounts(ctx)
	if err != nil {
		g.T.Fatal(err)
	}
	i := slices.IndexFunc(accounts, func(a store.Account) bool { return a.Name == name })
	return account.NewAWSCaller(accounts[i], "eu-west-1", "AKIA")
}
