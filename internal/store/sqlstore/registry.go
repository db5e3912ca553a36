package sqlstore

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
	if fingerprint == "" { // whoever only asks writes nothing
		if err := db.Read.QueryRowContext(ctx, "SELECT key_fingerprint FROM installation").Scan(&recorded); err != nil {
			return "", fmt.Errorf("read encryption key's fingerprint: %w", db.ended(ctx, err))
		}
		return recorded, nil
	}
	err = db.Tx(ctx, func(ctx context.Context, c Conn) error {
		if _, err := c.ExecContext(ctx, "UPDATE installation SET key_fingerprint = ? WHERE key_fingerprint = ''", fingerprint); err != nil {
			return err
		}
		return c.QueryRowContext(ctx, "SELECT key_fingerprint FROM installation").Scan(&recorded)
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
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		if err := db.Lock(ctx, c, LockConfig); err != nil {
			return err
		}
		if p.OnlyFirst {
			var others bool
			if err := c.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM accounts)").Scan(&others); err != nil {
				return err
			}
			if others {
				return store.ErrExists
			}
		}
		version, err := db.changeConfig(ctx, c, nil)
		if err != nil {
			return err
		}
		a := &p.Account
		if awsID = a.AWSID; awsID == "" {
			var err error
			if awsID, err = drawAWSID(ctx, c); err != nil {
				return err
			}
		}
		if err := c.QueryRowContext(ctx, `INSERT INTO accounts (id, name, aws_id, api_version, created, platform, organization, sandbox_of, version)
			VALUES (?,?,?,?,?,?,?,?,?) RETURNING number`,
			a.ID, a.Name, awsID, a.APIVersion, Millis(a.Created), a.Platform, a.Organization, a.SandboxOf, version).Scan(&number); err != nil {
			return err
		}
		for i := range p.Keys {
			if err := insertKey(ctx, c, number, &p.Keys[i]); err != nil {
				return err
			}
		}
		return recordChange(ctx, c, accountScope(&p.Account, number), a.ID, a.Created)
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
func drawAWSID(ctx context.Context, c Conn) (string, error) {
	for {
		n, err := rand.Int(rand.Reader, big.NewInt(1e12))
		if err != nil {
			return "", err
		}
		id := fmt.Sprintf("%012d", n)
		var taken bool
		err = c.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM accounts WHERE aws_id = ?)", id).Scan(&taken)
		if err != nil || !taken {
			return id, err
		}
	}
}

// CreateDestination stores a destination.
func (db *DB) CreateDestination(ctx context.Context, d *store.Destination, idem *store.Idempotency) error {
	var number, version int64
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		var err error
		if version, err = db.changeConfig(ctx, c, idem); err != nil {
			return err
		}
		if number, err = nextNumber(ctx, c); err != nil {
			return err
		}
		_, err = c.ExecContext(ctx, `INSERT INTO destinations (number, scope, id, version, revision, status, created, updated, config, secrets)
			VALUES (?,?,?,?,1,?,?,?,?,?)`,
			number, int64(d.Scope), d.ID, version, int(d.Status), Millis(d.Created), Millis(d.Updated), d.Config, d.Secrets)
		if err != nil {
			return err
		}
		return recordChange(ctx, c, d.Scope, d.ID, d.Updated)
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
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		// The record first: a request that is repeated has itself changed the
		// revision, or deleted the destination, the first time.
		var err error
		if version, err = db.changeConfig(ctx, c, idem); err != nil {
			return err
		}
		var revision int64
		err = c.QueryRowContext(ctx, "SELECT revision FROM destinations WHERE number = ? AND scope = ? AND status <> ?",
			d.Number, int64(d.Scope), int(event.Deleted)).Scan(&revision)
		if err != nil {
			return db.absent(ctx, err)
		}
		if revision != d.Revision {
			return store.ErrConflict
		}
		_, err = c.ExecContext(ctx, "UPDATE destinations SET version = ?, revision = revision + 1, status = ?, updated = ?, config = ?, secrets = ? WHERE number = ?",
			version, int(d.Status), Millis(d.Updated), d.Config, d.Secrets, d.Number)
		if err != nil {
			return err
		}
		return recordChange(ctx, c, d.Scope, d.ID, d.Updated)
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
func (db *DB) changeConfig(ctx context.Context, c Conn, idem *store.Idempotency) (version int64, err error) {
	if err := db.Lock(ctx, c, LockConfig); err != nil {
		return 0, err
	}
	if err := db.Changed(ctx, c); err != nil {
		return 0, err
	}
	if idem != nil {
		known, err := FindIdempotent(ctx, c, idem, idem.Created)
		if err != nil {
			return 0, err
		}
		if known != nil {
			return 0, store.ErrExists
		}
		if err := RecordIdempotency(ctx, c, idem); err != nil {
			return 0, err
		}
	}
	err = c.QueryRowContext(ctx, "UPDATE installation SET config_version = config_version + 1 RETURNING config_version").Scan(&version)
	return version, err
}

// nextNumber gives out a number that no destination and no resource has had.
func nextNumber(ctx context.Context, c Conn) (number int64, err error) {
	err = c.QueryRowContext(ctx, "UPDATE installation SET next_number = next_number + 1 RETURNING next_number - 1").Scan(&number)
	return number, err
}

const destinationColumns = "number, scope, id, version, revision, status, created, updated, config, secrets"

func queryDestinations(ctx context.Context, q Conn, query string, args ...any) ([]*store.Destination, error) {
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
	found, err := queryDestinations(ctx, db.Read, "SELECT "+destinationColumns+" FROM destinations WHERE id = ? AND scope = ? AND status <> ?",
		id, int64(scope), int(event.Deleted))
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("find destination: %w", db.ended(ctx, err))
	}
	return found[0], nil
}

