package verify

import (
	"encoding/base64"
	"sync/atomic"
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
	setUp := func(now func() time.Time) (*token.Issuer, *Verifier) {
		issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "prod", Now: now})
		require.NoError(b, err)
		store, err := memory.Open(b.Context(), memory.Config{NoBarrier: true, Now: now})
		require.NoError(b, err)
		v, err := New(Config{Opener: keys, Realm: "prod", Brands: []string{"commbox"}, Store: store, Now: now})
		require.NoError(b, err)
		return issuer, v
	}
	issuer, v := setUp(time.Now)
	tk := &token.Ticket{
		Audience: token.Agent, Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", UniqueID: "123456",
		FirstName: "John", LastName: "Doe", Phone1: "+442501234567",
	}
	issue := func(issuer *token.Issuer, once bool) string {
		tk.OneTime = once
		s, err := issuer.Issue(tk)
		require.NoError(b, err)
		return s
	}
	many := issue(issuer, false)
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
	inspect := func(once bool) func(b *testing.B) {
		return func(b *testing.B) {
			ctx, ticket := b.Context(), issue(issuer, once)
			floor.Beside(b, open, func() error {
				_, err := v.Inspect(ctx, ticket, agent)
				return err
			}, nil)
		}
	}
	b.Run("inspect", inspect(false))
	b.Run("inspect-one-time", inspect(true))
	b.Run("redeem", func(b *testing.B) {
		// The clock goes on as if a thousand tickets were redeemed a second.
		var ahead time.Duration
		issuer, v := setUp(func() time.Time { return time.Now().Add(ahead) })
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
			ahead += time.Duration(calls) * time.Millisecond
			for range calls {
				tickets = append(tickets, issue(issuer, true))
			}
		})
	})
}

// BenchmarkRedeemParallel redeems in as many goroutines as there are CPUs. Each redeems tickets
// of its own, from one replay cache.
//
//	go test -run '^$' -bench RedeemParallel -cpu 1,2 ./verify
func BenchmarkRedeemParallel(b *testing.B) {
	keys := newKeys(b)
	issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "prod"})
	require.NoError(b, err)
	store, err := memory.Open(b.Context(), memory.Config{NoBarrier: true})
	require.NoError(b, err)
	v, err := New(Config{Opener: keys, Realm: "prod", Brands: []string{"commbox"}, Store: store})
	require.NoError(b, err)
	tickets := make([]string, b.N)
	for i := range tickets {
		tickets[i] = issueBy(b, issuer, func(tk *token.Ticket) { tk.Lifetime = token.MaxLifetime })
	}
	const share = 256 // of the tickets, taken at a time
	var taken atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		ctx := b.Context()
		var mine []string
		for p.Next() {
			if len(mine) == 0 {
				from := int(taken.Add(share)) - share
				mine = tickets[min(from, b.N):min(from+share, b.N)]
				if len(mine) == 0 {
					continue // the last tickets are in the shares of others
				}
			}
			if _, err := v.Redeem(ctx, mine[0], agent); err != nil && AsError(err).Reason != PossiblyUsed {
				b.Error(err)
				return
			}
			mine = mine[1:]
		}
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
