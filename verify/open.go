package verify

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// open fills t with the content of a ticket and the name of its issuer. The issuer is nil
// for a ticket under the keys of the Opener.
func (v *Verifier) open(t *token.Ticket, ticket string) (*Issuer, error) {
	if v.c.Issuers == nil {
		return nil, token.Open(v.c.Opener, v.ad, ticket, t)
	}
	if v.c.Unsealer != nil && strings.HasPrefix(ticket, "tkt2_") {
		return v.openSigned(t, ticket)
	}
	s := v.pool.Get().(*search)
	err := token.Open(s, v.ad, ticket, t)
	by := s.by
	s.by = nil
	v.pool.Put(s)
	if err != nil || by == nil {
		return nil, err
	}
	t.Issuer = by.Name
	return by, nil
}

// openSigned is open for a ticket of format 2. The issuer has the key that verified the ticket,
// so key and grant are of one moment, although the list of issuers may change in between. A key
// that the new list has in another form, since its issuer has retired it, verifies the ticket again.
func (v *Verifier) openSigned(t *token.Ticket, ticket string) (*Issuer, error) {
	for again := false; ; again = true {
		trusted := v.c.Issuers.Trusted()
		by, err := signed.Open(v.c.Unsealer, trusted, v.c.Realm, ticket, t)
		if err != nil {
			return nil, v.denied(err)
		}
		for _, is := range v.withKey(by.ID()) {
			if is.Name == by.Issuer() && slices.Contains(is.SigningKeys, by) {
				return is, nil
			}
		}
		*t = token.Ticket{}
		if again || v.c.Issuers.Trusted() == trusted {
			return nil, fmt.Errorf("%w: %v, which was removed a moment ago", signed.ErrUnknownIssuer, by.ID())
		}
	}
}

// denied names the issuer in an error about a key that the list of issuers denies.
func (v *Verifier) denied(err error) error {
	list, ok := v.c.Issuers.(interface{ DeniedKey(token.KeyID) string })
	unknown, is := errors.AsType[*signed.UnknownKeyError](err)
	if !ok || !is {
		return err
	}
	issuer := list.DeniedKey(unknown.ID)
	if issuer == "" {
		return err
	}
	return &DeniedKeyError{issuer, unknown}
}

// A DeniedKeyError is the Cause of UnknownIssuer for a ticket that names a denied key. It is for operators.
// Nobody has verified the signature: whoever knows the ID of the key can make such a ticket.
type DeniedKeyError struct {
	Issuer string // whose key it was
	Cause  *signed.UnknownKeyError
}

// Error returns the text of the Cause with the name of the issuer.
func (e *DeniedKeyError) Error() string {
	return e.Cause.Error() + ", which is a denied key of the issuer " + e.Issuer
}

// Unwrap returns the Cause.
func (e *DeniedKeyError) Unwrap() error { return e.Cause }

// A search is the tink.AEAD that opens a single ticket, under the keys of the Opener or else
// of a named issuer. It remembers whose keys opened the ticket. Keys and grant of that
// issuer are of one moment, since an Issuer never changes.
type search struct {
	v  *Verifier
	by *Issuer
}

// Encrypt implements tink.AEAD. Nothing is sealed here.
func (s *search) Encrypt(_, _ []byte) ([]byte, error) {
	return nil, errors.New("a search seals nothing")
}

// Decrypt implements tink.AEAD.
func (s *search) Decrypt(sealed, associatedData []byte) (plain []byte, err error) {
	s.by, err = nil, sealing.ErrUnknownKey
	if s.v.c.Opener != nil {
		if plain, err = s.v.c.Opener.Decrypt(sealed, associatedData); err == nil {
			return plain, nil
		}
	}
	id, _ := sealing.KeyID(sealed)
	for _, is := range s.v.withKey(token.KeyID(id)) {
		if is.Keys == nil {
			continue
		}
		if plain, err = is.Keys.Decrypt(sealed, associatedData); err == nil {
			s.by = is
			return plain, nil
		}
	}
	return nil, err
}

// HasKey is asked if Decrypt fails, and reports whether anybody has the key. The Opener may
// look at its file.
func (s *search) HasKey(id token.KeyID) bool {
	if slices.ContainsFunc(s.v.withKey(id), func(is *Issuer) bool { return is.Keys != nil }) {
		return true
	}
	if s.v.c.Opener == nil {
		return false
	}
	asked, ok := s.v.c.Opener.(interface{ HasKey(token.KeyID) bool })
	return !ok || asked.HasKey(id)
}

// withKey returns the named issuers to try for a key ID.
func (v *Verifier) withKey(id token.KeyID) []*Issuer {
	found := v.c.Issuers.WithKey(id)
	return found[:min(len(found), 2*MaxSameKey)]
}

// sharesKey reports whether an issuer in a list of NewIssuers has one of the keys.
func sharesKey(issuers Issuers, keys tink.AEAD) bool {
	s, ok := issuers.(*issuerList)
	return ok && slices.ContainsFunc(s.all, func(is *Issuer) bool {
		return is.Keys != nil && sealing.ShareKey(is.Keys, keys)
	})
}
