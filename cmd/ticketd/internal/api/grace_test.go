package api

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
)

// trap R40: another process holds the lock of the directory from before the claim until
// after the answer. Both answers come within the grace, at the API and at the page, with
// the record as it was found. A retry with the same binding is admitted again.
func TestLockedDirectoryDoesNotEatTheGrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "directory.db")
	w := newWorldOn(t, file)
	key := w.redeemKey("commbox")
	known := w.ticket(w.key, `{"brand":"commbox","uniqueId":"7","firstName":"Jane","oneTimeUse":true}`)
	first := w.spend(redeemPath, key, map[string]any{"ticket": known, "audience": "customer"})
	require.Equal(t, http.StatusOK, first.status, first.body)
	body := `{"brand":"commbox","uniqueId":"7","firstName":"Joan","oneTimeUse":true,"channel":"web","overrideUserInfo":true}`
	ticket, forPage := w.ticket(w.key, body), w.ticket(w.key, body)

	other, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer other.Close()
	lock, err := other.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = lock.Rollback() }()

	ask := map[string]any{"ticket": ticket, "audience": "customer", "channel": "web", "binding": strings.Repeat("b", 16)}
	begin := time.Now()
	v := w.spend(redeemPath, key, ask)
	assert.Less(t, time.Since(begin), replay.Grace, "half of the grace is left to a client on a machine that is busy")
	require.Equal(t, http.StatusOK, v.status, v.body)
	assert.Equal(t, "Jane", v.Data.Customer.FirstName)
	assert.Contains(t, w.log.String(), "customer record not updated")

	begin = time.Now()
	page := w.client().get(w.chatPath("commbox", "web") + "?ta=" + forPage)
	assert.Less(t, time.Since(begin), replay.Grace)
	assert.Equal(t, http.StatusSeeOther, page.status, page.body)

	require.NoError(t, lock.Rollback())
	v = w.spend(redeemPath, key, ask)
	require.Equal(t, http.StatusOK, v.status, v.body)
	assert.Equal(t, "Joan", v.Data.Customer.FirstName)
}
