package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	// askedField marks the address to which a sign-in page returns, and prevents a second
	// redirect of a browser without a ticket.
	askedField = "signin"

	// rawNext begins the way on at the end of a query, as it stands in a URL: many proxies
	// cannot percent-encode a path for the parameter next.
	rawNext = "to=/"

	returnPlace = "{return}" // in Page.SignIn
)

var returnForm = regexp.MustCompile(`^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$`)

// ValidSignIn reports whether a text can be Page.SignIn: an absolute https URL with {return}
// once in its query. A URL with http is good for the machine's own loopback interface only.
func ValidSignIn(text string) bool {
	before, after, ok := strings.Cut(text, returnPlace)
	if !ok || strings.Contains(after, returnPlace) || !strings.Contains(before, "?") ||
		strings.Contains(before, "#") || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return false
	}
	u, err := url.Parse(before + after)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return u.Scheme == "https" || u.Scheme == "http"
	}
	return u.Scheme == "https"
}

// safeReturn is safeNext for a place that may be on one of the origins as well. A URL on
// another site begins with an origin, letter by letter, and a path follows.
func safeReturn(next string, origins []string) (string, bool) {
	for _, origin := range origins {
		path, ok := strings.CutPrefix(next, origin)
		if ok && path == "" {
			path = "/"
		}
		if safe, good := safeNext(path); ok && good {
			return origin + safe, true
		}
	}
	return safeNext(next)
}

// cutRaw returns the query before rawNext, and the path behind it, "" for none.
func cutRaw(query string) (before, path string) {
	if strings.HasPrefix(query, rawNext) {
		return "", query[len(rawNext)-1:]
	}
	if i := strings.Index(query, "&"+rawNext); i >= 0 {
		return query[:i], query[i+len(rawNext):]
	}
	return query, ""
}

// ownQuery is without for a request: a way on at the end of the query is left out too.
func ownQuery(r *http.Request) string {
	before, _ := cutRaw(r.URL.RawQuery)
	return without(&url.URL{RawQuery: before}, nextParameter, "to", probeField, askedField)
}

// nextOf returns the way on that a request names, "" for none, as it was sent. ok is false
// if the request names several.
func nextOf(r *http.Request) (next string, ok bool) {
	if _, raw := cutRaw(r.URL.RawQuery); raw != "" {
		if safe, ok := safeNext(raw); ok {
			return safe, true // without a ticket behind it
		}
		return raw, true
	}
	all := valuesOf(r, nextParameter)
	switch len(all) {
	case 0:
		return "", true
	case 1:
		return all[0], true
	}
	return "", false
}

// wayOn returns where a person who is signed in goes on, "" for nowhere.
func (h *Handler) wayOn(r *http.Request, p Page) string {
	if next, _ := nextOf(r); next != "" {
		if safe, ok := safeReturn(next, p.ReturnOrigins); ok {
			return safe
		}
	}
	if home, ok := safeReturn(p.Home, p.ReturnOrigins); ok {
		return home
	}
	return h.c.Home
}

// signInURL returns the URL of the sign-in page for a request, with the address of the
// request's own page and its way on as the return address. It is "" without Page.SignIn.
func (h *Handler) signInURL(r *http.Request, p Page) string {
	if p.SignIn == "" || h.origin == "" {
		return ""
	}
	back := string(h.origin) + sentPath(r) + "?" + askedField + "=1"
	if kept := ownQuery(r); kept != "" {
		back += "&" + kept[1:]
	}
	if next, _ := nextOf(r); next != "" {
		if safe, ok := safeReturn(next, p.ReturnOrigins); ok {
			back += "&" + nextParameter + "=" + url.QueryEscape(safe)
		}
	}
	return strings.Replace(p.SignIn, returnPlace, url.QueryEscape(back), 1)
}

// showNobody sends a person without a session to the sign-in page, or says that nobody is
// signed in. A browser that comes back from there without a ticket, and a page in a frame,
// get a link.
func (h *Handler) showNobody(w http.ResponseWriter, r *http.Request, p Page) {
	signIn := h.signInURL(r, p)
	inFrame, _ := framed(r)
	asked := r.URL.Query().Has(askedField)
	if signIn != "" && r.Method == http.MethodGet && maySpend(r) && !inFrame && !asked && !forPreview(r) {
		privately(w.Header())
		seeOther(w, signIn)
		return
	}
	h.showWith(w, r, http.StatusForbidden, p, func(t *Texts) (string, string) { return t.NobodyTitle, t.NobodyText },
		signIn)
}
