package token

import (
	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/internal/textrule"
)

const maxRealm = 64

// CheckRealm refuses a realm that cannot name a deployment. A realm is at most 64 bytes of
// UTF-8 without control characters, and may be empty. The error is a *ConfigError for
// field, the Go field that holds the realm, such as "verify.Config.Realm".
func CheckRealm(field, realm string) error {
	if fault := textrule.Fault(realm, maxRealm); fault != "" {
		return &ConfigError{Field: field, Reason: fault}
	}
	return nil
}

// CheckIssuer refuses a name that no issuer can have. An issuer's name is 1 to 64 characters of
// a-z, 0-9, '_', '.' and '-'. The error is a *ConfigError for field, as CheckRealm's.
func CheckIssuer(field, name string) error {
	if !validName(name) {
		return &ConfigError{Field: field,
			Reason: "is not 1 to 64 characters of a-z, 0-9, '_', '.' and '-'; rename the issuer"}
	}
	return nil
}

// AssociatedData returns the associated data with which the tickets of a realm are sealed:
// "admitone/ticket/1", a zero byte, and the realm. The error is CheckRealm's.
func AssociatedData(realm string) ([]byte, error) {
	if err := CheckRealm("token.AssociatedData.realm", realm); err != nil {
		return nil, err
	}
	return sealing.AssociatedData("admitone/ticket/1", realm), nil
}
