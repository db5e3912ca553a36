package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// ChangeResources creates, replaces and deletes resources.
func (db *DB) ChangeResources(ctx context.Context, changed []*store.Resource, quiet bool) error {
	if len(changed) == 0 {
		return nil
	}
	stored := make([]store.Resource, len(changed))
	emptying := false
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		var version int64
		var err error
		if quiet {
			err = c.QueryRowContext(ctx, "SELECT config_version FROM installation").Scan(&version)
		} else {
			version, err = db.changeConfig(ctx, c, nil)
		}
		if err != nil {
			return err
		}
		for i, r := range changed {
			stored[i] = *r
			to := &stored[i]
			if err := placeResource(ctx, c, to, version, quiet); err != nil {
				return fmt.Errorf("%s %q: %w", r.Kind, r.Name, err)
			}
			if to.Status == event.Deleted && holdsContents(to.Kind) {
				emptying = true
				if _, err := c.ExecContext(ctx, "INSERT INTO emptying (number, kind) VALUES (?,?) ON CONFLICT DO NOTHING", to.Number, string(to.Kind)); err != nil {
					return err
				}
			}
		}
		return checkParents(ctx, c, changed, stored)
	})
	if err != nil {
		return fmt.Errorf("change resources: %w", err)
	}
	for i, r := range changed {
		r.Number, r.Version, r.Revision = stored[i].Number, stored[i].Version, stored[i].Revision
	}
	if emptying {
		_ = db.EmptyDeleted(ctx) // the change stands whatever becomes of this
	}
	return nil
}

// checkParents finds, once all is in its place, what is new below something
// that does not exist, and what was deleted above something that does. A change
// that is not quiet keeps others out until its end.
func checkParents(ctx context.Context, c Conn, changed []*store.Resource, stored []store.Resource) error {
	for i, r := range stored {
		var query string
		var args []any
		var wrong error
		switch {
		case r.Status == event.Deleted:
			query, args, wrong = "SELECT NOT EXISTS (SELECT 1 FROM resources WHERE scope = ? AND region = ? AND parent = ? AND status <> 3)",
				[]any{int64(r.Scope), r.Region, r.Number}, store.ErrConflict
		case changed[i].Revision == 0 && r.Parent != 0:
			query, args, wrong = "SELECT EXISTS (SELECT 1 FROM resources WHERE number = ? AND status <> 3)", []any{r.Parent}, store.ErrNotFound
		default:
			continue
		}
		var fine bool
		if err := c.QueryRowContext(ctx, query, args...).Scan(&fine); err != nil {
			return err
		}
		if !fine {
			return fmt.Errorf("%s %q and its parent: %w", r.Kind, r.Name, wrong)
		}
	}
	return nil
}

// placeResource writes one resource and sets its number, version and revision.
func placeResource(ctx context.Context, c Conn, r *store.Resource, version int64, quiet bool) error {
	if r.Number == 0 {
		if r.Revision != 0 {
			return store.ErrNotFound
		}
		var err error
		if r.Number, err = nextNumber(ctx, c); err != nil {
			return err
		}
		r.Version, r.Revision = version, 1
		_, err = c.ExecContext(ctx, "INSERT INTO resources ("+resourceColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
			r.Number, int64(r.Scope), r.Region, string(r.Kind), r.Parent, r.Name, r.Version, r.Revision, int(r.Status),
			Millis(r.Created), Millis(r.Updated), Blob(r.Config), r.Secrets)
		return err
	}
	var was store.Resource
	err := c.QueryRowContext(ctx, "SELECT scope, kind, version, revision, status FROM resources WHERE number = ?", r.Number).
		Scan(&was.Scope, &was.Kind, &was.Version, &was.Revision, &was.Status)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return store.ErrNotFound
	case err != nil:
		return err
	case was.Scope != r.Scope || was.Kind != r.Kind:
		return store.ErrNotFound
	case r.Revision == 0 && (was.Status != event.Deleted || holdsContents(r.Kind)):
		return store.ErrExists
	case r.Revision != 0 && was.Revision != r.Revision:
		return store.ErrConflict
	case r.Revision != 0 && was.Status == event.Deleted:
		return store.ErrNotFound
	}
	r.Version, r.Revision = version, was.Revision+1
	if quiet {
		r.Version = was.Version
	}
	_, err = c.ExecContext(ctx, `UPDATE resources SET region = ?, parent = ?, name = ?, version = ?, revision = ?, status = ?,
		created = ?, updated = ?, config = ?, secrets = ? WHERE number = ?`,
		r.Region, r.Parent, r.Name, r.Version, r.Revision, int(r.Status), Millis(r.Created), Millis(r.Updated), Blob(r.Config), r.Secrets, r.Number)
	return err
}

func holdsContents(kind store.ResourceKind) bool {
	return kind == store.KindQueue || kind == store.KindLogGroup || kind == store.KindArchive
}

// emptyBatch is how many rows of a deleted resource go in one transaction:
// little enough that the committer does not wait for it.
const emptyBatch = 1000

