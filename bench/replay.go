package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/localtier"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

// claims is an open store, or a floor.
type claims struct {
	spend func(ctx context.Context, c replay.Claim) (admitted bool, err error)
	size  func() (bytes, live float64) // nil for a floor
	cpu   func() (float64, error)      // CPU time of the server so far in µs; nil for others
	end   func()
}

// contender is a replay store, or a floor.
type contender struct {
	name string
	open func() (*claims, error) // empty

	alone, together, again []float64 // claims a second: of one goroutine, of many, of replays by many
	bytes                  []float64 // a live nonce
	cpu                    []float64 // of the server, µs a claim of many
}

// goroutines is the number of goroutines that claim together.
const goroutines = 64

// mostClaims bounds a measurement, and so the memory of the floors.
const mostClaims = 500_000

// replayTable measures the replay stores beside their floors.
func (b *bench) replayTable(emit func(*table) error) error {
	t := &table{
		Name: "replay", Title: "The replay stores",
		Columns: []string{
			"store", "claims/s, alone", fmt.Sprintf("claims/s, %d goroutines", goroutines), "replays/s", "bytes a live nonce",
			"server CPU µs", "floor", "of floor, alone", "of floor, together",
		},
	}
	t.note("A floor does the bare operation without the store's promises: an insertion into a locked map, a write with " +
		"fsync by each goroutine in turn, SET NX, INSERT … ON CONFLICT DO NOTHING. The bytes are memory, and for " +
		"PostgreSQL disk space. Redis has appendfsync always, PostgreSQL has fsync on. The server " +
		"CPU is Redis's for a claim of many: Redis " +
		"runs all claims on one core, so a million divided by this time is the most that a server takes a second.")
	pairs, missing := b.contenders()
	for _, m := range missing {
		t.note("%s", m)
	}
	for i := range b.rounds + 1 {
		for _, p := range pairs {
			b.progress("replay: round %d of %d, %s", i+1, b.rounds+1, p[0].name)
			for k := range p {
				if err := p[(i+k)%2].measure(b.time, i == 0); err != nil {
					return err
				}
			}
		}
	}
	for _, p := range pairs {
		ours, floor := p[0], p[1]
		t.row(ours.name, median(ours.alone), median(ours.together), median(ours.again), median(ours.bytes),
			median(ours.cpu), floor.name, ratio(ours.alone, floor.alone), ratio(ours.together, floor.together))
	}
	return emit(t)
}

// measure claims nonces in an empty store. The results of a warm-up are dropped.
func (x *contender) measure(limit time.Duration, warm bool) error {
	s, err := x.open()
	if err != nil {
		return fmt.Errorf("%s: %w", x.name, err)
	}
	defer s.end()
	size := s.size
	if size == nil {
		size = func() (float64, float64) { return 0, 0 }
	}
	bytes, live := size()
	seed := rand.Uint64()
	var made atomic.Uint64
	fresh := func() uint64 { return made.Add(1) }
	issued := time.Now().Add(time.Second) // after the store's epoch; a replay has the times of its ticket
	alone, err1 := s.rate(1, limit, issued, seed, fresh, true)
	single := made.Load()
	cpu := s.cpu
	if cpu == nil {
		cpu = func() (float64, error) { return math.NaN(), nil }
	}
	cpuBefore, err4 := cpu()
	together, err2 := s.rate(goroutines, limit, issued, seed, fresh, true)
	cpuAfter, err5 := cpu()
	used := made.Load()
	again, err3 := s.rate(goroutines, limit/2, issued, seed,
		func() uint64 { return 1 + made.Add(1)%min(used, 1000) }, false)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return fmt.Errorf("%s: %w", x.name, err)
	}
	after, liveAfter := size()
	if !warm {
		x.alone, x.together, x.again = append(x.alone, alone), append(x.together, together), append(x.again, again)
		x.cpu = append(x.cpu, (cpuAfter-cpuBefore)/float64(used-single))
		if liveAfter > live {
			x.bytes = append(x.bytes, (after-bytes)/(liveAfter-live))
		}
	}
	return nil
}

