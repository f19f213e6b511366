package durable

import (
	"io/fs"
	"os"
)

// keepOwner does nothing: on Windows a new file inherits the directory's access control list.
func keepOwner(*os.File, fs.FileInfo) error { return nil }

// SyncDir does nothing: Windows cannot flush a directory, and NTFS journals renames.
func SyncDir(string) error { return nil }

// Unlinked returns false: Windows does not open a file without a name.
func Unlinked(fs.FileInfo) bool { return false }
