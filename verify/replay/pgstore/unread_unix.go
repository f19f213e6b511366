//go:build unix

package pgstore

import (
	"crypto/tls"
	"net"
	"syscall"
)

// unread reports whether something has come on a connection that waits for
// nothing: its end, or the server's last words before that. It sends nothing and
// takes nothing.
func unread(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	var waits bool
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		waits = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	})
	return err != nil || !waits
}
