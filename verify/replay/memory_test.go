package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start is when the tests' clocks begin: the first second of a slice.
var start = time.Unix(1_800_000_000, 0).UTC()

// A fakeClock is a clock that stands where it is put.
type fakeClock struct{ ns atomic.Int64 }

func newClock() *fakeClock {
	c := new(fakeClock)
	c.ns.Store(start.UnixNano())
	return c
}

func (c *fakeClock) now() time.Time       { return time.Unix(0, c.ns.Load()) }
func (c *fakeClock) step(d time.Duration) { c.ns.Add(int64(d)) }
func (c *fakeClock) set(t time.Time)      { c.ns.Store(t.UnixNano()) }

const (
	lifetime = 5 * time.Minute
	skew     = 10 * time.Second
)

func nonce(n uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], n)
	id[0] = 0xa1
	return id
}

// ticket returns the claim of a ticket issued at the given time.
func ticket(n uint64, issued time.Time, life, skew time.Duration) Claim {
	return Claim{
		Nonce:       nonce(n),
		NotBefore:   issued.Add(-skew),
		Expires:     issued.Add(life),
		RetainUntil: issued.Add(life + 3*skew + time.Minute),
	}
}

func bound(c Claim, b byte) Claim {
	c.Binding = [32]byte{31: b}
	return c
}

// newMemory returns a cache without a barrier: the tests' tickets are good
// from the first moment.
func newMemory(t testing.TB, clock *fakeClock, config MemoryConfig) *Memory {
	t.Helper()
	config.Now, config.NoBarrier = clock.now, true
	m, err := NewMemory(config)
	require.NoError(t, err)
	return m
}

func claim(t testing.TB, s Store, c Claim) Answer {
	t.Helper()
	a, err := s.Claim(context.Background(), c)
	require.NoError(t, err)
	return a
}

func peek(t testing.TB, s Store, c Claim) Answer {
	t.Helper()
	a, err := s.Peek(context.Background(), c)
	require.NoError(t, err)
	return a
}

func TestClaimOnce(t *testing.T) {
	clock := newClock()
	m := newMemory(t, clock, MemoryConfig{})
	c := ticket(1, clock.now(), lifetime, skew)
	clock.step(1234567891 * time.Nanosecond)
	first := clock.now().UTC()

	assert.Equal(t, Answer{Status: Admitted}, peek(t, m, c))
	assert.Equal(t, Answer{Status: Admitted}, peek(t, m, c), "looking spends nothing")
	assert.Equal(t, Answer{Status: Admitted}, claim(t, m, c))
	clock.step(time.Second)
	assert.Equal(t, Answer{Status: AlreadyUsed, FirstUsed: first}, peek(t, m, c))
	assert.Equal(t, Answer{Status: AlreadyUsed, FirstUsed: first}, claim(t, m, c))
	assert.Equal(t, Answer{Status: Admitted}, claim(t, m, ticket(2, start, lifetime, skew)))
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
		{"same binding in time", 7, 7, Grace - 1, true},
		{"same binding at the end", 7, 7, Grace, false},
		{"another binding", 7, 8, 1, false},
		{"none at first", 0, 7, 1, false},
		{"none at last", 7, 0, 1, false},
		{"none at all", 0, 0, 1, false},
		{"clock before the first use", 7, 7, -1, false},
		{"clock long before the first use", 7, 7, -time.Hour, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clock := newClock()
			m := newMemory(t, clock, MemoryConfig{})
			c := ticket(1, clock.now(), lifetime, skew)
			require.Equal(t, Answer{Status: Admitted}, claim(t, m, bound(c, tt.first)))
			clock.step(tt.after)
			want := Answer{Status: AlreadyUsed, FirstUsed: start}
			if tt.repeated {
				want = Answer{Status: Admitted, FirstUsed: start, Repeated: true}
			}
			assert.Equal(t, want, peek(t, m, bound(c, tt.second)))
			assert.Equal(t, want, claim(t, m, bound(c, tt.second)))
			st := m.Stats()
			assert.Equal(t, tt.repeated, st.Repeated == 1)
			assert.Equal(t, 1, st.Live)
		})
	}
}

