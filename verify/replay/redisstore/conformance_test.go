//go:build unix

package redisstore

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

func earliest(t *testing.T, s *Store) time.Time {
	epochs, err := s.touch(context.Background(), doTouch)
	require.NoError(t, err)
	return slices.MinFunc(epochs[:], time.Time.Compare)
}

// A server that keeps everything, killed and started again by the suite.
//
// trap R2
// trap R6
// trap R9
// trap R10
// trap R11
// trap R17
// trap R18
// trap R19
// trap R20
// trap R21
// trap R24
// trap R25
// trap R27
// trap R29
// trap R30
func TestConformance(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Durable...)
		config := Config{URL: server.URL, Realm: "prod", Durable: true, Timeout: patience}
		replaytest.Run(t, replaytest.Harness{
			Open:  func(t *testing.T) replay.Store { return open(t, config) },
			Now:   time.Now,
			Epoch: func(t *testing.T) time.Time { return earliest(t, open(t, config)) },
			Reset: func(*testing.T) { server.Do("FLUSHALL") },
			Restart: func(*testing.T) {
				server.Kill()
				server.Start()
			},
			Outage: func(*testing.T) func() {
				server.Kill()
				return server.Start
			},
			Exact: true,
		})
	})
}
