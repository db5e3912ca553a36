// Package account owns accounts and their API keys: who may call, as whom, and
// what.
//
// An account starts with one test key and one live key and can have more; the
// key decides the mode, and with the account the scope that a caller sees. Keys
// are shown once, when they are made. Stored is only their SHA-256: keys are
// random, not chosen by people, so there is nothing to guess that a slow hash
// would have to slow down, and every request pays for the hash.
//
// An account can be a connected account of a platform, a member of an
// organisation (which is an account with an id org_…), or a sandbox of another
// account: one with test mode only. Who stands above may act in those below.
//
// Authenticate answers from memory for a short while. Load, which is told of
// every change of an account or its keys, clears that memory; without it a
// change made by another process takes up to positiveTTL to be noticed. When the store cannot
// be read and memory does not answer, callers get fault.Unavailable: nobody is
// let in, and nobody is told that a good key is bad.
package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
)

// DefaultName is the name of the account that Bootstrap creates.
const DefaultName = "default"

// Store is the part of the store that accounts need.
type Store interface {
	store.AWSKeys
	store.Audit
	CreateAccount(ctx context.Context, p *store.CreateAccount) error
	UpdateAccount(ctx context.Context, a *store.Account) error
	Accounts(ctx context.Context) ([]store.Account, error)
	AccountByID(ctx context.Context, id string) (store.Account, error)
	ChangedAccounts(ctx context.Context, since int64) ([]store.Account, error)
	KeyOwner(ctx context.Context, hash [32]byte) (store.APIKey, store.Account, error)
	KeysOf(ctx context.Context, account int64) ([]store.APIKey, error)
	ChangeKeys(ctx context.Context, p *store.ChangeKeys) error
	TouchKey(ctx context.Context, hash [32]byte, at time.Time) error
}

// Options is what a Service is made of.
type Options struct {
	Store Store
	// Key seals the secrets of access keys. Without it the verbs for those
	// return an error.
	Key seal.Key
	// FirstAWSID is the 12-digit AWS account id that Bootstrap gives the first
	// account; "" lets the store draw one.
	FirstAWSID string
	// DefaultAPIVersion labels the snapshots of accounts that have no version
	// of their own.
	DefaultAPIVersion string
	Now               func() time.Time // nil is time.Now
}

// Service owns all accounts of an installation. It is safe for concurrent use.
type Service struct {
	store      Store
	key        seal.Key
	firstAWSID string
	apiVersion string
	now        func() time.Time
	changes    atomic.Int64 // how often memory was cleared
	known      positives[identity]
	unknown    negatives
	related    positives[store.Account]
	awsKnown   positives[awsOwner]
	awsUnknown negatives
}

// New returns a Service.
func New(o Options) *Service {
	s := &Service{store: o.Store, key: o.Key, firstAWSID: o.FirstAWSID, apiVersion: o.DefaultAPIVersion, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Created is a new account with its keys, which nothing shows again.
type Created struct {
	Account store.Account
	TestKey string
	LiveKey string // "" for a sandbox, which has no live mode
}

// Bootstrap creates the account DefaultName, with the keys given or generated
// for "", if there is no account yet. It returns nil if there is one; keys (and
// an AWS account id) that are given then must be known already, else it returns
// a fault: whoever configured them expects them to work.
func (s *Service) Bootstrap(ctx context.Context, testKey, liveKey string) (*Created, error) {
	accounts, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	if len(accounts) == 0 {
		created, err := s.create(ctx, NewAccount{Name: DefaultName, TestKey: testKey, LiveKey: liveKey}, true)
		if !errors.Is(err, store.ErrExists) {
			return created, err
		}
		// Another process was faster. Its account is as good.
	}
	if err := s.mustKnow(ctx, "test_key", testKey, false); err != nil {
		return nil, err
	}
	if err := s.mustKnow(ctx, "live_key", liveKey, true); err != nil {
		return nil, err
	}
	return nil, s.mustKnowAWSID(ctx)
}

// mustKnow returns a fault if the key is given and belongs to no account.
func (s *Service) mustKnow(ctx context.Context, param, key string, live bool) error {
	if key == "" {
		return nil
	}
	if err := checkKey(param, key, live); err != nil {
		return err
	}
	_, _, err := s.store.KeyOwner(ctx, hashKey(key))
	if errors.Is(err, store.ErrNotFound) {
		return fault.Invalidf(param, "The key given at start belongs to no account. Keys given at start are used once, to create the first account, and there is one already. "+
			"Start with the key that it was created with or with none, or create a further account with this key.")
	}
	if err != nil {
		return failed("look up API key", err)
	}
	return nil
}

// Find returns the account with this id, acct_… or the 12 digits that AWS's
// protocols know it by. "" is the only account there is. Its error is a fault
// if that is none, or not one.
func (s *Service) Find(ctx context.Context, id string) (store.Account, error) {
	accounts, err := s.List(ctx)
	if err != nil {
		return store.Account{}, err
	}
	if id == "" {
		switch len(accounts) {
		case 0:
			return store.Account{}, fault.NotFoundf("There is no account yet. The first start of `waybill serve` makes one.")
		case 1:
			return accounts[0], nil
		}
		ids := make([]string, len(accounts))
		for i := range accounts {
			ids[i] = accounts[i].ID + " (" + accounts[i].Name + ")"
		}
		return store.Account{}, fault.Invalidf("account", "There are several accounts. Say which: %s.", strings.Join(ids, ", "))
	}
	for i := range accounts {
		if accounts[i].ID == id || accounts[i].AWSID == id {
			return accounts[i], nil
		}
	}
	return store.Account{}, fault.NotFoundf("There is no account %s. Give an id such as acct_… or the 12 digits of its AWS account id.", id)
}

// List returns all accounts, oldest first.
func (s *Service) List(ctx context.Context) ([]store.Account, error) {
	accounts, err := s.store.Accounts(ctx)
	if err != nil {
		return nil, failed("list accounts", err)
	}
	return accounts, nil
}

// failed makes a store's error ours: a fault if the caller can do something
// about it, else wrapped for the log.
func failed(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return fault.Unavailablef(fmt.Errorf("%s: %w", doing, err),
			"Waybill cannot reach its database right now. Send the request again in a moment.")
	}
	return fmt.Errorf("%s: %w", doing, err)
}