// EmptyDeleted removes what deleted queues, log groups and archives held.
func (db *DB) EmptyDeleted(ctx context.Context) error {
	for done := false; !done; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
			var number int64
			var kind store.ResourceKind
			// What another process is at is passed over: of rows that both try
			// to delete, the one that comes second would seem to find none.
			err := c.QueryRowContext(ctx, "SELECT number, kind FROM emptying LIMIT 1"+db.SkipLocked).Scan(&number, &kind)
			if errors.Is(err, sql.ErrNoRows) {
				done = true
				return nil
			}
			if err != nil {
				return err
			}
			query := "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE queue = ? LIMIT ?)"
			switch kind {
			case store.KindLogGroup:
				query = "DELETE FROM log_entries WHERE id IN (SELECT id FROM log_entries WHERE grp = ? LIMIT ?)"
			case store.KindArchive:
				query = "DELETE FROM archived WHERE (archive, time, seq) IN (SELECT archive, time, seq FROM archived WHERE archive = ? LIMIT ?)"
			}
			n, err := affected(c.ExecContext(ctx, query, number, emptyBatch))
			if err == nil && n < emptyBatch {
				_, err = c.ExecContext(ctx, "DELETE FROM emptying WHERE number = ?", number)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func affected(result sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

const resourceColumns = "number, scope, region, kind, parent, name, version, revision, status, created, updated, config, secrets"

func queryResources(ctx context.Context, q Conn, query string, args ...any) ([]*store.Resource, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*store.Resource
	for rows.Next() {
		r := new(store.Resource)
		var created, updated int64
		if err := rows.Scan(&r.Number, &r.Scope, &r.Region, &r.Kind, &r.Parent, &r.Name, &r.Version, &r.Revision, &r.Status,
			&created, &updated, &r.Config, &r.Secrets); err != nil {
			return nil, err
		}
		r.Created, r.Updated = fromMillis(created), fromMillis(updated)
		all = append(all, r)
	}
	return all, rows.Err()
}

// Status 3 is event.Deleted: the partial indexes are only used for a query
// that says so literally.
const resourceQuery = "SELECT " + resourceColumns + " FROM resources WHERE scope = ? AND region = ? AND kind = ? AND parent = ? AND name = ? AND status <> 3"

// Resource finds one that is not deleted.
func (db *DB) Resource(ctx context.Context, key store.ResourceKey) (*store.Resource, error) {
	found, err := queryResources(ctx, db.Read, resourceQuery, int64(key.Scope), key.Region, string(key.Kind), key.Parent, key.Name)
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", key.Kind, db.ended(ctx, err))
	}
	return found[0], nil
}

// ResourcesByNumber finds several, deleted ones too.
func (db *DB) ResourcesByNumber(ctx context.Context, numbers []int64) (map[int64]*store.Resource, error) {
	found, err := queryResources(ctx, db.Read, "SELECT "+resourceColumns+" FROM resources WHERE number IN (SELECT value FROM json_each(?))", listOf(numbers))
	if err != nil {
		return nil, fmt.Errorf("find resources: %w", db.ended(ctx, err))
	}
	byNumber := make(map[int64]*store.Resource, len(found))
	for _, r := range found {
		byNumber[r.Number] = r
	}
	return byNumber, nil
}

// ListResources returns a page, by name.
func (db *DB) ListResources(ctx context.Context, p store.ListResources) (store.Page[*store.Resource], error) {
	query, args := listResources(p)
	found, err := queryResources(ctx, db.Read, query, args...)
	if err != nil {
		return store.Page[*store.Resource]{}, fmt.Errorf("list resources: %w", db.ended(ctx, err))
	}
	if p.Limit <= 0 {
		return store.Page[*store.Resource]{Items: found}, nil
	}
	return page(found, p.Limit, false), nil
}

func listResources(p store.ListResources) (query string, args []any) {
	var q strings.Builder
	q.WriteString("SELECT " + resourceColumns + " FROM resources WHERE status <> 3 AND kind = ?")
	args = append(args, string(p.Kind))
	add := func(condition string, values ...any) {
		q.WriteString(" AND " + condition)
		args = append(args, values...)
	}
	if !p.AllScopes {
		add("scope = ?", int64(p.Scope))
	}
	if !p.AllRegions {
		add("region = ?", p.Region)
	}
	if p.Parent >= 0 {
		add("parent = ?", p.Parent)
	}
	if p.Prefix != "" {
		add("name >= ? AND substr(name, 1, ?) = ?", p.Prefix, utf8.RuneCountInString(p.Prefix), p.Prefix)
	}
	if p.After != "" {
		add("name > ?", p.After)
	}
	q.WriteString(" ORDER BY name, number LIMIT ?")
	limit := math.MaxInt64
	if p.Limit > 0 {
		limit = p.Limit + 1
	}
	return q.String(), append(args, limit)
}

// ChangedResources returns what changed since a version, and the version that
// it is up to.
func (db *DB) ChangedResources(ctx context.Context, since int64) (changed []*store.Resource, version int64, err error) {
	err = db.View(ctx, func(q Conn) error {
		if err := q.QueryRowContext(ctx, "SELECT config_version FROM installation").Scan(&version); err != nil {
			return err
		}
		if since > 0 {
			changed, err = queryResources(ctx, q, "SELECT "+resourceColumns+" FROM resources WHERE version > ? ORDER BY number", since)
			return err
		}
		changed, err = queryResources(ctx, q, "SELECT "+resourceColumns+` FROM resources
			WHERE status <> 3 OR EXISTS (SELECT 1 FROM retries WHERE sub = number) ORDER BY number`)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read changed resources: %w", err)
	}
	return changed, version, nil
}
