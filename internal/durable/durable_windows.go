package durable

import (
	"io/fs"
	"os"
)

// keepOwner does nothing: a new file inherits the directory's access control list.
func keepOwner(*os.File, fs.FileInfo) error { return nil }

// syncDir does nothing: Windows cannot flush a directory, and NTFS journals renames.
func syncDir(string) error { return nil }
