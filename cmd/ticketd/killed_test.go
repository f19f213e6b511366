package main

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap R28: killed without warning, over and over, under load, the journal admits
// nothing twice and refuses nothing good.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	serve := func() *process {
		p := start(t, "serve", "--data", dir, "--listen", strings.TrimPrefix(info.URL, "http://"),
			"--rate-limit", "1e6", "--rate-burst", "1000000")
		healthy(t, p, info.URL)
		return p
	}
	p = serve()

	var stop atomic.Bool
	var redeemed, lost, tickets atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				ticket, err := info.tryTicket(info.request(true))
				if err != nil { // it is down
					time.Sleep(5 * time.Millisecond)
					continue
				}
				tickets.Add(1)
				admitted, unanswered := 0, 0
				// Until it was refused once: by then it is spent for certain.
				for attempt := 0; ; attempt++ {
					status, _, err := enter(info.LoginURL, ticket)
					if err != nil {
						unanswered++
						time.Sleep(5 * time.Millisecond)
						continue
					}
					if status == http.StatusSeeOther {
						admitted++
						continue
					}
					if status == http.StatusForbidden {
						break
					}
				}
				if !assert.LessOrEqual(t, admitted, 1, "admitted twice") {
					return
				}
				if unanswered == 0 && !assert.Equal(t, 1, admitted, "refused, though nobody redeemed it") {
					return
				}
				redeemed.Add(int64(admitted))
				lost.Add(int64(1 - admitted)) // its answer was, with the process
			}
		})
	}
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for range 20 {
		before := redeemed.Load()
		require.Eventually(t, func() bool { return redeemed.Load() >= before+8 }, time.Minute, time.Millisecond,
			"it is under load")
		time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
		require.NoError(t, p.cmd.Process.Kill())
		p.wait()
		p = serve()
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d tickets, %d redeemed, %d whose answer was lost", tickets.Load(), redeemed.Load(), lost.Load())
	assert.Greater(t, redeemed.Load(), int64(100))
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}
