package api

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, row := range []struct {
		name, peer string
		trusted    bool
		header     http.Header
		want       string // "": cannot be told
	}{
		{"direct", "192.0.2.1:5", true, nil, "192.0.2.1"},
		{"direct, IPv6 with zone", "[fe80::1%eth0]:5", true, nil, "fe80::1"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:5", true, nil, "192.0.2.1"},
		{"no peer", "@", true, nil, ""},
		{"a stranger's own words", "192.0.2.1:5", true, http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "192.0.2.1"},
		{"no proxies", "10.0.0.1:5", false, http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "10.0.0.1"},
		{"one proxy", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "198.51.100.7"},
		{"with what the client made up", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"203.0.113.9, 198.51.100.7"}}, "198.51.100.7"},
		{"in two lines", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"203.0.113.9", "198.51.100.7"}}, "198.51.100.7"},
		{"two proxies", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"203.0.113.9, 198.51.100.7 , 10.9.9.9"}}, "198.51.100.7"},
		{"proxies only", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"10.1.1.1, 10.2.2.2"}}, "10.1.1.1"},
		{"the proxy itself", "10.0.0.1:5", true, nil, "10.0.0.1"},
		{"garbage", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"198.51.100.7, unknown"}}, ""},
		{"a hidden hop before", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"unknown, , _x:1, 198.51.100.7"}},
			"198.51.100.7"},
		{"garbage before", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"a b, 198.51.100.7"}}, ""},
		{"garbage in another line", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"a b", "198.51.100.7"}}, ""},
		{"an open bracket", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"[2001:db8::7"}}, ""},
		{"a zone", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"fe80::7%eth0"}}, "fe80::7"},
		{"no zone", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"fe80::7%a b"}}, ""},
		{"an empty hop", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"198.51.100.7,"}}, ""},
		{"with port", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"198.51.100.7:1234"}}, "198.51.100.7"},
		{"IPv6", "[fd00::1]:5", true, http.Header{"X-Forwarded-For": {"2001:db8::7"}}, "2001:db8::7"},
		{"IPv6 in brackets with port", "[fd00::1]:5", true, http.Header{"X-Forwarded-For": {"[2001:db8::7]:99"}}, "2001:db8::7"},
		{"the other header", "10.0.0.1:5", true, http.Header{"Forwarded": {"for=198.51.100.7"}}, "10.0.0.1"},
	} {
		p := Proxies{}
		if row.trusted {
			p.Trusted = trusted
		}
		got := p.client(&http.Request{RemoteAddr: row.peer, Header: row.header})
		if row.want == "" {
			assert.False(t, got.IsValid(), row.name)
			continue
		}
		assert.Equal(t, row.want, got.String(), row.name)
	}
}

