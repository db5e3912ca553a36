//go:build linux || darwin

package app

import (
	"fmt"
	"syscall"
)

// writable asks whether this process may write there, without doing so.
func writable(path string) error {
	const mayWrite = 2 // W_OK
	if err := syscall.Access(path, mayWrite); err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	return nil
}

// freeBytes is what this process can still write to the disk of a path.
func freeBytes(path string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize) //nolint:unconvert // the types differ by system
}
