package keyring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"
)

var (
	_ tink.AEAD              = (*Ring)(nil)
	_ tink.DeterministicAEAD = (*Ring)(nil)
)

func TestRingOfTheWrongKind(t *testing.T) {
	for _, kind := range []Kind{Ticket, Session, Channel} {
		c := config(kind)
		r := newRing(t, newFile(t, c), c)
		_, enc := r.Encrypt([]byte("text"), nil)
		_, dec := r.Decrypt([]byte("text"), nil)
		_, encDet := r.EncryptDeterministically([]byte("text"), nil)
		_, decDet := r.DecryptDeterministically([]byte("text"), nil)
		if kind == Channel {
			assert.ErrorIs(t, enc, errNotAEAD)
			assert.ErrorIs(t, dec, errNotAEAD)
			assert.NoError(t, encDet)
			assert.NotErrorIs(t, decDet, errNotDAEAD)
		} else {
			assert.NoError(t, enc)
			assert.NotErrorIs(t, dec, errNotAEAD)
			assert.ErrorIs(t, encDet, errNotDAEAD)
			assert.ErrorIs(t, decDet, errNotDAEAD)
		}
	}
}

func TestOpenRefusesAnyKind(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	c.Kind = AnyKind
	_, err := Open(path, c)
	assert.ErrorContains(t, err, "one kind")
	c.Kind, c.Poll = Ticket, -time.Second
	_, err = Open(path, c)
	assert.ErrorContains(t, err, "Config.Poll")
}

func TestChannelRingAcrossRotation(t *testing.T) {
	c := config(Channel)
	path := newFile(t, c)
	r := newRing(t, path, c)
	one, err := r.EncryptDeterministically([]byte("17"), []byte("brand"))
	require.NoError(t, err)
	again, err := r.EncryptDeterministically([]byte("17"), []byte("brand"))
	require.NoError(t, err)
	assert.Equal(t, one, again)
	_, err = rotate(path, c)
	require.NoError(t, err)
	require.NoError(t, r.Reload())
	plain, err := r.DecryptDeterministically(one, []byte("brand"))
	require.NoError(t, err)
	assert.Equal(t, "17", string(plain))
}

// TestHasKey sees a key that another process made a moment ago, and none that
// nobody made.
//
// trap K8
func TestHasKey(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	sealer, verifier := newRing(t, path, c), newRing(t, path, c)
	_, err := rotate(path, c)
	require.NoError(t, err)
	require.NoError(t, sealer.Reload())
	sealed, err := sealer.Encrypt([]byte("text"), nil)
	require.NoError(t, err)

	require.Equal(t, uint64(1), verifier.Report().Generation)
	id := KeyID(binary.BigEndian.Uint32(sealed[1:]))
	assert.True(t, verifier.HasKey(id))
	_, err = verifier.Decrypt(sealed, nil)
	assert.NoError(t, err)
	assert.Equal(t, uint64(2), verifier.Report().Generation)

	assert.False(t, verifier.HasKey(id^1))
	sealed[len(sealed)-1] ^= 1
	_, err = verifier.Decrypt(sealed, nil)
	assert.Error(t, err, "known key, forged")
}

// countingKEK counts how often a file is opened.
type countingKEK struct {
	KEK
	n *atomic.Int64
}

func (k countingKEK) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	k.n.Add(1)
	return k.KEK.Decrypt(ciphertext, ad)
}

