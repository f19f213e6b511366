package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/base64url"
	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// How long sessions last by default.
const (
	SessionIdle     = time.Hour      // since the cookie was last renewed
	SessionLifetime = 12 * time.Hour // since the entry
)

// Session describes a person who entered, and the ticket.
type Session struct {
	ID       string // 26 letters and digits, new at every entry
	Audience token.Audience
	Brand    string
	User     string   // the person's name for programs: an agent's username, or the service's ID of a customer
	Name     string   // the person's name for people
	Email    string   // may be empty
	Record   string   // the ID of the person's record, if the service has records; SessionConfig.Refresh compares
	Groups   []string // the groups of the person, as the service names them
	Channel  string   // customers: the ID of the channel

	TicketID token.ID
	KeyID    token.KeyID // of the key that sealed the ticket
	Issuer   string      // the ticket's issuer; "" for the one without a name
	// SigningKey is the issuer's key that signed the ticket, in format 2; otherwise 0.
	SigningKey token.KeyID
	OneTime    bool
	Actor      string    // the API key that asked for the ticket, by the issuer's word
	Issued     time.Time // when the ticket was issued; whole milliseconds, as is Entered
	Entered    time.Time // when the ticket was redeemed
}

// SessionStore is where a Handler keeps sessions. A *Sessions is a SessionStore. A service
// with its own sessions implements these two methods on top of them. The confirm page's
// cookie is then Secure: without TLS, browsers keep the cookie at http://localhost at
// most.
type SessionStore interface {
	// Start begins a session and sets its cookie on w, in place of any other session of
	// that audience. The session's ID must be new, so that nobody who used this browser
	// before knows the ID. s.ID and s.Entered are not set.
	Start(w http.ResponseWriter, r *http.Request, s Session) error

	// Current returns the session of an audience that r carries, if the session is still
	// good, with the Brand, User, Channel, TicketID and Issuer of Start. The error wraps
	// ErrNoSession if r carries no good session. Any other error means: Current cannot
	// tell now. Then ask for another try, since the person may be signed in. Current may
	// renew the session's cookie on w, unless w is nil.
	Current(w http.ResponseWriter, r *http.Request, a token.Audience) (Session, error)
}

// SessionConfig says how Sessions are kept. Keys is mandatory.
type SessionConfig struct {
	// Keys seal the sessions: a keyring.Ring of kind session, or another tink.AEAD whose keys
	// have the TINK prefix. NewSessions tries the keys; see token.CheckKeys.
	Keys  tink.AEAD
	Realm string // the deployment's name

	// Idle is how long a session lasts unused, and Lifetime how long at most. 0 means
	// SessionIdle and SessionLifetime. A cookie is renewed after half of Idle, or if a key
	// other than the primary sealed it. So a session may end after half of Idle unused.
	Idle     time.Duration
	Lifetime time.Duration

	// Refresh, if not nil, returns s with the present Name, Email and Groups of the person,
	// or an error if the session is not good now: ErrNoSession if the session is over,
	// and any other error if Refresh cannot tell. Compare s.Record, so that the session of
	// a removed person does not become the session of another with the same name. Refresh
	// is called at every check and should answer from memory. The cookie stays as it is.
	Refresh func(ctx context.Context, s Session) (Session, error)

	// Partitioned makes the cookies of an audience (verify.AnyAudience: of agents and of
	// customers) usable in pages that another site embeds: SameSite=None and Partitioned
	// (CHIPS), with one cookie jar for each embedding site. Otherwise the cookies are
	// SameSite=Lax, and no frame in another site's page sees them. An administrator's cookie
	// is always SameSite=Strict.
	Partitioned token.Audience

	// Insecure is for pages served without TLS, on the developer's machine: the cookies are
	// neither Secure nor have the __Host- prefix. Without Insecure, browsers drop the
	// cookies of a page that came over plain HTTP, and nobody stays signed in.
	Insecure bool

	// PublicURL is the URL of the site for browsers, such as https://login.example.com.
	// With PublicURL, confirm pages and signing out work behind a proxy with a Host of its
	// own. Without PublicURL, the Host decides for browsers without Sec-Fetch-Site.
	PublicURL string

	Now func() time.Time // the clock; nil means time.Now
}

// ErrNoSession is wrapped by the error of a SessionStore or of a SessionConfig.Refresh if
// nobody is signed in: the request has no session, or the session is over.
var ErrNoSession = errors.New("nobody is signed in")

// Sessions keeps sessions in cookies, one for each audience, sealed and authenticated: the
// server stores nothing. The associated data is "admitone/session/1", a zero byte and the
// realm. Sessions is safe for concurrent use.
//
// A sealed cookie is good until it expires, or until Refresh or a disabled key ends the
// session. End removes the cookie from the browser, but not a copy of the cookie. If the
// answer to an older request renews the cookie and arrives after a sign-out or another
// user's entry, the browser has the old session again.
type Sessions struct {
	c       SessionConfig
	sealer  sealing.Sealer
	ad      []byte
	origin  origin
	primary atomic.Uint32 // the key that sealed last
	sealed  atomic.Int64  // the time of that sealing, in Unix seconds
}

