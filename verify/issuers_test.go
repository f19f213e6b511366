package verify

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/memory"
)

// allOf returns a grant for the tickets of agents and customers of some brands.
func allOf(brands ...string) Grant {
	return Grant{Brands: brands, Audiences: []token.Audience{token.Agent, token.Customer}, MaxLifetime: 15 * time.Minute}
}

func issuersOf(t testing.TB, all ...Issuer) Issuers {
	t.Helper()
	is, err := NewIssuers(all...)
	require.NoError(t, err)
	return is
}

// by returns an issuer of tickets under some keys.
func (w *world) by(t testing.TB, keys Keys) *token.Issuer {
	t.Helper()
	i, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "r", MaxLifetime: 24 * time.Hour, Now: w.now})
	require.NoError(t, err)
	return i
}

// withID returns keys that have the ID id, as an owner may choose.
func withID(t testing.TB, id uint32) *token.Keyset {
	t.Helper()
	h := newHandle(t)
	ks := insecurecleartextkeyset.KeysetMaterial(h)
	ks.Key, ks.PrimaryKeyId = ks.Key[:1], id
	ks.Key[0].KeyId, ks.Key[0].Status = id, tinkpb.KeyStatusType_ENABLED
	plain, err := proto.Marshal(ks)
	require.NoError(t, err)
	h, err = insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	require.NoError(t, err)
	k, err := token.NewKeyset(h)
	require.NoError(t, err)
	return k
}

// Each issuer's ticket is its own: by the key that opens it, and by nothing that it says.
func TestIssuers(t *testing.T) {
	acme, beta := newKeys(t), newKeys(t)
	w := newWorld(t, func(c *Config) {
		c.AnyBrand, c.Brands = true, nil
		c.Issuers = issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: allOf("acme")},
			Issuer{Name: "beta", Keys: beta, Grant: allOf("beta")})
	})
	brand := func(name string) func(*token.Ticket) {
		return func(tk *token.Ticket) { tk.Brand, tk.Issuer = name, "forged" }
	}
	redeem := func(i *token.Issuer, name string) (token.Ticket, error) {
		return w.Redeem(t.Context(), issueBy(t, i, brand(name)), agent)
	}
	for name, i := range map[string]*token.Issuer{"": w.issuer, "acme": w.by(t, acme), "beta": w.by(t, beta)} {
		for _, of := range []string{"acme", "beta", "gamma"} {
			tk, err := redeem(i, of)
			if name == "" || name == of {
				require.NoError(t, err, "%s of %s", of, name)
				assert.Equal(t, name, tk.Issuer)
				continue
			}
			e := AsError(err)
			assert.Equal(t, IssuerNotAllowed, e.Reason)
			assert.Equal(t, name, e.Refused.Issuer)
			assert.ErrorContains(t, err, "the issuer may not issue tickets of this brand")
		}
	}
	_, err := redeem(w.by(t, newKeys(t)), "acme")
	assert.Equal(t, UnknownKey, AsError(err).Reason, "somebody else's")

	// Only named issuers.
	c := w.config
	c.Opener = nil
	v, err := New(c)
	require.NoError(t, err)
	wantFrom(t, v, UnknownKey, w.issue(t, nil), agent)
	_, err = v.Redeem(t.Context(), issueBy(t, w.by(t, acme), brand("acme")), agent)
	require.NoError(t, err)
	wantFrom(t, v, Malformed, "tkt1_x", agent)
	c.Issuers = nil
	_, err = New(c)
	assert.ErrorContains(t, err, "verify.Config.Opener is nil")
}

// The grant decides, for every kind of issuer, brand, audience, lifetime, one-time, override
// and claim. A refused ticket spends nothing, and the times do not hide the refusal.
//
// trap F4, and of trap F11 the grant that has ended
func TestGrants(t *testing.T) {
	t.Run("format 1", func(t *testing.T) { testGrants(t, false) })
	t.Run("format 2", func(t *testing.T) { testGrants(t, true) })
}

