package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
)

// openStore opens the store of a server, making and migrating it as needed.
func openStore(ctx context.Context, cfg config.Config) (store.Store, error) {
	if cfg.Database == "" {
		db, err := sqlite.Open(ctx, sqlite.Options{Path: databasePath(cfg), MaxSize: cfg.MaxStoreSize})
		return opened(db, err)
	}
	node, err := nodeName(cfg)
	if err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, postgres.Options{
		URL: string(cfg.Database), Node: node, Lease: cfg.NodeLease, MaxConns: cfg.DatabaseConnections, Clock: machineClock,
	})
	return opened(db, err)
}

// openForeign opens the store beside a server that may be running.
func openForeign(ctx context.Context, cfg config.Config) (store.Store, error) {
	if cfg.Database != "" {
		db, err := postgres.Open(ctx, postgres.Options{URL: string(cfg.Database), MaxConns: 2, Foreign: true})
		return opened(db, err)
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: databasePath(cfg), Foreign: true})
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no database in %s yet: start `waybill serve` once, or name its folder with --data", cfg.Data)
	}
	return opened(db, err)
}

// opened keeps a driver's nil from becoming a store that is not nil.
func opened[T store.Store](db T, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return db, nil
}

func databasePath(cfg config.Config) string { return filepath.Join(cfg.Data, "waybill.db") }

// nodeName is what tells the nodes at one database apart, and the same after
// a restart.
func nodeName(cfg config.Config) (string, error) {
	if cfg.NodeName != "" {
		return cfg.NodeName, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name this node: %w; set WAYBILL_NODE_NAME", err)
	}
	return strings.ReplaceAll(host+","+cfg.Listen, "/", ","), nil
}

// serverKey is the encryption key of a server. Only one that has its database
// to itself may make one.
func serverKey(ctx context.Context, cfg config.Config, db store.Store) (seal.Key, error) {
	recorded, err := db.BindKey(ctx, "")
	if err != nil {
		return seal.Key{}, fmt.Errorf("check encryption key: %w", err)
	}
	var key seal.Key
	if recorded != "" {
		key, err = existingKey(cfg)
	} else {
		key, err = encryptionKey(cfg)
	}
	if err != nil {
		return key, err
	}
	return key, bindKey(ctx, db, key)
}

func encryptionKey(cfg config.Config) (seal.Key, error) {
	if cfg.EncryptionKey != "" {
		return seal.ParseKey(string(cfg.EncryptionKey))
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return seal.Key{}, fmt.Errorf("open data folder: %w", err)
	}
	key, _, err := seal.LoadOrCreateKeyFile(filepath.Join(cfg.Data, "encryption.key"))
	return key, err
}

// existingKey is the key that the database was made with. It never makes one:
// for a database that has one a new key is a wrong one.
func existingKey(cfg config.Config) (seal.Key, error) {
	if cfg.EncryptionKey == "" {
		if _, err := os.Stat(filepath.Join(cfg.Data, "encryption.key")); errors.Is(err, os.ErrNotExist) {
			return seal.Key{}, fmt.Errorf("there is no encryption.key in %s, and the database was made with one: "+
				"set WAYBILL_ENCRYPTION_KEY to the key that its server, or the other nodes, have", cfg.Data)
		}
	}
	return encryptionKey(cfg)
}

// bindKey refuses a key that does not fit what the database was made with.
func bindKey(ctx context.Context, db store.Store, key seal.Key) error {
	recorded, err := db.BindKey(ctx, key.Fingerprint())
	if err != nil {
		return fmt.Errorf("check encryption key: %w", err)
	}
	if recorded != key.Fingerprint() {
		return errors.New("the encryption key is not the one this database was made with, so its signing secrets cannot be read; " +
			"set WAYBILL_ENCRYPTION_KEY to the former key, or put the former encryption.key back into the data folder")
	}
	return nil
}
