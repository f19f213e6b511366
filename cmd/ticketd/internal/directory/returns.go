package directory

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// checkReturns checks the places to which people are sent.
func (s *Settings) checkReturns() error {
	if len(s.ReturnOrigins) > maxFrameAncestors {
		return refuse("returnOrigins", "has more than %d origins; give fewer", maxFrameAncestors)
	}
	for i, origin := range s.ReturnOrigins {
		if slices.Contains(s.ReturnOrigins[:i], origin) {
			return refuse("returnOrigins", "names an origin twice; name it once")
		}
		if !isOrigin(origin) || !strings.HasPrefix(origin, "https://") || strings.Contains(origin, "*") {
			return refuse("returnOrigins", "has a text other than https://host; write it like https://shop.example.com")
		}
	}
	if err := checkSignInURL("customerSignInUrl", s.CustomerSignInURL); err != nil {
		return err
	}
	if s.CustomerHome != "" && !isHome(s.CustomerHome) {
		return refuse("customerHome", "is neither a path of this site nor a https URL; "+
			"write it like /inbox or https://shop.example.com/account")
	}
	return nil
}

// checkSignInURL refuses a URL other than a https URL with {return} once in its query. A
// URL with http is good for the machine's own loopback interface only. "" is no URL.
func checkSignInURL(field, s string) error {
	if s == "" || isSignInURL(s) {
		return nil
	}
	return refuse(field, "is no https URL with {return} once in its query; "+
		"write it like https://crm.example.com/signin?return={return}")
}

func isSignInURL(s string) bool {
	before, after, ok := strings.Cut(s, "{return}")
	u, err := url.Parse(before + after)
	if !ok || err != nil || len(s) > maxURL || !isVisible(s) || strings.Contains(after, "{return}") ||
		!strings.Contains(before, "?") || strings.Contains(before, "#") || u.Hostname() == "" || u.User != nil {
		return false
	}
	local := slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && local
}

// unsafePath matches paths that package web does not follow: with two slashes in a row, or
// with an escape for a slash, a backslash, a percent sign or a control character.
var unsafePath = regexp.MustCompile(`(?i)//|%(2f|5c|25|7f|[01])`)

// isHome reports whether s is a path of a site, or a https URL.
func isHome(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || !isVisible(s) || u.User != nil || unsafePath.MatchString(u.EscapedPath()) {
		return false
	}
	if u.Scheme == "" {
		return strings.HasPrefix(s, "/") && u.Host == ""
	}
	path, ok := strings.CutPrefix(s, originOf(s))
	return ok && u.Scheme == "https" && isOrigin(originOf(s)) && (path == "" || path[0] == '/')
}

// originOf returns the origin of a https URL, and "" for a path.
func originOf(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return ""
	}
	return "https://" + u.Host
}

// checkHome refuses a CustomerHome on another site than those of a list of return origins.
func (s *Settings) checkHome(origins []string) error {
	if origin := originOf(s.CustomerHome); origin != "" && !slices.Contains(origins, origin) {
		return refuse("customerHome", "is on no return origin; add %s to the return origins", origin)
	}
	return nil
}

// isVisible reports whether s has visible ASCII only, and no backslash.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' })
}

var hostForm = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// isOrigin reports whether s is only a scheme and a host in lower case, with an
// optional port. The value stands in a header and must not end its directive.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxIdentifier || u.Scheme != "https" && u.Scheme != "http" ||
		!hostForm.MatchString(u.Hostname()) {
		return false
	}
	origin := u.Scheme + "://" + u.Hostname()
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		origin += ":" + port
	}
	return s == origin
}

// everybodys reports whether an origin has *. before a public suffix, such as com or co.uk.
func everybodys(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	host, wild := strings.CutPrefix(u.Hostname(), "*.")
	if !wild {
		return false
	}
	suffix, _ := publicsuffix.PublicSuffix(host)
	return suffix == host
}