// testGrants tries all tickets, or a part of them in format 2, which takes longer.
func testGrants(t *testing.T, format2 bool) {
	until := newClock().now()
	both := []token.Audience{token.Agent, token.Customer}
	everything := Grant{AnyBrand: true, Audiences: append(both, token.Administrator), MaxLifetime: 24 * time.Hour,
		ManyTimes: true, Override: true, Claims: []string{"plan", "tier"}}
	grants := map[string]Grant{
		"nothing":       {},
		"everything":    everything,
		"agents":        {Brands: []string{"acme"}, Audiences: []token.Audience{token.Agent}},
		"customers":     {Brands: []string{"acme", "Acme"}, Audiences: []token.Audience{token.Customer}, Override: true},
		"administrator": {Brands: []string{"acme"}, Audiences: []token.Audience{token.Administrator}},
		"no audience":   {AnyBrand: true, ManyTimes: true},
		"no brand":      {Audiences: both},
		"long":          {AnyBrand: true, Audiences: both, MaxLifetime: 15 * time.Minute, Claims: []string{"plan"}},
		"many times":    {Brands: []string{"acme-de"}, Audiences: both, ManyTimes: true},
		"claims":        {Brands: []string{"acme"}, Audiences: both, Claims: []string{"plan", "tier"}},
		"ended":         everything, "ends now": everything, "ends soon": everything,
	}
	end := func(name string, at time.Time) { g := grants[name]; g.Until = at; grants[name] = g }
	end("ended", until.Add(-time.Hour))
	end("ends now", until)
	end("ends soon", until.Add(time.Millisecond))
	var all []Issuer
	issuers := map[string]*token.Issuer{}
	now, service := newClock(), newService(t)
	for name, g := range grants {
		is := Issuer{Name: strings.ReplaceAll(name, " ", "-"), Grant: g}
		c := token.Config{Realm: "r", MaxLifetime: 24 * time.Hour, Now: now.now}
		if format2 {
			o := newOrganisation(t, is.Name)
			is.SigningKeys, c.Signed = o.keys, o.sealer(t, service)
		} else {
			keys := newKeys(t)
			is.Keys, c.Sealer = keys, keys
		}
		all = append(all, is)
		issuer, err := token.NewIssuer(c)
		require.NoError(t, err)
		issuers[name] = issuer
	}
	w := newWorld(t, func(c *Config) {
		c.AnyBrand, c.Brands, c.MaxLifetime, c.Now = true, nil, 24*time.Hour, now.now
		c.Issuers, c.Unsealer = issuersOf(t, all...), service.keys
		c.Store = newStore(t, now.now)
	})
	// allowed is the rule once more, in other words.
	allowed := func(name string, g Grant, tk *token.Ticket) bool {
		ordinary := map[token.Audience]time.Duration{token.Agent: time.Minute, token.Customer: 5 * time.Minute,
			token.Administrator: 5 * time.Minute}[tk.Audience]
		if g.MaxLifetime != 0 {
			ordinary = g.MaxLifetime
		}
		var claims []string
		for c := range tk.Claims {
			if !slices.Contains(g.Claims, c) {
				claims = append(claims, c)
			}
		}
		return name != "ended" && name != "ends now" &&
			(g.AnyBrand || slices.Index(g.Brands, tk.Brand) >= 0) && slices.Index(g.Audiences, tk.Audience) >= 0 &&
			tk.Lifetime <= ordinary && (tk.OneTime || g.ManyTimes) && (!tk.OverrideUserInfo || g.Override) && len(claims) == 0
	}
	counts := map[bool]int{}
	for name, g := range grants {
		issuer := issuers[name]
		for i, tk := range everyTicket() {
			if format2 && i%13 != 0 {
				continue
			}
			text, err := issuer.Issue(tk)
			if err != nil {
				continue // no issuer makes such a ticket
			}
			use := Use{Audience: tk.Audience}
			_, err = w.Inspect(t.Context(), text, use)
			want := allowed(name, g, tk)
			counts[want]++
			if want {
				require.NoError(t, err, "%s %+v", name, tk)
				continue
			}
			e := AsError(err)
			require.Equal(t, IssuerNotAllowed, e.Reason, "%s %+v", name, tk)
			require.NotNil(t, e.Cause)
			// Before the caller is asked, before the times and the purpose, and nothing is spent.
			_, err = w.Redeem(t.Context(), text, Use{Complete: func(token.Ticket, *Use) error { panic("asked") }})
			require.Equal(t, IssuerNotAllowed, AsError(err).Reason)
		}
	}
	assert.Greater(t, counts[true], 50)
	assert.Greater(t, counts[false], 500)

	late := issueBy(t, issuers["agents"], func(tk *token.Ticket) { tk.Brand = "other" })
	now.step(time.Hour)
	_, err := w.Redeem(t.Context(), late, agent)
	require.Equal(t, IssuerNotAllowed, AsError(err).Reason, "an expired cross-brand ticket still shows")
	stats, err := w.config.Store.(*memory.Store).Stats(t.Context())
	require.NoError(t, err)
	assert.Zero(t, stats.Live)
}

