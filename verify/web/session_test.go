package web

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/base64url"
	"github.com/admitone/admitone/internal/floor"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

func newAEAD(t testing.TB) tink.AEAD {
	t.Helper()
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	a, err := aead.New(h)
	require.NoError(t, err)
	return a
}

// clock is a clock that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time      { return c.t }
func (c *clock) add(d time.Duration) { c.t = c.t.Add(d) }
func newClock() *clock               { return &clock{time.Date(2025, 1, 19, 14, 0, 0, 0, time.UTC)} }
func mustSessions(t testing.TB, c SessionConfig) *Sessions {
	t.Helper()
	s, err := NewSessions(c)
	require.NoError(t, err)
	return s
}

var john = Session{
	Audience: token.Agent, Brand: "commbox", User: "john.d", Name: "John Doe", Email: "j@example.com",
	Groups:   []string{"a", "b"},
	TicketID: token.ID{1, 2}, KeyID: 7, OneTime: true, Actor: "key1", Issued: time.Date(
		2025, 1, 19, 13, 59, 59, 1e6, time.UTC,
	),
}

// started returns the cookie of a session.
func started(t testing.TB, s *Sessions, session Session) *http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, s.Start(w, nil, session))
	require.Len(t, w.Result().Cookies(), 1)
	return w.Result().Cookies()[0]
}

func carrying(name, value string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: name, Value: value})
	return r
}

func TestSessions(t *testing.T) {
	a, c := newAEAD(t), newClock()
	s := mustSessions(t, SessionConfig{Keys: a, Realm: "prod", Now: c.now})
	cookie := started(t, s, john)
	assert.Equal(t, "__Host-admitone-agent", cookie.Name)
	assert.True(t, cookie.Secure && cookie.HttpOnly && cookie.Path == "/" && cookie.Domain == "")
	assert.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
	assert.NotContains(t, cookie.Value, "john")

	got, ok := current(s, nil, carrying(cookie.Name, cookie.Value), token.Agent)
	require.True(t, ok)
	want := john
	want.Entered, want.ID = c.t, got.ID
	assert.Len(t, got.ID, 26)
	assert.Equal(t, want, got)

	other := mustSessions(t, SessionConfig{Keys: a, Realm: "test", Now: c.now})
	insecure := mustSessions(t, SessionConfig{Keys: a, Realm: "prod", Now: c.now, Insecure: true})
	for name, check := range map[string]func() (Session, bool){
		"other audience": func() (Session, bool) {
			return current(s, nil, carrying(cookie.Name, cookie.Value), token.Customer)
		},
		"renamed": func() (Session, bool) {
			return current(s, nil, carrying("__Host-admitone-customer", cookie.Value), token.Customer)
		},
		"other realm": func() (Session, bool) {
			return current(other, nil, carrying(cookie.Name, cookie.Value), token.Agent)
		},
		"other scheme": func() (Session, bool) {
			return current(insecure, nil, carrying(cookie.Name, cookie.Value), token.Agent)
		},
		"changed": func() (Session, bool) {
			return current(s, nil, carrying(cookie.Name, "B"+cookie.Value[1:]), token.Agent)
		},
		"not base64": func() (Session, bool) { return current(s, nil, carrying(cookie.Name, "!"), token.Agent) },
		"too long": func() (Session, bool) {
			return current(s, nil, carrying(cookie.Name, strings.Repeat("A", maxCookie+1)), token.Agent)
		},
		"none": func() (Session, bool) {
			return current(s, nil, httptest.NewRequest(http.MethodGet, "/", nil), token.Agent)
		},
		"a ticket": func() (Session, bool) {
			return current(s, nil, carrying(cookie.Name, ticketAsCookie(t, a)), token.Agent)
		},
	} {
		_, ok := check()
		assert.False(t, ok, name)
	}
	// A planted cookie of the same name hides nothing.
	both := carrying(cookie.Name, "garbage")
	both.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	_, ok = current(s, nil, both, token.Agent)
	assert.True(t, ok)

	c.add(-2 * time.Minute)
	_, ok = current(s, nil, carrying(cookie.Name, cookie.Value), token.Agent)
	assert.False(t, ok, "begun in the future")
}

