package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncContents makes the contents of a file durable whose length is durable already.
func syncContents(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
