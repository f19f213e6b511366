package verify

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay/memory"
)

// BenchmarkHotPaths sets issuing, inspecting and redeeming beside their floor:
// base64 and the bare Tink call on the same bytes, under the same keyset of
// three AES-256-GCM keys.
//
//	go test -run '^$' -bench HotPaths ./verify
func BenchmarkHotPaths(b *testing.B) {
	keys := newKeys(b)
	bare := keys.AEAD
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
	many, once := issueDay(b, issuer, tk, false), issueDay(b, issuer, tk, true)
	ad, err := token.AssociatedData("prod")
	require.NoError(b, err)
	payload := opened(b, bare, once, ad)

	b.Run("issue/floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sealed, err := bare.Encrypt(payload, ad)
			if err != nil {
				b.Fatal(err)
			}
			_ = base64.RawURLEncoding.EncodeToString(sealed)
		}
	})
	b.Run("issue/ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := issuer.Issue(tk); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("inspect/floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sealed, err := base64.RawURLEncoding.DecodeString(many[5:])
			if err != nil {
				b.Fatal(err)
			}
			if _, err := bare.Decrypt(sealed, ad); err != nil {
				b.Fatal(err)
			}
		}
	})
	inspect := func(ticket string) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Inspect(b.Context(), ticket, agent); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("inspect/ours", inspect(many))
	b.Run("inspect/ours-one-time", inspect(once))
	b.Run("redeem/ours-one-time", func(b *testing.B) {
		tickets := make([]string, b.N)
		for i := range tickets {
			tickets[i] = issueDay(b, issuer, tk, true)
		}
		b.ReportAllocs()
		b.ResetTimer()
		for _, s := range tickets {
			if _, err := v.Redeem(b.Context(), s, agent); err != nil && reasonOf(b, err) != PossiblyUsed {
				b.Fatal(err)
			}
		}
	})
}

func issueDay(b *testing.B, i *token.Issuer, tk *token.Ticket, once bool) string {
	tk.OneTime = once
	s, err := i.Issue(tk)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func opened(b *testing.B, a tink.AEAD, ticket string, ad []byte) []byte {
	sealed, err := base64.RawURLEncoding.DecodeString(ticket[5:])
	require.NoError(b, err)
	p, err := a.Decrypt(sealed, ad)
	require.NoError(b, err)
	return p
}

// TestAllocations holds Inspect and Redeem to their budget.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop entries")
	}
	w := newWorld(t, nil)
	for _, once := range []bool{false, true} {
		ticket := w.issue(t, func(tk *token.Ticket) { tk.OneTime = once })
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = w.Inspect(t.Context(), ticket, agent) }), 3.0)
	}
	tickets := make([]string, 1001)
	for i := range tickets {
		tickets[i] = w.issue(t, nil)
	}
	i := -1
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { i++; _, _ = w.Redeem(t.Context(), tickets[i], agent) }),
		3.0)
}
