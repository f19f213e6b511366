// Package durable replaces files so that a crash at any moment leaves the old
// contents or the new, never a mixture and never nothing, and takes advisory
// locks between processes.
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

// WriteFile replaces the contents of the file at path, or makes it.
//
// It follows symbolic links and replaces what they lead to. An existing file
// keeps its owner, its group and its mode, the mode cut down to 0640; a new one
// gets mode. When WriteFile returns nil, contents and directory entry are on
// stable storage. When it returns an error, the file is the old one; only where
// the error came from making the directory entry durable may it be the new one.
//
// A crash may leave a file named .NAME.tmp-* beside it, as private as the file
// that it would have become; see Clean.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	return WriteSteps(path, data, mode, nil)
}

// Create makes the file at path with the given contents and mode, whole and on
// stable storage, or not at all. It never overwrites: the error wraps
// fs.ErrExist if anything is there already, even a dangling link. The file
// system must have hard links.
func Create(path string, data []byte, mode fs.FileMode) error {
	return CreateSteps(path, data, mode, nil)
}

// Clean removes what killed writers of the file at path left beside it, which may
// hold what the file no longer does. It follows no link. Nobody else may be
// writing the file: hold its lock. What cannot be removed stays.
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

// tempPrefix is what the names of base's temporary files begin with.
func tempPrefix(base string) string { return "." + base + ".tmp-" }

func noStep(string) error { return nil }

// WriteSteps is WriteFile. It calls at, if that is not nil, before each step, by
// name, so that a test can fail or die there.
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
	return syncDir(filepath.Dir(target))
}

// CreateSteps is to Create what WriteSteps is to WriteFile.
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
	return syncDir(filepath.Dir(path))
}

// resolve follows path's links to the file that they lead to. A file that does
// not exist is itself, a link that leads nowhere an error: to put a file in its
// place would turn the link into something else.
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

// writeTemp writes a new file in target's directory, on stable storage, with
// mode and with old's owner (unless old is nil), and returns its name. After an
// error nothing is left of it.
func writeTemp(target string, data []byte, mode fs.FileMode, old fs.FileInfo, at func(step string) error) (name string, err error) {
	if err := at("make"); err != nil {
		return "", err
	}
	dir, base := filepath.Split(target)
	temp := filepath.Join(dir, tempPrefix(base)+rand.Text())
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("%w (to replace a file is to make one in its folder)", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temp)
		}
	}()
	// The owner before the mode, so that no group but the right one ever reads it.
	if old != nil {
		if err := keepOwner(f, old); err != nil {
			return "", fmt.Errorf("cannot keep the owner and group of %s; run this as its owner or as root: %w", target, err)
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
