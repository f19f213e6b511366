package spelling

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNearest(t *testing.T) {
	names := []string{"oneTimeUse", "overrideUserInfo", "email"}
	for written, want := range map[string]string{
		"oneTimeUsed": "oneTimeUse", "overideUserInfo": "overrideUserInfo", "emial": "email", "meail": "email", "emlia": "", "emai": "email", "": "", "colour": "",
	} {
		assert.Equal(t, want, Nearest(written, names), written)
	}
	assert.Empty(t, Nearest("email", nil))
}
