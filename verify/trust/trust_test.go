package trust

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

const realm = "prod"

// clock is moved by a test.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

type fileKEK struct{ *subtle.AESGCM }

func (fileKEK) Hint() string { return "test" }

// party is an organisation with an identity key and a keyring.
type party struct {
	name     string
	clock    *clock
	kek      keyring.KEK // of the identity
	identity keyring.Identity
	path     string
	c        keyring.Config
	last     []byte // bundle
}

func newParty(t testing.TB, clock *clock, kind keyring.Kind, name string, seed byte) *party {
	t.Helper()
	kek, err := keyring.NewIdentity(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)))
	require.NoError(t, err)
	id, _ := keyring.IdentityOf(kek)
	a, err := subtle.NewAESGCM(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	p := &party{name: name, clock: clock, kek: kek, identity: id, path: filepath.Join(tempDir(t), "keyring")}
	p.c = keyring.Config{Kind: kind, Realm: realm, KEK: fileKEK{a}, Now: clock.now, Poll: time.Hour,
		Log: slog.New(slog.DiscardHandler)}
	require.NoError(t, keyring.Create(p.path, p.c, keyring.DefaultPolicy(kind), ""))
	return p
}

// tempDir returns a directory in memory, if the system has one: hundreds of rotations are many
// writes.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "trust-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// publish makes the next bundle.
func (p *party) publish(t testing.TB) []byte {
	t.Helper()
	return p.publishAs(t, keyring.Publication{Name: p.name, Identity: p.kek, Before: p.last})
}

func (p *party) publishAs(t testing.TB, as keyring.Publication) []byte {
	t.Helper()
	data, _, err := keyring.Publish(p.path, p.c, as)
	require.NoError(t, err)
	p.last = data
	return data
}

func (p *party) change(t testing.TB, why string, s ...keyring.Step) keyring.Info {
	t.Helper()
	info, err := keyring.Change(p.path, p.c, why, s...)
	require.NoError(t, err)
	return info
}

func (p *party) primary(t testing.TB) keyring.KeyID {
	t.Helper()
	info, err := keyring.Read(p.path, p.c)
	require.NoError(t, err)
	return info.Primary
}

// issuer issues to a recipient.
func (p *party) issuer(t testing.TB, to signed.Recipient) *token.Issuer {
	t.Helper()
	ring, err := keyring.Open(p.path, p.c)
	require.NoError(t, err)
	t.Cleanup(func() { ring.Close() })
	sealer, err := signed.NewSealer(p.name, ring, to)
	require.NoError(t, err)
	i, err := token.NewIssuer(token.Config{Signed: sealer, Realm: realm, Now: p.clock.now})
	require.NoError(t, err)
	return i
}

func issue(t testing.TB, i *token.Issuer, brand string) string {
	t.Helper()
	s, err := i.Issue(&token.Ticket{Audience: token.Agent, Brand: brand, Username: "ann", OneTime: true})
	require.NoError(t, err)
	return s
}

// world is a login service with its trust list and two issuers, acme and beta.
type world struct {
	clock      *clock
	acme, beta *party
	login      *party
	path       string
	owner      keyring.Config // signs the list
	ring       *Ring
	v          *verify.Verifier
	to         *keyring.Ring
}

var agents = Grant{Brands: []string{"acme"}, Audiences: []string{"agent"}}

func newWorld(t testing.TB) *world {
	t.Helper()
	clock := newClock()
	w := &world{clock: clock, acme: newParty(t, clock, keyring.Issuer, "acme", 1),
		beta: newParty(t, clock, keyring.Issuer, "beta", 2), login: newParty(t, clock, keyring.Recipient, "login", 3)}
	w.path = filepath.Join(tempDir(t), "trust.list")
	w.owner = keyring.Config{Realm: realm, KEK: w.login.kek, Now: clock.now, Poll: time.Hour,
		Log: slog.New(slog.DiscardHandler)}
	w.add(t, w.acme, agents)
	w.add(t, w.beta, Grant{Brands: []string{"beta"}, Audiences: []string{"agent"}})
	var err error
	reader := w.owner
	reader.KEK = w.login.identity
	w.ring, err = Open(w.path, reader)
	require.NoError(t, err)
	t.Cleanup(func() { w.ring.Close() })
	w.to, err = keyring.Open(w.login.path, w.login.c)
	require.NoError(t, err)
	t.Cleanup(func() { w.to.Close() })
	store, err := memory.Open(t.Context(), memory.Config{NoBarrier: true, Now: clock.now})
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	w.v, err = verify.New(verify.Config{Issuers: w.ring, Unsealer: w.to, Realm: realm, Store: store, AnyBrand: true,
		Skew: verify.Skew, Now: clock.now})
	require.NoError(t, err)
	return w
}

func (w *world) add(t testing.TB, p *party, g Grant) {
	t.Helper()
	_, refused, err := Add(w.path, w.owner, "", Enrolment{Bundle: p.publish(t), Identity: p.identity, Grant: g})
	require.NoError(t, err)
	require.Empty(t, refused)
}

