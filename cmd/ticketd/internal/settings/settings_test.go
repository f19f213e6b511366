package settings

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The command line wins over the environment, and the environment over the file.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "# all of it\nrate-limit: 1\nrate-burst: 2\nskew: 3s\ntls-cert: ''\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	t.Setenv("ADMITONE_RATE_LIMIT", "10")
	t.Setenv("ADMITONE_RATE_BURST", "20")
	t.Setenv("ADMITONE_CONFIG", file)
	s := Source{commandLine: map[string]string{"rate-limit": "100"}}
	_, c, _, err := s.reread()
	require.NoError(t, err)
	assert.Equal(t, 100.0, c.Live.Limit.Rate)
	assert.Equal(t, 20, c.Live.Limit.Burst)
	assert.Equal(t, 3*time.Second, c.Skew)
}
