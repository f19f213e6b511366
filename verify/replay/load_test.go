package replay_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
)

func TestLoadIsChecked(t *testing.T) {
	for _, l := range []replay.Load{
		{Rate: 0, Retain: time.Minute},
		{Rate: -1, Retain: time.Minute},
		{Rate: math.NaN(), Retain: time.Minute},
		{Rate: math.Inf(1), Retain: time.Minute},
		{Rate: 1e6 + 1, Retain: time.Minute},
		{Rate: 1, Retain: 0},
		{Rate: 1, Retain: -time.Second},
		{Rate: 1, Retain: 367 * 24 * time.Hour},
	} {
		assert.ErrorAs(t, l.Check(), new(*token.ConfigError), "%v", l)
	}
	assert.NoError(t, replay.Load{Rate: 1e6, Retain: 366 * 24 * time.Hour}.Check())
	assert.EqualValues(t, 1, replay.Load{Rate: 1e-300, Retain: 1}.Live())
}
