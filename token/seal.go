package token

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/token/internal/armor"
)

// Errors of Open. Open wraps them with details for operators. Tell a stranger the same
// for all four.
var (
	ErrMalformed          = armor.ErrMalformed
	ErrUnsupportedVersion = armor.ErrUnsupportedVersion
	ErrUnknownKey         = errors.New("ticket sealed with an unknown key")
	ErrForged             = errors.New("forged ticket, or a ticket of another realm")
)

const (
	prefix  = "tkt1_"
	prefix2 = "tkt2_" // of format 2, which package signed opens
)

// Pattern is a regular expression (RE2, PCRE) that finds tickets of every version in text:
// for secret scanners and for scrubbing logs.
const Pattern = `tkt[0-9]+_[A-Za-z0-9_-]{60,}`

// scratch is the working memory of a call of Issue or Open.
type scratch struct {
	bytes  [armor.MaxLength]byte
	sealed [armor.MaxSealed]byte
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
	sealed, id, err := armor.Decode(s.bytes[:], prefix, ticket)
	key := KeyID(id)
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

// UnverifiedKeyID returns the ID of the key that a ticket of either format names. It needs no
// key, and proves nothing: anybody can write any ID. The error is as Open's.
func UnverifiedKeyID(ticket string) (KeyID, error) {
	s := pool.Get().(*scratch)
	defer pool.Put(s)
	format := prefix
	if strings.HasPrefix(ticket, prefix2) {
		format = prefix2
	}
	_, key, err := armor.Decode(s.bytes[:], format, ticket)
	return KeyID(key), err
}
