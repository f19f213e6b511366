//go:build unix

package pgstore

import (
	"crypto/tls"
	"net"
	"syscall"
)

// unread reports whether anything has come on an idle connection: its end, or the server's
// last words before the end. unread sends nothing and takes nothing.
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
	// Not raw.Read: it would wait without end for pgx's background reader, which stays in a
	// read of its own after a slow write.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		waits = err == syscall.EAGAIN || err == syscall.EINTR
	})
	return err != nil || !waits
}
