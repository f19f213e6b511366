package directory

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"
)

// An AuthReason tells why a key was not accepted.
type AuthReason string

// The reasons.
const (
	AuthMalformed   AuthReason = "malformed"    // without the form of a key
	AuthUnknown     AuthReason = "unknown"      // no key has the ID
	AuthWrongSecret AuthReason = "wrong_secret" // the ID exists with another secret
	AuthRevoked     AuthReason = "revoked"
	AuthExpired     AuthReason = "expired"
)

// An AuthError tells operators why Authenticate did not accept a key. Tell strangers
// only that the key was not accepted. The error holds nothing of the secret.
type AuthError struct {
	Reason AuthReason
	KeyID  string // as sent by the caller; empty if malformed
}

func (e *AuthError) Error() string {
	const text = "API key "
	switch e.Reason {
	case AuthMalformed:
		return text + "is malformed; send the whole key as it was shown, beginning with " + keyPrefix
	case AuthRevoked, AuthExpired:
		return text + e.KeyID + " is " + string(e.Reason) + "; create another"
	case AuthWrongSecret:
		return text + e.KeyID + " came with a wrong secret; send the whole key as it was shown"
	}
	return text + e.KeyID + " is unknown; send the whole key as it was shown, or create one"
}

// Authenticate returns the key with the text bearer, which is the whole text after
// "Bearer " in an Authorization header. [APIKey.Allows] then decides whether the key
// may be used for the request. At the time Expires the key has expired.
//
// If the key is not accepted, the error is an *AuthError. Any other error means that
// the directory could not be asked. The key is remembered as the package's documentation
// says; the memory has no secret, only the SHA-256 that the directory has.
//
// The time of the key's last use is written at most once a minute, and after the
// answer: a failed write changes no answer.
func (db *DB) Authenticate(ctx context.Context, bearer string, now time.Time) (APIKey, error) {
	id, secret, ok := parseKey(bearer)
	if !ok {
		return APIKey{}, &AuthError{Reason: AuthMalformed}
	}
	found, err := remembered(ctx, db.cache, cacheKey{kind: "API key", name: id}, func() (*storedKey, error) {
		return findKey(ctx, db.read, id)
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return APIKey{}, &AuthError{Reason: AuthUnknown, KeyID: id}
	case err != nil:
		return APIKey{}, failed("look up API key", err)
	}
	k := found.key
	// The secret is compared first, so that only a caller with the secret learns the other
	// reasons.
	switch {
	case subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(found.hash)) != 1:
		return APIKey{}, &AuthError{Reason: AuthWrongSecret, KeyID: id}
	case !k.Revoked.IsZero(): // at any time: clocks step back
		return APIKey{}, &AuthError{Reason: AuthRevoked, KeyID: id}
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return APIKey{}, &AuthError{Reason: AuthExpired, KeyID: id}
	}
	db.jobs.noteUse(id, k.LastUsed, now)
	return k, nil
}
