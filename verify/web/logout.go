package web

import (
	"net/http"

	"github.com/admitone/admitone/token"
)

// fromElsewhere reports whether another site's page made an unsafe request, as
// the browser's Sec-Fetch-Site or Origin tells. An Origin of null says nothing:
// browsers send it for our own pages' forms, too, since those pages have
// Referrer-Policy: no-referrer. A cookie must decide then.
func fromElsewhere(r *http.Request) bool {
	return !fromNowhere(r) && crossOrigin.Check(r) != nil
}

// fromNowhere reports whether a browser tells nothing of where an unsafe request
// comes from.
func fromNowhere(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "null"
}

var crossOrigin = http.NewCrossOriginProtection()

// Logout returns a handler that ends the sessions of the browser, of both
// audiences, and sends it on to home or, where the request's query or form has a
// safe one, to next. It answers POST only, and 403 to a form on another site.
// An empty home is "/"; a relative one is relative to the request's path, and so
// right also behind a proxy that takes a prefix off.
func (s *Sessions) Logout(home string) http.Handler {
	if home == "" {
		home = "/"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		privately(w.Header())
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			http.Error(w, "Use POST to sign out", http.StatusMethodNotAllowed)
			return
		}
		if fromElsewhere(r) {
			http.Error(w, "Only a page of this site can sign you out", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		to := home
		if r.ParseForm() == nil {
			if next, ok := safeNext(r.Form.Get(nextParameter)); ok {
				to = next
			}
		}
		// Only those that came along: with another site's form come none.
		for _, a := range []token.Audience{token.Agent, token.Customer} {
			for range cookiesNamed(r, s.cookieName(a)) {
				s.End(w, a)
				break
			}
		}
		seeOther(w, to)
	})
}

// privately sets the headers of an answer to a request that may carry a secret.
func privately(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// seeOther sends the browser to a path, or to one relative to its own. The address
// goes out as it is: http.Redirect would clean it, and write a page that shows it.
func seeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}