// ticketAsCookie returns a ticket of the same key and realm: the associated data
// keeps the two apart.
func ticketAsCookie(t *testing.T, a tink.AEAD) string {
	t.Helper()
	i, err := token.NewIssuer(token.Config{Sealer: a, Realm: "prod"})
	require.NoError(t, err)
	s, err := i.Issue(&token.Ticket{Audience: token.Agent, Brand: "b", Username: "u"})
	require.NoError(t, err)
	return strings.TrimPrefix(s, "tkt1_")
}

func TestSessionTimes(t *testing.T) {
	c := newClock()
	s := mustSessions(t, SessionConfig{Keys: newAEAD(t), Now: c.now})
	cookie := started(t, s, john)
	// look returns whether there is a session, and takes over a renewed cookie.
	look := func() bool {
		w := httptest.NewRecorder()
		_, ok := current(s, w, carrying(cookie.Name, cookie.Value), token.Agent)
		if set := w.Result().Cookies(); len(set) > 0 {
			cookie = set[0]
		}
		return ok
	}
	first := cookie.Value
	c.add(SessionIdle/2 - time.Second)
	assert.True(t, look())
	assert.Equal(t, first, cookie.Value, "not renewed before half of the idle time")
	c.add(time.Second)
	_, ok := current(s, nil, carrying(cookie.Name, cookie.Value), token.Agent)
	assert.True(t, ok, "without a w nothing is renewed")
	assert.True(t, look())
	assert.NotEqual(t, first, cookie.Value)
	before, _ := current(s, nil, carrying(cookie.Name, first), token.Agent)
	after, _ := current(s, nil, carrying(cookie.Name, cookie.Value), token.Agent)
	assert.Equal(t, before, after, "renewal changes neither the session's ID nor its age")
	c.add(SessionIdle - time.Second)
	stale := cookie.Value
	assert.True(t, look())
	c.add(time.Second)
	_, ok = current(s, nil, carrying(cookie.Name, stale), token.Agent)
	assert.False(t, ok, "idle for too long")
	for range 100 {
		c.add(SessionIdle / 2)
		if !look() {
			break
		}
	}
	assert.Equal(t, SessionLifetime, c.t.Sub(after.Entered).Round(SessionIdle/2), "renewal does not go on for ever")
	assert.False(t, look())
}

func TestSessionRefreshEnds(t *testing.T) {
	c := newClock()
	var from time.Time
	refresh := func(_ context.Context, s Session) (Session, error) {
		if s.Brand == "commbox" && s.Entered.Before(from) {
			return s, ErrNoSession
		}
		s.Groups = []string{"as of now"}
		return s, nil
	}
	s := mustSessions(t, SessionConfig{Keys: newAEAD(t), Now: c.now, Refresh: refresh})
	good := func(cookie *http.Cookie) bool {
		session, ok := current(s, nil, carrying(cookie.Name, cookie.Value), token.Agent)
		return ok && assert.Equal(t, []string{"as of now"}, session.Groups)
	}
	cookie := started(t, s, john)
	acme := john
	acme.Brand = "acme"
	others := started(t, s, acme)
	assert.True(t, good(cookie))
	c.add(time.Second)
	from = c.t
	assert.False(t, good(cookie))
	assert.True(t, good(others))
	assert.True(t, good(started(t, s, john)))
}

func newRing(t *testing.T, kind keyring.Kind) *keyring.Ring {
	t.Helper()
	return ringOf(t, kind, "")
}

func ringOf(t *testing.T, kind keyring.Kind, algorithm string) *keyring.Ring {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.keyring")
	c := keyring.Config{Kind: kind, Realm: "prod", KEK: keyring.InsecureCleartext}
	require.NoError(t, keyring.Create(file, c, keyring.DefaultPolicy(kind), algorithm))
	ring, err := keyring.Open(file, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ring.Close() })
	return ring
}

