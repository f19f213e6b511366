package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// echo answers a request for a WebSocket, and sends back whatever comes.
func echo(w http.ResponseWriter) {
	conn, both, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	// The answer to the key of RFC 6455's example, which HAProxy looks at.
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	line, _ := both.ReadString('\n')
	_, _ = io.WriteString(conn, line)
}

// raw sends a target as it stands, which package http would not. conversation has what
// follows the answer.
func (p *person) raw(method, target string, header http.Header) (res *http.Response, conversation *bufio.ReadWriter) {
	p.t.Helper()
	conn, err := tls.Dial("tcp", "127.0.0.1:"+p.port, p.tls)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = conn.Close() })
	at, err := url.Parse(p.url)
	require.NoError(p.t, err)
	request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, at.Host)
	for _, c := range p.Jar.Cookies(at) {
		request += "Cookie: " + c.Name + "=" + c.Value + "\r\n"
	}
	for name, values := range header {
		request += name + ": " + strings.Join(values, ", ") + "\r\n"
	}
	both := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	_, err = conn.Write([]byte(request + "\r\n"))
	require.NoError(p.t, err)
	res, err = http.ReadResponse(both.Reader, &http.Request{Method: method})
	require.NoError(p.t, err)
	return res, both
}

// odd are paths that a proxy and an application may read differently.
var odd = []string{
	"/inbox%2f..%2flogin", "/inbox/..%2flogin", "/inbox/%2e%2e/login", "/inbox/../login", "/inbox/;/../login",
	"/login/../inbox", "/login%2f..%2finbox", "/login/..%2finbox", "/login/%2e%2e/inbox", "/login;/../inbox",
	"/login/..;/inbox", "/login;x=/inbox", "/login%3f/../inbox", "/login%23/../inbox", "/login%00/../inbox",
	"/logout/%2e%2e/inbox", "/chat/x/../../inbox", "/chat/..%2finbox", "/chat/%2e%2e/inbox", "/chat/..;/inbox",
	"/chat/..", "/chat/%2e%2e", "/chat/x%2f..%2f..%2finbox", "/LOGIN/../inbox", "//inbox", "/./inbox", "/%2e/inbox",
	"//login/../inbox", "/%6cogin/../inbox", "/inbox#/login", "/auth/ticket/..%2f..%2flogin",
	"/auth/brand/commbox/check", "/auth/brand/beta/check/..%2f..%2f..%2f..%2flogin", "/login\\..\\inbox", "/chat/..\\inbox",
	"https://127.0.0.1/inbox", "https://app.example.com/login/../inbox",
}

// walk tries what people and programs do with an application behind a proxy, where two
// brands share a username and the brand has a sign-in page.
func (b *behind) walk() {
	t := b.t
	b.mu.Lock()
	b.request = nil
	b.mu.Unlock()
	nobody, stranger := b.person(), b.person()
	other := otherBrand(t, b.data, b.info)
	require.Equal(t, http.StatusSeeOther, stranger.get("/login?ta="+other).StatusCode)

	// trap W10: no spelling of a path leads past the check.
	for _, path := range odd {
		for _, p := range []*person{nobody, stranger} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
				res, _ := p.raw(method, path, nil)
				assert.Nil(t, b.seen(), "%s %s: %d", method, path, res.StatusCode)
			}
		}
	}

	// A WebSocket is for those who are signed in.
	upgrade := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	for _, p := range []*person{nobody, stranger} {
		res, _ := p.raw(http.MethodGet, "/live", upgrade)
		assert.Equal(t, http.StatusSeeOther, res.StatusCode)
		assert.Nil(t, b.seen())
	}

	// trap W17: the other brand's agent signs in at the brand's own page as well, and ends
	// where the agent wanted to go.
	stranger.CheckRedirect = nil
	res := stranger.get("/a/nested/path?x=1")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, b.url+"/a/nested/path?x=1", res.Request.URL.String())
	assert.Equal(t, "commbox", b.seen().Get("Admitone-Brand"))

	john := stranger // by now
	res, talk := john.raw(http.MethodGet, "/live", upgrade)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	_, err := talk.WriteString("hello\n")
	require.NoError(t, err)
	require.NoError(t, talk.Flush())
	line, err := talk.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "hello\n", line)
	assert.Equal(t, "john.d", b.seen().Get("Remote-User"))
	// What follows on a connection of another protocol would pass unchecked.
	for _, protocol := range []string{"h2c", "h2c, websocket", "TLS/1.0", "websocketx"} {
		_, _ = john.raw(http.MethodGet, "/live", http.Header{"Upgrade": {protocol},
			"Http2-Settings": {"AAMAAABkAARAAAAAAAIAAAAA"}, "Connection": {"Upgrade, HTTP2-Settings"}})
		assert.Empty(t, b.seen().Get("Upgrade"), protocol)
	}
	for _, path := range []string{"/a%2fb;c/d", "/a/%2e%2e;/b", "/%c3%a9?x=%2f"} {
		res, _ := john.raw(http.MethodGet, path, http.Header{"Connection": {"close"}})
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		assert.Equal(t, "\""+path+"\"\n", string(body), "the application gets the path that was sent")
	}
	res = john.do(http.MethodHead, "/inbox", nil)
	assert.Equal(t, http.StatusOK, res.StatusCode)

	// trap W17: nobody is sent to another site, with and without a ticket.
	evil := []string{
		"//evil.example", "///evil.example", "/%09/evil.example", "https://evil.example", "https:evil.example",
		"/\\evil.example", "\\\\evil.example", "/%5cevil.example", "/%2fevil.example", "/%2f%2fevil.example",
		"/%252f%252fevil.example", "%2f%2fevil.example", "/..//evil.example", "/%2e%2e//evil.example", "/.//evil.example",
		"https://evil.example@" + strings.TrimPrefix(b.url, "https://") + "/", "//127.0.0.1@evil.example/", b.url + "@evil.example",
		b.url + ".evil.example/", "javascript:alert('evil')", "/%0d%0aLocation:https://evil.example",
	}
	for _, to := range evil {
		for _, place := range []string{"to=" + to, "next=" + to, "next=" + url.QueryEscape(to)} {
			res, _ := nobody.raw(http.MethodGet, "/login?brand=commbox&"+place, nil)
			decoded, err := url.QueryUnescape(res.Header.Get("Location"))
			require.NoError(t, err)
			assert.NotContains(t, decoded, "evil", place)
		}
	}
	for _, to := range evil[:8] {
		jane := b.person()
		ticket := b.info.ticket(t, b.info.request(true))
		res := jane.get("/login?brand=commbox&ta=" + ticket + "&next=" + url.QueryEscape(to))
		assert.Equal(t, http.StatusSeeOther, res.StatusCode)
		assert.NotContains(t, res.Header.Get("Location"), "evil", to)
	}
}
