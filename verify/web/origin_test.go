package web

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// traps W8, W18: which forms are another site's, with any spelling of the Host, and with a
// Host that a proxy changed.
func TestElsewhere(t *testing.T) {
	for _, c := range []struct {
		public, host, origin string
		elsewhere            bool
	}{
		{"", "login.example.com", "https://login.example.com", false},
		{"", "login.example.com:443", "https://login.example.com", false},
		{"", "LOGIN.Example.Com", "https://login.example.com", false},
		{"", "login.example.com:8443", "https://login.example.com:8443", false},
		{"", "login.example.com:80", "http://login.example.com", false},
		{"", "[::1]:443", "https://[::1]", false},
		{"", "login.example.com:80", "https://login.example.com", true},
		{"", "login.example.com", "https://login.example.com:8443", true},
		{"", "upstream:8080", "https://login.example.com", true},
		{"https://login.example.com", "upstream:8080", "https://login.example.com", false},
		{"https://LOGIN.example.com:443/", "", "https://login.example.com", false},
		{"https://login.example.com:8443", "upstream:8080", "https://login.example.com:8443", false},
		{"https://login.example.com", "upstream:8080", "http://login.example.com", true},
		{"https://login.example.com", "upstream:8080", "https://login.example.com.evil.example", true},
		{"https://login.example.com", "upstream:8080", "https://login.example.com:8443", true},
		{"https://login.example.com", "upstream:8080", "https://evil.example", true},
		{"https://login.example.com", "upstream:8080", "https://login.example.com/", true},
		{"https://login.example.com", "upstream:8080", "https://x@login.example.com", true},
		{"https://login.example.com", "", "nonsense", true},
		{"https://login.example.com", "evil.example", "null", false},
		{"https://login.example.com", "evil.example", "", false},
	} {
		o, ok := publicOrigin(c.public)
		require.True(t, ok)
		r := httptest.NewRequest(http.MethodPost, "/login", nil)
		r.Host = c.host
		r.Header.Set("Origin", c.origin)
		assert.Equal(t, c.elsewhere, o.elsewhere(r), "%+v", c)
		for site, elsewhere := range map[string]bool{
			"same-origin": false, "none": false, "same-site": true, "cross-site": true, "new": true,
		} {
			r.Header.Set("Sec-Fetch-Site", site)
			assert.Equal(t, elsewhere, o.elsewhere(r), "%+v %s", c, site)
		}
	}
	for _, wrong := range []string{
		"login.example.com", "https://a.example/login", "ftp://a.example", "https://", "https://a.example?x",
	} {
		w := newWorld(t)
		w.sessions.PublicURL = wrong
		_, err := NewSessions(w.sessions)
		require.ErrorContains(t, err, "web.SessionConfig.PublicURL", wrong)
		w.sessions.PublicURL = ""
		w.Sessions, w.PublicURL = mustSessions(t, w.sessions), wrong
		_, err = New(w.Config)
		require.ErrorContains(t, err, "web.Config.PublicURL", wrong)
	}
}

// trap W19: nested-navigate is a navigation, and one of another site's page is in a frame.
func TestNestedNavigate(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.entered(w.browser().get("/login?ta="+w.issue(nil), "Sec-Fetch-Mode", "nested-navigate"))
	w.entered(w.browser().get("/login?ta="+w.issue(nil), "Sec-Fetch-Mode", "nested-navigate", "Sec-Fetch-Site", "none"))
	foreign := []string{"Sec-Fetch-Mode", "nested-navigate", "Sec-Fetch-Site", "cross-site"}
	ticket := w.issue(nil)
	assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+ticket, foreign...).StatusCode)
	w.entered(w.browser().get("/login?ta=" + ticket))

	w = newWorld(t)
	w.looks(Page{FrameAncestors: []string{"https://shop.example"}})
	w.sessions.Partitioned = token.Agent
	w.start()
	b := w.browser()
	probe := b.get("/login?ta="+w.issue(nil), foreign...)
	require.Equal(t, http.StatusSeeOther, probe.StatusCode)
	w.entered(b.get(probe.leads(), foreign...))
}
