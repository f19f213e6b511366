package token

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/base64url"
	"github.com/admitone/admitone/internal/sealing"
)

// Errors of Open. Open wraps them with details for operators. Tell a stranger the same
// for all four.
var (
	ErrMalformed          = errors.New("malformed ticket")
	ErrUnsupportedVersion = errors.New("unsupported ticket version")
	ErrUnknownKey         = errors.New("ticket sealed with an unknown key")
	ErrForged             = errors.New("forged ticket, or a ticket of another realm")
)

const (
	prefix    = "tkt1_"
	maxLength = 2048 // of a ticket, in characters
	maxSealed = (maxLength - len(prefix)) * 6 / 8
)

// Pattern is a regular expression (RE2, PCRE) that finds tickets of every version in text:
// for secret scanners and for scrubbing logs.
const Pattern = `tkt[0-9]+_[A-Za-z0-9_-]{60,}`

// scratch is the working memory of a call of Issue or Open.
type scratch struct {
	bytes  [maxLength]byte
	sealed [maxSealed]byte
	ids    idSource
}

var pool = sync.Pool{New: func() any { return new(scratch) }}

// Open fills t with the content of a ticket. The ticket must be sealed under keys and the
// associated data (see AssociatedData), and must be exactly a string that Issue returned.
// Open looks neither at the clock nor at anything else that decides whether the ticket
// admits: package verify does. The texts of t share the memory of the answer of keys.Decrypt,
// so Decrypt must return new memory each time, as Tink does.
//
// The error wraps ErrMalformed, ErrUnsupportedVersion, ErrUnknownKey or ErrForged, and
// leaves t zero. Only keys with the method HasKey(id KeyID) bool, as a *Keyset and a
// keyring.Ring have, cause ErrUnknownKey.
func Open(keys tink.AEAD, associatedData []byte, ticket string, t *Ticket) error {
	*t = Ticket{}
	s := pool.Get().(*scratch)
	sealed, key, err := unarmor(s, ticket)
	var payload string
	if err == nil {
		payload, err = decrypt(keys, key, sealed, associatedData)
	}
	if err == nil {
		if err = t.decodePayload(payload); err == nil {
			t.KeyID = key
		} else {
			*t = Ticket{}
		}
	}
	pool.Put(s)
	return err
}

// decrypt opens sealed bytes whose prefix names key.
func decrypt(keys tink.AEAD, key KeyID, sealed, associatedData []byte) (string, error) {
	payload, err := sealing.Open[KeyID](keys, sealed, associatedData)
	switch {
	case err == nil:
		return payload, nil
	case err == sealing.ErrUnknownKey:
		return "", fmt.Errorf("%w: %v", ErrUnknownKey, key)
	}
	return "", fmt.Errorf("%w: key %v does not open it", ErrForged, key)
}

// UnverifiedKeyID returns the ID of the key that a ticket names. It needs no key, and
// proves nothing: anybody can write any ID. The error is as Open's.
func UnverifiedKeyID(ticket string) (KeyID, error) {
	s := pool.Get().(*scratch)
	defer pool.Put(s)
	_, key, err := unarmor(s, ticket)
	return key, err
}

// unarmor decodes a ticket's text into s. It returns the sealed bytes and the ID of their
// key.
func unarmor(s *scratch, ticket string) ([]byte, KeyID, error) {
	if len(ticket) > maxLength {
		return nil, 0, fmt.Errorf("%w: longer than %d characters", ErrMalformed, maxLength)
	}
	body, ok := strings.CutPrefix(ticket, prefix)
	if !ok {
		return nil, 0, prefixFault(ticket)
	}
	sealed, ok := base64url.Decode(s.bytes[:], body)
	if !ok {
		return nil, 0, fmt.Errorf("%w: not base64url without padding", ErrMalformed)
	}
	key, ok := sealing.KeyID(sealed)
	if !ok {
		return nil, 0, fmt.Errorf("%w: no key ID", ErrMalformed)
	}
	return sealed, KeyID(key), nil
}

// prefixFault returns the error for a text without the prefix of this version.
func prefixFault(ticket string) error {
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
