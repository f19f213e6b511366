//go:build unix

package service

import "syscall"

// descriptorLimit returns how many descriptors the process may have open; ok is false if
// nobody knows. Go has raised the soft limit to the hard one.
func descriptorLimit() (limit uint64, ok bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true
}