// TestUnknownKeysAreCheap asks for many keys that there are not.
func TestUnknownKeysAreCheap(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	var n atomic.Int64
	c.KEK = countingKEK{c.KEK, &n}
	r := newRing(t, path, c)
	ask := func() {
		var wg sync.WaitGroup
		for i := range uint32(8) {
			wg.Go(func() {
				for j := range uint32(100) {
					assert.False(t, r.HasKey(KeyID(i<<16|j))) // may be a key once in five million runs
				}
			})
		}
		wg.Wait()
	}
	ask()
	assert.Equal(t, int64(1), n.Load(), "the file did not change")
	require.NoError(t, os.WriteFile(path, append(mustRead(t, path), '\n'), 0o600))
	ask()
	assert.Error(t, r.Report().LastErr)
	good := config(Ticket)
	require.NoError(t, os.WriteFile(path, bytes.TrimSuffix(mustRead(t, path), []byte("\n")), 0o600))
	_, err := rotate(path, good)
	require.NoError(t, err)
	before := n.Load()
	ask()
	assert.Equal(t, before+1, n.Load(), "once for the change")
	require.NoError(t, os.Remove(path))
	ask()
	assert.Equal(t, before+1, n.Load())
}

func TestHotPathAllocatesNothing(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	r := newRing(t, path, c)
	f, err := read(path, &c)
	require.NoError(t, err)
	plain, err := aead.New(f.handle)
	require.NoError(t, err)
	sealed, err := r.Encrypt(canary, nil)
	require.NoError(t, err)
	id := KeyID(binary.BigEndian.Uint32(sealed[1:]))

	assert.Zero(t, testing.AllocsPerRun(100, func() { r.HasKey(id) }))
	assert.Equal(t, testing.AllocsPerRun(100, func() { plain.Encrypt(canary, nil) }),
		testing.AllocsPerRun(100, func() { r.Encrypt(canary, nil) }))
	assert.Equal(t, testing.AllocsPerRun(100, func() { plain.Decrypt(sealed, nil) }),
		testing.AllocsPerRun(100, func() { r.Decrypt(sealed, nil) }))
}

func TestPolling(t *testing.T) {
	c := config(Ticket)
	c.Poll = 0 // every second
	path := newFile(t, c)
	synctest.Test(t, func(t *testing.T) {
		opened := time.Now()
		r, err := Open(path, c)
		require.NoError(t, err)
		defer r.Close()
		assert.Equal(t, opened.UTC(), r.Report().Loaded)
		ahead := c
		ahead.Now = func() time.Time { return time.Now().AddDate(100, 0, 0) } // synctest begins in 2000, the file is of today
		_, err = rotate(path, ahead)
		require.NoError(t, err)
		time.Sleep(time.Second - time.Millisecond)
		assert.Equal(t, uint64(1), r.Report().Generation)
		time.Sleep(2 * time.Millisecond)
		report := r.Report()
		assert.Equal(t, uint64(2), report.Generation)
		assert.Equal(t, opened.Add(time.Second).UTC(), report.Loaded)

		require.NoError(t, r.Close())
		require.NoError(t, r.Close(), "twice does no harm")
		_, err = rotate(path, ahead)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		assert.Equal(t, uint64(2), r.Report().Generation)
		_, err = r.Encrypt(nil, nil)
		assert.NoError(t, err, "a closed Ring keeps its keys")
	})
}

// refusingKEK refuses while it is told to, and notes when it was asked.
type refusingKEK struct {
	KEK
	mu    sync.Mutex
	fails bool
	asked []time.Time
}

func (k *refusingKEK) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, time.Now())
	if k.fails {
		return nil, errors.New("no access")
	}
	return k.KEK.Decrypt(ciphertext, ad)
}

// since returns how long after a moment the KEK was asked, each time, and forgets it.
func (k *refusingKEK) since(start time.Time) (all []time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.asked {
		all = append(all, t.Sub(start))
	}
	k.asked = nil
	return all
}

func (k *refusingKEK) fail(fails bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fails = fails
}

