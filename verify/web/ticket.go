package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The parameters that carry a ticket.
var parameters = []string{"ta", "TA"}

// ticketOf returns the ticket that a request carries in the query parameter or
// POST form field ta or TA (urlencoded or multipart/form-data) and, with nameless, in
// the query ?=TA<ticket>. Issuers' clients percent-encode it, or do so twice, and both
// give the same string; nothing else about it is mended. Where there are several it
// returns one that no verifier accepts, since which is meant cannot be told; found
// says whether there was any.
func ticketOf(r *http.Request, nameless bool) (ticket string, found bool) {
	var v url.Values
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			return "", true
		}
		// The body is within maxForm, and so nothing of it goes to the disk.
		if err := r.ParseMultipartForm(maxForm); err != nil && !errors.Is(err, http.ErrNotMultipart) {
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

// here leads from a request's URL to that URL with another query, "" or from "?"
// on. It has the last part of the path only: a proxy in front, http.StripPrefix or a
// router may have taken off what is before that.
func here(r *http.Request, query string) string {
	path := r.URL.EscapedPath()
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = u.EscapedPath()
	}
	last := path[strings.LastIndexByte(path, '/')+1:]
	if last == "" || strings.Contains(last, ":") {
		last = "./" + last // else it would be no path, or have a scheme
	}
	return last + query
}

// without returns the query of u, from "?" on, without a ticket and some other
// parameters, and "" where nothing is left.
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
		return ""
	}
	return "?" + strings.Join(kept, "&")
}
