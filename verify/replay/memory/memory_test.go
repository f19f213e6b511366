package memory

import (
	"context"
	"errors"
	"math"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClaimOnce(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{})
	c := ticket(1, clock.Now(), lifetime, skew)
	clock.Step(1234567891 * time.Nanosecond)
	first := clock.Now().UTC()

	assert.Equal(t, replay.Answer{Status: replay.Admitted}, peek(t, m, c))
	assert.Equal(t, replay.Answer{Status: replay.Admitted}, peek(t, m, c), "looking spends nothing")
	assert.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, m, c))
	clock.Step(time.Second)
	assert.Equal(t, replay.Answer{Status: replay.AlreadyUsed, FirstUsed: first}, peek(t, m, c))
	assert.Equal(t, replay.Answer{Status: replay.AlreadyUsed, FirstUsed: first}, claim(t, m, c))
	assert.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, m, ticket(2, start, lifetime, skew)))
}

func TestGrace(t *testing.T) {
	tests := []struct {
		name     string
		first    byte
		second   byte
		after    time.Duration
		repeated bool
	}{
		{"same binding at once", 7, 7, 0, true},
		{"same binding in time", 7, 7, replay.Grace - 1, true},
		{"same binding at the end", 7, 7, replay.Grace, false},
		{"another binding", 7, 8, 1, false},
		{"none at first", 0, 7, 1, false},
		{"none at last", 7, 0, 1, false},
		{"none at all", 0, 0, 1, false},
		{"clock before the first use", 7, 7, -1, false},
		{"clock long before the first use", 7, 7, -time.Hour, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clock := claimtest.NewClock()
			m := newMemory(t, clock, Config{})
			c := ticket(1, clock.Now(), lifetime, skew)
			require.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, m, bound(c, tt.first)))
			clock.Step(tt.after)
			want := replay.Answer{Status: replay.AlreadyUsed, FirstUsed: start}
			if tt.repeated {
				want = replay.Answer{Status: replay.Admitted, FirstUsed: start, Repeated: true}
			}
			assert.Equal(t, want, peek(t, m, bound(c, tt.second)))
			assert.Equal(t, want, claim(t, m, bound(c, tt.second)))
			st := stats(t, m)
			assert.Equal(t, tt.repeated, st.Repeated == 1)
			assert.EqualValues(t, 1, st.Live)
		})
	}
}

// The grace counts from the first use, not from the latest retry, and a retry
// with another binding in between does not end it.
func TestGraceIsNotExtended(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{})
	c := ticket(1, clock.Now(), lifetime, skew)
	claim(t, m, bound(c, 7))
	for range 4 {
		clock.Step(2 * time.Second)
		assert.True(t, claim(t, m, bound(c, 7)).Repeated)
		assert.Equal(t, replay.AlreadyUsed, claim(t, m, bound(c, 8)).Status)
	}
	clock.Step(2 * time.Second)
	assert.Equal(t, replay.Answer{Status: replay.AlreadyUsed, FirstUsed: start}, claim(t, m, bound(c, 7)))
}

func TestInvalidClaim(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{})
	c := ticket(1, clock.Now(), lifetime, skew)
	bad := c
	bad.RetainUntil = c.Expires.Add(-1)
	for name, call := range claimtest.Calls(m) {
		a, err := call(context.Background(), bad)
		require.ErrorContains(t, err, "RetainUntil", name)
		assert.NotErrorIs(t, err, replay.ErrUnavailable, name)
		assert.Zero(t, a, name)
	}
	c.RetainUntil = c.Expires
	assert.Equal(t, replay.Admitted, claim(t, m, c).Status)
}

func TestCancelledClaimSpendsNothing(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{})
	c := ticket(1, clock.Now(), lifetime, skew)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, call := range claimtest.Calls(m) {
		a, err := call(ctx, c)
		require.ErrorIs(t, err, replay.ErrUnavailable, name)
		require.ErrorIs(t, err, context.Canceled, name)
		assert.Zero(t, a, name)
	}
	assert.Equal(t, replay.Admitted, claim(t, m, c).Status)
}

