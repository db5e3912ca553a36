package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// BindKey records the fingerprint unless there is one.
func (db *DB) BindKey(ctx context.Context, fingerprint string) (recorded string, err error) {
	err = db.tx(ctx, func(ctx context.Context) error {
		if _, err := db.write.ExecContext(ctx, "UPDATE installation SET key_fingerprint = ? WHERE key_fingerprint = ''", fingerprint); err != nil {
			return err
		}
		return db.write.QueryRowContext(ctx, "SELECT key_fingerprint FROM installation").Scan(&recorded)
	})
	if err != nil {
		return "", fmt.Errorf("bind encryption key: %w", err)
	}
	return recorded, nil
}

// CreateAccount stores an account with its keys.
func (db *DB) CreateAccount(ctx context.Context, p *store.CreateAccount) error {
	var number int64
	var awsID string
	err := db.tx(ctx, func(ctx context.Context) error {
		if p.OnlyFirst {
			var others bool
			if err := db.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM accounts)").Scan(&others); err != nil {
				return err
			}
			if others {
				return store.ErrExists
			}
		}
		a := &p.Account
		if awsID = a.AWSID; awsID == "" {
			var err error
			if awsID, err = db.drawAWSID(ctx); err != nil {
				return err
			}
		}
		if err := db.write.QueryRowContext(ctx, "INSERT INTO accounts (id, name, aws_id, api_version, created) VALUES (?,?,?,?,?) RETURNING number",
			a.ID, a.Name, awsID, a.APIVersion, millis(a.Created)).Scan(&number); err != nil {
			return err
		}
		for i := range p.Keys {
			k := &p.Keys[i]
			if _, err := db.write.ExecContext(ctx, "INSERT INTO api_keys (hash, account, live, hint, created) VALUES (?,?,?,?,?)",
				k.Hash[:], number, k.Live, k.Hint, millis(k.Created)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("create account: %w", err)
	}
	p.Account.Number, p.Account.AWSID = number, awsID
	for i := range p.Keys {
		p.Keys[i].Account = number
	}
	return nil
}

// drawAWSID finds an AWS account id that no account has.
func (db *DB) drawAWSID(ctx context.Context) (string, error) {
	for {
		n, err := rand.Int(rand.Reader, big.NewInt(1e12))
		if err != nil {
			return "", err
		}
		id := fmt.Sprintf("%012d", n)
		var taken bool
		err = db.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM accounts WHERE aws_id = ?)", id).Scan(&taken)
		if err != nil || !taken {
			return id, err
		}
	}
}

const accountColumns = "a.number, a.id, a.name, a.aws_id, a.api_version, a.created"

// Accounts lists all accounts.
func (db *DB) Accounts(ctx context.Context) ([]store.Account, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT "+accountColumns+" FROM accounts a ORDER BY number")
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", ended(ctx, err))
	}
	defer rows.Close()
	var all []store.Account
	for rows.Next() {
		var a store.Account
		var created int64
		if err := rows.Scan(&a.Number, &a.ID, &a.Name, &a.AWSID, &a.APIVersion, &created); err != nil {
			return nil, fmt.Errorf("list accounts: %w", ended(ctx, err))
		}
		a.Created = fromMillis(created)
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list accounts: %w", ended(ctx, err))
	}
	return all, nil
}

// KeyOwner finds the key with this hash.
func (db *DB) KeyOwner(ctx context.Context, hash [32]byte) (store.APIKey, store.Account, error) {
	k := store.APIKey{Hash: hash}
	var a store.Account
	var keyCreated, created int64
	err := db.read.QueryRowContext(ctx, `SELECT k.account, k.live, k.hint, k.created, `+accountColumns+`
		FROM api_keys k JOIN accounts a ON a.number = k.account WHERE k.hash = ?`, hash[:]).
		Scan(&k.Account, &k.Live, &k.Hint, &keyCreated, &a.Number, &a.ID, &a.Name, &a.AWSID, &a.APIVersion, &created)
	if err != nil {
		return store.APIKey{}, store.Account{}, fmt.Errorf("find key: %w", absent(ctx, err))
	}
	k.Created, a.Created = fromMillis(keyCreated), fromMillis(created)
	return k, a, nil
}