// The grace counts from the first use, not from the latest retry, and a retry
// with another binding in between does not end it.
func TestGraceIsNotExtended(t *testing.T) {
	clock := newClock()
	m := newMemory(t, clock, MemoryConfig{})
	c := ticket(1, clock.now(), lifetime, skew)
	claim(t, m, bound(c, 7))
	for range 4 {
		clock.step(2 * time.Second)
		assert.True(t, claim(t, m, bound(c, 7)).Repeated)
		assert.Equal(t, AlreadyUsed, claim(t, m, bound(c, 8)).Status)
	}
	clock.step(2 * time.Second)
	assert.Equal(t, Answer{Status: AlreadyUsed, FirstUsed: start}, claim(t, m, bound(c, 7)))
}

func TestInvalidClaim(t *testing.T) {
	clock := newClock()
	m := newMemory(t, clock, MemoryConfig{})
	c := ticket(1, clock.now(), lifetime, skew)
	bad := c
	bad.RetainUntil = c.Expires.Add(-1)
	for name, call := range map[string]func(context.Context, Claim) (Answer, error){"Claim": m.Claim, "Peek": m.Peek} {
		a, err := call(context.Background(), bad)
		require.ErrorContains(t, err, "RetainUntil", name)
		assert.NotErrorIs(t, err, ErrUnavailable, name)
		assert.Zero(t, a, name)
	}
	c.RetainUntil = c.Expires
	assert.Equal(t, Admitted, claim(t, m, c).Status)
}

func TestCancelledClaimSpendsNothing(t *testing.T) {
	clock := newClock()
	m := newMemory(t, clock, MemoryConfig{})
	c := ticket(1, clock.now(), lifetime, skew)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, call := range map[string]func(context.Context, Claim) (Answer, error){"Claim": m.Claim, "Peek": m.Peek} {
		a, err := call(ctx, c)
		require.ErrorIs(t, err, ErrUnavailable, name)
		require.ErrorIs(t, err, context.Canceled, name)
		assert.Zero(t, a, name)
	}
	assert.Equal(t, Admitted, claim(t, m, c).Status)
}

func TestBarrier(t *testing.T) {
	clock := newClock()
	m, err := NewMemory(MemoryConfig{Now: clock.now})
	require.NoError(t, err)
	assert.Equal(t, start, m.Stats().Epoch)
	clock.step(time.Second)
	at := ticket(1, start.Add(skew), lifetime, skew) // NotBefore is the epoch itself
	require.True(t, at.NotBefore.Equal(start))
	assert.Equal(t, Answer{Status: IssuedBeforeStart}, peek(t, m, at))
	assert.Equal(t, Answer{Status: IssuedBeforeStart}, claim(t, m, at))
	after := ticket(2, start.Add(skew+1), lifetime, skew)
	assert.Equal(t, Answer{Status: Admitted}, claim(t, m, after))
	assert.Equal(t, 1, m.Stats().Live)

	none := newMemory(t, clock, MemoryConfig{})
	assert.Zero(t, none.Stats().Epoch)
	assert.Equal(t, Answer{Status: Admitted}, claim(t, none, at))
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		config MemoryConfig
		shards int
		err    string
	}{
		{"default", MemoryConfig{}, 64, ""},
		{"negative bound", MemoryConfig{MaxBytes: -1}, 0, "MaxBytes is -1; give at least 16384"},
		{"absurdly small", MemoryConfig{MaxBytes: 16<<10 - 1}, 0, "give at least 16384"},
		{"smallest", MemoryConfig{MaxBytes: 16 << 10}, 1, ""},
		{"one shard", MemoryConfig{MaxBytes: 512<<10 - 1}, 1, ""},
		{"two shards", MemoryConfig{MaxBytes: 512 << 10}, 2, ""},
		{"most shards", MemoryConfig{MaxBytes: 16 << 20}, 64, ""},
		{"no more", MemoryConfig{MaxBytes: 256 << 20}, 64, ""},
		{"negative recent", MemoryConfig{Recent: -1}, 0, "Recent is -1"},
		{"one recent", MemoryConfig{Recent: 1}, 64, ""},
		{"half recent", MemoryConfig{MaxBytes: 16 << 10, Recent: 15 * 8}, 1, ""},
		{"too many recent", MemoryConfig{MaxBytes: 16 << 10, Recent: 16 * 8}, 0, "more than half of MaxBytes"},
		{"far too many recent", MemoryConfig{Recent: math.MaxInt}, 0, "more than half of MaxBytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := NewMemory(tt.config)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				assert.Nil(t, m)
				return
			}
			require.NoError(t, err)
			assert.Len(t, m.shards, tt.shards)
			st := m.Stats()
			assert.Less(t, st.Bytes, st.MaxBytes*3/4, "room for slices")
			assert.Positive(t, st.Bytes)
			recent := len(m.shards) * len(m.shards[0].recent.entries)
			assert.GreaterOrEqual(t, recent, max(8, tt.config.Recent))
			if tt.config.Recent == 0 {
				assert.LessOrEqual(t, recent, 32768)
			}
			c := ticket(1, time.Now().Add(skew+time.Second), lifetime, skew)
			assert.Equal(t, Admitted, claim(t, m, c).Status)
		})
	}
	m, err := NewMemory(MemoryConfig{})
	require.NoError(t, err)
	assert.Len(t, m.shards[0].recent.entries, 32768/64)
}

