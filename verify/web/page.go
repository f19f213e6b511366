package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Page says how pages look and where they may stand.
type Page struct {
	Brand string // the brand's name for people; empty means the ticket's brand, if any

	// Colour is the colour of the button, such as "#1d4ed8". The button's text is black
	// or white, whichever is easier to read.
	Colour string

	// Logo is a data: URL of the brand's logo, an image, which stands above the brand's name.
	// Empty means no logo.
	Logo string

	// Language is the language of the page, a BCP 47 tag. Empty means the browser's
	// language, and so does a language without texts.
	Language string

	// FrameAncestors are the origins whose pages may show these pages in a frame, outermost
	// included, such as "https://shop.example.com", "https://*.example.com" or "'self'"
	// (CSP frame-ancestors). Empty means none, and then no ticket is spent in a frame.
	// Sessions that should last in a frame need SessionConfig.Partitioned.
	FrameAncestors []string

	// RedirectOrigins are other origins to which the path after the entry redirects at
	// once, such as "https://app.example.com". Without them Chromium stays on the confirm
	// page, with the ticket spent: CSP form-action, which is 'self' and these origins,
	// applies to redirects as well.
	RedirectOrigins []string

	// Home is where the browser goes after the entry if the request names no other place:
	// a path of this site, or a URL on one of ReturnOrigins. Empty means Config.Home.
	Home string

	// ReturnOrigins are the other sites to which Home and the request's parameter next may
	// lead, such as "https://shop.example.com": exact origins with https.
	ReturnOrigins []string

	// SignIn is the URL of the organisation's own sign-in page, with {return} for the
	// percent-encoded address to which that page sends the person back with a ticket:
	// "https://crm.example.com/signin?return={return}". A person without a session and
	// without a ticket is sent there. Empty means a page that says that nobody is signed
	// in. Page.SignIn needs a PublicURL.
	SignIn string

	// SessionBrand, if not empty, is the brand whose sessions count on a page without a
	// ticket. For somebody with a session of another brand the page is as for nobody.
	SessionBrand string
}

var originForm = regexp.MustCompile(`^('self'|https?://(\*\.)?[A-Za-z0-9][A-Za-z0-9.-]*(:([0-9]{1,5}|\*))?)$`)

// checked returns p without texts that cannot stand in a header.
func (p Page) checked(log *slog.Logger) Page {
	bad := func(s string) bool { return !originForm.MatchString(s) }
	for _, origins := range []*[]string{&p.FrameAncestors, &p.RedirectOrigins} {
		if slices.ContainsFunc(*origins, bad) {
			log.Error("a Page has a text that is no origin; it is left out", "origins", strings.Join(*origins, " "))
			*origins = slices.DeleteFunc(slices.Clone(*origins), bad)
		}
	}
	inexact := func(s string) bool { return !returnForm.MatchString(s) }
	if slices.ContainsFunc(p.ReturnOrigins, inexact) {
		log.Error("a Page has a return origin that is no exact origin with https; it is left out",
			"origins", strings.Join(p.ReturnOrigins, " "))
		p.ReturnOrigins = slices.DeleteFunc(slices.Clone(p.ReturnOrigins), inexact)
	}
	if _, ok := safeReturn(p.Home, p.ReturnOrigins); p.Home != "" && !ok {
		log.Error("a Page has a Home that is neither a path of this site nor on a return origin; it is left out")
		p.Home = ""
	}
	if p.SignIn != "" && !ValidSignIn(p.SignIn) {
		log.Error("a Page has a SignIn that is no https URL with {return} in its query; it is left out")
		p.SignIn = ""
	}
	return p
}

//go:embed assets
var assets embed.FS

var (
	pages = template.Must(template.ParseFS(assets, "assets/page.html"))
	sheet = func() string {
		b, err := assets.ReadFile("assets/page.css")
		if err != nil {
			panic(err) // it is embedded
		}
		return string(b)
	}()
	sheetVersion = func() string {
		sum := sha256.Sum256([]byte(sheet))
		return hex.EncodeToString(sum[:4])
	}()
)

