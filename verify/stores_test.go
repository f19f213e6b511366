//go:build unix

package verify_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/hybrid"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/localtier"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

// patience is how long a server may take, on a machine that is busy.
const patience = 3 * time.Minute

// A realStore is a replay store as it is in service, by the machine's clock.
type realStore struct {
	name string
	// handles returns stores on the one memory, as processes of their own have.
	handles func(t *testing.T) []replay.Store
	// restart ends what holds the memory and starts it again. Handles may not
	// survive it. It is nil where the memory does not.
	restart func(t *testing.T)
	// outage takes the store away until restore is called.
	outage func(t *testing.T) (restore func())
}

func realStores(t *testing.T) []realStore {
	t.Helper()
	memory, err := memory.Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	return []realStore{
		{name: "memory", handles: func(*testing.T) []replay.Store { return []replay.Store{memory} }},
		journalStore(t), redisStore(t), postgresStore(t),
	}
}

func journalStore(t *testing.T) realStore {
	dir := filepath.Join(t.TempDir(), "journal")
	var j *journal.Store
	open := func(t *testing.T) {
		var err error
		j, err = journal.Open(t.Context(), journal.Config{Dir: dir})
		require.NoError(t, err)
	}
	open(t)
	t.Cleanup(func() { _ = j.Close() })
	return realStore{
		name:    "journal",
		handles: func(*testing.T) []replay.Store { return []replay.Store{j} },
		restart: func(t *testing.T) { require.NoError(t, j.Close()); open(t) },
		outage: func(t *testing.T) func() {
			require.NoError(t, os.Rename(dir, dir+".away"))
			return func() { require.NoError(t, os.Rename(dir+".away", dir)) }
		},
	}
}

// shared returns two handles of a shared store, and a local tier before a third.
func shared(t *testing.T, open func() (replay.Managed, error)) (all []replay.Store) {
	var last replay.Managed
	for range 3 {
		s, err := open()
		require.NoError(t, err)
		all, last = append(all, s), s
	}
	tier, err := localtier.Open(t.Context(), localtier.Config{Store: last})
	require.NoError(t, err)
	all[2] = tier
	return all
}

func redisStore(t *testing.T) realStore {
	server := servers.Redis(t, "", servers.Durable...)
	return realStore{
		name: "redis",
		handles: func(t *testing.T) []replay.Store {
			return shared(t, func() (replay.Managed, error) {
				s, err := redisstore.Open(context.Background(),
					redisstore.Config{URL: server.URL, Realm: "r", Durable: true, Timeout: patience})
				if err == nil {
					t.Cleanup(func() { s.Close() })
				}
				return s, err
			})
		},
		restart: func(*testing.T) { server.Kill(); server.Start() },
		outage:  func(*testing.T) func() { server.Kill(); return server.Start },
	}
}

func postgresStore(t *testing.T) realStore {
	server := servers.PostgreSQL(t)
	return realStore{
		name: "postgres",
		handles: func(t *testing.T) []replay.Store {
			return shared(t, func() (replay.Managed, error) {
				s, err := pgstore.Open(context.Background(), pgstore.Config{URL: server.URL, Realm: "r", Timeout: patience})
				if err == nil {
					t.Cleanup(func() { s.Close() })
				}
				return s, err
			})
		},
		restart: func(*testing.T) { server.Kill(); server.Start() },
		outage:  func(*testing.T) func() { server.Kill(); return server.Start },
	}
}

// A realWorld is an issuer, ahead of the verifiers by all that they tolerate, and
// a verifier on each handle of one store.
type realWorld struct {
	realStore
	keys *token.Keyset
	all  []*verify.Verifier

	issuers  map[string]token.Config // by name: "", acme of format 1 and beta of format 2
	issuer   string                  // of the tickets of issue
	trusted  verify.Issuers
	unsealer opening
}

func newRealWorld(t *testing.T, s realStore) *realWorld {
	t.Helper()
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	keys, err := token.NewKeyset(h)
	require.NoError(t, err)
	w := &realWorld{realStore: s, keys: keys, issuers: map[string]token.Config{"": {Sealer: keys}}}
	grant := verify.Grant{Brands: []string{"acme"}, Audiences: []token.Audience{token.Agent, token.Customer},
		MaxLifetime: time.Hour, ManyTimes: true}
	h, err = keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	named, err := token.NewKeyset(h)
	require.NoError(t, err)
	w.issuers["acme"] = token.Config{Sealer: named}
	w.issuers["beta"], w.unsealer = signedBy(t, "beta")
	w.trusted, err = verify.NewIssuers(verify.Issuer{Name: "acme", Keys: named, Grant: grant},
		verify.Issuer{Name: "beta", SigningKeys: w.unsealer.by, Grant: grant})
	require.NoError(t, err)
	w.open(t)
	return w
}

