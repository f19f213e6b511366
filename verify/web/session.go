package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
)

// SessionLifetime is how long a session lasts from the moment of entry.
const SessionLifetime = 12 * time.Hour

// Session is who entered, and how.
type Session struct {
	Audience token.Audience `json:"audience"`
	Brand    string         `json:"brand"`
	Username string         `json:"username,omitempty"` // agents
	Customer int64          `json:"customer,omitempty"` // customers: the number of their record
	Channel  string         `json:"channel,omitempty"`  // customers: the ID of the channel that they entered
	Name     string         `json:"name,omitempty"`     // for people to read
	Email    string         `json:"email,omitempty"`

	TicketID string    `json:"ticketId"`
	KeyID    string    `json:"keyId"` // of the key that sealed the ticket
	OneTime  bool      `json:"oneTime,omitempty"`
	Actor    string    `json:"actor,omitempty"` // who asked for the ticket
	Issued   time.Time `json:"issued"`          // when the ticket was issued
	Entered  time.Time `json:"entered"`         // when it was redeemed
}

// Sessions keeps sessions in cookies, one for each audience, sealed and
// authenticated: the server stores nothing. The associated data is
// "admitone/session/1", a zero byte and the realm. It is safe for concurrent use.
type Sessions struct {
	aead   tink.AEAD
	ad     []byte
	secure bool
	now    func() time.Time
}

// NewSessions returns the sessions of a realm under a, such as a keyring.Ring of
// kind session. With secure, as wherever pages are served over TLS, the cookies
// are Secure and have the __Host- prefix. now is the clock; nil means time.Now.
func NewSessions(a tink.AEAD, realm string, secure bool, now func() time.Time) (*Sessions, error) {
	if a == nil {
		return nil, errors.New("web: the session keys are nil; give a keyring.Ring of kind session or another tink.AEAD")
	}
	if err := token.CheckRealm(realm); err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Sessions{a, []byte("admitone/session/1\x00" + realm), secure, now}, nil
}

func (s *Sessions) cookie(a token.Audience) string {
	name := "admitone-" + a.String()
	if s.secure {
		name = "__Host-" + name
	}
	return name
}

// Start sets the session's cookie on an answer, with Entered set to now. It
// replaces whatever session of that audience the browser had.
func (s *Sessions) Start(w http.ResponseWriter, session Session) error {
	session.Entered = s.now().UTC().Truncate(time.Second)
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false) // nothing here is shown as it stands, and six bytes for one make cookies too large
	if err := e.Encode(session); err != nil {
		return fmt.Errorf("web: writing a session: %w", err)
	}
	sealed, err := s.aead.Encrypt(plain.Bytes(), s.ad)
	if err != nil {
		return fmt.Errorf("web: sealing a session: %w", err)
	}
	value := base64.RawURLEncoding.EncodeToString(sealed)
	if len(value) > 3800 { // browsers keep 4,096 bytes of name, value and attributes
		return errors.New("web: the session is too large for a cookie")
	}
	http.SetCookie(w, &http.Cookie{
		Name: s.cookie(session.Audience), Value: value, Path: "/",
		Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return nil
}

// Current returns the session of an audience that a request carries, if it is
// genuine and not older than SessionLifetime.
func (s *Sessions) Current(r *http.Request, a token.Audience) (Session, bool) {
	// Another host of the same site can plant cookies of this name before ours.
	for _, c := range r.CookiesNamed(s.cookie(a)) {
		if session, ok := s.open(c.Value, a); ok {
			return session, true
		}
	}
	return Session{}, false
}

func (s *Sessions) open(value string, a token.Audience) (Session, bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return Session{}, false
	}
	plain, err := s.aead.Decrypt(sealed, s.ad)
	if err != nil {
		return Session{}, false
	}
	var session Session
	if err := json.Unmarshal(plain, &session); err != nil || session.Audience != a {
		return Session{}, false
	}
	if age := s.now().Sub(session.Entered); age < -time.Minute || age >= SessionLifetime {
		return Session{}, false
	}
	return session, true
}
