package settings

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A file that is written in place is taken when it is whole, not while it is empty
// or cut off.
func TestWatchWaitsForWriters(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("rate-limit: 1\n")
	w := newWatch(file)
	for i, step := range []struct {
		text           string
		asked, changed bool
	}{
		{text: "rate-limit: 1\n"},
		{text: ""},
		{text: "rate-limit: 2\n"},
		{text: "rate-limit: 2\nrate-burst: 3\n"},
		{text: "rate-limit: 2\nrate-burst: 3\n", changed: true},
		{text: "rate-limit: 2\nrate-burst: 3\n"},
		{text: "", asked: true, changed: true},
		{text: ""},
		{text: "rate-limit: 4\n"},
		{text: "", asked: false}, // as it was taken
		{text: ""},
		{text: "", asked: true, changed: true},
	} {
		write(step.text)
		assert.Equal(t, step.changed, w.changed(step.asked), "step %d", i)
	}
	require.NoError(t, os.Remove(file))
	assert.False(t, w.changed(false))
	assert.True(t, w.changed(false), "it is gone")
}

// Of a folder, a change of a file counts, and so do a new, a renamed and a removed file.
func TestWatchFolder(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	w := newWatch(filepath.Join(dir, "missing"), dir)
	for i, change := range []func() error{
		func() error { return os.WriteFile(a, []byte("1"), 0o600) },
		func() error { return os.WriteFile(a, []byte("2"), 0o600) },
		func() error { return os.Rename(a, b) },
		func() error { return os.Mkdir(a, 0o700) },
		func() error { return os.Remove(b) },
	} {
		require.NoError(t, change())
		assert.False(t, w.changed(false), "step %d: it may still be written", i)
		assert.True(t, w.changed(false), "step %d", i)
		assert.False(t, w.changed(false), "step %d", i)
	}
}
