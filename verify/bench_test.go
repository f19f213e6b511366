package verify

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"

	"github.com/admitone/admitone/internal/floor"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay/memory"
)

// BenchmarkBudget measures issuing, inspecting and redeeming beside their floor: strict base64
// and the bare Tink call on the same bytes, under the same keyset of three AES-256-GCM keys.
// docs/speed.md has the budgets.
//
//	go test -run '^$' -bench Budget ./verify ./verify/web
func BenchmarkBudget(b *testing.B) {
	handle := newHandle(b)
	keys, err := token.NewKeyset(handle)
	require.NoError(b, err)
	bare, err := aead.New(handle)
	require.NoError(b, err)
	issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "prod"})
	require.NoError(b, err)
	store, err := memory.Open(b.Context(), memory.Config{NoBarrier: true, MaxBytes: 512 << 20})
	require.NoError(b, err)
	// A day's lifetime, so that no ticket expires while the benchmark runs.
	v, err := New(Config{Opener: keys, Realm: "prod", Brands: []string{"commbox"}, Store: store,
		MaxLifetime: 24 * time.Hour})
	require.NoError(b, err)
	tk := &token.Ticket{
		Audience: token.Agent, Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", UniqueID: "123456",
		FirstName: "John", LastName: "Doe", Phone1: "+442501234567",
	}
	issue := func(once bool) string {
		tk.OneTime = once
		s, err := issuer.Issue(tk)
		require.NoError(b, err)
		return s
	}
	many, once := issue(false), issue(true)
	ad, err := token.AssociatedData("prod")
	require.NoError(b, err)
	encoding := base64.RawURLEncoding.Strict()
	open := func() error {
		sealed, err := encoding.DecodeString(many[5:])
		if err == nil {
			_, err = bare.Decrypt(sealed, ad)
		}
		return err
	}
	sealed, err := encoding.DecodeString(many[5:])
	require.NoError(b, err)
	payload, err := bare.Decrypt(sealed, ad)
	require.NoError(b, err)

	b.Run("issue", func(b *testing.B) {
		floor.Beside(b, func() error {
			sealed, err := bare.Encrypt(payload, ad)
			_ = encoding.EncodeToString(sealed)
			return err
		}, func() error {
			_, err := issuer.Issue(tk)
			return err
		}, nil)
	})
	inspect := func(ticket string) func(b *testing.B) {
		return func(b *testing.B) {
			ctx := b.Context()
			floor.Beside(b, open, func() error {
				_, err := v.Inspect(ctx, ticket, agent)
				return err
			}, nil)
		}
	}
	b.Run("inspect", inspect(many))
	b.Run("inspect-one-time", inspect(once))
	b.Run("redeem", func(b *testing.B) {
		ctx := b.Context()
		var tickets []string
		floor.Beside(b, open, func() error {
			s := tickets[0]
			tickets = tickets[1:]
			if _, err := v.Redeem(ctx, s, agent); err != nil && reasonOf(b, err) != PossiblyUsed {
				return err
			}
			return nil
		}, func(calls int) {
			for range calls {
				tickets = append(tickets, issue(true))
			}
		})
	})
}

// TestAllocations holds Inspect and Redeem to their budget.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop entries")
	}
	w := newWorld(t, nil)
	for _, once := range []bool{false, true} {
		ticket := w.issue(t, func(tk *token.Ticket) { tk.OneTime = once })
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = w.Inspect(t.Context(), ticket, agent) }), 1.0)
	}
	tickets := make([]string, 1001)
	for i := range tickets {
		tickets[i] = w.issue(t, nil)
	}
	i := -1
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { i++; _, _ = w.Redeem(t.Context(), tickets[i], agent) }),
		1.0)
}
