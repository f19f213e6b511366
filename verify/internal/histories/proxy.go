package main

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/internal/servers"
)

// proxy stands between clients and a server, as the network does. A rule cuts or delays some
// of its links, in one direction or both.
type proxy struct {
	listener net.Listener
	target   atomic.Pointer[string]

	mu    sync.Mutex
	links map[*link]bool
	rules map[*rule]bool
}

// link is a connection through a proxy.
type link struct {
	client, server     net.Conn
	toServer, toClient *gate
	closed             sync.Once
	forget             func()
}

// gate lets bytes pass in one direction, unless a rule holds them.
type gate struct {
	mu     sync.Mutex
	change *sync.Cond
	holds  int
	delay  time.Duration
	closed bool
}

// rule is a fault of a proxy's links. Held bytes are not lost: the network sends them again
// when the link is back, so a server can get a claim long after the client gave up.
type rule struct {
	toServer, toClient bool
	delay              time.Duration // 0: hold all
	share              float64       // of the links
	rand               *rand.Rand
	gates              []*gate
	links              []*link
}

func newProxy(h *servers.Host) *proxy {
	h.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	p := &proxy{listener: l, links: make(map[*link]bool), rules: make(map[*rule]bool)}
	h.Cleanup(func() {
		_ = l.Close()
		p.reset()
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.connect(client)
		}
	}()
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// leadTo sets the server of new links.
func (p *proxy) leadTo(address string) { p.target.Store(&address) }

func (p *proxy) connect(client net.Conn) {
	target := p.target.Load()
	if target == nil {
		_ = client.Close()
		return
	}
	server, err := net.Dial("tcp", *target)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client: client, server: server, toServer: newGate(), toClient: newGate()}
	l.forget = func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}
	p.mu.Lock()
	p.links[l] = true
	for r := range p.rules {
		r.take(l)
	}
	p.mu.Unlock()
	go l.copy(server, client, l.toServer)
	go l.copy(client, server, l.toClient)
}

func newGate() *gate {
	g := new(gate)
	g.change = sync.NewCond(&g.mu)
	return g
}

// pass waits until bytes may pass. It returns false if the link has ended.
func (g *gate) pass() bool {
	g.mu.Lock()
	for g.holds > 0 && !g.closed {
		g.change.Wait()
	}
	delay, closed := g.delay, g.closed
	g.mu.Unlock()
	if !closed && delay > 0 {
		time.Sleep(delay)
	}
	return !closed
}

func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	g.change.Broadcast()
}

func (l *link) copy(to, from net.Conn, g *gate) {
	defer l.close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		// The end of a connection is news, too, and passes no cut.
		if !g.pass() {
			return
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (l *link) close() {
	l.closed.Do(func() {
		_ = l.client.Close()
		_ = l.server.Close()
		for _, g := range []*gate{l.toServer, l.toClient} {
			g.set(func() { g.closed = true })
		}
		l.forget()
	})
}

// take applies the rule to a link, or not, as its share says.
func (r *rule) take(l *link) {
	if r.rand.Float64() >= r.share {
		return
	}
	r.links = append(r.links, l)
	for g, chosen := range map[*gate]bool{l.toServer: r.toServer, l.toClient: r.toClient} {
		if !chosen {
			continue
		}
		r.gates = append(r.gates, g)
		if r.delay > 0 {
			g.set(func() { g.delay = r.delay })
		} else {
			g.set(func() { g.holds++ })
		}
	}
}

// apply begins a fault of present and new links.
func (p *proxy) apply(r *rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules[r] = true
	for l := range p.links {
		r.take(l)
	}
}

// lift ends a fault. With reset, the links of the rule end, and the held bytes are lost.
func (p *proxy) lift(r *rule, reset bool) {
	p.mu.Lock()
	delete(p.rules, r)
	p.mu.Unlock()
	if reset {
		for _, l := range r.links {
			l.close()
		}
	}
	for _, g := range r.gates {
		g.set(func() {
			if r.delay > 0 {
				g.delay = 0
			} else {
				g.holds--
			}
		})
	}
}

// reset ends all links.
func (p *proxy) reset() {
	p.mu.Lock()
	var all []*link
	for l := range p.links {
		all = append(all, l)
	}
	p.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}
