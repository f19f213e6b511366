package keyring

import (
	"bufio"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/durable"
)

func TestCreate(t *testing.T) {
	clock := newClock()
	for _, kind := range []Kind{Ticket, Session, Channel} {
		c := config(kind)
		c.Now = clock.now
		path := filepath.Join(t.TempDir(), "keyring")
		require.NoError(t, Create(path, c, DefaultPolicy(c.Kind), ""))
		info, err := Read(path, c)
		require.NoError(t, err)
		assert.Equal(t, Info{
			Kind: kind, Realm: "prod", Generation: 1, Fingerprint: info.Fingerprint, KEK: "test", Policy: DefaultPolicy(kind),
			Audit: info.Audit, Primary: info.Primary,
			Keys: []Key{{ID: info.Primary, Algorithm: Algorithms(kind)[0], State: Primary, Created: clock.t, Enabled: clock.t,
				Promoted: clock.t}},
		}, info)
		assert.Len(t, info.Fingerprint, 64)

		before := mustRead(t, path)
		assert.ErrorIs(t, Create(path, c, DefaultPolicy(c.Kind), ""), fs.ErrExist)
		assert.Equal(t, before, mustRead(t, path))
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keyring")
	good := config(Ticket)
	with := func(f func(*Config)) Config { c := good; f(&c); return c }
	for _, tc := range []struct {
		c         Config
		p         Policy
		algorithm string
		text      string
	}{
		{with(func(c *Config) { c.Kind = "" }), DefaultPolicy(Ticket), "", "Config.Kind"},
		{with(func(c *Config) { c.Kind = AnyKind }), DefaultPolicy(Ticket), "", "one kind"},
		{with(func(c *Config) { c.Realm = "a\nb" }), DefaultPolicy(Ticket), "", "Config.Realm"},
		{with(func(c *Config) { c.Realm = "\xff" }), DefaultPolicy(Ticket), "", "Config.Realm"},
		{good, Policy{Lifetime: -1}, "", "keyring.Policy.Lifetime is -1ns"},
		{good, Policy{}, "", "Lifetime is 0s; give the longest lifetime"},
		{good, DefaultPolicy(Ticket), "AES256_SIV", "AES256_GCM"},
		{good, DefaultPolicy(Ticket), "aes256_gcm", "AES256_GCM"},
		{with(func(c *Config) { c.Kind = Channel }), DefaultPolicy(Channel), "AES256_GCM", "AES256_SIV"},
	} {
		assert.ErrorContains(t, Create(path, tc.c, tc.p, tc.algorithm), tc.text)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestPolicyAsGiven gives a policy of zeros, which is one, and not the default.
func TestPolicyAsGiven(t *testing.T) {
	c := config(Channel)
	path := filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, Create(path, c, Policy{}, ""))
	info, err := Read(path, c)
	require.NoError(t, err)
	assert.Equal(t, Policy{}, info.Policy)
}

// brokenKEK fails as a KMS does that is down.
type brokenKEK struct {
	KEK
	encrypt, decrypt bool
}

var errDown = errors.New("KMS is down")

func (k brokenKEK) Encrypt(plaintext, ad []byte) ([]byte, error) {
	if k.encrypt {
		return nil, errDown
	}
	return k.KEK.Encrypt(plaintext, ad)
}

func (k brokenKEK) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	if k.decrypt {
		return nil, errDown
	}
	return k.KEK.Decrypt(ciphertext, ad)
}

// trap K1
func TestKMSDown(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	info, err := rotate(path, c)
	require.NoError(t, err)
	before := mustRead(t, path)
	retiring := info.Keys[0].ID

	for _, k := range []brokenKEK{{c.KEK, true, false}, {c.KEK, false, true}, {c.KEK, true, true}} {
		broken := c
		broken.KEK = k
		_, err := rotate(path, broken)
		assert.ErrorIs(t, err, errDown)
		_, err = disable(path, broken, retiring, true)
		assert.ErrorIs(t, err, errDown)
		assert.Equal(t, before, mustRead(t, path))

		other := filepath.Join(t.TempDir(), "keyring")
		assert.ErrorIs(t, Create(other, broken, DefaultPolicy(broken.Kind), ""), errDown)
		entries, err := os.ReadDir(filepath.Dir(other))
		require.NoError(t, err)
		assert.Empty(t, entries)
	}
	_, err = rotate(path, c)
	assert.NoError(t, err, "and when it is back, all goes on")
}

func TestDisable(t *testing.T) {
	clock := newClock()
	c := config(Ticket)
	c.Now = clock.now
	path := newFile(t, c)
	clock.t = clock.t.Add(30 * 24 * time.Hour)
	info, err := rotate(path, c)
	require.NoError(t, err)
	old, primary := info.Keys[0], info.Keys[1]
	require.Equal(t, clock.t, old.Demoted)
	from := clock.t.Add(2*time.Minute + 15*time.Minute + 30*time.Second)
	before := mustRead(t, path)

	blocked := func(id KeyID) *BlockedError {
		t.Helper()
		_, err := disable(path, c, id, false)
		b, ok := errors.AsType[*BlockedError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, before, mustRead(t, path))
		return b
	}
	assert.Equal(t, &BlockedError{Do: Disable, ID: primary.ID, State: Primary}, blocked(primary.ID))
	_, err = disable(path, c, primary.ID, true)
	assert.ErrorContains(t, err, "rotate first")
	assert.Equal(t, &BlockedError{Do: Disable, ID: old.ID, State: Retiring, From: from}, blocked(old.ID))
	clock.t = from.Add(-time.Millisecond)
	assert.ErrorContains(t, blocked(old.ID), "2026-12-21T12:17:30Z")
	_, err = disable(path, c, old.ID^primary.ID^1, false)
	assert.ErrorContains(t, err, "no key")
	_, err = Change(path, c, "a\nb", Step{Do: Disable, Key: old.ID, Unsafe: true})
	assert.ErrorContains(t, err, "keyring.Change.why")
	assert.Equal(t, before, mustRead(t, path))

	clock.t = from
	info, err = Change(path, c, "ran out <&>", Step{Do: Disable, Key: old.ID})
	require.NoError(t, err)
	old.State, old.Disabled, old.Reason = Disabled, from, "ran out <&>"
	assert.Equal(t, []Key{old, primary}, info.Keys)
	assert.Equal(t, uint64(3), info.Generation)

	before = mustRead(t, path)
	_, err = disable(path, c, old.ID, false)
	assert.ErrorIs(t, err, ErrAlready)
	assert.Equal(t, before, mustRead(t, path))
}

func TestDisableEarly(t *testing.T) {
	for _, kind := range []Kind{Ticket, Session, Channel} {
		clock := newClock()
		c := config(kind)
		c.Now = clock.now
		path := newFile(t, c)
		info, err := rotate(path, c)
		require.NoError(t, err)
		id := info.Keys[0].ID
		if kind == Channel {
			clock.t = clock.t.Add(100 * 365 * 24 * time.Hour) // published URLs have no end
		}
		_, err = disable(path, c, id, false)
		_, ok := errors.AsType[*BlockedError](err)
		assert.True(t, ok, "%v", err)
		info, err = disable(path, c, id, true)
		require.NoError(t, err)
		assert.Equal(t, Disabled, info.Keys[0].State)
	}
}

func TestClockBehindTheFile(t *testing.T) {
	clock := newClock()
	c := config(Ticket)
	c.Now = clock.now
	path := newFile(t, c)
	made := clock.t
	clock.t = made.Add(-10*time.Second - time.Millisecond)
	before := mustRead(t, path)
	_, err := rotate(path, c)
	assert.ErrorContains(t, err, "set the clock")
	assert.Equal(t, before, mustRead(t, path))

	clock.t = made.Add(-10 * time.Second) // within the skew: recorded as no earlier than what was
	info, err := rotate(path, c)
	require.NoError(t, err)
	assert.Equal(t, made, info.Keys[0].Demoted)
	assert.Equal(t, made, info.Keys[1].Created)
}

// TestFastClockDoesNotBlock has a machine whose clock is a year ahead rotate
// the keyring; then a key leaks.
func TestFastClockDoesNotBlock(t *testing.T) {
	clock := newClock()
	c := config(Ticket)
	c.Now = clock.now
	path := newFile(t, c)
	leaked := clock.t.AddDate(1, 0, 0)
	fast := c
	fast.Now = func() time.Time { return leaked }
	info, err := rotate(path, fast)
	require.NoError(t, err)
	bad := info.Keys[0].ID
	before := mustRead(t, path)

	_, err = disable(path, c, bad, false)
	assert.ErrorContains(t, err, "keyring.Config.UnsafeClockBehind is not set")
	_, err = rotate(path, c)
	assert.ErrorContains(t, err, "keyring.Config.UnsafeClockBehind is not set")
	assert.Equal(t, before, mustRead(t, path))

	info, err = disable(path, c, bad, true)
	require.NoError(t, err, "an emergency does not wait")
	assert.Equal(t, Disabled, info.Keys[0].State)
	assert.Equal(t, leaked, info.Keys[0].Disabled, "recorded as no earlier than what was")

	c.UnsafeClockBehind = true
	info, err = rotate(path, c)
	require.NoError(t, err)
	assert.Equal(t, clock.t, info.Keys[1].Demoted)
	assert.Equal(t, clock.t, info.Keys[2].Created)
	_, err = disable(path, c, info.Keys[1].ID, false)
	_, ok := errors.AsType[*BlockedError](err)
	assert.True(t, ok, "only the clock is looked away from, not what is live: %v", err)
}

// TestFastClockDoesNotStopThePolicy has a machine whose clock is a year ahead begin
// a rotation. Told once to go on, the policy does, with nothing sooner than it
// would be if all that had been done just now.
func TestFastClockDoesNotStopThePolicy(t *testing.T) {
	path, c, clock := timed(t)
	first := mustChange(t, path, c, Step{Do: Rotate, Now: true}).Primary
	fast := c
	fast.Now = func() time.Time { return clock.t.AddDate(1, 0, 0) }
	pending := mustChange(t, path, fast, Step{Do: Rotate}).Keys[2].ID
	clock.t = clock.t.Add(time.Hour)
	_, _, err := Apply(path, c, nil)
	assert.ErrorContains(t, err, "set the clock")
	told := c
	told.UnsafeClockBehind = true
	info, done, err := Apply(path, told, nil)
	require.NoError(t, err)
	assert.Equal(t, Step{Do: redated}, done[0], "it is recorded, also where nothing else is due")
	assert.Equal(t, clock.t, stateOf(t, info, pending).Enabled)
	log, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Equal(t, done, log[len(log)-1].Steps)

	clock.t = clock.t.Add(130*time.Second - time.Millisecond)
	info, _, err = Apply(path, c, nil)
	require.NoError(t, err)
	assert.Equal(t, first, info.Primary)
	clock.t = clock.t.Add(time.Millisecond)
	info, _, err = Apply(path, c, nil)
	require.NoError(t, err)
	assert.Equal(t, pending, info.Primary)
	before := mustRead(t, path)
	_, done, err = Apply(path, told, nil)
	require.NoError(t, err)
	assert.Empty(t, done, "a clock that is right changes nothing")
	assert.Equal(t, before, mustRead(t, path))
}

// TestAgainstModel makes random changes and holds the file against a model of it.
func TestAgainstModel(t *testing.T) {
	type sealed struct {
		id   KeyID
		text []byte
	}
	rng := rand.New(rand.NewPCG(1, 2))
	clock := newClock()
	c := config(Ticket)
	c.Now = clock.now
	path := newFile(t, c)
	info, err := Read(path, c)
	require.NoError(t, err)
	r := newRing(t, path, c)

	model := []Key{info.Keys[0]}
	generation := uint64(1)
	var all []sealed
	for range 150 {
		text, err := r.Encrypt([]byte("text"), nil)
		require.NoError(t, err)
		all = append(all, sealed{model[len(model)-1].ID, text})
		clock.t = clock.t.Add(time.Duration(rng.IntN(600)) * time.Second)

		if rng.IntN(3) == 0 {
			info, err = rotate(path, c)
			require.NoError(t, err)
			generation++
			last := &model[len(model)-1]
			last.State, last.Demoted = Retiring, clock.t
			assert.False(t, slices.ContainsFunc(model, func(k Key) bool { return k.ID == info.Primary }), "a fresh ID")
			model = append(model, Key{ID: info.Primary, Algorithm: "AES256_GCM", State: Primary, Created: clock.t,
				Enabled: clock.t, Promoted: clock.t})
		} else {
			k := &model[rng.IntN(len(model))]
			force := rng.IntN(4) == 0
			_, err = disable(path, c, k.ID, force)
			live := clock.t.Before(k.Demoted.Add(17*time.Minute + 30*time.Second))
			if k.State == Retiring && (force || !live) {
				require.NoError(t, err)
				generation++
				k.State, k.Disabled = Disabled, clock.t
			} else {
				require.Error(t, err)
			}
		}
		info, err = Read(path, c)
		require.NoError(t, err)
		require.Equal(t, generation, info.Generation)
		require.Equal(t, model, info.Keys)
		require.Equal(t, model[len(model)-1].ID, info.Primary)

		require.NoError(t, r.Reload())
		for _, s := range all {
			i := slices.IndexFunc(model, func(k Key) bool { return k.ID == s.id })
			_, err := r.Decrypt(s.text, nil)
			require.Equal(t, model[i].State != Disabled, err == nil)
			require.Equal(t, model[i].State != Disabled, r.HasKey(s.id))
		}
	}
}

func TestLockedByAnother(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	before := mustRead(t, path)
	synctest.Test(t, func(t *testing.T) {
		lock, err := durable.Lock(path + ".lock")
		require.NoError(t, err)
		_, err = rotate(path, c)
		assert.ErrorIs(t, err, durable.ErrLocked)
		assert.ErrorContains(t, err, "process ID "+strconv.Itoa(os.Getpid()))
		require.NoError(t, lock.Close())
	})
	assert.Equal(t, before, mustRead(t, path))

	require.NoError(t, os.Remove(path+".lock"))
	require.NoError(t, os.Mkdir(path+".lock", 0o700))
	_, err := rotate(path, c)
	assert.Error(t, err)
	assert.NotContains(t, err.Error(), "another process")
}

// TestLinkMovedWhileWaiting moves a link to another keyring while Rotate waits
// for the lock of the first. Neither is written: only the one is locked, and
// the other is the one that path is by now.
func TestLinkMovedWhileWaiting(t *testing.T) {
	c := config(Ticket)
	one, two := newFile(t, c), newFile(t, c)
	link := filepath.Join(t.TempDir(), "link")
	beforeOne, beforeTwo := mustRead(t, one), mustRead(t, two)
	id := headerOf(t, one).primary().ID
	for name, change := range map[string]func() error{
		"rotate":  func() error { _, err := rotate(link, c); return err },
		"disable": func() error { _, err := disable(link, c, id, false); return err },
	} {
		for _, to := range []string{two, "nowhere"} {
			require.NoError(t, os.Symlink(one, link))
			synctest.Test(t, func(t *testing.T) {
				lock, err := durable.Lock(one + ".lock")
				require.NoError(t, err)
				result := make(chan error)
				go func() { result <- change() }()
				time.Sleep(time.Second)
				require.NoError(t, os.Remove(link))
				require.NoError(t, os.Symlink(to, link))
				require.NoError(t, lock.Close())
				assert.ErrorContains(t, <-result, "the link was moved during the wait", name)
			})
			require.NoError(t, os.Remove(link))
			assert.Equal(t, beforeOne, mustRead(t, one), name)
			assert.Equal(t, beforeTwo, mustRead(t, two), name)
		}
	}
}

// TestConcurrentWriters has goroutines and processes rotate one keyring.
//
// trap K16
func TestConcurrentWriters(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link)) // by whatever name: one lock

	child, lines := startRotating(t, path, 5)
	var wg sync.WaitGroup
	generations := make(chan uint64, 20)
	for i := range 4 {
		wg.Go(func() {
			for range 5 {
				info, err := rotateInTurn([]string{path, link}[i%2], c)
				if assert.NoError(t, err) {
					generations <- info.Generation
				}
			}
		})
	}
	seen := make(map[uint64]bool)
	for range 5 {
		require.True(t, lines.Scan())
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		require.NoError(t, err, lines.Text())
		seen[n] = true
	}
	wg.Wait()
	close(generations)
	require.False(t, lines.Scan(), lines.Text())
	require.NoError(t, child.Wait())
	for n := range generations {
		assert.False(t, seen[n], "generation %d was written twice", n)
		seen[n] = true
	}
	info, err := Read(path, c)
	require.NoError(t, err)
	assert.Len(t, info.Keys, int(info.Generation), "no rotation was lost")
	assert.Equal(t, uint64(26), info.Generation)
	log, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Len(t, log, 26, "each is in the log, once")
}

