package kms

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// typed returns a terminal at which somebody has typed a text.
func typed(t *testing.T, text string) *os.File {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { keyboard.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { terminal.Close() })
	_, err = keyboard.WriteString(text)
	require.NoError(t, err)
	return terminal
}

// A new passphrase is asked for twice, and the two must be the same.
func TestTerminal(t *testing.T) {
	for _, c := range []struct {
		text   string
		repeat bool
		want   string // "": an error
	}{
		{"a secret\n", false, "a secret"},
		{"a secret\na secret\n", true, "a secret"},
		{"a secret\nA secret\n", true, ""},
	} {
		var shown bytes.Buffer
		got, err := passphraseFrom(typed(t, c.text), &shown, c.repeat)
		assert.Equal(t, c.want == "", err != nil, "%q: %v", c.text, err)
		assert.Equal(t, c.want, got, "%q", c.text)
		assert.Contains(t, shown.String(), "Passphrase: ")
		assert.NotContains(t, shown.String(), "secret")
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer file.Close()
	_, err = passphraseFrom(file, new(bytes.Buffer), false)
	assert.ErrorContains(t, err, "reading the passphrase")
}
