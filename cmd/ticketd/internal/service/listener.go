package service

import (
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
)

// maxReserve is the most descriptors that are kept from connections: for the directory,
// the replay store, keyrings, certificates and the connections to other servers.
const maxReserve = 256

// maxConnections returns how many connections may be open under a limit of descriptors.
func maxConnections(limit uint64) int {
	return int(min(limit-min(limit/2, maxReserve), 1<<30))
}

// roomListener bounds the open connections. To make room, it closes the connection without
// a request for the longest time. If all connections have requests, new connections wait in
// the kernel's queue.
type roomListener struct {
	net.Listener
	conns   *connections
	max     int // most connections; 0 for no maximum
	metrics *metrics.Metrics
	log     *slog.Logger
	closed  atomic.Bool

	shed int       // connections closed since the last line in the log
	told time.Time // time of the last line in the log
}

const (
	roomEvery = 10 * time.Millisecond // between two looks for room
	roomTold  = time.Minute           // between two lines in the log
)

// Accept implements net.Listener.
func (l *roomListener) Accept() (net.Conn, error) {
	for {
		l.waitForRoom()
		conn, err := l.Listener.Accept()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) || !l.makeRoom() {
			return conn, err
		}
	}
}

// waitForRoom returns when another connection may be accepted.
func (l *roomListener) waitForRoom() {
	for l.max > 0 && !l.closed.Load() {
		if l.conns.count() < l.max {
			return
		}
		if !l.makeRoom() {
			time.Sleep(roomEvery)
		}
	}
}

// makeRoom closes a connection without a request. It returns false if there is none.
func (l *roomListener) makeRoom() bool {
	if !l.conns.shed() {
		return false
	}
	l.metrics.Shed()
	l.shed++
	if now := time.Now(); now.Sub(l.told) >= roomTold {
		l.log.Warn("connections without a request were closed to make room for new ones; "+
			"raise the limit of open files (ulimit -n, LimitNOFILE)", "closed", l.shed, "max_connections", l.max)
		l.shed, l.told = 0, now
	}
	return true
}

// Close implements net.Listener.
func (l *roomListener) Close() error {
	l.closed.Store(true)
	return l.Listener.Close()
}
