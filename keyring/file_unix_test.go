//go:build unix

package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPipe puts a pipe in the file's place, at which a reader would wait for ever.
func TestPipe(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	r := newRing(t, path, c)
	require.NoError(t, os.Remove(path))
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	assertCause(t, NotFile, r.Reload())
	assert.False(t, r.HasKey(1))
	_, err := Read(path, c)
	assertCause(t, NotFile, err)
	_, err = Open(path, c)
	assertCause(t, NotFile, err)
	require.NoError(t, r.Close())

	_, err = Read(t.TempDir(), c)
	assertCause(t, NotFile, err)
	assert.ErrorContains(t, err, "not a regular file")
}

// TestReadFault has the system refuse, which it does not do to root.
func TestReadFault(t *testing.T) {
	err := readFault("f", &fs.PathError{Op: "open", Path: "f", Err: syscall.EACCES})
	assertCause(t, Unreadable, err)
	assert.ErrorContains(t, err, "run this as the file's owner")
	assert.ErrorIs(t, err, fs.ErrPermission)
	err = readFault("f", &fs.PathError{Op: "read", Path: "f", Err: syscall.EIO})
	assertCause(t, Unreadable, err)
	assert.ErrorContains(t, err, "cannot be read")

	c := config(Ticket)
	path := newFile(t, c)
	_, err = Read(path+"/below", c) // ENOTDIR
	assertCause(t, Unreadable, err)
	if os.Getuid() != 0 {
		require.NoError(t, os.Chmod(path, 0))
		_, err = Read(path, c)
		assertCause(t, Unreadable, err)
	}
}

// TestCleartextMode opens keyrings of several modes: in clear, they must be as
// private as key files are.
//
// trap K2
func TestCleartextMode(t *testing.T) {
	for mode, good := range map[fs.FileMode]bool{
		0o600: true, 0o400: true, 0o640: true, 0o440: true,
		0o644: false, 0o604: false, 0o602: false, 0o620: false, 0o660: false, 0o666: false, 0o444: false,
	} {
		for _, kek := range []KEK{InsecureCleartext, newKEK(7, "test")} {
			c := config(Ticket)
			c.KEK = kek
			path := newFile(t, c)
			r := newRing(t, path, c)
			_, err := rotate(path, c)
			require.NoError(t, err)
			require.NoError(t, os.Chmod(path, mode))
			_, readErr := Read(path, c)
			again, openErr := Open(path, c)
			if openErr == nil {
				again.Close()
			}
			reloadErr := r.Reload()
			_, rotateErr := rotate(path, c)
			for _, err := range []error{readErr, openErr, reloadErr, rotateErr} {
				name := fmt.Sprintf("%s %04o", kek.Hint(), mode)
				if good || kek != InsecureCleartext {
					assert.NoError(t, err, name)
					continue
				}
				assertCause(t, Exposed, err, name)
				assert.ErrorContains(t, err, "chmod 0600 "+path, name)
			}
			if f, ok := errors.AsType[*FileError](readErr); ok {
				assert.Equal(t, path, f.Path)
			}
		}
	}
}