// A session sealed under an old primary is renewed.
func TestSessionRotation(t *testing.T) {
	c := newClock()
	old, rotated := rotatedKeys(t)
	s := mustSessions(t, SessionConfig{Keys: old, Now: c.now})
	cookie := started(t, s, john)
	s = mustSessions(t, SessionConfig{Keys: rotated, Now: c.now})
	w := httptest.NewRecorder()
	_, ok := current(s, w, carrying(cookie.Name, cookie.Value), token.Agent)
	require.True(t, ok)
	require.Len(t, w.Result().Cookies(), 1)
	renewed := w.Result().Cookies()[0]
	w = httptest.NewRecorder()
	_, ok = current(s, w, carrying(renewed.Name, renewed.Value), token.Agent)
	assert.True(t, ok)
	assert.Empty(t, w.Result().Cookies(), "once")

	// A process learns of the new primary within a minute, though it seals nothing.
	keys := &swapped{old}
	s = mustSessions(t, SessionConfig{Keys: keys, Now: c.now})
	keys.AEAD = rotated
	c.add(61 * time.Second)
	w = httptest.NewRecorder()
	_, ok = current(s, w, carrying(cookie.Name, cookie.Value), token.Agent)
	assert.True(t, ok)
	assert.Len(t, w.Result().Cookies(), 1)
}

type swapped struct{ tink.AEAD }

// A cookie sealed under a key that another process has had for a moment only: the
// keys are asked for it, as a keyring.Ring is, which then looks at its file.
func TestSessionUnderNewestKey(t *testing.T) {
	old, rotated := rotatedKeys(t)
	cookie := started(t, mustSessions(t, SessionConfig{Keys: rotated}), john)
	keys := &late{AEAD: old, newer: rotated}
	s := mustSessions(t, SessionConfig{Keys: keys})
	_, ok := current(s, nil, carrying(cookie.Name, cookie.Value), token.Agent)
	assert.True(t, ok)
	_, ok = current(s, nil, carrying(cookie.Name, cookie.Value[:len(cookie.Value)-4]+"AAAA"), token.Agent)
	assert.False(t, ok, "the key is there, and does not open it")
}

func TestCookiesNamed(t *testing.T) {
	for _, lines := range [][]string{
		nil, {""}, {"a=1"}, {"b=1"}, {"a=1; a=2"}, {"a=1;a=2 ; b=a=3;  a=4"},
		{"aa=1; ba=2"}, {"a=1", "b=2; a=3"}, {";;a=1;;"}, {"a="}, {"x=a; a=A-z_09"},
	} {
		r := &http.Request{Header: http.Header{"Cookie": lines}}
		var want []string
		for _, c := range r.CookiesNamed("a") {
			want = append(want, c.Value)
		}
		assert.Equal(t, want, slices.Collect(cookiesNamed(r, "a")), lines)
	}
}

// Keys that no longer seal end nobody's session.
func TestSessionRenewalFails(t *testing.T) {
	c := newClock()
	keys := &broken{AEAD: newAEAD(t)}
	s := mustSessions(t, SessionConfig{Keys: keys, Now: c.now})
	cookie := started(t, s, john)
	keys.err = errors.New("sealing fails")
	c.add(SessionIdle / 2)
	w := httptest.NewRecorder()
	_, ok := current(s, w, carrying(cookie.Name, cookie.Value), token.Agent)
	assert.True(t, ok)
	assert.Empty(t, w.Result().Cookies())
	assert.ErrorIs(t, s.Start(w, nil, john), keys.err)
	_, err := NewSessions(SessionConfig{Keys: keys})
	assert.ErrorIs(t, err, keys.err, "known at once, and not at the first entry")
}

type broken struct {
	tink.AEAD
	err error
}

func (b *broken) Encrypt(plaintext, ad []byte) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.AEAD.Encrypt(plaintext, ad)
}

type late struct {
	tink.AEAD
	newer tink.AEAD
}

func (l *late) HasKey(token.KeyID) bool { l.AEAD = l.newer; return true }

