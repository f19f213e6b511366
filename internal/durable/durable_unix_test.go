//go:build unix

package durable

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriteFileKeepsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o640))
	require.NoError(t, os.Chown(path, 4711, 4712))
	require.NoError(t, WriteFile(path, []byte("new"), 0o600))
	info, err := os.Stat(path)
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	assert.Equal(t, []uint32{4711, 4712}, []uint32{stat.Uid, stat.Gid})
	assert.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
}

// TestAppendKeepsOwner has root make a log for another's file.
func TestAppendKeepsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	path, like := filepath.Join(dir, "log"), filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(like, nil, 0o640))
	require.NoError(t, os.Chown(like, 12345, 23456))
	require.NoError(t, Append(path, 0, []byte("one\n"), like))
	info, err := os.Stat(path)
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	assert.Equal(t, []uint32{12345, 23456}, []uint32{stat.Uid, stat.Gid})
}
