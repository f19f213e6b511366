//go:build !linux

package journal

import "os"

// syncContents makes the contents of a file durable.
func syncContents(f *os.File) error { return f.Sync() }
