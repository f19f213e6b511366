package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/memory"
)

func TestNewRefuses(t *testing.T) {
	keys := newKeys(t)
	store := newStore(t, time.Now)
	good := Config{Opener: keys, Store: store, AnyBrand: true}
	_, err := New(good)
	require.NoError(t, err)
	for name, c := range map[string]func(*Config){
		"no opener":                 func(c *Config) { c.Opener = nil },
		"no store":                  func(c *Config) { c.Store = nil },
		"no brand":                  func(c *Config) { c.AnyBrand = false },
		"brands and any":            func(c *Config) { c.Brands = []string{"b"} },
		"negative maximum":          func(c *Config) { c.MaxLifetime = -1 },
		"negative skew":             func(c *Config) { c.Skew = -1 },
		"negative maximum of skews": func(c *Config) { c.MaxSkew = -1 },
		"skew over its maximum":     func(c *Config) { c.Skew, c.MaxSkew = 2*Skew, Skew },
		// 3 × the skew would wrap around, to a claim that ends before its ticket.
		"skew past all clocks":    func(c *Config) { c.Skew = 6148914691236517206 },
		"maximum past all clocks": func(c *Config) { c.MaxSkew = 24*time.Hour + 1 },
		"realm with newline":      func(c *Config) { c.Realm = "\n" },
		"zero":                    func(c *Config) { *c = Config{} },
		// Nil pointers would fail at the first ticket.
		"nil opener":   func(c *Config) { c.Opener = (*keyring.Ring)(nil) },
		"nil issuers":  func(c *Config) { c.Issuers = (*nobody)(nil) },
		"nil unsealer": func(c *Config) { c.Issuers, c.Unsealer = issuersOf(t), (*signed.OpeningKeys)(nil) },
		"nil store":    func(c *Config) { c.Store = (*memory.Store)(nil) },
	} {
		bad := good
		c(&bad)
		_, err := New(bad)
		var config *token.ConfigError
		require.ErrorAs(t, err, &config, name)
		assert.Regexp(t, `^verify\.Config\.[A-Z][A-Za-z]+$`, config.Field, name)
	}
}

type nobody struct{ Issuers }

func TestRedeemOnce(t *testing.T) {
	w := newWorld(t, nil)
	once := w.issue(t, nil)
	_, err := w.Inspect(t.Context(), once, agent)
	require.NoError(t, err, "Inspect spends nothing")
	w.want(t, "", once, agent)
	w.step(3 * time.Second)
	w.want(t, AlreadyUsed, once, agent)
	_, err = w.Inspect(t.Context(), once, agent)
	assert.Equal(t, AlreadyUsed, reasonOf(t, err))
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, w.now().Add(-3*time.Second), e.FirstUsed.UTC())
	require.NotNil(t, e.Refused)
	assert.Equal(t, "john.d", e.Refused.Username)

	many := w.issue(t, func(tk *token.Ticket) { tk.OneTime = false })
	for range 5 {
		w.want(t, "", many, agent)
	}
	w.step(60*time.Second + Skew - time.Millisecond)
	w.want(t, "", many, agent)
	w.step(time.Millisecond)
	w.want(t, Expired, many, agent)
}

func TestZeroUseAcceptsNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.want(t, WrongAudience, w.issue(t, nil), Use{})
	w.want(t, WrongAudience, w.issue(t, customerTicket), Use{})
	w.want(t, "", w.issue(t, customerTicket), Use{Audience: AnyAudience})
	w.want(t, "", w.issue(t, nil), Use{Audience: AnyAudience})
}

// trap R1: redeeming A, then more others than the cache holds, then A again.
func TestEvictionReplay(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		m, err := memory.Open(t.Context(), memory.Config{MaxBytes: 256 << 10, Recent: 64, NoBarrier: true, Now: c.Now})
		require.NoError(t, err)
		c.Store = m
	})
	first := w.issue(t, nil)
	w.want(t, "", first, agent)
	full := false
	for range 200_000 {
		_, err := w.Redeem(t.Context(), w.issue(t, nil), agent)
		if err != nil && reasonOf(t, err) == StoreFull {
			full = true
			break
		}
	}
	require.True(t, full, "the cache says that it is full instead of forgetting")
	_, err := w.Redeem(t.Context(), first, agent)
	assert.Contains(t, []Reason{AlreadyUsed, PossiblyUsed}, reasonOf(t, err))
}