// everyTicket returns a ticket of each kind.
func everyTicket() (all []*token.Ticket) {
	claims := []map[string]string{nil, {"plan": "a"}, {"plan": "a", "tier": "b"}, {"other": "c"}, {"Plan": "d"}}
	for _, brand := range []string{"", "acme", "Acme", "acme-de", "acm", "acme ", "beta", "ácme", "a\u0301cme"} {
		for _, a := range []token.Audience{token.Agent, token.Customer, token.Administrator} {
			for _, lifetime := range []time.Duration{time.Minute, time.Minute + time.Millisecond, 5 * time.Minute,
				15 * time.Minute, 24 * time.Hour} {
				for i := range 4 {
					for _, c := range claims {
						tk := &token.Ticket{Brand: brand, Audience: a, Lifetime: lifetime, OneTime: i&1 == 0,
							OverrideUserInfo: i&2 != 0, Claims: maps.Clone(c), Username: "john.d"}
						if a == token.Customer {
							tk.Username, tk.Email = "", "jane@example.com"
						}
						all = append(all, tk)
					}
				}
			}
		}
	}
	return all
}

// Tickets of two issuers whose keys have one ID are each its own issuer's, and a fifth issuer
// with that ID is refused.
//
// trap F5
func TestSameKeyID(t *testing.T) {
	const id = 0x0a0b0c0d
	opener := withID(t, id)
	var all []Issuer
	for i := range MaxSameKey {
		name := string(rune('a' + i))
		all = append(all, Issuer{Name: name, Keys: withID(t, id), Grant: allOf(name)})
	}
	w := newWorld(t, func(c *Config) {
		c.Opener, c.AnyBrand, c.Brands, c.Issuers = opener, true, nil, issuersOf(t, all...)
	})
	for _, is := range append(all, Issuer{Name: "", Keys: opener, Grant: Grant{}}) {
		for _, of := range all {
			tk, err := w.Redeem(t.Context(), issueBy(t, w.by(t, is.Keys), func(tk *token.Ticket) { tk.Brand = of.Name }), agent)
			if is.Name != "" && is.Name != of.Name {
				assert.Equal(t, IssuerNotAllowed, AsError(err).Reason)
				continue
			}
			require.NoError(t, err)
			assert.Equal(t, is.Name, tk.Issuer)
		}
	}
	w.want(t, Forged, issueBy(t, w.by(t, withID(t, id)), nil), agent)
	_, err := NewIssuers(append(all, Issuer{Name: "e", Keys: withID(t, id), Grant: allOf("e")})...)
	var fault *token.ConfigError
	require.ErrorAs(t, err, &fault)
	assert.ErrorContains(t, err, `"e" has a key with the ID 0a0b0c0d, as 4 other issuers have`)
}

