package main

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

// remember has a store remember n nonces, each with a binding.
func remember(t *testing.T, s replay.Store, n int64) {
	t.Helper()
	const callers = 16
	var wg sync.WaitGroup
	for part := range int64(callers) {
		wg.Go(func() {
			for range (n + part) / callers {
				now := time.Now()
				in := now.Add(time.Hour)
				c := replay.Claim{Issued: in, NotBefore: in, Expires: in, RetainUntil: now.Add(2 * time.Hour),
					Binding: [32]byte{1}}
				_, _ = rand.Read(c.Nonce[:])
				if a, err := s.Claim(context.Background(), c); err != nil || a.Status != replay.Admitted {
					t.Error(a, err)
					return
				}
			}
		})
	}
	wg.Wait()
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

		p, err := newPlan(1, 2*time.Minute, skew, false)
		require.NoError(t, err)
		assert.Equal(t, p.Retain, (store.got.RetainUntil.Sub(redeemed.IssuedAt) + replay.Window).Seconds())
		assert.EqualValues(t, p.Retain, p.Live)
	}
}

// A Redis and a PostgreSQL that remember as much as a small plan says take no more
// than it says, and no less than a third. (Memory and journal are held against
// theirs in package replay.)
func TestPlanOfSharedStores(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills two servers")
	}
	t.Parallel()
	p, err := newPlan(100, time.Minute, 0, false)
	require.NoError(t, err)
	require.EqualValues(t, 13_600, p.Live)

	redis := servers.Redis(t, "", servers.Forgetful...)
	r, err := redisstore.Open(t.Context(), redisstore.Config{URL: redis.URL, Timeout: time.Minute})
	require.NoError(t, err)
	defer r.Close()
	remember(t, r, p.Live)
	var used int64
	for line := range strings.Lines(redis.Do("INFO", "memory")) {
		if v, ok := strings.CutPrefix(line, "used_memory:"); ok {
			used, err = strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			require.NoError(t, err)
		}
	}
	t.Logf("redis: %d of %d bytes", used, p.Redis.Bytes)
	assert.LessOrEqual(t, used, p.Redis.Bytes)
	assert.GreaterOrEqual(t, used, p.Redis.Bytes/3)

	postgres := servers.PostgreSQL(t, "-c", "fsync=off") // for speed
	q, err := pgstore.Open(t.Context(), pgstore.Config{URL: postgres.URL, AllowNoFsync: true, Timeout: time.Minute})
	require.NoError(t, err)
	defer q.Close()
	// With those that are over and wait for a purge.
	waiting := int64(100 * postgresPurge.Seconds())
	remember(t, q, p.Live+waiting)
	st, err := q.Stats(t.Context())
	require.NoError(t, err)
	t.Logf("postgres: %d of %d bytes", st.DiskBytes, p.Postgres.DiskBytes)
	assert.LessOrEqual(t, st.DiskBytes, p.Postgres.DiskBytes)
	assert.GreaterOrEqual(t, st.DiskBytes, p.Postgres.DiskBytes/3)
}