// startRotating starts a process that rotates the keyring so many times, or with 0
// for ever, and prints each generation.
func startRotating(t *testing.T, path string, n int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envRotate+"="+strconv.Itoa(n)+" "+path)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	t.Cleanup(func() { child.Process.Kill() })
	return child, bufio.NewScanner(out)
}

// TestKilledWriter kills a process at some moment of its rotations, again and
// again: what it said it wrote is there, and the file is always good. (The
// steps of one write, each by itself, are in TestKilledAtEachStep.)
//
// trap K16
func TestKilledWriter(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	var last uint64 = 1
	for round := range 10 {
		child, lines := startRotating(t, path, 0)
		for range round%3 + 1 {
			require.True(t, lines.Scan())
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			require.NoError(t, err, lines.Text())
			require.Greater(t, n, last)
			last = n
		}
		child.Process.Kill()
		for lines.Scan() {
			if n, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 64); err == nil {
				last = max(last, n)
			}
		}
		child.Wait()
		info, err := Read(path, c)
		require.NoError(t, err)
		assert.Contains(t, []uint64{last, last + 1}, info.Generation, "the old one, or one written and not yet told")
		last = info.Generation
		_, err = Audit(path, &c)
		require.NoError(t, err)
	}
	_, err := rotate(path, c)
	require.NoError(t, err)
}