// TestRefusedFileIsNotAskedAboutEverySecond lets a KMS refuse a file that has
// changed: it is asked less and less often, at once where something was done about
// the file, and the Ring takes the file when the KMS relents.
//
// trap K13
func TestRefusedFileIsNotAskedAboutEverySecond(t *testing.T) {
	c := config(Ticket)
	c.Poll = 0 // every second
	path := newFile(t, c)
	writer := c
	writer.Now = func() time.Time { return time.Now().AddDate(100, 0, 0) } // synctest begins in 2000, the file is of today
	kek := &refusingKEK{KEK: c.KEK}
	c.KEK = kek
	// a clock that stands puts nothing off
	c.Now = func() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }
	seconds := func(all ...int) (d []time.Duration) {
		for _, n := range all {
			d = append(d, time.Duration(n)*time.Second)
		}
		return d
	}
	synctest.Test(t, func(t *testing.T) {
		r, err := Open(path, c)
		require.NoError(t, err)
		defer r.Close()
		start := time.Now()
		kek.since(start)
		kek.fail(true)
		_, err = rotate(path, writer)
		require.NoError(t, err)
		time.Sleep(250*time.Second + 500*time.Millisecond)
		assert.Equal(t, seconds(1, 2, 4, 8, 16, 32, 64, 124, 184, 244), kek.since(start))
		assert.ErrorContains(t, r.Report().LastErr, "no access")

		// Asked for by name, it is tried at once; HasKey does not ask the KMS.
		assert.ErrorContains(t, r.Reload(), "no access")
		assert.False(t, r.HasKey(1))
		assert.Len(t, kek.since(start), 1)

		for what, change := range map[string]func() error{
			"touched":     func() error { return os.Chtimes(path, time.Time{}, time.Now()) },
			"given modes": func() error { return os.Chmod(path, 0o640) },
			"replaced": func() error {
				data := mustRead(t, path)
				if err := os.WriteFile(path+".new", data, 0o600); err != nil {
					return err
				}
				return os.Rename(path+".new", path)
			},
		} {
			time.Sleep(10 * time.Second)
			start = time.Now()
			kek.since(start)
			require.NoError(t, change())
			time.Sleep(5 * time.Second)
			// From the next poll on, which is half a second away, and again from the start.
			assert.Equal(t, []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3500 * time.Millisecond},
				kek.since(start), what)
		}

		// Another change that the KMS lets pass is taken at the next poll.
		time.Sleep(40 * time.Second)
		kek.fail(false)
		_, err = rotate(path, writer)
		require.NoError(t, err)
		time.Sleep(time.Second)
		assert.Equal(t, uint64(3), r.Report().Generation)
		assert.NoError(t, r.Report().LastErr)

		// And so is one that it lets pass later, without a change.
		kek.fail(true)
		_, err = rotate(path, writer)
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		kek.fail(false)
		time.Sleep(time.Minute)
		assert.Equal(t, uint64(4), r.Report().Generation)
		assert.NoError(t, r.Report().LastErr)
	})
}

// TestDisabledWithinOneReload sees a revocation at the next reload.
//
// trap K15
// trap K20
func TestDisabledWithinOneReload(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	r := newRing(t, path, c)
	sealed, err := r.Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	id := r.Report().Primary

	// What this Ring has as its primary is retired and disabled before it looks again.
	_, err = rotate(path, c)
	require.NoError(t, err)
	_, err = disable(path, c, id, true)
	require.NoError(t, err)
	require.NoError(t, r.Reload())
	_, err = r.Decrypt(sealed, nil)
	assert.Error(t, err)
	assert.False(t, r.HasKey(id))
	assert.Equal(t, uint64(3), r.Report().Generation)
}

// TestAnotherKeyring puts another keyring in the place of a Ring's: of the same
// kind, realm and KEK, and of a higher generation.
func TestAnotherKeyring(t *testing.T) {
	c := config(Ticket)
	path, other := newFile(t, c), newFile(t, c)
	r := newRing(t, path, c)
	primary := r.Report().Primary
	for range 2 {
		_, err := rotate(other, c)
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(path, mustRead(t, other), 0o600))
	err := r.Reload()
	assertCause(t, LostKey, err)
	assert.ErrorContains(t, err, "lacks key "+primary.String())
	assert.Equal(t, primary, r.Report().Primary)
}