// rotatedKeys returns a keyset's AEAD before and after a rotation.
func rotatedKeys(t *testing.T) (old, rotated tink.AEAD) {
	t.Helper()
	m := keyset.NewManager()
	first, err := m.Add(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	require.NoError(t, m.SetPrimary(first))
	h, err := m.Handle()
	require.NoError(t, err)
	old, err = aead.New(h)
	require.NoError(t, err)
	m = keyset.NewManagerFromHandle(h)
	second, err := m.Add(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	require.NoError(t, m.SetPrimary(second))
	h, err = m.Handle()
	require.NoError(t, err)
	rotated, err = aead.New(h)
	require.NoError(t, err)
	return old, rotated
}

func TestSessionCookieForms(t *testing.T) {
	a := newAEAD(t)
	c := started(t, mustSessions(t, SessionConfig{Keys: a, Partitioned: token.Agent}), john)
	assert.Equal(t, "__Host-admitone-agent", c.Name)
	assert.True(t, c.Secure && c.HttpOnly && c.Partitioned)
	assert.Equal(t, http.SameSiteNoneMode, c.SameSite)
	c = started(t, mustSessions(t, SessionConfig{Keys: a, Insecure: true}), john)
	assert.Equal(t, "admitone-agent", c.Name)
	assert.False(t, c.Secure)

	// An administrator's cookie never leaves its site, also where the other cookies do.
	root := Session{Audience: token.Administrator, User: "root"}
	all := mustSessions(t, SessionConfig{Keys: a, Partitioned: verify.AnyAudience})
	c = started(t, all, root)
	assert.Equal(t, "__Host-admitone-administrator", c.Name)
	assert.True(t, c.Secure && c.HttpOnly && !c.Partitioned)
	assert.Equal(t, http.SameSiteStrictMode, c.SameSite)
	for _, other := range []token.Audience{token.Agent, token.Customer} {
		_, err := all.Current(nil, carrying(all.cookieName(other), c.Value), other)
		assert.ErrorIs(t, err, ErrNoSession, "the cookie under another name is no session of %v", other)
	}
	assert.ErrorContains(t, all.Start(httptest.NewRecorder(), nil, Session{Audience: 4}), "cannot start a session")

	s := mustSessions(t, SessionConfig{Keys: a})
	w := httptest.NewRecorder()
	s.End(w, token.Customer)
	end := w.Result().Cookies()[0]
	assert.Equal(t, "__Host-admitone-customer", end.Name)
	assert.True(t, end.MaxAge < 0 && end.Secure && end.Path == "/" && end.Value == "")

	// What a ticket can carry fits, whatever it is made of.
	fill := func(n int) string { return strings.Repeat("é", n/2) }
	assert.NoError(t, s.Start(httptest.NewRecorder(), nil, Session{
		Audience: token.Customer, Brand: fill(64), Channel: fill(64), User: fill(255), Email: fill(255),
		Name: fill(100) + " " + fill(100), Actor: fill(64),
	}))
	assert.Error(t, s.Start(httptest.NewRecorder(), nil, Session{Name: strings.Repeat("x", 4000)}))
	assert.Error(t, s.Start(httptest.NewRecorder(), nil, Session{Name: strings.Repeat("x", 40000)}))
}

func TestSessionConfig(t *testing.T) {
	a := newAEAD(t)
	raw, err := keyset.NewHandle(aead.AES256GCMNoPrefixKeyTemplate())
	require.NoError(t, err)
	rawAEAD, err := aead.New(raw)
	require.NoError(t, err)
	for want, c := range map[string]SessionConfig{
		"Keys is nil":                        {},
		"Realm":                              {Keys: a, Realm: "\n"},
		"Idle is negative":                   {Keys: a, Idle: -1},
		"Partitioned is token.Administrator": {Keys: a, Partitioned: token.Administrator},
		"Partitioned stands beside Insecure": {Keys: a, Partitioned: token.Agent, Insecure: true},
		"TINK output prefix":                 {Keys: rawAEAD},
	} {
		_, err := NewSessions(c)
		assert.ErrorContains(t, err, want)
	}
	for kind, lifetimes := range map[keyring.Kind][2]time.Duration{
		keyring.Session: {24 * time.Hour, 25 * time.Hour}, keyring.Ticket: {0, time.Minute},
	} {
		ring := newRing(t, kind)
		_, err = NewSessions(SessionConfig{Keys: ring, Realm: "prod", Lifetime: lifetimes[0]})
		assert.Equal(t, kind == keyring.Session, err == nil, err)
		_, err = NewSessions(SessionConfig{Keys: ring, Realm: "prod", Lifetime: lifetimes[1]})
		assert.Error(t, err, "a session keyring whose keys live 24 hours, or a ticket keyring")
	}
}

func TestSessionCodec(t *testing.T) {
	renewed := time.UnixMilli(1e12).UTC()
	in := john
	in.ID, in.Entered = "id", time.UnixMilli(99).UTC()
	in.Name = strings.Repeat("n", 300)
	b := in.append(nil, renewed)
	var out Session
	at, ok := out.decode(string(b))
	require.True(t, ok)
	assert.Equal(t, in, out)
	assert.Equal(t, renewed, at)
	groupsFrom := len(b) - 4
	for i := range b {
		_, ok := out.decode(string(b[:i]))
		whole := i == groupsFrom || i == groupsFrom+2 // cut between groups
		assert.Equal(t, whole, ok, i)
	}
	assert.EqualValues(t, 2, b[0])
	b[0] = 1
	_, ok = out.decode(string(b))
	assert.False(t, ok, "the format without the signing key")
}

// FuzzSessionDecode: whatever the bytes, they are read or refused, and what is read
// is written back the same.
func FuzzSessionDecode(f *testing.F) {
	f.Add(string(john.append(nil, john.Issued)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var s Session
		renewed, ok := s.decode(text)
		if !ok {
			return
		}
		var again Session
		at, ok := again.decode(string(s.append(nil, renewed)))
		require.True(t, ok)
		require.Equal(t, s, again)
		require.Equal(t, renewed, at)
	})
}

// FuzzSessionCookie: no text opens but the cookies that were made here, and of these the ones
// whose contents can be read.
func FuzzSessionCookie(f *testing.F) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate()) // others in each process
	require.NoError(f, err)
	keys, err := token.NewKeyset(handle)
	require.NoError(f, err)
	s := mustSessions(f, SessionConfig{Keys: keys, Realm: "prod"})
	cookie := started(f, s, john).Value
	f.Add(cookie)
	f.Add(string(john.append(nil, john.Issued)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var got, want Session
		if _, _, ok := s.open(text, &got); ok {
			require.Equal(t, cookie, text)
		}
		sealed, err := s.seal([]byte(text))
		require.NoError(t, err)
		value := base64url.Encode("", sealed)
		at, ok := want.decode(text)
		renewed, _, opened := s.open(value, &got)
		require.Equal(t, ok && len(value) <= maxCookie, opened)
		if opened {
			require.Equal(t, want, got)
			require.Equal(t, at, renewed)
		}
	})
}

