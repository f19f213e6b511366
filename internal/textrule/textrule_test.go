package textrule

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFault(t *testing.T) {
	for s, want := range map[string]string{
		"":                             "",
		"printable ASCII, to ~":        "",
		"Größe 10, シカゴ":                "",
		strings.Repeat("x", 64):        "",
		strings.Repeat("x", 65):        "is longer than 64 bytes; shorten it",
		strings.Repeat("ö", 33):        "is longer than 64 bytes; shorten it",
		"\xff":                         "is not valid UTF-8",
		"cut off \xc3":                 "is not valid UTF-8",
		"tab\t":                        "contains a control character; remove it",
		"eight at a time\nand no less": "contains a control character; remove it",
		"\x7f":                         "contains a control character; remove it",
		"C1 \u0085":                    "contains a control character; remove it",
		"line \u2028":                  "contains a control character; remove it",
		"paragraph \u2029":             "contains a control character; remove it",
	} {
		assert.Equal(t, want, Fault(s, 64), "%q", s)
	}
}

// Every byte at every place of a word: the fast look must find what the slow look finds.
func TestFaultLooksAtEveryByte(t *testing.T) {
	for length := range 27 {
		for place := range length {
			for c := range 0x80 {
				b := []byte(strings.Repeat("a", length))
				b[place] = byte(c)
				require.Equal(t, c < ' ' || c == 0x7f, Fault(string(b), 64) != "", "%#x at %d of %d", c, place, length)
			}
		}
	}
}
