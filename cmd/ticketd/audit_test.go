package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// ticketd audit --follow prints the events there are, and then those of other processes.
func TestAuditFollow(t *testing.T) {
	t.Parallel()
	for name, where := range map[string][]string{
		"sqlite":   {"--data", t.TempDir()},
		"postgres": {"--data", t.TempDir(), "--database", servers.Database(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do := func(args ...string) {
				t.Helper()
				p := start(t, append(args, where...)...)
				require.Equal(t, 0, p.wait(), p.stderr.String())
			}
			do("init")
			do("brand", "add", "commbox")
			follow := start(t, append([]string{"audit", "--follow", "--brand", "commbox"}, where...)...)
			next := func() string {
				t.Helper()
				line, err := follow.stdout.ReadString('\n')
				require.NoError(t, err, follow.stderr.String())
				return line
			}
			assert.Contains(t, next(), " brand.add brand=commbox by=shell:")
			do("brand", "add", "acme")
			do("brand", "set", "commbox", "--region", "GB")
			assert.Contains(t, next(), " brand.set brand=commbox fields=region by=shell:")
			assert.Equal(t, 0, follow.end(os.Interrupt), follow.stderr.String())
			assert.Empty(t, follow.stderr.String())
		})
	}
}
