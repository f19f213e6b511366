package service

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

func TestMain(m *testing.M) {
	code := m.Run()
	servers.End()
	os.Exit(code)
}

// The name of a store that is logged and kept says where the store is, and holds no secret.
func TestReplayName(t *testing.T) {
	for uri, want := range map[string]string{
		"memory":   "memory",
		"journal:": "journal:",
		"journal:/var/lib/ticketd/replay?password": "journal:/var/lib/ticketd/replay?password",
		"redis://cache:6379/2":                     "redis://cache:6379/2",
		"rediss://u:secret@cache?client_cert=k":    "rediss://cache",
		"valkey://:secret@a:1?addr=b:2#secret":     "valkey://a:1",
		"postgres://u:secret@h1:1,h2:2/db":         "postgres://h1:1,h2:2/db",
		"postgres:///db?host=/run&password=secret": "postgres:///db",
		"postgresql://?password=secret":            "postgresql://",
	} {
		r := Replay{URI: uri}
		require.NotEmpty(t, r.Kind(), uri)
		assert.Equal(t, want, r.Name(), uri)
	}
}

// hung is a store whose server or disk never answers.
type hung struct{ replay.Store }

func (hung) Claim(ctx context.Context, _ replay.Claim) (replay.Answer, error) {
	<-ctx.Done()
	return replay.Answer{}, replay.Unavailable(ctx.Err())
}

// A store that hangs, of any kind, holds up a claim for less than the grace: a client that
// waits for as long as Retry-After says can still ask for the first answer.
//
// trap R40
func TestClaimsEndWithinTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, err := (&inTime{Store: hung{}}).Claim(t.Context(), replay.Claim{})
		require.ErrorIs(t, err, replay.ErrUnavailable)
		assert.Equal(t, api.ClaimTime, time.Since(begin))
	})
	assert.Less(t, api.ClaimTime+5*time.Second, replay.Grace, "Retry-After is 5")
}

// The log tells of a store that is another, or has lost its past, and of nothing else.
//
// trap R30
func TestTellOfAmnesia(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	data := t.TempDir()
	// serve opens the data folder with a store, as a start of the service does.
	serve := func(uri string) string {
		t.Helper()
		b.Reset()
		place := state.Place{Data: data}
		r := Replay{URI: uri}
		s, err := r.open(t.Context(), place, false, metrics.New(), log)
		require.NoError(t, err)
		_, _, err = place.ResumeReplay(r.record(s), 0, time.Now(), log)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		return b.String()
	}
	journal := filepath.Join(data, "replay")
	assert.Empty(t, serve("journal:"), "the first start")
	assert.Empty(t, serve("journal:"), "it is as it was")
	require.NoError(t, os.RemoveAll(journal))
	assert.Contains(t, serve("journal:"), `level=WARN msg="the replay store has lost what it knew`)
	assert.Empty(t, serve("journal:"), "it is told once")

	// Restored from a copy.
	require.NoError(t, os.CopyFS(journal+".copy", os.DirFS(journal)))
	require.NoError(t, os.RemoveAll(journal))
	require.NoError(t, os.Rename(journal+".copy", journal))
	assert.Contains(t, serve("journal:"), "the replay store has lost what it knew")

	assert.Contains(t, serve("memory"), `level=WARN msg="another replay store than before is in use`)
	assert.Empty(t, serve("memory"), "that it forgets is what a memory is")

	database := servers.Database(t)
	assert.Contains(t, serve(database), "another replay store")
	assert.Empty(t, serve(database))
	conn, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "TRUNCATE admitone_replay.claims")
	require.NoError(t, err)
	assert.Contains(t, serve(database), "the replay store has lost what it knew")
	assert.Empty(t, serve(database))

	redis := servers.Redis(t, "", servers.Forgetful...)
	assert.Contains(t, serve(redis.URL), "another replay store")
	assert.Empty(t, serve(redis.URL))
	redis.Do("FLUSHALL")
	assert.Contains(t, serve(redis.URL), "the replay store has lost what it knew")
	assert.Empty(t, serve(redis.URL))

	// While the service runs.
	for uri, lose := range map[string]func(){
		redis.URL: func() { redis.Do("FLUSHALL") },
		database: func() {
			_, err = conn.Exec(t.Context(), "TRUNCATE admitone_replay.claims")
			require.NoError(t, err)
		},
	} {
		serve(uri)
		b.Reset()
		s := &Service{log: log, config: Config{
			Replay: Replay{URI: uri}, State: state.Place{Data: data}, Skew: time.Second,
		}, metrics: metrics.New()}
		claims, _, err := s.openReplay(t.Context(), false)
		require.NoError(t, err)
		now := time.Now()
		claim := replay.Claim{
			Nonce: [16]byte{1}, Issued: now, NotBefore: now, Expires: now.Add(time.Minute), RetainUntil: now.Add(time.Hour),
		}
		s.epochs.look()
		assert.Empty(t, b.String(), "it is as it was")
		lose()
		_, err = claims.Claim(t.Context(), claim) // which sees the loss
		require.NoError(t, err)
		s.epochs.look()
		assert.Contains(t, b.String(), `level=WARN msg="the replay store has lost what it knew`)
		b.Reset()
		s.epochs.look()
		assert.Empty(t, b.String(), "it is told once")
		require.NoError(t, s.closers[0].Close())
		assert.Empty(t, serve(uri), "also at the next start")
	}
}
