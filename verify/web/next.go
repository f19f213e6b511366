package web

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// nextParameter says where to go after the entry.
const nextParameter = "next"

// safeNext returns the path, query and fragment that next leads to, without any
// ticket, if that is certain to be on this site: an absolute path. Whatever a
// browser or a proxy could read as another host is refused: a scheme, two
// slashes or backslashes, at first sight or once decoded, and control
// characters, which browsers leave out of URLs.
func safeNext(next string) (string, bool) {
	// Two slashes are an authority, and "//" alone one that is empty: a URL without a path.
	if len(next) > 2048 || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || !utf8.ValidString(next) {
		return "", false
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !cleanPath(u.EscapedPath()) {
		return "", false
	}
	if strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r >= 0x80 && r <= 0x9f }) {
		return "", false
	}
	to := u.EscapedPath() + without(u)
	if u.Fragment != "" {
		to += "#" + u.EscapedFragment()
	}
	// The query of a URL is kept as it stands: a header wants it in ASCII.
	return asciiURL(to), true
}

// cleanPath reports whether a path stays a path of one site however often
// somebody on the way decodes it.
func cleanPath(path string) bool {
	for range 4 {
		if strings.Contains(path, "//") || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
			return false
		}
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			// A lone percent sign cannot be decoded further by anybody.
			return true
		}
		path = decoded
	}
	return false
}

// asciiURL percent-encodes what is not ASCII.
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
