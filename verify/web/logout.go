package web

import (
	"net/http"

	"github.com/admitone/admitone/token"
)

// Logout returns a handler that ends the browser's sessions of all audiences and
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
		if s.origin.elsewhere(r) {
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
		for _, a := range []token.Audience{token.Agent, token.Customer, token.Administrator} {
			for range cookiesNamed(r, s.cookieName(a)) {
				s.End(w, a)
				break
			}
		}
		seeOther(w, to)
	})
}

// Values of headers. Nobody changes them.
var noStore, noReferrer, nosniff = []string{"no-store"}, []string{"no-referrer"}, []string{"nosniff"}

// privately sets the headers of an answer to a request that may carry a secret.
func privately(h http.Header) {
	h["Cache-Control"], h["Referrer-Policy"], h["X-Content-Type-Options"] = noStore, noReferrer, nosniff
}

// seeOther redirects to a path, absolute or relative to the browser's. http.Redirect would
// clean the address, and write a page that shows it.
func seeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}
