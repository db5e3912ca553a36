//go:build !linux

package pgtest

import (
	"os/exec"
	"syscall"
)

// attributes are none: root is told by PostgreSQL itself that it may not run it.
func (*account) attributes() *syscall.SysProcAttr { return nil }

// dieWithThread does nothing: only on Linux can a process be bound to another.
func dieWithThread(*exec.Cmd) {}
