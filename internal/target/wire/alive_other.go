//go:build !unix

package wire

import "syscall"

// alive cannot ask here, so that an idle connection is not used again.
func alive(syscall.RawConn) bool { return false }
