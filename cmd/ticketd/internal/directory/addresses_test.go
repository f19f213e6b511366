package directory

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/textrule"
)

func TestParseAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "",
		"  ":                                    "",
		"192.0.2.7":                             "192.0.2.7",
		"192.0.2.7/32":                          "192.0.2.7",
		" 198.51.100.0/24 ,192.0.2.7":           "192.0.2.7, 198.51.100.0/24",
		"192.0.2.7,192.0.2.7, 192.0.2.7/32":     "192.0.2.7",
		"2001:DB8::/32, 10.0.0.0/8":             "10.0.0.0/8, 2001:db8::/32",
		"2001:db8:0:0:0:0:0:1":                  "2001:db8::1",
		"::ffff:192.0.2.7":                      "192.0.2.7",
		"::ffff:10.0.0.0/104":                   "10.0.0.0/8",
		"any":                                   "0.0.0.0/0, ::/0",
		"192.0.2.7, any":                        "0.0.0.0/0, 192.0.2.7, ::/0",
		"0.0.0.0/0":                             "0.0.0.0/0",
		"255.255.255.255, ::1, 127.0.0.1, ::/0": "127.0.0.1, 255.255.255.255, ::/0, ::1",
	} {
		list, err := ParseAddresses(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, list.String())
		again, err := ParseAddresses(list.String())
		require.NoError(t, err)
		assert.Equal(t, list, again)
	}
	var many []string
	for i := range maxAddresses + 1 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i/256, i%256))
	}
	for text, want := range map[string]string{
		",":                          "neither",
		"192.0.2.7,":                 "neither",
		"192.0.2":                    "neither",
		"192.0.2.256":                "neither",
		"010.0.0.1":                  "neither", // octal to some, decimal to others
		"192.0.2.7/33":               "neither",
		"192.0.2.7/-1":               "neither",
		"192.0.2.7/":                 "neither",
		"192.0.2.7 198.51.100.7":     "neither",
		"192.0.2.7;198.51.100.7":     "neither",
		"example.com":                "neither",
		"*":                          "neither",
		"Any":                        "neither",
		"fe80::1%eth0":               "neither",
		"[::1]":                      "neither",
		"127.0.0.1:80":               "neither",
		"10.0.0.1/8":                 "write 10.0.0.0/8 for the network, or 10.0.0.1 for the address",
		"2001:db8::1/32":             "write 2001:db8::/32",
		"::ffff:0:0/95":              "wider than all of IPv4",
		"::ffff:10.0.0.1/104":        "write 10.0.0.0/8",
		"192.0.2.7\x00":              "neither",
		strings.Repeat("1", 1<<16):   "…",
		strings.Join(many, ","):      "at most 200",
		"192.0.2.7, ' OR 1=1 --, ::": "neither",
	} {
		list, err := ParseAddresses(text)
		require.ErrorContains(t, err, want, text)
		assert.Nil(t, list)
		assert.Less(t, len(err.Error()), 300)
		assert.False(t, strings.ContainsFunc(err.Error(), textrule.IsControl))
	}
}

func TestAddressesAllow(t *testing.T) {
	for _, c := range []struct {
		list, addr string
		want       bool
	}{
		{"", "192.0.2.7", true},
		{"", "2001:db8::1", true},
		{"any", "192.0.2.7", true},
		{"any", "2001:db8::1", true},
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"192.0.2.0/24", "::ffff:192.0.2.7", true},
		{"192.0.2.0/24", "::192.0.2.7", false},
		{"192.0.2.0/24", "2001:db8::1", false},
		{"2001:db8::/32", "2001:db8:ffff::1", true},
		{"fe80::/10", "fe80::1%eth0", true},
		{"::/0", "192.0.2.7", false},
		{"0.0.0.0/0", "::1", false},
		{"10.0.0.0/8, 192.0.2.7", "192.0.2.7", true},
		{"10.0.0.0/8, 192.0.2.7", "192.0.2.8", false},
	} {
		assert.Equal(t, c.want, addresses(t, c.list).Allow(netip.MustParseAddr(c.addr)), "%+v", c)
	}
	assert.False(t, addresses(t, "any").Allow(netip.Addr{}), "an unknown address is in no network")
	assert.True(t, Addresses(nil).Allow(netip.Addr{}))
}
