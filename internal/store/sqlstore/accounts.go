package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const accountColumns = "a.number, a.id, a.name, a.aws_id, a.api_version, a.created, a.platform, a.organization, a.sandbox_of"

// scanAccount reads accountColumns, after what stands before them.
func scanAccount(scan func(...any) error, before ...any) (store.Account, error) {
	var a store.Account
	var created int64
	err := scan(append(before, &a.Number, &a.ID, &a.Name, &a.AWSID, &a.APIVersion, &created, &a.Platform, &a.Organization, &a.SandboxOf)...)
	a.Created = fromMillis(created)
	return a, err
}

func (db *DB) accounts(ctx context.Context, rest string, args ...any) (all []store.Account, err error) {
	err = Each(ctx, db.Read, func(scan func(...any) error) error {
		a, err := scanAccount(scan)
		all = append(all, a)
		return err
	}, "SELECT "+accountColumns+" FROM accounts a "+rest, args...)
	return all, db.ended(ctx, err)
}

// Accounts lists all accounts.
func (db *DB) Accounts(ctx context.Context) ([]store.Account, error) {
	all, err := db.accounts(ctx, "ORDER BY number")
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return all, nil
}

// AccountByID finds the account with this id.
func (db *DB) AccountByID(ctx context.Context, id string) (store.Account, error) {
	a, err := scanAccount(db.Read.QueryRowContext(ctx, "SELECT "+accountColumns+" FROM accounts a WHERE a.id = ?", id).Scan)
	if err != nil {
		return store.Account{}, fmt.Errorf("find account: %w", db.absent(ctx, err))
	}
	return a, nil
}

// ChangedAccounts returns what changed since a version.
func (db *DB) ChangedAccounts(ctx context.Context, since int64) ([]store.Account, error) {
	rest, args := "ORDER BY number", []any(nil)
	if since > 0 {
		rest, args = "WHERE a.version > ? ORDER BY number", []any{since}
	}
	all, err := db.accounts(ctx, rest, args...)
	if err != nil {
		return nil, fmt.Errorf("read changed accounts: %w", err)
	}
	return all, nil
}

// UpdateAccount replaces what can change of an account.
func (db *DB) UpdateAccount(ctx context.Context, a *store.Account) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		if err := db.changeAccount(ctx, c, a.Number); err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, "UPDATE accounts SET name = ?, api_version = ?, platform = ?, organization = ? WHERE number = ?",
			a.Name, a.APIVersion, a.Platform, a.Organization, a.Number); err != nil {
			return err
		}
		return recordChange(ctx, c, accountScope(a, a.Number), a.ID, db.Now())
	})
	if err != nil {
		return fmt.Errorf("update account: %w", err)
	}
	return nil
}

// changeAccount raises the configuration version on behalf of an account.
func (db *DB) changeAccount(ctx context.Context, c Conn, number int64) error {
	version, err := db.changeConfig(ctx, c, nil)
	if err != nil {
		return err
	}
	return exactlyOne(c.ExecContext(ctx, "UPDATE accounts SET version = ? WHERE number = ?", version, number))
}

// exactlyOne turns a change of no row into ErrNotFound.
func exactlyOne(res sql.Result, err error) error {
	n, err := affected(res, err)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// accountScope is where changes of an account itself are recorded: a sandbox
// has no live mode.
func accountScope(a *store.Account, number int64) event.Scope {
	return event.NewScope(number, a.SandboxOf == 0)
}

const keyColumns = "k.hash, k.account, k.live, k.hint, k.name, k.created, k.grants, k.expires, k.last_used"

type keyRow struct {
	store.APIKey
	hash                       []byte
	created, expires, lastUsed int64
}

func (k *keyRow) fields() []any {
	return []any{&k.hash, &k.Account, &k.Live, &k.Hint, &k.Name, &k.created, &k.Grants, &k.expires, &k.lastUsed}
}

func (k *keyRow) key() store.APIKey {
	copy(k.Hash[:], k.hash)
	k.Created, k.Expires, k.LastUsed = fromMillis(k.created), fromMillis(k.expires), fromMillis(k.lastUsed)
	return k.APIKey
}

// KeyOwner finds the key with this hash.
func (db *DB) KeyOwner(ctx context.Context, hash [32]byte) (store.APIKey, store.Account, error) {
	var k keyRow
	a, err := scanAccount(db.Read.QueryRowContext(ctx, "SELECT "+keyColumns+", "+accountColumns+`
		FROM api_keys k JOIN accounts a ON a.number = k.account WHERE k.hash = ?`, hash[:]).Scan, k.fields()...)
	if err != nil {
		return store.APIKey{}, store.Account{}, fmt.Errorf("find key: %w", db.absent(ctx, err))
	}
	return k.key(), a, nil
}

// KeysOf lists an account's keys.
func (db *DB) KeysOf(ctx context.Context, account int64) (all []store.APIKey, err error) {
	err = Each(ctx, db.Read, func(scan func(...any) error) error {
		var k keyRow
		err := scan(k.fields()...)
		all = append(all, k.key())
		return err
	}, "SELECT "+keyColumns+" FROM api_keys k WHERE k.account = ? ORDER BY k.created, k.hash", account)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", db.ended(ctx, err))
	}
	return all, nil
}

func insertKey(ctx context.Context, c Conn, account int64, k *store.APIKey) error {
	_, err := c.ExecContext(ctx, "INSERT INTO api_keys (hash, account, live, hint, name, created, grants, expires, last_used) VALUES (?,?,?,?,?,?,?,?,?)",
		k.Hash[:], account, k.Live, k.Hint, k.Name, Millis(k.Created), k.Grants, Millis(k.Expires), Millis(k.LastUsed))
	return err
}

// ChangeKeys adds a key, ends another, or both.
func (db *DB) ChangeKeys(ctx context.Context, p *store.ChangeKeys) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		if err := db.changeAccount(ctx, c, p.Account); err != nil {
			return err
		}
		var live bool
		object := ""
		if p.End != nil {
			if err := exactlyOne(c.ExecContext(ctx, "UPDATE api_keys SET expires = ? WHERE hash = ? AND account = ?", Millis(p.At), p.End[:], p.Account)); err != nil {
				return err
			}
			if err := c.QueryRowContext(ctx, "SELECT live, hint FROM api_keys WHERE hash = ?", p.End[:]).Scan(&live, &object); err != nil {
				return err
			}
		}
		if p.Add != nil {
			if err := insertKey(ctx, c, p.Account, p.Add); err != nil {
				return err
			}
			live, object = p.Add.Live, p.Add.Hint
		}
		return recordChange(ctx, c, event.NewScope(p.Account, live), object, db.Now())
	})
	if err != nil {
		return fmt.Errorf("change keys: %w", err)
	}
	if p.Add != nil {
		p.Add.Account = p.Account
	}
	return nil
}

// TouchKey notes when a key was last used.
func (db *DB) TouchKey(ctx context.Context, hash [32]byte, at time.Time) error {
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		_, err := c.ExecContext(ctx, "UPDATE api_keys SET last_used = ? WHERE hash = ? AND last_used < ?", Millis(at), hash[:], Millis(at))
		return err
	})
	if err != nil {
		return fmt.Errorf("note use of key: %w", err)
	}
	return nil
}
