package verify

import (
	"context"
	"encoding/base64"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"

	"github.com/admitone/admitone/internal/floor"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
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
	inMemory := func(now func() time.Time) replay.Store {
		store, err := memory.Open(b.Context(), memory.Config{NoBarrier: true, Now: now})
		require.NoError(b, err)
		return store
	}
	setUp := func(now func() time.Time, store replay.Store) (*token.Issuer, *Verifier) {
		issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "prod", Now: now})
		require.NoError(b, err)
		v, err := New(Config{Opener: keys, Realm: "prod", Brands: []string{"commbox"}, Store: store, Now: now})
		require.NoError(b, err)
		return issuer, v
	}
	issuer, v := setUp(time.Now, inMemory(time.Now))
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
	b.Run("clock", func(b *testing.B) {
		floor.Beside(b, open, func() error {
			_ = time.Now()
			return nil
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
	redeem := func(newStore func(now func() time.Time) replay.Store) func(b *testing.B) {
		return func(b *testing.B) {
			// The clock goes on as if a thousand tickets were redeemed a second.
			var ahead time.Duration
			now := func() time.Time { return time.Now().Add(ahead) }
			issuer, v := setUp(now, newStore(now))
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
		}
	}
	b.Run("redeem", redeem(inMemory))
	b.Run("redeem-map", redeem(func(now func() time.Time) replay.Store {
		return &ideal{now: now, used: make(map[[16]byte]struct{}, idealNonces)}
	}))
	b.Run("redeem-nothing", redeem(func(func() time.Time) replay.Store {
		return immediate{stub{answer: replay.Answer{Status: replay.Admitted}}, true}
	}))
}

// idealNonces are the live nonces of a thousand tickets a second.
const idealNonces = 150_000

// ideal is the least work of a claim: a lock, a reading of the clock, and a map. It forgets all
// nonces together.
type ideal struct {
	mu   sync.Mutex
	now  func() time.Time
	used map[[16]byte]struct{}
}

func (s *ideal) Claim(_ context.Context, c replay.Claim) (replay.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.now().Before(c.RetainUntil) {
		return replay.Answer{Status: replay.TooLate}, nil
	}
	if _, ok := s.used[c.Nonce]; ok {
		return replay.Answer{Status: replay.AlreadyUsed}, nil
	}
	if len(s.used) == idealNonces {
		clear(s.used)
	}
	s.used[c.Nonce] = struct{}{}
	return replay.Answer{Status: replay.Admitted}, nil
}

func (s *ideal) Peek(context.Context, replay.Claim) (replay.Answer, error) {
	panic("nobody asks")
}

func (s *ideal) Immediate() bool { return true }

// BenchmarkRedeemParallel compares one goroutine with one for each CPU, in turns. They redeem
// tickets in one replay cache; speedup is how many times as many tickets all goroutines redeem.
// floor-speedup is the same for the floor, which shares nothing: CPUs can share a core.
//
//	go test -run '^$' -bench RedeemParallel ./verify
func BenchmarkRedeemParallel(b *testing.B) {
	const share = 1024 // calls of a goroutine in a round
	all := runtime.GOMAXPROCS(0)
	handle := newHandle(b)
	keys, err := token.NewKeyset(handle)
	require.NoError(b, err)
	bare, err := aead.New(handle)
	require.NoError(b, err)
	// The clock goes on as if a thousand tickets were redeemed a second.
	var ahead time.Duration
	now := func() time.Time { return time.Now().Add(ahead) }
	issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "prod", Now: now})
	require.NoError(b, err)
	store, err := memory.Open(b.Context(), memory.Config{NoBarrier: true, Now: now})
	require.NoError(b, err)
	v, err := New(Config{Opener: keys, Realm: "prod", Brands: []string{"commbox"}, Store: store, Now: now})
	require.NoError(b, err)
	tickets := make([]string, all*share)
	ad, encoding := v.ad, base64.RawURLEncoding.Strict()
	open := func(s string) error {
		sealed, err := encoding.DecodeString(s[5:])
		if err == nil {
			_, err = bare.Decrypt(sealed, ad)
		}
		return err
	}
	redeem := func(s string) error {
		if _, err := v.Redeem(b.Context(), s, agent); err != nil && AsError(err).Reason != PossiblyUsed {
			return err
		}
		return nil
	}
	// round returns the calls a nanosecond of n goroutines.
	round := func(n int, call func(string) error) float64 {
		ahead += time.Duration(n*share) * time.Millisecond
		for i := range n * share {
			tickets[i] = issueBy(b, issuer, nil)
		}
		var wg sync.WaitGroup
		start := time.Now()
		for i := range n {
			wg.Go(func() {
				for _, s := range tickets[i*share : (i+1)*share] {
					if err := call(s); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return float64(n*share) / float64(time.Since(start))
	}
	var speedup, floorSpeedup []float64
	for b.Loop() {
		floorSpeedup = append(floorSpeedup, 1/round(1, open)*round(all, open))
		speedup = append(speedup, 1/round(1, redeem)*round(all, redeem))
	}
	slices.Sort(speedup)
	slices.Sort(floorSpeedup)
	b.ReportMetric(0, "ns/op") // of all together: tells nothing
	b.ReportMetric(speedup[len(speedup)/2], "speedup")
	b.ReportMetric(floorSpeedup[len(floorSpeedup)/2], "floor-speedup")
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
