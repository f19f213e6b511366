package token_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// trap K23
//
// Keys must not die before the tickets that they seal.
func TestIssuerRefusesLifetimesBeyondItsKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tickets.keyring")
	c := keyring.Config{Kind: keyring.Ticket, KEK: keyring.InsecureCleartext, Log: slog.New(slog.DiscardHandler)}
	policy := keyring.DefaultPolicy(keyring.Ticket)
	policy.Lifetime = 10 * time.Minute
	require.NoError(t, keyring.Create(path, c, policy, ""))
	ring, err := keyring.Open(path, c)
	require.NoError(t, err)
	defer ring.Close()

	for longest, ok := range map[time.Duration]bool{
		time.Minute: true, 10 * time.Minute: true, 10*time.Minute + time.Millisecond: false,
		0: false, // token.MaxLifetime, 15 minutes
	} {
		issuer, err := token.NewIssuer(token.Config{Sealer: ring, MaxLifetime: longest})
		if ok {
			assert.NoError(t, err)
			assert.NotNil(t, issuer)
			continue
		}
		var fault *token.ConfigError
		require.ErrorAs(t, err, &fault, longest)
		assert.Equal(t, "token.Config.MaxLifetime", fault.Field)
		assert.Contains(t, fault.Reason, "the keyring keeps its keys for 10m0s")
		assert.Nil(t, issuer)
	}
}
