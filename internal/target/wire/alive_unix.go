//go:build unix

package wire

import (
	"errors"
	"syscall"
)

// alive asks the kernel whether an idle connection is still open. Neither its
// end nor a byte may have come: nobody has asked the peer anything.
func alive(raw syscall.RawConn) bool {
	if raw == nil {
		return false
	}
	open := false
	err := raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true
	})
	return err == nil && open
}
