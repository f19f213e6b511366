package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Config says how a Handler works. Verifier, Sessions and Use are mandatory.
type Config struct {
	Verifier *verify.Verifier
	Sessions SessionStore // a *Sessions, or the service's own sessions

	// Use says what a request's ticket is about to be used for. The ticket is
	// not yet checked in any way, and empty where the request has none.
	// Use.Binding is the Handler's to set.
	Use func(r *http.Request, ticket string) verify.Use

	// Admit is asked about a ticket that is genuine, in time and for this use,
	// before anything is spent, and says how its holder enters. An error refuses
	// the ticket, as one of Use.Check does. It may be asked several times before
	// an entry. Nil admits everybody, as the ticket describes them.
	Admit func(r *http.Request, t token.Ticket) (Entry, error)

	// Page says how pages look. t is the ticket that the page is about, or the
	// zero Ticket where it is about none or a refused one: who was refused must
	// not learn from the page why. Nil means the zero Page.
	Page func(r *http.Request, t token.Ticket) Page

	// Home is where the browser goes after the entry unless the request names
	// another way in the parameter next: a path of this site, as browsers know it.
	// Empty means the URL of the entry itself, without the ticket.
	Home string

	// Logout is where Sessions.Logout is mounted, or what else signs out on a POST by
	// this site's pages and no other's: a path of this site, such as /logout, or one
	// relative to the entry's. The page that says that another user is signed in
	// (RefuseUser) then has a button for it. Empty means that it has none.
	Logout string

	// NoTicket answers requests that carry no ticket; the form of a POST is
	// already parsed. Nil means a page that says who is signed in, or how to get
	// in.
	NoTicket http.Handler

	// NamelessTicket accepts ?=TA<ticket>, an old form of the URL, as well.
	NamelessTicket bool

	// Texts are the pages' texts in other languages, or other texts, by BCP 47
	// tag, such as "fr" or "pt-BR". Fields left empty are taken from English.
	// English, German and Hebrew are built in.
	Texts map[string]Texts

	// Decided, if not nil, is told what came of each ticket, for counting: err is
	// nil where t was redeemed, and else a *verify.Error. It is not asked about
	// tickets that a page asks about first, nor about a session's own ticket that
	// a reload brings again.
	Decided func(r *http.Request, t token.Ticket, err error)

	// Log gets a line for each ticket decided, with the reason and the ticket's
	// ID, never the ticket. It names the address of Request.RemoteAddr: behind a
	// proxy, set that to the client's. Nil means none.
	Log *slog.Logger
}

// Entry is how a ticket's holder enters.
type Entry struct {
	// Session is what the session will say. Where User, Name and Email are
	// empty, the ticket's are taken; Groups stay as they are; all other fields
	// are the ticket's.
	Session Session

	// Confirm shows who is about to enter before anything is spent, and lets
	// them in when they press the button: for links that mail scanners and
	// previews fetch, and against links that sign people in as somebody else.
	Confirm bool

	// Switch is what to do where the browser has another user's session.
	Switch Switch

	// Then, if not nil, runs when the ticket is spent and before the session
	// starts, and may still change that. Its context lasts half of
	// replay.Grace, five seconds, whether or not the browser waits. It should be
	// idempotent per ticket ID: after an error, the browser that saw the confirm
	// page may try again in what is left of the Grace.
	Then func(ctx context.Context, s *Session) error
}

// Switch says what happens when a browser with one user's session opens another
// user's ticket.
type Switch uint8

// The zero Switch replaces, as a login page does.
const (
	ReplaceUser Switch = iota // the new session replaces the old one
	ConfirmUser               // after a page has told of it and a button was pressed
	RefuseUser                // not at all; the ticket stays unspent
)

// New returns a Handler, or an error that says what in c is wrong.
func New(c Config) (*Handler, error) {
	switch {
	case c.Verifier == nil:
		return nil, errors.New("web: Config.Verifier is nil; make one with verify.New")
	case c.Sessions == nil:
		return nil, errors.New("web: Config.Sessions is nil; give a *Sessions, or the service's own sessions")
	case c.Use == nil:
		return nil, errors.New("web: Config.Use is nil; give a function that returns verify.Use{Audience: …}")
	}
	if c.Home != "" {
		home, ok := safeNext(c.Home)
		if !ok {
			return nil, errors.New("web: Config.Home is not a path of this site; write it like /inbox")
		}
		c.Home = home
	}
	if u, err := url.Parse(c.Logout); err != nil || u.IsAbs() || u.Host != "" || strings.HasPrefix(c.Logout, "//") || strings.ContainsAny(c.Logout, "\\ ") {
		return nil, errors.New("web: Config.Logout is not a path of this site; write it like /logout")
	}
	if c.Admit == nil {
		c.Admit = func(*http.Request, token.Ticket) (Entry, error) { return Entry{}, nil }
	}
	if c.Page == nil {
		c.Page = func(*http.Request, token.Ticket) Page { return Page{} }
	}
	if c.Decided == nil {
		c.Decided = func(*http.Request, token.Ticket, error) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l, err := newLanguages(c.Texts)
	if err != nil {
		return nil, err
	}
	h := &Handler{c: c, languages: l}
	h.sessions, _ = c.Sessions.(*Sessions)
	return h, nil
}