// A key has one name, where that can be known.
//
// trap F6
func TestSameKeyTwice(t *testing.T) {
	handle := newHandle(t)
	keys, err := token.NewKeyset(handle)
	require.NoError(t, err)
	again, err := token.NewKeyset(handle)
	require.NoError(t, err)
	// The primary of one is a key of the other that is not its primary.
	m := keyset.NewManagerFromHandle(handle)
	first := keys.KeyIDs()[0]
	require.NoError(t, m.SetPrimary(uint32(first)))
	moved, err := m.Handle()
	require.NoError(t, err)
	older, err := token.NewKeyset(moved)
	require.NoError(t, err)
	for _, other := range []*token.Keyset{again, older} {
		_, err = NewIssuers(Issuer{Name: "acme", Keys: keys, Grant: allOf("acme")},
			Issuer{Name: "beta", Keys: other, Grant: allOf("beta")})
		assert.ErrorContains(t, err, `verify.Issuer "beta" has a key of the issuer acme; give each issuer a keyring of its own`)
		is := issuersOf(t, Issuer{Name: "acme", Keys: keys, Grant: allOf("acme")})
		_, err = New(Config{Opener: other, Issuers: is, Store: newStore(t, nil), AnyBrand: true})
		assert.ErrorContains(t, err, "verify.Config.Issuers has an issuer with a key of the Opener")
	}
}

// What is left out allows nothing.
//
// trap F8
func TestZeroGrants(t *testing.T) {
	acme := newKeys(t)
	for name, is := range map[string]Issuers{
		"zero grant":     issuersOf(t, Issuer{Name: "acme", Keys: acme}),
		"no audience":    issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: Grant{AnyBrand: true}}),
		"no brand":       issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: Grant{Audiences: []token.Audience{token.Agent}}}),
		"ended long ago": issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: Grant{AnyBrand: true, Audiences: []token.Audience{token.Agent}, Until: time.Unix(0, 1)}}),
		"nobody":         issuersOf(t),
		"none":           nil,
	} {
		w := newWorld(t, func(c *Config) { c.Issuers = is })
		want := IssuerNotAllowed
		if name == "nobody" || name == "none" {
			want = UnknownKey
		}
		w.want(t, want, issueBy(t, w.by(t, acme), nil), agent)
		w.want(t, "", w.issue(t, nil), agent)
	}
	for name, is := range map[string]Issuer{
		"rename the issuer":        {Name: "", Keys: acme, Grant: Grant{}},
		"has no Keys":              {Name: "acme", Keys: nil, Grant: Grant{}},
		"Brands beside AnyBrand":   {Name: "acme", Keys: acme, Grant: Grant{AnyBrand: true, Brands: []string{"a"}}},
		"an empty brand":           {Name: "acme", Keys: acme, Grant: Grant{Brands: []string{""}}},
		"an audience that no":      {Name: "acme", Keys: acme, Grant: Grant{Audiences: []token.Audience{AnyAudience}}},
		"an empty name of a claim": {Name: "acme", Keys: acme, Grant: Grant{Claims: []string{""}}},
		"a negative MaxLifetime":   {Name: "acme", Keys: acme, Grant: Grant{MaxLifetime: -1}},
		"a Rate that is no number": {Name: "acme", Keys: acme, Grant: Grant{Rate: -1}},
	} {
		_, err := NewIssuers(is)
		var fault *token.ConfigError
		require.ErrorAs(t, err, &fault, name)
		assert.ErrorContains(t, err, name)
	}
	_, err := NewIssuers(Issuer{Name: "acme", Keys: acme}, Issuer{Name: "acme", Keys: newKeys(t)})
	assert.ErrorContains(t, err, "is in the list twice")
}

// A grant is the verifier's own: changing the lists that made it changes nothing, and a
// ticket that claims another issuer is its keys' issuer's.
//
// trap F9
func TestGrantsAreTheVerifiersOwn(t *testing.T) {
	acme, brands := newKeys(t), []string{"acme"}
	is := issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: allOf(brands...)})
	w := newWorld(t, func(c *Config) { c.AnyBrand, c.Brands, c.Issuers = true, nil, is })
	brands[0] = "commbox"
	for _, change := range []func(*token.Ticket){
		func(tk *token.Ticket) { tk.Issuer = "commbox" },
		func(tk *token.Ticket) { tk.Actor = "commbox/key" },
		func(tk *token.Ticket) { tk.Claims = map[string]string{"issuer": "commbox", "brands": "commbox"} },
		func(tk *token.Ticket) { tk.Channel, tk.Remark = "commbox", "commbox"; customerTicket(tk) },
	} {
		w.want(t, IssuerNotAllowed, issueBy(t, w.by(t, acme), change), agent)
	}
}