// BenchmarkBudget measures a session's check, and the handler of the check, beside their floor:
// strict base64 and the bare Tink call on the same bytes. docs/speed.md has the budgets.
//
//	go test -run '^$' -bench Budget ./verify/web
func BenchmarkBudget(b *testing.B) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(b, err)
	keys, err := token.NewKeyset(handle)
	require.NoError(b, err)
	bare, err := aead.New(handle)
	require.NoError(b, err)
	s := mustSessions(b, SessionConfig{Keys: keys, Realm: "prod"})
	cookie := started(b, s, john)
	r := carrying(cookie.Name, cookie.Value)
	encoding := base64.RawURLEncoding.Strict()
	open := func() error {
		sealed, err := encoding.DecodeString(cookie.Value)
		if err == nil {
			_, err = bare.Decrypt(sealed, s.ad)
		}
		return err
	}
	b.Run("session", func(b *testing.B) {
		floor.Beside(b, open, func() error {
			_, err := s.Current(nil, r, token.Agent)
			return err
		}, nil)
	})
	b.Run("check", func(b *testing.B) {
		h, err := NewCheck(CheckConfig{Sessions: s, Audience: token.Agent, Brands: []string{john.Brand}})
		require.NoError(b, err)
		w := &discard{header: make(http.Header)}
		floor.Beside(b, open, func() error {
			clear(w.header)
			h.ServeHTTP(w, r)
			return nil
		}, nil)
	})
}

// A check allocates the opened bytes, and the list of the groups if the person has any.
func TestSessionAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop entries")
	}
	s := mustSessions(t, SessionConfig{Keys: newAEAD(t)})
	check := func(groups []string) float64 {
		session := john
		session.Groups = groups
		cookie := started(t, s, session)
		r := carrying(cookie.Name, cookie.Value)
		return testing.AllocsPerRun(1000, func() {
			if _, err := s.Current(nil, r, token.Agent); err != nil {
				t.Error(err)
			}
		})
	}
	assert.LessOrEqual(t, check(nil), 1.0)
	assert.LessOrEqual(t, check([]string{"a", "b", "c", "d"}), 2.0)
}

