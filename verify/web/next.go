package web

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// nextParameter names the way to go on after the entry.
const nextParameter = "next"

// safeNext returns the path, query and fragment of next, without any ticket, if next is
// certain to stay on this site: an absolute path. It refuses whatever a browser or a proxy
// could read as another host, at once or after decoding: a scheme, two slashes or
// backslashes, and control characters, since browsers drop these from URLs.
func safeNext(next string) (string, bool) {
	// Two slashes begin an authority: "//" alone is an empty one, a URL without a path.
	if len(next) > 2048 || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || !utf8.ValidString(next) {
		return "", false
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !cleanPath(u.EscapedPath()) {
		return "", false
	}
	unsafe := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r >= 0x80 && r <= 0x9f }
	if strings.ContainsFunc(next, unsafe) {
		return "", false
	}
	to := u.EscapedPath() + without(u, probeField)
	if u.Fragment != "" {
		to += "#" + u.EscapedFragment()
	}
	// The query of a URL is kept as it stands. A header needs ASCII.
	return asciiURL(to), true
}

// cleanPath reports whether a path stays a path of one site, however often a program on
// the way decodes it.
func cleanPath(path string) bool {
	for range 4 {
		unsafe := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }
		if strings.Contains(path, "//") || strings.ContainsFunc(path, unsafe) {
			return false
		}
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			// Nobody can decode a lone percent sign further.
			return true
		}
		path = decoded
	}
	return false
}

// asciiURL percent-encodes the characters beyond ASCII.
func asciiURL(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 0x80 {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