// take takes bundles, and returns what was refused.
func (w *world) take(t testing.TB, accept bool, offers ...Offer) []Refused {
	t.Helper()
	_, refused, err := Take(w.path, w.owner, "", accept, offers...)
	require.NoError(t, err)
	require.NoError(t, w.ring.Reload())
	return refused
}

// reason redeems a ticket, and returns why it is refused, or "".
func (w *world) reason(t testing.TB, ticket string) verify.Reason {
	t.Helper()
	_, err := w.v.Redeem(context.Background(), ticket, verify.Use{Audience: token.Agent})
	if err == nil {
		return ""
	}
	refused, ok := errors.AsType[*verify.Error](err)
	require.True(t, ok, err)
	return refused.Reason
}

func (w *world) list(t testing.TB) List {
	t.Helper()
	l, err := Read(w.path, w.owner)
	require.NoError(t, err)
	return l
}

// The whole way: keyrings, bundles, the list, tickets.
func TestTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme, beta := w.acme.issuer(t, w.to), w.beta.issuer(t, w.to)
	assert.Empty(t, w.reason(t, issue(t, acme, "acme")))
	assert.Empty(t, w.reason(t, issue(t, beta, "beta")))
	// trap F4: an issuer for one brand does not issue for another.
	assert.Equal(t, verify.IssuerNotAllowed, w.reason(t, issue(t, beta, "acme")))

	// trap F8: zero means nothing.
	ticket := issue(t, acme, "acme")
	_, err := SetGrant(w.path, w.owner, "", "acme", func(g *Grant) { *g = Grant{} })
	require.NoError(t, err)
	require.NoError(t, w.ring.Reload())
	assert.Equal(t, verify.IssuerNotAllowed, w.reason(t, ticket))
	_, err = SetGrant(w.path, w.owner, "", "acme", func(g *Grant) { *g = Grant{} })
	require.ErrorIs(t, err, keyring.ErrAlready)
	_, err = SetGrant(w.path, w.owner, "", "acme", func(g *Grant) { *g = agents; g.Until = w.clock.t })
	require.NoError(t, err)
	require.NoError(t, w.ring.Reload())
	assert.Equal(t, verify.IssuerNotAllowed, w.reason(t, ticket))
	_, err = SetGrant(w.path, w.owner, "", "acme", func(g *Grant) { *g = agents })
	require.NoError(t, err)
	require.NoError(t, w.ring.Reload())
	assert.Empty(t, w.reason(t, ticket))
	_, err = SetGrant(w.path, w.owner, "", "gamma", func(*Grant) {})
	require.ErrorIs(t, err, ErrNoIssuer)
	// Two grants with the same words are two grants.
	until := w.clock.t.Add(time.Hour)
	for _, g := range []Grant{{Brands: []string{"a", "b"}}, {Brands: []string{"a, b"}}, {Until: until},
		{Until: until.Add(time.Millisecond)}, agents} {
		l, err := SetGrant(w.path, w.owner, "", "acme", func(to *Grant) { *to = g })
		require.NoError(t, err)
		assert.Equal(t, g, l.Of("acme").Grant)
	}
	for _, bad := range []Grant{{Brands: []string{""}}, {Brands: []string{"a", "a"}}, {Audiences: []string{"king"}},
		{MaxLifetime: -1}, {AnyBrand: true, Brands: []string{"a"}}, {Rate: -1}, {Claims: []string{"a\n"}}} {
		_, err := SetGrant(w.path, w.owner, "", "acme", func(g *Grant) { *g = bad })
		require.Error(t, err, bad)
	}

	// trap F11: past the bundle's end the issuer is out, and back with a new bundle.
	w.clock.t = w.clock.t.Add(7 * 24 * time.Hour)
	ticket = issue(t, acme, "acme")
	assert.Equal(t, verify.IssuerNotAllowed, w.reason(t, ticket))
	assert.Empty(t, w.take(t, false, Offer{"acme", w.acme.publish(t)}))
	assert.Empty(t, w.reason(t, ticket))

	// trap F20: nobody without the identity key changes the list.
	thief := w.owner
	thief.KEK = w.login.identity
	before, err := os.ReadFile(w.path)
	require.NoError(t, err)
	_, err = SetGrant(w.path, thief, "", "acme", func(g *Grant) { g.AnyBrand, g.Brands = true, nil })
	require.ErrorContains(t, err, "signs nothing")
	after, err := os.ReadFile(w.path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// trap F9: a bundle of another name, realm or identity changes nothing. trap F12: rollback, fork,
// fast-forward and freeze.
func TestBundlesThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.acme.last
	w.acme.change(t, "", keyring.Step{Do: keyring.Rotate})
	second := w.acme.publish(t)
	require.Empty(t, w.take(t, false, Offer{"acme", second}))
	require.Len(t, w.list(t).Of("acme").Keys, 2)
	fork := w.acme.publishAs(t, keyring.Publication{Name: "acme", Identity: w.acme.kek, Before: first, Valid: time.Hour})
	far := w.acme.publishAs(t, keyring.Publication{Name: "acme", Identity: w.acme.kek, MinGeneration: 1003})
	last := w.acme.publishAs(t, keyring.Publication{Name: "acme", Identity: w.acme.kek,
		MinGeneration: keyring.MaxBundleGeneration})
	end := w.acme.forge(t, math.MaxUint64, func(*bundle) {})
	crowd := w.acme.forge(t, 3, func(b *bundle) {
		for i := range keyring.KeyID(keyring.MaxIssuerKeys) {
			more := b.Keys[0]
			more.ID, more.State = i+1, keyring.Pending
			b.Keys = append(b.Keys, more)
		}
	})
	named := w.acme.publishAs(t, keyring.Publication{Name: "beta", Identity: w.acme.kek, MinGeneration: 3})
	other := *w.acme
	other.c.Realm, other.path = "test", filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, keyring.Create(other.path, other.c, keyring.DefaultPolicy(keyring.Issuer), ""))
	realm := other.publishAs(t, keyring.Publication{Name: "acme", Identity: w.acme.kek, MinGeneration: 3})
	for _, row := range []struct {
		name, says string
		data       []byte
	}{
		{"older", "an older bundle was put back", first},
		{"fork", "with other contents", fork},
		{"far ahead", "more than 1000 ahead", far},
		{"the last generation", "more than 1000 ahead", last},
		{"the end of all generations", "of generation 18446744073709551615; the last is", end},
		{"too many keys", "it has 18 keys; the most is 16", crowd},
		{"another name", "has this identity as \"acme\"", named},
		{"another realm", "realm", realm},
		{"another identity", "is signed by another identity", w.beta.last},
		{"another kind", "recipient-public", w.login.publish(t)},
		{"no bundle", "", []byte("<html>")},
		{"empty", "", nil},
		{"cut", "", second[:len(second)-5]},
		{"the list", "", func() []byte { b, _ := os.ReadFile(w.path); return b }()},
	} {
		before := w.list(t)
		w.beta.publish(t)
		refused := w.take(t, false, Offer{"acme", row.data}, Offer{"beta", w.beta.last})
		require.Len(t, refused, 1, row.name)
		assert.Equal(t, "acme", refused[0].Issuer)
		assert.ErrorContains(t, refused[0].Err, row.says, row.name)
		after := w.list(t)
		assert.Equal(t, before.Of("acme"), after.Of("acme"), row.name)
		assert.NotEqual(t, before.Of("beta"), after.Of("beta"), "others are untouched")
	}
	require.Empty(t, w.take(t, false, Offer{"acme", second}), "the same is no news")
	require.Empty(t, w.take(t, true, Offer{"acme", far}))
	assert.EqualValues(t, 1003, w.list(t).Of("acme").Generation)
	require.Len(t, w.take(t, false, Offer{"gamma", far}), 1)

	// Published in the future, by a wrong clock or a thief: no later bundle would be newer.
	now := w.clock.t
	w.clock.t = now.Add(clockAhead + time.Millisecond)
	future := w.acme.publishAs(t, keyring.Publication{Name: "acme", Identity: w.acme.kek, MinGeneration: 1004})
	w.clock.t = now
	early := w.take(t, true, Offer{"acme", future})
	require.Len(t, early, 1)
	assert.ErrorContains(t, early[0].Err, "yet to come")
	w.clock.t = now.Add(time.Millisecond)
	require.Empty(t, w.take(t, false, Offer{"acme", future}))
	w.clock.t = w.clock.t.Add(clockAhead)
	far = future

	// Kept from news: the end of the bundle's time is the end.
	w.clock.t = w.clock.t.Add(8 * 24 * time.Hour)
	next := w.acme.publishAs(t, keyring.Publication{Name: "acme", Identity: w.acme.kek, Before: far})
	w.clock.t = w.clock.t.Add(8 * 24 * time.Hour)
	refused := w.take(t, false, Offer{"acme", next})
	require.Len(t, refused, 1)
	assert.ErrorContains(t, refused[0].Err, "was good until")
}