// DestinationsByNumber finds several, deleted ones too.
func (db *DB) DestinationsByNumber(ctx context.Context, scope event.Scope, numbers []int64) (map[int64]*store.Destination, error) {
	found, err := queryDestinations(ctx, db.Read, "SELECT "+destinationColumns+" FROM destinations WHERE number IN (SELECT value FROM json_each(?)) AND scope = ?",
		listOf(numbers), int64(scope))
	if err != nil {
		return nil, fmt.Errorf("find destinations: %w", db.ended(ctx, err))
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
	found, err := queryDestinations(ctx, db.Read, query, int64(p.Scope), p.Newer, before, int(event.Deleted), p.Limit+1)
	if err != nil {
		return store.Page[*store.Destination]{}, fmt.Errorf("list destinations: %w", db.ended(ctx, err))
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
	err = db.View(ctx, func(q Conn) error {
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
	err := db.Read.QueryRowContext(ctx, "SELECT hash, result, created FROM idempotency WHERE scope = ? AND generation = ? AND key = ? AND created >= ?",
		int64(scope), generation, key, Millis(now.Add(-store.IdempotencyWindow))).Scan(&hash, &known.Result, &created)
	if err != nil {
		return nil, fmt.Errorf("find idempotency key: %w", db.absent(ctx, err))
	}
	copy(known.Hash[:], hash)
	known.Created = fromMillis(created)
	return &known, nil
}

// FindIdempotent returns the record of id's key, or nil.
func FindIdempotent(ctx context.Context, c Conn, id *store.Idempotency, now time.Time) (*store.Idempotency, error) {
	known := *id
	var hash []byte
	err := c.QueryRowContext(ctx, "SELECT hash, result FROM idempotency WHERE scope = ? AND generation = ? AND key = ? AND created >= ?",
		int64(id.Scope), id.Generation, id.Key, Millis(now.Add(-store.IdempotencyWindow))).Scan(&hash, &known.Result)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, err
	}
	copy(known.Hash[:], hash)
	return &known, nil
}

// RecordIdempotency writes a record, in the place of one that is forgotten.
func RecordIdempotency(ctx context.Context, c Conn, id *store.Idempotency) error {
	_, err := c.ExecContext(ctx, `INSERT INTO idempotency (scope, generation, key, hash, result, created) VALUES (?,?,?,?,?,?)
		ON CONFLICT (scope, generation, key) DO UPDATE SET hash = excluded.hash, result = excluded.result, created = excluded.created`,
		int64(id.Scope), id.Generation, id.Key, id.Hash[:], id.Result, Millis(id.Created))
	return err
}
