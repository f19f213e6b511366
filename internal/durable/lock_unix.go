//go:build unix

package durable

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openNoFollow are flags with which an open does not follow a link or wait at a pipe.
const openNoFollow = unix.O_NOFOLLOW | unix.O_NONBLOCK

// checkRegular refuses anything but a regular file with one name.
func checkRegular(f *os.File, what string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("the %s %s is not a regular file; remove it", what, f.Name())
	}
	if n := info.Sys().(*syscall.Stat_t).Nlink; n != 1 {
		return fmt.Errorf("the %s %s has %d names (hard links) and may be another program's file; "+
			"remove the other name, or replace the file by a copy", what, f.Name(), n)
	}
	return nil
}

func tryLock(f *os.File) error {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errHeld
		default:
			return os.NewSyscallError("flock", err)
		}
	}
}