// bundle is the JSON of a bundle.
type bundle struct {
	Name      string              `json:"name"`
	Published time.Time           `json:"published"`
	Until     time.Time           `json:"until"`
	Refresh   int64               `json:"refresh"`
	Keys      []keyring.PublicKey `json:"keys"`
}

// forge makes a bundle that keyring.Publish would not make, of the last that it made.
func (p *party) forge(t testing.TB, generation uint64, change func(*bundle)) []byte {
	t.Helper()
	c := keyring.Config{Kind: keyring.IssuerPublic, Realm: realm, KEK: p.kek, Now: p.clock.now}
	last, err := keyring.ParseBundle("the last", p.last, c)
	require.NoError(t, err)
	b := bundle{last.Name, last.Published, last.Until, last.Refresh, last.Keys}
	change(&b)
	path := filepath.Join(tempDir(t), "bundle")
	_, err = keyring.CreateDocument(path, c, b)
	require.NoError(t, err)
	if generation > 1 {
		c.MinGeneration, c.UnsafeOlder = generation-1, true
		_, err = keyring.ChangeDocument(path, c, "", func(keyring.Document) (any, []keyring.Step, error) {
			return b, []keyring.Step{{Do: keyring.TrustBundle}}, nil
		})
		require.NoError(t, err)
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// trap F12: the bounds hold for the first bundle too, which has none before it. The owner of the last
// generation is told what to do.
func TestFirstBundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gamma := newParty(t, w.clock, keyring.Issuer, "gamma", 9)
	gamma.publish(t)
	en := Enrolment{Identity: gamma.identity, Grant: agents, Bundle: gamma.forge(t, math.MaxUint64, func(*bundle) {})}
	_, _, err := Add(w.path, w.owner, "", en)
	require.ErrorContains(t, err, "let its owner make a new identity key")
	en.Bundle = gamma.forge(t, 7, func(b *bundle) { b.Until = time.Time{} })
	_, _, err = Add(w.path, w.owner, "", en)
	require.ErrorContains(t, err, "its times")
	assert.Nil(t, w.list(t).Of("gamma"))

	last := keyring.Publication{Name: "gamma", Identity: gamma.kek, MinGeneration: keyring.MaxBundleGeneration}
	en.Bundle = gamma.publishAs(t, last)
	_, _, err = Add(w.path, w.owner, "", en)
	require.NoError(t, err)
	for _, p := range []keyring.Publication{
		{Name: "gamma", Identity: gamma.kek, Before: en.Bundle},
		{Name: "gamma", Identity: gamma.kek, MinGeneration: keyring.MaxBundleGeneration + 1},
		{Name: "gamma", Identity: gamma.kek, MinGeneration: math.MaxUint64},
	} {
		_, _, err = keyring.Publish(gamma.path, gamma.c, p)
		require.ErrorContains(t, err, "make a new identity key")
	}
}

// trap F8: a list with a bundle without an end is no list. With the zero time, its issuer would be good
// for ever.
func TestListsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.list(t)
	write := func(name string, change func(*Issuer)) error {
		c := w.owner
		c.Kind = keyring.Trust
		next := content{slices.Clone(good.Issuers), []Denial{}}
		change(&next.Issuers[0])
		path := filepath.Join(tempDir(t), "list")
		_, err := keyring.CreateDocument(path, c, next)
		require.NoError(t, err)
		_, err = Read(path, w.owner)
		reader := w.owner
		reader.KEK = w.login.identity
		r, ringErr := Open(path, reader)
		assert.Equal(t, err == nil, ringErr == nil, name)
		if ringErr == nil {
			r.Close()
		}
		return err
	}
	require.NoError(t, write("good", func(*Issuer) {}))
	for name, change := range map[string]func(*Issuer){
		"no end":          func(is *Issuer) { is.Until = time.Time{} },
		"no publication":  func(is *Issuer) { is.Published = time.Time{} },
		"ends before":     func(is *Issuer) { is.Until = is.Published },
		"no refresh":      func(is *Issuer) { is.Refresh = 0 },
		"no generation":   func(is *Issuer) { is.Generation = 0 },
		"last generation": func(is *Issuer) { is.Generation = math.MaxUint64 },
		"no fingerprint":  func(is *Issuer) { is.Fingerprint = "" },
		"many keys": func(is *Issuer) {
			for i := range keyring.KeyID(keyring.MaxIssuerKeys) {
				is.Keys = append(is.Keys, keyring.PublicKey{ID: i + 1})
			}
		},
	} {
		assert.ErrorContains(t, write(name, change), `issuer "acme"`, name)
	}
}

