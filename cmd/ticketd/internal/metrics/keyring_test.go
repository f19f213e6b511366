package metrics

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
)

// What a Ring did is counted by the states of its keys, and never goes down.
func TestStateOfKeyrings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keyring")
	c := keyring.Config{Kind: keyring.Ticket, KEK: keyring.InsecureCleartext, Poll: time.Hour}
	require.NoError(t, keyring.Create(file, c, keyring.DefaultPolicy(c.Kind), ""))
	ring, err := keyring.Open(file, c)
	require.NoError(t, err)
	defer ring.Close()
	m := New()
	m.WatchRings(map[keyring.Kind]Reporter{keyring.Ticket: ring})
	change := func(steps ...keyring.Step) {
		t.Helper()
		_, err := keyring.Change(file, c, "a test", steps...)
		require.NoError(t, err)
		require.NoError(t, ring.Reload())
	}
	first := ring.Report().Primary
	seal := func() []byte {
		sealed, err := ring.Encrypt([]byte("x"), nil)
		require.NoError(t, err)
		return sealed
	}
	open := func(sealed []byte, times int) {
		for range times {
			_, err := ring.Decrypt(sealed, nil)
			require.NoError(t, err)
		}
	}
	expect := func(lines ...string) {
		t.Helper()
		text := scrape(t, m)
		for _, line := range lines {
			assert.Contains(t, text, "ticketd_keyring_"+line+"\n")
		}
	}
	sealed := seal()
	open(sealed, 2)
	lint(t, m)
	expect(`generation{kind="ticket"} 1`,
		`sealed_total{kind="ticket",state="primary"} 1`,
		`opened_total{kind="ticket",state="primary"} 2`, `opened_total{kind="ticket",state="retiring"} 0`,
		`keys{kind="ticket",state="primary"} 1`, `keys{kind="ticket",state="retiring"} 0`)
	assert.Less(t, labelled(t, m, `ticketd_keyring_primary_age_seconds{kind="ticket"}`), 600.0)
	assert.Less(t, labelled(t, m, `ticketd_keyring_stale_seconds{kind="ticket"}`), 600.0)

	change(keyring.Step{Do: keyring.Rotate, Now: true})
	open(sealed, 3)
	seal()
	expect(`generation{kind="ticket"} 2`,
		`sealed_total{kind="ticket",state="primary"} 2`, `opened_total{kind="ticket",state="primary"} 2`,
		`opened_total{kind="ticket",state="retiring"} 3`, `keys{kind="ticket",state="retiring"} 1`)

	// A key that was away is counted from 0 by the Ring, and not here.
	change(keyring.Step{Do: keyring.Disable, Key: first, Unsafe: true})
	change(keyring.Step{Do: keyring.Enable, Key: first})
	open(sealed, 1)
	expect(`opened_total{kind="ticket",state="retiring"} 4`, `keys{kind="ticket",state="disabled"} 0`)
}

// labelled returns the value of a metric with its labels.
func labelled(t *testing.T, m *Metrics, name string) float64 {
	t.Helper()
	return value(t, scrape(t, m), name)
}
