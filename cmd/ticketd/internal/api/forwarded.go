package api

import (
	"net/netip"
	"strings"
)

// The grammar of a line of Forwarded, from RFC 7239, section 4. OWS stands around commas
// only.
//
//	Forwarded         = forwarded-element *( OWS "," OWS forwarded-element )
//	forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
//	forwarded-pair    = token "=" ( token / quoted-string )
//
// An element names a parameter once at most. The parameter for is a node (section 6):
//
//	node     = nodename [ ":" node-port ]
//	nodename = IPv4address / "[" IPv6address "]" / "unknown" / obfnode

// parseForwarded returns the client of each hop in a line of Forwarded. A hop whose
// client is hidden is the zero Addr. ok is false if the line is not of the grammar.
func parseForwarded(line string) (hops []netip.Addr, ok bool) {
	rest := trimOWS(line)
	for {
		var hop netip.Addr
		if hop, rest, ok = cutElement(rest); !ok {
			return nil, false
		}
		hops = append(hops, hop)
		if rest = trimOWS(rest); rest == "" {
			return hops, true
		}
		if rest[0] != ',' {
			return nil, false
		}
		rest = trimOWS(rest[1:])
	}
}

// cutElement cuts a forwarded-element off the front of a line.
func cutElement(line string) (hop netip.Addr, rest string, ok bool) {
	seen := make(map[string]bool)
	for rest = line; ; rest = rest[1:] {
		if rest != "" && rest[0] != ';' && rest[0] != ',' && !isOWS(rest[0]) {
			var name, value string
			if name, value, rest, ok = cutPair(rest); !ok || seen[name] {
				return hop, rest, false
			}
			seen[name] = true
			if name == "for" {
				if hop, ok = parseNode(value); !ok {
					return hop, rest, false
				}
			}
		}
		if rest == "" || rest[0] != ';' {
			return hop, rest, true
		}
	}
}

// cutPair cuts a forwarded-pair off the front of a line. The name is in lower case.
func cutPair(line string) (name, value, rest string, ok bool) {
	name, rest = cutToken(line)
	if name == "" || rest == "" || rest[0] != '=' {
		return "", "", "", false
	}
	rest = rest[1:]
	if strings.HasPrefix(rest, `"`) {
		value, rest, ok = cutQuoted(rest)
	} else {
		value, rest = cutToken(rest)
		ok = value != ""
	}
	return strings.ToLower(name), value, rest, ok
}

// cutToken cuts a token (RFC 9110, section 5.6.2) off the front of a line.
func cutToken(line string) (token, rest string) {
	n := 0
	for n < len(line) && isTokenByte(line[n]) {
		n++
	}
	return line[:n], line[n:]
}

func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// cutQuoted cuts a quoted-string (RFC 9110, section 5.6.4) off the front of a line, and
// returns its text without the quotation marks and backslashes.
func cutQuoted(line string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		c := line[i]
		if c == '"' {
			return b.String(), line[i+1:], true
		}
		if c == '\\' {
			if i++; i == len(line) {
				break
			}
			c = line[i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			break
		}
		b.WriteByte(c)
	}
	return "", "", false
}

// parseNode reads a node, and returns the zero Addr for a hidden client.
func parseNode(node string) (addr netip.Addr, ok bool) {
	name, port := node, ""
	if end := strings.LastIndexByte(node, ']'); end >= 0 {
		name, port = node[:end+1], node[end+1:]
	} else if colon := strings.IndexByte(node, ':'); colon >= 0 {
		name, port = node[:colon], node[colon:]
	}
	if port != "" && !isPort(port) {
		return addr, false
	}
	if inner, bracketed := strings.CutPrefix(name, "["); bracketed {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return unmapped(addr), ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	if sameName(name, "unknown") || isObfuscated(name) {
		return addr, true
	}
	addr, err := netip.ParseAddr(name)
	return addr, err == nil && addr.Is4()
}

// isPort reports whether a text is a colon and a node-port: up to five digits, or
// obfuscated.
func isPort(text string) bool {
	port, ok := strings.CutPrefix(text, ":")
	digits := port != "" && len(port) <= 5 && strings.Trim(port, "0123456789") == ""
	return ok && (digits || isObfuscated(port))
}

// isObfuscated reports whether a text is an obfnode or an obfport.
func isObfuscated(text string) bool {
	rest, ok := strings.CutPrefix(text, "_")
	for i := range len(rest) {
		ok = ok && (isAlphanumeric(rest[i]) || strings.IndexByte("._-", rest[i]) >= 0)
	}
	return ok && rest != ""
}

// parseXForwardedFor is parseForwarded for a line of X-Forwarded-For, which has no
// standard. Each hop is an address, an address with a port, or a hidden client as in
// RFC 7239. An IPv6 address has brackets if it has a port, and may have them without. An
// empty hop hides its client.
func parseXForwardedFor(line string) (hops []netip.Addr, ok bool) {
	for part := range strings.SplitSeq(line, ",") {
		var hop netip.Addr
		part = trimOWS(part)
		if addr, err := netip.ParseAddr(part); err == nil && isZone(addr.Zone()) {
			hop = unmapped(addr)
		} else if part != "" {
			if hop, ok = parseNode(part); !ok {
				return nil, false
			}
		}
		hops = append(hops, hop)
	}
	return hops, true
}

// isZone reports whether a text can be the name of a network interface, or is empty.
func isZone(text string) bool {
	_, rest := cutToken(text)
	return rest == ""
}

func isOWS(c byte) bool { return c == ' ' || c == '\t' }

func trimOWS(s string) string { return strings.Trim(s, " \t") }
