package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// Migration is one step of a database's schema.
type Migration = sqlstore.Migration

func migrations(ctx context.Context, db store.Store) ([]Migration, error) {
	return db.(interface { //nolint:forcetypeassert // both drivers do
		Migrations(context.Context) ([]Migration, error)
	}).Migrations(ctx)
}

// Migrations lists the steps of the database's schema, those pending with no
// time, and at the end those of a newer release with no name. It changes
// nothing.
func Migrations(ctx context.Context, cfg config.Config) ([]Migration, error) {
	db, err := openForeign(ctx, cfg)
	if err != nil {
		return nil, err
	}
	list, err := migrations(ctx, db)
	return list, errors.Join(err, db.Close())
}

// Migrate brings the database to this release's schema, as a server does when
// it starts, and returns what that took. Servers may be running.
func Migrate(ctx context.Context, cfg config.Config) ([]Migration, error) {
	before, err := Migrations(ctx, cfg)
	if err != nil {
		return nil, err
	}
	db, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	after, err := migrations(ctx, db)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	var applied []Migration
	for i, m := range before {
		if m.Applied.IsZero() {
			applied = append(applied, after[i])
		}
	}
	return applied, nil
}

// warnNewer says that another release has been at the database.
func warnNewer(ctx context.Context, db store.Store, log *slog.Logger) error {
	list, err := migrations(ctx, db)
	if err != nil {
		return err
	}
	if last := list[len(list)-1]; last.Name == "" {
		log.Warn("the database was migrated by a newer waybill; this one works beside it, but should be replaced", "migration", last.Version)
	}
	return nil
}
