package keyring

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hangingKEK is one whose Decrypt hangs until the channel is closed, as reading
// does on a file system that hangs.
type hangingKEK struct {
	KEK
	hang chan struct{}
}

func (k hangingKEK) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	<-k.hang
	return k.KEK.Decrypt(ciphertext, ad)
}

// hung runs f with a Ring whose looks at its file hang, from the next one on,
// until release is called.
func hung(t *testing.T, poll time.Duration, f func(t *testing.T, r *Ring, newest KeyID, release func())) {
	c := config(Ticket)
	c.Poll, c.patience = poll, 0
	path := newFile(t, c)
	synctest.Test(t, func(t *testing.T) {
		kek := hangingKEK{c.KEK, make(chan struct{})}
		close(kek.hang)
		slow := c
		slow.KEK = &kek
		r, err := Open(path, slow)
		require.NoError(t, err)
		kek.hang = make(chan struct{})
		c.UnsafeClockBehind = true // synctest begins in 2000
		info, err := rotate(path, c)
		require.NoError(t, err)
		f(t, r, info.Primary, sync.OnceFunc(func() { close(kek.hang) }))
	})
}

// TestHasKeyIsBounded asks for a key while a look hangs.
func TestHasKeyIsBounded(t *testing.T) {
	hung(t, time.Hour, func(t *testing.T, r *Ring, newest KeyID, release func()) {
		opened := time.Now()
		before := runtime.NumGoroutine()
		for range 5 {
			begun := time.Now()
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { assert.False(t, r.HasKey(newest)) })
			}
			wg.Wait()
			assert.Equal(t, lookWait, time.Since(begun))
		}
		assert.LessOrEqual(t, runtime.NumGoroutine(), before+3, "one that looks, however many asked")
		assert.Equal(t, opened.UTC(), r.Report().Checked)
		assert.True(t, r.HasKey(r.Report().Primary), "a known key needs no look")

		release()
		synctest.Wait()
		assert.True(t, r.HasKey(newest))
		assert.Equal(t, opened.Add(5*lookWait).UTC(), r.Report().Checked)
		require.NoError(t, r.Close())
	})
}

func TestReloadIsBounded(t *testing.T) {
	hung(t, time.Hour, func(t *testing.T, r *Ring, newest KeyID, release func()) {
		begun := time.Now()
		assert.ErrorContains(t, r.Reload(), "was not read within 10s")
		assert.Equal(t, reloadWait, time.Since(begun))
		release()
		require.NoError(t, r.Reload())
		assert.Equal(t, newest, r.Report().Primary)
		require.NoError(t, r.Close())
	})
}

func TestCloseIsBounded(t *testing.T) {
	for _, polls := range []bool{false, true} {
		hung(t, time.Minute, func(t *testing.T, r *Ring, _ KeyID, release func()) {
			want := time.Duration(0)
			if polls {
				time.Sleep(time.Hour) // it hangs at the first poll of 60
				want = lookWait
			}
			begun := time.Now()
			require.NoError(t, r.Close())
			assert.Equal(t, want, time.Since(begun))
			release()
		})
	}
}

// TestPollingGoesOn has the file system come back.
func TestPollingGoesOn(t *testing.T) {
	hung(t, time.Second, func(t *testing.T, r *Ring, newest KeyID, release func()) {
		opened := time.Now()
		time.Sleep(time.Hour)
		assert.Equal(t, opened.UTC(), r.Report().Checked, "nothing was seen since")
		release()
		time.Sleep(5 * time.Second)
		report := r.Report()
		assert.Equal(t, newest, report.Primary)
		assert.LessOrEqual(t, time.Since(report.Checked), time.Second)
		assert.NoError(t, report.LastErr)
		require.NoError(t, r.Close())
	})
}

// TestLookAfterTheQuestion sees that a look that began before a question is not
// the answer to it: it may have read the file before the change.
func TestLookAfterTheQuestion(t *testing.T) {
	c := config(Ticket)
	r := newRing(t, newFile(t, c), c)
	r.mu.Lock()
	r.looking = true // as in the middle of a look
	r.mu.Unlock()
	first, second := r.ask(false, false), r.ask(true, false)
	assert.Same(t, first, second, "both asked before it began")
	go r.run() // that look is over; the next one begins
	<-first.done
	assert.NotSame(t, first, r.ask(false, false))
}