// trap R2: a new verifier and store on the same keys, as after a restart, also
// for a ticket from an issuer whose clock is ahead by the whole skew.
func TestRestartReplay(t *testing.T) {
	w := newWorld(t, nil)
	ahead := issueBy(t, w.issuerAt(t, w.ahead(Skew)), nil)
	even := w.issue(t, nil)
	w.want(t, "", ahead, agent)
	w.want(t, "", even, agent)
	unused := w.issue(t, nil)
	w.step(time.Millisecond)

	store, err := memory.Open(t.Context(), memory.Config{Now: w.now})
	require.NoError(t, err)
	c := w.config
	c.Store = store
	restarted := w.verifier(t, c)
	for _, ticket := range []string{ahead, even, unused} {
		wantFrom(t, restarted, IssuedBeforeStart, ticket, agent)
	}
	w.step(Skew + time.Millisecond)
	wantFrom(t, restarted, IssuedBeforeStart, ahead, agent)
	wantFrom(t, restarted, "", w.issue(t, nil), agent)
	wantFrom(t, restarted, "", w.issue(t, func(tk *token.Ticket) { tk.OneTime = false }), agent)
}

// trap R2: the tolerance is lowered at the restart. What a laxer verifier let in
// is refused all the same.
func TestSkewLoweredAtRestart(t *testing.T) {
	for _, row := range []struct{ before, after, max time.Duration }{
		{Skew, Skew / 2, 0}, // below the usual tolerance, nobody has to say anything
		{Skew, time.Millisecond, 0},
		{Skew, 0, Skew},
		{time.Minute, Skew, time.Minute},
		{time.Minute, 0, time.Minute},
	} {
		w := newWorld(t, func(c *Config) { c.Skew = row.before })
		ahead := issueBy(t, w.issuerAt(t, w.ahead(row.before)), nil)
		w.want(t, "", ahead, agent)
		store, err := memory.Open(t.Context(), memory.Config{Now: w.now})
		require.NoError(t, err)
		c := w.config
		c.Store, c.Skew, c.MaxSkew = store, row.after, row.max
		restarted := w.verifier(t, c)
		w.step(row.before - row.after) // until it is in time for the new one
		wantFrom(t, restarted, IssuedBeforeStart, ahead, agent)
		w.step(row.after + Skew)
		wantFrom(t, restarted, "", w.issue(t, nil), agent)
	}
}

// trap R3: whatever other string is sent, there is one redemption in all, and the
// untouched ticket is it.
func TestMalleability(t *testing.T) {
	w := newWorld(t, nil)
	ticket := w.issue(t, nil)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=%\r\n+/ "
	try := func(s string) {
		if s == ticket {
			return
		}
		if _, err := w.Redeem(t.Context(), s, agent); err == nil {
			t.Fatalf("admitted %q", s)
		}
	}
	for i := range ticket {
		for j := range alphabet {
			try(ticket[:i] + alphabet[j:j+1] + ticket[i+1:])
			try(ticket[:i] + alphabet[j:j+1] + ticket[i:])
		}
		try(ticket[:i])
		try(ticket[:i] + "%0A" + ticket[i:])
	}
	for _, tail := range []string{"=", "==", "\r", "\n", "\r\n", "%0A", "%3d", " ", "A", "AAAA", "\x00"} {
		try(ticket + tail)
	}
	w.want(t, "", ticket, agent)
	w.want(t, AlreadyUsed, ticket, agent)
}