// trap S8: a line that is not of RFC 7239's grammar makes the address unknown.
func TestForwardedGrammar(t *testing.T) {
	p := Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Forwarded: true}
	for value, want := range map[string]string{
		`for=198.51.100.7`: "198.51.100.7",
		`for=203.0.113.9, for=198.51.100.7;proto=https;by=10.0.0.1`: "198.51.100.7",
		`proto=https;For="[2001:db8::7]:4711"`:                      "2001:db8::7",
		`for="[2001:db8::7]"`:                                       "2001:db8::7",
		`for="198.51.100.7:_p"`:                                     "198.51.100.7",
		`for="198.51.100.\7"`:                                       "198.51.100.7",
		`for=198.51.100.7;host="a,b;for=203.0.113.9"`:               "198.51.100.7",
		`for=198.51.100.7;host="a\",for=203.0.113.9"`:               "198.51.100.7",
		`for=198.51.100.7, for=10.1.1.1`:                            "198.51.100.7",
		"\t, , ;for=198.51.100.7;\t":                                "198.51.100.7",
		`for=unknown`:                                               "",
		`for=_hidden`:                                               "",
		`for=198.51.100.7, proto=https`:                             "",
		`for="`:                                                     "",

		`for=203.0.113.7;z=", for=198.51.100.7`:      "",
		`for=203.0.113.7;z=", for="[2001:db8::7]"`:   "",
		`for=203.0.113.7;z="\", for="[2001:db8::7]"`: "",
		`for=203.0.113.7;for=198.51.100.7`:           "",
		`for=203.0.113.7;FOR=198.51.100.7`:           "",
		`for = 198.51.100.7`:                         "",
		`for=198.51.100.7; proto=https`:              "",
		`for=198.51.100.7 for=203.0.113.7`:           "",
		`for=198.51.100.7:80`:                        "",
		`for=2001:db8::7`:                            "",
		`for="2001:db8::7"`:                          "",
		`for=[2001:db8::7]`:                          "",
		`for="[2001:db8::7"`:                         "",
		`for="[198.51.100.7]"`:                       "",
		`for="[fe80::7%eth0]"`:                       "",
		`for="198.51.100.7:123456"`:                  "",
		`for="198.51.100.7:"`:                        "",
		`for=" 198.51.100.7"`:                        "",
		`for=`:                                       "",
		`for`:                                        "",
		`198.51.100.7`:                               "",
		`=198.51.100.7`:                              "",
		`nonsense, for=198.51.100.7`:                 "",
		`for=198.51.100.7, nonsense`:                 "",
		"for=198.51.100.7;host=\"a\x00b\"":           "",
		"for=198.51.100.7;h\u00f6st=a":               "",
		"\u00a0for=198.51.100.7":                     "",
		`for=198.51.100.7;host="a"b`:                 "",
		`for=198.51.100.7;host=a"b"`:                 "",
	} {
		got := p.client(&http.Request{RemoteAddr: "10.0.0.1:5",
			Header: http.Header{"Forwarded": {value}, "X-Forwarded-For": {"203.0.113.9"}}})
		if want == "" {
			assert.False(t, got.IsValid(), value)
		} else {
			assert.Equal(t, want, got.String(), value)
		}
	}
	got := p.client(&http.Request{RemoteAddr: "10.0.0.1:5", Header: http.Header{"Forwarded": {`z="`, `for=198.51.100.7`}}})
	assert.False(t, got.IsValid(), "a line by itself")
}

// trap S8: of all prefixes that a client can send before a trusted proxy's own text, none
// is believed. The address is the one that the proxy appends, or unknown.
func FuzzForwarded(f *testing.F) {
	for _, prefix := range []string{
		"", `for=203.0.113.7;z="`, `for=203.0.113.7;z="\`, `for=203.0.113.7, z="a"`, `for=203.0.113.7;z=", for="`,
		`203.0.113.7`, `203.0.113.7, "`, `for="[2001:db8:bad::1]:80";by=x`, `for=203.0.113.7;`, `,;,`, "203.0.113.7, [",
	} {
		f.Add(prefix)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, prefix string) {
		try := func(forwarded bool, real string, appended ...string) {
			p, name := Proxies{Trusted: trusted, Forwarded: forwarded}, "X-Forwarded-For"
			if forwarded {
				name = "Forwarded"
			}
			for _, own := range appended {
				for _, lines := range [][]string{{prefix + own}, {prefix + "," + own}, {prefix + ", " + own}, {prefix, own}} {
					if lines[0] == prefix+own && prefix != "" {
						continue // no proxy appends without a comma
					}
					got := p.client(&http.Request{RemoteAddr: "10.0.0.1:5", Header: http.Header{name: lines}})
					if got.IsValid() && got.String() != real {
						t.Fatalf("%s: %q makes the service believe %s and not %s", name, lines, got, real)
					}
				}
			}
		}
		try(false, "198.51.100.7", "198.51.100.7", "198.51.100.7:80", "198.51.100.7, 10.0.0.2", " 198.51.100.7\t,10.0.0.2:1")
		try(false, "2001:db8::7", "2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:80")
		try(true, "198.51.100.7", "for=198.51.100.7", `for="198.51.100.7:80";proto=https`,
			`proto=https;host="app.example.com";for=198.51.100.7`, `for=198.51.100.7, for=10.0.0.2;by="_x"`)
		try(true, "2001:db8::7", `for="[2001:db8::7]"`, `for="[2001:db8::7]:80";host="app.example.com:443"`,
			`by="[fd00::1]";for="[2001:db8::7]"`, `for="[2001:db8::7]",for="10.0.0.2"`)
	})
}