// A key that was removed opens nothing any more, and a new key counts soon, both without a
// new list.
//
// trap F10
func TestIssuerRotates(t *testing.T) {
	path := t.TempDir() + "/acme.keyring"
	c := keyring.Config{Kind: keyring.Ticket, Realm: "r", KEK: keyring.InsecureCleartext,
		Log: slog.New(slog.DiscardHandler)}
	require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(keyring.Ticket), ""))
	ring, err := keyring.Open(path, c)
	require.NoError(t, err)
	defer ring.Close()
	w := newWorld(t, func(c *Config) {
		c.Issuers = issuersOf(t, Issuer{Name: "acme", Keys: ring, Grant: allOf("commbox")},
			Issuer{Name: "beta", Keys: newKeys(t), Grant: allOf("commbox")})
	})
	issue := func() string {
		i, err := token.NewIssuer(token.Config{Sealer: ring, Realm: "r", Now: w.now})
		require.NoError(t, err)
		return issueBy(t, i, nil)
	}
	old := issue()
	w.want(t, "", issue(), agent)
	stolen, err := token.UnverifiedKeyID(old)
	require.NoError(t, err)
	_, err = keyring.Change(path, c, "stolen", keyring.Step{Do: keyring.Revoke, Key: stolen})
	require.NoError(t, err)
	require.NoError(t, ring.Reload())
	w.want(t, Forged, old, agent) // at once
	fresh := issue()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		tk, err := w.Inspect(context.Background(), fresh, agent)
		require.NoError(t, err)
		assert.Equal(t, "acme", tk.Issuer)
	}, time.Minute, 10*time.Millisecond)
	w.want(t, UnknownKey, old, agent) // now that the index is new
}

// At its rate an issuer's flood is refused, and other issuers' tickets enter. Replays,
// forgeries and tickets for many uses take nothing of the rate.
//
// trap F16
func TestIssuerRate(t *testing.T) {
	acme, beta := newKeys(t), newKeys(t)
	limited := allOf("commbox")
	limited.Rate, limited.ManyTimes = 5, true
	w := newWorld(t, func(c *Config) {
		c.Issuers = issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: limited},
			Issuer{Name: "beta", Keys: beta, Grant: allOf("commbox")})
	})
	ofAcme, ofBeta := w.by(t, acme), w.by(t, beta)
	spent := issueBy(t, ofAcme, nil)
	w.want(t, "", spent, agent)
	many := issueBy(t, ofAcme, func(tk *token.Ticket) { tk.OneTime = false })
	for range 20 { // what fills no store
		w.want(t, AlreadyUsed, spent, agent)
		w.want(t, "", many, agent)
		w.want(t, WrongAudience, issueBy(t, ofAcme, nil), Use{Audience: token.Customer})
	}
	flood := func(n int) (entered int) {
		var mu sync.Mutex
		var done sync.WaitGroup
		for range n {
			ticket := issueBy(t, ofAcme, nil)
			done.Go(func() {
				_, err := w.Redeem(context.Background(), ticket, agent)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					entered++
				} else {
					assert.Equal(t, IssuerOverRate, AsError(err).Reason)
				}
			})
		}
		done.Wait()
		return entered
	}
	assert.Equal(t, 4, flood(200), "a second's tickets, of which one was taken")
	held := issueBy(t, ofAcme, nil)
	w.want(t, IssuerOverRate, held, agent)
	assert.True(t, IssuerOverRate.CannotTell())
	for range 50 {
		w.want(t, "", issueBy(t, ofBeta, nil), agent)
		w.want(t, "", w.issue(t, nil), agent)
	}
	w.step(200 * time.Millisecond)
	w.want(t, "", held, agent) // it was not spent
	assert.Zero(t, flood(10))
	w.step(time.Minute)
	assert.Equal(t, 5, flood(100))
	w.step(-time.Hour) // a clock set back closes the bucket for a second at most
	assert.Zero(t, flood(10))
	w.step(time.Second)
	assert.Equal(t, 5, flood(10))
}

