package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// Errors of ReadFile and ReadPrivate, to match with errors.Is.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("too large")
)

// ReadFile reads a regular file of at most limit bytes, and also returns the file's
// description by the system. It follows links, and never waits at a pipe. The error
// wraps ErrNotRegular, ErrTooLarge or the system's error.
func ReadFile(path string, limit int64) ([]byte, fs.FileInfo, error) {
	// An open of a pipe would wait for a writer, so the type is checked first.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is %w", path, ErrNotRegular)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("%s is %w: over %d bytes", path, ErrTooLarge, limit)
	}
	return data, info, nil
}

// ReadPrivate is ReadFile for a file with a secret: the file must pass CheckPrivate.
func ReadPrivate(path string, limit int64) ([]byte, error) {
	data, info, err := ReadFile(path, limit)
	if err != nil {
		return nil, err
	}
	if err := CheckPrivate(path, info); err != nil {
		clear(data)
		return nil, err
	}
	return data, nil
}

// CheckPrivate refuses a file that everyone may read or write, or that the file's
// group may write. The group may read: services often run under a group of their own.
// On Windows, which has access control lists instead of these bits, every file passes.
func CheckPrivate(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o026 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("mode %04o lets others read or write the file; run: %s", mode, Narrow(path))
	}
	return nil
}

// Narrow returns the command that makes a file private.
func Narrow(path string) string { return "chmod 0600 " + path + " (in Kubernetes: defaultMode 0400)" }
