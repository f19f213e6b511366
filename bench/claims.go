package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"

	"github.com/admitone/admitone/verify/replay"
)

// managed returns a function to open a replay store for measuring.
func managed(open func(context.Context) (replay.Managed, error)) func() (*claims, error) {
	return func() (*claims, error) {
		s, err := open(context.Background())
		if err != nil {
			return nil, err
		}
		return &claims{
			spend: func(ctx context.Context, c replay.Claim) (bool, error) {
				a, err := s.Claim(ctx, c)
				switch a.Status {
				case replay.Admitted, replay.AlreadyUsed, replay.PossiblyUsed:
				default:
					if err == nil {
						err = fmt.Errorf("the answer is %s", a.Status)
					}
				}
				return a.Status == replay.Admitted, err
			},
			size: func() (bytes, live float64) {
				st, err := s.Stats(context.Background())
				if err != nil {
					return math.NaN(), math.NaN()
				}
				if bytes = float64(st.Bytes); bytes == 0 {
					bytes = float64(st.DiskBytes)
				}
				return bytes, float64(st.Live)
			},
			end: func() { _ = s.Close() },
		}, nil
	}
}

// lockedMap returns a map of all nonces, under a lock. The map never drops a nonce.
func lockedMap() *claims {
	var mu sync.Mutex
	used := make(map[[16]byte]time.Time)
	return &claims{
		spend: func(_ context.Context, c replay.Claim) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if _, ok := used[c.Nonce]; ok {
				return false, nil
			}
			used[c.Nonce] = c.RetainUntil
			return true, nil
		},
		end: func() {},
	}
}

// fsync returns a lockedMap with a file. For each new nonce, a record of the journal's size
// goes to the disk.
func (b *bench) fsync() (*claims, error) {
	f, err := os.CreateTemp(b.dir, "fsync-")
	if err != nil {
		return nil, err
	}
	known := lockedMap()
	var mu sync.Mutex
	record := make([]byte, 76)
	return &claims{
		spend: func(ctx context.Context, c replay.Claim) (bool, error) {
			if admitted, err := known.spend(ctx, c); !admitted || err != nil {
				return admitted, err
			}
			mu.Lock()
			defer mu.Unlock()
			if _, err := f.Write(record); err != nil {
				return false, err
			}
			return true, f.Sync()
		},
		end: func() { _ = f.Close() },
	}, nil
}

// setNX returns a function to connect to a Redis for bare SET NX.
func setNX(url string) func() (*claims, error) {
	return func() (*claims, error) {
		option, err := rueidis.ParseURL(url)
		if err != nil {
			return nil, err
		}
		option.DisableCache = true
		client, err := rueidis.NewClient(option)
		if err != nil {
			return nil, err
		}
		return &claims{
			spend: func(ctx context.Context, c replay.Claim) (bool, error) {
				err := client.Do(ctx, client.B().Set().Key("bench:"+hex.EncodeToString(c.Nonce[:])).Value("1").Nx().
					PxatMillisecondsTimestamp(c.RetainUntil.UnixMilli()).Build()).Error()
				if rueidis.IsRedisNil(err) {
					return false, nil
				}
				return err == nil, err
			},
			end: client.Close,
		}, nil
	}
}

// redisCPU returns a function that asks a Redis for its CPU time so far, in µs.
func redisCPU(url string) func() (float64, error) {
	return func() (float64, error) {
		option, err := rueidis.ParseURL(url)
		if err != nil {
			return 0, err
		}
		option.DisableCache = true
		client, err := rueidis.NewClient(option)
		if err != nil {
			return 0, err
		}
		defer client.Close()
		text, err := client.Do(context.Background(), client.B().Info().Section("cpu").Build()).ToString()
		if err != nil {
			return 0, err
		}
		var micros float64
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if name == "used_cpu_user_main_thread" || name == "used_cpu_sys_main_thread" {
				seconds, err := strconv.ParseFloat(value, 64)
				if err != nil {
					return 0, err
				}
				micros += seconds * 1e6
			}
		}
		return micros, nil
	}
}

// insert returns a function to connect to a PostgreSQL for bare INSERT statements.
func insert(url string) func() (*claims, error) {
	return func() (*claims, error) {
		ctx := context.Background()
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return nil, err
		}
		_, err = pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS bench (nonce bytea PRIMARY KEY, until timestamptz NOT NULL)`)
		if err != nil {
			pool.Close()
			return nil, err
		}
		return &claims{
			spend: func(ctx context.Context, c replay.Claim) (bool, error) {
				tag, err := pool.Exec(ctx, `INSERT INTO bench VALUES ($1, $2) ON CONFLICT DO NOTHING`, c.Nonce[:], c.RetainUntil)
				return tag.RowsAffected() == 1, err
			},
			end: pool.Close,
		}, nil
	}
}
