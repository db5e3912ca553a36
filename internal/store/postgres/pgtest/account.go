package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
)

// account is the user PostgreSQL runs as when root starts it; nil is the user
// this process has.
type account struct {
	name     string
	uid, gid int
}

// unprivileged returns whom to run PostgreSQL as.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil is the caller's own user
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, fmt.Errorf("read uid of %s: %w", name, err)
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return nil, fmt.Errorf("read gid of %s: %w", name, err)
		}
		return &account{name, uid, gid}, nil
	}
	return nil, fmt.Errorf("run PostgreSQL as root: it refuses, and there is no user postgres or nobody to run it as")
}

// command has cmd run as this user in dir, with an environment in which no
// setting of the caller's (PGDATA, LC_MESSAGES) changes what it does or says.
func (a *account) command(cmd *exec.Cmd, dir string) *exec.Cmd {
	cmd.Dir = dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = a.attributes()
	return cmd
}

// own gives paths to this user.
func (a *account) own(paths ...string) error {
	if a == nil {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, a.uid, a.gid); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) String() string {
	if a == nil {
		return "this user"
	}
	return a.name
}
