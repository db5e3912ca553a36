package sqlstore

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/internal/store"
)

// CreateAWSKey stores a key.
func (db *DB) CreateAWSKey(ctx context.Context, k *store.AWSKey) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		var known bool
		if err := c.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM accounts WHERE number = ?)", k.Account).Scan(&known); err != nil {
			return err
		}
		if !known {
			return store.ErrNotFound
		}
		_, err := c.ExecContext(ctx, "INSERT INTO aws_keys (id, account, secret, created) VALUES (?,?,?,?)", k.ID, k.Account, k.Secret, Millis(k.Created))
		return err
	})
	if err != nil {
		return fmt.Errorf("create access key: %w", err)
	}
	return nil
}

// AWSKeyOwner finds a key and its account.
func (db *DB) AWSKeyOwner(ctx context.Context, id string) (store.AWSKey, store.Account, error) {
	k := store.AWSKey{ID: id}
	var a store.Account
	var keyCreated, created int64
	err := db.Read.QueryRowContext(ctx, `SELECT k.account, k.secret, k.created, `+accountColumns+`
		FROM aws_keys k JOIN accounts a ON a.number = k.account WHERE k.id = ?`, id).
		Scan(&k.Account, &k.Secret, &keyCreated, &a.Number, &a.ID, &a.Name, &a.AWSID, &a.APIVersion, &created)
	if err != nil {
		return store.AWSKey{}, store.Account{}, fmt.Errorf("find access key: %w", db.absent(ctx, err))
	}
	k.Created, a.Created = fromMillis(keyCreated), fromMillis(created)
	return k, a, nil
}

// AWSKeysOf lists an account's keys.
func (db *DB) AWSKeysOf(ctx context.Context, account int64) ([]store.AWSKey, error) {
	rows, err := db.Read.QueryContext(ctx, "SELECT id, secret, created FROM aws_keys WHERE account = ? ORDER BY created, id", account)
	if err != nil {
		return nil, fmt.Errorf("list access keys: %w", db.ended(ctx, err))
	}
	defer rows.Close()
	var all []store.AWSKey
	for rows.Next() {
		k := store.AWSKey{Account: account}
		var created int64
		if err := rows.Scan(&k.ID, &k.Secret, &created); err != nil {
			return nil, fmt.Errorf("list access keys: %w", db.ended(ctx, err))
		}
		k.Created = fromMillis(created)
		all = append(all, k)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list access keys: %w", db.ended(ctx, err))
	}
	return all, nil
}

// DeleteAWSKey removes a key of an account.
func (db *DB) DeleteAWSKey(ctx context.Context, account int64, id string) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		n, err := affected(c.ExecContext(ctx, "DELETE FROM aws_keys WHERE id = ? AND account = ?", id, account))
		if err == nil && n == 0 {
			err = store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete access key: %w", err)
	}
	return nil
}

// AccountByAWSID finds an account by its AWS account id.
func (db *DB) AccountByAWSID(ctx context.Context, id string) (store.Account, error) {
	var a store.Account
	var created int64
	err := db.Read.QueryRowContext(ctx, "SELECT "+accountColumns+" FROM accounts a WHERE a.aws_id = ?", id).
		Scan(&a.Number, &a.ID, &a.Name, &a.AWSID, &a.APIVersion, &created)
	if err != nil {
		return store.Account{}, fmt.Errorf("find account: %w", db.absent(ctx, err))
	}
	a.Created = fromMillis(created)
	return a, nil
}
