// Package armor is the text form of the tickets of all formats: a prefix with the number of the
// format, and base64url of the sealed bytes. Sealed bytes begin with 0x01 and a key ID.
package armor

import (
	"errors"
	"fmt"
	"strings"

	"github.com/admitone/admitone/internal/base64url"
	"github.com/admitone/admitone/internal/sealing"
)

// Errors of Decode.
var (
	ErrMalformed          = errors.New("malformed ticket")
	ErrUnsupportedVersion = errors.New("unsupported ticket version")
)

const (
	MaxLength  = 2048 // of a ticket, in characters
	PrefixSize = len("tkt1_")
	MaxSealed  = (MaxLength - PrefixSize) * 6 / 8
)

// Decode decodes a ticket's text into dst, which has MaxLength bytes. It returns the sealed
// bytes and the ID of their key.
func Decode(dst []byte, prefix, ticket string) (sealed []byte, key uint32, err error) {
	if len(ticket) > MaxLength {
		return nil, 0, fmt.Errorf("%w: longer than %d characters", ErrMalformed, MaxLength)
	}
	body, ok := strings.CutPrefix(ticket, prefix)
	if !ok {
		return nil, 0, prefixFault(prefix, ticket)
	}
	if sealed, ok = base64url.Decode(dst, body); !ok {
		return nil, 0, fmt.Errorf("%w: not base64url without padding", ErrMalformed)
	}
	if key, ok = sealing.KeyID(sealed); !ok {
		return nil, 0, fmt.Errorf("%w: no key ID", ErrMalformed)
	}
	return sealed, key, nil
}

// prefixFault returns the error for a text without the prefix.
func prefixFault(prefix, ticket string) error {
	version, _, ok := strings.Cut(strings.TrimPrefix(ticket, "tkt"), "_")
	if !ok || !strings.HasPrefix(ticket, "tkt") || !isVersion(version) {
		return fmt.Errorf("%w: does not begin with %q", ErrMalformed, prefix)
	}
	return fmt.Errorf("%w: %s", ErrUnsupportedVersion, version)
}

// isVersion reports whether s is a number from 1 to 999 without leading zeros.
func isVersion(s string) bool {
	return s != "" && len(s) <= 3 && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

// EndsInMark reports whether the base64url text of sealed ends in '-' or '_', whose values
// are 62 and 63. The last character of a text stands for 6 bits only if the length of sealed
// is a multiple of 3. Otherwise its unused bits are 0.
func EndsInMark(sealed []byte) bool {
	return len(sealed)%3 == 0 && sealed[len(sealed)-1]&0x3f >= 62
}
