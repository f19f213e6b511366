package state

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

// The largest tolerance that a data folder was served with is remembered.
func TestMaxSkew(t *testing.T) {
	store, err := memory.Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	p := Place{Data: t.TempDir()}
	resume := func(skew time.Duration) (time.Duration, error) {
		s := ReplayStore{Store: store, Name: "memory"}
		_, most, err := p.ResumeReplay(s, skew, time.Now(), slog.New(slog.DiscardHandler))
		return most, err
	}
	for _, row := range []struct{ skew, max time.Duration }{
		{0, 0}, // redeems its own tickets only, and always has
		{5 * time.Second, verify.Skew},
		{time.Minute + time.Microsecond, time.Minute + time.Millisecond},
		{10 * time.Second, time.Minute + time.Millisecond},
		{0, time.Minute + time.Millisecond},
	} {
		got, err := resume(row.skew)
		require.NoError(t, err)
		assert.Equal(t, row.max, got)
	}
	for _, damaged := range []string{`{"store":"memory","maxSkewMillis":-1}`, `{"store":"memory","maxSkewMillis":86400001}`, `{"maxSkewMillis":1}`} {
		require.NoError(t, os.WriteFile(p.File("replay.json"), []byte(damaged), 0o600))
		_, err := resume(0)
		assert.ErrorContains(t, err, "damaged")
	}
}
