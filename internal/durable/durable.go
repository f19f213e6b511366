// Package durable writes and reads the files of the other packages. A file is
// replaced so that a crash at any moment leaves the old contents or the new contents,
// never a mixture and never nothing. Lock takes advisory locks between processes, and
// ReadPrivate reads files with secrets.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// widest is the most permissive mode that an existing file keeps.
const widest fs.FileMode = 0o640

// WriteFile replaces the contents of the file at path, or makes the file.
//
// WriteFile follows symbolic links and replaces the file to which they lead. An
// existing file keeps its owner, its group and its mode, the mode cut down to 0640; a
// new file gets mode. After a nil error, contents and directory entry are on stable
// storage. After any other error the file is the old file, with one exception: if only
// the directory entry could not be made durable, the file may be the new file.
//
// A crash may leave a file named .NAME.tmp-* beside the file, with the same owner and
// mode; see Clean.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	return WriteSteps(path, data, mode, nil)
}

// Create makes the file at path with the given contents and mode, whole and on
// stable storage, or not at all. Create never overwrites: if path exists already, even
// as a dangling link, the error wraps fs.ErrExist. The file system must have hard links.
func Create(path string, data []byte, mode fs.FileMode) error {
	return CreateSteps(path, data, mode, nil)
}

// Clean removes the temporary files that killed writers of the file at path left
// behind. They may hold secrets that the file no longer holds. Clean follows no link,
// and a file that cannot be removed stays. The caller holds the lock of the file, so
// that no other process is writing.
func Clean(path string) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		random, ok := strings.CutPrefix(e.Name(), tempPrefix(base))
		if ok && len(random) == len(rand.Text()) && !strings.Contains(random, ".") && e.Type().IsRegular() {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// tempPrefix returns the beginning of the names of base's temporary files.
func tempPrefix(base string) string { return "." + base + ".tmp-" }

func noStep(string) error { return nil }

// WriteSteps is WriteFile for tests: before each step WriteSteps calls at, if at is not
// nil, with the step's name, so that a test can fail or die there.
func WriteSteps(path string, data []byte, mode fs.FileMode, at func(step string) error) error {
	if at == nil {
		at = noStep
	}
	target, err := resolve(path)
	if err != nil {
		return err
	}
	old, err := os.Stat(target)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", target)
	case err == nil:
		mode = old.Mode().Perm() & widest
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	temp, err := writeTemp(target, data, mode, old, at)
	if err != nil {
		return err
	}
	if err = at("rename"); err == nil {
		err = os.Rename(temp, target)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	if err := at("sync directory"); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(target))
}

// CreateSteps is Create with the calls of WriteSteps.
func CreateSteps(path string, data []byte, mode fs.FileMode, at func(step string) error) error {
	if at == nil {
		at = noStep
	}
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	temp, err := writeTemp(path, data, mode, nil, at)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := at("link"); err != nil {
		return err
	}
	if err := os.Link(temp, path); errors.Is(err, fs.ErrExist) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w (the file system must have hard links)", err)
	}
	if err := at("sync directory"); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// resolve follows the links of path to a file. A path without a file is returned as
// given. A link that leads nowhere is an error: a rename would replace the link.
func resolve(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return target, err
	}
	if _, lerr := os.Lstat(path); lerr == nil {
		return "", fmt.Errorf("%s is a symbolic link that leads nowhere: %w", path, err)
	}
	return path, nil
}

// writeTemp writes a new file in the directory of target, on stable storage, with mode
// and with the owner of old (unless old is nil), and returns the new file's name. After
// an error no new file is left.
func writeTemp(
	target string, data []byte, mode fs.FileMode, old fs.FileInfo, at func(step string) error,
) (name string, err error) {
	if err := at("make"); err != nil {
		return "", err
	}
	dir, base := filepath.Split(target)
	temp := filepath.Join(dir, tempPrefix(base)+rand.Text())
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("%w (a file is replaced by a new file in the same folder)", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temp)
		}
	}()
	// The owner is set before the mode, so that no wrong group can read the file.
	if old != nil {
		if err := keepOwner(f, old); err != nil {
			return "", fmt.Errorf("cannot keep the owner and group of %s; run this as the file's owner or as root: %w",
				target, err)
		}
	}
	if err := f.Chmod(mode); err != nil {
		return "", err
	}
	if err := at("write"); err != nil {
		return "", err
	}
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := at("sync"); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	if err := at("close"); err != nil {
		return "", err
	}
	return temp, f.Close()
}
