package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Append writes data at offset into the file at path, and cuts off the rest of the
// file. The offset is the file's end, or the place where a torn write begins. When
// Append returns nil, the data are on stable storage.
//
// If there is no file, Append makes the file with the owner, group and mode of the
// file like, the mode cut down to 0640. Without a file like, the mode is 0600.
//
// Only one process at a time may call Append. Append follows no link.
func Append(path string, offset int64, data []byte, like string) error {
	f, err := os.OpenFile(path, os.O_RDWR|openNoFollow, 0)
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
		err = checkRegular(f, "file")
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
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// keepAccess gives f the owner, group and mode of the file like, if like exists.
func keepAccess(f *os.File, like string) error {
	info, err := os.Stat(like)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := keepOwner(f, info); err != nil {
		return fmt.Errorf("cannot give %s the owner and group of %s; run this as the file's owner or as root: %w",
			f.Name(), like, err)
	}
	return f.Chmod(info.Mode().Perm() & widest)
}