// absent turns the absence of a row into the store's own error.
func absent(ctx context.Context, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return ended(ctx, err)
}

// CreateDestination stores a destination.
func (db *DB) CreateDestination(ctx context.Context, d *store.Destination, idem *store.Idempotency) error {
	var number, version int64
	err := db.tx(ctx, func(ctx context.Context) error {
		var err error
		if version, err = db.changeConfig(ctx, idem); err != nil {
			return err
		}
		if number, err = db.nextNumber(ctx); err != nil {
			return err
		}
		_, err = db.write.ExecContext(ctx, `INSERT INTO destinations (number, scope, id, version, revision, status, created, updated, config, secrets)
			VALUES (?,?,?,?,1,?,?,?,?,?)`,
			number, int64(d.Scope), d.ID, version, int(d.Status), millis(d.Created), millis(d.Updated), d.Config, d.Secrets)
		return err
	})
	if err != nil {
		return fmt.Errorf("create destination: %w", err)
	}
	d.Number, d.Version, d.Revision = number, version, 1
	return nil
}

// UpdateDestination replaces a destination that nobody changed meanwhile.
func (db *DB) UpdateDestination(ctx context.Context, d *store.Destination, idem *store.Idempotency) error {
	var version int64
	err := db.tx(ctx, func(ctx context.Context) error {
		// The record first: a request that is repeated has itself changed the
		// revision, or deleted the destination, the first time.
		var err error
		if version, err = db.changeConfig(ctx, idem); err != nil {
			return err
		}
		var revision int64
		err = db.write.QueryRowContext(ctx, "SELECT revision FROM destinations WHERE number = ? AND scope = ? AND status <> ?",
			d.Number, int64(d.Scope), int(event.Deleted)).Scan(&revision)
		if err != nil {
			return absent(ctx, err)
		}
		if revision != d.Revision {
			return store.ErrConflict
		}
		_, err = db.write.ExecContext(ctx, "UPDATE destinations SET version = ?, revision = revision + 1, status = ?, updated = ?, config = ?, secrets = ? WHERE number = ?",
			version, int(d.Status), millis(d.Updated), d.Config, d.Secrets, d.Number)
		return err
	})
	if err != nil {
		return fmt.Errorf("update destination: %w", err)
	}
	d.Version = version
	d.Revision++
	return nil
}

// changeConfig opens a change of the configuration inside a transaction: it
// records the idempotency key, if any, and returns the new version.
func (db *DB) changeConfig(ctx context.Context, idem *store.Idempotency) (version int64, err error) {
	if idem != nil {
		known, err := db.stmts.findIdempotent(ctx, idem, idem.Created)
		if err != nil {
			return 0, err
		}
		if known != nil {
			return 0, store.ErrExists
		}
		if err := db.stmts.recordIdempotency(ctx, idem); err != nil {
			return 0, err
		}
	}
	err = db.write.QueryRowContext(ctx, "UPDATE installation SET config_version = config_version + 1 RETURNING config_version").Scan(&version)
	return version, err
}

// nextNumber gives out a number that no destination and no resource has had.
func (db *DB) nextNumber(ctx context.Context) (number int64, err error) {
	err = db.write.QueryRowContext(ctx, "UPDATE installation SET next_number = next_number + 1 RETURNING next_number - 1").Scan(&number)
	return number, err
}

const destinationColumns = "number, scope, id, version, revision, status, created, updated, config, secrets"

func queryDestinations(ctx context.Context, q querier, query string, args ...any) ([]*store.Destination, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*store.Destination
	for rows.Next() {
		d := new(store.Destination)
		var created, updated int64
		if err := rows.Scan(&d.Number, &d.Scope, &d.ID, &d.Version, &d.Revision, &d.Status, &created, &updated, &d.Config, &d.Secrets); err != nil {
			return nil, err
		}
		d.Created, d.Updated = fromMillis(created), fromMillis(updated)
		all = append(all, d)
	}
	return all, rows.Err()
}

