//go:build !unix

package pgstore

import "net"

// unread cannot tell here.
func unread(net.Conn) bool { return false }
