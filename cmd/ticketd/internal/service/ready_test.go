package service

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/verify/replay"
)

// readable is a store that can be read, and written to unless full.
type readable struct {
	full   bool
	claims int
}

func (s *readable) Claim(context.Context, replay.Claim) (replay.Answer, error) {
	s.claims++
	if s.full {
		return replay.Answer{}, replay.ErrUnavailable
	}
	return replay.Answer{Status: replay.Admitted}, nil
}

func (s *readable) Peek(context.Context, replay.Claim) (replay.Answer, error) {
	return replay.Answer{Status: replay.Admitted}, nil
}

// A service whose store cannot be written to is not ready, and is ready again by itself. A
// store that works is not written to.
func TestNotReadyWhileTheStoreIsFull(t *testing.T) {
	db, err := directory.Open(t.Context(), filepath.Join(t.TempDir(), "directory.db"))
	require.NoError(t, err)
	defer db.Close()
	store := new(readable)
	claims := &inTime{Store: store}
	ready := func() bool {
		for _, check := range checks(db, claims) {
			if check.Ask(t.Context()) != nil {
				return false
			}
		}
		return true
	}
	assert.True(t, ready())
	assert.Zero(t, store.claims)
	store.full = true
	_, err = claims.Claim(t.Context(), replay.Claim{})
	require.Error(t, err)
	assert.False(t, ready())
	assert.False(t, ready())
	store.full = false
	assert.True(t, ready())
	before := store.claims
	assert.True(t, ready())
	assert.Equal(t, before, store.claims)
}
