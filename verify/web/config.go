package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Config says how a Handler works. Verifier, Sessions and Use are mandatory.
type Config struct {
	Verifier *verify.Verifier
	Sessions SessionStore // a *Sessions, or the service's own sessions

	// Use says what a ticket at this request's URL is used for: see verify.Use. The
	// ticket t is genuine, but nothing else about it is checked yet. t is nil if the
	// request has no ticket: then Audience and Channel say which session the page is
	// about. The Handler sets Use.Binding itself.
	Use func(r *http.Request, t *token.Ticket) verify.Use

	// Admit says how the holder of a ticket enters. The ticket is genuine, in time and
	// for this use, and nothing is spent yet. An error refuses the ticket, as an error
	// of verify.Use.Check does. Admit may be called several times before an entry. Nil
	// admits everybody with the ticket's own details, on pages that look like Page.
	Admit func(r *http.Request, t token.Ticket, use verify.Use) (Entry, error)

	// SwitchOf returns the policy of the brand and channel of s, another user's session that
	// the entry would replace. The stricter of SwitchOf and Entry.Switch holds, so that a
	// ticket of one brand does not replace the session of a brand with a stricter policy.
	// SwitchOf is not called if the ticket has the same brand and channel. If the
	// browser may be withholding a session from another site's form, s is the zero Session:
	// SwitchOf then returns the strictest policy of all sessions. After an error the session
	// and the ticket stay, and a page says to try again later. Nil means Entry.Switch alone.
	SwitchOf func(ctx context.Context, s Session) (Switch, error)

	// Page says how the pages look that are about no ticket or about a refused
	// ticket: a refused person must not learn the reason from the page. The looks of
	// other pages are Entry.Page. Nil means the zero Page.
	Page func(r *http.Request) Page

	// Home is where the browser goes after the entry, unless the request's parameter next
	// names another path: a path of this site, as browsers see it. Empty means the URL of
	// the entry itself, without the ticket.
	Home string

	// Logout is the path of Sessions.Logout or of another handler that signs out on a POST
	// from this site's pages only: a path of this site, such as /logout, or a path relative
	// to the entry's. With Logout, the page about another signed-in user (RefuseUser) has a
	// button for it.
	Logout string

	// PublicURL is the URL of the site for browsers, such as https://login.example.com.
	// With it, the confirm page works behind a proxy that changes the Host. Empty means
	// the PublicURL of a *Sessions.
	PublicURL string

	// NoTicket answers requests without a ticket. The form of a POST is already parsed. Nil
	// means a page that says who is signed in, or how to get in.
	NoTicket http.Handler

	// NamelessTicket also accepts ?=TA<ticket>, an old form of the URL.
	NamelessTicket bool

	// Texts are the pages' texts in other languages, or other texts, by BCP 47 tag, such as
	// "it" or "pt-BR". Fields left empty are taken from English. English, French, German,
	// Hebrew and Spanish are built in.
	Texts map[string]Texts

	// Decided, if not nil, is told the outcome of each ticket, for counting: err is nil
	// if t was redeemed, and otherwise a *verify.Error. Decided is not called if a page
	// asks the person first, nor if a reload brings the ticket of the present session.
	Decided func(r *http.Request, t token.Ticket, err error)

	// RefusalTime is the least time from a request with a ticket to the page that refuses
	// the ticket, so that the time tells a stranger nothing. Choose more than a claim takes
	// in the store, and less than browsers wait. 0 means RefusalTime.
	RefusalTime time.Duration

	// MayLog, if not nil, reports whether a refused ticket gets a line in the log. Use MayLog to
	// limit the lines: anybody can send tickets that are refused. An outage always gets its
	// line, since strangers cannot cause an outage.
	MayLog func(r *http.Request) bool

	// Log gets one event for each outcome (see verify.Verifier.Log), with the address
	// of Request.RemoteAddr: behind a proxy, set RemoteAddr to the client's address.
	// Nil means slog.Default().
	Log *slog.Logger
}

