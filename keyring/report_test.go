package keyring

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
)

// TestUse counts seals and opens by key, across a rotation.
func TestUse(t *testing.T) {
	path, c, clock := timed(t)
	r := newRing(t, path, c)
	first := r.Report().Primary
	assert.Equal(t, []KeyUse{{ID: first}}, r.Report().Use)
	begun := clock.t.Add(time.Minute)
	clock.t = begun
	var sealed []byte
	var err error
	for range 3 {
		sealed, err = r.Encrypt([]byte("text"), nil)
		require.NoError(t, err)
	}
	_, err = r.Decrypt(sealed, nil)
	require.NoError(t, err)
	_, err = r.Decrypt(sealed, []byte("other"))
	require.Error(t, err)
	_, err = r.Decrypt(nil, nil)
	require.Error(t, err)
	assert.Equal(t, []KeyUse{{ID: first, Sealed: 3, Opened: 1, FirstUse: begun, LastUse: begun}}, r.Report().Use,
		"what is refused is not counted")

	clock.t = clock.t.Add(time.Hour)
	second := mustChange(t, path, c, Step{Do: Rotate, Now: true}).Primary
	require.NoError(t, r.Reload())
	_, err = r.Decrypt(sealed, nil)
	require.NoError(t, err)
	_, err = r.Encrypt(nil, nil)
	require.NoError(t, err)
	clock.t = clock.t.Add(time.Minute)
	require.NoError(t, r.Reload())
	assert.Equal(t, []KeyUse{
		{ID: first, Sealed: 3, Opened: 2, FirstUse: begun, LastUse: clock.t},
		{ID: second, Sealed: 1, FirstUse: clock.t, LastUse: clock.t},
	}, r.Report().Use)
	clock.t = clock.t.Add(time.Hour)
	assert.Equal(t, clock.t.Add(-time.Hour), r.Report().Use[0].LastUse, "not used since")

	mustChange(t, path, c, Step{Do: Disable, Key: first, Unsafe: true})
	require.NoError(t, r.Reload())
	assert.Len(t, r.Report().Use, 1, "a key that opens nothing is not used")
}

func TestUseOfAChannelRing(t *testing.T) {
	c := config(Channel)
	r := newRing(t, newFile(t, c), c)
	sealed, err := r.EncryptDeterministically([]byte("17"), nil)
	require.NoError(t, err)
	_, err = r.DecryptDeterministically(sealed, nil)
	require.NoError(t, err)
	use := r.Report().Use[0]
	assert.Equal(t, []uint64{1, 1}, []uint64{use.Sealed, use.Opened})
}

// TestUseConcurrently seals and opens on many goroutines while the file is
// rotated: each is counted once.
func TestUseConcurrently(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	r := newRing(t, path, c)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				sealed, err := r.Encrypt(nil, nil)
				assert.NoError(t, err)
				_, err = r.Decrypt(sealed, nil)
				assert.NoError(t, err)
			}
		})
	}
	for range 5 {
		_, err := rotate(path, c)
		require.NoError(t, err)
		require.NoError(t, r.Reload())
		r.Report()
	}
	wg.Wait()
	var sealed, opened uint64
	for _, u := range r.Report().Use {
		sealed += u.Sealed
		opened += u.Opened
	}
	assert.Equal(t, []uint64{1600, 1600}, []uint64{sealed, opened})
}

// TestReportJSON shows a report as operators see it, and reads it again.
func TestReportJSON(t *testing.T) {
	path, c, _ := timed(t)
	r := newRing(t, path, c)
	_, err := r.Encrypt(nil, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(mustRead(t, path), 'x'), 0o600))
	require.Error(t, r.Reload())
	report := r.Report()
	data, err := json.Marshal(report)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(data, &fields))
	for _, name := range []string{"kind", "realm", "generation", "fingerprint", "kek", "policy", "audit", "primary",
		"keys", "loaded", "checked", "good", "error", "reason", "use"} {
		assert.Contains(t, fields, name)
	}
	assert.Equal(t, "trailing_data", fields["reason"])
	var again Report
	require.NoError(t, json.Unmarshal(data, &again))
	report.LastErr = nil
	assert.Equal(t, report, again)

	ks := material(t, newFile(t, c), c)
	assert.NotContains(t, strings.ToLower(string(data)), "value")
	assert.NotContains(t, string(data), string(ks.Key[0].KeyData.Value))
}

