package state

import (
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// trap R35: a data folder that everybody may write to is refused, with the remedy.
func TestFolderOfOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes tell nothing there")
	}
	p := Place{Data: t.TempDir()}
	for _, mode := range []os.FileMode{0o777, 0o703, os.ModeSticky | 0o777} {
		require.NoError(t, os.Chmod(p.Data, mode))
		_, err := p.Lock()
		require.ErrorContains(t, err, "chmod o-w "+p.Data)
	}
	for _, mode := range []os.FileMode{0o700, 0o755, os.ModeSetgid | 0o770} {
		require.NoError(t, os.Chmod(p.Data, mode))
		lock, err := p.Lock()
		require.NoError(t, err)
		require.NoError(t, lock.Close())
	}
}
