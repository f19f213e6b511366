package service

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections are the open connections of a server.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]*list.Element // in free; nil for a connection with a request
	free list.List                  // of freeConnection, the longest without a request first
}

// freeConnection is a connection without a request.
type freeConnection struct {
	net.Conn
	since time.Time
	first bool // before the first request
}

// note records the state of a connection, as http.Server.ConnState.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, known := c.open[conn]
	if !known && state != http.StateNew {
		return // it was shed
	}
	if e != nil {
		c.free.Remove(e)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.open[conn] = c.free.PushBack(freeConnection{conn, time.Now(), state == http.StateNew})
	case http.StateActive:
		c.open[conn] = nil
	default:
		delete(c.open, conn)
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
	for e := c.free.Front(); e != nil; e = e.Next() {
		if !e.Value.(freeConnection).first {
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
	e := c.free.Front()
	if e == nil || e.Value.(freeConnection).first && time.Since(e.Value.(freeConnection).since) < IdleGrace {
		c.mu.Unlock()
		return false
	}
	oldest := c.free.Remove(e).(freeConnection).Conn
	delete(c.open, oldest)
	c.mu.Unlock()
	_ = oldest.Close() // the peer may have closed it
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
