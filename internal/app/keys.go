package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// AWSKey is an access key for the AWS protocols.
type AWSKey struct {
	ID           string
	Secret       string // only when it is new
	Account      string // acct_…
	AWSAccountID string
	Created      time.Time
}

// CreateAWSKey gives an account, by its id of either form or "" for the only
// one, an access key. It works on a data folder whose server is running, where
// the key is good within about a second.
func CreateAWSKey(ctx context.Context, cfg config.Config, accountID string) (AWSKey, error) {
	var made AWSKey
	err := withAccounts(ctx, cfg, true, func(accounts *account.Service) error {
		owner, err := accounts.Find(ctx, accountID)
		if err != nil {
			return err
		}
		id, secret, err := accounts.CreateAWSKey(ctx, owner.Number)
		made = AWSKey{ID: id, Secret: secret, Account: owner.ID, AWSAccountID: owner.AWSID}
		return err
	})
	return made, err
}

// ListAWSKeys returns the access keys of an account, or of all for "".
func ListAWSKeys(ctx context.Context, cfg config.Config, accountID string) ([]AWSKey, error) {
	var keys []AWSKey
	err := withAccounts(ctx, cfg, false, func(accounts *account.Service) error {
		owners, err := accounts.List(ctx)
		if accountID != "" {
			owners = make([]store.Account, 1)
			owners[0], err = accounts.Find(ctx, accountID)
		}
		if err != nil {
			return err
		}
		for i := range owners {
			list, err := accounts.ListAWSKeys(ctx, owners[i].Number)
			if err != nil {
				return err
			}
			for _, key := range list {
				keys = append(keys, AWSKey{ID: key.ID, Account: owners[i].ID, AWSAccountID: owners[i].AWSID, Created: key.Created})
			}
		}
		return nil
	})
	return keys, err
}

// DeleteAWSKey deletes an access key, whosever it is. A server that is running
// refuses it within about a second.
func DeleteAWSKey(ctx context.Context, cfg config.Config, id string) error {
	return withAccounts(ctx, cfg, false, func(accounts *account.Service) error {
		owners, err := accounts.List(ctx)
		if err != nil {
			return err
		}
		for i := range owners {
			err := accounts.DeleteAWSKey(ctx, owners[i].Number, id)
			if f := fault.As(err); f == nil || f.Kind != fault.NotFound {
				return err
			}
		}
		return fmt.Errorf("there is no AWS key %s; see `waybill keys list --aws`", id)
	})
}

// Accounts opens the accounts of a data folder beside a server that may be
// running. It learns of changes within about a second.
func Accounts(ctx context.Context, cfg config.Config, fn func(*account.Service) error) error {
	return withAccounts(ctx, cfg, false, fn)
}

// CreateAccount adds an account with keys of its own.
func CreateAccount(ctx context.Context, cfg config.Config, name string) (*account.Created, error) {
	var created *account.Created
	err := Accounts(ctx, cfg, func(accounts *account.Service) (err error) {
		created, err = accounts.Create(ctx, name, "", "")
		return err
	})
	return created, err
}

// withAccounts opens the accounts of a data folder beside a server that may be
// running; sealing says that fn needs the encryption key.
func withAccounts(ctx context.Context, cfg config.Config, sealing bool, fn func(*account.Service) error) error {
	db, err := openForeign(ctx, cfg)
	if err != nil {
		return err
	}
	o := account.Options{Store: db, DefaultAPIVersion: cfg.APIVersion}
	if sealing {
		if o.Key, err = existingKey(cfg); err == nil {
			err = bindKey(ctx, db, o.Key)
		}
	}
	if err == nil {
		err = fn(account.New(o))
	}
	return errors.Join(err, db.Close())
}
