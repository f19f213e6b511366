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

// AssociatedData returns the associated data with which the tickets of a realm are sealed:
// "admitone/ticket/1", a zero byte, and the realm. The error is CheckRealm's.
func AssociatedData(realm string) ([]byte, error) {
	if err := CheckRealm("token.AssociatedData.realm", realm); err != nil {
		return nil, err
	}
	return sealing.AssociatedData("admitone/ticket/1", realm), nil
}
