package issuers

import (
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// A source is a list that tests change.
type source struct {
	atomic.Pointer[[]directory.IssuerEntry]
}

func (s *source) Entries() []directory.IssuerEntry { return *s.Load() }

func (s *source) set(all ...directory.IssuerEntry) { s.Store(&all) }

// A Register writes what its source says, in order, also after an outage of the directory, and
// a denial counts in this service at once.
func TestRegister(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.db")
	db, err := directory.Open(t.Context(), path)
	require.NoError(t, err)
	defer db.Close()
	gone, err := directory.Open(t.Context(), filepath.Join(t.TempDir(), "directory.db"))
	require.NoError(t, err)
	require.NoError(t, gone.Close())

	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	now := start
	with := directory.IssuerEntry{Name: "acme", Brands: []string{"acme"}}
	denied := with
	denied.Denied = true
	beta := directory.IssuerEntry{Name: "beta"}
	list := new(source)
	list.set(with, beta)
	r := NewRegister(RegisterConfig{
		Name: "a", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	r.Look() // too early
	require.Error(t, r.Start(t.Context(), gone, list), "a service that cannot note its issuers does not start")
	assert.Zero(t, r.Ended("acme"))
	r.Look() // the same again

	now = now.Add(time.Minute)
	list.set(denied, beta)
	r.Look()
	assert.Equal(t, now, r.Ended("acme"))
	assert.Zero(t, r.Ended("beta"))
	now = now.Add(time.Minute)
	list.set(with, beta)
	r.Look()
	assert.Equal(t, start.Add(time.Minute), r.Ended("acme"))
	list.set(with)
	r.Look()
	assert.Equal(t, now, r.Ended("beta"))
	r.Used(&token.Ticket{Issuer: "acme", KeyID: 1}, now)
	r.Used(&token.Ticket{Issuer: "acme", KeyID: 1}, start)
	r.Used(&token.Ticket{Issuer: "acme", KeyID: 1, SigningKey: 2}, start)
	r.Used(&token.Ticket{KeyID: 1}, now)
	require.Error(t, r.Write(t.Context()))

	r.directory = db
	require.NoError(t, r.Write(t.Context()))
	all, err := db.Issuers(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, with, all[0].IssuerEntry)
	assert.Equal(t, now, all[0].SessionsSince, "the return ends what began before")
	assert.Equal(t, now, all[0].LastUsed)
	assert.Equal(t, []directory.KeyUse{{ID: "00000001", LastUsed: now}, {ID: "00000002", LastUsed: start}}, all[0].KeyUses)
	page, err := db.Events(t.Context(), directory.EventFilter{Action: "issuer."}, "", 10)
	require.NoError(t, err)
	var got []string
	for _, e := range page.Events {
		got = append(got, e.Action+" "+e.Name)
	}
	assert.Equal(t, []string{
		"issuer.remove beta", "issuer.set acme", "issuer.set acme", "issuer.add beta", "issuer.add acme",
	}, got)

	var none *Register
	none.Look()
	none.Used(&token.Ticket{Issuer: "acme"}, now)
	assert.Zero(t, none.Ended("acme"))
	assert.NoError(t, none.Write(t.Context()))
}

// A running Register writes by itself, and the rest when it is closed.
func TestRegisterRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := directory.Open(t.Context(), filepath.Join(t.TempDir(), "directory.db"))
		require.NoError(t, err)
		defer db.Close()
		list := new(source)
		list.set(directory.IssuerEntry{Name: "acme"})
		r := NewRegister(RegisterConfig{
			Name: "a", Now: time.Now, Log: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, r.Start(t.Context(), db, list))
		used := func() time.Time {
			all, err := db.Issuers(t.Context())
			require.NoError(t, err)
			return all[0].LastUsed
		}
		first := time.Now().UTC()
		r.Used(&token.Ticket{Issuer: "acme", KeyID: 1}, first)
		time.Sleep(writeEvery + time.Second)
		synctest.Wait()
		assert.Equal(t, first, used())

		// Longer than a silent service counts: this one is not silent.
		other := NewRegister(RegisterConfig{
			Name: "b", Now: time.Now, Log: slog.New(slog.DiscardHandler),
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.NoError(t, other.Start(t.Context(), db, new(Both)))
		require.NoError(t, other.Close())
		since, err := db.IssuerSessionsSince(t.Context(), "acme")
		require.NoError(t, err)
		assert.Zero(t, since)

		last := time.Now().UTC()
		r.Used(&token.Ticket{Issuer: "acme", KeyID: 2}, last)
		require.NoError(t, r.Close())
		assert.Equal(t, last, used())
	})
}