// A full list: the bundle for which there is no room stays out alone, with a reason, and keys can be
// denied still.
func TestFullList(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a large list many times, in one goroutine")
	}
	t.Parallel()
	w := newWorld(t)
	c := w.owner
	c.Kind = keyring.Trust
	l := w.list(t)
	full := content{l.Issuers, []Denial{}}
	text, err := json.Marshal(full)
	require.NoError(t, err)
	room := maxContent - len(text) - 2000
	for i := 0; room > 1000; i++ {
		is := l.Issuers[0]
		is.Name, is.Identity = fmt.Sprintf("filler%02d", i), keyring.Identity(bytes.Repeat([]byte{byte(i + 50)}, 32))
		is.Keys = []keyring.PublicKey{{ID: 1, Public: bytes.Repeat([]byte{byte(i)}, min(room*3/4, 30000))}}
		is.Identity = newParty(t, w.clock, keyring.Issuer, "filler", byte(i+50)).identity
		one, err := json.Marshal(is)
		require.NoError(t, err)
		room -= len(one) + 1
		full.Issuers = append(full.Issuers, is)
	}
	w.path = filepath.Join(tempDir(t), "full.list")
	_, err = keyring.CreateDocument(w.path, c, full)
	require.NoError(t, err)
	for range 12 {
		w.acme.change(t, "", keyring.Step{Do: keyring.Rotate, Now: true})
	}
	w.beta.change(t, "", keyring.Step{Do: keyring.Rotate})
	refused := w.take(t, false, Offer{"acme", w.acme.publish(t)}, Offer{"beta", w.beta.publish(t)}, Offer{"nobody", nil})
	require.Len(t, refused, 2)
	assert.Equal(t, "acme", refused[0].Issuer)
	assert.ErrorContains(t, refused[0].Err, "let issuers have fewer keys")
	assert.Equal(t, "nobody", refused[1].Issuer)
	l = w.list(t)
	assert.Len(t, l.Of("acme").Keys, 1)
	assert.Len(t, l.Of("beta").Keys, 2)
	for i := range keyring.KeyID(40) {
		_, err := Deny(w.path, w.owner, "stolen", "acme", i+1, false)
		require.NoError(t, err)
	}
	_, err = Deny(w.path, w.owner, "stolen", "acme", 0, true)
	require.NoError(t, err)
	_, err = SetGrant(w.path, w.owner, "", "beta", func(g *Grant) { g.ManyTimes = true })
	require.ErrorContains(t, err, "the list would have")
}

