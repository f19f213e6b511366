package api

import (
	"database/sql"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
)

// trap R40: the work after a claim has what the claim left of half the grace. Then the
// answer does not wait for a record, which is written all the same.
func TestAnswerDoesNotWaitForTheRecord(t *testing.T) {
	checked := time.Now()
	ctx, cancel := afterClaim(t.Context(), checked)
	ends, ok := ctx.Deadline()
	assert.True(t, ok)
	assert.Equal(t, checked.Add(replay.Grace/2), ends, "it counts from before the claim")
	cancel() // the claim took all the time

	file := filepath.Join(t.TempDir(), "directory.db")
	w := newWorldOn(t, file)
	s := &server{Config: Config{Directory: w.directory, Log: slog.New(slog.NewTextHandler(&w.log, nil))}}
	tk := token.Ticket{
		ID: token.ID{1}, Audience: token.Customer, Brand: "commbox", UniqueID: "7", FirstName: "Jane",
		IssuedAt: w.now(), Lifetime: time.Minute, OverrideUserInfo: true,
	}
	_, err := s.findCustomer(t.Context(), tk)
	require.NoError(t, err)
	tk.ID, tk.FirstName = token.ID{2}, "Joan"
	known, err := s.findCustomer(t.Context(), tk)
	require.NoError(t, err)
	unlock := lockDirectory(t, file)
	assert.Equal(t, "Jane", s.updateCustomer(ctx, tk, known).FirstName)
	assert.Contains(t, w.log.String(), "customer record not updated before the answer")
	unlock()
	assert.Eventually(t, func() bool {
		again, err := s.findCustomer(t.Context(), tk)
		return err == nil && again.FirstName == "Joan"
	}, time.Minute, 10*time.Millisecond)
}

// lockDirectory takes the lock of an SQLite directory, as another process does.
func lockDirectory(t *testing.T, file string) (unlock func()) {
	t.Helper()
	other, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	lock, err := other.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	return func() {
		t.Helper()
		require.NoError(t, lock.Rollback())
	}
}

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

	unlock := lockDirectory(t, file)
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

	unlock()
	v = w.spend(redeemPath, key, ask)
	require.Equal(t, http.StatusOK, v.status, v.body)
	assert.Equal(t, "Joan", v.Data.Customer.FirstName)
}
