package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	awsKeyPrefix = "AKIA"
	// awsKeyRandom is the length of what follows: 80 bits, which need to
	// differ, not to be unguessable.
	awsKeyRandom = 16
	// awsSecretLength is AWS's own. As letters and digits it is 238 bits, and
	// can be pasted anywhere without quotes.
	awsSecretLength = 40

	// The bounds of what an operator gives. The ids' are AWS's.
	minAWSKeyID, maxAWSKeyID   = 16, 128
	minAWSSecret, maxAWSSecret = 16, 128
)

// The AWS codes of what is wrong with an access key.
const (
	codeUnknownAWSKey = "UnrecognizedClientException"
	unknownAWSKeyText = "The security token included in the request is invalid."
)

// awsOwner is what a good access key stands for.
type awsOwner struct {
	secret string
	owner  store.Account
}

// AWSKey is an access key as it may be shown: without its secret.
type AWSKey struct {
	ID      string
	Created time.Time
}

// NewAWSCaller is the caller that a verified signature stands for.
func NewAWSCaller(owner store.Account, region, accessKeyID string) AWSCaller {
	return AWSCaller{
		Scope: event.NewScope(owner.Number, true), AccountID: owner.AWSID,
		Region: region, AccessKeyID: accessKeyID,
	}
}

// CreateAWSKey gives an account another access key. The secret is not shown
// again.
func (s *Service) CreateAWSKey(ctx context.Context, account int64) (id, secret string, err error) {
	id, secret = awsKeyPrefix+rand.Text()[:awsKeyRandom], event.NewID("", awsSecretLength)
	return id, secret, s.putAWSKey(ctx, account, id, secret)
}

// BootstrapAWSKey gives the first account the access key "ID:SECRET", unless it
// has it already; "" is none to give. It returns a fault for a key that cannot
// be used, or that is known with another secret or by another account.
func (s *Service) BootstrapAWSKey(ctx context.Context, key string) error {
	if key == "" {
		return nil
	}
	id, secret, ok := strings.Cut(key, ":")
	if !ok || !isAWSKeyID(id) || !isAWSSecret(secret) {
		return fault.Invalidf("bootstrap_aws_key", "The AWS key must be ID:SECRET, the id %d to %d letters, digits and underscores, the secret %d to %d characters without spaces.",
			minAWSKeyID, maxAWSKeyID, minAWSSecret, maxAWSSecret)
	}
	accounts, err := s.List(ctx)
	if err != nil {
		return err
	}
	if len(accounts) == 0 {
		return fault.NotFoundf("There is no account yet to give the AWS key to.")
	}
	first := accounts[0]
	err = s.putAWSKey(ctx, first.Number, id, secret)
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	has, err := s.findAWSKey(ctx, id)
	switch {
	case err != nil:
		return err
	case has.owner.Number != first.Number:
		return fault.New(fault.Conflict, "aws_key_exists", "The AWS key %s given at start belongs to the account %s. Give one of the first account (%s), or another id.", id, has.owner.ID, first.ID)
	case has.secret != secret:
		return fault.New(fault.Conflict, "aws_key_exists", "The AWS key %s given at start is known with another secret. Start with that secret, or delete the key first: waybill keys delete %s", id, id)
	}
	return nil
}

// putAWSKey stores a key. Its error is store.ErrExists if the id is taken.
func (s *Service) putAWSKey(ctx context.Context, account int64, id, secret string) error {
	if s.key.IsZero() {
		return errors.New("seal AWS key: there is no encryption key")
	}
	k := &store.AWSKey{
		ID: id, Account: account, Secret: s.key.Seal([]byte(secret), awsSealContext(account, id)),
		Created: s.now().UTC().Truncate(time.Millisecond),
	}
	if err := s.store.CreateAWSKey(doing(ctx, "aws_key.create"), k); err != nil {
		return failed("create AWS key", err)
	}
	s.forget()
	return nil
}

// awsSealContext ties a sealed secret to its key and account.
func awsSealContext(account int64, id string) []byte {
	return fmt.Appendf(nil, "aws_key/%d/%s", account, id)
}

