package signed

import (
	"crypto/hpke"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/internal/armor"
)

// ErrUnknownIssuer is the error of Open for a ticket that opens, and names a signing key of
// nobody who is trusted. Anybody can make such a ticket.
var ErrUnknownIssuer = errors.New("ticket signed with an unknown key")

// An UnknownKeyError is an ErrUnknownIssuer with the ID of the key that the ticket names. Nobody has
// verified the signature, so anybody may have chosen the ID.
type UnknownKeyError struct{ ID token.KeyID }

// Error returns the text of ErrUnknownIssuer with the ID.
func (e *UnknownKeyError) Error() string { return ErrUnknownIssuer.Error() + ": " + e.ID.String() }

// Unwrap returns ErrUnknownIssuer.
func (e *UnknownKeyError) Unwrap() error { return ErrUnknownIssuer }

// Open fills t with the content of a ticket that a trusted issuer made for this recipient in
// this realm. t.Issuer and t.SigningKey say who made it. The answer is the key that verified the
// ticket, one of trusted. Open looks neither at the clock nor at anything else that decides
// whether the ticket admits: package verify does.
//
// The checks are in this order, and the first that fails decides: the shape
// (token.ErrMalformed, token.ErrUnsupportedVersion), the recipient's key (token.ErrUnknownKey),
// the encryption (token.ErrForged), the signing key (ErrUnknownIssuer), the signature
// (token.ErrForged), the payload (token.ErrMalformed), the time of a retired signing key
// (token.ErrForged). An error leaves t zero. Tell a stranger
// the same for all of them. The time for a refusal does not tell a stranger which signing keys
// are trusted.
func Open(keys Unsealer, trusted *Trusted, realm, ticket string, t *token.Ticket) (*VerifyingKey, error) {
	*t = token.Ticket{}
	w := pool.Get().(*scratch)
	defer pool.Put(w)
	sealed, id, err := armor.Decode(w.text[:], prefix, ticket)
	if err != nil {
		return nil, err
	}
	key := keys.OpeningKey(token.KeyID(id))
	if key == nil || key.private == nil {
		return nil, fmt.Errorf("%w: %v", token.ErrUnknownKey, token.KeyID(id))
	}
	info := appendInfo(w.info[:0], realm)
	plain, err := hpke.Open(key.private, kdf, aead, info, sealed[sealing.PrefixSize:])
	if err != nil {
		return nil, fmt.Errorf("%w: key %v does not open it", token.ErrForged, token.KeyID(id))
	}
	if trusted == nil {
		trusted = new(Trusted)
	}
	by, err := w.verify(trusted, realm, &key.hash, plain)
	if err != nil {
		return nil, err
	}
	// Nobody else has plain, so nobody writes to it again.
	payload := unsafe.String(unsafe.SliceData(plain), len(plain))[sigSize:]
	if err := t.DecodePayload(payload); err != nil {
		return nil, fmt.Errorf("%w; issuer %q signed it with key %v", err, by.issuer, by.id)
	}
	if !by.last.IsZero() && t.IssuedAt.After(by.last) {
		*t = token.Ticket{}
		return nil, fmt.Errorf("%w: it was issued after %s, when issuer %q had retired key %v",
			token.ErrForged, by.last.Format(time.RFC3339), by.issuer, by.id)
	}
	t.KeyID, t.Issuer, t.SigningKey = token.KeyID(id), by.issuer, by.id
	if k, ok := keys.(interface {
		Opened(key token.KeyID, issuer string, signingKey token.KeyID)
	}); ok {
		k.Opened(t.KeyID, by.issuer, by.id)
	}
	return by, nil
}

// verify returns the key that signed a plaintext. The ID in the signature is a hint: all trusted
// keys of that ID are tried, each with the name of its own issuer.
//
// A refusal runs each algorithm that a trusted key has, once at least. Otherwise a stranger, who
// can seal anything for the recipient, could tell by the time which signing keys are trusted.
func (w *scratch) verify(trusted *Trusted, realm string, recipient *[32]byte, plain []byte) (*VerifyingKey, error) {
	id, ok := sealing.KeyID(plain)
	if !ok || len(plain) < sigSize {
		return nil, fmt.Errorf("%w: it is not signed", token.ErrForged)
	}
	w.ran = [2]bool{}
	candidates := trusted.byID[token.KeyID(id)]
	for _, k := range candidates {
		if w.try(k, realm, recipient, plain) {
			return k, nil
		}
	}
	for algorithm, decoy := range trusted.decoys {
		if decoy != nil && !w.ran[algorithm] {
			_ = w.try(decoy, realm, recipient, plain)
		}
	}
	if len(candidates) == 0 {
		return nil, &UnknownKeyError{token.KeyID(id)}
	}
	return nil, fmt.Errorf("%w: signing key %v did not sign it for this recipient", token.ErrForged, token.KeyID(id))
}

// try reports whether a key signed a plaintext.
func (w *scratch) try(k *VerifyingKey, realm string, recipient *[32]byte, plain []byte) bool {
	w.ran[k.algorithm()] = true
	data := append(context(w.data[:0], realm, k.issuer, recipient), plain[sigSize:]...)
	return k.verify(plain[sealing.PrefixSize:sigSize], data)
}
