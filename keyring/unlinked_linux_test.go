package keyring

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap K21: a mount of a single file keeps the file that was there when it was mounted. So
// does a link in /proc to an open file, which needs no rights to mount.
func TestFileWithoutName(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	mounted := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	var told []Report
	c.OnReload, c.Poll = func(r Report) { told = append(told, r) }, time.Hour
	r := newRing(t, mounted, c)
	require.NoError(t, r.Reload())

	before, err := Read(path, config(Ticket))
	require.NoError(t, err)
	_, err = Change(path, config(Ticket), "", Step{Do: Rotate})
	require.NoError(t, err)
	err = r.Reload()
	assertCause(t, Unlinked, err)
	assert.ErrorContains(t, err, "mount the file's folder")
	report := r.Report()
	assert.Equal(t, Unlinked, report.Reason)
	assert.Equal(t, before.Generation, report.Generation)
	require.Len(t, told, 1)
	assert.Equal(t, Unlinked, told[0].Reason)
	sealed, err := r.Encrypt([]byte("text"), nil)
	require.NoError(t, err, "the keys stay in use")
	_, err = r.Decrypt(sealed, nil)
	require.NoError(t, err)

	// A service that starts now has keys, and says at once that they are stale.
	late := newRing(t, mounted, c)
	assert.Equal(t, Unlinked, late.Report().Reason)
	_, err = late.Encrypt([]byte("text"), nil)
	assert.NoError(t, err)

	// A folder has no such fault, nor a link into one.
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	for _, good := range []string{path, link} {
		r := newRing(t, good, config(Ticket))
		_, err = Change(path, config(Ticket), "", Step{Do: Rotate, Now: true})
		require.NoError(t, err)
		require.NoError(t, r.Reload())
		assert.Empty(t, r.Report().Reason)
	}
}
