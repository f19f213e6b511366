package main

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap R2: a service with a memory that is restarted with a smaller tolerance still
// refuses what it may have admitted with the larger one.
func TestSkewLowered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--skew", "10m")
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	p, info = startDemo(t, "--data", dir, "--skew", "0s")
	// As far as the service can tell its issuer may be ten minutes ahead.
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))))
	p.logs("reason=issued_before_start")
	require.Equal(t, 0, p.end(syscall.SIGTERM))
}
