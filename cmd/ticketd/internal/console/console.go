// Package console lets administrators in, and keeps their sessions. The console has a
// listener and an origin of its own: the applications behind the login's proxy must not
// reach it.
//
// An administrator enters with a ticket of the audience token.Administrator, which works
// once, and only after a press of a button. A ticket names the administrator's record; a
// session holds the same. Every request looks the record up: after a change, links and
// sessions of an administrator who was removed, made inactive or added again are over.
package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// The paths of the console that this package answers.
const (
	EnterPath  = "/console/enter"
	LogoutPath = "/console/logout"
)

// SessionLifetime is how long a session lasts after the entry, used or not.
const SessionLifetime = time.Hour

// Config says how a Console works. Directory, Verifier, Keys and URL are mandatory.
type Config struct {
	Directory *directory.DB
	Verifier  *verify.Verifier // for any brand; its store is the service's
	Keys      tink.AEAD        // seal the sessions: a keyring.Ring of kind session
	Realm     string
	URL       string           // origin of the console for browsers
	Home      string           // path to which an administrator goes after the entry; "" for EnterPath
	Now       func() time.Time // nil means time.Now
	Log       *slog.Logger     // nil means slog.Default()

	Decided     func(r *http.Request, t token.Ticket, err error) // as web.Config.Decided
	MayLog      func(r *http.Request) bool                       // as web.Config.MayLog
	RefusalTime time.Duration                                    // as web.Config.RefusalTime
}

// Console answers EnterPath and LogoutPath.
type Console struct {
	c        Config
	sessions *web.Sessions
	handler  http.Handler
}

// New returns a Console. The error is a *token.ConfigError.
func New(c Config) (*Console, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	con := &Console{c: c}
	insecure := !strings.HasPrefix(c.URL, "https:")
	var err error
	con.sessions, err = web.NewSessions(web.SessionConfig{
		Keys: c.Keys, Realm: c.Realm, Idle: SessionLifetime, Lifetime: SessionLifetime,
		Refresh: con.refresh, Insecure: insecure, PublicURL: c.URL, Now: c.Now,
	})
	if err != nil {
		return nil, err
	}
	enter, err := web.New(web.Config{
		Verifier: c.Verifier, Sessions: con.sessions, Use: use, Admit: con.admit, Home: c.Home, Logout: LogoutPath,
		PublicURL: c.URL, Decided: c.Decided, MayLog: c.MayLog, RefusalTime: c.RefusalTime, Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(EnterPath, enter)
	mux.Handle(LogoutPath, con.sessions.Logout(EnterPath))
	con.handler, err = SameOrigin(c.URL, mux)
	return con, err
}

// SameOrigin refuses the requests by which another site's page would change something, and
// tells browsers that no page may show the answers in a frame. The URL is the console's
// origin.
func SameOrigin(url string, h http.Handler) (http.Handler, error) {
	protection := http.NewCrossOriginProtection()
	if err := protection.AddTrustedOrigin(url); err != nil {
		return nil, &token.ConfigError{Field: "console.Config.URL", Reason: "is no origin", Cause: err}
	}
	protected := protection.Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("Referrer-Policy", "no-referrer")
		protected.ServeHTTP(w, r)
	}), nil
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// A Visitor is an administrator with a session.
type Visitor struct {
	directory.Administrator               // as the directory has it now
	Session                 web.Session   // Entered is the time of the entry
	Age                     time.Duration // of the session
}

// Visitor returns the administrator whose good session r carries. The error wraps
// web.ErrNoSession if there is none. Any other error means: the directory cannot tell.
func (c *Console) Visitor(r *http.Request) (Visitor, error) {
	session, err := c.sessions.Current(nil, r, token.Administrator)
	if err != nil {
		return Visitor{}, err
	}
	a, err := c.owner(r.Context(), session)
	return Visitor{a, session, c.c.Now().Sub(session.Entered)}, err
}

// owner returns the administrator of a session as the directory has it now.
func (c *Console) owner(ctx context.Context, s web.Session) (directory.Administrator, error) {
	a, err := c.c.Directory.Administrator(ctx, s.User)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return directory.Administrator{}, web.ErrNoSession
	case err != nil:
		return directory.Administrator{}, err
	case !a.Active || a.RecordID != s.Record:
		return directory.Administrator{}, web.ErrNoSession
	}
	return a, nil
}

// refresh is web.SessionConfig.Refresh.
func (c *Console) refresh(ctx context.Context, s web.Session) (web.Session, error) {
	a, err := c.owner(ctx, s)
	if err == nil {
		describe(&s, a)
	}
	return s, err
}

func describe(s *web.Session, a directory.Administrator) {
	s.User, s.Record, s.Name, s.Email = a.Username, a.RecordID, a.Name, a.Email
}

func use(*http.Request, *token.Ticket) verify.Use { return verify.Use{Audience: token.Administrator} }

// admit lets an administrator in who is active, and whose record is the one that the ticket
// names.
func (c *Console) admit(r *http.Request, t token.Ticket, _ verify.Use) (e web.Entry, err error) {
	if t.Issuer != "" { // the grant of a trust list may name administrators
		return e, errors.New("the ticket is of a named issuer, and administrators enter by the service's own links only")
	}
	a, err := c.c.Directory.Administrator(r.Context(), t.Username)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return e, errors.New("the administrator is not in the directory")
	case err != nil:
		return e, &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
	case t.Brand != "":
		return e, errors.New("the ticket names a brand, and administrators belong to no brand")
	case !a.Active:
		return e, errors.New("the administrator is inactive")
	case t.Claims[recordClaim] != a.RecordID:
		return e, errors.New("the ticket is not of the administrator's present record; make another link")
	}
	e.Confirm = true
	describe(&e.Session, a)
	return e, nil
}
