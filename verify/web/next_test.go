package web

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap W6: an address that leads elsewhere, however it is written, is refused.
func TestSafeNext(t *testing.T) {
	for next, want := range map[string]string{
		"/":                       "/",
		"/inbox":                  "/inbox",
		"/a/b?x=1&y=%2F%2F#part":  "/a/b?x=1&y=%2F%2F#part",
		"/a?u=https://b.example/": "/a?u=https://b.example/",
		"/a%20b":                  "/a%20b",
		"/é?q=é":                  "/%C3%A9?q=%C3%A9",
		"/a?ta=tkt1_x&b=1":        "/a?b=1",
		"/100%25":                 "/100%25",
		"/a:b@c":                  "/a:b@c",
	} {
		got, ok := safeNext(next)
		assert.True(t, ok, next)
		assert.Equal(t, want, got, next)
	}
	for _, next := range []string{
		"", "inbox", "?x", "#x", "https://evil.example", "HTTPS:evil.example", "javascript:alert(1)", "data:,x",
		"//", "//?x", "//#x", "//evil.example", "///evil.example", "////evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`, `/a\b`,
		"/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", "/ /evil.example", "/\x00/evil.example",
		"/%2fevil.example", "/%2F%2Fevil.example", "/%5cevil.example", "/%5C%5Cevil.example", "/%252f%252fevil.example", "/%25255cevil.example",
		"/.//evil.example", "/a/..//evil.example", "/%09/evil.example", "/%0d%0aLocation:x", "/a\r\nX: 1", "/%00", "/\u0085/x", "/%zz", "/\xff",
		"/a?b=\\c", "/" + strings.Repeat("a", 2048),
	} {
		_, ok := safeNext(next)
		assert.False(t, ok, "%q", next)
	}
}

// FuzzNext: what is taken stays on this site when a browser resolves it, after any
// number of decodings.
func FuzzNext(f *testing.F) {
	for _, s := range []string{"/", "/a?b#c", "//e", `/\e`, "/%2f/e", "/%255c", "/\t/e", "/?ta=x", "/é", "//", "//?x"} {
		f.Add(s)
	}
	base, err := url.Parse("https://here.example/login?x=1")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, next string) {
		got, ok := safeNext(next)
		if !ok {
			return
		}
		require.Regexp(t, `^/([!-.0-[\]-~][!-[\]-~]*)?$`, got, "one slash, printable, no backslash")
		to, err := base.Parse(got)
		require.NoError(t, err)
		require.Equal(t, "here.example", to.Host)
		require.Equal(t, "https", to.Scheme)
		require.Nil(t, to.User)
		path := to.EscapedPath()
		for range 3 {
			require.False(t, strings.HasPrefix(path, "//") || strings.Contains(path, `\`), path)
			if path, err = url.PathUnescape(path); err != nil {
				break
			}
		}
	})
}
