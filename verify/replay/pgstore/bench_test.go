package pgstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// bareSQL is the statement that a store of the plainest kind would send.
const bareSQL = `INSERT INTO bare (realm, nonce, issued, expires, retain_until, first_used, binding)
	VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`

// BenchmarkClaim claims fresh nonces from 1 to 256 callers, and sends the bare
// INSERT … ON CONFLICT DO NOTHING of the same row on 16 connections, by turns; it
// reports what each takes, and the ratio of the two.
func BenchmarkClaim(b *testing.B) {
	for _, mode := range []string{"exec", "cache_statement"} {
		for _, callers := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", mode, callers), func(b *testing.B) {
				url := servers.Database(b) + "&default_query_exec_mode=" + mode
				s := open(b, url)
				exec1(b, url, "CREATE TABLE bare (LIKE admitone_replay.claims INCLUDING ALL)")
				config, err := pgxpool.ParseConfig(url)
				require.NoError(b, err)
				config.MaxConns = 16
				bare, err := pgxpool.NewWithConfig(context.Background(), config)
				require.NoError(b, err)
				defer bare.Close()

				ctx := context.Background()
				claim := func() error {
					a, err := s.Claim(ctx, fresh())
					if err == nil && a.Status != replay.Admitted {
						err = fmt.Errorf("%+v", a)
					}
					return err
				}
				insert := func() error {
					c := fresh()
					tag, err := bare.Exec(ctx, bareSQL, s.realm, c.Nonce[:], c.Issued.UnixMilli(), c.Expires.UnixMilli(),
						c.RetainUntil.UnixMilli(), time.Now().UnixMilli(), []byte(nil))
					if err == nil && tag.RowsAffected() != 1 {
						err = fmt.Errorf("%s", tag)
					}
					return err
				}
				const turns = 10
				var took [2]time.Duration
				b.ResetTimer()
				for turn := range turns {
					n := b.N * (turn + 1) / turns
					n -= b.N * turn / turns
					took[0] += inParallel(b, callers, n, claim)
					took[1] += inParallel(b, callers, n, insert)
				}
				b.ReportMetric(float64(took[0].Microseconds())/float64(b.N), "µs/claim")
				b.ReportMetric(float64(took[1].Microseconds())/float64(b.N), "µs/bare")
				b.ReportMetric(float64(took[0])/float64(took[1]), "ratio")
				b.ReportMetric(0, "ns/op") // it is of both together
			})
		}
	}
}

// inParallel calls f n times in all, and returns how long that took.
func inParallel(b *testing.B, callers, n int, f func() error) time.Duration {
	var next atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range callers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}
