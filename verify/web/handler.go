package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// Handler admits people with tickets. It reads the ticket from the query or form field ta
// or TA, redeems it, starts a session and answers 303 without the ticket. It is an
// http.Handler for GET, HEAD and POST at one or more paths of any router, and safe for
// concurrent use.
type Handler struct {
	c         Config
	languages *languages
	sessions  *Sessions // nil if the service has its own sessions
	origin    origin
}

// retryAfter is the header Retry-After of an answer that cannot tell now, in seconds.
const retryAfter = "5"

// thenLasts is the time limit of the claim and Entry.Then together. It leaves the browser
// the other half of the grace to ask again after a failure.
const thenLasts = replay.Grace / 2

// maxForm is the largest request body accepted, in bytes.
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
	if r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	ticket, found := ticketOf(r, h.c.NamelessTicket)
	switch {
	case !found && h.c.NoTicket != nil:
		h.c.NoTicket.ServeHTTP(w, r)
	case !found:
		h.showSession(w, r)
	case forPreview(r):
		h.showPreview(w, r, ticket)
	case !maySpend(r):
		// A request that only looks ahead is told to come back later.
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
	began  time.Time // by the machine's clock, for Config.RefusalTime

	checked time.Time // right before the claim, by the machine's clock

	secret [32]byte // of the browser's cookie
	bound  bool     // the browser has that cookie

	use     verify.Use // the answer of Config.Use
	entry   Entry      // the answer of Config.Admit
	cookie  string     // of the session, which begins right before the claim; "" for a service's own sessions
	current Session    // another user's session that the entry would replace
}

// pause is the error of attempt.check for a good ticket, if this request must not spend
// the ticket. The value is the reason, and decides the answer.
type pause string

const (
	alreadyIn     pause = "the session that the ticket bought is there"
	askPerson     pause = "the person must confirm"
	tryCookie     pause = "a redirect must show whether cookies stay"
	noCookie      pause = "cookies do not stay"
	otherUser     pause = "another user is signed in"
	fromOtherSite pause = "another site's page sent the confirmation"
	notFramable   pause = "another page shows this page in a frame"
)

func (p pause) Error() string { return string(p) }

// Unwrap returns verify.ErrAskFirst for a pause after which the browser sends the ticket
// again: a ticket that was used before is then refused now.
func (p pause) Unwrap() error {
	switch p {
	case askPerson, tryCookie, noCookie:
		return verify.ErrAskFirst
	}
	return nil
}

func (h *Handler) enter(w http.ResponseWriter, r *http.Request, ticket string) {
	a := &attempt{Handler: h, r: r, ticket: ticket, began: time.Now()}
	use := verify.Use{Complete: a.decideUse, Check: a.check}
	if a.secret, a.bound = h.bindingSecret(r); a.bound {
		use.Binding = bindingOf(a.secret)
	}
	t, err := h.c.Verifier.Redeem(r.Context(), ticket, use)
	if err == nil {
		a.admitted(w, t)
		return
	}
	refused := verify.AsError(err)
	if reason, ok := errors.AsType[pause](err); ok {
		a.paused(w, *refused.Refused, reason)
		return
	}
	a.refused(w, refused)
}

// decideUse asks the service what the ticket is used for. It is verify.Use.Complete.
func (a *attempt) decideUse(t token.Ticket, u *verify.Use) error {
	a.use = a.c.Use(a.r, &t)
	if a.use.Complete != nil {
		if err := a.use.Complete(t, &a.use); err != nil {
			return err
		}
	}
	u.Audience, u.Channel = a.use.Audience, a.use.Channel
	return nil
}

// check is verify.Use.Check: an error spends nothing.
func (a *attempt) check(t token.Ticket) (err error) {
	if a.use.Check != nil {
		if err = a.use.Check(t); err != nil {
			return err
		}
	}
	if a.entry, err = a.c.Admit(a.r, t, a.use); err != nil {
		return err
	}
	a.entry.Page = a.entry.Page.checked(a.c.Log)
	a.completeSession(t)
	if a.sessions != nil {
		if a.cookie, err = a.sessions.begin(a.entry.Session); err != nil {
			if errors.Is(err, errTooLarge) {
				return err
			}
			return &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
		}
	}
	err = a.mayEnterNow(t)
	a.checked = time.Now()
	return err
}

