package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/store/postgres"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
)

// ImportProgress tells of one table.
type ImportProgress = postgres.Progress

// Import moves everything from the embedded store in the data folder, which no
// server may use, to the PostgreSQL. Until all of it is there, neither has
// changed; afterwards the embedded store can no longer be served. It can be
// run again whatever happened: again says that everything was there already.
func Import(ctx context.Context, cfg config.Config, progress func(ImportProgress)) (again bool, err error) {
	if cfg.Database == "" {
		return false, errors.New("where to is missing: name an empty PostgreSQL database with --database or WAYBILL_DATABASE")
	}
	if _, err := os.Stat(databasePath(cfg)); err != nil {
		return false, noDatabase(cfg)
	}
	lock, err := lockFolder(cfg.Data)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	from, err := sqlite.OpenExport(ctx, databasePath(cfg))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if again, err = postgres.Import(ctx, string(cfg.Database), from, progress); err != nil {
		return false, err
	}
	if err := from.Retire(context.WithoutCancel(ctx)); err != nil {
		return false, fmt.Errorf("everything is in PostgreSQL, but the embedded store could not be marked (run it again): %w", err)
	}
	return again, nil
}

func noDatabase(cfg config.Config) error {
	return fmt.Errorf("there is no database in %s: name its folder with --data", cfg.Data)
}
