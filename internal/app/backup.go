package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
)

// errBackUpPostgres answers what PostgreSQL's own tools are for.
var errBackUpPostgres = errors.New("the store is a PostgreSQL: back it up with pg_dump or pg_basebackup, and restore it with pg_restore; " +
	"keep the encryption key beside, apart from the dump")

// Backup copies the embedded store to a file, whose size it returns. The
// server may be running. The encryption key is not part of it. A file of that
// name is only replaced with force; it is complete from the moment it has its
// name, and its owner's alone.
func Backup(ctx context.Context, cfg config.Config, to string, force bool) (size int64, err error) {
	if cfg.Database != "" {
		return 0, errBackUpPostgres
	}
	source, err := os.Stat(databasePath(cfg))
	if err != nil {
		return 0, noDatabase(cfg)
	}
	switch there, err := os.Stat(to); {
	case err == nil && os.SameFile(source, there):
		return 0, fmt.Errorf("%s is the database itself: choose another name", to)
	case !errors.Is(err, os.ErrNotExist) && !force:
		return 0, errors.Join(err, fmt.Errorf("%s exists: choose another name, or replace it with --force", to))
	}
	return place(to, func(temp string) error { return sqlite.Backup(ctx, databasePath(cfg), temp) })
}

// Restored tells what was done beside putting the database in its place.
type Restored struct {
	// Former is where the database went that was there; "" if none was.
	Former string
	// KeyFits tells that the encryption key is there, and the right one.
	// Without, the key still has to be put there.
	KeyFits bool
}

// Restore makes a backup the database of a data folder that no server uses. A
// database that is there is set aside, with force. Nothing is changed before
// the backup has been read from end to end.
func Restore(ctx context.Context, cfg config.Config, from string, force bool) (r Restored, err error) {
	if cfg.Database != "" {
		return r, errBackUpPostgres
	}
	if info, err := os.Stat(from + "-wal"); err == nil && info.Size() > 0 {
		return r, fmt.Errorf("%s is not a backup but a database that is in use, as %s-wal beside it shows: make one with `waybill backup`", from, from)
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return r, fmt.Errorf("open data folder: %w", err)
	}
	lock, err := lockFolder(cfg.Data)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	path := databasePath(cfg)
	for _, suffix := range databaseFiles {
		if _, err := os.Lstat(path + suffix); !errors.Is(err, os.ErrNotExist) && !force {
			return r, errors.Join(err, fmt.Errorf("%s exists: restore into another folder with --data, or set it aside with --force", path+suffix))
		}
	}
	_, err = place(path, func(temp string) error {
		if err := copyFile(from, temp); err != nil {
			return err
		}
		fingerprint, err := sqlite.Inspect(ctx, temp)
		if err != nil {
			return fmt.Errorf("%s cannot be restored: %w", from, err)
		}
		if r.KeyFits, err = keyFits(cfg, fingerprint); err != nil {
			return err
		}
		r.Former, err = setAside(path, time.Now())
		return err
	})
	return r, err
}

// keyFits compares the key of a data folder, if there is one, with that of a
// database.
func keyFits(cfg config.Config, fingerprint string) (bool, error) {
	if cfg.EncryptionKey == "" {
		if _, err := os.Stat(filepath.Join(cfg.Data, "encryption.key")); errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
	}
	key, err := encryptionKey(cfg)
	if err == nil && fingerprint != "" && key.Fingerprint() != fingerprint {
		err = errors.New("the encryption key in use here is not the one this backup was made with: " +
			"put the encryption.key that belongs to it into the data folder, or set WAYBILL_ENCRYPTION_KEY")
	}
	return err == nil, err
}

// place writes a file under a passing name, and gives it its own once it is
// on disk. write is given an empty file, which only its owner can read.
func place(path string, write func(temp string) error) (size int64, err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.partial")
	if err != nil {
		return 0, err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // it has its name by then, or is half done
	if err := errors.Join(temp.Close(), write(temp.Name())); err != nil {
		return 0, err
	}
	if size, err = syncFile(temp.Name()); err != nil {
		return 0, err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return 0, err
	}
	return size, syncFolder(dir)
}

func syncFile(path string) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // G304: the operator names the file
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err == nil {
		size, err = info.Size(), f.Sync()
	}
	return size, errors.Join(err, f.Close())
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from) //nolint:gosec // G304: the operator names the file
	if err != nil {
		return err
	}
	defer in.Close()                                           //nolint:errcheck // it was only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // G304: our own file
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err = io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync() // whether there is room shows now, and not once the former is set aside
}

// databaseFiles are what a database consists of. A log of one beside another
// would damage it.
var databaseFiles = []string{"", "-wal", "-shm"}

// setAside renames a database with what belongs to it.
func setAside(path string, now time.Time) (former string, err error) {
	to := path + ".before-" + now.UTC().Format("20060102T150405.000Z")
	for _, suffix := range databaseFiles {
		err := os.Rename(path+suffix, to+suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if err == nil {
			former = to
		}
	}
	return former, nil
}

func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path) //nolint:gosec // G304: the operator names the folder
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