// trap R4: a forgery that carries the victim's nonce spends nothing.
func TestForgerySpendsNothing(t *testing.T) {
	w := newWorld(t, nil)
	ticket := w.issue(t, nil)
	genuine, err := w.Inspect(t.Context(), ticket, agent)
	require.NoError(t, err)

	// Another key holder seals the same payload, nonce and all, under a key of
	// its own, with and without the victim's key ID.
	forger := newKeys(t)
	var forged string
	stolen, err := token.NewIssuer(token.Config{Realm: "r", Now: w.now,
		Sealer: altering{forger, func(id []byte) { copy(id, genuine.ID[:]) }}})
	require.NoError(t, err)
	forged = issueBy(t, stolen, nil)
	w.want(t, UnknownKey, forged, agent)
	w.want(t, Forged, ticket[:12]+forged[12:], agent)

	w.want(t, "", ticket, agent)
}

// altering is an AEAD that changes the IDs of payloads on their way to the keys, and no probe.
type altering struct {
	tink.AEAD
	change func(id []byte)
}

func (a altering) Encrypt(p, ad []byte) ([]byte, error) {
	if len(p) > 18 {
		a.change(p[2:18])
	}
	return a.AEAD.Encrypt(p, ad)
}

// trap R5: a refusal for whatever reason before the claim leaves the nonce unspent.
func TestRefusalSpendsNothing(t *testing.T) {
	w := newWorld(t, nil)
	lookup := errors.New("no such agent")
	a := w.issue(t, nil)
	c := w.issue(t, func(tk *token.Ticket) { customerTicket(tk); tk.Channel = "web" })
	acme := w.issue(t, func(tk *token.Ticket) { tk.Brand = "acme" })

	w.want(t, WrongAudience, a, Use{Audience: token.Customer})
	w.want(t, RefusedByCaller, a, Use{Audience: token.Agent, Check: func(tk token.Ticket) error {
		assert.Equal(t, "john.d", tk.Username)
		return lookup
	}})
	w.want(t, StoreUnavailable, a, Use{Audience: token.Agent, Check: func(token.Ticket) error {
		return &Error{Reason: StoreUnavailable}
	}})
	w.want(t, WrongChannel, c, Use{Audience: token.Customer, Channel: "app"})
	w.want(t, WrongChannel, c, Use{Audience: token.Customer})
	w.want(t, WrongBrand, acme, agent)
	w.step(-time.Minute)
	w.want(t, NotYetValid, a, agent)
	w.step(time.Minute)

	_, err := w.Redeem(t.Context(), a, Use{Audience: token.Agent, Check: func(token.Ticket) error { return lookup }})
	assert.ErrorIs(t, err, lookup)

	w.want(t, "", a, Use{Audience: token.Agent, Check: func(token.Ticket) error { return nil }})
	w.want(t, "", c, Use{Audience: token.Customer, Channel: "web"})
	c2 := w.config
	c2.Brands = []string{"acme"}
	_, err = w.verifier(t, c2).Redeem(t.Context(), acme, agent)
	assert.NoError(t, err)
}

// Whatever error a check returns, it refuses.
func TestCheckRefusesWithAnyError(t *testing.T) {
	w := newWorld(t, nil)
	ticket := w.issue(t, nil)
	var none *Error
	cause := errors.New("directory: connection refused")
	for name, row := range map[string]struct {
		err    error
		reason Reason
		text   string
	}{
		"an Error without reason": {&Error{}, RefusedByCaller, ""},
		"a nil *Error":            {none, RefusedByCaller, "nil"},
		"wrapped":                 {fmt.Errorf("looking up: %w", &Error{Reason: WrongChannel}), WrongChannel, "looking up"},
		"with a cause":            {&Error{Reason: StoreUnavailable, Cause: cause}, StoreUnavailable, "(directory: connection refused)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Redeem(t.Context(), ticket, Use{Audience: token.Agent,
				Check: func(token.Ticket) error { return row.err }})
			require.Error(t, err)
			assert.Equal(t, row.reason, reasonOf(t, err))
			if row.text != "" {
				assert.Contains(t, err.Error(), row.text)
			}
		})
	}
	w.want(t, "", ticket, agent)
}

