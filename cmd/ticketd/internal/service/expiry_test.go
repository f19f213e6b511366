package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/servers"
)

// Each API key that ends within 30 days is in the log once a day until the end, and in the
// numbers; a key that was replaced with a grace, too. Others are not.
func TestExpiring(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return t.TempDir() + "/directory.db" },
		"postgres": func(t *testing.T) string { return servers.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remind(t, open(t))
		})
	}
}

func remind(t *testing.T, dsn string) {
	ctx := t.Context()
	const day = 24 * time.Hour
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	db, err := directory.Open(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	db.SetClock(clock)
	add := func(expires time.Time) string {
		t.Helper()
		bearer, err := db.CreateAPIKey(ctx, directory.APIKey{
			Scopes: []directory.Scope{directory.ScopeIssue}, AllBrands: true, Expires: expires})
		require.NoError(t, err)
		return directory.APIKeyID(bearer)
	}
	soon, later, never := add(now.Add(36*time.Hour)), add(now.Add(31*day)), add(time.Time{})
	revoked, ended := add(now.Add(day)), add(now.Add(time.Minute))
	require.NoError(t, db.RevokeAPIKey(ctx, revoked))
	now = now.Add(time.Minute)

	var b bytes.Buffer
	fault := error(nil)
	e := expiring{now: clock, log: slog.New(slog.NewTextHandler(&b, nil)),
		list: func(ctx context.Context, now time.Time, limit int) ([]directory.APIKey, error) {
			if fault != nil {
				return nil, fault
			}
			return db.ExpiringAPIKeys(ctx, now, limit)
		}}
	lines := func() string {
		t.Helper()
		b.Reset()
		err := e.look(ctx)
		assert.Equal(t, fault, err)
		return b.String()
	}
	counts := func() (all [3]int) {
		for i, days := range []time.Duration{1, 7, 30} {
			n, ok := e.within(days * day)
			assert.True(t, ok)
			all[i] = n
		}
		return all
	}
	_, ok := e.within(day)
	assert.False(t, ok, "nobody knows yet")
	first := lines()
	assert.Equal(t, 1, strings.Count(first, "\n"), first)
	assert.Contains(t, first, "api_key="+soon+" expires=2030-01-03T00:00:00.000Z days_left=1")
	assert.Equal(t, [3]int{0, 1, 1}, counts())
	now = now.Add(day - time.Minute)
	second := lines()
	assert.Contains(t, second, "api_key="+later, "30 days before the end")
	assert.NotContains(t, second, soon, "once a day")
	assert.Equal(t, [3]int{1, 1, 2}, counts())
	now = now.Add(time.Minute)
	assert.Contains(t, lines(), "api_key="+soon, "the next day")
	assert.Empty(t, lines())

	_, err = db.ReplaceAPIKey(ctx, never, 7*day)
	require.NoError(t, err)
	third := lines()
	assert.Contains(t, third, "api_key="+never, "a replaced key ends")
	assert.Contains(t, third, "days_left=7")
	assert.Equal(t, [3]int{1, 2, 3}, counts())

	fault = errors.New("away")
	now = now.Add(day)
	assert.Empty(t, lines())
	assert.Equal(t, [3]int{0, 1, 2}, counts(), "what was known, by the present clock")
	fault = nil
	require.NoError(t, db.RevokeAPIKey(ctx, later))
	assert.NotContains(t, lines(), later)
	assert.NotContains(t, b.String(), ended)
	assert.Equal(t, [3]int{0, 1, 1}, counts())
}