// findAWSKey asks the store. Its error is store.ErrNotFound for an unknown key.
func (s *Service) findAWSKey(ctx context.Context, id string) (awsOwner, error) {
	stored, owner, err := s.store.AWSKeyOwner(ctx, id)
	if err != nil {
		return awsOwner{}, failed("look up AWS key", err)
	}
	if s.key.IsZero() {
		return awsOwner{}, errors.New("open AWS key: there is no encryption key")
	}
	secret, err := s.key.Open(stored.Secret, awsSealContext(stored.Account, stored.ID))
	if err != nil {
		return awsOwner{}, fmt.Errorf("open secret of AWS key %s: %w", id, err)
	}
	return awsOwner{string(secret), owner}, nil
}

// AWSSecret returns the secret of an access key and whose it is, or a fault:
// Unauthorized, or Unavailable if that could not be found out. Whoever asks
// must not tell the secret, and must still verify a signature with it.
func (s *Service) AWSSecret(ctx context.Context, id string) (secret string, owner store.Account, err error) {
	if !isAWSKeyID(id) {
		return "", store.Account{}, unknownAWSKey()
	}
	hash, now := hashKey(id), s.now()
	if known, ok := s.awsKnown.get(hash, now); ok {
		return known.secret, known.owner, nil
	}
	if s.awsUnknown.has(hash, now) {
		return "", store.Account{}, unknownAWSKey()
	}
	before := s.changes.Load()
	found, err := s.findAWSKey(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.awsKnown.drop(hash)
		s.awsUnknown.add(hash, now)
		return "", store.Account{}, unknownAWSKey()
	case err != nil:
		return "", store.Account{}, err
	}
	if s.changes.Load() == before {
		s.awsKnown.put(hash, found, now)
	}
	return found.secret, found.owner, nil
}

func unknownAWSKey() error {
	return fault.New(fault.Unauthorized, codeUnknownAWSKey, unknownAWSKeyText)
}

// ListAWSKeys returns an account's access keys, oldest first.
func (s *Service) ListAWSKeys(ctx context.Context, account int64) ([]AWSKey, error) {
	stored, err := s.store.AWSKeysOf(ctx, account)
	if err != nil {
		return nil, failed("list AWS keys", err)
	}
	keys := make([]AWSKey, len(stored))
	for i := range stored {
		keys[i] = AWSKey{ID: stored[i].ID, Created: stored[i].Created}
	}
	return keys, nil
}

// DeleteAWSKey takes an access key from its account: at once in this process,
// within about a second in others. Its error is a fault if the account has none
// such.
func (s *Service) DeleteAWSKey(ctx context.Context, account int64, id string) error {
	err := s.store.DeleteAWSKey(doing(ctx, "aws_key.delete"), account, id)
	if errors.Is(err, store.ErrNotFound) {
		return fault.NotFoundf("The account has no AWS key %s. See which it has: waybill keys list --aws", id)
	}
	if err != nil {
		return failed("delete AWS key", err)
	}
	s.forget()
	return nil
}

// mustKnowAWSID returns a fault if the first account is to have an AWS account
// id that no account has.
func (s *Service) mustKnowAWSID(ctx context.Context) error {
	if s.firstAWSID == "" {
		return nil
	}
	_, err := s.store.AccountByAWSID(ctx, s.firstAWSID)
	if errors.Is(err, store.ErrNotFound) {
		return fault.Invalidf("bootstrap_aws_account_id", "The AWS account id given at start belongs to no account. It is used once, to create the first account, and there is one already. "+
			"Start with the id that it was created with, or with none.")
	}
	if err != nil {
		return failed("look up AWS account id", err)
	}
	return nil
}

func isAWSID(id string) bool {
	return len(id) == 12 && strings.Trim(id, "0123456789") == ""
}

func isAWSKeyID(id string) bool {
	if len(id) < minAWSKeyID || len(id) > maxAWSKeyID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}

func isAWSSecret(secret string) bool {
	if len(secret) < minAWSSecret || len(secret) > maxAWSSecret {
		return false
	}
	for i := range len(secret) {
		if secret[i] <= ' ' || secret[i] > '~' {
			return false
		}
	}
	return true
}
