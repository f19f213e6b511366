package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// Handler admits people with tickets. It reads the ticket from the query or form
// field ta or TA, redeems it, starts a session and answers 303 without the
// ticket. It is an http.Handler for GET, HEAD and POST at one path or more of
// any router, and safe for concurrent use.
type Handler struct {
	c         Config
	languages *languages
	sessions  *Sessions // nil where the sessions are the service's own
}

// thenLasts leaves the browser half of the grace to ask again after a fault.
const thenLasts = replay.Grace / 2

// maxForm is of a request's body, in bytes.
const maxForm = 64 << 10

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		privately(w.Header())
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "Use GET or POST", http.StatusMethodNotAllowed)
		return
	}
	if stylesheet(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	ticket, found := ticketOf(r, h.c.NamelessTicket)
	switch {
	case !found && h.c.NoTicket != nil:
		h.c.NoTicket.ServeHTTP(w, r)
	case !found:
		h.showSession(w, r)
	case !maySpend(r):
		// Whoever looks ahead is told to come back, and spends nothing.
		h.showLater(w, r)
	default:
		h.enter(w, r, ticket)
	}
}

// attempt is one request with a ticket.
type attempt struct {
	*Handler
	r      *http.Request
	ticket string
	use    verify.Use

	secret [32]byte // of the browser's cookie
	bound  bool     // it has one

	entry   Entry   // as admit found it
	page    Page    // for the ticket
	current Session // another user's, that is about to be replaced
	stop    stop    // why nothing may be spent yet
}

// stop is what keeps a good ticket from being spent by this request.
type stop uint8

const (
	goOn          stop = iota
	alreadyIn          // the session that the ticket bought is there
	askFirst           // the person must confirm
	tryCookie          // it must be seen whether cookies stay
	noCookie           // they do not
	otherUser          // another user is signed in
	fromOtherSite      // the confirmation is another site's
	notFramable        // the answer would show in a frame in which it may not
)

// errStop refuses a ticket that is not to be spent yet.
var errStop = errors.New("not to be spent yet")

func (h *Handler) enter(w http.ResponseWriter, r *http.Request, ticket string) {
	if r.PostForm == nil {
		_ = r.ParseForm() // of a GET: its query, of which it takes what can be read
	}
	a := &attempt{Handler: h, r: r, ticket: ticket, use: h.c.Use(r, ticket)}
	a.use.Binding = [32]byte{}
	if a.secret, a.bound = h.bindingSecret(r); a.bound {
		a.use.Binding = bindingOf(a.secret)
	}
	use := a.use
	use.Check = a.check
	t, err := h.c.Verifier.Redeem(r.Context(), ticket, use)
	var refused *verify.Error
	switch {
	case err == nil:
		a.admitted(w, t)
	case a.stop != goOn:
		errors.As(err, &refused)
		a.stopped(w, *refused.Refused)
	default:
		a.refused(w, err)
	}
}

// check runs inside Redeem, before the claim: an error spends nothing.
func (a *attempt) check(t token.Ticket) (err error) {
	if a.use.Check != nil {
		if err = a.use.Check(t); err != nil {
			return err
		}
	}
	if a.entry, err = a.c.Admit(a.r, t); err != nil {
		return err
	}
	a.complete(t)
	if a.sessions != nil {
		if err = a.sessions.try(a.entry.Session); err != nil {
			return err
		}
	}
	a.page = a.c.Page(a.r, t).checked(a.c.Log)
	if a.stop = a.whether(t); a.stop != goOn {
		return errStop
	}
	return nil
}

// complete fills the session with what the ticket says.
func (a *attempt) complete(t token.Ticket) {
	s := &a.entry.Session
	s.Audience, s.Brand, s.Channel = t.Audience, t.Brand, a.use.Channel
	s.TicketID, s.KeyID, s.OneTime, s.Actor, s.Issued = t.ID, t.KeyID, t.OneTime, t.Actor, t.IssuedAt
	if s.User == "" {
		s.User = firstOf(t.Username, t.UniqueID, t.Email, t.Phone1)
	}
	if s.Name == "" {
		s.Name = strings.TrimSpace(t.FirstName + " " + t.LastName)
	}
	if s.Email == "" {
		s.Email = t.Email
	}
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// whether decides if the ticket may be spent by this request.
func (a *attempt) whether(t token.Ticket) stop {
	current, ok := a.c.Sessions.Current(nil, a.r, t.Audience)
	if ok && a.bought(&current, t.ID) {
		return alreadyIn
	}
	inFrame, elsewhere := framed(a.r)
	if inFrame && len(a.page.FrameAncestors) == 0 {
		return notFramable
	}
	ask := a.entry.Confirm
	if ok && (current.Brand != a.entry.Session.Brand || current.User != a.entry.Session.User) {
		a.current = current
		if a.entry.Switch == RefuseUser {
			return otherUser
		}
		ask = ask || a.entry.Switch == ConfirmUser
	}
	// With another site's form comes no cookie of ours that is SameSite=Lax, so it
	// is not known who is signed in.
	post := a.r.Method == http.MethodPost
	foreign := post && fromElsewhere(a.r)
	unseen := !ok && !pressed(a.r) && (foreign || post && fromNowhere(a.r))
	ask = ask || unseen && a.entry.Switch != ReplaceUser
	switch {
	case pressed(a.r) && foreign:
		return fromOtherSite
	case pressed(a.r) && !a.bound:
		return noCookie
	case ask && !(pressed(a.r) && confirms(a.r, a.token())):
		return askFirst
	case !elsewhere || a.bound:
		return goOn
	case post:
		return askFirst // the button's POST will show whether cookies stay
	case a.r.Form.Has(probeField):
		return noCookie
	}
	return tryCookie
}

func (a *attempt) token() string { return confirmToken(a.secret, a.ticket, &a.current) }

// admitted starts the session: the ticket is spent.
func (a *attempt) admitted(w http.ResponseWriter, t token.Ticket) {
	a.c.Decided(a.r, t, nil)
	s := a.entry.Session
	if a.entry.Then != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(a.r.Context()), thenLasts)
		defer cancel()
		if err := a.entry.Then(ctx, &s); err != nil {
			a.failed(w, t, err)
			return
		}
	}
	if err := a.c.Sessions.Start(w, a.r, s); err != nil {
		a.failed(w, t, err)
		return
	}
	a.c.Log.Info("ticket redeemed", append(about(t), "one_time", t.OneTime, "remote", remote(a.r))...)
	a.goOn(w)
}