func TestRates(t *testing.T) {
	for _, rate := range []float64{1e-3, 0.5, 1, 3, 1000, 1e9} {
		var r rates
		now := time.Unix(1e9, 0)
		taken := 0
		for range 100 {
			if _, ok := r.take("a", rate, now); ok {
				taken++
			}
		}
		assert.Equal(t, min(100, max(1, int(rate))), taken, "%v", rate)
		b, _ := r.take("a", rate, now)
		b.give(rate)
		_, ok := r.take("a", rate, now)
		assert.True(t, ok || rate > 100, "%v", rate)
		now = now.Add(time.Duration(2 / rate * float64(time.Second)))
		_, ok = r.take("a", rate, now)
		assert.True(t, ok, "%v", rate)
		_, ok = r.take("b", rate, now)
		assert.True(t, ok)
	}
}

// A claim whose outcome is unknown counts, since the store may remember its nonce.
func TestIssuerRateInAnOutage(t *testing.T) {
	acme := newKeys(t)
	limited := allOf("commbox")
	limited.Rate = 1
	w := newWorld(t, func(c *Config) {
		c.Issuers = issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: limited})
		c.Store = outageStore{c.Store}
	})
	w.want(t, StoreUnavailable, issueBy(t, w.by(t, acme), nil), agent)
	w.want(t, IssuerOverRate, issueBy(t, w.by(t, acme), nil), agent)
}

// trap F16: a used ticket holds no room of its issuer, however long the store takes.
func TestReplaysTakeNoRoom(t *testing.T) {
	acme := newKeys(t)
	limited := allOf("commbox")
	limited.Rate = 2
	var slow *slowStore
	w := newWorld(t, func(c *Config) {
		c.Issuers = issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: limited})
		slow = &slowStore{Store: c.Store, held: make(chan struct{})}
		c.Store = slow
	})
	ofAcme := w.by(t, acme)
	spent := issueBy(t, ofAcme, nil)
	w.want(t, "", spent, agent)
	slow.replays.Store(true)
	var replays sync.WaitGroup
	for range 10 {
		replays.Go(func() { _, _ = w.Redeem(context.Background(), spent, agent) })
	}
	replays.Wait() // a claim of theirs would wait until the end of the test
	slow.replays.Store(false)
	w.want(t, "", issueBy(t, ofAcme, nil), agent)
	close(slow.held)
}

// slowStore holds claims while replays is set.
type slowStore struct {
	replay.Store
	replays atomic.Bool
	held    chan struct{}
}

func (s *slowStore) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if s.replays.Load() {
		<-s.held
	}
	return s.Store.Claim(ctx, c)
}

// outageStore does not answer claims.
type outageStore struct{ replay.Store }

func (outageStore) Claim(context.Context, replay.Claim) (replay.Answer, error) {
	return replay.Answer{}, replay.ErrUnavailable
}

// The words of an audit event: who issued.
func TestIdentityNamesTheIssuer(t *testing.T) {
	assert.NotContains(t, fmt.Sprint(Identity(&token.Ticket{})), "issuer")
	assert.Contains(t, fmt.Sprint(Identity(&token.Ticket{Issuer: "acme"})), "issuer=acme")
	var text strings.Builder
	w := newWorld(t, nil)
	log := slog.New(slog.NewTextHandler(&text, nil))
	w.Log(t.Context(), log, token.Ticket{}, &Error{Reason: IssuerOverRate, Refused: &token.Ticket{Issuer: "acme"}})
	assert.Regexp(t, `level=WARN msg="ticket not decided" reason=issuer_over_rate .*issuer=acme`, text.String())
}

// Opening a named issuer's ticket costs no allocation beyond those of any ticket.
func TestIssuersAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop entries")
	}
	acme := newKeys(t)
	w := newWorld(t, func(c *Config) {
		c.Issuers = issuersOf(t, Issuer{Name: "acme", Keys: acme, Grant: allOf("commbox")})
	})
	for _, i := range []*token.Issuer{w.issuer, w.by(t, acme)} {
		ticket := issueBy(t, i, nil)
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = w.Inspect(t.Context(), ticket, agent) }), 1.0)
		tickets := make([]string, 1001)
		for n := range tickets {
			tickets[n] = issueBy(t, i, nil)
		}
		n := -1
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { n++; _, _ = w.Redeem(t.Context(), tickets[n], agent) }),
			1.0)
	}
}