// open opens all handles, and waits until what is issued now is admitted.
func (w *realWorld) open(t *testing.T) {
	t.Helper()
	w.all = nil
	for _, store := range w.handles(t) {
		w.all = append(w.all, w.verifier(t, store, time.Now))
	}
	w.settle(t)
}

func (w *realWorld) settle(t *testing.T) {
	t.Helper()
	for _, v := range w.all {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			for range 50 { // over every connection that a store may have
				_, err := v.Redeem(context.Background(), w.issue(t, nil), agent)
				require.NoError(c, err)
			}
		}, patience, 10*time.Millisecond)
	}
}

func (w *realWorld) verifier(t *testing.T, store replay.Store, now func() time.Time) *verify.Verifier {
	t.Helper()
	v, err := verify.New(w.config(store, now))
	require.NoError(t, err)
	return v
}

func (w *realWorld) config(store replay.Store, now func() time.Time) verify.Config {
	return verify.Config{Opener: w.keys, Issuers: w.trusted, Unsealer: w.unsealer.OpeningKeys, Realm: "r",
		Brands: []string{"acme"}, Store: store, Skew: verify.Skew, Now: now}
}

// opening has the keys of a login service, and those of the one issuer of format 2.
type opening struct {
	*signed.OpeningKeys
	by []*signed.VerifyingKey
}

// signedBy makes an issuer of format 2 and its recipient.
func signedBy(t *testing.T, name string) (token.Config, opening) {
	t.Helper()
	h, err := keyset.NewHandle(signature.ED25519KeyTemplate())
	require.NoError(t, err)
	signer, err := signed.NewSigner(h)
	require.NoError(t, err)
	public, err := h.Public()
	require.NoError(t, err)
	by, err := signed.NewVerifyingKeys(name, public)
	require.NoError(t, err)
	h, err = keyset.NewHandle(hybrid.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM_Key_Template())
	require.NoError(t, err)
	keys, err := signed.NewOpeningKeys(h)
	require.NoError(t, err)
	public, err = h.Public()
	require.NoError(t, err)
	to, err := signed.NewSealingKey(public)
	require.NoError(t, err)
	sealer, err := signed.NewSealer(name, signer, to)
	require.NoError(t, err)
	return token.Config{Signed: sealer}, opening{keys, by}
}

func off(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }

func (w *realWorld) issue(t *testing.T, change func(*token.Ticket)) string {
	t.Helper()
	return issueAs(t, w.issuers[w.issuer], verify.Skew, change)
}

func (w *realWorld) issueBy(t *testing.T, sealer tink.AEAD, ahead time.Duration, change func(*token.Ticket)) string {
	t.Helper()
	return issueAs(t, token.Config{Sealer: sealer}, ahead, change)
}

func issueAs(t *testing.T, c token.Config, ahead time.Duration, change func(*token.Ticket)) string {
	t.Helper()
	c.Realm, c.Now = "r", off(ahead)
	issuer, err := token.NewIssuer(c)
	require.NoError(t, err)
	tk := &token.Ticket{Audience: token.Agent, OneTime: true, Brand: "acme", Username: "jo", Lifetime: 15 * time.Minute}
	if change != nil {
		change(tk)
	}
	text, err := issuer.Issue(tk)
	require.NoError(t, err)
	return text
}

// sealing is an AEAD that changes payloads on their way to the keys, and no probe.
type sealing struct {
	tink.AEAD
	change func(payload []byte) []byte
}

func (s sealing) Encrypt(payload, ad []byte) ([]byte, error) {
	if len(payload) > 18 {
		payload = s.change(payload)
	}
	return s.AEAD.Encrypt(payload, ad)
}

var agent = verify.Use{Audience: token.Agent}

// wantAll offers the ticket to all verifiers, and wants the reason of each.
func (w *realWorld) wantAll(t *testing.T, reason verify.Reason, ticket string, use verify.Use) {
	t.Helper()
	for _, v := range w.all {
		wantReason(t, v, reason, ticket, use)
	}
}

func wantReason(t *testing.T, v *verify.Verifier, reason verify.Reason, ticket string, use verify.Use) {
	t.Helper()
	tk, err := v.Redeem(context.Background(), ticket, use)
	require.Error(t, err, "want %s", reason)
	var e *verify.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, reason, e.Reason, "%v", err)
	require.Zero(t, tk)
}

