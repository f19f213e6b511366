package memory

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
)

// benchTicket spreads expiry over five minutes, as steady traffic does.
func benchTicket(n uint64) replay.Claim {
	return ticket(n, start, lifetime+time.Duration(cache.Mix(n)%300)*time.Second, skew)
}

// BenchmarkLatency reports how long single claims take: while the cache
// fills, when it is full, and while a full one's windows expire.
func BenchmarkLatency(b *testing.B) {
	for _, phase := range []string{"filling", "full", "expiring"} {
		b.Run(phase, func(b *testing.B) {
			ctx := context.Background()
			clock := claimtest.NewClock()
			m := newMemory(b, clock, Config{})
			n := uint64(0)
			fresh := func() replay.Claim {
				n++
				c := benchTicket(n)
				moved := clock.Now().Sub(start)
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
					clock.Step(time.Millisecond)
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
			st := stats(b, m)
			b.ReportMetric(float64(st.Answers[replay.Full]), "full")
		})
	}
}