// The pages' stylesheet is served at the pages' own address, under this parameter, so that
// a service mounts only one route. The value is the brand's colour and the sheet's
// version.
const sheetParameter = "admitone-css"

var sheetForm = regexp.MustCompile(`^([0-9a-f]{6})\.[0-9a-f]{8}$`)

// stylesheet answers a request for the stylesheet, and reports whether the request was
// one.
func stylesheet(w http.ResponseWriter, r *http.Request) bool {
	value, ok := strings.CutPrefix(r.URL.RawQuery, sheetParameter+"=")
	if !ok || r.Method == http.MethodPost {
		return false
	}
	h := w.Header()
	privately(h)
	m := sheetForm.FindStringSubmatch(value)
	if m == nil {
		http.Error(w, "no such stylesheet", http.StatusNotFound)
		return true
	}
	h.Set("Content-Type", "text/css; charset=utf-8")
	// Not public: a cache that ignores queries would show the sheet in place of the page.
	h.Set("Cache-Control", "private, max-age=86400, immutable")
	_, _ = w.Write([]byte(":root { --brand: #" + m[1] + "; --on-brand: #" + textOn(m[1]) + "; }\n" + sheet))
	return true
}

// view is the data of the template.
type view struct {
	Lang, Dir string
	Sheet     string
	Brand     string
	Logo      template.URL
	Title     string
	Text      []string

	Description string // for link previews; "" on other pages

	Facts  []fact
	On     string // where the first link leads; "" for no link
	OnText string
	Form   *form

	Reference *fact // the request's ID, for the support; nil for none
}

// requestID is the header of an answer with the ID of its request. An outer handler may set the header.
const requestID = "X-Request-Id"

type fact struct{ Label, Value string }

type form struct {
	Action string
	NewTab bool
	Ticket string // "": it signs out
	Token  string // "": not a confirmation
	Next   string
	Button string
}

func (h *Handler) show(w http.ResponseWriter, r *http.Request, status int, p Page, l *language, v view) {
	v.Lang, v.Dir = l.tag, l.direction
	v.Sheet = colourDigits(p.Colour) + "." + sheetVersion
	v.Brand = visible(p.Brand)
	if strings.HasPrefix(p.Logo, "data:image/") {
		v.Logo = template.URL(p.Logo) // in img alone, where no script runs
	}
	if id := w.Header().Get(requestID); id != "" && status >= http.StatusBadRequest {
		v.Reference = &fact{l.texts.Reference, id}
	}
	var b bytes.Buffer
	if err := pages.Execute(&b, v); err != nil {
		panic(err) // our own template: any test shows a mistake in it
	}
	ancestors := "'none'"
	if len(p.FrameAncestors) > 0 {
		ancestors = strings.Join(p.FrameAncestors, " ")
	}
	header := w.Header()
	privately(header)
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", l.tag)
	header.Add("Vary", "Accept-Language")
	header.Set("X-Robots-Tag", "noindex")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; "+
		"form-action "+strings.Join(slices.Concat([]string{"'self'"}, p.RedirectOrigins, p.ReturnOrigins), " ")+
		"; frame-ancestors "+ancestors)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes())
	}
}

// showGeneral shows a page that is about no ticket.
func (h *Handler) showGeneral(
	w http.ResponseWriter, r *http.Request, status int, write func(*Texts) (title, text string),
) {
	h.showWith(w, r, status, h.c.Page(r).checked(h.c.Log), write, "")
}

// showWith is showGeneral with the page's looks, and with a link to the sign-in page at an
// address, "" for no link.
func (h *Handler) showWith(
	w http.ResponseWriter, r *http.Request, status int, p Page, write func(*Texts) (title, text string), signIn string,
) {
	l := h.languages.of(r, p.Language)
	title, text := write(&l.texts)
	h.show(w, r, status, p, l, view{Title: title, Text: []string{text}, On: signIn, OnText: l.texts.SignInButton})
}

