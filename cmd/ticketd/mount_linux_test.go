package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// startMounted starts a ticketd that sees mounts of its own, which a shell script makes
// first. $1 and $2 in the script are from and to. The test is skipped where the system lets
// nobody mount.
func startMounted(t *testing.T, script, from, to string, args ...string) *process {
	t.Helper()
	unshare, flag := needs(t, "unshare"), "-m"
	if os.Getuid() != 0 {
		flag = "-rm"
	}
	try := exec.Command(unshare, flag, "sh", "-c", "mount --bind "+to+" "+to)
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("no mounts here: %v %s", err, out)
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	return startProgram(t, nil, unshare, append([]string{flag, "sh", "-e", "-c",
		script + "\nshift 2\nexec \"$@\"", "sh", from, to, exe}, args...)...)
}

// keysApart makes a data folder with the demo's contents and its keyrings in a folder of
// their own.
func keysApart(t *testing.T) (data, keys string, info demoInfo) {
	t.Helper()
	p, info, data := served(t)
	healthy(t, p, info.URL)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	keys = filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.Mkdir(keys, 0o700))
	for _, kind := range []string{"ticket", "session", "channel"} {
		for _, suffix := range []string{".keyring", ".keyring.audit"} {
			require.NoError(t, os.Rename(filepath.Join(data, kind+suffix), filepath.Join(keys, kind+suffix)))
		}
		require.NoError(t, os.Remove(filepath.Join(data, kind+".keyring.lock")))
	}
	return data, keys, info
}

// Keyrings of a folder that is mounted read-only are served, and a rotation from elsewhere
// is seen.
func TestReadOnlyKeyrings(t *testing.T) {
	t.Parallel()
	data, keys, info := keysApart(t)
	mounted := t.TempDir()
	p := startMounted(t, `mount --bind "$1" "$2"; mount -o remount,bind,ro "$2"; ! touch "$2/x" 2>/dev/null`,
		keys, mounted, "serve", "--data", data, "--keyrings", mounted,
		"--listen", strings.TrimPrefix(info.URL, "http://"))
	healthy(t, p, info.URL)
	info.ticket(t, info.request(true))
	kek, err := kms.Open("file:"+filepath.Join(data, "kek.key"), nil)
	require.NoError(t, err)
	config := keyring.Config{Kind: keyring.Ticket, KEK: kek}
	_, err = keyring.Change(filepath.Join(keys, "ticket.keyring"), config, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	p.logs("generation=2")
	info.ticket(t, info.request(true))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	assert.NotContains(t, p.stderr.String(), "level=ERROR")
	assert.NoFileExists(t, filepath.Join(data, "ticket.keyring"))
}

// trap K21: a single file that is mounted stays the old one, and the service says so.
func TestSingleFileMounted(t *testing.T) {
	t.Parallel()
	data, keys, info := keysApart(t)
	mounted := t.TempDir()
	metrics := freeAddress(t)
	p := startMounted(t, `for f in "$1"/*.keyring; do : >"$2/${f##*/}"; mount --bind "$f" "$2/${f##*/}"; done`,
		keys, mounted, "serve", "--data", data, "--keyrings", mounted, "--metrics-listen", metrics,
		"--listen", strings.TrimPrefix(info.URL, "http://"))
	healthy(t, p, info.URL)
	info.ticket(t, info.request(true))
	kek, err := kms.Open("file:"+filepath.Join(data, "kek.key"), nil)
	require.NoError(t, err)
	config := keyring.Config{Kind: keyring.Ticket, KEK: kek}
	_, err = keyring.Change(filepath.Join(keys, "ticket.keyring"), config, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	p.logs("mount the file's folder")
	info.ticket(t, info.request(true))
	require.Eventually(t, func() bool {
		status, body := fetch(t, "http://"+metrics+"/keyring")
		return status == http.StatusOK && strings.Contains(body, `"reason":"unlinked"`)
	}, time.Minute, 20*time.Millisecond)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
}
