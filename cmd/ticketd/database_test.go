package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/internal/servers"
)

// Services that share a directory in PostgreSQL know the same brands and keys.
func TestDatabase(t *testing.T) {
	t.Parallel()
	database := servers.Database(t)
	dir := t.TempDir()
	first, info := startDemo(t, "--data", dir, "--database", database, "--listen", freeAddress(t))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))))
	assert.Equal(t, 0, first.end(syscall.SIGTERM))
	assert.NoFileExists(t, dir+"/admitone.db")

	second := startWith(t, []string{"ADMITONE_DATABASE=" + database}, "serve", "--data", dir,
		"--listen", strings.TrimPrefix(info.URL, "http://"))
	healthy(t, second, info.URL)
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))))
	assert.Equal(t, 0, second.end(syscall.SIGTERM))

	third := startWith(t, []string{"ADMITONE_DATABASE=mysql://root:hunter2@localhost/db"}, "serve", "--data", dir,
		"--listen", strings.TrimPrefix(info.URL, "http://"))
	assert.Equal(t, exitUsage, third.wait())
	third.logs("--database is not of a database that is known")
	assert.NotContains(t, third.stderr.String(), "hunter2")
}
