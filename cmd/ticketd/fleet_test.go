package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// fleet starts n services that share keys and a replay store, each with a data
// folder of its own.
func fleet(t *testing.T, n int, store string) (processes []*process, infos []demoInfo) {
	t.Helper()
	first := t.TempDir()
	p, info := startDemo(t, "--data", first, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	for range n {
		dir := filepath.Join(t.TempDir(), "data")
		require.NoError(t, os.CopyFS(dir, os.DirFS(first)))
		require.NoError(t, os.Chmod(filepath.Join(dir, "kek.key"), 0o600))
		require.NoError(t, os.Remove(filepath.Join(dir, "replay.json")))
		address := freeAddress(t)
		p := start(t, "serve", "--data", dir, "--listen", address, "--replay", store, "--replay-timeout", "4s",
			"--replicas", fmt.Sprint(n),
			"--skew", "0s", "--rate-limit", "1e6", "--rate-burst", "1000000")
		one := info
		one.URL = "http://" + address
		one.LoginURL = one.URL + "/login"
		healthy(t, p, one.URL)
		processes, infos = append(processes, p), append(infos, one)
	}
	return processes, infos
}

// offer issues tickets and offers each to all services at once, by several clients
// each. It returns how many were admitted, none of them twice, and of how many
// nobody was told but of an outage, or that he was not the first: it is the answer
// of the first that was lost.
func offer(t *testing.T, infos []demoInfo, tickets int) (admissions, lost int) {
	t.Helper()
	var admitted, unsure atomic.Int64
	var wg sync.WaitGroup
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range next {
				from := infos[i%len(infos)]
				ticket, err := from.tryTicket(from.request(true))
				for tries := 0; tries < 20 && err != nil && err.Error() == "status 500"; tries++ {
					// So many at once make a machine so busy that the directory is too late.
					ticket, err = from.tryTicket(from.request(true))
				}
				if !assert.NoError(t, err) {
					continue
				}
				var once, outages atomic.Int64
				var clients sync.WaitGroup
				for c := range 2 * len(infos) {
					clients.Go(func() {
						status, _, err := enter(infos[c%len(infos)].LoginURL, ticket)
						assert.NoError(t, err)
						switch status {
						case http.StatusSeeOther:
							once.Add(1)
						case http.StatusServiceUnavailable:
							outages.Add(1)
						}
					})
				}
				clients.Wait()
				assert.LessOrEqual(t, once.Load(), int64(1), "admitted twice")
				admitted.Add(once.Load())
				if once.Load() == 0 && outages.Load() > 0 {
					unsure.Add(1)
				}
			}
		})
	}
	for i := range tickets {
		next <- i
	}
	close(next)
	wg.Wait()
	return int(admitted.Load()), int(unsure.Load())
}

// offerMany wants all of many tickets admitted, once each. A machine that is busy
// may lose some answers.
func offerMany(t *testing.T, infos []demoInfo) {
	t.Helper()
	admissions, lost := offer(t, infos, manyTickets())
	t.Logf("%d tickets admitted; of %d more the answer was lost", admissions, lost)
	assert.Equal(t, manyTickets(), admissions+lost)
	assert.Less(t, lost, manyTickets()/20)
}

// manyTickets is how many a fleet is offered.
func manyTickets() int {
	if testing.Short() {
		return 300
	}
	return 3_000
}

// decided returns the first answer to a ticket that is none of an outage, and
// whether there was one before. What a store has done that did not answer in time
// nobody can tell: it may have been the ticket's admission.
func decided(t *testing.T, url, ticket string) (status int, unsure bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		status = mustEnter(t, url, ticket)
		unsure = unsure || status == http.StatusServiceUnavailable
		return status != http.StatusServiceUnavailable
	}, time.Minute, 50*time.Millisecond)
	return status, unsure
}

// wantAdmitted wants the first of the tickets admitted of which a service can tell.
func wantAdmitted(t *testing.T, url string, tickets []string) {
	t.Helper()
	for _, ticket := range tickets {
		status, unsure := decided(t, url, ticket)
		if status == http.StatusSeeOther {
			return
		}
		require.Equal(t, http.StatusForbidden, status)
		require.True(t, unsure, "a good ticket was refused")
	}
	t.Error("of no ticket could be told whether it was admitted")
}

// several asks for some one-time tickets.
func several(t *testing.T, info demoInfo) (tickets []string) {
	t.Helper()
	for range 8 {
		tickets = append(tickets, info.ticket(t, info.request(true)))
	}
	return tickets
}

// works waits until a service admits somebody.
func works(t *testing.T, info demoInfo) {
	t.Helper()
	require.Eventually(t, func() bool {
		return mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))) == http.StatusSeeOther
	}, time.Minute, 100*time.Millisecond)
}

// trap R18: four processes on one Redis, each ticket offered to all of them at once.
// trap R24: Redis gone, nobody is admitted or told that he was here before; back
// again, the service goes on by itself.
func TestFleetOnRedis(t *testing.T) {
	t.Parallel()
	redis := servers.Redis(t, "", servers.Forgetful...)
	processes, infos := fleet(t, 4, redis.URL)

	offerMany(t, infos)

	// Stopped: an outage is told as one.
	redis.Freeze()
	ticket := infos[0].ticket(t, infos[0].request(true))
	assert.Equal(t, http.StatusServiceUnavailable, mustEnter(t, infos[1].LoginURL, ticket))
	processes[1].logs("reason=store_unavailable")
	redis.Thaw()
	works(t, infos[2])

	// trap R30: restarted empty, it refuses what was issued before, and goes on.
	old := infos[0].ticket(t, infos[0].request(true))
	redis.Kill()
	assert.Equal(t, http.StatusServiceUnavailable, mustEnter(t, infos[0].LoginURL, old))
	redis.Start()
	works(t, infos[3])
	status, _ := decided(t, infos[1].LoginURL, old)
	assert.Equal(t, http.StatusForbidden, status)
	require.Eventually(t, func() bool {
		admissions, _ := offer(t, infos, 100)
		return admissions == 100
	}, 2*time.Minute, time.Second, "each part of the store has begun anew")
	for _, p := range processes {
		assert.Equal(t, 0, p.end(syscall.SIGTERM))
	}
}

// trap R18, trap R24: the same on one PostgreSQL, killed and started again.
func TestFleetOnPostgres(t *testing.T) {
	t.Parallel()
	postgres := servers.PostgreSQL(t)
	processes, infos := fleet(t, 4, postgres.URL)
	offerMany(t, infos)

	spent, unspent := infos[0].ticket(t, infos[0].request(true)), several(t, infos[0])
	wantAdmitted(t, infos[0].LoginURL, []string{spent})
	postgres.Kill()
	assert.Equal(t, http.StatusServiceUnavailable, mustEnter(t, infos[1].LoginURL, unspent[0]))
	processes[1].logs("reason=store_unavailable")
	postgres.Start()
	wantAdmitted(t, infos[2].LoginURL, unspent) // a durable store refuses nothing good after a restart
	for _, ticket := range []string{spent, unspent[0]} {
		status, _ := decided(t, infos[3].LoginURL, ticket)
		assert.Equal(t, http.StatusForbidden, status)
	}
	for _, p := range processes {
		assert.Equal(t, 0, p.end(syscall.SIGTERM))
	}
}