// trap F5, F10: a key that is denied before any bundle has it is refused when a bundle brings its ID, and
// from then on under any other ID. Another issuer's key with the ID is another key.
func TestDeniedBeforeItComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.acme.change(t, "", keyring.Step{Do: keyring.Rotate})
	info, err := keyring.Read(w.acme.path, w.acme.c)
	require.NoError(t, err)
	stolen := info.Keys[1].ID
	l, err := Deny(w.path, w.owner, "seen elsewhere", "acme", stolen, false)
	require.NoError(t, err)
	require.Nil(t, l.Denied[0].Public)
	refused := w.take(t, false, Offer{"acme", w.acme.publish(t)})
	require.Len(t, refused, 1)
	assert.Equal(t, stolen, refused[0].Key)
	assert.ErrorContains(t, refused[0].Err, "was denied")
	l = w.list(t)
	assert.Len(t, l.Of("acme").Keys, 1)
	require.NotNil(t, l.Denied[0].Public, "the key is known now")

	// The same key under another ID, or under another name.
	e := &editing{List: l}
	k := keyring.PublicKey{ID: stolen + 1, Public: l.Denied[0].Public}
	assert.NotNil(t, deniedKey(e.Denied, e.Of("acme"), k))
	assert.NotNil(t, deniedKey(e.Denied, e.Of("beta"), k))

	// Beta has a key with the ID that acme's denied key has: it is good.
	own := w.beta.primary(t)
	_, err = Deny(w.path, w.owner, "seen elsewhere", "acme", own, false)
	require.NoError(t, err)
	require.NoError(t, w.ring.Reload())
	assert.Empty(t, w.reason(t, issue(t, w.beta.issuer(t, w.to), "beta")))
	w.beta.change(t, "", keyring.Step{Do: keyring.Rotate})
	require.Empty(t, w.take(t, false, Offer{"beta", w.beta.publish(t)}))
	l = w.list(t)
	assert.Nil(t, l.Denied[1].Public, "beta's key is not acme's")
	assert.Len(t, l.Of("beta").Keys, 2)
}

// trap F5, F6: several issuers may have one ID, up to a number, and never one key.
func TestKeysOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := &editing{List: w.list(t)}
	k := e.Of("acme").Keys[0]
	for i := range 5 {
		p := newParty(t, w.clock, keyring.Issuer, fmt.Sprintf("issuer%d", i), byte(10+i))
		b, err := keyring.ParseBundle("x", p.publish(t),
			keyring.Config{Kind: keyring.IssuerPublic, Realm: realm, KEK: p.identity})
		require.NoError(t, err)
		same := b.Keys[0]
		same.ID = k.ID // as if the ID were the same; the proof does not cover it
		is := Issuer{Name: p.name, Identity: p.identity}
		_, err = same.VerifyingKey(realm, p.name)
		// The proof begins with the ID, as a signature of a ticket does.
		require.Error(t, err)
		assert.Error(t, e.usable(&is, realm, k), "acme's own key, under another name")
	}
	// Four others have the ID: the fifth is told to rotate, alone.
	crowd := &editing{List: e.List}
	crowd.Issuers = nil
	for i := range verify.MaxSameKey {
		require.NoError(t, crowd.usable(e.Of("acme"), realm, k))
		other := Issuer{Name: fmt.Sprintf("other%d", i), Keys: []keyring.PublicKey{{ID: k.ID, Public: []byte{byte(i)}}}}
		crowd.Issuers = append(crowd.Issuers, other)
	}
	assert.ErrorContains(t, crowd.usable(e.Of("acme"), realm, k), "4 other issuers have keys with this ID")
	// The copy of a key has no proof for the other name, so nobody can block another's rotation.
	is := *e.Of("beta")
	assert.ErrorContains(t, e.usable(&is, realm, k), "another issuer's key?")
	// With four others of one ID, a key is refused; with three it is good.
	k = is.Keys[0]
	for i := range verify.MaxSameKey {
		require.NoError(t, e.usable(&is, realm, k), i)
		e.Issuers = append(e.Issuers, Issuer{Name: fmt.Sprintf("other%d", i),
			Keys: []keyring.PublicKey{{ID: k.ID, Public: []byte{byte(i)}}}})
	}
	assert.ErrorContains(t, e.usable(&is, realm, k), "4 other issuers have keys with this ID")
	// An organisation that gives one keyring two names is told so.
	twin := *w.acme
	twin.name = "twin"
	kek, err := keyring.NewIdentity(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32)))
	require.NoError(t, err)
	twin.kek, twin.last = kek, nil
	twin.identity, _ = keyring.IdentityOf(kek)
	_, _, err = Add(w.path, w.owner, "", Enrolment{Bundle: twin.publish(t), Identity: twin.identity, Grant: agents})
	require.ErrorContains(t, err, "a key belongs to one issuer")
	twin.identity, twin.kek = w.acme.identity, w.acme.kek
	twin.last = nil
	_, _, err = Add(w.path, w.owner, "", Enrolment{Bundle: twin.publish(t), Identity: twin.identity, Grant: agents})
	require.ErrorContains(t, err, "each issuer needs its own")
	_, _, err = Add(w.path, w.owner, "", Enrolment{Bundle: w.acme.publish(t), Identity: w.acme.identity})
	require.ErrorContains(t, err, "in the list already")
	assert.Len(t, w.list(t).Issuers, 2)
}