// racedKEK runs another process's work in the first call of Decrypt.
type racedKEK struct {
	KEK
	other func()
}

func (k *racedKEK) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	if other := k.other; other != nil {
		k.other = nil
		other()
	}
	return k.KEK.Decrypt(ciphertext, ad)
}

// A file that another process changes before Apply has the lock is opened again: the new
// file counts, and a file of before that is put back is refused.
func TestApplyBehindAnotherWriter(t *testing.T) {
	c := config(Ticket)
	path := filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, Create(path, c, DefaultPolicy(Ticket), ""))
	old := mustRead(t, path)
	rotate := func() {
		_, err := Change(path, c, "", Step{Do: Rotate, Now: true})
		require.NoError(t, err)
	}
	raced := c
	raced.KEK = &racedKEK{c.KEK, rotate}
	info, done, err := Apply(path, raced, nil)
	require.NoError(t, err)
	assert.Empty(t, done)
	assert.EqualValues(t, 2, info.Generation)
	assert.Len(t, info.Keys, 2)

	raced.KEK = &racedKEK{c.KEK, func() { require.NoError(t, os.WriteFile(path, old, 0o600)) }}
	_, _, err = Apply(path, raced, nil)
	ferr, ok := errors.AsType[*FileError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, RolledBack, ferr.Reason)
}
