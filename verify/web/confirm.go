package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
)

// The confirm page sets a cookie with a random secret. Its form has the ticket and a
// token: a hash of the secret, of the ticket, and of the session that the entry would
// replace. The form's POST confirms if the token fits: then this very browser was shown
// our page about just that entry. No other site's page can make such a POST, whatever
// headers the browser sends.
//
// SHA-256 of the secret is also the binding of the redemption. If the answer is lost, only
// the same browser can ask again.
const (
	confirmField  = "confirm"
	probeField    = "admitone-probe" // marks the second of two requests that try the cookie
	confirmMaxAge = 3600             // seconds
)

// bindingSecret returns the secret in a request's cookie.
func (h *Handler) bindingSecret(r *http.Request) (secret [32]byte, found bool) {
	for _, c := range r.CookiesNamed(h.confirmCookie()) {
		if b, err := base64.RawURLEncoding.DecodeString(c.Value); err == nil && len(b) == len(secret) {
			return [32]byte(b), true
		}
	}
	return secret, false
}

func (h *Handler) confirmCookie() string {
	if h.insecure() {
		return "admitone-confirm"
	}
	return "__Host-admitone-confirm"
}

func (h *Handler) insecure() bool { return h.sessions != nil && h.sessions.c.Insecure }

// keepSecret gives the browser its secret, or a new secret if it has none. In a frame, the
// cookie stays if the session's cookie will.
func (a *attempt) keepSecret(w http.ResponseWriter) {
	if !a.bound {
		rand.Read(a.secret[:]) // never fails: crypto/rand ends the program instead
	}
	c := &http.Cookie{
		Name: a.confirmCookie(), Value: base64.RawURLEncoding.EncodeToString(a.secret[:]),
		Path: "/", MaxAge: confirmMaxAge,
		Secure: !a.insecure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	partitioned := len(a.entry.Page.FrameAncestors) > 0
	if a.sessions != nil {
		partitioned = a.sessions.partitioned(a.entry.Session.Audience)
	}
	if partitioned {
		c.SameSite, c.Partitioned = http.SameSiteNoneMode, true
	}
	http.SetCookie(w, c)
}

func bindingOf(secret [32]byte) [32]byte { return sha256.Sum256(secret[:]) }

// confirmToken returns the token that the confirm page's form must give back. leaving is
// the other user's session that the page told of, or the zero Session.
func confirmToken(secret [32]byte, ticket string, leaving *Session) string {
	b := append([]byte("admitone/confirm/1\x00"), secret[:]...)
	for _, text := range []string{ticket, leaving.ID, leaving.Brand, leaving.User} {
		b = appendText(b, text)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// confirms reports whether a POST has the given token.
func confirms(r *http.Request, token string) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostForm.Get(confirmField)), []byte(token)) == 1
}

// pressed reports whether a request claims to come from the confirm page's form.
func pressed(r *http.Request) bool { return r.PostForm.Has(confirmField) }

// framed reports whether the answer will stand in a frame; elsewhere, whether in another
// site's page.
func framed(r *http.Request) (framed, elsewhere bool) {
	frames := []string{"iframe", "frame", "embed", "object", "fencedframe", "nested-document"}
	site := r.Header.Get("Sec-Fetch-Site")
	framed = slices.Contains(frames, r.Header.Get("Sec-Fetch-Dest"))
	if r.Header.Get("Sec-Fetch-Mode") == "nested-navigate" { // Chromium 76 to 79, without Sec-Fetch-Dest
		framed = framed || site == "cross-site" || site == "same-site"
	}
	return framed, framed && site != "same-origin"
}