// TestRemovedKey takes one key of a Ring out of the file, whatever its state.
func TestRemovedKey(t *testing.T) {
	for i, state := range []State{Disabled, Retiring, Primary} {
		c := config(Ticket)
		path := newFile(t, c)
		info, err := rotate(path, c)
		require.NoError(t, err)
		_, err = disable(path, c, info.Keys[0].ID, true)
		require.NoError(t, err)
		_, err = rotate(path, c)
		require.NoError(t, err)
		r := newRing(t, path, c)
		require.Equal(t, state, r.Report().Keys[i].State)
		_, err = rotate(path, c) // so that the file has a primary, whichever is taken out
		require.NoError(t, err)

		ks, h := material(t, path, c), headerOf(t, path)
		ks.Key, h.Keys = slices.Delete(ks.Key, i, i+1), slices.Delete(h.Keys, i, i+1)
		h.Generation++
		forge(t, path, c, encodeHeader(t, h), ks)
		assertCause(t, LostKey, r.Reload(), state)
	}
}

// TestLostKey offers a file in which the ID of the Ring's primary has another
// key, when it still is the primary and when it retires.
func TestLostKey(t *testing.T) {
	for _, rotated := range []bool{false, true} {
		c := config(Ticket)
		path := newFile(t, c)
		r := newRing(t, path, c)
		if rotated {
			_, err := rotate(path, c)
			require.NoError(t, err)
		}
		ks, wrong := material(t, path, c), material(t, newFile(t, c), c)
		ks.Key[0].KeyData = proto.Clone(wrong.Key[0].KeyData).(*tinkpb.KeyData)
		h := headerOf(t, path)
		h.Generation++
		forge(t, path, c, encodeHeader(t, h), ks)
		err := r.Reload()
		assertCause(t, LostKey, err)
		assert.ErrorContains(t, err, "does not open a ciphertext of key")
		assert.Equal(t, uint64(1), r.Report().Generation)
	}
}

// trap K17
func TestOlderGeneration(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	first := mustRead(t, path)
	_, err := rotate(path, c)
	require.NoError(t, err)
	second := mustRead(t, path)
	r := newRing(t, path, c)
	primary := r.Report().Primary

	require.NoError(t, os.WriteFile(path, first, 0o600))
	err = r.Reload()
	assertCause(t, RolledBack, err)
	assert.ErrorContains(t, err, "generation 1, and 2 is in use")
	assert.Equal(t, primary, r.Report().Primary)
	assert.Equal(t, err, r.Report().LastErr)

	require.NoError(t, os.Remove(path+".audit"))
	_, err = Change(path, c, "lost", Step{Do: BeginAudit}, Step{Do: Rotate, Now: true}) // another generation 2
	require.NoError(t, err)
	assertCause(t, Forked, r.Reload())
	assert.Equal(t, primary, r.Report().Primary)

	require.NoError(t, os.WriteFile(path, second, 0o600))
	require.NoError(t, r.Reload())
	assert.NoError(t, r.Report().LastErr)

	// A restart forgets, unless the service remembers for it.
	require.NoError(t, os.WriteFile(path, first, 0o600))
	c.MinGeneration = 2
	_, err = Open(path, c)
	assertCause(t, RolledBack, err)
	_, err = rotate(path, c)
	assertCause(t, RolledBack, err)
	assert.Equal(t, first, mustRead(t, path))
}

