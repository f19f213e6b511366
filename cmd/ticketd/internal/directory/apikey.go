package directory

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"
)

// A Scope is a use of API keys.
type Scope string

// The scopes.
const (
	ScopeIssue  Scope = "issue"  // ask for tickets and revoke them
	ScopeRedeem Scope = "redeem" // inspect and redeem tickets

	ScopeAdmin   Scope = "admin"   // administer the key's brands, or with all brands the deployment
	ScopeConsole Scope = "console" // make links that let administrators of the key's brands in
)

var scopes = []Scope{ScopeIssue, ScopeRedeem, ScopeAdmin, ScopeConsole}

// An APIKey is the directory's record of a key. Any number of keys are good at the same
// time, so that a key can be replaced before its revocation.
type APIKey struct {
	ID     string // 10 characters; fit for logs
	Scopes []Scope

	// A key is for the brands, in the order of their names, or for every brand, including
	// future ones.
	Brands    []string
	AllBrands bool

	Note string // for people, such as the name of the holder; at most 512 bytes

	// Rate is the number of requests a second in the long run, and Burst the number at
	// once. 0 means the default of the service.
	Rate  float64
	Burst int

	Expires  time.Time // zero: never
	Created  time.Time
	Revoked  time.Time // zero: not revoked
	LastUsed time.Time // to the minute

	Revision int64 // see DB.IfRevision; set by the directory
}

// Allows reports whether the key may be used for the scope at the brand. Authenticate
// has already refused revoked and expired keys.
func (k APIKey) Allows(scope Scope, brand string) bool {
	return slices.Contains(k.Scopes, scope) && (k.AllBrands || slices.Contains(k.Brands, brand))
}

// ExpiryNotice is how long before the end of an API key people are reminded of the end.
const ExpiryNotice = 30 * 24 * time.Hour

// ExpiresSoon reports whether the key is good now, and ends within ExpiryNotice.
func (k APIKey) ExpiresSoon(now time.Time) bool {
	left := k.Expires.Sub(now)
	return !k.Expires.IsZero() && k.Revoked.IsZero() && left > 0 && left <= ExpiryNotice
}

const (
	minRate  = 0.001 // 3.6 an hour; with a lower rate, the waiting times in answers overflow
	maxRate  = 1e6
	maxBurst = 1e6
)

// prepare refuses a wrong key and normalizes a good one.
func (k *APIKey) prepare() error {
	switch {
	case len(k.Scopes) == 0:
		return refuse("scopes", "is empty; give at least one of %v", scopes)
	case len(k.Brands) == 0 && !k.AllBrands:
		return refuse("brands", "is empty; name the key's brands, or say that it is for all of them")
	case len(k.Brands) > 0 && k.AllBrands:
		return refuse("brands", "names brands, and the key is for all of them; choose one")
	case k.Rate != 0 && !(k.Rate >= minRate && k.Rate <= maxRate): // NaN is refused, too
		return refuse("rate", "is not a number of requests a second from %v to %d, nor 0 for the service's",
			minRate, int(maxRate))
	case k.Burst < 0 || k.Burst > maxBurst:
		return refuse("burst", "is not a number of requests from 0 to %d", int(maxBurst))
	case k.Rate == 0 && k.Burst != 0:
		return refuse("burst", "is set without a rate; give both, or neither for the service's")
	}
	for i, scope := range k.Scopes {
		if !slices.Contains(scopes, scope) || slices.Contains(k.Scopes[:i], scope) {
			return refuse("scopes", "may name each of %v once and nothing else", scopes)
		}
	}
	for i, brand := range k.Brands {
		if err := checkName("brands", brand, maxBrand); err != nil {
			return err
		}
		if slices.Contains(k.Brands[:i], brand) {
			return refuse("brands", "names a brand twice; name it once")
		}
	}
	k.Brands = slices.Sorted(slices.Values(k.Brands))
	if k.Rate != 0 && k.Burst == 0 {
		k.Burst = int(math.Ceil(k.Rate))
	}
	k.Expires = wholeMillis(k.Expires)
	return cmp.Or(checkText("note", k.Note, maxRemark))
}

// An API key in the form for its holder is keyPrefix, the ID, _ and the secret; ID and
// secret are in keyEncoding. For secret scanners: adm_[a-z2-7]{10}_[a-z2-7]{52}
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

// parseKey splits a key into ID and secret. The secret is not decoded: the hash is of
// the text, so that exactly one string is the key.
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

// randomText returns 32 random bytes in keyEncoding.
func randomText() string {
	raw := make([]byte, secretBytes)
	rand.Read(raw) // never fails: crypto/rand ends the program instead
	return keyEncoding.EncodeToString(raw)
}

// hashSecret returns the column value of a secret. One round of SHA-256 is enough for
// 256 random bits. Hashes of passwords are slow because passwords are guessable.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
