//go:build unix

package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

const callers = 64

// fromCallers divides b.N calls among the callers.
func fromCallers(b *testing.B, call func()) {
	var n atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for n.Add(1) <= int64(b.N) {
				call()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// BenchmarkClaim measures a claim of 64 callers, on one server, beside the bare
// client sending the same statement, and beside the nearest plain command. The
// metric x-bare is the ratio to the line before.
func BenchmarkClaim(b *testing.B) {
	server := servers.Redis(b, "", servers.Forgetful...)
	measure := func(name string, call func(), bare float64) (perOp float64) {
		b.Run(name, func(b *testing.B) {
			fromCallers(b, call)
			perOp = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if bare > 0 {
				b.ReportMetric(perOp/bare, "x-bare")
			}
		})
		return perOp
	}
	claims := func(config Config) func() {
		config.URL, config.Timeout = server.URL, 10*time.Second
		s := open(b, config)
		settle(b, s)
		return func() {
			c := ticket()
			if a, err := s.Claim(context.Background(), c); err != nil || a.Repeated {
				b.Error(a, err)
			}
		}
	}
	// The bare client has the options that suit it, and no time-out.
	bare, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Address}, DisableCache: true})
	require.NoError(b, err)
	b.Cleanup(bare.Close)
	statement := func(fence string) func() {
		sha, err := bare.Do(context.Background(), bare.B().ScriptLoad().Script(script).Build()).ToString()
		require.NoError(b, err)
		epoch := newKeys("bare").epoch[0]
		return func() {
			var nonce [16]byte
			_, _ = rand.Read(nonce[:])
			now := time.Now()
			err := bare.Do(context.Background(), bare.B().Evalsha().Sha1(sha).Numkeys(2).
				Key("admitone:1:{00/bare}:"+hex.EncodeToString(nonce[:]), epoch).
				Arg(fence, strconv.FormatInt(now.UnixMicro(), 10), "0", "0123456789abcdef", doClaim,
					strconv.FormatInt(now.UnixMicro(), 10), strconv.FormatInt(now.Add(lifetime).UnixMicro(), 10),
					"", "").Build()).Error()
			if err != nil {
				b.Error(err)
			}
		}
	}
	for _, durable := range []bool{false, true} {
		fence, name := "1", "fence"
		if durable {
			fence, name = "0", "durable"
		}
		floor := measure(name+"/bare", statement(fence), 0)
		measure(name+"/store", claims(Config{Durable: durable}), floor)
	}
	measure("set-nx/bare", func() {
		var nonce [16]byte
		_, _ = rand.Read(nonce[:])
		err := bare.Do(context.Background(), bare.B().Set().Key("admitone:1:{00/set}:"+hex.EncodeToString(nonce[:])).Value("1").
			Nx().PxatMillisecondsTimestamp(time.Now().Add(lifetime).UnixMilli()).Build()).Error()
		if err != nil {
			b.Error(err)
		}
	}, 0)
}
