//go:build !pkcs11 || !cgo

package kms

import (
	"errors"

	"github.com/admitone/admitone/keyring"
)

func openPKCS11(*pkcs11URI) (keyring.KEK, error) {
	return nil, errors.New("this program was built without PKCS #11; " +
		"build the program, on a machine with a C compiler, with: CGO_ENABLED=1 go build -tags pkcs11")
}