// The grammar of Forwarded as a regular expression: RFC 7239, section 4, and RFC 9110, section 5.6.
const (
	tokenPattern  = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
	quotedPattern = `"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"`
	pairPattern   = tokenPattern + "=(?:" + tokenPattern + "|" + quotedPattern + ")"
)

var (
	pairs         = regexp.MustCompile("(" + tokenPattern + ")=(" + tokenPattern + "|" + quotedPattern + ")")
	element       = regexp.MustCompile("^(?:" + pairPattern + ")?(?:;(?:" + pairPattern + ")?)*")
	forwardedNode = regexp.MustCompile(`^(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]|[Uu][Nn][Kk][Nn][Oo][Ww][Nn]|_[A-Za-z0-9._-]+)` +
		`(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?$`)
	backslash = regexp.MustCompile(`(?s)\\(.)`)
)

// forwardedByGrammar is parseForwarded by the regular expressions.
func forwardedByGrammar(line string) (hops []netip.Addr, ok bool) {
	for rest := strings.Trim(line, " \t"); ; rest = strings.Trim(rest[1:], " \t") {
		one := element.FindString(rest)
		var hop netip.Addr
		seen := make(map[string]bool)
		for _, p := range pairs.FindAllStringSubmatch(one, -1) {
			name, value := strings.ToLower(p[1]), p[2]
			if seen[name] {
				return nil, false
			}
			seen[name] = true
			if value[0] == '"' {
				value = backslash.ReplaceAllString(value[1:len(value)-1], "$1")
			}
			if name != "for" {
				continue
			}
			node := forwardedNode.FindStringSubmatch(value)
			if node == nil {
				return nil, false
			}
			if text := node[1] + node[2]; text != "" {
				addr, err := netip.ParseAddr(text)
				if err != nil || addr.Is4() != (node[1] != "") {
					return nil, false
				}
				hop = addr.Unmap()
			}
		}
		hops = append(hops, hop)
		if rest = strings.Trim(rest[len(one):], " \t"); rest == "" {
			return hops, true
		}
		if rest[0] != ',' {
			return nil, false
		}
	}
}

// FuzzForwardedGrammar: a line is of the grammar or not by both readers, with the same hops.
func FuzzForwardedGrammar(f *testing.F) {
	for _, line := range []string{
		`for=203.0.113.7;proto=https;by="_x", for="[2001:db8::1]:80"`, `for=unknown, FOR=_hidden;;`, `for="1.2.3.4:_p";z="a\"b"`,
		`for=1.2.3.4;for=1.2.3.4`, `for="[::ffff:1.2.3.4]"`, `for=1.2.3.4 ;by=x`, `,`, `for="[fe80::1%eth0]"`, `a="\`, `for=01.2.3.4`,
	} {
		f.Add(line)
	}
	f.Add("for=un\u212anown")
	f.Add("for=\"un\u212anown\"")
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		if !utf8.ValidString(line) {
			return // a regular expression reads other bytes as U+FFFD
		}
		hops, ok := parseForwarded(line)
		want, wantOK := forwardedByGrammar(line)
		require.Equal(t, wantOK, ok)
		if ok {
			require.Equal(t, want, hops)
		}
	})
}

func TestCaller(t *testing.T) {
	assert.Equal(t, "192.0.2.1", caller(netip.MustParseAddr("192.0.2.1")))
	assert.Equal(t, caller(netip.MustParseAddr("2001:db8::1")), caller(netip.MustParseAddr("2001:db8::ffff:1")),
		"one /64 is one caller")
	assert.NotEqual(t, caller(netip.MustParseAddr("2001:db8::1")), caller(netip.MustParseAddr("2001:db8:0:1::1")))
	assert.Equal(t, "unknown", caller(netip.Addr{}), "all unknown addresses share one bucket")
	assert.Equal(t, "unknown", remote(&http.Request{}), "and one word in the log")
}