// once wants the ticket good, for one of all verifiers.
func (w *realWorld) once(t *testing.T, ticket string, use verify.Use) {
	t.Helper()
	for _, v := range w.all {
		_, err := v.Inspect(context.Background(), ticket, use)
		require.NoError(t, err, "not spent yet")
	}
	_, err := w.all[0].Redeem(context.Background(), ticket, use)
	require.NoError(t, err)
	use.Binding = [32]byte{}
	for range 2 {
		w.wantAll(t, verify.AlreadyUsed, ticket, use)
	}
}

// The traps that verifier and store fall into together, on every store that we
// have, with real servers.
func TestVerifierOnEveryStore(t *testing.T) {
	for _, s := range realStores(t) {
		t.Run(s.name, func(t *testing.T) {
			w := newRealWorld(t, s)
			for name, trap := range map[string]func(*realWorld, *testing.T){
				"Malleability": malleability, "Forgery": forgery, "Refusals": refusals, "Race": raceOnStores,
				"ZeroID": zeroID, "Binding": bindingOnStores, "IDs": idsAreOurs, "Late": lateClaim,
				"Issuers": issuersOnStores,
			} {
				t.Run(name, func(t *testing.T) { trap(w, t) })
			}
			// The same with tickets of issuers with a name, in both formats.
			for _, issuer := range []string{"acme", "beta"} {
				for name, trap := range map[string]func(*realWorld, *testing.T){
					"Refusals": refusals, "Race": raceOnStores, "Binding": bindingOnStores, "Late": lateClaim,
				} {
					t.Run(name+" of "+issuer, func(t *testing.T) {
						w.issuer = issuer
						defer func() { w.issuer = "" }()
						trap(w, t)
					})
				}
			}
			// These leave other handles behind.
			t.Run("Outage", func(t *testing.T) { outage(w, t) })
			t.Run("Restart", func(t *testing.T) { restart(w, t) })
		})
	}
}

// Two named issuers, and the one without a name, seal tickets with one ID: each is spent by
// itself, once.
//
// trap F15
func issuersOnStores(w *realWorld, t *testing.T) {
	keys := map[string]*token.Keyset{"": w.keys}
	var all []verify.Issuer
	for _, name := range []string{"acme", "beta"} {
		h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
		require.NoError(t, err)
		keys[name], err = token.NewKeyset(h)
		require.NoError(t, err)
		all = append(all, verify.Issuer{Name: name, Keys: keys[name], Grant: verify.Grant{
			Brands: []string{"acme"}, Audiences: []token.Audience{token.Agent}, MaxLifetime: time.Hour,
		}})
	}
	issuers, err := verify.NewIssuers(all...)
	require.NoError(t, err)
	var verifiers []*verify.Verifier
	for _, store := range w.handles(t) {
		v, err := verify.New(verify.Config{Opener: w.keys, Issuers: issuers, Realm: "r", Brands: []string{"acme"},
			Store: store, Skew: verify.Skew})
		require.NoError(t, err)
		verifiers = append(verifiers, v)
	}
	bound := agent
	bound.Binding = sha256.Sum256([]byte(t.Name()))
	for i, use := range []verify.Use{agent, bound} {
		tickets := map[string]string{}
		for name, k := range keys {
			tickets[name] = w.issueBy(t, sealing{k, func(payload []byte) []byte {
				id := sha256.Sum256([]byte(w.name + string(rune('0'+i))))
				copy(payload[2:18], id[:])
				return payload
			}}, verify.Skew, nil)
		}
		for _, name := range []string{"beta", "", "acme"} {
			for _, v := range verifiers {
				_, err := v.Inspect(context.Background(), tickets[name], use)
				require.NoError(t, err, "nobody has spent the ticket of %q", name)
			}
			tk, err := verifiers[0].Redeem(context.Background(), tickets[name], use)
			require.NoError(t, err)
			require.Equal(t, name, tk.Issuer)
			for _, v := range verifiers {
				wantReason(t, v, verify.AlreadyUsed, tickets[name], agent)
			}
		}
	}
}

// trap R3
func malleability(w *realWorld, t *testing.T) {
	ticket := w.issue(t, nil)
	n := 0
	try := func(s string) {
		if s == ticket {
			return
		}
		n++
		_, err := w.all[n%len(w.all)].Redeem(context.Background(), s, agent)
		require.Error(t, err, "%q", s)
	}
	for i := range ticket {
		for _, c := range "AQgw_-=%\r\n+/ " {
			try(ticket[:i] + string(c) + ticket[i+1:])
			try(ticket[:i] + string(c) + ticket[i:])
		}
		try(ticket[:i])
		try(ticket[:i] + "%0A" + ticket[i:])
	}
	for _, tail := range []string{"=", "==", "\r", "\n", "\r\n", "%0A", "%3d", "A", "AAAA", "\x00"} {
		try(ticket + tail)
	}
	w.once(t, ticket, agent)
}