// trap F10: what is denied stays denied, whatever bundles say.
func TestDeny(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme, beta := w.acme.issuer(t, w.to), w.beta.issuer(t, w.to)
	stolen := w.acme.primary(t)
	ticket := issue(t, acme, "acme")
	_, err := Deny(w.path, w.owner, "", "acme", stolen, true)
	require.ErrorContains(t, err, "needs a reason")
	_, err = Deny(w.path, w.owner, "stolen", "gamma", 0, true)
	require.ErrorIs(t, err, ErrNoIssuer)
	assert.Empty(t, w.ring.DeniedKey(stolen))
	_, err = Deny(w.path, w.owner, "stolen", "acme", stolen, true)
	require.NoError(t, err)
	require.NoError(t, w.ring.Reload())
	assert.Equal(t, verify.UnknownIssuer, w.reason(t, ticket))
	assert.Equal(t, "acme", w.ring.DeniedKey(stolen))
	assert.Empty(t, w.reason(t, issue(t, beta, "beta")))
	over := func(key keyring.KeyID, began time.Time) bool { return w.ring.SessionOver("acme", key, began) }
	good := w.clock.t
	assert.True(t, over(stolen, good.Add(time.Hour)), "the thief's, until the denial arrived")
	assert.True(t, over(7, good.Add(-time.Millisecond)))
	assert.False(t, over(7, good))
	assert.False(t, w.ring.SessionOver("beta", stolen, time.Time{}))
	assert.True(t, w.ring.SessionOver("gamma", 7, good), "an issuer that is not in the list")
	_, err = Deny(w.path, w.owner, "stolen", "acme", stolen, true)
	require.ErrorIs(t, err, keyring.ErrAlready)

	// A denial that ended no sessions can be made to end them, once.
	other := keyring.KeyID(9)
	for _, row := range []struct{ end, already bool }{
		{false, false}, {false, true}, {true, false}, {true, true}, {false, true},
	} {
		w.clock.t = w.clock.t.Add(time.Second)
		_, err = Deny(w.path, w.owner, "stolen too", "acme", other, row.end)
		assert.Equal(t, row.already, errors.Is(err, keyring.ErrAlready), row)
		if row.end && !row.already {
			require.NoError(t, w.ring.Reload())
			assert.True(t, over(other, w.clock.t.Add(time.Hour)))
			assert.True(t, over(7, w.clock.t.Add(-time.Millisecond)))
			assert.False(t, over(7, w.clock.t))
		} else if !row.end && !row.already {
			require.NoError(t, w.ring.Reload())
			assert.False(t, over(other, w.clock.t), "a denied key ends no sessions by itself")
		}
	}

	// A later bundle has the key still. The new key is good.
	w.acme.change(t, "", keyring.Step{Do: keyring.Rotate, Now: true})
	refused := w.take(t, false, Offer{"acme", w.acme.publish(t)})
	require.Len(t, refused, 1)
	assert.Equal(t, stolen, refused[0].Key)
	assert.Equal(t, verify.UnknownIssuer, w.reason(t, ticket))
	ring := w.acme.issuer(t, w.to)
	assert.Empty(t, w.reason(t, issue(t, ring, "acme")))

	// All of the issuer, for ever: the same identity does not come back, another may.
	ticket = issue(t, ring, "acme")
	l, err := Deny(w.path, w.owner, "contract ended", "acme", 0, false)
	require.NoError(t, err)
	assert.NotNil(t, l.Denial(l.Of("acme")))
	require.NoError(t, w.ring.Reload())
	assert.Equal(t, verify.UnknownIssuer, w.reason(t, ticket))
	assert.Equal(t, "acme", w.ring.DeniedKey(w.acme.primary(t)), "each key of a denied issuer")
	require.Len(t, w.take(t, false, Offer{"acme", w.acme.publish(t)}), 1)
	assert.Equal(t, verify.UnknownIssuer, w.reason(t, ticket))
	_, _, err = Add(w.path, w.owner, "", Enrolment{Bundle: w.acme.last, Identity: w.acme.identity, Grant: agents})
	require.ErrorContains(t, err, "was denied")
	_, err = Deny(w.path, w.owner, "again", "acme", 0, false)
	require.ErrorIs(t, err, keyring.ErrAlready)
	w.clock.t = w.clock.t.Add(time.Second)
	_, err = Deny(w.path, w.owner, "sessions too", "acme", 0, true)
	require.NoError(t, err)
	require.NoError(t, w.ring.Reload())
	assert.True(t, over(7, w.clock.t.Add(time.Hour)))
	_, err = Deny(w.path, w.owner, "again", "acme", 0, true)
	require.ErrorIs(t, err, keyring.ErrAlready)
	// A new identity with the old key is refused, with a new keyring it is good.
	kek, err := keyring.NewIdentity(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32)))
	require.NoError(t, err)
	w.acme.kek, w.acme.last = kek, nil
	w.acme.identity, _ = keyring.IdentityOf(kek)
	_, _, err = Add(w.path, w.owner, "", Enrolment{Bundle: w.acme.publish(t), Identity: w.acme.identity, Grant: agents})
	require.ErrorContains(t, err, "has no key that can be used")
	w.acme = newParty(t, w.clock, keyring.Issuer, "acme", 9)
	w.add(t, w.acme, agents)
	require.NoError(t, w.ring.Reload())
	assert.Empty(t, w.reason(t, issue(t, w.acme.issuer(t, w.to), "acme")))
	assert.Equal(t, verify.UnknownIssuer, w.reason(t, ticket))

	// A key can be denied before a bundle brings it, and the log has every step.
	_, err = Deny(w.path, w.owner, "seen elsewhere", "beta", 7, false)
	require.NoError(t, err)
	c := w.owner
	c.Kind = keyring.Trust
	log, err := keyring.Audit(w.path, &c)
	require.NoError(t, err)
	assert.Equal(t, []keyring.Step{{Do: keyring.TrustDeny, Issuer: "beta", Key: 7}}, log[len(log)-1].Steps)
	assert.Equal(t, "seen elsewhere", log[len(log)-1].Why)
}