// Complete is asked about a ticket that is decoded, and before its times and purpose.
func TestCompleteDecidesTheUse(t *testing.T) {
	w := newWorld(t, nil)
	ticket := w.issue(t, func(tk *token.Ticket) { customerTicket(tk); tk.Channel = "commbox/web" })
	asked := 0
	use := Use{Audience: token.Customer, Complete: func(tk token.Ticket, u *Use) error {
		asked++
		assert.Equal(t, token.Customer, u.Audience, "it begins with what the caller gave")
		u.Channel = tk.Brand + "/web"
		return nil
	}}
	_, err := w.Inspect(t.Context(), ticket, use)
	require.NoError(t, err)
	assert.Empty(t, use.Channel, "the caller's own Use stays")
	w.want(t, "", ticket, use)
	w.want(t, AlreadyUsed, ticket, use)
	assert.Equal(t, 3, asked, "once a call")
	w.want(t, Forged, ticket[:len(ticket)-8]+"AAAAAAAA", use)
	w.want(t, Malformed, "x", use)
	assert.Equal(t, 3, asked, "never about what is no ticket of ours")

	// Nothing that it leaves out is skipped.
	fresh := w.issue(t, customerTicket)
	w.want(t, WrongAudience, fresh, Use{Complete: func(token.Ticket, *Use) error { return nil }})
	w.want(t, RefusedByCaller, fresh, Use{Audience: token.Customer,
		Complete: func(token.Ticket, *Use) error { return nil },
		Check:    func(token.Ticket) error { return errors.New("no") },
	})
	w.want(t, RefusedByCaller, fresh, Use{Audience: token.Customer, Complete: func(_ token.Ticket, u *Use) error {
		u.Check = func(token.Ticket) error { return errors.New("no") }
		return nil
	}})

	// Its error refuses, and hides even that the time is over.
	cause := errors.New("no such place")
	failing := func(err error) Use {
		return Use{Audience: token.Customer, Complete: func(token.Ticket, *Use) error { return err }}
	}
	w.want(t, WrongBrand, fresh, failing(&Error{Reason: WrongBrand}))
	w.step(time.Hour)
	w.want(t, WrongBrand, fresh, failing(fmt.Errorf("not the key's: %w", &Error{Reason: WrongBrand})))
	w.want(t, RefusedByCaller, fresh, failing(cause))
	_, err = w.Redeem(t.Context(), fresh, failing(cause))
	assert.ErrorIs(t, err, cause)
	assert.NotNil(t, AsError(err).Refused)
	w.want(t, Expired, fresh, Use{Audience: token.Customer, Complete: func(token.Ticket, *Use) error { return nil }})
}

// A check that wants the person asked first leaves a good ticket unspent, and learns
// of a used ticket that it is used.
func TestAskFirst(t *testing.T) {
	w := newWorld(t, nil)
	counted := &countedOpener{AEAD: w.keys}
	w.config.Opener = counted
	v := w.verifier(t, w.config)
	ask := Use{Audience: token.Agent, Check: func(token.Ticket) error { return fmt.Errorf("a page: %w", ErrAskFirst) }}
	for _, once := range []bool{true, false} {
		ticket := w.issue(t, func(tk *token.Ticket) { tk.OneTime = once })
		for _, call := range []func(context.Context, string, Use) (token.Ticket, error){v.Redeem, v.Inspect, v.Redeem} {
			counted.n = 0
			_, err := call(t.Context(), ticket, ask)
			require.ErrorIs(t, err, ErrAskFirst)
			assert.Equal(t, RefusedByCaller, reasonOf(t, err))
			assert.Equal(t, 1, counted.n, "opened once")
		}
		wantFrom(t, v, "", ticket, agent)
		_, err := v.Redeem(t.Context(), ticket, ask)
		if once {
			assert.NotErrorIs(t, err, ErrAskFirst)
			assert.Equal(t, AlreadyUsed, reasonOf(t, err))
			assert.False(t, AsError(err).FirstUsed.IsZero())
		} else {
			assert.ErrorIs(t, err, ErrAskFirst)
		}
	}
}

// countedOpener counts what it opens.
type countedOpener struct {
	tink.AEAD
	n int
}

func (c *countedOpener) Decrypt(sealed, associatedData []byte) ([]byte, error) {
	c.n++
	return c.AEAD.Decrypt(sealed, associatedData)
}

