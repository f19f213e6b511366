package web

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// origin is the public origin of a service, as normalOrigin writes it. It is "" if the
// service has not named one.
type origin string

// elsewhere reports whether another site's page made an unsafe request, by the browser's
// Sec-Fetch-Site or Origin. Without Sec-Fetch-Site, the Origin must be the service's
// public origin or have the host of the request's own Host. Ports that are the default and
// capital letters make no difference.
//
// A request without a usable Origin is not from elsewhere, and unseen tells about it.
func (o origin) elsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
	default:
		return true
	}
	if unseen(r) {
		return false
	}
	from, ok := normalOrigin(r.Header.Get("Origin"))
	if !ok {
		return true
	}
	if from == o {
		return false
	}
	scheme, _, _ := strings.Cut(string(from), ":")
	own, ok := normalOrigin(scheme + "://" + r.Host)
	return !ok || from != own
}

// unseen reports whether a browser does not tell which site made an unsafe request. Old
// browsers send neither Sec-Fetch-Site nor Origin. An Origin of null tells nothing:
// browsers send null for our own pages' forms too, since our pages have Referrer-Policy:
// no-referrer. Then a cookie must decide.
func unseen(r *http.Request) bool {
	if r.Header.Get("Sec-Fetch-Site") != "" {
		return false
	}
	sent := r.Header.Get("Origin")
	return sent == "" || sent == "null"
}

// normalOrigin returns a web origin in one spelling: scheme and host in small letters, and
// no port that is the scheme's default.
func normalOrigin(text string) (origin, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	port := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", false
	case u.Scheme == "http" && port == "80", u.Scheme == "https" && port == "443":
		port = ""
	}
	switch {
	case port != "":
		host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return origin(u.Scheme + "://" + host), true
}

// publicOrigin returns the origin of a PublicURL in a configuration, "" for "".
func publicOrigin(text string) (o origin, ok bool) {
	if text == "" {
		return "", true
	}
	return normalOrigin(strings.TrimSuffix(text, "/"))
}
