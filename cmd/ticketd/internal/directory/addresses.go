package directory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const maxAddresses = 200 // prefixes of a list

var (
	anyIPv4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	anyIPv6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// Addresses are the networks of an allow-list, sorted and without repetition, as
// returned by ParseAddresses. An empty list of a channel means the brand's list; an
// empty list of a brand allows any address.
type Addresses []netip.Prefix

// ParseAddresses reads a comma-separated list of IPv4 and IPv6 addresses and networks
// in CIDR notation (RFC 4632, RFC 4291), such as "192.0.2.7, 198.51.100.0/24,
// 2001:db8::/32". The word any stands for all addresses, for a channel without the
// limits of its brand.
func ParseAddresses(text string) (Addresses, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var list Addresses
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "any" {
			list = append(list, anyIPv4, anyIPv6)
			continue
		}
		p, err := parsePrefix(part)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	list = slices.Compact(list)
	if len(list) > maxAddresses {
		return nil, fmt.Errorf("%d addresses are too many; give at most %d, with networks in place of single addresses",
			len(list), maxAddresses)
	}
	return list, nil
}

// parsePrefix reads an address or a network. An IPv4 address in IPv6 notation becomes
// an IPv4 address.
func parsePrefix(part string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(part)
	if err != nil {
		addr, err := netip.ParseAddr(part)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an IP address nor a network; "+
				"write an address like 192.0.2.7, 198.51.100.0/24 or 2001:db8::/32", truncated(part))
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%s is an IPv4 network in IPv6 notation and wider than all of IPv4; "+
				"write the network as IPv4", p)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() { // the address or the network may be meant
		return netip.Prefix{}, fmt.Errorf("%s is an address in a network; write %s for the network, or %s for the address",
			p, p.Masked(), p.Addr())
	}
	return p, nil
}

// truncated returns text for an error, cut to 64 bytes.
func truncated(text string) string {
	if len(text) > 64 {
		return text[:64] + "…"
	}
	return text
}

// Allow reports whether the address is in one of the networks, or the list is empty. An
// IPv4 address may come in IPv6 form, and an IPv6 address with a zone.
func (a Addresses) Allow(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return len(a) == 0 || slices.ContainsFunc(a, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// String returns the list in the form for ParseAddresses. Single addresses have no
// prefix length.
func (a Addresses) String() string {
	parts := make([]string, len(a))
	for i, p := range a {
		if parts[i] = p.String(); p.IsSingleIP() {
			parts[i] = p.Addr().String()
		}
	}
	return strings.Join(parts, ", ")
}
