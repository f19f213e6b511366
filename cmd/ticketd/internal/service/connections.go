package service

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections are the open connections of a server.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]*connection
	free connection // a ring of the connections without a request, the longest free first
}

// connection is an open connection. Each request changes its state twice, so this takes no
// memory.
type connection struct {
	net.Conn
	since       time.Time // when it was opened
	first       bool      // before the first request
	older, next *connection
}

func newConnections() *connections {
	c := &connections{open: make(map[net.Conn]*connection)}
	c.free.older, c.free.next = &c.free, &c.free
	return c
}

// note records the state of a connection, as http.Server.ConnState.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.open[conn]
	if e == nil {
		if state != http.StateNew {
			return // it was shed
		}
		e = &connection{Conn: conn, since: time.Now(), first: true}
		c.open[conn] = e
	}
	e.take()
	switch state {
	case http.StateNew, http.StateIdle:
		e.older, e.next = c.free.older, &c.free
		e.older.next, c.free.older = e, e
	case http.StateActive:
		e.first = false
	default:
		delete(c.open, conn)
	}
}

// take takes a connection out of the ring, if it is there.
func (e *connection) take() {
	if e.next != nil {
		e.older.next, e.next.older = e.next, e.older
		e.older, e.next = nil, nil
	}
}

// count returns how many connections are open.
func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// busy returns the number of connections with a request, or before the first.
func (c *connections) busy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	busy := len(c.open)
	for e := c.free.next; e != &c.free; e = e.next {
		if !e.first {
			busy--
		}
	}
	return busy
}

// shed closes the connection without a request for the longest time. It returns false if
// there is none. A new connection counts after IdleGrace only, since the client may be about
// to send the first request.
func (c *connections) shed() bool {
	c.mu.Lock()
	e := c.free.next
	if e == &c.free || e.first && time.Since(e.since) < IdleGrace {
		c.mu.Unlock()
		return false
	}
	e.take()
	delete(c.open, e.Conn)
	c.mu.Unlock()
	_ = e.Close() // the peer may have closed it
	return true
}

// finish returns when no connection is open, when the open connections have been idle for
// IdleGrace, or when ctx is done. Bodies that take longer than BodyGrace are ended.
func (c *connections) finish(ctx context.Context, late *bodies) {
	began := time.Now()
	idle, wait := began.Add(IdleGrace), began.Add(BodyGrace)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c.count() == 0 || c.busy() == 0 && time.Now().After(idle) {
			return
		}
		if now := time.Now(); now.After(wait) {
			late.endLate(now.Add(-BodyGrace))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
