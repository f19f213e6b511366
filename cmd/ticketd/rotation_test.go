package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admitone/admitone/token"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// rotating is a policy of seconds, for machines so many times slower than most. A
// new key is due a second after the last one became the primary, and spreads for
// three.
func rotating(slower int) keyring.Policy {
	second := time.Duration(slower) * time.Second
	return keyring.Policy{
		Lifetime: 4 * second, Propagation: 2 * second, Skew: second,
		RotateEvery: 4 * second, DestroyAfter: 2 * second,
	}
}

// ticketKeyring returns the ticket keyring that a service reports.
func (p *process) ticketKeyring() keyring.Report {
	p.t.Helper()
	res, err := http.Get(strings.TrimSuffix(p.scrapeURL(), "/metrics") + "/keyring")
	require.NoError(p.t, err)
	defer res.Body.Close()
	require.Equal(p.t, http.StatusOK, res.StatusCode)
	var r struct{ Keyrings []keyring.Report }
	require.NoError(p.t, json.NewDecoder(res.Body).Decode(&r))
	require.Len(p.t, r.Keyrings, 3)
	require.Equal(p.t, keyring.Ticket, r.Keyrings[0].Kind)
	return r.Keyrings[0]
}

// rotatingFleet starts two services, each of which redeems what the other issues,
// over one ticket keyring with the policy.
func rotatingFleet(t *testing.T, policy keyring.Policy) (file, kek string, processes []*process, infos []demoInfo) {
	t.Helper()
	redis := servers.Redis(t, "", servers.Forgetful...)
	first := t.TempDir()
	kek = "file:" + filepath.Join(first, "kek.key")
	require.NoError(t, kms.CreateKeyFile(filepath.Join(first, "kek.key")))
	k, err := kms.Open(kek, nil)
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "shared.keyring")
	require.NoError(t, keyring.Create(file, keyring.Config{Kind: keyring.Ticket, KEK: k}, policy, ""))
	link := filepath.Join(first, "ticket.keyring")
	require.NoError(t, os.Symlink(file, link))
	p, info := startDemo(t, "--data", first, "--listen", freeAddress(t), "--max-lifetime", policy.Lifetime.String())
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	require.NoError(t, os.Remove(link))
	for range 2 {
		dir := filepath.Join(t.TempDir(), "data")
		require.NoError(t, os.CopyFS(dir, os.DirFS(first)))
		require.NoError(t, os.Chmod(filepath.Join(dir, "kek.key"), 0o600))
		require.NoError(t, os.Remove(filepath.Join(dir, "replay.json")))
		require.NoError(t, os.Symlink(file, filepath.Join(dir, "ticket.keyring")))
		address := freeAddress(t)
		p := start(t, "serve", "--data", dir, "--listen", address, "--metrics-listen", "127.0.0.1:0", "--replay", redis.URL,
			"--replay-timeout", "4s", "--rate-limit", "100000", "--rate-burst", "100000", "--replicas", "2",
			"--skew", policy.Skew.String(), "--max-lifetime", policy.Lifetime.String())
		one := info
		one.URL = "http://" + address
		one.LoginURL = one.URL + "/login"
		healthy(t, p, one.URL)
		processes, infos = append(processes, p), append(infos, one)
	}
	return file, kek, processes, infos
}

// load is what clients of a fleet met.
type load struct {
	infos                   []demoInfo
	lifetime                time.Duration // of the tickets
	stop                    atomic.Bool
	admitted, refused, late atomic.Int64
	faults                  sync.Map // what was refused, by when
}

// client has tickets issued by one service and redeems them at the other, at once
// or after a while.
func (l *load) client(n int, keep time.Duration) {
	for i := n; !l.stop.Load(); i++ {
		from, to := l.infos[i%2], l.infos[(i+1)%2]
		began := time.Now()
		ticket, err := from.tryTicket(ordinary(from.request(true)))
		status := 0
		if err == nil {
			time.Sleep(keep)
			status, _, err = enter(to.LoginURL, ticket)
		}
		switch {
		case status == http.StatusSeeOther:
			l.admitted.Add(1)
		case time.Since(began) >= l.lifetime:
			l.late.Add(1) // it may have run out, on a machine that slow
		default:
			l.refused.Add(1)
			l.faults.Store(began, fmt.Sprintf("after %v: status %d, %v", time.Since(began), status, err))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Ten rotations by "keyring apply" in a loop, as a timer runs it, while two services
// issue and redeem: nothing good is refused.
// trap K11: with real processes and clocks.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	rotations := 10
	if testing.Short() {
		rotations = 2
	}
	for slower := 1; !rotateUnderLoad(t, rotating(slower), max(2, rotations/slower)); slower *= 2 {
		t.Log("once more, with more time for a file to spread")
	}
}

// rotateUnderLoad reports whether what it saw tells anything. Where a file took
// longer to reach the services than the policy has for it, and something was
// refused, the policy does not fit the machine.
func rotateUnderLoad(t *testing.T, policy keyring.Policy, rotations int) bool {
	t.Helper()
	file, kek, processes, infos := rotatingFleet(t, policy)
	command := buildKeyring(t)
	// A store that is new refuses what may be older than it.
	require.Eventually(t, func() bool {
		ticket, err := infos[0].tryTicket(ordinary(infos[0].request(true)))
		if err != nil {
			return false
		}
		status, _, err := enter(infos[1].LoginURL, ticket)
		return err == nil && status == http.StatusSeeOther
	}, time.Minute, 100*time.Millisecond)

	l := &load{infos: infos, lifetime: policy.Lifetime}
	var clients sync.WaitGroup
	// So many, and with so much patience, that at each moment tickets of all ages are
	// on their way.
	const many = 24
	for i := range many {
		clients.Go(func() { l.client(i, policy.Lifetime*3/4*time.Duration(i)/many) })
	}
	defer clients.Wait()
	defer l.stop.Store(true)
	slowest := time.Duration(0)
	unfit := func() bool { return slowest > policy.Propagation && l.refused.Load() > 0 }
	last := time.Now()
	for done := 0; done < rotations && !unfit(); time.Sleep(100 * time.Millisecond) {
		require.Less(t, time.Since(last), time.Minute+10*policy.RotateEvery, "nothing is promoted")
		var result struct {
			Generation uint64
			Changed    bool
			Done       []keyring.Step
		}
		began := time.Now()
		out, err := exec.Command(command, "apply", file, "--kek", kek, "--realm", "", "--json").Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			require.NoError(t, err, string(exit.Stderr))
		}
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &result))
		if !result.Changed {
			continue
		}
		for _, p := range processes {
			require.Eventually(t, func() bool { return p.ticketKeyring().Generation >= result.Generation }, time.Minute,
				20*time.Millisecond)
		}
		slowest = max(slowest, time.Since(began))
		for _, s := range result.Done {
			if s.Do == keyring.Promote {
				done++
				last = time.Now()
			}
		}
	}
	l.stop.Store(true)
	clients.Wait()
	report := processes[0].ticketKeyring()
	t.Logf("%d rotations, generation %d, %d destroyed keys; %d redeemed, %d too late to tell, %d refused",
		rotations, report.Generation, len(report.Tombstones), l.admitted.Load(), l.late.Load(), l.refused.Load())
	t.Logf("a new file was everywhere after at most %v, and the policy allows %v",
		slowest.Round(time.Millisecond), policy.Propagation)
	for _, p := range processes {
		assert.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())
	}
	if unfit() {
		return false
	}
	l.faults.Range(func(_, text any) bool { t.Error(text); return true })
	assert.Zero(t, l.refused.Load())
	assert.Greater(t, l.admitted.Load(), int64(10*rotations))
	return true
}