// Who stole a keyring goes on with its pending key, which a bundle had before the theft: until the next
// bundle, or until the key is denied too.
func TestStolenKeyring(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stolen := w.acme.primary(t)
	w.acme.change(t, "", keyring.Step{Do: keyring.Rotate})
	require.Empty(t, w.take(t, false, Offer{"acme", w.acme.publish(t)}))
	thief := *w.acme
	thief.path = filepath.Join(tempDir(t), "keyring")
	for _, end := range []string{"", ".audit"} {
		data, err := os.ReadFile(w.acme.path + end)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(thief.path+end, data, 0o600))
	}
	pending := w.list(t).Of("acme").Keys[1].ID
	thief.change(t, "", keyring.Step{Do: keyring.Promote, Key: pending, Unsafe: true})
	forger := thief.issuer(t, w.to)

	_, err := Deny(w.path, w.owner, "stolen", "acme", stolen, true)
	require.NoError(t, err)
	require.NoError(t, w.ring.Reload())
	require.Empty(t, w.reason(t, issue(t, forger, "acme")), "the denial is of one key")
	w.acme.change(t, "stolen", keyring.Step{Do: keyring.Revoke, Key: stolen})
	require.Empty(t, w.take(t, false, Offer{"acme", w.acme.publish(t)}))
	assert.Equal(t, verify.UnknownIssuer, w.reason(t, issue(t, forger, "acme")))
	assert.Empty(t, w.reason(t, issue(t, w.acme.issuer(t, w.to), "acme")))
}

// A denied key's sessions from after its denial, at a process that lags, end with a later denial of the
// whole issuer, also if a new identity of the issuer is good.
func TestKeyThenIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stolen := w.acme.primary(t)
	over := func(key keyring.KeyID, began time.Time) bool { return w.ring.SessionOver("acme", key, began) }
	deny := func(key keyring.KeyID) {
		w.clock.t = w.clock.t.Add(time.Hour)
		_, err := Deny(w.path, w.owner, "stolen", "acme", key, false)
		require.NoError(t, err)
		require.NoError(t, w.ring.Reload())
	}
	deny(stolen)
	assert.False(t, over(stolen, w.clock.t))
	deny(0)
	w.acme = newParty(t, w.clock, keyring.Issuer, "acme", 9)
	w.add(t, w.acme, agents)
	require.NoError(t, w.ring.Reload())
	later := w.clock.t.Add(time.Minute)
	assert.True(t, over(stolen, later))
	assert.False(t, over(w.acme.primary(t), later))
	assert.False(t, w.ring.SessionOver("beta", stolen, later))

	deny(7)
	assert.False(t, over(7, later), "denied alone, after that")
}

