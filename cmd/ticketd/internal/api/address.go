package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the reverse proxies in front of the service, which say from where a
// request came.
type Proxies struct {
	// Trusted are the networks of the proxies' own addresses. What others say of
	// themselves is not believed. Empty: there are none.
	Trusted []netip.Prefix

	// Forwarded is whether they say it in the header Forwarded (RFC 7239). Else
	// they do in X-Forwarded-For. Only the one that they write is read: the other
	// arrives as the client has made it up.
	Forwarded bool
}

// client returns the address that a request came from, or the zero Addr where it
// cannot be told. Each proxy adds at the right whom it was asked by; the first
// from the right that is not a trusted proxy is the client, and whatever stands
// left of it is the client's own words.
func (p Proxies) client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := plain(peer.Addr())
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

// hops are the addresses of the header, as they were written.
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
			all = append(all, from) // a hop that says nothing is one all the same
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

// parseHop reads an address, perhaps with a port, an IPv6 one perhaps in brackets.
func parseHop(hop string) (netip.Addr, error) {
	hop = strings.TrimSpace(hop)
	if withPort, err := netip.ParseAddrPort(hop); err == nil {
		return plain(withPort.Addr()), nil
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		hop, _ = strings.CutSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(hop)
	return plain(addr), err
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

type clientKey struct{}

// withClient notes from where a request came, also in place of the proxy's
// address: handlers that know of no proxies log that.
func (s *server) withClient(r *http.Request) *http.Request {
	addr := s.Proxies.client(r)
	r = r.WithContext(context.WithValue(r.Context(), clientKey{}, addr))
	r.RemoteAddr = ""
	if addr.IsValid() {
		r.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
	}
	return r
}

// clientOf returns what withClient has noted.
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

// caller names the client of a request for counting: an IPv6 client has a /64 and
// with it any number of addresses.
func caller(addr netip.Addr) string {
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
