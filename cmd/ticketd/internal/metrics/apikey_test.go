package metrics

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestWatchAPIKeys(t *testing.T) {
	m, known := New(), false
	m.WatchAPIKeys(func(d time.Duration) (int, bool) { return int(d.Hours()), known })
	assert.NotContains(t, scrape(t, m), "ticketd_api_keys_expiring")
	known = true
	text := scrape(t, m)
	for _, line := range []string{`{within="1d"} 24`, `{within="7d"} 168`, `{within="30d"} 720`} {
		assert.Contains(t, text, "ticketd_api_keys_expiring"+line)
	}
	lint(t, m)
}
