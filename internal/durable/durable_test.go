package durable

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// When these are set, the test binary is a child that dies within a write.
const (
	envDie  = "DURABLE_TEST_DIE_AT"
	envPath = "DURABLE_TEST_PATH"
	envLock = "DURABLE_TEST_LOCK"

	envLockOnce = "DURABLE_TEST_LOCK_ONCE"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(envDie) != "":
		dieAt(os.Getenv(envDie), os.Getenv(envPath))
	case os.Getenv(envLock) != "":
		holdLock(os.Getenv(envLock))
	case os.Getenv(envLockOnce) != "":
		lockOnce(os.Getenv(envLockOnce))
	}
	os.Exit(m.Run())
}

// dieAt replaces or makes the file at path, and kills this process before a step.
func dieAt(where, path string) {
	die := func(step string) error {
		if where == "create: "+step || where == "replace: "+step {
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			select {} // the signal is on its way
		}
		return nil
	}
	if strings.HasPrefix(where, "create: ") {
		CreateSteps(path, []byte("new"), 0o600, die)
	} else {
		WriteSteps(path, []byte("new"), 0o600, die)
	}
	os.Exit(3) // the step does not exist
}

var (
	replaceSteps = []string{"make", "write", "sync", "close", "rename", "sync directory"}
	createSteps  = []string{"make", "write", "sync", "close", "link", "sync directory"}
)

func TestStepNames(t *testing.T) {
	record := func(list *[]string) func(string) error {
		return func(step string) error { *list = append(*list, step); return nil }
	}
	var got []string
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, CreateSteps(path, nil, 0o600, record(&got)))
	assert.Equal(t, createSteps, got, "the tests below must know all steps")
	got = nil
	require.NoError(t, WriteSteps(path, nil, 0o600, record(&got)))
	assert.Equal(t, replaceSteps, got, "the tests below must know all steps")
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	require.NoError(t, err)
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWriteFileMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	for _, tc := range []struct{ old, want fs.FileMode }{
		{0, 0o600}, // no file yet
		{0o600, 0o600},
		{0o400, 0o400},
		{0o640, 0o640},
		{0o440, 0o440},
		{0o644, 0o640},
		{0o666, 0o640},
		{0o777, 0o640},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if tc.old != 0 {
			require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
			require.NoError(t, os.Chmod(path, tc.old))
		}
		require.NoError(t, WriteFile(path, []byte("new"), 0o600))
		assert.Equal(t, "new", content(t, path))
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, tc.want, info.Mode().Perm(), "was %04o", tc.old)
		assert.Equal(t, []string{"file"}, names(t, filepath.Dir(path)))
	}
}

func TestWriteFileThroughLinks(t *testing.T) {
	dir, real := t.TempDir(), filepath.Join(t.TempDir(), "real")
	require.NoError(t, os.WriteFile(real, []byte("old"), 0o600))
	require.NoError(t, os.Symlink(real, filepath.Join(dir, "one")))
	require.NoError(t, os.Symlink("one", filepath.Join(dir, "two")))
	require.NoError(t, WriteFile(filepath.Join(dir, "two"), []byte("new"), 0o600))

	assert.Equal(t, "new", content(t, real))
	info, err := os.Lstat(filepath.Join(dir, "two"))
	require.NoError(t, err)
	assert.Equal(t, fs.ModeSymlink, info.Mode().Type(), "the link is still one")
	assert.Equal(t, []string{"one", "two"}, names(t, dir))
	assert.Equal(t, []string{"real"}, names(t, filepath.Dir(real)))
}

func TestWriteFileRefuses(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	before := names(t, dir)

	assert.ErrorContains(t, WriteFile(filepath.Join(dir, "dangling"), nil, 0o600), "leads nowhere")
	assert.ErrorContains(t, WriteFile(filepath.Join(dir, "dir"), nil, 0o600), "not a regular file")
	assert.ErrorIs(t, WriteFile(filepath.Join(dir, "absent", "file"), nil, 0o600), fs.ErrNotExist)
	assert.Equal(t, before, names(t, dir))
}

func TestCreateNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, Create(path, []byte("first"), 0o600))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))

	assert.ErrorIs(t, Create(path, []byte("second"), 0o600), fs.ErrExist)
	assert.ErrorIs(t, Create(filepath.Join(dir, "dangling"), nil, 0o600), fs.ErrExist)
	assert.Equal(t, "first", content(t, path))

	// One that comes into being after the first look is not overwritten either.
	late := filepath.Join(dir, "late")
	err := CreateSteps(late, []byte("second"), 0o600, func(step string) error {
		if step == "link" {
			return os.WriteFile(late, []byte("first"), 0o600)
		}
		return nil
	})
	assert.ErrorIs(t, err, fs.ErrExist)
	assert.Equal(t, "first", content(t, late))
	assert.Equal(t, []string{"dangling", "file", "late"}, names(t, dir))
}

// TestFailingSteps lets each step of a write fail.
//
// trap K1
func TestFailingSteps(t *testing.T) {
	broken := errors.New("disk on fire")
	failAt := func(where string) func(string) error {
		return func(step string) error {
			if step == where {
				return broken
			}
			return nil
		}
	}
	for _, step := range replaceSteps {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
		assert.ErrorIs(t, WriteSteps(path, []byte("new"), 0o600, failAt(step)), broken)
		want := "old"
		if step == "sync directory" {
			want = "new" // renamed already
		}
		assert.Equal(t, want, content(t, path), step)
		assert.Equal(t, []string{"file"}, names(t, filepath.Dir(path)), step)
	}
	for _, step := range createSteps[:len(createSteps)-1] {
		path := filepath.Join(t.TempDir(), "file")
		assert.ErrorIs(t, CreateSteps(path, []byte("new"), 0o600, failAt(step)), broken)
		assert.Empty(t, names(t, filepath.Dir(path)), step)
	}
}

// TestKilledAtEachStep kills a process with SIGKILL at each step of a write.
//
// trap K16
func TestKilledAtEachStep(t *testing.T) {
	for _, tc := range []struct {
		op, old string
		steps   []string
		last    string // the step from which the file is the new one
	}{
		{"replace", "old", replaceSteps, "sync directory"},
		{"create", "absent", createSteps, "sync directory"},
	} {
		for _, step := range tc.steps {
			path := filepath.Join(t.TempDir(), "file")
			if tc.old != "absent" {
				require.NoError(t, os.WriteFile(path, []byte(tc.old), 0o600))
			}
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), envDie+"="+tc.op+": "+step, envPath+"="+path)
			err := child.Run()
			exit, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "%s %s: %v", tc.op, step, err)
			require.NotEqual(t, 3, exit.ExitCode(), "%s %s: no such step", tc.op, step)

			want := tc.old
			if step == tc.last {
				want = "new"
			}
			assert.Equal(t, want, content(t, path), "%s: killed before %s", tc.op, step)
			require.NoError(t, WriteFile(path, []byte("next"), 0o600), "what is left does not hinder the next write")
			assert.Equal(t, "next", content(t, path))
		}
	}
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	random := strings.Repeat("A", 26)
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".file.tmp-"+strings.Repeat("B", 26)), 0o700))
	kept := []string{
		"file", ".file.tmp-", ".file.tmp-short", ".other.tmp-" + random, "file.tmp-" + random,
		".file.tmp-x.tmp-" + random,
	}
	for _, name := range append(kept, ".file.tmp-"+random) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	Clean(path)
	assert.NoFileExists(t, filepath.Join(dir, ".file.tmp-"+random))
	for _, name := range kept {
		assert.FileExists(t, filepath.Join(dir, name))
	}
	Clean(filepath.Join(dir, "absent", "file"))
}
