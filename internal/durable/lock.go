package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	lockWait  = 5 * time.Second // lets a new process start before the old process has ended
	lockRetry = 20 * time.Millisecond
)

// ErrLocked is wrapped by the error of Lock when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// errHeld is the error of tryLock when another process holds the lock.
var errHeld = errors.New("held")

// Lock takes an exclusive advisory lock on the file at path, and writes the process ID
// into the file. Lock waits up to 5 seconds; then the error wraps ErrLocked and names
// the holder's process ID. The lock ends with Close or with the process, even if the
// process is killed.
//
// If there is no file, Lock makes the file, mode 0600. The file stays after the lock:
// if the file were removed, two processes could each lock a file of that name. A lock
// file that root makes is given to the owner and group of the guarded file (NAME for
// NAME.lock) or, without such a file, of the directory, so that the owner can lock too.
//
// Since Lock writes to the file, Lock refuses anything but a regular file with one name.
func Lock(path string) (io.Closer, error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(lockWait)
	for {
		err = tryLock(f)
		if !errors.Is(err, errHeld) {
			break
		}
		if !time.Now().Before(deadline) {
			err = fmt.Errorf("%s is %w (%s)", path, ErrLocked, holder(f))
			break
		}
		time.Sleep(lockRetry)
	}
	if err == nil {
		err = sign(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openLock opens or makes the lock file.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|openNoFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, fs.ErrExist): // another process made the file in between
			f, err = os.OpenFile(path, os.O_RDWR|openNoFollow, 0)
		case err == nil:
			err = giveAway(f, path)
		}
	}
	if err == nil {
		err = checkRegular(f, "lock file")
	}
	if err == nil {
		return f, nil
	}
	if f != nil {
		f.Close()
	}
	if info, lerr := os.Lstat(path); lerr == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the lock file %s is not a regular file; remove it", path)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("the lock file cannot be used; run this as the lock file's owner or as root, "+
			"or give the lock file to the owner of %s: %w", filepath.Dir(path), err)
	}
	return nil, fmt.Errorf("the lock file cannot be used; "+
		"run this where the folder of the locked file can be written to: %w", err)
}

// giveAway gives a lock file that root made to the owner of the guarded file.
func giveAway(f *os.File, path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if guarded, ok := strings.CutSuffix(path, ".lock"); ok {
		if info, err := os.Lstat(guarded); err == nil && info.Mode().IsRegular() {
			return keepOwner(f, info)
		}
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	return keepOwner(f, dir)
}

// sign writes this process's ID into the lock file, for others to read.
func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return "its process ID is not known"
	}
	return fmt.Sprintf("process ID %d", pid)
}