// completeSession fills the session with the details of the ticket.
func (a *attempt) completeSession(t token.Ticket) {
	s := &a.entry.Session
	s.Audience, s.Brand, s.Channel = t.Audience, t.Brand, a.use.Channel
	s.TicketID, s.KeyID, s.SigningKey, s.Issuer = t.ID, t.KeyID, t.SigningKey, t.Issuer
	s.OneTime, s.Actor, s.Issued = t.OneTime, t.Actor, t.IssuedAt
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

// mayEnterNow returns nil if this request may spend the ticket, or else a pause.
func (a *attempt) mayEnterNow(t token.Ticket) error {
	current, err := a.c.Sessions.Current(nil, a.r, t.Audience)
	if err != nil && !errors.Is(err, ErrNoSession) {
		return &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
	}
	signedIn := err == nil
	if signedIn && a.bought(&current, &t) {
		return alreadyIn
	}
	inFrame, elsewhere := framed(a.r)
	if inFrame && len(a.entry.Page.FrameAncestors) == 0 {
		return notFramable
	}
	// With another site's form the browser sends none of our cookies that are SameSite=Lax,
	// so the signed-in user is unknown.
	post := a.r.Method == http.MethodPost
	foreign := post && a.origin.elsewhere(a.r)
	unknown := !signedIn && !pressed(a.r) && (foreign || post && unseen(a.r))
	other := signedIn && (current.Brand != a.entry.Session.Brand || current.User != a.entry.Session.User)
	ask := a.entry.Confirm
	if other || unknown {
		a.current = current
		policy, err := a.policyOn(&current)
		switch {
		case err != nil:
			return err
		case policy == RefuseUser && other:
			return otherUser
		}
		ask = ask || policy != ReplaceUser
	}
	switch {
	case pressed(a.r) && foreign:
		return fromOtherSite
	case pressed(a.r) && !a.bound:
		return noCookie
	case ask && !(pressed(a.r) && confirms(a.r, a.token())):
		return askPerson
	case !elsewhere || a.bound:
		return nil
	case post:
		return askPerson // the button's POST will show whether cookies stay
	case len(valuesOf(a.r, probeField)) > 0:
		return noCookie
	}
	return tryCookie
}

// policyOn returns what to do with another user's session, or with an unknown one (the
// zero Session): the stricter of the ticket's policy and the session's.
func (a *attempt) policyOn(current *Session) (Switch, error) {
	own := &a.entry.Session
	if a.c.SwitchOf == nil || current.Brand == own.Brand && current.Channel == own.Channel {
		return a.entry.Switch, nil
	}
	policy, err := a.c.SwitchOf(a.r.Context(), *current)
	if err != nil {
		return RefuseUser, &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
	}
	return max(policy, a.entry.Switch), nil
}

func (a *attempt) token() string { return confirmToken(a.secret, a.ticket, &a.current) }

// admitted starts the session. The ticket is spent.
func (a *attempt) admitted(w http.ResponseWriter, t token.Ticket) {
	a.c.Decided(a.r, t, nil)
	a.c.Verifier.Log(a.r.Context(), a.c.Log, t, nil, slog.String("remote", remote(a.r)))
	if err := a.start(w); err != nil {
		a.failed(w, t, err)
		return
	}
	a.redirect(w, a.entry.Page)
}

// start starts the session, after Entry.Then.
func (a *attempt) start(w http.ResponseWriter) error {
	if a.entry.Then == nil && a.cookie != "" {
		a.sessions.cookie(w, a.entry.Session.Audience, a.cookie)
		return nil
	}
	s := a.entry.Session
	if a.entry.Then != nil {
		ctx, cancel := context.WithDeadline(context.WithoutCancel(a.r.Context()), a.checked.Add(thenLasts))
		defer cancel()
		if err := a.entry.Then(ctx, &s); err != nil {
			return err
		}
	}
	return a.c.Sessions.Start(w, a.r, s)
}

func (a *attempt) failed(w http.ResponseWriter, t token.Ticket, err error) {
	a.c.Log.LogAttrs(a.r.Context(), slog.LevelError, "entry failed after redemption", append(verify.Identity(&t),
		slog.Any("error", err), slog.String("remote", remote(a.r)))...)
	a.showFailed(w, a.r)
}

// redirect sends the browser on, without the ticket. The page has the places to which the
// way on may lead.
func (a *attempt) redirect(w http.ResponseWriter, p Page) {
	privately(w.Header())
	to := a.wayOn(a.r, p)
	if to == "" {
		to = here(a.r, ownQuery(a.r))
	}
	if next, ok := nextOf(a.r); next != "" || !ok {
		if _, safe := safeReturn(next, p.ReturnOrigins); !safe && a.c.MayLog(a.r) {
			a.c.Log.WarnContext(a.r.Context(), "the parameter next leads elsewhere, and is not followed",
				"remote", remote(a.r))
		}
	}
	seeOther(w, to)
}

// paused answers if the ticket is good and was not spent.
func (a *attempt) paused(w http.ResponseWriter, t token.Ticket, reason pause) {
	switch reason {
	case alreadyIn:
		a.redirect(w, a.entry.Page)
	case fromOtherSite, notFramable:
		a.logUnspent(t, reason)
		a.showRefused(w)
	case otherUser:
		a.logUnspent(t, reason)
		a.showOtherUser(w)
	case noCookie:
		a.showNoCookie(w)
	case tryCookie:
		// A redirect to the same URL shows whether the cookie comes back.
		privately(w.Header())
		a.keepSecret(w)
		seeOther(w, "?"+a.r.URL.RawQuery+"&"+probeField+"=1")
	default:
		a.keepSecret(w)
		a.showConfirm(w)
	}
}

func (a *attempt) logUnspent(t token.Ticket, reason pause) {
	if a.c.MayLog(a.r) {
		a.c.Log.LogAttrs(a.r.Context(), slog.LevelWarn, "ticket not spent", append(verify.Identity(&t),
			slog.String("cause", string(reason)), slog.String("remote", remote(a.r)))...)
	}
}

// refused logs why a ticket does not admit, and tells the browser only whether to try
// again.
func (a *attempt) refused(w http.ResponseWriter, e *verify.Error) {
	switch own, err := a.ownTicket(e); {
	case err != nil: // the person may be in
		a.showLater(w, a.r)
		return
	case own:
		a.redirect(w, a.c.Page(a.r).checked(a.c.Log))
		return
	}
	a.c.Decided(a.r, token.Ticket{}, e)
	// An outage always gets its line, since strangers cannot cause an outage.
	if e.Reason.CannotTell() && e.Reason != verify.IssuerOverRate || a.c.MayLog(a.r) {
		a.c.Verifier.Log(a.r.Context(), a.c.Log, token.Ticket{}, e, slog.String("remote", remote(a.r)))
	}
	if e.Reason.CannotTell() {
		a.showLaterAs(w, a.r, e.Reason)
		return
	}
	a.showRefused(w)
}

// ownTicket reports whether a ticket whose time is over is the ticket that bought this
// browser's session. Then the browser asked again, by a reload or by going back. The error
// means: the browser has a session, and whether the session is still good cannot be told.
func (a *attempt) ownTicket(e *verify.Error) (bool, error) {
	if e.Refused == nil {
		return false, nil
	}
	switch e.Reason {
	case verify.Expired, verify.AlreadyUsed, verify.PossiblyUsed, verify.IssuedBeforeStart:
	default:
		return false, nil
	}
	s, err := a.c.Sessions.Current(nil, a.r, e.Refused.Audience)
	if errors.Is(err, ErrNoSession) {
		return false, nil
	}
	return err == nil && a.bought(&s, e.Refused), err
}

// bought reports whether a session came of a ticket, at the place where the ticket is now
// shown again. A ticket for many uses may enter another channel as well. Two issuers may
// choose the same ID.
func (a *attempt) bought(s *Session, t *token.Ticket) bool {
	return s.TicketID == t.ID && s.Issuer == t.Issuer && s.Channel == a.use.Channel
}

// remote returns the client's address, or "unknown". Middleware that takes the address from a proxy's
// header leaves no port.
func remote(r *http.Request) string {
	if _, err := netip.ParseAddr(r.RemoteAddr); err == nil {
		return r.RemoteAddr
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return "unknown"
}
