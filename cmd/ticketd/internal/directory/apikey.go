package directory

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Scope is something that an API key may be used for.
type Scope string

// The scopes.
const (
	ScopeIssue  Scope = "issue"  // ask for tickets
	ScopeRedeem Scope = "redeem" // inspect and redeem tickets
)

// An API key, as its holder has it, is keyPrefix, the ID, _ and the secret; the
// last two in keyEncoding. For secret scanners: adm_[a-z2-7]{10}_[a-z2-7]{52}
const (
	keyPrefix   = "adm_"
	keyAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
	idLength    = 10 // 50 bits: unique, not secret
	secretBytes = 32
)

var (
	keyEncoding  = base32.NewEncoding(keyAlphabet).WithPadding(base32.NoPadding)
	secretLength = keyEncoding.EncodedLen(secretBytes)
)

// An APIKey is what the directory knows of a key.
type APIKey struct {
	ID       string // 10 characters; fit for logs
	Scopes   []Scope
	Brands   []string // empty: every brand, those of the future too
	Note     string   // for people: whose it is; at most 512 bytes
	Expires  time.Time
	Created  time.Time
	Revoked  time.Time
	LastUsed time.Time // to the minute
}

// Allows reports whether the key may be used for the scope at the brand. That it
// is neither revoked nor expired, Authenticate has seen to.
func (k APIKey) Allows(scope Scope, brand string) bool {
	return slices.Contains(k.Scopes, scope) && (len(k.Brands) == 0 || slices.Contains(k.Brands, brand))
}

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
	const text = "directory: API key "
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

// CreateAPIKey stores a new key and returns it in the form in which its holder
// sends it, adm_<id>_<secret>. This is the only time that the secret can be
// seen. The caller chooses Scopes, Brands, Expires and Note and leaves the rest
// empty. The error wraps ErrNotFound when one of the brands does not exist.
func (db *DB) CreateAPIKey(ctx context.Context, k APIKey) (secret string, err error) {
	now := db.now()
	if err := k.check(now); err != nil {
		return "", err
	}
	for _, brand := range k.Brands {
		if _, err := db.Brand(ctx, brand); err != nil {
			return "", err
		}
	}
	scopes, err := toList(k.Scopes)
	if err != nil {
		return "", fmt.Errorf("directory: create API key: %w", err)
	}
	brands, err := toList(k.Brands)
	if err != nil {
		return "", fmt.Errorf("directory: create API key: %w", err)
	}
	id, secret := randomText()[:idLength], randomText()
	_, err = db.write.ExecContext(ctx, `
		INSERT INTO api_key (id, secret_sha256, scopes, brands, note, created, expires)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, hashSecret(secret), scopes, brands, k.Note, millis(now), millis(k.Expires))
	if err != nil {
		return "", fmt.Errorf("directory: create API key: %w", err)
	}
	return keyPrefix + id + "_" + secret, nil
}

func (k APIKey) check(now time.Time) error {
	switch {
	case k.ID != "" || !k.Created.IsZero() || !k.Revoked.IsZero() || !k.LastUsed.IsZero():
		return errors.New("directory: a new API key's ID, creation, revocation and last use are not the caller's to set: leave them empty")
	case len(k.Scopes) == 0:
		return refuse("scopes", "is empty: give issue, redeem or both")
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return refuse("expires", "is not in the future: give a later time")
	}
	for i, scope := range k.Scopes {
		if (scope != ScopeIssue && scope != ScopeRedeem) || slices.Contains(k.Scopes[:i], scope) {
			return refuse("scopes", "may name each of issue and redeem once and nothing else")
		}
	}
	for i, brand := range k.Brands {
		if err := checkName("brands", brand, maxBrand); err != nil {
			return err
		}
		if slices.Contains(k.Brands[:i], brand) {
			return refuse("brands", "names a brand twice: name it once")
		}
	}
	return checkText("note", k.Note, maxRemark)
}

// RevokeAPIKey makes Authenticate refuse the key from now on, for good. Revoking
// it again changes nothing. The error wraps ErrNotFound when there is no key with
// this ID.
func (db *DB) RevokeAPIKey(ctx context.Context, id string) error {
	if !isKeyText(id, idLength) { // perhaps a whole key: not to be repeated
		return fmt.Errorf("directory: not the ID of an API key: give the %d characters after %s: %w", idLength, keyPrefix, ErrNotFound)
	}
	result, err := db.write.ExecContext(ctx,
		`UPDATE api_key SET revoked = COALESCE(revoked, $2) WHERE id = $1`, id, db.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("directory: revoke API key: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("directory: revoke API key: %w", err)
	}
	if n == 0 {
		return missing("API key", id)
	}
	return nil
}

// Authenticate returns the key that the bearer, the text after "Bearer " in an
// Authorization header, is the whole of. Whether the key may do what is asked is
// for [APIKey.Allows] to say. At its Expires, now is too late.
//
// The error is an *AuthError when the key is not accepted; any other means that
// the directory could not be asked.
//
// The time of the key's last use is written at most once a minute, and later:
// it neither delays the answer nor makes it fail.
func (db *DB) Authenticate(ctx context.Context, bearer string, now time.Time) (APIKey, error) {
	id, secret, ok := parseKey(bearer)
	if !ok {
		return APIKey{}, &AuthError{Reason: AuthMalformed}
	}
	k, hash, err := scanAPIKey(db.read.QueryRowContext(ctx, `
		SELECT id, secret_sha256, scopes, brands, note, created, expires, revoked, last_used
		FROM api_key WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return APIKey{}, &AuthError{Reason: AuthUnknown, KeyID: id}
	}
	if err != nil {
		return APIKey{}, fmt.Errorf("directory: look up API key: %w", err)
	}
	// The secret comes first: only who has it moves the other reasons.
	switch {
	case subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(hash)) != 1:
		return APIKey{}, &AuthError{Reason: AuthWrongSecret, KeyID: id}
	case !k.Revoked.IsZero(): // whatever the time: clocks step back
		return APIKey{}, &AuthError{Reason: AuthRevoked, KeyID: id}
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return APIKey{}, &AuthError{Reason: AuthExpired, KeyID: id}
	}
	db.uses.note(id, k.LastUsed, now)
	return k, nil
}

