package store

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// Registry is the configuration side: accounts, keys, destinations. Every
// change of them raises the configuration version in its own transaction;
// Commit refuses batches routed by an older one.
type Registry interface {
	// BindKey records the fingerprint of the encryption key on the first
	// call and afterwards returns the recorded one. With "" it only asks.
	BindKey(ctx context.Context, fingerprint string) (recorded string, err error)

	// CreateAccount stores an account with its keys and sets its number.
	CreateAccount(ctx context.Context, p *CreateAccount) error
	// Accounts lists all accounts, oldest first.
	Accounts(ctx context.Context) ([]Account, error)
	// AccountByID finds the account with this id.
	AccountByID(ctx context.Context, id string) (Account, error)
	// UpdateAccount replaces an account's name, API version, platform and
	// organisation, by its number.
	UpdateAccount(ctx context.Context, a *Account) error
	// ChangedAccounts returns the accounts that were changed after a
	// configuration version, those whose keys were included. since 0 returns
	// all.
	ChangedAccounts(ctx context.Context, since int64) ([]Account, error)
	// KeyOwner finds the key with this hash and its account.
	KeyOwner(ctx context.Context, hash [32]byte) (APIKey, Account, error)
	// KeysOf lists an account's keys, oldest first.
	KeysOf(ctx context.Context, account int64) ([]APIKey, error)
	// ChangeKeys adds a key, ends another, or both in one transaction. Its
	// error is ErrExists for a hash that is taken, ErrNotFound if the account
	// has no such key to end.
	ChangeKeys(ctx context.Context, p *ChangeKeys) error
	// TouchKey notes when a key was last used.
	TouchKey(ctx context.Context, hash [32]byte, at time.Time) error

	// CreateDestination stores a destination and sets its number, version and
	// revision. With an idempotency record that exists already it writes
	// nothing and returns ErrExists (see Idempotent).
	CreateDestination(ctx context.Context, d *Destination, idem *Idempotency) error
	// UpdateDestination replaces a destination if it still has d.Revision,
	// else ErrConflict. It raises d.Revision and d.Version. A destination is
	// deleted by storing it with status Deleted.
	UpdateDestination(ctx context.Context, d *Destination, idem *Idempotency) error
	// Destination finds one that is not deleted.
	Destination(ctx context.Context, scope event.Scope, id string) (*Destination, error)
	// DestinationsByNumber finds several, deleted ones too; absent numbers
	// are absent from the map.
	DestinationsByNumber(ctx context.Context, scope event.Scope, numbers []int64) (map[int64]*Destination, error)
	// ListDestinations returns a page of those not deleted, newest first.
	ListDestinations(ctx context.Context, p ListDestinations) (Page[*Destination], error)
	// ChangedDestinations returns, with their secrets, all destinations of all
	// accounts whose version is above since, deleted ones too, and the
	// current configuration version. since 0 leaves out what was deleted and
	// has nothing waiting.
	ChangedDestinations(ctx context.Context, since int64) ([]*Destination, int64, error)
}

// Account is one account, or an organisation of accounts.
type Account struct {
	Number int64
	ID     string // acct_…, or org_…
	Name   string
	// Platform, Organization and SandboxOf are the numbers of the accounts
	// that this one is a connected account, a member and a sandbox of; 0 is
	// none.
	Platform, Organization, SandboxOf int64
	// AWSID is the account's 12-digit AWS account id. "" lets the store draw
	// one when the account is created.
	AWSID      string
	APIVersion string // default for snapshots; "" is the installation's
	Created    time.Time
}

// APIKey is a key as stored: only its hash.
type APIKey struct {
	Hash    [32]byte // SHA-256 of the key
	Account int64
	Live    bool
	// Hint is the visible part, such as "sk_test_…x7Qa".
	Hint    string
	Name    string
	Created time.Time
	// Grants is what a restricted key may do, in the domain's own words; "" is
	// everything.
	Grants string
	// Expires is when the key ends to be good; zero is never.
	Expires time.Time
	// LastUsed is roughly when it was used last; zero is never.
	LastUsed time.Time
}

// ChangeKeys is a change of an account's keys.
type ChangeKeys struct {
	Account int64
	Add     *APIKey
	// End is the hash of the key that expires at At.
	End *[32]byte
	At  time.Time
}

// CreateAccount holds an account and its first keys, whose Account is set on
// return.
type CreateAccount struct {
	Account Account
	Keys    []APIKey
	// OnlyFirst refuses with ErrExists if there is any account already.
	OnlyFirst bool
}

// Destination is an event destination as stored.
type Destination struct {
	// Number is the subscription's number, given by the store.
	Number int64
	Scope  event.Scope
	ID     string
	// Version is the configuration version of the last change; Revision
	// counts the changes of this destination.
	Version  int64
	Revision int64
	Status   event.Status
	Created  time.Time
	Updated  time.Time
	// Config is the destination's own document, JSON without secrets.
	Config []byte
	// Secrets is sealed by the domain, or nil.
	Secrets []byte
}

// ListDestinations selects destinations of one scope, newest first.
type ListDestinations struct {
	Scope event.Scope
	// Older asks for those before this number; Newer for those after it, the
	// page being adjacent to the cursor. 0 is none.
	Older, Newer int64
	Limit        int
}
