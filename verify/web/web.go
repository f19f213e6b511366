// Package web is the HTTP side of redeeming: it takes the ticket out of a
// request, keeps it out of every URL that follows, and keeps the session that
// the ticket bought in a sealed cookie.
package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The parameters that carry a ticket.
var parameters = []string{"ta", "TA"}

// Ticket returns the ticket that a request carries in the query parameter or
// POST form field ta or TA. Issuers' clients percent-encode it, or do so twice,
// and both give the same string; nothing else about it is mended. Where there
// are several it returns one that no verifier accepts, since which is meant
// cannot be told; found says whether there was any.
func Ticket(r *http.Request) (ticket string, found bool) {
	var all []string
	add := func(v url.Values) {
		for _, p := range parameters {
			all = append(all, v[p]...)
		}
	}
	if r.Method == http.MethodPost {
		// Form holds the query's values, too.
		if err := r.ParseForm(); err != nil {
			return "", true
		}
		add(r.Form)
	} else {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			// Part of the query could not be read: whatever ticket it carried is not
			// what was issued, and must not stay in the URL.
			return "", strings.Contains(strings.ToLower(r.URL.RawQuery), "ta=")
		}
		add(q)
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

// MaySpend reports whether a request may spend a ticket: it is a GET or POST
// that somebody made, and not a HEAD or a browser's prefetch.
func MaySpend(r *http.Request) bool {
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
	return true
}

// WithoutTicket returns the path and query of a request's URL without the
// ticket: where to send the browser after redemption.
func WithoutTicket(u *url.URL) string {
	path := u.EscapedPath()
	// A path of two slashes would lead to another host.
	path = "/" + strings.TrimLeft(path, "/\\")
	var kept []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if pair != "" && err == nil && !slices.Contains(parameters, name) {
			kept = append(kept, pair)
		}
	}
	if len(kept) == 0 {
		return path
	}
	return path + "?" + strings.Join(kept, "&")
}
