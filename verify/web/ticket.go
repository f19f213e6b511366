package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// parameters are the names of the query parameters and form fields that carry a ticket.
var parameters = []string{"ta", "TA"}

// maxPairs is how many parameters a query with a ticket may have. From a query with more
// than 10,000, net/url reads none: the parameters that decide what to do would be lost.
const maxPairs = 1000

// ticketOf returns the ticket in the query parameter or POST form field ta or TA
// (urlencoded or multipart/form-data) or, with nameless, in the query ?=TA<ticket>.
// Issuers' clients percent-encode a ticket once or twice, and each form gives the same
// string. Nothing else about a ticket is mended. found says whether the request has any
// ticket.
//
// A request with several tickets does not tell which of them to use. ticketOf then returns
// a text that no verifier accepts; so too if the only ticket cannot be read or is among
// more than maxPairs. Other parameters of the query need not be readable: others than the
// ticket's issuer may have added them.
func ticketOf(r *http.Request, nameless bool) (ticket string, found bool) {
	if r.Method == http.MethodPost {
		// The body alone, of which each part must be readable.
		alone := r.WithContext(r.Context())
		alone.URL = &url.URL{}
		if err := alone.ParseForm(); err != nil {
			return "", true
		}
		r.PostForm = alone.PostForm
		_ = r.ParseForm() // takes the readable parts of the query
		// The body is within maxForm, and so none of it goes to the disk.
		if err := r.ParseMultipartForm(maxForm); err != nil && !errors.Is(err, http.ErrNotMultipart) {
			return "", true
		}
	}
	tickets := 0
	add := func(name, value string) {
		if slices.Contains(parameters, name) {
			ticket = value
			tickets++
		} else if t, ok := strings.CutPrefix(value, "TA"); ok && nameless && name == "" {
			ticket = t
			tickets++
		}
	}
	for name, values := range r.PostForm {
		for _, value := range values {
			add(name, value)
		}
	}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, ok := readPair(pair)
		if !ok && mayCarryTicket(pair, nameless) {
			return "", true
		}
		if ok {
			add(name, value)
		}
	}
	switch {
	case tickets == 0:
		return "", false
	case tickets == 1 && strings.Count(r.URL.RawQuery, "&") < maxPairs:
		if once, err := url.PathUnescape(ticket); err == nil {
			return once, true
		}
		return ticket, true
	}
	return "", true
}

// valuesOf returns the values of a parameter of the request's query or form. It reads a
// query without a map of all its parameters.
func valuesOf(r *http.Request, name string) (values []string) {
	if r.Form != nil {
		return r.Form[name]
	}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if n, value, ok := readPair(pair); ok && n == name && pair != "" {
			values = append(values, value)
		}
	}
	return values
}

// readPair reads a part of a query as url.ParseQuery does: a part with a semicolon, or
// with a percent sign that encodes nothing, is not ok.
func readPair(pair string) (name, value string, ok bool) {
	name, value, _ = strings.Cut(pair, "=")
	name, nameErr := url.QueryUnescape(name)
	value, valueErr := url.QueryUnescape(value)
	return name, value, nameErr == nil && valueErr == nil && !strings.Contains(pair, ";")
}

// mayCarryTicket reports whether a pair that cannot be read may be meant to carry a
// ticket.
func mayCarryTicket(pair string, nameless bool) bool {
	for part := range strings.SplitSeq(pair, ";") {
		name, value, _ := strings.Cut(part, "=")
		if n, err := url.QueryUnescape(name); err == nil {
			name = n
		}
		if slices.Contains(parameters, name) || nameless && name == "" && strings.HasPrefix(value, "TA") {
			return true
		}
	}
	return false
}

// maySpend reports whether a request may spend a ticket: a GET or POST that a person made
// on purpose. A HEAD, a browser's prefetch, and loading an image, a script or the like for
// a page may not. Of requests that are no navigation, only a fetch by a page of this
// origin may.
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
	case "", "navigate", "nested-navigate": // the last is a navigation in a frame, in Chromium before version 80
		return true
	case "cors", "same-origin":
		site, dest := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Dest")
		return site != "cross-site" && site != "same-site" && (dest == "" || dest == "empty")
	}
	return false
}

// here returns the way from a request's URL to the same URL with another query, "" or from
// "?" on. The way has only the last part of the path: a proxy in front, http.StripPrefix
// or a router may have taken off the rest.
func here(r *http.Request, query string) string {
	path := sentPath(r)
	last := path[strings.LastIndexByte(path, '/')+1:]
	if last == "" || strings.Contains(last, ":") {
		last = "./" + last // otherwise no path, or a scheme
	}
	return last + query
}

// sentPath returns the path that the browser asked for, percent-encoded.
func sentPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.HasPrefix(path, "/") && !strings.ContainsFunc(path, unusual) {
		return path
	}
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		return u.EscapedPath()
	}
	return r.URL.EscapedPath()
}

// unusual reports whether a character of a path may have to be encoded.
func unusual(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '-' || r > '9') && r != '_' // '-' to '9' are - . / and the digits
}

// without returns the query of u, from "?" on, without tickets, unreadable parts and the
// named parameters. It returns "" if nothing is left.
func without(u *url.URL, names ...string) string {
	var kept []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, ok := readPair(pair)
		nameless := name == "" && strings.HasPrefix(value, "TA")
		if pair != "" && ok && !slices.Contains(names, name) && !slices.Contains(parameters, name) && !nameless {
			kept = append(kept, pair)
		}
	}
	if len(kept) == 0 {
		return ""
	}
	return "?" + strings.Join(kept, "&")
}
