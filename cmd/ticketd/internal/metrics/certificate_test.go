package metrics

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestWatchCertificate(t *testing.T) {
	m := New()
	m.WatchCertificate(func() time.Time { return time.Now().Add(-time.Hour) })
	assert.Regexp(t, `(?m)^ticketd_certificate_remaining_seconds -36\d\d`, scrape(t, m))
}
