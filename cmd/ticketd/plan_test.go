package main

import (
	"context"
	"crypto/rand"
	"io/fs"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

// remember has a store remember n nonces, each with a binding, in as many windows as a plan
// has. The windows fill one after the other, as windows do while time passes.
func remember(t *testing.T, s replay.Store, n int64, p *plan) {
	t.Helper()
	const callers = 64
	start := time.Now().Add(time.Hour).Truncate(replay.Window)
	windows := int64(time.Duration(p.Retain*float64(time.Second)) / replay.Window)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				in := start.Add(replay.Window * time.Duration(i*windows/n))
				c := replay.Claim{Issued: in, NotBefore: in, Expires: in, RetainUntil: in.Add(time.Hour), Binding: [32]byte{1}}
				_, _ = rand.Read(c.Nonce[:])
				a, err := s.Claim(context.Background(), c)
				// The memory's filter may refuse one in a million.
				if err != nil || a.Status != replay.Admitted && a.Status != replay.PossiblyUsed {
					t.Error(a, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// inHeap returns the bytes that are in use in this process, without garbage.
func inHeap() int64 {
	runtime.GC()
	runtime.GC() // frees what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The memory of a process that remembers as much as a plan says is the plan's, within a
// fifth. This test does not run beside others, which would use the heap as well.
func TestPlanOfMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it remembers a million nonces")
	}
	p, err := newPlan(5000, 2*time.Minute, 0, false, defaultCeilings())
	require.NoError(t, err)
	before := inHeap()
	s, err := memory.Open(t.Context(), memory.Config{NoBarrier: true, MaxBytes: p.Memory.Bound})
	require.NoError(t, err)
	defer s.Close()
	remember(t, s, p.Live, p)
	used := inHeap() - before
	t.Logf("%d nonces: %d of %d bytes, %.1f a nonce", p.Live, used, p.Memory.Bytes, float64(used)/float64(p.Live))
	assert.InEpsilon(t, p.Memory.Bytes, used, 0.2)
}

// The files of a journal that remembers as much as a small plan says take no more than the
// plan says, and no less than half.
func TestPlanOfAJournal(t *testing.T) {
	t.Parallel()
	p, err := newPlan(100, time.Minute, 0, false, defaultCeilings())
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "journal")
	s, err := journal.Open(t.Context(), journal.Config{Dir: dir})
	require.NoError(t, err)
	defer s.Close()
	remember(t, s, p.Live, p)
	var used int64
	require.NoError(t, filepath.WalkDir(dir, func(_ string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		info, err := f.Info()
		used += info.Size()
		return err
	}))
	t.Logf("%d nonces: %d of %d bytes, %.1f a nonce", p.Live, used, p.Journal.DiskBytes, float64(used)/float64(p.Live))
	assert.LessOrEqual(t, used, p.Journal.DiskBytes)
	assert.GreaterOrEqual(t, used, p.Journal.DiskBytes/2)
}

// claims keeps the claim that a verifier makes.
type claims struct{ got replay.Claim }

func (c *claims) Claim(_ context.Context, claim replay.Claim) (replay.Answer, error) {
	c.got = claim
	return replay.Answer{Status: replay.Admitted}, nil
}

func (c *claims) Peek(context.Context, replay.Claim) (replay.Answer, error) {
	return replay.Answer{Status: replay.Admitted}, nil
}

// The plan has nonces remembered for as long as the verifier asks for, and the
// slices last.
func TestPlanRemembersAsTheVerifier(t *testing.T) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	keys, err := token.NewKeyset(handle)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Sealer: keys})
	require.NoError(t, err)
	for _, skew := range []time.Duration{0, time.Second, verify.Skew, time.Minute} {
		var store claims
		verifier, err := verify.New(verify.Config{Opener: keys, AnyBrand: true, Store: &store, Skew: skew})
		require.NoError(t, err)
		ticket := token.Ticket{Audience: token.Agent, Brand: "b", Username: "u", OneTime: true, Lifetime: 2 * time.Minute}
		text, err := issuer.Issue(&ticket)
		require.NoError(t, err)
		redeemed, err := verifier.Redeem(t.Context(), text, verify.Use{Audience: token.Agent})
		require.NoError(t, err)

		p, err := newPlan(1, 2*time.Minute, skew, false, defaultCeilings())
		require.NoError(t, err)
		assert.Equal(t, p.Retain, (store.got.RetainUntil.Sub(redeemed.IssuedAt) + replay.Window).Seconds())
		assert.EqualValues(t, p.Retain, p.Live)
	}
}

// A Redis and a PostgreSQL that remember as much as a small plan says take no more
// than it says, and no less than a third. The same holds for the
// nonces one by one, as Redis counts the memory of a key.
func TestPlanOfSharedStores(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills two servers")
	}
	t.Parallel()
	p, err := newPlan(100, time.Minute, 0, false, defaultCeilings())
	require.NoError(t, err)
	require.EqualValues(t, 13_600, p.Live)

	redis := servers.Redis(t, "", servers.Forgetful...)
	r, err := redisstore.Open(t.Context(), redisstore.Config{URL: redis.URL, Timeout: time.Minute})
	require.NoError(t, err)
	defer r.Close()
	remember(t, r, p.Live, p)
	var used int64
	for line := range strings.Lines(redis.Do("INFO", "memory")) {
		if v, ok := strings.CutPrefix(line, "used_memory:"); ok {
			used, err = strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			require.NoError(t, err)
		}
	}
	t.Logf("redis: %d of %d bytes", used, p.Redis.Bytes)
	for range 20 {
		key := redis.Do("RANDOMKEY")
		each, err := strconv.ParseInt(redis.Do("MEMORY", "USAGE", key), 10, 64)
		require.NoError(t, err)
		if !strings.HasSuffix(key, ":epoch") {
			assert.LessOrEqual(t, each, p.Redis.NonceBytes)
			assert.GreaterOrEqual(t, each, p.Redis.NonceBytes/3)
		}
	}
	assert.LessOrEqual(t, used, p.Redis.Bytes)
	assert.GreaterOrEqual(t, used, p.Redis.Bytes/3)

	postgres := servers.PostgreSQL(t, "-c", "fsync=off") // for speed
	q, err := pgstore.Open(t.Context(), pgstore.Config{URL: postgres.URL, AllowNoFsync: true, Timeout: time.Minute})
	require.NoError(t, err)
	defer q.Close()
	// With those that are over and wait for a purge.
	waiting := int64(100 * postgresPurge.Seconds())
	remember(t, q, p.Live+waiting, p)
	connection, err := pgx.Connect(t.Context(), postgres.URL)
	require.NoError(t, err)
	defer connection.Close(context.Background())
	const size = `SELECT pg_total_relation_size('admitone_replay.claims')`
	require.NoError(t, connection.QueryRow(t.Context(), size).Scan(&used))
	t.Logf("postgres: %d of %d bytes", used, p.Postgres.DiskBytes)
	assert.LessOrEqual(t, used, p.Postgres.DiskBytes)
	assert.GreaterOrEqual(t, used, p.Postgres.DiskBytes/3)
}