// Log writes one event for each outcome, with the same attributes for the same things.
func TestLog(t *testing.T) {
	w := newWorld(t, nil)
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	ticket := w.issue(t, func(tk *token.Ticket) { tk.Actor = "key1" })
	w.step(time.Second)
	for range 2 {
		tk, err := w.Redeem(t.Context(), ticket, agent)
		w.Log(t.Context(), log, tk, err, slog.String("remote", "192.0.2.1"))
	}
	_, err := w.Redeem(t.Context(), "x", agent)
	w.Log(t.Context(), log, token.Ticket{}, err)
	w.Log(t.Context(), log, token.Ticket{}, errors.New("disk on fire"))
	const id = `ticket=[0-9a-f]{32} key=[0-9a-f]{8} brand=commbox audience=agent actor=key1`
	assert.Regexp(t, `^level=INFO msg="ticket redeemed" `+id+` one_time=true age_ms=1000 remote=192\.0\.2\.1
level=WARN msg="ticket refused" reason=already_used `+id+` first_used=\S+ remote=192\.0\.2\.1
level=WARN msg="ticket refused" reason=malformed cause=".*"
level=ERROR msg="ticket not decided" reason=store_unavailable cause="disk on fire"
$`, b.String())
	assert.NotContains(t, b.String(), "john.d")
	assert.NotContains(t, b.String(), ticket[5:])
}

func TestChecksInOrder(t *testing.T) {
	w := newWorld(t, nil)
	called := false
	check := func(token.Ticket) error { called = true; return nil }
	ticket := w.issue(t, func(tk *token.Ticket) { tk.Brand = "acme"; tk.Lifetime = time.Hour })
	// Wrong in all respects: each step of the order hides the next.
	w.want(t, LifetimeTooLong, ticket, Use{Audience: token.Customer, Check: check})
	w.config.MaxLifetime = time.Hour
	v := w.verifier(t, w.config)
	wantFrom(t, v, WrongAudience, ticket, Use{Audience: token.Customer, Check: check})
	wantFrom(t, v, WrongBrand, ticket, Use{Audience: token.Agent, Check: check})
	w.step(2 * time.Hour)
	wantFrom(t, v, Expired, ticket, Use{Audience: token.Customer, Check: check})
	wantFrom(t, v, Forged, ticket[:len(ticket)-4], Use{Audience: token.Customer, Check: check})
	assert.False(t, called, "the caller's check sees only tickets that pass all others")
}

// trap R6: the marker outlives the last moment of acceptance, also for a ticket
// whose issuer is ahead of our clock.
func TestRetention(t *testing.T) {
	const skew = 90 * time.Second // more than the slack, so that this cannot hide a retention without skew
	for name, ahead := range map[string]time.Duration{"even": 0, "issuer ahead": skew, "issuer behind": -skew / 2} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.Skew = skew })
			ticket := issueBy(t, w.issuerAt(t, w.ahead(ahead)), nil)
			w.want(t, "", ticket, agent)
			end := token.AgentLifetime + skew + ahead
			for at := time.Duration(0); at < end; {
				step := min(777*time.Millisecond, end-at)
				w.step(step)
				at += step
				_, err := w.Redeem(t.Context(), ticket, agent)
				require.Error(t, err)
				if at < end {
					require.Equal(t, AlreadyUsed, reasonOf(t, err), "at %v", at)
				} else {
					require.Equal(t, Expired, reasonOf(t, err))
				}
				// Others come and go, so that slices turn.
				w.want(t, "", w.issue(t, nil), agent)
			}
		})
	}
}

// trap R9: one cache shared by verifiers of different lifetimes and skews, and a
// lifetime changed by a reload.
func TestSharedCache(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxLifetime = time.Hour })
	short := w.config
	short.MaxLifetime, short.Skew = time.Minute, 0
	long := w.config
	long.MaxLifetime, long.Skew = 24*time.Hour, 30*time.Second
	vs := []*Verifier{w.Verifier, w.verifier(t, short), w.verifier(t, long)}
	for first := range vs {
		ticket := w.issue(t, nil)
		wantFrom(t, vs[first], "", ticket, agent)
		for range 120 {
			w.step(time.Second)
			for _, v := range vs {
				_, err := v.Redeem(t.Context(), ticket, agent)
				require.Error(t, err)
			}
		}
	}
}

