package keyring

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/durable"
)

// envKill makes the test binary a child that changes the keyring PATH, or makes
// it, and kills itself before step N of that: "N PATH".
const envKill = "KEYRING_TEST_KILL"

// steps are those of a change and of a creation.
var (
	changeSteps = []string{"announce", "make", "write", "sync", "close", "rename", "sync directory", "log the outcome",
		"end"}
	createSteps = []string{"announce", "make", "write", "sync", "close", "link", "sync directory", "log the outcome",
		"end"}
)

func dieAtStep(arg string) {
	number, path, _ := strings.Cut(arg, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		panic(err)
	}
	c := config(Ticket)
	c.at = func(step string) error {
		if n--; n < 0 {
			fmt.Println(step)
			self, _ := os.FindProcess(os.Getpid())
			self.Kill()
			time.Sleep(time.Hour)
		}
		return nil
	}
	if _, err = os.Stat(path); err != nil {
		err = Create(path, c, DefaultPolicy(Ticket), "")
	} else {
		_, err = rotate(path, c)
	}
	fmt.Println("not killed:", err)
	os.Exit(1)
}

// die starts a child that dies before step n, and returns that step.
func die(t *testing.T, n int, path string) string {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", envKill, n, path))
	out, err := child.Output()
	require.Error(t, err)
	require.False(t, err.(*exec.ExitError).Exited(), "it was killed: %s", out)
	return strings.TrimSpace(string(out))
}

// TestKilledAtEachStep kills a writer before each step of a change: the file is the
// old one or the new one, the audit log says which, and the next change goes on.
//
// trap K16
func TestKilledAtEachStep(t *testing.T) {
	c := config(Ticket)
	for n, step := range changeSteps {
		path := newFile(t, c)
		old, err := Read(path, c)
		require.NoError(t, err)
		require.Equal(t, step, die(t, n, path))

		info, err := Read(path, c)
		require.NoError(t, err, step)
		isNew := n > 5
		assert.Equal(t, isNew, info.Generation == 2, step)
		assert.Equal(t, isNew, info.Fingerprint != old.Fingerprint, step)
		log, err := Audit(path, &c)
		require.NoError(t, err, step)
		last := log[len(log)-1]
		switch {
		case n == 0:
			assert.Len(t, log, 1, "not even announced")
		case n < 8:
			assert.Equal(t, Unfinished, last.Result, step)
			assert.Equal(t, isNew, last.Hash == info.Audit, step)
		default:
			assert.Equal(t, Done, last.Result, step)
		}

		next, err := rotate(path, c)
		require.NoError(t, err, step)
		assert.Equal(t, info.Generation+1, next.Generation)
		log, err = Audit(path, &c)
		require.NoError(t, err, step)
		want := map[bool]AuditResult{true: Done, false: NotDone}[isNew]
		if n > 0 {
			assert.Equal(t, want, log[1].Result, step)
			assert.Equal(t, uint64(2), log[1].Generation)
		}
		assert.Equal(t, Done, log[len(log)-1].Result)
		assertNoKeysLeft(t, path, step)
	}
}

// assertNoKeysLeft makes sure that what a killed writer leaves beside the file is
// as private as that.
func assertNoKeysLeft(t *testing.T, path, step string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "%s after %s", e.Name(), step)
	}
}

// trap K16
func TestKilledAtEachStepOfCreate(t *testing.T) {
	c := config(Ticket)
	for n, step := range createSteps {
		path := filepath.Join(t.TempDir(), "keyring")
		require.Equal(t, step, die(t, n, path))
		if n <= 5 {
			_, err := Read(path, c)
			assertCause(t, Missing, err, step)
			require.NoError(t, Create(path, c, DefaultPolicy(Ticket), ""), "init can be run again")
		}
		info, err := rotate(path, c)
		require.NoError(t, err)
		assert.Equal(t, uint64(2), info.Generation)
		log, err := Audit(path, &c)
		require.NoError(t, err, step)
		if n > 0 && n <= 5 {
			assert.Equal(t, []AuditResult{NotDone, Done, Done}, []AuditResult{log[0].Result, log[1].Result, log[2].Result}, step)
		}
	}
}

// TestFailingStore has each step of a write fail for a while, as on a full disk:
// what was there stays, and Apply, run again, does what is due.
//
// trap K13
func TestFailingStore(t *testing.T) {
	full := errors.New("no space left on device")
	for _, broken := range changeSteps[:6] {
		path, c, clock := timed(t)
		r := newRing(t, path, c)
		sealed, err := r.Encrypt([]byte("text"), nil)
		require.NoError(t, err)
		clock.t = clock.t.AddDate(0, 0, 30)
		failing := c
		failing.at = func(step string) error {
			if step == broken {
				return full
			}
			return nil
		}
		before := mustRead(t, path)
		for range 3 {
			_, _, err := Apply(path, failing, nil)
			assert.ErrorIs(t, err, full, broken)
			assert.Equal(t, before, mustRead(t, path))
			require.NoError(t, r.Reload())
			_, err = r.Decrypt(sealed, nil)
			assert.NoError(t, err)
			_, err = Audit(path, &c)
			assert.NoError(t, err)
			clock.t = clock.t.Add(time.Minute)
		}
		info, done, err := Apply(path, c, nil)
		require.NoError(t, err, broken)
		require.Len(t, done, 1)
		assert.Equal(t, Rotate, done[0].Do)
		clock.t = clock.t.Add(time.Hour)
		info, _, err = Apply(path, c, nil)
		require.NoError(t, err)
		assert.Equal(t, done[0].Key, info.Primary)
		require.NoError(t, r.Reload())
		_, err = Audit(path, &c)
		assert.NoError(t, err)
	}
}