// trap F11: a retiring signing key signs no ticket that is issued after its time: a thief's.
func TestRetiringKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thief := w.acme.issuer(t, w.to) // goes on with the old key
	good := issue(t, thief, "acme")
	w.acme.change(t, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.Empty(t, w.take(t, false, Offer{"acme", w.acme.publish(t)}))
	lagging := issue(t, thief, "acme")
	assert.Empty(t, w.reason(t, good))
	assert.Empty(t, w.reason(t, lagging), "the issuer's other processes may not have the new key yet")
	w.clock.t = w.clock.t.Add(2*time.Minute + 10*time.Second)
	assert.Empty(t, w.reason(t, issue(t, thief, "acme")))
	w.clock.t = w.clock.t.Add(time.Millisecond)
	assert.Equal(t, verify.Forged, w.reason(t, issue(t, thief, "acme")))
}

// trap F18: a hundred rotations of an issuer's and of a recipient's keys. The bundles of both
// arrive as late as they may, and each ticket is redeemed at once and at its end: none is refused.
func TestHundredRotations(t *testing.T) {
	t.Parallel()
	rotations := 100
	if testing.Short() {
		rotations = 5 // all in one goroutine
	}
	w := newWorld(t)
	out := filepath.Join(t.TempDir(), "login.pub")
	require.NoError(t, os.WriteFile(out, w.login.publish(t), 0o644))
	recipient, err := keyring.OpenRecipient(out, "login", keyring.Config{Realm: realm, KEK: w.login.identity,
		Now: w.clock.now, Poll: time.Hour, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer recipient.Close()
	signing, err := keyring.Open(w.acme.path, w.acme.c)
	require.NoError(t, err)
	defer signing.Close()
	sealer, err := signed.NewSealer("acme", signing, recipient)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Signed: sealer, Realm: realm, Now: w.clock.now})
	require.NoError(t, err)

	for _, p := range []*party{w.acme, w.login} {
		policy := keyring.DefaultPolicy(p.c.Kind)
		policy.RotateEvery = 15 * 24 * time.Hour
		p.change(t, "", keyring.Step{Do: keyring.SetPolicy, Policy: &policy})
	}
	primaries := map[keyring.KeyID]bool{w.acme.primary(t): true, w.login.primary(t): true}
	took := w.clock.t
	steps := []time.Duration{5 * 24 * time.Hour, 2*24*time.Hour - time.Minute}
	for n := 0; len(primaries) < 2*rotations+2; n++ {
		w.clock.t = w.clock.t.Add(steps[n%2])
		for _, p := range []*party{w.acme, w.login} {
			info, _, err := keyring.Apply(p.path, p.c, nil)
			require.NoError(t, err)
			primaries[info.Primary] = true
		}
		require.NoError(t, signing.Reload())
		require.NoError(t, w.to.Reload())
		// With the old bundles of both, a minute before their end.
		require.Empty(t, w.reason(t, issue(t, issuer, "acme")), "step %d", n)
		kept := issue(t, issuer, "acme")
		if n%2 == 1 {
			require.Empty(t, w.take(t, false, Offer{"acme", w.acme.publish(t)}))
			require.NoError(t, os.WriteFile(out, w.login.publish(t), 0o644))
			require.NoError(t, recipient.Reload())
			took = w.clock.t
			require.Empty(t, w.reason(t, issue(t, issuer, "acme")), "step %d", n)
		}
		now := w.clock.t
		w.clock.t = now.Add(30 * time.Second)
		require.Empty(t, w.reason(t, kept), "step %d", n)
		w.clock.t = now
	}
	// One that reads later fails at Issue.
	w.clock.t = took.Add(8 * 24 * time.Hour)
	_, err = issuer.Issue(&token.Ticket{Audience: token.Agent, Brand: "acme", Username: "ann"})
	require.ErrorContains(t, err, "get its new file")
}

// trap F14: an unknown key makes nobody look at the file.
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := newParty(t, w.clock, keyring.Issuer, "acme", 50).issuer(t, w.to)
	checked := w.ring.Report().Checked
	w.clock.t = w.clock.t.Add(time.Second)
	for range 100 {
		assert.Equal(t, verify.UnknownIssuer, w.reason(t, issue(t, stranger, "acme")))
	}
	assert.Equal(t, checked, w.ring.Report().Checked)
}

func TestCheckURL(t *testing.T) {
	for _, good := range []string{"https://a.example/acme.pub", "https://a.example:8443/x?y=z", "https://[::1]/x"} {
		assert.NoError(t, CheckURL(good), good)
	}
	for _, bad := range []string{"", "http://a.example/x", "ftp://a/x", "https:///x", "https://user@a.example/x",
		"https://user:pw@a.example/x", "https://a.example/x#y", "file:///etc/passwd", "https:a.example",
		"//a.example", "\x00"} {
		assert.Error(t, CheckURL(bad), bad)
	}
}