// A forgetful store remembers every nonce to its claim's RetainUntil and not a
// moment longer, as Redis does.
type forgetful struct {
	now func() time.Time
	end map[[16]byte]time.Time
}

func (f forgetful) Peek(_ context.Context, c replay.Claim) (replay.Answer, error) {
	switch now := f.now(); {
	case !now.Before(c.RetainUntil):
		return replay.Answer{Status: replay.TooLate}, nil
	case now.Before(f.end[c.Nonce]):
		return replay.Answer{Status: replay.AlreadyUsed, FirstUsed: now}, nil
	}
	return replay.Answer{Status: replay.Admitted}, nil
}

func (f forgetful) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	a, err := f.Peek(ctx, c)
	if a.Status == replay.Admitted {
		f.end[c.Nonce] = c.RetainUntil
	}
	return a, err
}

// trap R6: what the strictest verifier has spent is remembered for as long as the
// laxest one accepts it.
// trap R9: so it is whichever of them was first.
func TestRetentionIsForAllVerifiers(t *testing.T) {
	const lax = 5 * time.Minute
	for _, first := range []time.Duration{0, Skew, lax} {
		w := newWorld(t, func(c *Config) {
			c.Store = forgetful{c.Now, map[[16]byte]time.Time{}}
			c.Skew, c.MaxSkew = first, lax
		})
		last := w.config
		last.Skew = lax
		laxest := w.verifier(t, last)
		ticket := w.issue(t, nil)
		w.want(t, "", ticket, agent)
		for at := time.Duration(0); at < token.AgentLifetime+lax; at += time.Second {
			wantFrom(t, laxest, AlreadyUsed, ticket, agent)
			w.step(time.Second)
		}
		wantFrom(t, laxest, Expired, ticket, agent)
	}
}

// trap R10: redeeming a newer ticket first does not refuse an older one.
// trap R11: nor does one dated far ahead refuse current ones.
func TestOrderDoesNotMatter(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxLifetime = 24 * time.Hour })
	older := w.issue(t, nil)
	w.step(20 * time.Second)
	newer := w.issue(t, nil)
	far := issueBy(t, w.issuerAt(t, w.ahead(Skew)), func(tk *token.Ticket) { tk.Lifetime = 24 * time.Hour })
	w.want(t, "", far, agent)
	w.want(t, "", newer, agent)
	w.want(t, "", older, agent)
	for _, ticket := range []string{far, newer, older} {
		w.want(t, AlreadyUsed, ticket, agent)
	}
}

// trap R13: an hour forward, others redeemed, and back: nothing opens again.
// trap R14: nor is anything refused for good, and the cause is told.
func TestClockSteps(t *testing.T) {
	w := newWorld(t, nil)
	ticket := w.issue(t, nil)
	w.want(t, "", ticket, agent)
	for range 2000 { // so that every shard of the cache has something to forget
		w.want(t, "", w.issue(t, nil), agent)
	}
	w.step(time.Hour)
	for range 2000 {
		w.want(t, "", w.issue(t, nil), agent)
	}
	w.step(-time.Hour)
	_, err := w.Redeem(t.Context(), ticket, agent)
	assert.Contains(t, []Reason{AlreadyUsed, ClockBehind}, reasonOf(t, err))
	w.want(t, ClockBehind, w.issue(t, nil), agent)
	w.step(5 * time.Minute)
	w.want(t, "", w.issue(t, nil), agent)
}

// trap R18: many goroutines, one ticket, one winner.
// trap R31: at every fill of the filters, while chains grow.
func TestRace(t *testing.T) {
	w := newWorld(t, nil)
	const callers = 16
	for range 300 {
		ticket := w.issue(t, nil)
		var admitted atomic.Int32
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				if _, err := w.Redeem(context.Background(), ticket, agent); err == nil {
					admitted.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, admitted.Load())
	}
}

