package memory

import (
	"context"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/hashicorp/golang-lru/v2/expirable"
)

const (
	million = 1_000_000

	// retained is how long a claim of the traffic is remembered.
	retained = lifetime + 3*skew + time.Minute
)

// traffic is the nth claim of steady traffic at a rate that keeps a million
// nonces live: tickets of five minutes, redeemed as they are issued, which is
// when the clock stands at.
func traffic(n uint64) (c replay.Claim, at time.Duration) {
	at = time.Duration(n) * (retained / million)
	c = ticket(n, start.Add(at), lifetime, skew)
	binary.BigEndian.PutUint64(c.Nonce[:], cache.Mix(n))
	return c, at
}

// exactMap is 64 locked maps of nonce to the end of its retention, which keep
// every nonce and never drop one.
type exactMap struct {
	shards [64]struct {
		mu   sync.Mutex
		used map[[16]byte]int64
		_    [48]byte // apart from the next lock
	}
}

func newExactMap() *exactMap {
	m := new(exactMap)
	for i := range m.shards {
		m.shards[i].used = make(map[[16]byte]int64)
	}
	return m
}

func (m *exactMap) Claim(_ context.Context, c replay.Claim) (replay.Answer, error) {
	s := &m.shards[c.Nonce[0]%64]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.used[c.Nonce]; ok {
		return replay.Answer{Status: replay.AlreadyUsed}, nil
	}
	s.used[c.Nonce] = c.RetainUntil.UnixNano()
	return replay.Answer{Status: replay.Admitted}, nil
}

// syncMap is sync.Map, which keeps every nonce and never drops one.
type syncMap struct{ used sync.Map }

func (m *syncMap) Claim(_ context.Context, c replay.Claim) (replay.Answer, error) {
	if _, ok := m.used.LoadOrStore(c.Nonce, c.RetainUntil.UnixNano()); ok {
		return replay.Answer{Status: replay.AlreadyUsed}, nil
	}
	return replay.Answer{Status: replay.Admitted}, nil
}

// lruCache is an expirable LRU with a lock that makes one step of looking and
// spending. At its size it forgets who came first, admits them again, and so is
// not safe: it is here for its cost.
type lruCache struct {
	mu   sync.Mutex
	used *expirable.LRU[[16]byte, int64]
}

func (l *lruCache) Claim(_ context.Context, c replay.Claim) (replay.Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used.Contains(c.Nonce) {
		return replay.Answer{Status: replay.AlreadyUsed}, nil
	}
	l.used.Add(c.Nonce, c.RetainUntil.UnixNano())
	return replay.Answer{Status: replay.Admitted}, nil
}

// A rival is a way to remember nonces.
type rival struct {
	name string
	open func() claimer // empty
	full func() claimer // bounded, so that it is full with about a million
}

type claimer interface {
	Claim(context.Context, replay.Claim) (replay.Answer, error)
}

func rivals(b *testing.B, clock *claimtest.Clock) []rival {
	memory := func(maxBytes int64) func() claimer {
		return func() claimer {
			clock.Set(start)
			return newMemory(b, clock, Config{MaxBytes: maxBytes})
		}
	}
	exact := func() claimer { return newExactMap() }
	anyMap := func() claimer { return new(syncMap) }
	lru := func() claimer { return &lruCache{used: expirable.NewLRU[[16]byte, int64](million, nil, retained)} }
	return []rival{
		{"memory", memory(0), memory(5 * million)},
		{"map-64-shards", exact, exact},
		{"sync.Map", anyMap, anyMap},
		{"expirable-LRU", lru, lru},
	}
}

// closeClaimer lets go of what the collector cannot: an expirable.LRU has a
// goroutine that never ends.
func closeClaimer(c claimer) {
	if l, ok := c.(*lruCache); ok {
		l.used.Purge()
	}
}

// claimAll claims the tickets from one number to another in as many goroutines
// as are asked for, each of them every so manyth.
func claimAll(b *testing.B, s claimer, clock *claimtest.Clock, from, to uint64, goroutines int) {
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			ctx := context.Background()
			for n := from + uint64(g); n < to; n += uint64(goroutines) {
				c, at := traffic(n)
				clock.Set(start.Add(at))
				if _, err := s.Claim(ctx, c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkCompare sets Memory, as it is by default, beside other ways to
// remember nonces, all under the same traffic of fresh tickets. "alone" and
// "parallel" fill them from empty to a million live nonces, again and again,
// from one goroutine and from one per CPU; B/nonce is what the heap grows by
// from before there is a store until it has a million live nonces, over their
// number. "full" times single claims, at a million live ones, of a store that
// is full with them where it has a bound.
//
//	go test -run '^$' -bench Compare ./verify/replay/memory
func BenchmarkCompare(b *testing.B) {
	clock := claimtest.NewClock()
	for _, r := range rivals(b, clock) {
		b.Run("alone/"+r.name, func(b *testing.B) {
			b.ReportAllocs()
			fillAndRefill(b, r, clock, 1)
			b.ReportMetric(bytesPerNonce(b, r, clock), "B/nonce")
		})
		b.Run("parallel/"+r.name, func(b *testing.B) { fillAndRefill(b, r, clock, runtime.GOMAXPROCS(0)) })
		b.Run("full/"+r.name, func(b *testing.B) { latency(b, r, clock) })
	}
}

func fillAndRefill(b *testing.B, r rival, clock *claimtest.Clock, goroutines int) {
	for done := 0; done < b.N; done += million {
		b.StopTimer()
		s := r.open()
		runtime.GC()
		b.StartTimer()
		claimAll(b, s, clock, 0, uint64(min(million, b.N-done)), goroutines)
		b.StopTimer()
		closeClaimer(s)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
}

func bytesPerNonce(b *testing.B, r rival, clock *claimtest.Clock) float64 {
	before := claimtest.HeapInUse()
	s := r.open()
	claimAll(b, s, clock, 0, million, 1)
	used := claimtest.HeapInUse() - before
	closeClaimer(s)
	return float64(used) / million
}

func latency(b *testing.B, r rival, clock *claimtest.Clock) {
	s := r.full()
	claimAll(b, s, clock, 0, million, 1)
	runtime.GC()
	ctx := context.Background()
	took := make([]time.Duration, b.N)
	refused := 0
	b.ResetTimer()
	for i := range took {
		c, at := traffic(million + uint64(i))
		clock.Set(start.Add(at))
		begin := time.Now()
		a, err := s.Claim(ctx, c)
		took[i] = time.Since(begin)
		if err != nil {
			b.Fatal(err)
		}
		if a.Status == replay.Full {
			refused++
		}
	}
	b.StopTimer()
	closeClaimer(s)
	slices.Sort(took)
	for name, q := range map[string]float64{"p50-ns": .5, "p99.99-ns": .9999, "max-ns": 1} {
		b.ReportMetric(float64(took[int(q*float64(len(took)-1))]), name)
	}
	b.ReportMetric(100*float64(refused)/float64(b.N), "%full")
}