func scanAPIKey(r row) (k APIKey, hash string, err error) {
	var scopes, brands string
	var created, expires, revoked, lastUsed sql.NullInt64
	err = r.Scan(&k.ID, &hash, &scopes, &brands, &k.Note, &created, &expires, &revoked, &lastUsed)
	if err != nil {
		return APIKey{}, "", err
	}
	if k.Scopes, err = fromList[Scope](scopes); err != nil {
		return APIKey{}, "", fmt.Errorf("scopes: %w", err)
	}
	if k.Brands, err = fromList[string](brands); err != nil {
		return APIKey{}, "", fmt.Errorf("brands: %w", err)
	}
	k.Created, k.Expires = fromMillis(created), fromMillis(expires)
	k.Revoked, k.LastUsed = fromMillis(revoked), fromMillis(lastUsed)
	return k, hash, nil
}

// parseKey takes a key apart. The secret stays text: it is the text that was
// hashed, so that exactly one string is the key.
func parseKey(bearer string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(bearer, keyPrefix)
	if !ok {
		return "", "", false
	}
	id, secret, _ = strings.Cut(rest, "_")
	return id, secret, isKeyText(id, idLength) && isKeyText(secret, secretLength)
}

// isKeyText reports whether s is length characters of keyAlphabet.
func isKeyText(s string, length int) bool {
	return len(s) == length && strings.Trim(s, keyAlphabet) == ""
}

// randomText is 32 random bytes in keyEncoding.
func randomText() string {
	raw := make([]byte, secretBytes)
	rand.Read(raw) // never fails: crypto/rand ends the program instead
	return keyEncoding.EncodeToString(raw)
}

// hashSecret is the column value of a secret. One round of SHA-256 is enough for
// 256 random bits; what makes hashes of passwords slow is that passwords are
// guessable.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
