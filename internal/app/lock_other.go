//go:build !unix

package app

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockFolder opens the lock file. Without flock it is the lane's epoch that
// stops the older of two servers on one folder, at its next commit.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "waybill.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return f, nil
}
