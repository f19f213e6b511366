package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The parameters that carry a ticket.
var parameters = []string{"ta", "TA"}

// ticketOf returns the ticket that a request carries in the query parameter or
// POST form field ta or TA and, with nameless, in the query ?=TA<ticket>. Issuers'
// clients percent-encode it, or do so twice, and both give the same string;
// nothing else about it is mended. Where there are several it returns one that no
// verifier accepts, since which is meant cannot be told; found says whether there
// was any.
func ticketOf(r *http.Request, nameless bool) (ticket string, found bool) {
	var v url.Values
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			return "", true
		}
		v = r.Form // has the query's values, too
	} else {
		var err error
		if v, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			// Part of the query could not be read: whatever ticket it carried is not
			// what was issued, and must not stay in the URL.
			q := strings.ToLower(r.URL.RawQuery)
			return "", strings.Contains(q, "ta=") || nameless && strings.Contains(q, "=ta")
		}
	}
	var all []string
	for _, p := range parameters {
		all = append(all, v[p]...)
	}
	if nameless {
		for _, s := range v[""] {
			if t, ok := strings.CutPrefix(s, "TA"); ok {
				all = append(all, t)
			}
		}
	}
	switch len(all) {
	case 0:
		return "", false
	case 1:
		if once, err := url.PathUnescape(all[0]); err == nil {
			return once, true
		}
		return all[0], true
	}
	return "", true
}

// maySpend reports whether a request may spend a ticket: it is a GET or POST
// that somebody made on purpose, and not a HEAD, a browser's prefetch, or what a
// page loads as an image, a script or the like. Of requests that are no
// navigation, only a fetch by a page of this origin may.
func maySpend(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return false
	}
	for _, h := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		for _, v := range r.Header.Values(h) {
			v = strings.ToLower(v)
			if strings.Contains(v, "prefetch") || strings.Contains(v, "prerender") || strings.Contains(v, "preview") {
				return false
			}
		}
	}
	switch r.Header.Get("Sec-Fetch-Mode") {
	case "", "navigate":
		return true
	case "cors", "same-origin":
		site, dest := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Dest")
		return site != "cross-site" && site != "same-site" && (dest == "" || dest == "empty")
	}
	return false
}

// asked returns a request's URL as the browser knows it: http.StripPrefix and
// routers change the path of r.URL.
func asked(r *http.Request) *url.URL {
	u := *r.URL
	if full, err := url.ParseRequestURI(r.RequestURI); err == nil {
		u.Path, u.RawPath = full.Path, full.RawPath
	}
	return &u
}

// without returns the path and query of u without a ticket and some other
// parameters.
func without(u *url.URL, names ...string) string {
	names = append(names, parameters...)
	var kept []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if pair == "" || err != nil || slices.Contains(names, name) {
			continue
		}
		if value, err = url.QueryUnescape(value); name == "" && (err != nil || strings.HasPrefix(value, "TA")) {
			continue
		}
		kept = append(kept, pair)
	}
	if len(kept) == 0 {
		return pathOf(u)
	}
	return pathOf(u) + "?" + strings.Join(kept, "&")
}

// pathOf returns the path of u with one slash in front: with two, it would lead
// to another host.
func pathOf(u *url.URL) string { return "/" + strings.TrimLeft(u.EscapedPath(), "/\\") }
