package web

import (
	"net/http"

	"github.com/admitone/admitone/token"
)

// fromElsewhere reports whether another site's page made an unsafe request, by the
// browser's Sec-Fetch-Site or Origin. An Origin of null tells nothing: browsers send null
// for our own pages' forms too, since our pages have Referrer-Policy: no-referrer. Then a
// cookie must decide.
func fromElsewhere(r *http.Request) bool {
	return !fromNowhere(r) && crossOrigin.Check(r) != nil
}

// fromNowhere reports whether a browser does not tell where an unsafe request comes from.
func fromNowhere(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "null"
}

var crossOrigin = http.NewCrossOriginProtection()

// Logout returns a handler that ends the browser's sessions of both audiences and
// redirects to home, or to next if the request's query or form has a safe one. It answers
// POST only, and 403 to a form on another site. An empty home means "/". A relative home
// is relative to the request's path, and so works behind a proxy that takes a prefix off.
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
		// Only the sessions in this request: another site's form brings no cookie.
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

// seeOther redirects to a path, absolute or relative to the browser's. http.Redirect would
// clean the address, and write a page that shows it.
func seeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}
