package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
)

// Migration is one step of a database's schema.
type Migration struct {
	Version int64
	// Name is that of its file; "" if this program does not know it.
	Name string
	// Applied is when; zero if it has not been.
	Applied time.Time
}

// ErrNewer is a database whose schema this program cannot work with.
var ErrNewer = errors.New("the database was migrated by a newer waybill that earlier ones cannot share it with: " +
	"run that version, or restore a backup from before")

// generation is how many migrations are numbered before one that earlier
// programs cannot work beside: those within a generation only add. So nodes of
// two versions can share a database, and an upgrade can be taken back.
const generation = 100

// Migrate applies what is missing, with up, and returns ErrNewer if there is
// something that this program cannot work with.
func Migrate(ctx context.Context, p *goose.Provider, up bool) error {
	current, known, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current/generation > known/generation {
		return fmt.Errorf("%w (its migration is %05d, this one knows %05d)", ErrNewer, current, known)
	}
	if up && current < known { // so that nodes that start together need not wait for each other
		_, err = p.Up(ctx)
	}
	return err
}

// Migrations lists those that this program knows, and then those that a newer
// one applied.
func Migrations(ctx context.Context, p *goose.Provider, c Conn) ([]Migration, error) {
	rows, err := c.QueryContext(ctx, "SELECT version_id, tstamp FROM goose_db_version WHERE version_id > 0 ORDER BY version_id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list, newer []Migration
	for _, known := range p.ListSources() {
		list = append(list, Migration{Version: known.Version, Name: path.Base(known.Path)})
	}
	for rows.Next() {
		var m Migration
		if err := rows.Scan(&m.Version, &m.Applied); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(list, func(k Migration) bool { return k.Version == m.Version }); i >= 0 {
			list[i].Applied = m.Applied
		} else {
			newer = append(newer, m)
		}
	}
	return append(list, newer...), rows.Err()
}