// Destination finds one that is not deleted.
func (db *DB) Destination(ctx context.Context, scope event.Scope, id string) (*store.Destination, error) {
	found, err := queryDestinations(ctx, db.read, "SELECT "+destinationColumns+" FROM destinations WHERE id = ? AND scope = ? AND status <> ?",
		id, int64(scope), int(event.Deleted))
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("find destination: %w", ended(ctx, err))
	}
	return found[0], nil
}

// DestinationsByNumber finds several, deleted ones too.
func (db *DB) DestinationsByNumber(ctx context.Context, scope event.Scope, numbers []int64) (map[int64]*store.Destination, error) {
	found, err := queryDestinations(ctx, db.read, "SELECT "+destinationColumns+" FROM destinations WHERE number IN (SELECT value FROM json_each(?)) AND scope = ?",
		jsonList(numbers), int64(scope))
	if err != nil {
		return nil, fmt.Errorf("find destinations: %w", ended(ctx, err))
	}
	byNumber := make(map[int64]*store.Destination, len(found))
	for _, d := range found {
		byNumber[d.Number] = d
	}
	return byNumber, nil
}

// ListDestinations returns a page, newest first.
func (db *DB) ListDestinations(ctx context.Context, p store.ListDestinations) (store.Page[*store.Destination], error) {
	query := "SELECT " + destinationColumns + " FROM destinations WHERE scope = ? AND number > ? AND number < ? AND status <> ? ORDER BY number DESC LIMIT ?"
	if p.Newer != 0 {
		query = "SELECT " + destinationColumns + " FROM destinations WHERE scope = ? AND number > ? AND number < ? AND status <> ? ORDER BY number LIMIT ?"
	}
	before := p.Older
	if before == 0 {
		before = maxSeq
	}
	found, err := queryDestinations(ctx, db.read, query, int64(p.Scope), p.Newer, before, int(event.Deleted), p.Limit+1)
	if err != nil {
		return store.Page[*store.Destination]{}, fmt.Errorf("list destinations: %w", ended(ctx, err))
	}
	return page(found, p.Limit, p.Newer != 0), nil
}

// page cuts off the item that was read only to know of it.
func page[T any](items []T, limit int, ascending bool) store.Page[T] {
	more := len(items) > limit
	if more {
		items = items[:limit]
	}
	if ascending {
		slices.Reverse(items)
	}
	return store.Page[T]{Items: items, More: more}
}

// ChangedDestinations returns what changed since a version, and the version
// that it is up to.
func (db *DB) ChangedDestinations(ctx context.Context, since int64) (changed []*store.Destination, version int64, err error) {
	err = db.view(ctx, func(q querier) error {
		if err := q.QueryRowContext(ctx, "SELECT config_version FROM installation").Scan(&version); err != nil {
			return err
		}
		if since > 0 {
			changed, err = queryDestinations(ctx, q, "SELECT "+destinationColumns+" FROM destinations WHERE version > ? ORDER BY number", since)
			return err
		}
		changed, err = queryDestinations(ctx, q, "SELECT "+destinationColumns+` FROM destinations
			WHERE status <> ? OR EXISTS (SELECT 1 FROM retries WHERE sub = number) ORDER BY number`, int(event.Deleted))
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read changed destinations: %w", err)
	}
	return changed, version, nil
}

// Idempotent returns the record of a key.
func (db *DB) Idempotent(ctx context.Context, scope event.Scope, generation int, key string, now time.Time) (*store.Idempotency, error) {
	known := store.Idempotency{Scope: scope, Generation: generation, Key: key}
	var hash []byte
	var created int64
	err := db.read.QueryRowContext(ctx, "SELECT hash, result, created FROM idempotency WHERE scope = ? AND generation = ? AND key = ? AND created >= ?",
		int64(scope), generation, key, millis(now.Add(-store.IdempotencyWindow))).Scan(&hash, &known.Result, &created)
	if err != nil {
		return nil, fmt.Errorf("find idempotency key: %w", absent(ctx, err))
	}
	copy(known.Hash[:], hash)
	known.Created = fromMillis(created)
	return &known, nil
}
