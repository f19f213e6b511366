package settings

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
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

// FuzzFile: a file of settings sets the flags that it names, or each mistake has a line, and words
// that quote no value.
func FuzzFile(f *testing.F) {
	const secret = "pa55w0rd"
	for _, text := range []string{
		"rate-limit: 1\nrate-burst: 2\nskew: 3s\ntls-cert: ''\n", "# nothing\n", "a: &b [*b]\n", "skew: " + secret + "\n",
		"trusted-proxies: [10.0.0.0/8, ::1]\n", "skew: 1s\nskew: 2s\n", "skew: 1s\n---\nskew: 2s\n", "{skew: 1s}",
		"skew: {x: " + secret + "}\n", "replay: [" + secret + "]\n", "\ufeffskew: 1s\r\n", "!!map {skew: !!str 1s}",
	} {
		f.Add(text)
	}
	f.Add("log-level: " + secret + "\nlog-format: " + secret + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		cmd, flags := &cobra.Command{Use: "serve"}, new(Service)
		flags.AddServeFlags(cmd.Flags())
		mistakes := applyFile(cmd, "f", []byte(text))
		for _, m := range mistakes {
			require.GreaterOrEqual(t, m.line, 0)
			require.NotEmpty(t, m.reason)
			if m.key != "" {
				require.NotContains(t, m.reason, secret)
			}
		}
		var all map[string]any
		if len(mistakes) > 0 || yaml.Unmarshal([]byte(text), &all) != nil {
			return
		}
		for name := range all {
			require.True(t, cmd.Flags().Changed(name), name)
		}
	})
}
