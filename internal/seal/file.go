package seal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// posix is whether files have permission bits and directories can be synced.
const posix = runtime.GOOS != "windows"

// LoadOrCreateKeyFile reads the key in the file at path, 64 hexadecimal digits,
// or creates the file with a new key, which it reports by created. The
// directory must exist.
//
// However many processes create the file at once, all return the same key and
// one reports created; none reads a half-written file, and a created key has
// reached the disk before anyone returns it. A file that others than its owner
// can access is an error.
func LoadOrCreateKeyFile(path string) (key Key, created bool, err error) {
	key, err = loadKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	created, err = createKeyFile(path)
	if err != nil {
		return Key{}, false, fmt.Errorf("create key file %s: %w", path, err)
	}
	key, err = loadKeyFile(path)
	return key, created && err == nil, err
}

func loadKeyFile(path string) (Key, error) {
	file, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return Key{}, fmt.Errorf("open key file: %w", err)
	}
	defer file.Close() //nolint:errcheck // nothing was written

	info, err := file.Stat()
	if err != nil {
		return Key{}, fmt.Errorf("stat key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Key{}, fmt.Errorf("key file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); posix && mode&0o077 != 0 {
		return Key{}, fmt.Errorf("key file %s is open to other users (mode %04o); run: chmod 600 %s", path, mode, path)
	}
	content, err := io.ReadAll(io.LimitReader(file, 1024))
	if err != nil {
		return Key{}, fmt.Errorf("read key file: %w", err)
	}
	key, err := ParseKey(strings.TrimSpace(string(content)))
	if err != nil {
		return Key{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}

// createKeyFile writes a new key to a temporary file and links it to path. A
// link, unlike a rename, fails if path exists: the first creator wins, and the
// file is complete from the moment it has its name. Losing is no error.
func createKeyFile(path string) (created bool, err error) {
	dir := filepath.Dir(path)
	temp, err := writeNewKey(dir)
	if err != nil {
		return false, err
	}
	defer os.Remove(temp) //nolint:errcheck // a leftover is harmless: owner-only

	err = os.Link(temp, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, fmt.Errorf("link: %w", err)
	}
	// The loser syncs too: it may use the winner's key before the winner does.
	return err == nil, syncDir(dir)
}

// writeNewKey writes a new key to a temporary file in dir and returns its name.
func writeNewKey(dir string) (name string, err error) {
	// CreateTemp opens with O_EXCL and mode 0600.
	file, err := os.CreateTemp(dir, ".key-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	var master [keySize]byte
	_, _ = rand.Read(master[:]) // never fails: it crashes the program instead
	if _, err := file.WriteString(hex.EncodeToString(master[:]) + "\n"); err != nil {
		return "", err
	}
	return file.Name(), file.Sync()
}

func syncDir(path string) error {
	if !posix {
		return nil
	}
	dir, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
