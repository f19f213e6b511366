package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
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

// client returns the address of the client, or the zero Addr if it cannot be told. Each
// proxy adds its own client at the right. The first address from the right outside the
// trusted networks is the client's, and everything left of it is the client's own text.
func (p Proxies) client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := unmapped(peer.Addr())
	hops := p.hops(r.Header)
	for i := len(hops) - 1; i >= 0 && p.trusts(addr); i-- {
		if addr, err = parseHop(hops[i]); err != nil {
			return netip.Addr{}
		}
	}
	return addr
}

func (p Proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.Trusted, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// hops returns the addresses of the header, as they were written.
func (p Proxies) hops(h http.Header) (all []string) {
	if len(p.Trusted) == 0 {
		return nil
	}
	if !p.Forwarded {
		for _, line := range h.Values("X-Forwarded-For") {
			all = append(all, strings.Split(line, ",")...)
		}
		return all
	}
	for _, line := range h.Values("Forwarded") {
		for _, element := range splitUnquoted(line, ',') {
			from := ""
			for _, pair := range splitUnquoted(element, ';') {
				name, value, _ := strings.Cut(pair, "=")
				if strings.EqualFold(strings.TrimSpace(name), "for") {
					from = strings.Trim(strings.TrimSpace(value), `"`)
				}
			}
			all = append(all, from) // also a hop without an address
		}
	}
	return all
}

// splitUnquoted splits at separators outside quoted strings.
func splitUnquoted(s string, separator byte) (parts []string) {
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == separator && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// parseHop reads an address, perhaps with a port. An IPv6 address may have brackets.
func parseHop(hop string) (netip.Addr, error) {
	hop = strings.TrimSpace(hop)
	if withPort, err := netip.ParseAddrPort(hop); err == nil {
		return unmapped(withPort.Addr()), nil
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		hop, _ = strings.CutSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(hop)
	return unmapped(addr), err
}

func unmapped(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

type clientKey struct{}

// withClient notes the client's address in the request's context, and in place of the
// proxy's address, for handlers that know of no proxies.
func (s *server) withClient(r *http.Request) *http.Request {
	addr := s.Proxies.client(r)
	r = r.WithContext(context.WithValue(r.Context(), clientKey{}, addr))
	r.RemoteAddr = ""
	if addr.IsValid() {
		r.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
	}
	return r
}

// clientOf returns the address that withClient noted.
func clientOf(r *http.Request) netip.Addr {
	addr, _ := r.Context().Value(clientKey{}).(netip.Addr)
	return addr
}

// remote is clientOf for logs.
func remote(r *http.Request) string {
	if addr := clientOf(r); addr.IsValid() {
		return addr.String()
	}
	return ""
}

// caller returns the client's name for counting. An IPv6 client has a /64, and with it any
// number of addresses.
func caller(addr netip.Addr) string {
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
