package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
)

// onStore runs a verb that opens the store. A signal ends it in order: what is
// half done is taken back.
func (c *cli) onStore(loader *config.Loader, run func(ctx context.Context, cfg config.Config, given []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, given []string) error {
		cfg, err := loader.Load(c.env)
		if err != nil {
			return err
		}
		ctx, release := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer release()
		if err := run(ctx, cfg, given); err != nil {
			return fmt.Errorf("%s: %w", cmd.Name(), err)
		}
		return nil
	}
}

func (c *cli) migrateCommand() *cobra.Command {
	loader := config.NewLoader("data", "database")
	status := &cobra.Command{
		Use:   "status",
		Short: "List the migrations of the database",
		Long: `List the migrations of the database, applied and pending. Those of a newer
release are listed too; this one works beside them, or says that it cannot.`,
		Args: args(),
		RunE: c.onStore(loader, func(ctx context.Context, cfg config.Config, _ []string) error {
			list, err := app.Migrations(ctx, cfg)
			if err != nil {
				return err
			}
			pending := 0
			for _, m := range list {
				if m.Applied.IsZero() {
					pending++
				}
			}
			note := "The database is up to date."
			if pending > 0 {
				note = fmt.Sprintf("%d pending: `waybill migrate up` applies them, as does `waybill serve`.", pending)
			}
			return c.printMigrations(list, note)
		}),
	}
	up := &cobra.Command{
		Use:   "up",
		Short: "Apply pending migrations",
		Long: `Apply pending migrations, as "waybill serve" does when it starts. Servers of the
release before may be running, and go on.`,
		Args: args(),
		RunE: c.onStore(loader, func(ctx context.Context, cfg config.Config, _ []string) error {
			applied, err := app.Migrate(ctx, cfg)
			if err != nil {
				return err
			}
			return c.printMigrations(applied, fmt.Sprintf("Applied %d. The database is up to date.", len(applied)))
		}),
	}
	bind(status, loader)
	bind(up, loader)
	return group("migrate", "Bring the database to this release's schema", status, up)
}

func (c *cli) printMigrations(list []app.Migration, note string) error {
	rows, objects := make([][]string, len(list)), make([]map[string]any, len(list))
	for i, m := range list {
		name, applied := m.Name, "pending"
		if name == "" {
			name = fmt.Sprintf("%05d, of a newer release", m.Version)
		}
		objects[i] = map[string]any{"version": m.Version, "name": m.Name, "applied": nil}
		if !m.Applied.IsZero() {
			applied = m.Applied.UTC().Format(time.RFC3339)
			objects[i]["applied"] = applied
		}
		rows[i] = []string{name, applied}
	}
	if c.json {
		return c.printJSON(map[string]any{"data": objects})
	}
	return c.table([]string{"MIGRATION", "APPLIED"}, rows, "Nothing was pending. The database is up to date.", note)
}

func (c *cli) backupCommand() *cobra.Command {
	loader := config.NewLoader("data")
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the embedded store to a file, while the server runs",
		Long: `Copy the embedded store to a file, as it is at one moment; the server may be
running. The file has its name only once it is complete and on disk.

The encryption key is not in it: keep a copy of encryption.key, or of
WAYBILL_ENCRYPTION_KEY, at another place. Whoever has both can read the signing
secrets; whoever has the backup alone cannot, nor can you.`,
		Args: args("the file to write"),
	}
	bind(cmd, loader)
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it exists")
	cmd.RunE = c.onStore(loader, func(ctx context.Context, cfg config.Config, given []string) error {
		size, err := app.Backup(ctx, cfg, given[0], force)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]any{"file": given[0], "bytes": size})
		}
		key := filepath.Join(cfg.Data, "encryption.key")
		if cfg.EncryptionKey != "" {
			key = "WAYBILL_ENCRYPTION_KEY"
		}
		fmt.Fprintf(c.stdout, "Wrote %s, %.1f MB\nThe encryption key is not in it: keep a copy of %s at another place.\n", given[0], float64(size)/1e6, key)
		return nil
	})
	return cmd
}

func (c *cli) restoreCommand() *cobra.Command {
	loader := config.NewLoader("data")
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a backup the embedded store of a data folder",
		Long: `Make a backup the embedded store of a data folder, whose server must not be
running. The backup is read from end to end first, and its encryption key is
compared with the one that is there.

What had not been delivered when the backup was made is delivered when the
server starts, though it may have been since.`,
		Args: args("the backup"),
	}
	bind(cmd, loader)
	cmd.Flags().BoolVar(&force, "force", false, "set a database that is there aside, under another name")
	cmd.RunE = c.onStore(loader, func(ctx context.Context, cfg config.Config, given []string) error {
		done, err := app.Restore(ctx, cfg, given[0], force)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]any{"restored": given[0], "former": done.Former, "key_fits": done.KeyFits})
		}
		if done.Former != "" {
			fmt.Fprintf(c.stdout, "Set the former database aside as %s\n", done.Former)
		}
		fmt.Fprintf(c.stdout, "Restored %s into %s\n", given[0], cfg.Data)
		if done.KeyFits {
			fmt.Fprintln(c.stdout, "The encryption key fits. Start `waybill serve`.")
		} else {
			fmt.Fprintf(c.stdout, "The encryption key is missing: put the encryption.key that belongs to the backup into %s, or set WAYBILL_ENCRYPTION_KEY, before you start `waybill serve`.\n", cfg.Data)
		}
		return nil
	})
	return cmd
}

func (c *cli) importCommand() *cobra.Command {
	loader := config.NewLoader("data", "database")
	var from, to string
	cmd := &cobra.Command{
		Use:   "import --from sqlite --to postgres",
		Short: "Move an installation from the embedded store to PostgreSQL",
		Long: `Move an installation from the embedded store in the data folder, whose server
must not be running, to an empty PostgreSQL database. Everything goes along:
accounts and keys, destinations, rules, queues with their messages, events,
what is undelivered and when it is due, archives, logs.

It is one transaction. If it is interrupted, neither side has changed and it can
be run again; once it is done, the embedded store is not served any more.`,
		Args: args(),
	}
	bind(cmd, loader)
	cmd.Flags().StringVar(&from, "from", "", "where from: sqlite")
	cmd.Flags().StringVar(&to, "to", "", "where to: postgres")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if from != "sqlite" || to != "postgres" {
			return usagef("`%s` can move an installation --from sqlite --to postgres; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
		}
		return c.onStore(loader, c.importStore)(cmd, given)
	}
	return cmd
}

func (c *cli) importStore(ctx context.Context, cfg config.Config, _ []string) error {
	tables := map[string]int64{}
	again, err := app.Import(ctx, cfg, func(p app.ImportProgress) {
		if tables[p.Table] = p.Rows; !c.json {
			fmt.Fprintf(c.stdout, "%-14s %d of %d\n", p.Table, p.Rows, p.Of)
		}
	})
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted; run it again")
		}
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"imported": !again, "rows": tables})
	}
	if again {
		fmt.Fprintln(c.stdout, "Everything had been imported into this database before.")
	} else {
		fmt.Fprintln(c.stdout, "Imported everything; both sides have the same number of rows in each table.")
	}
	key := filepath.Join(cfg.Data, "encryption.key")
	fmt.Fprintf(c.stdout, "Now start `waybill serve` with WAYBILL_DATABASE, and with %s in its data folder or as WAYBILL_ENCRYPTION_KEY on each node.\n", key)
	return nil
}
