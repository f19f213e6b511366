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

// A lock is waited for this long, long enough for a restart to overlap the
// process that it replaces, and asked for this often.
const (
	lockWait  = 5 * time.Second
	lockRetry = 20 * time.Millisecond
)

// ErrLocked is wrapped by the error of Lock when another holds the lock.
var ErrLocked = errors.New("locked by another process")

// errHeld is what tryLock returns when another holds the lock.
var errHeld = errors.New("held")

// Lock takes an exclusive advisory lock on the file at path, which it makes if
// need be (mode 0600) and in which it writes its process ID. It waits up to 5
// seconds; then the error wraps ErrLocked and names the holder's process ID.
// The lock ends with Close of what it returns or with the process, however that
// ends. The file stays: to remove it would let two processes hold "the" lock.
//
// What root makes belongs to the owner and group of the file that it guards,
// NAME for NAME.lock, or where there is none of the directory: else the owner
// could lock no more. A file that is not a plain file, or that has another name
// as well, is refused, since it is written to.
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

// openLock opens the lock file, or makes it.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|openPlain, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, fs.ErrExist): // another made it in between
			f, err = os.OpenFile(path, os.O_RDWR|openPlain, 0)
		case err == nil:
			err = giveAway(f, path)
		}
	}
	if err == nil {
		err = checkPlain(f, "lock file")
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
		return nil, fmt.Errorf("the lock file cannot be used; run this as its owner or as root, or give it to the owner of %s: %w", filepath.Dir(path), err)
	}
	return nil, fmt.Errorf("the lock file cannot be used; it is beside the file that it is for, so run this where that folder can be written to: %w", err)
}

// giveAway gives a lock file that root made to the owner of what it guards.
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
