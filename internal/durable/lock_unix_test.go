//go:build unix

package durable

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLockRefusesWhatIsNotItsOwn puts something else where the lock file goes:
// it is neither written to nor waited for.
func TestLockRefusesWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	linked := filepath.Join(dir, "linked")
	for _, file := range []string{precious, linked} {
		require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.Symlink(linked, at("symlink")))
	require.NoError(t, os.Symlink("nowhere", at("dangling")))
	require.NoError(t, os.Link(precious, at("hardlink")))
	require.NoError(t, syscall.Mkfifo(at("pipe"), 0o600))
	require.NoError(t, os.Mkdir(at("dir"), 0o700))
	for name, text := range map[string]string{
		"symlink": "not a regular file", "dangling": "not a regular file", "hardlink": "2 names",
		"pipe": "not a regular file", "dir": "not a regular file",
	} {
		lock, err := Lock(at(name))
		assert.ErrorContains(t, err, text, name)
		assert.ErrorContains(t, err, "remove", name)
		assert.Nil(t, lock, name)
	}
	assert.Equal(t, "precious", content(t, precious))
	assert.Equal(t, "precious", content(t, linked))
	assert.NoFileExists(t, at("nowhere"))
}

func owner(t *testing.T, path string) []uint32 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	return []uint32{stat.Uid, stat.Gid}
}

// TestLockOfRoot has root lock first: the owner of what is guarded can lock then.
func TestLockOfRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chown(dir, 4711, 4712))
	guarded := filepath.Join(dir, "guarded")
	require.NoError(t, os.WriteFile(guarded, nil, 0o600))
	require.NoError(t, os.Chown(guarded, 4713, 4714))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	for name, want := range map[string][]uint32{
		"guarded.lock": {4713, 4714}, "service.lock": {4711, 4712}, "link.lock": {4711, 4712}, "lock": {4711, 4712},
	} {
		lock, err := Lock(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, lock.Close())
		assert.Equal(t, want, owner(t, filepath.Join(dir, name)), name)
	}

	// One that is there already keeps its owner.
	require.NoError(t, os.Chown(filepath.Join(dir, "lock"), 0, 0))
	lock, err := Lock(filepath.Join(dir, "lock"))
	require.NoError(t, err)
	require.NoError(t, lock.Close())
	assert.Equal(t, []uint32{0, 0}, owner(t, filepath.Join(dir, "lock")))
}

func TestLockOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0))
	if os.Getuid() != 0 {
		_, err := Lock(path)
		assert.ErrorContains(t, err, "run this as the lock file's owner or as root")
		return
	}
	// Root may open all, so a child without its rights tries.
	for dir := filepath.Dir(path); dir != os.TempDir(); dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	binary, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	copied := filepath.Join(filepath.Dir(path), "child")
	require.NoError(t, os.WriteFile(copied, binary, 0o755))
	child := exec.Command(copied)
	child.Dir = "/"
	child.Env = append(os.Environ(), envLockOnce+"="+path)
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4711}}
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "run this as the lock file's owner or as root")
	assert.Contains(t, string(out), path)
}
