package journal

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// fsyncRate is how often a second the disk makes one more record durable.
func fsyncRate(b *testing.B, dir string) float64 {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	record := make([]byte, recordSize)
	begun, n := time.Now(), 0
	for ; time.Since(begun) < 500*time.Millisecond; n++ {
		if _, err := f.Write(record); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(begun).Seconds()
}

// BenchmarkJournal claims fresh tickets, redeemed as they are issued, and shows
// the claims a second beside the fsyncs a second of the same disk, and those
// times the callers: the bound for claims that each wait for one fsync, shared
// or not.
//
//	go test -run '^$' -bench 'Journal$' ./verify/replay/journal
func BenchmarkJournal(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(map[int]string{1: "1", 64: "64", 256: "256"}[callers], func(b *testing.B) {
			dir := b.TempDir()
			rate := fsyncRate(b, dir)
			j, err := Open(b.Context(), Config{Dir: filepath.Join(dir, "journal")})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			issued := j.Epoch().Add(skew + time.Millisecond)
			var next atomic.Uint64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			begun := time.Now()
			for range callers {
				wg.Go(func() {
					for n := next.Add(1); n <= uint64(b.N); n = next.Add(1) {
						c := ticket(n, issued.Add(time.Since(begun)), lifetime, skew)
						if a, err := j.Claim(context.Background(), c); err != nil || a.Status != replay.Admitted {
							b.Error(a, err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			st := stats(b, j)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
			b.ReportMetric(rate, "fsyncs/s")
			b.ReportMetric(rate*float64(callers), "fsyncs*callers/s")
			b.ReportMetric(float64(b.N)/float64(st.Commits), "claims/commit")
		})
	}
}

// BenchmarkJournalReplay claims what was claimed before: it costs no disk.
func BenchmarkJournalReplay(b *testing.B) {
	j, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	c := ticket(1, j.Epoch().Add(skew+time.Millisecond), lifetime, skew)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Claim(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}
