//go:build unix

package redisstore

import (
	"context"
	"crypto/rand"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

func TestMain(m *testing.M) {
	// Most tests wait, for a server or a clock, and not for a processor.
	_ = flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0))))
	os.Exit(m.Run())
}

// onEach runs a test on every kind of server that there is.
func onEach(t *testing.T, test func(t *testing.T, program string)) {
	t.Parallel()
	for _, program := range servers.RedisPrograms(t) {
		t.Run(filepath.Base(program), func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

// doOn sends a command, and wants no error.
func doOn(t testing.TB, client rueidis.Client, arguments ...string) {
	t.Helper()
	require.NoError(t, client.Do(context.Background(), client.B().Arbitrary(arguments...).Build()).Error(), "%v",
		arguments)
}

// patience is how long anything may take on a machine that is busy.
const patience = 3 * time.Minute

// open opens a store for the rest of the test. A test that does not say how long a
// claim may take has patience.
func open(t testing.TB, config Config) *Store {
	t.Helper()
	if config.Timeout == 0 {
		config.Timeout = patience
	}
	s, err := Open(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

const (
	lifetime = 5 * time.Minute
	skew     = 10 * time.Second
)

// ticket returns the claim of a ticket issued now, by a clock that is ahead by
// all that the skew allows.
func ticket() replay.Claim {
	issued := time.Now().Add(skew)
	c := replay.Claim{
		Issued:      issued,
		NotBefore:   issued.Add(-skew),
		Expires:     issued.Add(lifetime),
		RetainUntil: issued.Add(lifetime + 3*skew + time.Minute),
	}
	_, _ = rand.Read(c.Nonce[:])
	return c
}

func claim(t testing.TB, s *Store, c replay.Claim) replay.Answer {
	t.Helper()
	a, err := s.Claim(context.Background(), c)
	require.NoError(t, err)
	return a
}

func status(t testing.TB, s *Store, c replay.Claim) string {
	t.Helper()
	return claim(t, s, c).Status.String()
}

// answered claims until there is an answer: a connection may have ended without
// the client having noticed.
func answered(t testing.TB, s *Store, c replay.Claim) (a replay.Answer) {
	t.Helper()
	require.EventuallyWithT(t, func(collect *assert.CollectT) {
		var err error
		a, err = s.Claim(context.Background(), c)
		require.NoError(collect, err)
	}, patience, 10*time.Millisecond)
	return a
}

// openUnwatched opens a store that looks at the servers when a connection has
// ended, and not every so often, so that nothing is done behind a test's back.
func openUnwatched(t testing.TB, config Config) *Store {
	t.Helper()
	config.Timeout = patience
	s, err := openWith(context.Background(), config, script, time.Hour, time.Now)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// requireUnavailable wants the outage told as one.
func requireUnavailable(t testing.TB, a replay.Answer, err error) {
	t.Helper()
	require.ErrorIs(t, err, replay.ErrUnavailable)
	require.Equal(t, replay.Answer{}, a)
}

// settle waits until a ticket issued now is admitted.
func settle(t testing.TB, s *Store) {
	t.Helper()
	settleAll(t, s, 1)
}

// connections is how many claims in a row go over all connections of a store. The
// client has up to four, makes each when it first chooses it, which it does by
// chance, and notices the end of one after a while.
const connections = 100

// settleAll waits until so many tickets in a row are admitted.
func settleAll(t testing.TB, s *Store, n int) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for range n {
			a, err := s.Claim(context.Background(), ticket())
			require.NoError(c, err)
			require.Equal(c, replay.Admitted, a.Status)
		}
	}, patience, 20*time.Millisecond)
}
