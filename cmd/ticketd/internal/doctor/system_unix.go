//go:build linux || darwin

package doctor

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownerOf returns the user to whom a file belongs.
func ownerOf(path string) (uid uint32, ok bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, true
}

// writable returns an error if this user may not write to a folder.
func writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// freeSpace returns the space for files of this user, in bytes.
func freeSpace(dir string) (free uint64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}