// TestOutcomeNotLogged fails in the last step, when the change is made already.
func TestOutcomeNotLogged(t *testing.T) {
	path, c, _ := timed(t)
	first := mustRead(t, path)
	c.at = func(step string) error {
		if step == "log the outcome" {
			return errors.New("no space left on device")
		}
		return nil
	}
	info, err := rotate(path, c)
	require.NoError(t, err)
	log, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Equal(t, Unfinished, log[1].Result)
	assert.Equal(t, info.Audit, log[1].Hash, "which tells that it was done")

	// The policy's next run makes good for it, so that a file put back is found.
	c.at = nil
	_, done, err := Apply(path, c, nil)
	require.NoError(t, err)
	assert.Empty(t, done)
	log, err = Audit(path, &c)
	require.NoError(t, err)
	assert.Equal(t, Done, log[1].Result)
	assert.Equal(t, info.Fingerprint, log[1].After)
	require.NoError(t, os.WriteFile(path, first, 0o600))
	_, err = Read(path, c)
	assertCause(t, RolledBack, err)
}

// TestFailingKEK has the KEK's service fail for a while.
//
// trap K13
func TestFailingKEK(t *testing.T) {
	path, c, clock := timed(t)
	r := newRing(t, path, c)
	clock.t = clock.t.AddDate(0, 0, 30)
	before, log := mustRead(t, path), mustRead(t, path+".audit")
	broken := c
	broken.KEK = brokenKEK{KEK: c.KEK, encrypt: true}
	for range 3 {
		_, _, err := Apply(path, broken, nil)
		assert.ErrorIs(t, err, errDown)
	}
	assert.Equal(t, before, mustRead(t, path))
	assert.Equal(t, log, mustRead(t, path+".audit"), "what cannot be is not announced")
	_, done, err := Apply(path, c, nil)
	require.NoError(t, err)
	assert.Len(t, done, 1)
	require.NoError(t, r.Reload())
	assert.Equal(t, uint64(2), r.Report().Generation)
}

// TestMissingFile has no operation but Create and CreateFrom make a file.
//
// trap K14
func TestMissingFile(t *testing.T) {
	dir := t.TempDir()
	path, c := filepath.Join(dir, "keyring"), config(Ticket)
	other := newFile(t, c)
	keyset, err := Export(other, c, JSON, InsecureCleartext, "")
	require.NoError(t, err)
	for name, try := range map[string]func() error{
		"Read":   func() error { _, err := Read(path, c); return err },
		"Open":   func() error { _, err := Open(path, c); return err },
		"Change": func() error { _, err := Change(path, c, "why", Step{Do: BeginAudit}, Step{Do: Rotate}); return err },
		"Apply":  func() error { _, _, err := Apply(path, c, nil); return err },
		"Rewrap": func() error { _, err := Rewrap(path, c, newKEK(8, "vault"), ""); return err },
		"Import": func() error { _, err := Import(path, c, keyset, InsecureCleartext, ""); return err },
		"Export": func() error { _, err := Export(path, c, JSON, InsecureCleartext, ""); return err },
		"Audit":  func() error { _, err := Audit(path, &c); return err },
	} {
		assertCause(t, Missing, try(), name)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestConcurrentCreate has several make one keyring: one does, and the log has
// that one.
func TestConcurrentCreate(t *testing.T) {
	for range 10 {
		path, c := filepath.Join(t.TempDir(), "keyring"), config(Ticket)
		results := make(chan error, 8)
		for range cap(results) {
			go func() { results <- Create(path, c, DefaultPolicy(Ticket), "") }()
		}
		made := 0
		for range cap(results) {
			if err := <-results; err == nil {
				made++
			} else {
				// Or so many others were at it that it had no turn.
				assert.True(t, errors.Is(err, os.ErrExist) || errors.Is(err, durable.ErrLocked), "%v", err)
			}
		}
		assert.Equal(t, 1, made)
		log, err := Audit(path, &c)
		require.NoError(t, err)
		assert.Len(t, log, 1)
	}
}

// TestLeftovers has writers be killed: what they leave, which may be keys that are
// destroyed by and by, goes with the next change.
//
// trap K16
func TestLeftovers(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	leftovers := func() (names []string) {
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				names = append(names, e.Name())
			}
		}
		return names
	}
	other := filepath.Join(filepath.Dir(path), ".keyring.tmp-of-mine")
	require.NoError(t, os.WriteFile(other, nil, 0o600))
	for n := range changeSteps {
		die(t, n, path)
	}
	assert.NotEmpty(t, leftovers())
	_, err := rotate(path, c)
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Base(other)}, leftovers())
}
