//go:build !linux

package journal

import (
	"os"
	"reflect"
)

// identify takes the inode, if the platform's os.FileInfo has an inode. Elsewhere, as on
// Windows, all files are alike, and copies are not recognised.
func identify(f *os.File) (identity, error) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	sys := reflect.Indirect(reflect.ValueOf(info.Sys()))
	if sys.Kind() == reflect.Struct {
		if ino := sys.FieldByName("Ino"); ino.IsValid() && ino.CanUint() {
			return identity{inode: ino.Uint()}, nil
		}
	}
	return identity{}, nil
}
