package replay_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/verify/replay"
)

func TestStatusString(t *testing.T) {
	assert.Equal(t, "status(0)", replay.Status(0).String())
	assert.Equal(t, "admitted", replay.Admitted.String())
	assert.Equal(t, "already_used", replay.AlreadyUsed.String())
	assert.Equal(t, "clock_behind", replay.ClockBehind.String())
	assert.Equal(t, "status(8)", (replay.ClockBehind + 1).String())
	seen := map[string]bool{}
	for s := replay.Admitted; s <= replay.ClockBehind; s++ {
		assert.False(t, seen[s.String()], s.String())
		seen[s.String()] = true
	}
}