// trap R21: sentinels. A ticket with an all-zero ID issued at time zero is a
// ticket like any other.
func TestSentinels(t *testing.T) {
	w := newWorld(t, nil)
	zero, err := token.NewIssuer(token.Config{Realm: "r", Now: w.now,
		Sealer: altering{w.keys, func(id []byte) { clear(id) }}})
	require.NoError(t, err)
	ticket := issueBy(t, zero, nil)
	w.want(t, "", ticket, agent)
	w.want(t, AlreadyUsed, ticket, agent)

	epoch := newWorld(t, nil)
	epoch.ns.Store(0)
	old, err := token.NewIssuer(token.Config{Sealer: epoch.keys, Realm: "r", Now: epoch.now})
	require.NoError(t, err)
	ticket = issueBy(t, old, nil)
	epoch.want(t, "", ticket, agent)
	epoch.want(t, AlreadyUsed, ticket, agent)
}

// trap R27: a replay extends nothing.
func TestReplayExtendsNothing(t *testing.T) {
	w := newWorld(t, nil)
	m := w.store.(*memory.Store)
	ticket := w.issue(t, nil)
	w.want(t, "", ticket, agent)
	before, err := m.Stats(t.Context())
	require.NoError(t, err)
	for range 10_000 {
		_, err := w.Redeem(t.Context(), ticket, agent)
		require.Error(t, err)
	}
	after, err := m.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before.Live, after.Live)
	assert.Equal(t, before.Bytes, after.Bytes)
}

// stub answers what a test wants.
type stub struct {
	answer replay.Answer
	err    error
	onCall func()
}

func (s stub) Claim(context.Context, replay.Claim) (replay.Answer, error) {
	if s.onCall != nil {
		s.onCall()
	}
	return s.answer, s.err
}

func (s stub) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.Claim(ctx, c)
}

// trap R24: an outage is told as an outage, and admits nobody; so does an answer
// that is none.
func TestStoreAnswers(t *testing.T) {
	down := errors.New("connection refused")
	for _, row := range []struct {
		stub   stub
		reason Reason
	}{
		{stub{answer: replay.Answer{Status: replay.Admitted}}, ""},
		{stub{err: down}, StoreUnavailable},
		{stub{answer: replay.Answer{Status: replay.Admitted}, err: down}, StoreUnavailable},
		{stub{}, StoreUnavailable},
		{stub{answer: replay.Answer{Status: 99}}, StoreUnavailable},
		{stub{answer: replay.Answer{Status: replay.AlreadyUsed}}, AlreadyUsed},
		{stub{answer: replay.Answer{Status: replay.PossiblyUsed}}, PossiblyUsed},
		{stub{answer: replay.Answer{Status: replay.IssuedBeforeStart}}, IssuedBeforeStart},
		{stub{answer: replay.Answer{Status: replay.TooLate}}, Expired},
		{stub{answer: replay.Answer{Status: replay.Full}}, StoreFull},
		{stub{answer: replay.Answer{Status: replay.ClockBehind}}, ClockBehind},
	} {
		w := newWorld(t, func(c *Config) { c.Store = row.stub })
		ticket := w.issue(t, nil)
		w.want(t, row.reason, ticket, agent)
		_, err := w.Inspect(t.Context(), ticket, agent)
		if row.reason == "" {
			assert.NoError(t, err)
			continue
		}
		assert.Equal(t, row.reason, reasonOf(t, err))
		assert.Equal(t, row.reason == StoreUnavailable || row.reason == StoreFull || row.reason == ClockBehind,
			reasonOf(t, err).CannotTell())
		if row.stub.err != nil {
			assert.ErrorIs(t, err, down)
		}
		// A ticket that may be used many times needs no store.
		w.want(t, "", w.issue(t, func(tk *token.Ticket) { tk.OneTime = false }), agent)
	}
}

