//go:build !pkcs11 || !cgo

package kms

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPKCS11NotBuilt(t *testing.T) {
	kek, err := Open("pkcs11:token=t;object=o?module-path=/lib/m.so", nil)
	assert.ErrorContains(t, err, "go build -tags pkcs11")
	assert.Nil(t, kek)
}
