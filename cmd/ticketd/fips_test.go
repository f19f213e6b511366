package main

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The service makes its keyrings, issues and redeems under GODEBUG=fips140=only.
func TestFIPSOnly(t *testing.T) {
	t.Parallel()
	p, info := startDemoWith(t, []string{"GODEBUG=fips140=only"}, "--data", t.TempDir(), "--listen", freeAddress(t))
	healthy(t, p, info.URL)
	ticket := info.ticket(t, info.request(true))
	status, _, err := enter(info.LoginURL, ticket)
	require.NoError(t, err)
	assert.Equal(t, http.StatusSeeOther, status)
	status, _, err = enter(info.LoginURL, ticket)
	require.NoError(t, err)
	assert.Equal(t, http.StatusForbidden, status)
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}
