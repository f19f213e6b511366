package durable

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAppend(t *testing.T) {
	dir := t.TempDir()
	path, like := filepath.Join(dir, "log"), filepath.Join(dir, "file")
	read := func() string {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(b)
	}
	require.NoError(t, Append(path, 0, []byte("one\n"), like), "without a file to be like")
	require.NoError(t, Append(path, 4, []byte("two\n"), like))
	assert.Equal(t, "one\ntwo\n", read())
	require.NoError(t, Append(path, 4, []byte("3\n"), like), "what was torn is cut off")
	assert.Equal(t, "one\n3\n", read())
	assert.ErrorContains(t, Append(path, 7, []byte("x"), like), "cut off in the meantime")
	assert.Equal(t, "one\n3\n", read())

	if runtime.GOOS == "windows" {
		return
	}
	for mode, want := range map[fs.FileMode]fs.FileMode{0o600: 0o600, 0o640: 0o640, 0o666: 0o640} {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.WriteFile(like, nil, 0o600))
		require.NoError(t, os.Chmod(like, mode))
		require.NoError(t, Append(path, 0, []byte("one\n"), like))
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, want, info.Mode().Perm())
	}

	// A link, a second name and a folder are refused, and what they lead to stays.
	other := filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(other, []byte("other"), 0o600))
	for _, make := range []func() error{
		func() error { return os.Symlink(other, path) },
		func() error { return os.Link(other, path) },
		func() error { return os.Mkdir(path, 0o700) },
	} {
		require.NoError(t, os.Remove(path))
		require.NoError(t, make())
		assert.Error(t, Append(path, 0, []byte("x"), like))
		b, err := os.ReadFile(other)
		require.NoError(t, err)
		assert.Equal(t, "other", string(b))
	}
}
