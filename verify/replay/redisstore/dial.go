package redisstore

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/admitone/admitone/verify/replay/internal/queue"
)

// dialer opens connections and knows the open ones. When a primary has become a replica,
// the store closes them all: the name, or a proxy, may lead to another server by now, but
// the client library would keep its connections.
type dialer struct {
	network string
	ended   chan struct{} // a connection has, since this was last received from
	mu      sync.Mutex
	open    map[*conn]struct{}
	closed  bool
}

type conn struct {
	net.Conn
	dialer *dialer
}

func newDialer(network string) *dialer {
	return &dialer{network: network, ended: make(chan struct{}, 1), open: make(map[*conn]struct{})}
}

func (d *dialer) dial(ctx context.Context, address string, plain *net.Dialer, config *tls.Config) (net.Conn, error) {
	var raw net.Conn
	var err error
	if config != nil {
		secure := tls.Dialer{NetDialer: plain, Config: config}
		raw, err = secure.DialContext(ctx, d.network, address)
	} else {
		raw, err = plain.DialContext(ctx, d.network, address)
	}
	if err != nil {
		return nil, err
	}
	c := &conn{raw, d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = raw.Close()
		return nil, queue.ErrClosed
	}
	d.open[c] = struct{}{}
	return c, nil
}

func (c *conn) Close() error {
	c.dialer.mu.Lock()
	_, open := c.dialer.open[c]
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	if open {
		c.dialer.alarm()
	}
	return c.Conn.Close()
}

// alarm wakes the receiver from ended, without waiting.
func (d *dialer) alarm() {
	select {
	case d.ended <- struct{}{}:
	default:
	}
}

// hangUp closes all connections, without an alarm. The client library opens others when
// needed.
func (d *dialer) hangUp() {
	d.mu.Lock()
	var open []*conn
	for c := range d.open {
		open = append(open, c)
	}
	clear(d.open)
	d.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// close closes all connections and lets nobody open others: the client library would, for a
// claim after its own Close.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.hangUp()
}