// showRefused answers every refused ticket alike. A stranger learns nothing about other
// people's tickets, neither from the page nor from the time of the answer.
func (a *attempt) showRefused(w http.ResponseWriter) {
	wait := time.NewTimer(time.Until(a.began.Add(a.c.RefusalTime)))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-a.r.Context().Done(): // nobody waits for the page
	}
	p := a.c.Page(a.r).checked(a.c.Log)
	a.showWith(w, a.r, http.StatusForbidden, p, func(t *Texts) (string, string) {
		return t.RefusedTitle, t.RefusedText
	}, a.signInURL(a.r, p))
}

func (h *Handler) showLater(w http.ResponseWriter, r *http.Request) {
	h.showTryLater(w, r, http.StatusServiceUnavailable)
}

func (h *Handler) showTryLater(w http.ResponseWriter, r *http.Request, status int) {
	w.Header().Set("Retry-After", retryAfter)
	h.showGeneral(w, r, status, func(t *Texts) (string, string) {
		return t.LaterTitle, t.LaterText
	})
}

func (h *Handler) showFailed(w http.ResponseWriter, r *http.Request) {
	h.showGeneral(w, r, http.StatusInternalServerError, func(t *Texts) (string, string) {
		return t.FailedTitle, t.FailedText
	})
}

// showLaterAs is showLater for a ticket that cannot be judged now, for a reason.
func (h *Handler) showLaterAs(w http.ResponseWriter, r *http.Request, reason verify.Reason) {
	status := http.StatusServiceUnavailable
	if reason == verify.IssuerOverRate {
		status = http.StatusTooManyRequests // no outage, which a proxy might hold against this service
	}
	h.showTryLater(w, r, status)
}

// showSession says who is signed in, or that nobody is.
func (h *Handler) showSession(w http.ResponseWriter, r *http.Request) {
	s, err := h.sessionFor(w, r, h.c.Use(r, nil))
	if err != nil && !errors.Is(err, ErrNoSession) {
		h.showLater(w, r)
		return
	}
	p := h.c.Page(r).checked(h.c.Log)
	if err != nil || p.SessionBrand != "" && s.Brand != p.SessionBrand {
		h.showNobody(w, r, p)
		return
	}
	l := h.languages.of(r, p.Language)
	v := view{Title: fill(l.texts.SignedInTitle, personOf(&s), "")}
	if v.On = h.wayOn(r, p); v.On != "" {
		v.OnText = l.texts.ConfirmButton
	} else {
		v.Text = []string{l.texts.SignedInText}
	}
	if h.c.Logout != "" {
		v.Form = &form{Action: h.c.Logout, Button: l.texts.OtherUserButton}
	}
	h.show(w, r, http.StatusOK, p, l, v)
}

// sessionFor returns the session that r carries for a use. A session of one channel does
// not count in another. The error is as of SessionStore.Current.
func (h *Handler) sessionFor(w http.ResponseWriter, r *http.Request, use verify.Use) (Session, error) {
	notFound := ErrNoSession
	for _, a := range audiencesOf(use.Audience) {
		s, err := h.c.Sessions.Current(w, r, a)
		switch {
		case err == nil && s.Channel == use.Channel:
			return s, nil
		case err != nil && !errors.Is(err, ErrNoSession):
			notFound = err
		}
	}
	return Session{}, notFound
}

// showOtherUser says that another user is signed in, and offers to sign that user out. The
// form does not have the ticket: the person opens the link again.
func (a *attempt) showOtherUser(w http.ResponseWriter) {
	l := a.languages.of(a.r, a.entry.Page.Language)
	name, current := a.people()
	v := view{
		Title: fill(l.texts.OtherUserTitle, name, current),
		Text:  []string{fill(l.texts.OtherUserText, name, current)},
	}
	if a.c.Logout != "" {
		v.Form = &form{Action: a.c.Logout, Button: l.texts.OtherUserButton}
	}
	a.show(w, a.r, http.StatusConflict, a.entry.Page, l, v)
}