// trap K15, trap K20: a key that is revoked while a service runs, its primary even,
// opens nothing there after the next look at the file, and new tickets are good.
// trap K12: what was rolled back stays good.
func TestRevokedWhileServing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--metrics-listen", "127.0.0.1:0")
	file, kek := filepath.Join(dir, "ticket.keyring"), "file:"+filepath.Join(dir, "kek.key")
	command := buildKeyring(t)
	do := func(args ...string) {
		t.Helper()
		before := p.ticketKeyring().Generation
		out, err := exec.Command(command, append(args, "--kek", kek, "--realm", "")...).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Eventually(t, func() bool { return p.ticketKeyring().Generation > before }, time.Minute, 10*time.Millisecond)
	}
	first := p.ticketKeyring().Primary.String()
	old := info.ticket(t, info.request(false))
	do("rotate", file, "--now")
	newer := info.ticket(t, info.request(false))
	do("rollback", file)
	for _, ticket := range []string{old, newer, info.ticket(t, info.request(false))} {
		assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, ticket))
	}
	require.Equal(t, first, p.ticketKeyring().Primary.String())
	do("revoke", file, first, "--reason", "leaked")
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, old))
	p.logs("reason=unknown_key")
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, newer))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))))

	// A policy under which tickets could outlive their keys would be refused at a start.
	do("policy", file, "--lifetime", "1m")
	p.logs("tickets may be issued for longer than their keys are kept")
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}

// Rotating and disabling keys under load: no ticket fails, new ones carry the
// new key, and a disabled key's are refused.
// trap K8: as unknown_key, not as forged.
func TestRotate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir)
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek.key"), nil)
	require.NoError(t, err)
	file := filepath.Join(dir, "ticket.keyring")
	config := keyring.Config{Kind: keyring.Ticket, KEK: kek}

	ctx, cancel := context.WithCancel(t.Context())
	var entered atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				ticket, err := info.tryTicket(info.request(true))
				if err != nil && p.busy() {
					continue
				}
				if !assert.NoError(t, err) {
					return
				}
				status, _, err := enter(info.LoginURL, ticket)
				if status == http.StatusServiceUnavailable && p.busy() {
					continue
				}
				if !assert.NoError(t, err) || !assert.Equal(t, http.StatusSeeOther, status) {
					return
				}
				entered.Add(1)
			}
		})
	}
	progress := func() {
		t.Helper()
		from := entered.Load()
		require.Eventually(t, func() bool { return entered.Load() > from+20 }, time.Minute, time.Millisecond)
	}
	progress()
	before := info.ticket(t, info.request(true))
	old, err := token.UnverifiedKeyID(before)
	require.NoError(t, err)
	for range 3 {
		state, err := keyring.Change(file, config, "", keyring.Step{Do: keyring.Rotate, Now: true})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			id, err := token.UnverifiedKeyID(info.ticket(t, info.request(false)))
			return err == nil && id == state.Primary
		}, time.Minute, 10*time.Millisecond, "new tickets carry the new key")
		progress()
	}
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, before), "a retiring key still opens")
	cancel()
	wg.Wait()
	last := info.ticket(t, info.request(false))
	id, err := token.UnverifiedKeyID(last)
	require.NoError(t, err)
	_, err = keyring.Change(file, config, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	for _, k := range []token.KeyID{old, id} {
		_, err = keyring.Change(file, config, "", keyring.Step{Do: keyring.Disable, Key: k, Unsafe: true})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return mustEnter(t, info.LoginURL, last) == http.StatusForbidden }, time.Minute,
		10*time.Millisecond)
	p.logs("reason=unknown_key")
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	log := p.stderr.String()
	assert.Equal(t, strings.Count(log, "reason=unknown_key"), strings.Count(log, "ticket refused"),
		"refused for no other reason")
}
