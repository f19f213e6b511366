package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Append writes data at offset of the file at path, which is its end, or where a
// torn write begins: what is behind it is cut off. It makes the file if there is
// none: mode 0600, or, where the file like is, with that one's owner, group and
// mode (cut down to 0640). When it returns nil, all is on stable storage.
//
// One process at a time may call it. It follows no link.
func Append(path string, offset int64, data []byte, like string) error {
	f, err := os.OpenFile(path, os.O_RDWR|openPlain, 0)
	isNew := errors.Is(err, fs.ErrNotExist)
	if isNew {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if isNew {
		err = keepAccess(f, like)
	} else {
		err = checkPlain(f, "file")
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < offset {
		return fmt.Errorf("%s was cut off in the meantime; try again", path)
	}
	if err := f.Truncate(offset); err != nil {
		return err
	}
	if _, err := f.WriteAt(data, offset); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if isNew {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

// keepAccess gives f the owner, group and mode of the file like, if there is one.
func keepAccess(f *os.File, like string) error {
	info, err := os.Stat(like)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := keepOwner(f, info); err != nil {
		return fmt.Errorf("cannot give %s the owner and group of %s; run this as its owner or as root: %w", f.Name(), like, err)
	}
	return f.Chmod(info.Mode().Perm() & widest)
}
