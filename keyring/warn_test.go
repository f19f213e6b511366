package keyring

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap K24
//
// The obvious literal leaves Propagation and Skew out. The policy is allowed, since a
// single process needs neither, and everybody who meets the policy is warned.
func TestPolicyWithoutPropagationWarns(t *testing.T) {
	literal := Policy{Lifetime: 15 * time.Minute, RotateEvery: 24 * time.Hour}
	const warning = "propagation is 0s"
	var log bytes.Buffer
	warned := func() int {
		n := strings.Count(log.String(), warning)
		log.Reset()
		return n
	}
	c := config(Ticket)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	path := filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, Create(path, c, literal, ""))
	assert.Equal(t, 1, warned(), "Create")

	info, err := Read(path, c)
	require.NoError(t, err)
	require.Len(t, info.Warnings(), 1)
	assert.Contains(t, info.Warnings()[0], warning)
	assert.Contains(t, info.Warnings()[0], "the defaults are 2m0s and 10s")

	r, err := Open(path, c)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	assert.Equal(t, 1, warned(), "a Ring, in the log of the service")

	_, err = Change(path, c, "", Step{Do: Rotate})
	require.NoError(t, err)
	assert.Zero(t, warned(), "a change of something else")

	good := DefaultPolicy(Ticket)
	info, err = Change(path, c, "", Step{Do: SetPolicy, Policy: &good})
	require.NoError(t, err)
	assert.Empty(t, info.Warnings())
	assert.Zero(t, warned())
	_, err = Change(path, c, "", Step{Do: SetPolicy, Policy: &literal})
	require.NoError(t, err)
	assert.Equal(t, 1, warned(), "Change")
}
