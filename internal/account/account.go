// Package account owns accounts and their API keys: who may call, and as whom.
//
// An account has one test key and one live key; the key decides the mode, and
// with the account the scope that a caller sees. Keys are shown once, when the
// account is created. Stored is only their SHA-256: keys are random, not
// chosen by people, so there is nothing to guess that a slow hash would have
// to slow down, and every request pays for the hash.
//
// Authenticate answers from memory for a short while, so a change
// made by another process takes up to positiveTTL to be noticed. When the store cannot
// be read and memory does not answer, callers get fault.Unavailable: nobody is
// let in, and nobody is told that a good key is bad.
package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
)

// DefaultName is the name of the account that Bootstrap creates.
const DefaultName = "default"

// maxName is the longest account name, in characters.
const maxName = 256

// Store is the part of the store that accounts need.
type Store interface {
	store.AWSKeys
	CreateAccount(ctx context.Context, p *store.CreateAccount) error
	Accounts(ctx context.Context) ([]store.Account, error)
	KeyOwner(ctx context.Context, hash [32]byte) (store.APIKey, store.Account, error)
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
	known      positives[Caller]
	unknown    negatives
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
	LiveKey string
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
		created, err := s.create(ctx, DefaultName, testKey, liveKey, true)
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

// Create makes an account with the keys given, or generated for "". Its error
// is a fault for a name or key that cannot be used.
func (s *Service) Create(ctx context.Context, name string, testKey, liveKey string) (*Created, error) {
	created, err := s.create(ctx, name, testKey, liveKey, false)
	if errors.Is(err, store.ErrExists) {
		return nil, fault.New(fault.Conflict, "api_key_exists",
			"One of these keys belongs to an account already. Give keys that are not in use, or none to have them generated.")
	}
	return created, err
}

func (s *Service) create(ctx context.Context, name, testKey, liveKey string, onlyFirst bool) (*Created, error) {
	switch {
	case strings.TrimSpace(name) == "" || !utf8.ValidString(name):
		return nil, fault.Invalidf("name", "The name is missing. Give a text of 1 to %d characters.", maxName)
	case utf8.RuneCountInString(name) > maxName:
		return nil, fault.Invalidf("name", "The name is too long. Shorten it to at most %d characters.", maxName)
	}
	if testKey == "" {
		testKey = newKey(false)
	}
	if liveKey == "" {
		liveKey = newKey(true)
	}
	if err := checkKey("test_key", testKey, false); err != nil {
		return nil, err
	}
	if err := checkKey("live_key", liveKey, true); err != nil {
		return nil, err
	}
	awsID := ""
	if onlyFirst {
		awsID = s.firstAWSID
	}
	if awsID != "" && !isAWSID(awsID) {
		return nil, fault.Invalidf("bootstrap_aws_account_id", "An AWS account id has 12 digits. Give one like 123456789012, or none to have one drawn.")
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	p := &store.CreateAccount{
		Account: store.Account{ID: event.NewID("acct_", 16), Name: name, AWSID: awsID, Created: now},
		Keys: []store.APIKey{
			{Hash: hashKey(testKey), Hint: hint(testKey), Created: now},
			{Hash: hashKey(liveKey), Hint: hint(liveKey), Created: now, Live: true},
		},
		OnlyFirst: onlyFirst,
	}
	if err := s.store.CreateAccount(ctx, p); err != nil {
		return nil, failed("create account", err)
	}
	// Someone may have tried the keys before they were good.
	s.unknown.clear()
	return &Created{Account: p.Account, TestKey: testKey, LiveKey: liveKey}, nil
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
