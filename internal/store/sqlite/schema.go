package sqlite

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// Migrations lists the steps of the schema, applied and pending.
func (db *DB) Migrations(ctx context.Context) ([]sqlstore.Migration, error) {
	p, err := newMigrator(db.read)
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	list, err := sqlstore.Migrations(ctx, p, db.read)
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", classify(err))
	}
	return list, nil
}