// TestLastGoodSet breaks the file in several ways under a Ring.
func TestLastGoodSet(t *testing.T) {
	var log bytes.Buffer
	c := config(Ticket)
	path := newFile(t, c)
	good := mustRead(t, path)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	r := newRing(t, path, c)
	sealed, err := r.Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	works := func() {
		t.Helper()
		_, err := r.Decrypt(sealed, nil)
		assert.NoError(t, err)
		assert.Equal(t, uint64(1), r.Report().Generation)
	}
	for _, tc := range []struct {
		data []byte
		want Reason
	}{{nil, Empty}, {good[:100], Truncated}, {append(bytes.Clone(good), good...), TrailingData}} {
		require.NoError(t, os.WriteFile(path, tc.data, 0o600))
		for range 3 {
			assertCause(t, tc.want, r.Reload())
		}
		assertCause(t, tc.want, r.Report().LastErr)
		works()
	}
	require.NoError(t, os.Remove(path))
	assertCause(t, Missing, r.Reload())
	works()
	assert.Equal(t, 4, strings.Count(log.String(), "level=ERROR"), "each fault is logged once:\n%s", &log)

	require.NoError(t, os.WriteFile(path, good, 0o600))
	require.NoError(t, r.Reload())
	assert.NoError(t, r.Report().LastErr)
	assert.Contains(t, log.String(), "well again")
	works()
}

// TestSymlinkSwap changes the keyring as Kubernetes changes a Secret: file is a
// link through the link ..data, which is swapped.
func TestSymlinkSwap(t *testing.T) {
	c := config(Ticket)
	dir := t.TempDir()
	path := filepath.Join(dir, "keyring")
	for _, v := range []string{"v1", "v2", "v3"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, v), 0o700))
	}
	require.NoError(t, Create(filepath.Join(dir, "v1", "keyring"), c, DefaultPolicy(c.Kind), ""))
	require.NoError(t, os.Symlink("v1", filepath.Join(dir, "..data")))
	require.NoError(t, os.Symlink(filepath.Join("..data", "keyring"), path))
	r := newRing(t, path, c)

	swap := func(from, to string) Info {
		t.Helper()
		copied := filepath.Join(dir, to, "keyring")
		for _, name := range []string{"", ".audit"} {
			require.NoError(t, os.WriteFile(copied+name, mustRead(t, filepath.Join(dir, from, "keyring"+name)), 0o600))
		}
		info, err := rotate(copied, c)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(to, filepath.Join(dir, "..tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
		return info
	}
	info := swap("v1", "v2")
	require.NoError(t, r.Reload())
	assert.Equal(t, info.Primary, r.Report().Primary)
	info = swap("v2", "v3")
	assert.True(t, r.HasKey(info.Primary), "a look without a reload sees it too")
}

// TestReportIsACopy changes what Report returned.
func TestReportIsACopy(t *testing.T) {
	c := config(Ticket)
	r := newRing(t, newFile(t, c), c)
	report := r.Report()
	report.Keys[0].State = Disabled
	assert.Equal(t, Primary, r.Report().Keys[0].State)
}

// TestSealAndOpenWhileRotating seals, opens and asks on two Rings while the file
// is rotated: nothing that was sealed is refused.
func TestSealAndOpenWhileRotating(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	c.Poll = time.Millisecond
	sealer := newRing(t, path, c)
	c.Poll = time.Hour
	verifier := newRing(t, path, c)

	done := make(chan struct{})
	var wg sync.WaitGroup
	var opened atomic.Int64
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				sealed, err := sealer.Encrypt([]byte("text"), []byte("ad"))
				if !assert.NoError(t, err) || !assert.True(t, verifier.HasKey(KeyID(binary.BigEndian.Uint32(sealed[1:])))) {
					return
				}
				plain, err := verifier.Decrypt(sealed, []byte("ad"))
				if !assert.NoError(t, err) || !assert.Equal(t, "text", string(plain)) {
					return
				}
				opened.Add(1)
				verifier.Report()
			}
		})
	}
	for range 30 {
		before := opened.Load()
		_, err := rotate(path, c)
		require.NoError(t, err)
		for opened.Load() < before+20 && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
	close(done)
	wg.Wait()
	require.NoError(t, sealer.Reload())
	assert.Equal(t, uint64(31), sealer.Report().Generation)
}