// trap R4
func forgery(w *realWorld, t *testing.T) {
	ticket := w.issue(t, nil)
	genuine, err := w.all[0].Inspect(context.Background(), ticket, agent)
	require.NoError(t, err)
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	forger, err := token.NewKeyset(h)
	require.NoError(t, err)
	forged := w.issueBy(t, sealing{forger, func(payload []byte) []byte {
		copy(payload[2:18], genuine.ID[:])
		return payload
	}}, verify.Skew, nil)
	w.wantAll(t, verify.UnknownKey, forged, agent)
	w.wantAll(t, verify.Forged, ticket[:12]+forged[12:], agent) // with the victim's key ID
	w.once(t, ticket, agent)
}

// trap R5
func refusals(w *realWorld, t *testing.T) {
	ticket := w.issue(t, nil)
	customer := w.issue(t, func(tk *token.Ticket) {
		tk.Audience, tk.Username, tk.Email, tk.Channel = token.Customer, "", "jo@example.com", "web"
	})
	w.wantAll(t, verify.WrongAudience, ticket, verify.Use{Audience: token.Customer})
	w.wantAll(t, verify.RefusedByCaller, ticket, verify.Use{Audience: token.Agent,
		Check: func(token.Ticket) error { return errors.New("not today") }})
	w.wantAll(t, verify.WrongChannel, customer, verify.Use{Audience: token.Customer, Channel: "app"})
	w.wantAll(t, verify.WrongChannel, customer, verify.Use{Audience: token.Customer})
	store := w.handles(t)[0]
	c := w.config(store, time.Now)
	c.Brands = []string{"other"}
	elsewhere, err := verify.New(c)
	require.NoError(t, err)
	wantReason(t, elsewhere, verify.WrongBrand, ticket, agent)
	wantReason(t, w.verifier(t, store, off(-time.Minute)), verify.NotYetValid, ticket, agent)
	wantReason(t, w.verifier(t, store, off(time.Hour)), verify.Expired, ticket, agent)
	c = w.config(store, time.Now)
	c.MaxLifetime = time.Minute
	short, err := verify.New(c)
	require.NoError(t, err)
	wantReason(t, short, verify.LifetimeTooLong, ticket, agent)
	w.once(t, ticket, agent)
	w.once(t, customer, verify.Use{Audience: token.Customer, Channel: "web"})
}

// trap R18
// trap R31
func raceOnStores(w *realWorld, t *testing.T) {
	for range 20 {
		ticket := w.issue(t, nil)
		var admitted atomic.Int32
		var ready, done sync.WaitGroup
		begin := make(chan struct{})
		for i := range 12 {
			ready.Add(1)
			done.Go(func() {
				ready.Done()
				<-begin
				if _, err := w.all[i%len(w.all)].Redeem(context.Background(), ticket, agent); err == nil {
					admitted.Add(1)
				}
			})
		}
		ready.Wait()
		close(begin)
		done.Wait()
		require.EqualValues(t, 1, admitted.Load())
	}
}

// trap R21
func zeroID(w *realWorld, t *testing.T) {
	ticket := w.issueBy(t, sealing{w.keys, func(payload []byte) []byte {
		clear(payload[2:18])
		return payload
	}}, verify.Skew, nil)
	w.once(t, ticket, agent)
}

// trap R25
func bindingOnStores(w *realWorld, t *testing.T) {
	ticket := w.issue(t, nil)
	mine, other := agent, agent
	mine.Binding, other.Binding = sha256.Sum256([]byte("mine")), sha256.Sum256([]byte("another's"))
	begin := time.Now()
	_, err := w.all[0].Redeem(context.Background(), ticket, mine)
	require.NoError(t, err)
	for _, v := range w.all {
		wantReason(t, v, verify.AlreadyUsed, ticket, other)
		wantReason(t, v, verify.AlreadyUsed, ticket, agent)
		if _, err := v.Redeem(context.Background(), ticket, mine); time.Since(begin) < replay.Grace {
			require.NoError(t, err)
		}
	}
	var e *verify.Error
	_, err = w.all[0].Inspect(context.Background(), ticket, other)
	require.ErrorAs(t, err, &e)
	assert.WithinDuration(t, begin, e.FirstUsed, patience)
}