// maxTries is how many cookies of the same name a request may try. A browser sends a
// single cookie, or a second Partitioned cookie beside the first. Each forged cookie may
// cost a look at a keyring's file.
const maxTries = 8

// NewSessions returns Sessions. The error is a *token.ConfigError.
func NewSessions(c SessionConfig) (*Sessions, error) {
	if err := token.CheckKeys("web.SessionConfig.Keys", c.Keys); err != nil {
		return nil, err
	}
	if err := token.CheckRealm("web.SessionConfig.Realm", c.Realm); err != nil {
		return nil, err
	}
	if c.Idle == 0 {
		c.Idle = SessionIdle
	}
	if c.Lifetime == 0 {
		c.Lifetime = SessionLifetime
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case c.Idle < 0:
		return nil, invalidSessions("Idle", "is negative; give a longer time, or 0 for SessionIdle")
	case c.Lifetime < 0:
		return nil, invalidSessions("Lifetime", "is negative; give a longer time, or 0 for SessionLifetime")
	case c.Partitioned == token.Administrator:
		return nil, invalidSessions("Partitioned",
			"is token.Administrator, whose pages no other site may embed; give another audience or leave it out")
	case c.Partitioned != 0 && c.Insecure:
		return nil, invalidSessions("Partitioned",
			"stands beside Insecure; choose one of the two, since browsers keep partitioned cookies over TLS only")
	}
	c.Idle = min(c.Idle, c.Lifetime)
	if ring, ok := c.Keys.(*keyring.Ring); ok {
		info := ring.Report().Info
		if info.Kind != keyring.Session {
			return nil, invalidSessions("Keys", fmt.Sprintf("is a keyring of kind %s; give one of kind session", info.Kind))
		}
	}
	if reason := sealing.LifetimeFault(c.Keys, c.Lifetime); reason != "" {
		return nil, invalidSessions("Lifetime", reason)
	}
	site, ok := publicOrigin(c.PublicURL)
	if !ok {
		return nil, invalidSessions("PublicURL", "is no http or https URL without a path; "+
			"write it like https://login.example.com")
	}
	return &Sessions{
		c: c, sealer: sealing.NewSealer(c.Keys), ad: sealing.AssociatedData("admitone/session/1", c.Realm), origin: site,
	}, nil
}

func invalidSessions(field, reason string) error {
	return &token.ConfigError{Field: "web.SessionConfig." + field, Reason: reason}
}

// seal encrypts a session and notes the key.
func (s *Sessions) seal(plaintext []byte) ([]byte, error) {
	sealed, key, err := sealing.Seal(s.sealer, nil, plaintext, s.ad)
	if err != nil {
		return nil, fmt.Errorf("cannot seal a session: %w", err)
	}
	s.primary.Store(key)
	s.sealed.Store(s.c.Now().Unix())
	return sealed, nil
}

// isPrimary reports whether a key is the primary, as of at most a minute ago. Only sealing
// tells which key of a tink.AEAD is the primary.
func (s *Sessions) isPrimary(key uint32, now time.Time) bool {
	if age := now.Unix() - s.sealed.Load(); age < 0 || age > 60 {
		_, _ = s.seal(nil) // a failure shows again at the renewal; the session is good all the same
	}
	return s.primary.Load() == key
}

// Start implements SessionStore. It sets the session's ID to a new random ID and Entered
// to now.
func (s *Sessions) Start(w http.ResponseWriter, _ *http.Request, session Session) error {
	value, err := s.begin(session)
	if err != nil {
		return err
	}
	s.cookie(w, session.Audience, value)
	return nil
}

// begin returns the text of the cookie of a session that begins now.
func (s *Sessions) begin(session Session) (string, error) {
	if s.cookieName(session.Audience) == "" {
		return "", fmt.Errorf("cannot start a session for %v; give Audience", session.Audience)
	}
	now := s.c.Now()
	session.ID, session.Entered = rand.Text(), now
	return s.value(&session, now)
}

// value returns the text of the session's cookie, renewed now.
func (s *Sessions) value(session *Session, now time.Time) (string, error) {
	if err := session.CheckSize(); err != nil {
		return "", err
	}
	sealed, err := s.seal(session.append(make([]byte, 0, session.size()), now))
	if err != nil {
		return "", err
	}
	value := base64url.Encode("", sealed)
	if len(value) > maxCookie {
		return "", tooLarge(len(value), maxCookie, "characters under this kind of key")
	}
	return value, nil
}

// set gives the browser the session's cookie, renewed now.
func (s *Sessions) set(w http.ResponseWriter, session *Session, now time.Time) error {
	value, err := s.value(session, now)
	if err != nil {
		return err
	}
	s.cookie(w, session.Audience, value)
	return nil
}

