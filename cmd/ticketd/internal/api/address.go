package api

import (
	"net/http"
	"net/netip"
	"slices"
)

// Proxies are the reverse proxies in front of the service, which tell where a request came
// from.
type Proxies struct {
	// Trusted are the networks of the proxies' own addresses. Other clients are not
	// believed about their address. Empty: there are no proxies.
	Trusted []netip.Prefix

	// Forwarded says that the proxies use the header Forwarded (RFC 7239), and otherwise
	// X-Forwarded-For. Only the header that the proxies write is read: the client can make
	// up the other.
	Forwarded bool
}

// client returns the address of the client, or the zero Addr if the address is unknown.
// Each proxy adds its own client at the right. The first address from the right outside
// the trusted networks is the client's, and everything left of it is the client's own
// text. In a line that is not of the header's grammar, the client's text may have
// swallowed a part of the proxy's. So a single such line makes the address unknown.
func (p Proxies) client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := unmapped(peer.Addr())
	if !p.trusts(addr) {
		return addr
	}
	hops, ok := p.hops(r.Header)
	if !ok {
		return netip.Addr{}
	}
	for i := len(hops) - 1; i >= 0 && p.trusts(addr); i-- {
		addr = hops[i]
	}
	return addr
}

func (p Proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.Trusted, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// hops returns the clients of all hops in the header. A hidden client is the zero Addr.
// ok is false if a line is not of the grammar.
func (p Proxies) hops(h http.Header) (all []netip.Addr, ok bool) {
	name, parse := "X-Forwarded-For", parseXForwardedFor
	if p.Forwarded {
		name, parse = "Forwarded", parseForwarded
	}
	for _, line := range h.Values(name) {
		hops, ok := parse(line)
		if !ok {
			return nil, false
		}
		all = append(all, hops...)
	}
	return all, true
}

func unmapped(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// unknownClient stands for all clients without a known address, in logs and where
// requests are counted.
const unknownClient = "unknown"

// caller returns the client's name for counting. An IPv6 client has a /64, and with it any
// number of addresses. All clients without a known address count as one.
func caller(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return unknownClient
	case addr.Is6():
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