// rate claims nonces in n goroutines, and returns the claims a second. next returns the
// number of the next nonce.
func (s *claims) rate(
	n int, limit time.Duration, issued time.Time, seed uint64, next func() uint64, fresh bool,
) (float64, error) {
	var wg sync.WaitGroup
	var done, refused atomic.Int64
	errs := make([]error, n)
	start := time.Now()
	expires := issued.Add(5 * time.Minute)
	for g := range n {
		wg.Go(func() {
			ctx := context.Background()
			for i := 0; ; i++ {
				// Looking at the clock takes longer than some claims.
				if i%16 == 0 && time.Since(start) > limit || i >= mostClaims/n {
					done.Add(int64(i))
					return
				}
				c := replay.Claim{
					Issued: issued, NotBefore: issued, Expires: expires, RetainUntil: expires.Add(time.Minute),
				}
				number := next()
				binary.LittleEndian.PutUint64(c.Nonce[:], seed^number*0x9e3779b97f4a7c15)
				binary.LittleEndian.PutUint64(c.Nonce[8:], number)
				admitted, err := s.spend(ctx, c)
				if admitted && !fresh {
					err = fmt.Errorf("nonce %d is admitted twice", number)
				}
				if !admitted && fresh {
					refused.Add(1)
				}
				if err != nil {
					errs[g] = err
					return
				}
			}
		})
	}
	wg.Wait()
	// A Bloom filter may refuse one of a million.
	if r := refused.Load(); r > 2 && fresh {
		return 0, fmt.Errorf("%d new nonces of %d were refused", r, done.Load())
	}
	return float64(done.Load()) / time.Since(start).Seconds(), errors.Join(errs...)
}

// contenders returns the stores, each with its floor, and the reasons for missing stores.
func (b *bench) contenders() (all [][2]*contender, missing []string) {
	all = append(all,
		[2]*contender{{name: "memory", open: managed(func(ctx context.Context) (replay.Managed, error) {
			return memory.Open(ctx, memory.Config{NoBarrier: true})
		})}, {name: "a locked map", open: func() (*claims, error) { return lockedMap(), nil }}},
		[2]*contender{{name: "journal", open: managed(func(ctx context.Context) (replay.Managed, error) {
			dir, err := os.MkdirTemp(b.dir, "journal-")
			if err != nil {
				return nil, err
			}
			return journal.Open(ctx, journal.Config{Dir: filepath.Join(dir, "journal"), Log: slog.New(slog.DiscardHandler)})
		})}, {name: "fsync", open: b.fsync}})
	if url, err := b.host.redis(); err != nil {
		missing = append(missing, fmt.Sprintf("Redis is left out: %v.", err))
	} else {
		open := func(ctx context.Context) (replay.Managed, error) {
			return redisstore.Open(ctx, redisstore.Config{
				URL: url, Durable: true, Realm: fmt.Sprint(rand.Uint64()), Timeout: patience,
			})
		}
		timed := func(open func() (*claims, error)) func() (*claims, error) {
			return func() (*claims, error) {
				c, err := open()
				if err == nil {
					c.cpu = redisCPU(url)
				}
				return c, err
			}
		}
		floor := func() *contender { return &contender{name: "SET NX", open: setNX(url)} }
		all = append(all, [2]*contender{{name: "Redis", open: timed(managed(open))}, floor()},
			[2]*contender{{name: "localtier, Redis", open: managed(func(ctx context.Context) (replay.Managed, error) {
				shared, err := open(ctx)
				if err != nil {
					return nil, err
				}
				return localtier.Open(ctx, localtier.Config{Store: shared})
			})}, floor()})
	}
	if url, err := b.host.postgres(); err != nil {
		missing = append(missing, fmt.Sprintf("PostgreSQL is left out: %v.", err))
	} else {
		all = append(all, [2]*contender{{name: "PostgreSQL", open: managed(func(ctx context.Context) (replay.Managed, error) {
			return pgstore.Open(ctx, pgstore.Config{URL: url, Realm: fmt.Sprint(rand.Uint64()), Timeout: patience})
		})}, {name: "INSERT", open: insert(url)}})
	}
	return all, missing
}
