package sqlstore

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// CreateAWSKey stores a key.
func (db *DB) CreateAWSKey(ctx context.Context, k *store.AWSKey) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		if err := db.changeAccount(ctx, c, k.Account); err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, "INSERT INTO aws_keys (id, account, secret, created) VALUES (?,?,?,?)", k.ID, k.Account, k.Secret, Millis(k.Created)); err != nil {
			return err
		}
		return recordChange(ctx, c, event.NewScope(k.Account, true), k.ID, k.Created)
	})
	if err != nil {
		return fmt.Errorf("create access key: %w", err)
	}
	return nil
}

// AWSKeyOwner finds a key and its account.
func (db *DB) AWSKeyOwner(ctx context.Context, id string) (store.AWSKey, store.Account, error) {
	k := store.AWSKey{ID: id}
	var created int64
	a, err := scanAccount(db.Read.QueryRowContext(ctx, `SELECT k.account, k.secret, k.created, `+accountColumns+`
		FROM aws_keys k JOIN accounts a ON a.number = k.account WHERE k.id = ?`, id).Scan, &k.Account, &k.Secret, &created)
	if err != nil {
		return store.AWSKey{}, store.Account{}, fmt.Errorf("find access key: %w", db.absent(ctx, err))
	}
	k.Created = fromMillis(created)
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
		if err := exactlyOne(c.ExecContext(ctx, "DELETE FROM aws_keys WHERE id = ? AND account = ?", id, account)); err != nil {
			return err
		}
		if err := db.changeAccount(ctx, c, account); err != nil {
			return err
		}
		return recordChange(ctx, c, event.NewScope(account, true), id, db.Now())
	})
	if err != nil {
		return fmt.Errorf("delete access key: %w", err)
	}
	return nil
}

// AccountByAWSID finds an account by its AWS account id.
func (db *DB) AccountByAWSID(ctx context.Context, id string) (store.Account, error) {
	a, err := scanAccount(db.Read.QueryRowContext(ctx, "SELECT "+accountColumns+" FROM accounts a WHERE a.aws_id = ?", id).Scan)
	if err != nil {
		return store.Account{}, fmt.Errorf("find account: %w", db.absent(ctx, err))
	}
	return a, nil
}
