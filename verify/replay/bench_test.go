package replay

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// exactMap is what Memory is measured against: 64 locked maps of nonce to
// expiry, which keep every nonce exactly and never drop one.
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

func (m *exactMap) Claim(_ context.Context, c Claim) (Answer, error) {
	s := &m.shards[c.Nonce[15]%64]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.used[c.Nonce]; ok {
		return Answer{Status: AlreadyUsed}, nil
	}
	s.used[c.Nonce] = c.RetainUntil.UnixNano()
	return Answer{Status: Admitted}, nil
}

func (m *exactMap) Peek(context.Context, Claim) (Answer, error) { panic("unused") }

// benchTicket spreads expiry over five minutes, as steady traffic does.
func benchTicket(n uint64) Claim {
	c := ticket(n, start, lifetime+time.Duration(mix(n)%300)*time.Second, skew)
	c.Nonce[0], c.Nonce[15] = byte(mix(n)), byte(mix(n)>>8)
	return c
}

func stores(b *testing.B) map[string]func() Store {
	clock := newClock()
	return map[string]func() Store{
		"memory": func() Store { return newMemory(b, clock, MemoryConfig{MaxBytes: 256 << 20}) },
		"map":    func() Store { return newExactMap() },
	}
}

// BenchmarkClaim claims fresh nonces, and reports the memory that each takes.
func BenchmarkClaim(b *testing.B) {
	for _, name := range []string{"memory", "map"} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			before := heapInUse()
			s := stores(b)[name]()
			empty := heapInUse()
			b.ReportAllocs()
			b.ResetTimer()
			for n := range uint64(b.N) {
				if _, err := s.Claim(ctx, benchTicket(n)); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(heapInUse()-empty)/float64(b.N), "bytes/nonce")
			b.ReportMetric(float64(empty-before), "bytes-empty")
			runtime.KeepAlive(s)
		})
	}
}

func BenchmarkClaimParallel(b *testing.B) {
	for _, name := range []string{"memory", "map"} {
		b.Run(name, func(b *testing.B) {
			s := stores(b)[name]()
			var n atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				ctx := context.Background()
				next := n.Add(1 << 40)
				for ; pb.Next(); next++ {
					if _, err := s.Claim(ctx, benchTicket(next)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkLatency reports how long single claims take: while the cache
// fills, when it is full, and while a full one's slices expire.
func BenchmarkLatency(b *testing.B) {
	for _, phase := range []string{"filling", "full", "expiring"} {
		b.Run(phase, func(b *testing.B) {
			ctx := context.Background()
			clock := newClock()
			m := newMemory(b, clock, MemoryConfig{})
			n := uint64(0)
			fresh := func() Claim {
				n++
				c := benchTicket(n)
				moved := clock.now().Sub(start)
				c.Expires, c.RetainUntil = c.Expires.Add(moved), c.RetainUntil.Add(moved)
				return c
			}
			if phase != "filling" {
				for range 10_000_000 {
					_, _ = m.Claim(ctx, fresh())
				}
				runtime.GC()
			}
			took := make([]time.Duration, 0, b.N)
			b.ResetTimer()
			for range b.N {
				if phase == "expiring" {
					clock.step(time.Millisecond)
				}
				c := fresh()
				begin := time.Now()
				_, err := m.Claim(ctx, c)
				took = append(took, time.Since(begin))
				if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			slices.Sort(took)
			for name, q := range map[string]float64{"p50-ns": .5, "p99-ns": .99, "p99.9-ns": .999, "max-ns": 1} {
				b.ReportMetric(float64(took[int(q*float64(len(took)-1))]), name)
			}
			st := m.Stats()
			b.ReportMetric(float64(st.Answers[Full]), "full")
		})
	}
}
