package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"
)

// listeners are those that were opened.
func (a *App) listeners() []net.Listener {
	var open []net.Listener
	for _, l := range []net.Listener{a.listener, a.unix} {
		if l != nil {
			open = append(open, l)
		}
	}
	return open
}

// listenUnix listens on a Unix socket that this user alone can reach; it is
// removed when the listener is closed. One that a process left which was killed
// is replaced, anything else at its path is not.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	switch at, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("listen on Unix socket: %w", err)
	case at.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("listen on Unix socket: %s is there and is no socket: remove it, or choose another path with --listen-unix", path)
	default:
		dial := net.Dialer{Timeout: time.Second}
		if conn, err := dial.DialContext(ctx, "unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("listen on Unix socket: another program serves %s: stop it, or choose another path with --listen-unix", path), conn.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove old Unix socket: %w", err)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on Unix socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on Unix socket: %w", err), l.Close())
	}
	return l, nil
}