// cookie sets the cookie of an audience. The value is base64url, and so this is
// http.SetCookie without its checks.
func (s *Sessions) cookie(w http.ResponseWriter, a token.Audience, value string) {
	w.Header().Add("Set-Cookie", s.cookieName(a)+"="+value+s.attributes(a))
}

// attributes returns the attributes of the cookie of an audience.
func (s *Sessions) attributes(a token.Audience) string {
	switch {
	case a == token.Administrator && s.c.Insecure:
		return "; Path=/; HttpOnly; SameSite=Strict"
	case a == token.Administrator:
		return "; Path=/; HttpOnly; Secure; SameSite=Strict"
	case s.partitioned(a):
		return "; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"
	case s.c.Insecure:
		return "; Path=/; HttpOnly; SameSite=Lax"
	}
	return "; Path=/; HttpOnly; Secure; SameSite=Lax"
}

func (s *Sessions) partitioned(a token.Audience) bool {
	return a != token.Administrator && (s.c.Partitioned == a || s.c.Partitioned == verify.AnyAudience)
}

// cookieName returns "" for an audience that does not exist: no cookie has that name.
func (s *Sessions) cookieName(a token.Audience) string {
	var name string
	switch a {
	case token.Agent:
		name = "__Host-admitone-agent"
	case token.Customer:
		name = "__Host-admitone-customer"
	case token.Administrator:
		name = "__Host-admitone-administrator"
	default:
		return ""
	}
	if s.c.Insecure {
		return name[len("__Host-"):]
	}
	return name
}

// End takes the session of an audience from the browser.
func (s *Sessions) End(w http.ResponseWriter, a token.Audience) {
	w.Header().Add("Set-Cookie", s.cookieName(a)+"=; Max-Age=0"+s.attributes(a))
}

// Current implements SessionStore. The session is genuine, neither idle for longer than
// Idle nor older than Lifetime, and Refresh returns no error.
func (s *Sessions) Current(w http.ResponseWriter, r *http.Request, a token.Audience) (Session, error) {
	var session Session
	notFound := ErrNoSession
	// Without the __Host- prefix, another host of the same site can plant cookies of this
	// name before ours.
	tries := 0
	for value := range cookiesNamed(r, s.cookieName(a)) {
		if tries++; tries > maxTries {
			break
		}
		now := s.c.Now()
		renewed, key, ok := s.open(value, &session)
		if !ok || session.Audience != a || !s.inTime(&session, renewed, now) {
			continue
		}
		if s.c.Refresh == nil {
			s.renew(w, &session, key, renewed, now)
			return session, nil
		}
		fresh, err := s.c.Refresh(r.Context(), session)
		if err == nil {
			s.renew(w, &session, key, renewed, now)
			return fresh, nil
		}
		if !errors.Is(err, ErrNoSession) {
			notFound = err
		}
	}
	return Session{}, notFound
}

// cookiesNamed is r.CookiesNamed for values in base64url. It allocates nothing, since
// every check of a session reads a cookie.
func cookiesNamed(r *http.Request, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range r.Header["Cookie"] {
			for line != "" {
				var pair string
				pair, line, _ = strings.Cut(line, ";")
				// Unicode's spaces are kept. With a Unicode space in front, a name has no
				// __Host- prefix for a browser, and any host of the site may set the cookie.
				n, value, ok := strings.Cut(textproto.TrimString(pair), "=")
				if ok && n == name && !yield(value) {
					return
				}
			}
		}
	}
}

func (s *Sessions) inTime(session *Session, renewed, now time.Time) bool {
	// Other machines that renew cookies may be a little ahead.
	const ahead = -time.Minute
	age, idle := now.Sub(session.Entered), now.Sub(renewed)
	return age >= ahead && idle >= ahead && age < s.c.Lifetime && idle < s.c.Idle
}

// renew renews the cookie, if w is not nil, after half of Idle or if the key is no longer the
// primary. If renewing fails, the session is good all the same.
func (s *Sessions) renew(w http.ResponseWriter, session *Session, key uint32, renewed, now time.Time) {
	if w != nil && (now.Sub(renewed) >= s.c.Idle/2 || !s.isPrimary(key, now)) {
		_ = s.set(w, session, now)
	}
}

var cookies = sync.Pool{New: func() any { return new([maxCookie]byte) }}

// open fills session with the contents of a cookie's value, whatever its times, and
// returns the time of sealing and the key.
func (s *Sessions) open(value string, session *Session) (renewed time.Time, key uint32, ok bool) {
	if len(value) > maxCookie {
		return renewed, 0, false
	}
	buffer := cookies.Get().(*[maxCookie]byte)
	defer cookies.Put(buffer)
	sealed, _ := base64url.Decode(buffer[:], value)
	key, ok = sealing.KeyID(sealed)
	if !ok {
		return renewed, 0, false
	}
	plaintext, err := sealing.Open[token.KeyID](s.c.Keys, sealed, s.ad)
	if err != nil {
		return renewed, 0, false
	}
	renewed, ok = session.decode(plaintext)
	return renewed, key, ok
}
