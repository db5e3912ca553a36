package pgtest

import (
	"os/exec"
	"syscall"
)

// attributes make a process run as this user, and not hear a Ctrl-C that is
// meant for the tests.
func (a *account) attributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		attributes.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attributes
}

// dieWithThread ends cmd when the thread that starts it ends, so the caller must
// hold on to that: the runtime ends threads too, not only the process.
func dieWithThread(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT }
