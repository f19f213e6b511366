package directory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const maxAddresses = 200 // prefixes of a list

// Addresses are the networks of an allow-list, as ParseAddresses gives them:
// each once and in order. An empty list is none: the brand's holds for a channel,
// and any address is allowed by a brand.
type Addresses []netip.Prefix

// ParseAddresses reads a comma-separated list of IPv4 and IPv6 addresses and
// networks in CIDR notation (RFC 4632, RFC 4291), such as
// "192.0.2.7, 198.51.100.0/24, 2001:db8::/32". The word any stands for all of
// them, for a channel that is to be open where its brand is not.
func ParseAddresses(text string) (Addresses, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var list Addresses
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "any" {
			list = append(list, netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0))
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
		return nil, fmt.Errorf("%d addresses are too many: give at most %d, with networks in place of single ones", len(list), maxAddresses)
	}
	return list, nil
}

// parsePrefix reads one address or network. An IPv4 address that is written as
// an IPv6 one is an IPv4 address.
func parsePrefix(part string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(part)
	if err != nil {
		addr, err := netip.ParseAddr(part)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an IP address nor a network: "+
				"write it like 192.0.2.7, 198.51.100.0/24 or 2001:db8::/32", shown(part))
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%s is an IPv4 network in IPv6 notation and wider than all of IPv4: write it as IPv4", p)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() { // which of the two was meant?
		return netip.Prefix{}, fmt.Errorf("%s is an address within a network: write %s for the network, or %s for the address",
			p, p.Masked(), p.Addr())
	}
	return p, nil
}

// shown is text of a stranger's, cut for an error.
func shown(text string) string {
	if len(text) > 64 {
		return text[:64] + "…"
	}
	return text
}

// Allow reports whether the address is in one of the networks, or there are none.
// An IPv4 address may come in IPv6 form, and an IPv6 one with a zone.
func (a Addresses) Allow(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return len(a) == 0 || slices.ContainsFunc(a, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// String is the list in the form that ParseAddresses reads, single addresses
// without a prefix length.
func (a Addresses) String() string {
	parts := make([]string, len(a))
	for i, p := range a {
		if parts[i] = p.String(); p.IsSingleIP() {
			parts[i] = p.Addr().String()
		}
	}
	return strings.Join(parts, ", ")
}
