package token

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Each issuer's tickets have nonces of their own, whatever IDs the issuers choose.
//
// trap F15
func TestNonce(t *testing.T) {
	id := ID([]byte("0123456789abcdef"))
	nonce := func(issuer string, id ID) ID { return (&Ticket{Issuer: issuer, ID: id}).Nonce() }
	assert.Equal(t, id, nonce("", id), "without a name, the ID as ever")

	sum := sha256.Sum256([]byte("admitone/nonce/2\x00acme\x000123456789abcdef"))
	assert.Equal(t, sum[:16], hexBytes(t, nonce("acme", id).String()), "as SPEC.md has it")
	assert.Equal(t, "e85a51a505ce95785edbad6be3cd305d", nonce("acme", id).String(), "the example of SPEC.md")

	seen := map[ID]string{}
	for _, issuer := range []string{"", "acme", "acme-de", "beta", strings.Repeat("a", 64)} {
		for _, id := range []ID{{}, id, {15: 1}} {
			n := nonce(issuer, id)
			assert.Empty(t, seen[n], "%s %v", issuer, id)
			seen[n] = issuer + "/" + id.String()
		}
	}
	if !raceEnabled {
		tk := &Ticket{Issuer: strings.Repeat("a", 64), ID: id}
		assert.Zero(t, testing.AllocsPerRun(100, func() { tk.Nonce() }))
	}
}

func hexBytes(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	assert.NoError(t, err)
	return b
}

func TestCheckIssuer(t *testing.T) {
	for _, good := range []string{"a", "acme", "login.example.com", "a_b-c.9", strings.Repeat("a", 64)} {
		assert.NoError(t, CheckIssuer("x.Name", good), good)
	}
	for _, wrong := range []string{"", "Acme", "a/b", "a b", "a\x00", "ä", strings.Repeat("a", 65)} {
		assert.ErrorContains(t, CheckIssuer("x.Name", wrong), "x.Name is not 1 to 64 characters", wrong)
	}
}