// RefusalTime is the least time that the refusal of a ticket takes by default.
const RefusalTime = 100 * time.Millisecond

// Entry says how a ticket's holder enters.
type Entry struct {
	// Session is the session to start. If User, Name and Email are empty, the ticket's are
	// taken. Groups stay as they are. All other fields are the ticket's.
	Session Session

	// Page says how the pages about this ticket look.
	Page Page

	// Confirm shows a page with the person's name before anything is spent, and lets the
	// person in after a press of the button. Use Confirm for links in mail, because mail
	// scanners and previews fetch links, and against links to another person's account.
	Confirm bool

	// Switch says what to do if the browser has another user's session; see also
	// Config.SwitchOf.
	Switch Switch

	// Then, if not nil, runs after the ticket is spent and before the session starts, and
	// may still change the session. Its context ends half of replay.Grace, five seconds,
	// after the claim began, whether or not the browser waits. Then should be idempotent per
	// ticket ID: after an error, a browser that saw the confirm page may try again in the
	// rest of the Grace.
	Then func(ctx context.Context, s *Session) error
}

// Switch says what happens if a browser with one user's session opens another user's
// ticket.
type Switch uint8

// The zero Switch replaces, as a login page does. A later Switch is stricter.
const (
	ReplaceUser Switch = iota // the new session replaces the old one
	ConfirmUser               // a page tells the person, and a button replaces the session
	RefuseUser                // the old session and the ticket stay as they are
)

// New returns a Handler. The error is a *token.ConfigError.
func New(c Config) (*Handler, error) {
	invalid := func(field, reason string) (*Handler, error) {
		return nil, &token.ConfigError{Field: "web.Config." + field, Reason: reason}
	}
	switch {
	case c.Verifier == nil:
		return invalid("Verifier", "is nil; make one with verify.New")
	case c.Sessions == nil:
		return invalid("Sessions", "is nil; give a *Sessions, or the service's own sessions")
	case c.Use == nil:
		return invalid("Use", "is nil; give a function that returns verify.Use{Audience: …}")
	case !relativePath(c.Logout):
		return invalid("Logout", "is not a path of this site; write it like /logout")
	case c.RefusalTime < 0:
		return invalid("RefusalTime", "is negative; give a longer time, or 0 for RefusalTime")
	}
	if c.Home != "" {
		home, ok := safeNext(c.Home)
		if !ok {
			return invalid("Home", "is not a path of this site; write it like /inbox")
		}
		c.Home = home
	}
	if c.Page == nil {
		c.Page = func(*http.Request) Page { return Page{} }
	}
	if c.Admit == nil {
		page := c.Page
		c.Admit = func(r *http.Request, _ token.Ticket, _ verify.Use) (Entry, error) { return Entry{Page: page(r)}, nil }
	}
	if c.Decided == nil {
		c.Decided = func(*http.Request, token.Ticket, error) {}
	}
	if c.MayLog == nil {
		c.MayLog = func(*http.Request) bool { return true }
	}
	if c.RefusalTime == 0 {
		c.RefusalTime = RefusalTime
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	l, err := newLanguages(c.Texts)
	if err != nil {
		return nil, err
	}
	h := &Handler{c: c, languages: l}
	h.sessions, _ = c.Sessions.(*Sessions)
	var ok bool
	if h.origin, ok = publicOrigin(c.PublicURL); !ok {
		return invalid("PublicURL", "is no http or https URL without a path; write it like https://login.example.com")
	}
	if h.origin == "" && h.sessions != nil {
		h.origin = h.sessions.origin
	}
	return h, nil
}

// relativePath reports whether a browser reads path as a path of the same site.
func relativePath(path string) bool {
	u, err := url.Parse(path)
	return err == nil && !u.IsAbs() && u.Host == "" && !strings.HasPrefix(path, "//") && !strings.ContainsAny(path, "\\ ")
}