// showConfirm shows who is about to enter, with the button that spends the ticket. The
// ticket is in the form, not in the form's address.
func (a *attempt) showConfirm(w http.ResponseWriter) {
	l := a.languages.of(a.r, a.entry.Page.Language)
	s := &a.entry.Session
	name, current := a.people()
	v := view{
		Title: fill(l.texts.ConfirmTitle, name, current), Text: []string{l.texts.ConfirmText},
		Form: a.form(l.texts.ConfirmButton),
	}
	v.Form.Token = a.token()
	if current != "" {
		v.Text = append(v.Text, fill(l.texts.ReplaceText, name, current))
	}
	user, brand := s.User, s.Brand
	if s.Audience == token.Customer {
		user = "" // the service's own ID of the customer
	}
	if visible(a.entry.Page.Brand) != "" {
		brand = "" // the page has the brand at the top
	}
	for _, f := range []fact{
		{l.texts.Name, s.Name}, {l.texts.User, user}, {l.texts.Email, s.Email}, {l.texts.Brand, brand},
	} {
		seen := func(other fact) bool { return other.Value == f.Value }
		if f.Value = visible(f.Value); f.Value != "" && !slices.ContainsFunc(v.Facts, seen) {
			v.Facts = append(v.Facts, f)
		}
	}
	a.show(w, a.r, http.StatusOK, a.entry.Page, l, v)
}

// showNoCookie offers to go on in a tab where cookies stay.
func (a *attempt) showNoCookie(w http.ResponseWriter) {
	l := a.languages.of(a.r, a.entry.Page.Language)
	v := view{
		Title: l.texts.NoCookieTitle, Text: []string{l.texts.NoCookieText}, Form: a.form(l.texts.NoCookieButton),
	}
	v.Form.NewTab = true
	a.show(w, a.r, http.StatusOK, a.entry.Page, l, v)
}

func (a *attempt) form(button string) *form {
	// The action is the browser's own path, also behind a proxy with other paths: at
	// another path the ticket could reach another application.
	f := &form{Ticket: a.ticket, Button: button, Action: cmp.Or(ownQuery(a.r), "?")}
	f.Next, _ = nextOf(a.r)
	return f
}

// people returns the names, for a page, of the entering person and of the signed-in
// person. If both have the same name, a detail tells the two apart. A customer's User is
// the service's own ID, and tells a reader nothing.
func (a *attempt) people() (name, current string) {
	s, c := &a.entry.Session, &a.current
	name, current = personOf(s), personOf(c)
	if name != current {
		return name, current
	}
	pairs := [][2]string{{s.Brand, c.Brand}, {s.Email, c.Email}, {s.User, c.User}}
	if s.Audience == token.Customer {
		pairs = pairs[:2]
	}
	for _, pair := range pairs {
		one, other := visible(pair[0]), visible(pair[1])
		if one != other && one != "" && other != "" {
			return name + " (" + one + ")", current + " (" + other + ")"
		}
	}
	return name, current
}

// personOf returns the name, for a page, of the person of a session; "" for no session.
func personOf(s *Session) string { return firstOf(visible(s.Name), visible(s.User), visible(s.Email)) }

// visible returns a text without the invisible characters that change the direction of the
// text around them, and "" if nothing visible is left.
func visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }) {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u061c', r == '\u200e', r == '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return -1
		}
		return r
	}, s)
}

// fill puts names into a text, each isolated from the direction of the text around it
// (Unicode's FSI and PDI).
func fill(text, name, current string) string {
	return strings.NewReplacer("{name}", "\u2068"+name+"\u2069", "{current}", "\u2068"+current+"\u2069").Replace(text)
}