func TestStatusString(t *testing.T) {
	assert.Equal(t, "status(0)", Status(0).String())
	assert.Equal(t, "admitted", Admitted.String())
	assert.Equal(t, "already_used", AlreadyUsed.String())
	assert.Equal(t, "clock_behind", ClockBehind.String())
	assert.Equal(t, "status(8)", (ClockBehind + 1).String())
	seen := map[string]bool{}
	for s := Admitted; s <= ClockBehind; s++ {
		assert.False(t, seen[s.String()], s.String())
		seen[s.String()] = true
	}
}

// A store cannot be asked to forget: it has these methods and no others.
//
// trap R20
func TestNothingRemoves(t *testing.T) {
	assert.Equal(t, []string{"Claim", "Peek"}, methods(reflect.TypeFor[Store]()))
	assert.Equal(t, []string{"Claim", "Peek", "Stats"}, methods(reflect.TypeFor[*Memory]()))
	m := reflect.TypeFor[Memory]()
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

func TestEntrySize(t *testing.T) {
	assert.EqualValues(t, entryBytes, unsafe.Sizeof(entry{}))
	assert.EqualValues(t, blockBytes, unsafe.Sizeof(block{}))
}

// The bound holds for what the runtime says is in use, not only for our own
// arithmetic. Many small slices are the worst case for overheads, few large
// ones the worst for rounding.
func TestMemoryIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		claims int
		spread uint64 // seconds of expiry
	}{{"one slice", 600_000, 1}, {"many slices", 100_000, 1 << 20}} {
		t.Run(tt.name, func(t *testing.T) {
			clock := newClock()
			before := heapInUse()
			m := newMemory(t, clock, MemoryConfig{MaxBytes: 4 << 20})
			ctx := context.Background()
			full := 0
			for i := range uint64(tt.claims) {
				c := ticket(i, start, lifetime+time.Duration(mix(i)%tt.spread)*time.Second, skew)
				a, err := m.Claim(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				if a.Status == Full {
					full++
				}
			}
			used := heapInUse() - before
			st := m.Stats()
			t.Logf("heap %d, stated %d of %d, %d nonces in %d slices, %d full", used, st.Bytes, st.MaxBytes, st.Live, st.Slices, full)
			assert.Positive(t, full)
			assert.LessOrEqual(t, st.Bytes, st.MaxBytes)
			assert.Greater(t, st.Bytes, st.MaxBytes*8/10)
			assert.InDelta(t, st.Bytes, used, 0.15*float64(st.Bytes))
			assert.LessOrEqual(t, used, st.MaxBytes+64<<10)
			runtime.KeepAlive(m)
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc)
}

func TestNoAllocations(t *testing.T) {
	clock := newClock()
	m := newMemory(t, clock, MemoryConfig{MaxBytes: 16 << 20})
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