// TestOnReload hears of new keys, and of looks that begin and cease to fail.
func TestOnReload(t *testing.T) {
	c := config(Ticket)
	c.Poll = time.Second
	path := filepath.Join(t.TempDir(), "keyring")
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		c.OnReload = func(p Report) {
			heard = append(heard, strings.TrimSpace(string(p.Reason)+" "+string(rune('0'+p.Generation))))
		}
		require.NoError(t, Create(path, c, DefaultPolicy(Ticket), ""))
		r, err := Open(path, c)
		require.NoError(t, err)
		defer r.Close()
		step := func(want ...string) {
			t.Helper()
			time.Sleep(5300 * time.Millisecond)
			synctest.Wait()
			assert.Equal(t, want, heard)
			heard = nil
		}
		step()
		_, err = rotate(path, c)
		require.NoError(t, err)
		step("2")
		good := mustRead(t, path)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		step("empty 2")
		require.NoError(t, os.WriteFile(path, good[:50], 0o600))
		step("truncated 2")
		require.NoError(t, os.WriteFile(path, good, 0o600))
		step("2")
		assert.Equal(t, time.Now().UTC().Add(-500*time.Millisecond), r.Report().Good.Round(time.Millisecond))
	})
}

// TestReloadAfterDestroy follows a keyring from which keys go.
func TestReloadAfterDestroy(t *testing.T) {
	path, c, clock := timed(t)
	behind := newRing(t, path, c)
	info := mustChange(t, path, c, Step{Do: Rotate, Now: true})
	first := info.Keys[0].ID
	clock.t = clock.t.AddDate(0, 0, 1)
	mustChange(t, path, c, Step{Do: Disable, Key: first})
	clock.t = clock.t.AddDate(0, 0, 30)
	mustChange(t, path, c, Step{Do: Destroy, Key: first})
	require.NoError(t, behind.Reload(), "its primary was retired, disabled and destroyed before it looked again")
	assert.False(t, behind.HasKey(first))

	// A keyring of the same keys that never had the destroyed one is another.
	ks, h := material(t, path, c), headerOf(t, path)
	h.Tombstones = nil
	h.Generation++
	forge(t, path, c, encodeHeader(t, h), ks)
	err := behind.Reload()
	assertCause(t, LostKey, err)
	assert.ErrorContains(t, err, "was destroyed")
}

// TestRewrap puts a keyring under another KEK, which is tried first.
//
// trap K1
// trap K10
func TestRewrap(t *testing.T) {
	path, c, _ := timed(t)
	r := newRing(t, path, c)
	sealed, err := r.Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	before, log := mustRead(t, path), mustRead(t, path+".audit")
	next := newKEK(8, "vault")
	for _, bad := range []KEK{nil, newKEK(1, ""), adBlind{next}, halfBlind{next}, brokenKEK{KEK: next, encrypt: true},
		brokenKEK{KEK: next, decrypt: true}} {
		_, err := Rewrap(path, c, bad, "moving")
		assert.Error(t, err)
		assert.Equal(t, before, mustRead(t, path))
		assert.Equal(t, log, mustRead(t, path+".audit"))
	}
	info, err := Rewrap(path, c, next, "moving")
	require.NoError(t, err)
	assert.Equal(t, "vault", info.KEK)
	assertCause(t, WrongKEK, r.Reload())
	_, err = r.Decrypt(sealed, nil)
	assert.NoError(t, err, "who has the old KEK goes on with the old keys")
	_, err = Read(path, c)
	assertCause(t, WrongKEK, err)
	c.KEK = next
	_, err = newRing(t, path, c).Decrypt(sealed, nil)
	assert.NoError(t, err)
	entries, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Equal(t, []Step{{Do: rewrapped, KEK: "vault"}}, entries[1].Steps)
	mustChange(t, path, c, Step{Do: Rotate})
	_, err = Rewrap(path, c, newKEK(9, "vault"), "")
	assert.NoError(t, err, "another key of the same sort")
}

// BenchmarkRing sets a Ring beside plain Tink.
func BenchmarkRing(b *testing.B) {
	c := config(Ticket)
	path := filepath.Join(b.TempDir(), "keyring")
	require.NoError(b, Create(path, c, DefaultPolicy(Ticket), ""))
	r, err := Open(path, c)
	require.NoError(b, err)
	defer r.Close()
	plain, err := aead.New(r.keys.Load().handle)
	require.NoError(b, err)
	text, ad := make([]byte, 100), []byte("ad")
	sealed, err := r.Encrypt(text, ad)
	require.NoError(b, err)
	for name, a := range map[string]interface {
		Encrypt(plaintext, ad []byte) ([]byte, error)
		Decrypt(ciphertext, ad []byte) ([]byte, error)
	}{"tink": plain, "ring": r} {
		b.Run("seal/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					a.Encrypt(text, ad)
				}
			})
		})
		b.Run("open/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					a.Decrypt(sealed, ad)
				}
			})
		})
	}
}
