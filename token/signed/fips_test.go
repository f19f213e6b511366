package signed

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// P-256 runs under GODEBUG=fips140=only, with either signature. Recipients' keys of the other
// suites cannot be loaded.
func TestFIPS(t *testing.T) {
	if !fips140.Enforced() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, string(out))
		assert.Contains(t, string(out), "--- PASS: TestFIPS")
		assert.NotContains(t, string(out), "SKIP")
		return
	}
	for _, by := range []signing{acme, acmeECDSA} {
		s, tk := issue(t, newIssuer(t, "acme", by, sealingKeyOf(t, oursP256)))
		var got token.Ticket
		require.NoError(t, open(openingKeys(t, oursP256), trust(t, map[string][]any{"acme": {by}}), "prod", s, &got))
		assert.Equal(t, tk.ID, got.ID)
	}
	assert.Panics(t, func() { handleOf(ours) }, "Tink makes no such key")
	assert.Panics(t, func() { handleOf(oursXW) }, "X-Wing has X25519 in it")
}
