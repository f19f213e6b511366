package verify

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/memory"
)

// clock is a clock that tests set.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ns.Store(time.Date(2025, 1, 19, 14, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) step(d time.Duration) { c.ns.Add(int64(d)) }
func (c *clock) ahead(d time.Duration) func() time.Time {
	return func() time.Time { return c.now().Add(d) }
}

func newStore(t testing.TB, now func() time.Time) *memory.Store {
	t.Helper()
	m, err := memory.Open(t.Context(), memory.Config{MaxBytes: 4 << 20, NoBarrier: true, Now: now})
	require.NoError(t, err)
	return m
}

func newKeys(t testing.TB) *token.Keyset {
	t.Helper()
	k, err := token.NewKeyset(newHandle(t))
	require.NoError(t, err)
	return k
}

// newHandle returns a keyset of three keys.
func newHandle(t testing.TB) *keyset.Handle {
	t.Helper()
	m := keyset.NewManager()
	for range 3 {
		id, err := m.Add(aead.AES256GCMKeyTemplate())
		require.NoError(t, err)
		require.NoError(t, m.SetPrimary(id))
	}
	h, err := m.Handle()
	require.NoError(t, err)
	return h
}

// world is an issuer and a verifier on one clock.
type world struct {
	*clock
	keys   *token.Keyset
	store  replay.Store
	issuer *token.Issuer
	config Config
	*Verifier
}

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{clock: newClock(), keys: newKeys(t)}
	w.store = newStore(t, w.now)
	w.config = Config{Opener: w.keys, Realm: "r", Brands: []string{"commbox"}, Store: w.store, Skew: Skew, Now: w.now}
	if change != nil {
		change(&w.config)
	}
	w.issuer = w.issuerAt(t, w.now)
	w.Verifier = w.verifier(t, w.config)
	return w
}

func (w *world) issuerAt(t testing.TB, now func() time.Time) *token.Issuer {
	t.Helper()
	i, err := token.NewIssuer(token.Config{Sealer: w.keys, Realm: "r", MaxLifetime: 24 * time.Hour, Now: now})
	require.NoError(t, err)
	return i
}

func (w *world) verifier(t testing.TB, c Config) *Verifier {
	t.Helper()
	v, err := New(c)
	require.NoError(t, err)
	return v
}

func (w *world) issue(t testing.TB, change func(*token.Ticket)) string {
	t.Helper()
	return issueBy(t, w.issuer, change)
}

func issueBy(t testing.TB, i *token.Issuer, change func(*token.Ticket)) string {
	t.Helper()
	tk := &token.Ticket{Audience: token.Agent, OneTime: true, Brand: "commbox", Username: "john.d"}
	if change != nil {
		change(tk)
	}
	s, err := i.Issue(tk)
	require.NoError(t, err)
	return s
}

var agent = Use{Audience: token.Agent}

func customerTicket(tk *token.Ticket) {
	tk.Audience, tk.Username, tk.Email = token.Customer, "", "jane@example.com"
}

func reasonOf(t testing.TB, err error) Reason {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	return e.Reason
}

func (w *world) want(t *testing.T, reason Reason, ticket string, use Use) {
	t.Helper()
	wantFrom(t, w.Verifier, reason, ticket, use)
}

// wantFrom redeems, and wants a reason; "" is success.
func wantFrom(t *testing.T, v *Verifier, reason Reason, ticket string, use Use) {
	t.Helper()
	tk, err := v.Redeem(t.Context(), ticket, use)
	if reason == "" {
		require.NoError(t, err)
		assert.Equal(t, "commbox", tk.Brand)
		return
	}
	require.Error(t, err)
	assert.Equal(t, reason, reasonOf(t, err))
	assert.Zero(t, tk, "nothing usable comes with an error")
}