// discard is a ResponseWriter that keeps the header only.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// trap W15: whatever CheckSize accepts, every algorithm of a keyring seals into a cookie, and
// the session is read again. The error has both sizes and the remedy.
func TestCheckSize(t *testing.T) {
	longest := john
	longest.Groups = []string{""}
	for longest.CheckSize() == nil {
		longest.Groups[0] += "g"
	}
	err := longest.CheckSize()
	require.ErrorContains(t, err, "it has 2787 bytes, and 2786 fit; give it fewer groups, or shorter names")
	over := longest
	longest.Groups = []string{longest.Groups[0][1:]}
	for _, algorithm := range keyring.Algorithms(keyring.Session) {
		s := mustSessions(t, SessionConfig{Keys: ringOf(t, keyring.Session, algorithm), Realm: "prod"})
		cookie := started(t, s, longest)
		assert.LessOrEqual(t, len(cookie.Value), maxCookie, algorithm)
		got, ok := current(s, nil, carrying(cookie.Name, cookie.Value), token.Agent)
		require.True(t, ok, algorithm)
		assert.Equal(t, longest.Groups, got.Groups)
		assert.ErrorIs(t, s.Start(httptest.NewRecorder(), nil, over), errTooLarge, algorithm)
	}

	// Keys with more overhead refuse a session that CheckSize accepts, and say so.
	s := mustSessions(t, SessionConfig{Keys: padded{newAEAD(t)}})
	assert.ErrorContains(t, s.Start(httptest.NewRecorder(), nil, longest), "and 3800 fit")
}

// padded is an AEAD whose ciphertexts are 100 bytes longer.
type padded struct{ tink.AEAD }

func (p padded) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	sealed, err := p.AEAD.Encrypt(plaintext, associatedData)
	return append(sealed, make([]byte, 100)...), err
}

func (p padded) Decrypt(sealed, associatedData []byte) ([]byte, error) {
	return p.AEAD.Decrypt(sealed[:max(0, len(sealed)-100)], associatedData)
}

// The cookie's header is the header that net/http writes, and CheckSize counts as append does.
func TestCookieHeader(t *testing.T) {
	for name, c := range map[string]struct {
		config SessionConfig
		want   http.Cookie
	}{
		"TLS":    {SessionConfig{}, http.Cookie{Name: "__Host-admitone-agent", Secure: true, SameSite: http.SameSiteLaxMode}},
		"no TLS": {SessionConfig{Insecure: true}, http.Cookie{Name: "admitone-agent", SameSite: http.SameSiteLaxMode}},
		"frames": {SessionConfig{Partitioned: token.Agent}, http.Cookie{
			Name: "__Host-admitone-agent", Secure: true, SameSite: http.SameSiteNoneMode, Partitioned: true}},
	} {
		s := &Sessions{c: c.config}
		c.want.Path, c.want.HttpOnly = "/", true
		for value, write := range map[string]func(w http.ResponseWriter){
			"abc-_": func(w http.ResponseWriter) { s.cookie(w, token.Agent, "abc-_") },
			"":      func(w http.ResponseWriter) { s.End(w, token.Agent) },
		} {
			w := httptest.NewRecorder()
			write(w)
			want := c.want
			if want.Value = value; value == "" {
				want.MaxAge = -1
			}
			ours, err := http.ParseSetCookie(w.Header().Get("Set-Cookie"))
			require.NoError(t, err, name)
			theirs, err := http.ParseSetCookie(want.String())
			require.NoError(t, err, name)
			ours.Raw, theirs.Raw = "", ""
			assert.Equal(t, theirs, ours, name)
		}
	}
	for _, n := range []int{0, 1, 127, 128, 5000, 1 << 14} {
		s := Session{Name: strings.Repeat("x", n), Groups: []string{"g", strings.Repeat("y", n)}}
		assert.Equal(t, len(s.append(nil, time.Time{})), s.size(), n)
	}
}
