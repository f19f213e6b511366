package token

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// KeyID is the ID of a key: the four bytes, big-endian, after the 0x01 at the beginning of
// the key's ciphertexts. Every verb of package fmt prints a KeyID as 8 lower-case
// hexadecimal digits, and JSON holds the same digits.
type KeyID uint32

// ParseKeyID reads a key ID: 8 hexadecimal digits, perhaps after 0x.
func ParseKeyID(s string) (KeyID, error) {
	digits := strings.TrimPrefix(s, "0x")
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) != 8 {
		return 0, fmt.Errorf("%q is no key ID; a key ID is 8 hexadecimal digits, such as 2f6a01c4", s)
	}
	return KeyID(n), nil
}

// String returns the ID as 8 lower-case hexadecimal digits.
func (id KeyID) String() string {
	var b [8]byte
	for i := range b {
		b[i] = "0123456789abcdef"[id>>(28-4*i)&15]
	}
	return string(b[:])
}

// Format implements fmt.Formatter, so that no verb prints an ID in another form.
func (id KeyID) Format(f fmt.State, _ rune) { io.WriteString(f, id.String()) }

// MarshalText implements encoding.TextMarshaler.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It reads the same forms as
// ParseKeyID.
func (id *KeyID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseKeyID(string(text))
	return err
}
