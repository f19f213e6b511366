package directory

import (
	"context"
	"crypto/subtle"
	"time"
)

// An AuthReason is why a key was not accepted.
type AuthReason string

// The reasons.
const (
	AuthMalformed   AuthReason = "malformed"    // not of the form of a key
	AuthUnknown     AuthReason = "unknown"      // no key has this ID
	AuthWrongSecret AuthReason = "wrong_secret" // the ID exists, and its secret is another
	AuthRevoked     AuthReason = "revoked"
	AuthExpired     AuthReason = "expired"
)

// An AuthError says why Authenticate did not accept a key. It is for operators:
// a stranger learns from all of them the same, that the key was not accepted.
// Nothing of the secret is in it.
type AuthError struct {
	Reason AuthReason
	KeyID  string // as the caller wrote it; empty if malformed
}

func (e *AuthError) Error() string {
	const text = "API key "
	switch e.Reason {
	case AuthMalformed:
		return text + "is malformed: send the whole key as it was shown, beginning with " + keyPrefix
	case AuthRevoked, AuthExpired:
		return text + e.KeyID + " is " + string(e.Reason) + ": create another"
	case AuthWrongSecret:
		return text + e.KeyID + " came with a wrong secret: send the whole key as it was shown"
	}
	return text + e.KeyID + " is unknown: send the whole key as it was shown, or create one"
}

// Authenticate returns the key that the bearer, the text after "Bearer " in an
// Authorization header, is the whole of. Whether the key may do what is asked is
// for [APIKey.Allows] to say. At its Expires, now is too late.
//
// The error is an *AuthError when the key is not accepted; any other means that
// the directory could not be asked. The directory is asked each time, so that a
// revocation holds from the moment at which RevokeAPIKey returns.
//
// The time of the key's last use is written at most once a minute, and later:
// it neither delays the answer nor makes it fail.
func (db *DB) Authenticate(ctx context.Context, bearer string, now time.Time) (APIKey, error) {
	id, secret, ok := parseKey(bearer)
	if !ok {
		return APIKey{}, &AuthError{Reason: AuthMalformed}
	}
	found, err := getKey(ctx, db.read, id)
	if err != nil {
		return APIKey{}, failed("look up API key", err)
	}
	if found == nil {
		return APIKey{}, &AuthError{Reason: AuthUnknown, KeyID: id}
	}
	k := found.key
	// The secret comes first: only who has it moves the other reasons.
	switch {
	case subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(found.hash)) != 1:
		return APIKey{}, &AuthError{Reason: AuthWrongSecret, KeyID: id}
	case !k.Revoked.IsZero(): // whatever the time: clocks step back
		return APIKey{}, &AuthError{Reason: AuthRevoked, KeyID: id}
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return APIKey{}, &AuthError{Reason: AuthExpired, KeyID: id}
	}
	db.jobs.noteUse(id, k.LastUsed, now)
	return k, nil
}
