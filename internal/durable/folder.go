package durable

import (
	"fmt"
	"os"
	"runtime"
)

// CheckFolder refuses a folder that everybody may write to: others could remove or replace
// its files. byGroup reports whether the folder's group may write to it, as Kubernetes'
// fsGroup arranges. On Windows the modes tell nothing, and every folder is good.
func CheckFolder(path string) (byGroup bool, err error) {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" {
		return false, err
	}
	if info.Mode().Perm()&0o002 != 0 {
		return false, fmt.Errorf("everybody may write to the folder %s, and so remove its files: chmod o-w %s", path, path)
	}
	return info.Mode().Perm()&0o020 != 0, nil
}
