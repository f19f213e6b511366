package api

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
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
		{"garbage that does not matter", "10.0.0.1:5", true, http.Header{"X-Forwarded-For": {"unknown, 198.51.100.7"}}, "198.51.100.7"},
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
	for value, want := range map[string]string{
		`for=198.51.100.7`: "198.51.100.7",
		`for=203.0.113.9, for=198.51.100.7;proto=https;by=10.0.0.1`: "198.51.100.7",
		`proto=https; For="[2001:db8::7]:4711"`:                     "2001:db8::7",
		`for="[2001:db8::7]"`:                                       "2001:db8::7",
		`for=198.51.100.7;host="a,b;for=203.0.113.9"`:               "198.51.100.7",
		`for=198.51.100.7;host="a\",for=203.0.113.9"`:               "198.51.100.7",
		`for=198.51.100.7, for=10.1.1.1`:                            "198.51.100.7",
		`for=unknown`:                                               "",
		`for=_hidden`:                                               "",
		`for=198.51.100.7, proto=https`:                             "",
		`for="`:                                                     "",
	} {
		p := Proxies{Trusted: trusted, Forwarded: true}
		got := p.client(&http.Request{RemoteAddr: "10.0.0.1:5",
			Header: http.Header{"Forwarded": {value}, "X-Forwarded-For": {"203.0.113.9"}}})
		if want == "" {
			assert.False(t, got.IsValid(), value)
		} else {
			assert.Equal(t, want, got.String(), value)
		}
	}
}

func TestCaller(t *testing.T) {
	assert.Equal(t, "192.0.2.1", caller(netip.MustParseAddr("192.0.2.1")))
	assert.Equal(t, caller(netip.MustParseAddr("2001:db8::1")), caller(netip.MustParseAddr("2001:db8::ffff:1")),
		"one /64 is one caller")
	assert.NotEqual(t, caller(netip.MustParseAddr("2001:db8::1")), caller(netip.MustParseAddr("2001:db8:0:1::1")))
}