func TestBarrier(t *testing.T) {
	clock := claimtest.NewClock()
	m, err := Open(t.Context(), Config{Now: clock.Now})
	require.NoError(t, err)
	assert.Equal(t, start, m.Epoch())
	clock.Step(time.Second)
	at := ticket(1, start.Add(skew), lifetime, skew) // NotBefore is the epoch itself
	require.True(t, at.NotBefore.Equal(start))
	assert.Equal(t, replay.Answer{Status: replay.IssuedBeforeStart}, peek(t, m, at))
	assert.Equal(t, replay.Answer{Status: replay.IssuedBeforeStart}, claim(t, m, at))
	after := ticket(2, start.Add(skew+1), lifetime, skew)
	assert.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, m, after))
	assert.EqualValues(t, 1, stats(t, m).Live)

	none := newMemory(t, clock, Config{})
	assert.Zero(t, none.Epoch())
	assert.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, none, at))
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		shards int
		err    string
	}{
		{"default", Config{}, 64, ""},
		{"negative bound", Config{MaxBytes: -1}, 0, "MaxBytes is -1; give at least 16384"},
		{"absurdly small", Config{MaxBytes: 16<<10 - 1}, 0, "give at least 16384"},
		{"smallest", Config{MaxBytes: 16 << 10}, 1, ""},
		{"one shard", Config{MaxBytes: 512<<10 - 1}, 1, ""},
		{"two shards", Config{MaxBytes: 512 << 10}, 2, ""},
		{"most shards", Config{MaxBytes: 16 << 20}, 64, ""},
		{"no more", Config{MaxBytes: 256 << 20}, 64, ""},
		{"negative recent", Config{Recent: -1}, 0, "Recent is -1"},
		{"one recent", Config{Recent: 1}, 64, ""},
		{"half recent", Config{MaxBytes: 16 << 10, Recent: 15 * 8}, 1, ""},
		{"too many recent", Config{MaxBytes: 16 << 10, Recent: 16 * 8}, 0, "more than half of MaxBytes"},
		{"far too many recent", Config{Recent: math.MaxInt}, 0, "more than half of MaxBytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Open(t.Context(), tt.config)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				assert.Nil(t, m)
				return
			}
			require.NoError(t, err)
			assert.Len(t, m.shards, tt.shards)
			st := stats(t, m)
			assert.Less(t, st.Bytes, st.MaxBytes*3/4, "room for windows")
			assert.Positive(t, st.Bytes)
			recent := len(m.shards) * m.shards[0].recent.Len()
			assert.GreaterOrEqual(t, recent, max(8, tt.config.Recent))
			if tt.config.Recent == 0 {
				assert.LessOrEqual(t, recent, 32768)
			}
			c := ticket(1, time.Now().Add(skew+time.Second), lifetime, skew)
			assert.Equal(t, replay.Admitted, claim(t, m, c).Status)
		})
	}
	m, err := Open(t.Context(), Config{})
	require.NoError(t, err)
	assert.Equal(t, 32768/64, m.shards[0].recent.Len())
}

// A store cannot be asked to forget: it has these methods and no others.
//
// trap R20
func TestNothingRemoves(t *testing.T) {
	assert.Equal(t, []string{"Claim", "Peek"}, methods(reflect.TypeFor[replay.Store]()))
	assert.Equal(t, []string{"Claim", "Close", "Epoch", "Immediate", "Peek", "Stats"}, methods(reflect.TypeFor[*Store]()))
	m := reflect.TypeFor[Store]()
	for i := range m.NumField() {
		assert.False(t, m.Field(i).IsExported(), m.Field(i).Name)
	}
}

func methods(t reflect.Type) (names []string) {
	for i := range t.NumMethod() {
		names = append(names, t.Method(i).Name)
	}
	return names
}

// The bound holds for what the runtime says is in use, not only for our own
// arithmetic. Many small windows are the worst case for overheads, few large
// ones the worst for rounding.
func TestMemoryIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		claims int
		spread uint64 // seconds of expiry
	}{{"one window", 600_000, 1}, {"many windows", 100_000, 1 << 20}} {
		t.Run(tt.name, func(t *testing.T) {
			clock := claimtest.NewClock()
			before := claimtest.HeapInUse()
			m := newMemory(t, clock, Config{MaxBytes: 4 << 20})
			ctx := context.Background()
			full := 0
			for i := range uint64(tt.claims) {
				c := ticket(i, start, lifetime+time.Duration(cache.Mix(i)%tt.spread)*time.Second, skew)
				a, err := m.Claim(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				if a.Status == replay.Full {
					full++
				}
			}
			used := claimtest.HeapInUse() - before
			st := stats(t, m)
			t.Logf("heap %d, stated %d of %d, %d nonces in %d windows, %d full",
				used, st.Bytes, st.MaxBytes, st.Live, st.Windows, full)
			assert.Positive(t, full)
			assert.LessOrEqual(t, st.Bytes, st.MaxBytes)
			assert.Greater(t, st.Bytes, st.MaxBytes*8/10)
			assert.InDelta(t, st.Bytes, used, 0.15*float64(st.Bytes))
			assert.LessOrEqual(t, used, st.MaxBytes+64<<10)
			runtime.KeepAlive(m)
		})
	}
}

func TestNoAllocations(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 16 << 20})
	ctx := context.Background()
	for i := range uint64(200_000) { // filters of some size, so that growth is rare
		claim(t, m, ticket(i, start, lifetime, skew))
	}
	old := ticket(1, start, lifetime, skew)
	late := ticket(2, start.Add(-time.Hour), lifetime, skew)
	fresh := ticket(1_000_000, start, lifetime, skew)
	n := uint64(2_000_000)
	for name, f := range map[string]func() error{
		"replay": func() error { _, err := m.Claim(ctx, old); return err },
		"late":   func() error { _, err := m.Claim(ctx, late); return err },
		"peek":   func() error { _, err := m.Peek(ctx, fresh); return err },
		"fresh": func() error {
			n++
			_, err := m.Claim(ctx, ticket(n, start, lifetime, skew))
			return err
		},
	} {
		var err error
		allocs := testing.AllocsPerRun(200, func() { err = errors.Join(err, f()) })
		require.NoError(t, err)
		assert.Zero(t, allocs, name)
	}
}
