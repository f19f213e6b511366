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

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(path, []byte("12345"), 0o644))
	data, info, err := ReadFile(path, 5)
	require.NoError(t, err)
	assert.Equal(t, "12345", string(data))
	assert.Equal(t, int64(5), info.Size())

	_, _, err = ReadFile(path, 4)
	require.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, "over 4 bytes")
	_, _, err = ReadFile(dir, 5)
	assert.ErrorIs(t, err, ErrNotRegular)
	_, _, err = ReadFile(filepath.Join(dir, "absent"), 5)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	if _, err := os.Stat(os.DevNull); err == nil {
		_, _, err = ReadFile(os.DevNull, 5)
		assert.ErrorIs(t, err, ErrNotRegular)
	}
}

func TestReadPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("secret"), 0o600))
	_, err := ReadPrivate(path, 5)
	assert.ErrorIs(t, err, ErrTooLarge)
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	for mode, ok := range map[fs.FileMode]bool{
		0o400: true, 0o600: true, 0o640: true, 0o440: true, 0o711: true,
		0o644: false, 0o620: false, 0o602: false, 0o604: false,
	} {
		require.NoError(t, os.Chmod(path, mode))
		data, err := ReadPrivate(path, 6)
		if ok {
			require.NoError(t, err, "%04o", mode)
			assert.Equal(t, "secret", string(data))
			continue
		}
		assert.ErrorContains(t, err, "run: chmod 0600 "+path, "%04o", mode)
		assert.Nil(t, data)
	}
}