func (a *attempt) failed(w http.ResponseWriter, t token.Ticket, err error) {
	a.c.Log.Error("entry failed after redemption", append(about(t), "error", err, "remote", remote(a.r))...)
	a.showFailed(w, a.r)
}

// goOn sends the browser on, without the ticket.
func (a *attempt) goOn(w http.ResponseWriter) {
	privately(w.Header())
	to := a.c.Home
	if to == "" {
		to = here(a.r, without(a.r.URL, nextParameter, probeField))
	}
	if next := a.r.Form[nextParameter]; len(next) > 1 || len(next) == 1 && next[0] != "" {
		if safe, ok := safeNext(next[0]); ok && len(next) == 1 {
			to = safe
		} else {
			a.c.Log.Warn("the parameter next leads elsewhere, and is not followed", "remote", remote(a.r))
		}
	}
	seeOther(w, to)
}

// stopped answers where the ticket is good and was not spent.
func (a *attempt) stopped(w http.ResponseWriter, t token.Ticket) {
	switch a.stop {
	case alreadyIn:
		a.goOn(w)
		return
	case fromOtherSite, notFramable:
		a.c.Log.Warn("ticket not spent: another site's page sent a confirmation, or frames this one", append(about(t), "remote", remote(a.r))...)
		a.showRefused(w, a.r)
		return
	case otherUser:
		a.c.Log.Warn("ticket not spent: another user is signed in", append(about(t), "remote", remote(a.r))...)
		a.showOtherUser(w)
		return
	}
	// It can still be known that the ticket was used before.
	use := a.use
	use.Check = nil // it has run
	if _, err := a.c.Verifier.Inspect(a.r.Context(), a.ticket, use); err != nil {
		a.refused(w, err)
		return
	}
	switch a.stop {
	case noCookie:
		a.showNoCookie(w)
	case tryCookie:
		// The same once more, to see whether the cookie comes back: at whatever path
		// the browser asked.
		privately(w.Header())
		a.keepSecret(w)
		seeOther(w, "?"+a.r.URL.RawQuery+"&"+probeField+"=1")
	default:
		a.keepSecret(w)
		a.showConfirm(w)
	}
}

// refused logs why a ticket does not admit, and tells the browser only whether
// to try again.
func (a *attempt) refused(w http.ResponseWriter, err error) {
	var e *verify.Error
	if !errors.As(err, &e) {
		e = &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
	}
	attrs := []any{"reason", string(e.Reason), "remote", remote(a.r)}
	if e.Refused != nil {
		if a.ownTicket(e) {
			a.goOn(w)
			return
		}
		attrs = append(attrs, about(*e.Refused)...)
	}
	a.c.Decided(a.r, token.Ticket{}, e)
	if e.Cause != nil {
		attrs = append(attrs, "cause", e.Cause.Error())
	}
	if !e.FirstUsed.IsZero() {
		attrs = append(attrs, "first_used", e.FirstUsed)
	}
	if e.Reason.CannotTell() {
		a.c.Log.Error("ticket not decided", attrs...)
		a.showLater(w, a.r)
		return
	}
	a.c.Log.Warn("ticket refused", attrs...)
	a.showRefused(w, a.r)
}

// ownTicket reports whether a ticket whose time is over is the one that bought
// the session which this browser has: then a reload or the way back asked again.
func (a *attempt) ownTicket(e *verify.Error) bool {
	switch e.Reason {
	case verify.Expired, verify.AlreadyUsed, verify.PossiblyUsed, verify.IssuedBeforeStart:
		s, ok := a.c.Sessions.Current(nil, a.r, e.Refused.Audience)
		return ok && a.bought(&s, e.Refused.ID)
	}
	return false
}

// bought reports whether a session came of the ticket with an ID, where it is now
// shown again: one that may be used many times may enter another channel, too.
func (a *attempt) bought(s *Session, id token.ID) bool {
	return s.TicketID == id && s.Channel == a.use.Channel
}

// about names a ticket for the log.
func about(t token.Ticket) []any {
	return []any{"ticket", t.ID.String(), "key", t.KeyID.String(), "brand", t.Brand, "audience", t.Audience.String(), "actor", t.Actor}
}

// remote returns the address of who asks. Middleware that takes it from a header
// of the proxy's leaves no port.
func remote(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	if _, err := netip.ParseAddr(r.RemoteAddr); err == nil {
		return r.RemoteAddr
	}
	return ""
}