// trap R26: what a caller writes into ID is not what is issued, and a payload that
// ends where its ID should be is no ticket.
func idsAreOurs(w *realWorld, t *testing.T) {
	seen := map[token.ID]bool{}
	for _, id := range []token.ID{{}, {}, {1}, {1}} {
		ticket := w.issue(t, func(tk *token.Ticket) { tk.ID = id })
		got, err := w.all[0].Inspect(context.Background(), ticket, agent)
		require.NoError(t, err)
		require.NotEqual(t, id, got.ID)
		require.False(t, seen[got.ID])
		seen[got.ID] = true
		w.once(t, ticket, agent)
	}
	for cut := range 18 { // flags and audience, and up to all of the ID
		short := w.issueBy(t, sealing{w.keys, func(payload []byte) []byte {
			return append(payload[:cut:cut], payload[18:]...)
		}}, verify.Skew, nil)
		_, err := w.all[0].Redeem(context.Background(), short, agent)
		require.Error(t, err, "an ID of %d bytes", cut-2)
		var e *verify.Error
		require.ErrorAs(t, err, &e)
		require.False(t, e.Reason == verify.AlreadyUsed || e.Reason.CannotTell(), "%v", e.Reason)
	}
}

// A verifier whose clock stands still for hours takes an old ticket for a good
// one. The store's clock does not.
//
// trap R29
func lateClaim(w *realWorld, t *testing.T) {
	old := issueAs(t, w.issuers[w.issuer], -2*time.Hour, nil)
	for _, store := range w.handles(t) {
		wantReason(t, w.verifier(t, store, off(-2*time.Hour)), verify.Expired, old, agent)
	}
}

// trap R24
func outage(w *realWorld, t *testing.T) {
	spent, fresh := w.issue(t, nil), w.issue(t, nil)
	w.once(t, spent, agent)
	many := w.issue(t, func(tk *token.Ticket) { tk.OneTime = false })
	if w.outage == nil { // nobody can take a process's own memory away; a caller may go
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := w.all[0].Redeem(ctx, fresh, agent)
		var e *verify.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, verify.StoreUnavailable, e.Reason)
		w.once(t, fresh, agent)
		return
	}
	kept := w.pairs(t)
	restore := w.outage(t)
	for range 2 {
		w.wantAll(t, verify.StoreUnavailable, fresh, agent)
	}
	for _, p := range kept {
		w.wantAll(t, verify.StoreUnavailable, p.fresh, agent)
	}
	_, err := w.all[0].Redeem(context.Background(), many, agent)
	assert.NoError(t, err, "a ticket of many uses asks no store")
	restore()
	w.settle(t)
	w.wantAll(t, verify.AlreadyUsed, spent, agent)
	w.once(t, fresh, agent)
	w.still(t, kept)
}

// A pair is a ticket that was spent and one that was not, of an issuer with a name.
type pair struct{ spent, fresh string }

func (w *realWorld) pairs(t *testing.T) (all []pair) {
	t.Helper()
	for _, issuer := range []string{"acme", "beta"} {
		p := pair{issueAs(t, w.issuers[issuer], verify.Skew, nil), issueAs(t, w.issuers[issuer], verify.Skew, nil)}
		w.once(t, p.spent, agent)
		all = append(all, p)
	}
	return all
}

// still wants the spent tickets spent, and the fresh ones good.
func (w *realWorld) still(t *testing.T, all []pair) {
	t.Helper()
	for _, p := range all {
		w.wantAll(t, verify.AlreadyUsed, p.spent, agent)
		w.once(t, p.fresh, agent)
	}
}

// trap R2: what was redeemed is known after a restart, and what was not is good,
// where the memory outlives it. Where it does not, all that was issued before is
// refused.
func restart(w *realWorld, t *testing.T) {
	spent, fresh := w.issue(t, nil), w.issue(t, nil)
	w.once(t, spent, agent)
	if w.restart == nil {
		store, err := memory.Open(t.Context(), memory.Config{})
		require.NoError(t, err)
		v := w.verifier(t, store, time.Now)
		wantReason(t, v, verify.IssuedBeforeStart, spent, agent)
		wantReason(t, v, verify.IssuedBeforeStart, fresh, agent)
		return
	}
	kept := w.pairs(t)
	w.restart(t)
	w.open(t)
	w.wantAll(t, verify.AlreadyUsed, spent, agent)
	w.once(t, fresh, agent)
	w.still(t, kept)
}
