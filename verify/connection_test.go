package verify

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What opens tickets, and keeps the list of who may issue them, can open no connection: no code for
// that is linked, whatever stands in a ticket, a bundle or a list.
//
// trap F13
func TestOpensNoConnection(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".", "./trust", "../token", "../token/signed", "../keyring").Output()
	require.NoError(t, err)
	all := strings.Fields(string(out))
	assert.Contains(t, all, "crypto/hpke")
	for _, network := range []string{"net", "net/http", "crypto/tls", "os/exec"} {
		assert.NotContains(t, all, network)
	}
}
