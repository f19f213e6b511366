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
	// Not raw.Read: it would wait, with no end, for pgx's background reader, which
	// after a slow write stays in a read of its own.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		waits = err == syscall.EAGAIN || err == syscall.EINTR
	})
	return err != nil || !waits
}