// trap R29: a request that sat too long in its claim is refused.
func TestLateAnswer(t *testing.T) {
	var w *world
	w = newWorld(t, func(c *Config) {
		c.Store = stub{answer: replay.Answer{Status: replay.Admitted}, onCall: func() { w.step(2 * time.Minute) }}
	})
	w.want(t, Expired, w.issue(t, nil), agent)

	// And one that sat so long before its claim that its marker may be gone.
	slow := newWorld(t, nil)
	ticket := slow.issue(t, nil)
	slow.want(t, "", ticket, agent)
	slow.want(t, Expired, ticket, Use{Audience: token.Agent, Check: func(token.Ticket) error {
		slow.step(time.Hour)
		slow.want(t, "", slow.issue(t, nil), agent)
		return nil
	}})
}

// immediate is a stub that waits for nothing, or says that it does not know.
type immediate struct {
	stub
	sure bool
}

func (i immediate) Immediate() bool { return i.sure }

// After the claim of an immediate store, a ticket is refused as expired only if the caller's own
// check can have taken long.
func TestImmediateStore(t *testing.T) {
	for _, row := range []struct {
		sure, check bool
		want        Reason
	}{
		{true, false, ""}, {true, true, Expired}, {false, false, Expired}, {false, true, Expired},
	} {
		var w *world
		w = newWorld(t, func(c *Config) {
			c.Store = immediate{stub{
				answer: replay.Answer{Status: replay.Admitted}, onCall: func() { w.step(2 * time.Minute) },
			}, row.sure}
		})
		use := agent
		if row.check {
			use.Check = func(token.Ticket) error { return nil }
		}
		w.want(t, row.want, w.issue(t, nil), use)
	}
}

// trap R41: a clock set back during the claim does not refuse the ticket that the claim has
// spent; a clock set forward does, since the lifetime is over.
func TestClockSteppedDuringClaim(t *testing.T) {
	for _, row := range []struct {
		step time.Duration
		want Reason
	}{
		{-time.Second, ""}, {-Skew - time.Second, ""}, {-time.Hour, ""}, {-48 * time.Hour, ""},
		{30 * time.Second, ""}, {2 * time.Minute, Expired},
	} {
		var w *world
		w = newWorld(t, func(c *Config) {
			c.Store = stub{answer: replay.Answer{Status: replay.Admitted}, onCall: func() { w.step(row.step) }}
		})
		w.want(t, row.want, w.issue(t, nil), agent)
	}
}

// trap R25: a retry with the same binding within the grace gets the same answer,
// any other is a replay.
func TestBinding(t *testing.T) {
	w := newWorld(t, nil)
	ticket := w.issue(t, nil)
	mine := Use{Audience: token.Agent, Binding: [32]byte{1}}
	w.want(t, "", ticket, mine)
	w.step(replay.Grace - time.Millisecond)
	w.want(t, "", ticket, mine)
	w.want(t, AlreadyUsed, ticket, Use{Audience: token.Agent, Binding: [32]byte{2}})
	w.want(t, AlreadyUsed, ticket, agent)
	w.step(time.Millisecond)
	w.want(t, AlreadyUsed, ticket, mine)

	unbound := w.issue(t, nil)
	w.want(t, "", unbound, agent)
	w.want(t, AlreadyUsed, unbound, agent)
	w.want(t, AlreadyUsed, unbound, mine)
}

func TestBrandsAreOurOwn(t *testing.T) {
	brands := []string{"commbox"}
	w := newWorld(t, func(c *Config) { c.Brands = brands })
	brands[0] = "acme"
	w.want(t, "", w.issue(t, nil), agent)
}

func TestErrorsAreForOperators(t *testing.T) {
	for r, text := range explanations {
		assert.Equal(t, string(r)+": "+text, (&Error{Reason: r}).Error())
	}
	assert.Len(t, explanations, 20, "every reason is explained")
	w := newWorld(t, nil)
	ticket := w.issue(t, nil)
	for _, s := range []string{ticket[:40], ticket + "=", "tkt2_" + ticket[5:], ticket[:len(ticket)-4]} {
		_, err := w.Redeem(t.Context(), s, agent)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), ticket[11:30], "no error quotes the ticket")
		assert.True(t, strings.HasPrefix(err.Error(), string(reasonOf(t, err))+": "))
	}
}
