package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

// identity are the headers by which an application behind a proxy knows who it is.
var identity = []string{"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "Admitone-Brand",
	"Admitone-Audience",
	"Admitone-Channel", "Admitone-Ticket-Id", "Admitone-Key-Id", "Admitone-Actor", "Admitone-Issuer",
	"Admitone-Signing-Key"}

// spellings returns the names that many applications read as a header's name: all
// characters except letters and digits are the same to them (CVE-2026-88011).
func spellings(name string) (all []string) {
	for _, c := range "!#$%&'*+.^_`|~" {
		all = append(all, strings.ReplaceAll(name, "-", string(c)))
		if i, j := strings.Index(name, "-"), strings.LastIndex(name, "-"); i != j {
			all = append(all, name[:i]+string(c)+name[i+1:], name[:j]+string(c)+name[j+1:])
		}
	}
	return all
}

// behind is a demo and an application behind a proxy.
type behind struct {
	t       *testing.T
	demo    *process
	info    demoInfo
	data    string
	port    string // of the proxy
	url     string
	local   string // the demo's own HOST:PORT
	app     string // the application's
	cert    string // files
	key     string
	logs    string // folder
	tls     *tls.Config
	mu      sync.Mutex
	request http.Header // of the last request that reached the application
}

func newBehind(t *testing.T, args ...string) *behind {
	t.Helper()
	b := &behind{t: t, data: filepath.Join(t.TempDir(), "data"), port: strconv.Itoa(servers.Port(t)), logs: t.TempDir()}
	b.url = "https://127.0.0.1:" + b.port
	b.local = freeAddress(t)
	b.demo, b.info = startDemo(t, append([]string{"--data", b.data, "--listen", b.local, "--public-url", b.url,
		"--trusted-proxies", "127.0.0.1", "--nameless-ticket"}, args...)...)
	b.info.URL = "http://" + b.local
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.request = r.Header.Clone()
		if r.Header.Get("Upgrade") == "websocket" {
			echo(w)
			return
		}
		_ = json.NewEncoder(w).Encode(r.RequestURI)
	}))
	t.Cleanup(app.Close)
	b.app = app.Listener.Addr().String()
	b.cert, b.key, b.tls = certificate(t)
	return b
}

// certificate writes that of net/http/httptest, which is for 127.0.0.1 and
// example.com.
func certificate(t *testing.T) (cert, key string, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pair := s.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pemBlock("CERTIFICATE", pair.Certificate[0]), 0o644))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return cert, key, &tls.Config{RootCAs: pool}
}

// recipe returns an example's file with what is different here. Each text must be
// there.
func recipe(t *testing.T, path string, replacements ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", path))
	require.NoError(t, err)
	for i := 0; i < len(replacements); i += 2 {
		require.Contains(t, string(text), replacements[i], path)
		text = bytes.ReplaceAll(text, []byte(replacements[i]), []byte(replacements[i+1]))
	}
	return text
}

// start runs a proxy until the test ends, and waits for its port.
func (b *behind) start(cmd *exec.Cmd) (end func()) {
	b.t.Helper()
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(b.t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	end = sync.OnceFunc(func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-ended })
	b.t.Cleanup(end)
	up := false
	require.Eventually(b.t, func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+b.port)
		up = err == nil && c.Close() == nil
		select {
		case <-ended:
			return true
		default:
			return up
		}
	}, time.Minute, 20*time.Millisecond)
	require.True(b.t, up, said.String())
	return end
}

// person is a browser without pages: it keeps cookies and follows nothing.
type person struct {
	*behind
	http.Client
	body string // of the last answer
}

func (b *behind) person() *person {
	jar, err := cookiejar.New(nil)
	require.NoError(b.t, err)
	tr := &http.Transport{TLSClientConfig: b.tls}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &person{behind: b, Client: http.Client{Transport: tr, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (p *person) do(method, path string, header http.Header) *http.Response {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, nil)
	require.NoError(p.t, err)
	for k, v := range header {
		r.Header[k] = v
	}
	res, err := p.Do(r)
	require.NoError(p.t, err)
	body, _ := io.ReadAll(res.Body)
	p.body = string(body)
	res.Body.Close()
	return res
}

func (p *person) get(path string) *http.Response {
	p.t.Helper()
	return p.do(http.MethodGet, path, nil)
}

// seen is what the application was told last.
func (b *behind) seen() http.Header {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.request
}

// try enters through the proxy and holds what the application sees, and what the
// proxy's logs have, against what the recipe promises.
func (b *behind) try(end func()) {
	t := b.t
	john, stranger := b.person(), b.person()
	forged := http.Header{"Connection": {"close, Remote-User"},
		"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}}
	for _, name := range identity {
		forged[name] = []string{"admin"}
		for _, spelt := range spellings(name) {
			forged[spelt] = []string{"admin"}
		}
	}

	// Nobody: to the login page, whatever is made up. With a path alone the way
	// stays on the host and port that the browser knows, and names none that a
	// request made up.
	for _, header := range []http.Header{nil, forged} {
		res := stranger.do(http.MethodPost, "/inbox?x=1", header)
		assert.Equal(t, http.StatusSeeOther, res.StatusCode)
		assert.Equal(t, "/login?brand=commbox&to=/inbox?x=1", res.Header.Get("Location"))
	}
	assert.Equal(t, http.StatusForbidden, stranger.get("/login").StatusCode)
	assert.NotEqual(t, http.StatusOK, stranger.get("/auth/check").StatusCode)
	b.tryOtherBrand(otherBrand(t, b.data, b.info))
	require.Nil(t, b.seen(), "nothing has reached the application")

	// A ticket in, the session out, the application behind.
	ticket := b.info.ticket(t, b.info.request(true))
	res := john.get("/login?next=/inbox&ta=" + ticket)
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	assert.Equal(t, "/inbox", res.Header.Get("Location"))
	require.Len(t, res.Cookies(), 1)
	assert.Equal(t, "__Host-admitone-agent", res.Cookies()[0].Name)
	for _, header := range []http.Header{nil, forged} {
		res := john.do(http.MethodGet, "/inbox?x=1", header)
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Empty(t, res.Header.Values("Set-Cookie"), "nothing is to be renewed")
		seen := b.seen()
		for name, want := range map[string]string{"Remote-Name": "John Doe", "Remote-Email": "john.d@gmail.com",
			"Admitone-Brand": "commbox", "Admitone-Audience": "agent", "Admitone-Actor": b.info.APIKey[4:14]} {
			assert.Equal(t, []string{want}, seen.Values(name), name)
		}
		if header == nil { // who says that a header is for the proxy alone may lose it, and gets no other
			assert.Equal(t, []string{"john.d"}, seen.Values("Remote-User"))
		}
		assert.Contains(t, []string{"john.d", ""}, seen.Get("Remote-User"))
		assert.Regexp(t, "^[0-9a-f]{32}$", seen.Get("Admitone-Ticket-Id"))
		assert.Regexp(t, "^[0-9a-f]{8}$", seen.Get("Admitone-Key-Id"))
		for name, values := range seen { // under whatever name
			assert.NotContains(t, values, "admin", name)
		}
		assert.Empty(t, seen.Get("Admitone-Channel"))
		assert.Empty(t, seen.Get("Remote-Groups"))
	}
	assert.Equal(t, http.StatusForbidden, stranger.get("/login?ta="+ticket).StatusCode, "it was used")

	older := b.info.ticket(t, b.info.request(true))
	assert.Equal(t, http.StatusSeeOther, b.person().get("/login?=TA"+older).StatusCode)

	// The one who only looks ahead spends nothing, and the log names who came.
	ahead := b.info.ticket(t, b.info.request(true))
	assert.Equal(t, http.StatusServiceUnavailable, stranger.do(http.MethodHead, "/login?ta="+ahead, nil).StatusCode)
	b.demo.logs("remote=127.0.0.1")
	assert.NotContains(t, b.demo.stderr.String(), "192.0.2.1")

	// A customer's chat, and not a customer's session for the agents' application.
	jane := b.person()
	chat := strings.TrimPrefix(b.info.ChatURL, b.url)
	customer := b.info.ticket(t, `{"brand":"commbox","email":"jane@example.com","oneTimeUse":true}`)
	require.Equal(t, http.StatusSeeOther, jane.get(chat+"?ta="+customer).StatusCode)
	assert.Equal(t, http.StatusOK, jane.get(chat).StatusCode)
	assert.Equal(t, http.StatusSeeOther, jane.get("/inbox").StatusCode)

	// In a frame on another site, where the ticket stands in a redirect.
	administer(t, "channel", "set", b.info.Channel, "--brand", "commbox", "--frame-ancestors", "https://shop.example",
		"--data", b.data)
	framed := b.info.ticket(t, `{"brand":"commbox","email":"jo@example.com","oneTimeUse":true}`)
	inFrame := http.Header{"Sec-Fetch-Dest": {"iframe"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"cross-site"}}
	jo := b.person()
	probe := jo.do(http.MethodGet, chat+"?ta="+framed, inFrame)
	require.Equal(t, http.StatusSeeOther, probe.StatusCode)
	require.Contains(t, probe.Header.Get("Location"), framed)
	back, err := probe.Location()
	require.NoError(t, err)
	entered := jo.do(http.MethodGet, back.RequestURI(), inFrame)
	require.Equal(t, http.StatusSeeOther, entered.StatusCode)
	assert.NotContains(t, entered.Header.Get("Location"), framed)

	// A session is renewed through the proxy: here, for the sake of a newer key.
	kek, err := kms.Open("file:"+filepath.Join(b.data, "kek.key"), nil)
	require.NoError(t, err)
	_, err = keyring.Change(filepath.Join(b.data, "session.keyring"), keyring.Config{Kind: keyring.Session, KEK: kek}, "",
		keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		// Whoever enters makes the service use the newer key, once it has read it.
		require.Equal(t, http.StatusSeeOther, b.person().get("/login?ta="+b.info.ticket(t, b.info.request(true))).StatusCode)
		return len(john.get("/inbox").Cookies()) > 0
	}, time.Minute, 100*time.Millisecond)
	assert.Equal(t, http.StatusOK, john.get("/inbox").StatusCode)

	assert.Equal(t, http.StatusForbidden, john.do(http.MethodPost, "/logout",
		http.Header{"Origin": {"https://evil.example"}}).StatusCode)
	assert.Equal(t, http.StatusSeeOther, john.do(http.MethodPost, "/logout", http.Header{"Origin": {b.url}}).StatusCode)
	assert.Equal(t, http.StatusSeeOther, john.get("/inbox").StatusCode)

	// trap W2: no log has a ticket, also where ticketd is not there.
	require.Equal(t, 0, b.demo.end(syscall.SIGTERM))
	res = b.person().do(http.MethodGet, "/login?ta="+ahead, http.Header{"Referer": {b.url + "/login?ta=" + ahead}})
	assert.GreaterOrEqual(t, res.StatusCode, 500)
	before := b.seen()
	assert.GreaterOrEqual(t, john.get("/inbox").StatusCode, 500)
	assert.Equal(t, before, b.seen(), "who cannot be asked about does not pass")
	end()
	var logs strings.Builder
	require.NoError(t, filepath.WalkDir(b.logs, func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			logs.Write(text)
		}
		return nil
	}))
	assert.Contains(t, logs.String(), "/login")
	assert.Contains(t, logs.String(), "/inbox")
	for _, secret := range []string{ticket, customer, ahead, older, framed} {
		assert.NotContains(t, logs.String(), secret[10:])
		assert.NotContains(t, b.demo.stderr.String(), secret[10:])
	}
}

// otherBrand adds the brand beta with an agent whose username is that of the demo's agent,
// and returns a ticket of that agent.
func otherBrand(t *testing.T, data string, info demoInfo) (ticket string) {
	t.Helper()
	administer(t, "brand", "add", "beta", "--data", data)
	administer(t, "agent", "add", info.Agent.Username, "--brand", "beta", "--email", info.Agent.Email, "--data", data)
	info.APIKey = administer(t, "apikey", "add", "--brands", "beta", "--data", data)
	return info.ticket(t, `{"brand":"beta","username":"`+info.Agent.Username+`","email":"`+info.Agent.Email+`","oneTimeUse":true}`)
}

// tryOtherBrand enters with the other brand's ticket.
//
// trap W10: an agent of another brand with the same username is nobody to the application,
// and nothing that the browser sends chooses the brand.
func (b *behind) tryOtherBrand(ticket string) {
	t, stranger := b.t, b.person()
	require.Equal(t, http.StatusSeeOther, stranger.get("/login?ta="+ticket).StatusCode)
	chosen := http.Header{
		"Admitone-Brand": {"commbox"}, "X-Forwarded-Uri": {"/auth/brand/beta/check"}, "X-Forwarded-Prefix": {"/beta"},
		"X-Original-Uri": {"/auth/brand/beta/check"}, "X-Original-Url": {"/auth/brand/beta/check"},
	}
	for _, path := range []string{
		"/inbox", "/inbox?brand=beta", "/beta/check", "/auth/brand/beta/check", "/..%2fbeta/check", "/auth/check?brand=beta",
	} {
		for _, header := range []http.Header{nil, chosen} {
			assert.NotEqual(t, http.StatusOK, stranger.do(http.MethodGet, path, header).StatusCode, path)
		}
	}
	assert.Equal(t, http.StatusSeeOther, stranger.get("/inbox").StatusCode)
}

// traps W2, W5: examples/nginx, with a real nginx.
func TestNginx(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	end := b.nginx()
	b.tryRequestID()
	b.try(end)
}

// tryRequestID wants the proxy, ticketd and the application to have the same ID of a request, which no
// client chooses.
func (b *behind) tryRequestID() {
	john, chosen := b.person(), http.Header{"X-Request-Id": {"chosen"}}
	entered := john.do(http.MethodGet, "/login?ta="+b.info.ticket(b.t, b.info.request(true)), chosen)
	require.Equal(b.t, http.StatusSeeOther, entered.StatusCode)
	id := entered.Header.Get("X-Request-Id")
	assert.NotEqual(b.t, "chosen", id)
	b.demo.logs("request_id=" + id)
	require.Equal(b.t, http.StatusOK, john.do(http.MethodGet, "/inbox", chosen).StatusCode)
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Regexp(b.t, "^[0-9A-Za-z_-]{24,36}$", b.request.Get("X-Request-Id"))
	b.demo.logs("request_id=" + b.request.Get("X-Request-Id")) // of the check
	b.request = nil
}

// signsIn runs an organisation's own sign-in page, for somebody who has signed in there. It
// sends the browser back with a ticket, and is the brand's.
func (b *behind) signsIn() {
	b.t.Helper()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		back := r.URL.Query().Get("return")
		http.Redirect(w, r, back+"&ta="+b.info.ticket(b.t, b.info.request(true)), http.StatusSeeOther)
	}))
	b.t.Cleanup(page.Close)
	administer(b.t, "brand", "set", "commbox", "--agent-sign-in-url", page.URL+"/signin?return={return}", "--data", b.data)
}

// tryDeepLink asks for a page as somebody who is not signed in, and wants to end there.
func (b *behind) tryDeepLink() {
	b.signsIn()
	for _, wanted := range []string{"/inbox", "/inbox?x=1&y=%2F%26",
		"/a/b%20c?next=//evil.example", "/?brand=acme&to=/x", "/inbox?entry=/other"} {
		john := b.person()
		john.CheckRedirect = nil
		res := john.get(wanted)
		assert.Equal(b.t, http.StatusOK, res.StatusCode, wanted)
		assert.Equal(b.t, b.url+wanted, res.Request.URL.String())
		assert.Equal(b.t, strconv.Quote(wanted)+"\n", strings.ReplaceAll(john.body, `\u0026`, "&"), "the application's page")
	}
	// Where the sign-in page gives no ticket there is no loop, and a link to it.
	lost := b.person()
	res := lost.get("/login?brand=commbox&signin=1&next=/inbox")
	assert.Equal(b.t, http.StatusForbidden, res.StatusCode)
	assert.Contains(b.t, lost.body, `<a class="button" href="http://127.0.0.1:`)
}

// trap W17: through nginx, Caddy, HAProxy and Apache.
func TestDeepLink(t *testing.T) {
	t.Parallel()
	t.Run("nginx", func(t *testing.T) {
		b := newBehind(t)
		b.nginx()
		b.tryDeepLink()
		b.walk()
	})
	t.Run("caddy", func(t *testing.T) {
		caddy := needs(t, "caddy")
		b := newBehind(t)
		b.caddy(caddy)
		b.tryDeepLink()
		b.walk()
	})
	t.Run("haproxy", func(t *testing.T) {
		haproxy := needsHAProxy(t)
		b := newBehind(t)
		b.haproxy(haproxy)
		b.tryDeepLink()
		b.walk()
	})
	t.Run("apache", func(t *testing.T) {
		apache := needsApache(t)
		b := newBehind(t)
		b.apache(apache)
		b.tryDeepLink()
		b.walk()
	})
}

// trap W13: with the directory away the proxies say to try again, and not that nobody is
// signed in. Back again, the session goes on.
func TestProxyWithoutDirectory(t *testing.T) {
	t.Parallel()
	try := func(t *testing.T, start func(*behind)) {
		postgres := servers.PostgreSQL(t)
		b := newBehind(t, "--database", postgres.URL)
		start(b)
		john := b.person()
		res := john.get("/login?next=/inbox&ta=" + b.info.ticket(t, b.info.request(true)))
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
		postgres.Kill()
		res = john.get("/inbox")
		assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		assert.NotEmpty(t, res.Header.Get("Retry-After"))
		assert.Empty(t, res.Header.Get("Location"))
		require.Nil(t, b.seen(), "nothing has reached the application")
		assert.Equal(t, http.StatusServiceUnavailable, john.get("/login").StatusCode)
		assert.Equal(t, http.StatusSeeOther, b.person().get("/inbox").StatusCode, "somebody without a session")
		postgres.Start()
		require.Eventually(t, func() bool { return john.get("/inbox").StatusCode == http.StatusOK },
			time.Minute, 100*time.Millisecond)
	}
	t.Run("nginx", func(t *testing.T) { try(t, func(b *behind) { b.nginx() }) })
	t.Run("caddy", func(t *testing.T) {
		caddy := needs(t, "caddy")
		try(t, func(b *behind) { b.caddy(caddy) })
	})
	t.Run("haproxy", func(t *testing.T) {
		haproxy := needsHAProxy(t)
		try(t, func(b *behind) { b.haproxy(haproxy) })
	})
	t.Run("apache", func(t *testing.T) {
		apache := needsApache(t)
		try(t, func(b *behind) { b.apache(apache) })
	})
}

// trap W18: confirm and sign-out work behind an nginx that passes on another Host than
// the browser's, for browsers that send an Origin and no Sec-Fetch-Site.
func TestNginxHost(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	administer(t, "brand", "set", "commbox", "--confirm=true", "--data", b.data)
	for _, host := range []string{"$host:8443", "LOCALHOST", "ticketd", "$proxy_host"} {
		end := b.nginx("proxy_set_header Host $http_host;", "proxy_set_header Host "+host+";")
		john := b.person()
		page := john.get("/login?ta=" + b.info.ticket(t, b.info.request(true)))
		require.Equal(t, http.StatusOK, page.StatusCode)
		press := func(origin string) int {
			r, err := http.NewRequest(http.MethodPost, b.url+"/login", strings.NewReader(hiddenFields(john.body).Encode()))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", origin)
			res, err := john.Do(r)
			require.NoError(t, err)
			res.Body.Close()
			return res.StatusCode
		}
		for _, evil := range []string{"https://evil.example", "https://ticketd.evil.example", b.url + "0"} {
			assert.Equal(t, http.StatusForbidden, press(evil), "%s %s", host, evil)
		}
		assert.Equal(t, http.StatusSeeOther, press(b.url), host)
		assert.Equal(t, http.StatusOK, john.get("/inbox").StatusCode, host)
		evil := john.do(http.MethodPost, "/logout", http.Header{"Origin": {"https://evil.example"}})
		assert.Equal(t, http.StatusForbidden, evil.StatusCode, host)
		own := john.do(http.MethodPost, "/logout", http.Header{"Origin": {b.url}})
		assert.Equal(t, http.StatusSeeOther, own.StatusCode, host)
		assert.Equal(t, http.StatusSeeOther, john.get("/inbox").StatusCode, host)
		end()
	}
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// hiddenFields returns the hidden fields of a page's form.
func hiddenFields(page string) url.Values {
	v := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(page, -1) {
		v.Add(m[1], html.UnescapeString(m[2]))
	}
	return v
}

// trap S8: an nginx that appends to the client's Forwarded does not make an allow-list
// believe the client.
func TestNginxForwarded(t *testing.T) {
	t.Parallel()
	b := newBehind(t, "--proxy-header", "Forwarded")
	b.nginx("X-Forwarded-For $remote_addr", `Forwarded "$http_forwarded, for=$remote_addr"`)
	jane := b.person()
	other := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	jane.Transport.(*http.Transport).DialContext = other.DialContext
	allow := func(address string) {
		administer(t, "brand", "set", "commbox", "--login-addresses", address, "--data", b.data)
	}
	enter := func(prefix string) int {
		return jane.do(http.MethodGet, "/login?ta="+b.info.ticket(t, b.info.request(true)),
			http.Header{"Forwarded": {prefix}}).StatusCode
	}
	allow("203.0.113.7")
	require.Eventually(t, func() bool { return enter("") == http.StatusForbidden }, time.Minute, 100*time.Millisecond)
	for _, prefix := range []string{
		`for=203.0.113.7;z="`, `for=203.0.113.7`, `for=203.0.113.7, z="`, `for=203.0.113.7;z="\`, `for=203.0.113.7;z=", for="`,
	} {
		assert.Equal(t, http.StatusForbidden, enter(prefix), prefix)
	}
	b.demo.logs("remote=unknown")
	allow("127.0.0.2")
	assert.Equal(t, http.StatusForbidden, enter(`for=203.0.113.7;z="`), "no list has an unknown address")
	for _, prefix := range []string{"", `for=203.0.113.7`, `for=203.0.113.7;z="a, b";by=_x`} {
		require.Eventually(t, func() bool { return enter(prefix) == http.StatusSeeOther },
			time.Minute, 100*time.Millisecond, prefix)
	}
	b.demo.logs("remote=127.0.0.2")
}

// nginx runs examples/nginx, with what is different here.
func (b *behind) nginx(different ...string) (end func()) {
	return b.nginxWith(recipe(b.t, "nginx/admitone.conf", append(different,
		"127.0.0.1:8080", b.local, "127.0.0.1:3000", b.app,
		"listen 443 ssl", "listen 127.0.0.1:"+b.port+" ssl",
		"app.example.com;", "_;", "/etc/ssl/app.example.com.pem", b.cert, "/etc/ssl/app.example.com.key", b.key,
		"/var/log/nginx", b.logs)...))
}

// nginxWith runs nginx with a site.
func (b *behind) nginxWith(site []byte) (end func()) {
	t := b.t
	nginx := "/usr/sbin/nginx" // where Debian has it, off the PATH of users
	if _, err := os.Stat(nginx); err != nil {
		nginx = needs(t, "nginx")
	}
	dir := t.TempDir()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	main := user + `daemon off;
pid ` + dir + `/pid;
error_log ` + b.logs + `/error.log info;
events {}
http {
	client_body_temp_path ` + dir + `; proxy_temp_path ` + dir + `; fastcgi_temp_path ` + dir + `; uwsgi_temp_path ` + dir + `; scgi_temp_path ` + dir + `;
	include ` + dir + `/site.conf;
}
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "site.conf"), site, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(main), 0o600))
	return b.start(exec.Command(nginx, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"),
		"-e", filepath.Join(b.logs, "error.log")))
}

// The largest session there is passes through the proxies, also when it is renewed, and
// so does a customer's beside it.
func TestLargestSession(t *testing.T) {
	t.Parallel()
	t.Run("nginx", func(t *testing.T) {
		b := newBehind(t)
		b.tryLargestSession(func() { b.nginx() })
	})
	t.Run("haproxy", func(t *testing.T) {
		haproxy := needsHAProxy(t)
		b := newBehind(t)
		b.tryLargestSession(func() { b.haproxy(haproxy) })
	})
	t.Run("apache", func(t *testing.T) {
		apache := needsApache(t)
		b := newBehind(t)
		b.tryLargestSession(func() { b.apache(apache) })
	})
}

func (b *behind) tryLargestSession(start func()) {
	t := b.t
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	keys, err := aead.New(handle)
	require.NoError(t, err)
	now := time.Now()
	sessions, err := web.NewSessions(web.SessionConfig{Keys: keys, Now: func() time.Time { return now }})
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	for _, audience := range []token.Audience{token.Agent, token.Customer} {
		group := strings.Repeat("\u00e9", 1600)
		for err = errors.New("too large"); err != nil; group = group[2:] {
			err = sessions.Start(rec, nil, web.Session{Audience: audience, Brand: "commbox", User: "john.d",
				Groups: []string{group}})
		}
	}
	now = now.Add(web.SessionIdle / 2) // it is to be renewed
	check, err := web.NewCheck(web.CheckConfig{Sessions: sessions, Audience: token.Agent, Brands: []string{"commbox"}})
	require.NoError(t, err)
	server := httptest.NewServer(check)
	t.Cleanup(server.Close)
	b.local = server.Listener.Addr().String()
	start()
	var cookie string
	for _, c := range rec.Result().Cookies() {
		cookie += c.Name + "=" + c.Value + "; "
	}
	require.Greater(t, len(cookie), 7500)
	res := b.person().do(http.MethodGet, "/inbox", http.Header{"Cookie": {cookie + "own=" + strings.Repeat("x", 1000)}})
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Len(t, res.Cookies(), 1)
	assert.Greater(t, len(b.seen().Get("Remote-Groups")), 7500)
}

// The recipes that run pass on every header of the check.
func TestRecipesNameAllHeaders(t *testing.T) {
	for _, path := range []string{
		"nginx/admitone.conf", "caddy/Caddyfile", "haproxy/admitone.lua", "apache/admitone.lua",
	} {
		text := strings.ToLower(string(recipe(t, path)))
		for _, name := range identity {
			assert.Regexp(t, `[ "]`+strings.ToLower(name)+`[ "]`, text, path)
		}
	}
}

// traps W2, W5: examples/caddy, with a real Caddy.
func TestCaddy(t *testing.T) {
	t.Parallel()
	caddy := needs(t, "caddy")
	b := newBehind(t)
	end := b.caddy(caddy)
	b.tryRequestID()
	b.try(end)
}

// caddy runs examples/caddy, with what is different here.
func (b *behind) caddy(caddy string, different ...string) (end func()) {
	t := b.t
	out := "log {\n\t\toutput file " + filepath.Join(b.logs, "caddy.log") + "\n"
	site := recipe(t, "caddy/Caddyfile", append(different, "127.0.0.1:8080", b.local, "127.0.0.1:3000", b.app,
		"\napp.example.com {\n", "\n"+b.url+" {\n\ttls "+b.cert+" "+b.key+"\n",
		"\tlog {\n", "\t"+out, "\n{\n", "\n{\n\tadmin off\n\tauto_https disable_redirects\n")...)
	dir := t.TempDir()
	config := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(config, site, 0o600))
	cmd := exec.Command(caddy, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	return b.start(cmd)
}

// traps W2, W5: examples/haproxy, with a real HAProxy.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	haproxy := needsHAProxy(t)
	b := newBehind(t)
	end := b.haproxy(haproxy)
	b.tryRequestID()
	b.try(end)
}

// needsHAProxy returns the path of HAProxy, which Debian has off the PATH of users.
func needsHAProxy(t *testing.T) string {
	t.Helper()
	const path = "/usr/sbin/haproxy"
	if _, err := os.Stat(path); err == nil {
		return path
	}
	return needs(t, "haproxy")
}

// haproxy runs examples/haproxy, with what is different here.
func (b *behind) haproxy(haproxy string) (end func()) {
	t := b.t
	dir := t.TempDir()
	var pair []byte
	for _, file := range []string{b.cert, b.key} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		pair = append(pair, text...)
	}
	pem, lua := filepath.Join(dir, "pair.pem"), filepath.Join(dir, "admitone.lua")
	config := filepath.Join(dir, "haproxy.cfg")
	for path, text := range map[string][]byte{
		pem: pair,
		lua: recipe(t, "haproxy/admitone.lua", "127.0.0.1:8080", b.local),
		config: recipe(t, "haproxy/haproxy.cfg", "127.0.0.1:8080", b.local, "127.0.0.1:3000", b.app,
			// The tests send hundreds of headers. More than 101 are a 400 by default.
			"tune.bufsize", "tune.http.maxhdr 1000\n    tune.bufsize", "bind :443", "bind 127.0.0.1:"+b.port, "/etc/ssl/app.example.com.pem", pem, "/etc/haproxy/admitone.lua", lua),
	} {
		require.NoError(t, os.WriteFile(path, text, 0o600))
	}
	log := filepath.Join(b.logs, "haproxy.log")
	return b.start(exec.Command("sh", "-c", `exec "$0" -db -f "$1" >"$2" 2>&1`, haproxy, config, log))
}

// traps W2, W5: examples/apache, with a real Apache httpd.
func TestApache(t *testing.T) {
	t.Parallel()
	apache := needsApache(t)
	b := newBehind(t)
	end := b.apache(apache)
	b.tryRequestID()
	b.try(end)
}

// Without the library of the check, nobody passes.
func TestApacheWithoutCheck(t *testing.T) {
	t.Parallel()
	apache := needsApache(t)
	b := newBehind(t)
	b.apache(apache, "socket.http", "no.such.library")
	john := b.person()
	john.get("/login?ta=" + b.info.ticket(t, b.info.request(true)))
	assert.Equal(t, http.StatusInternalServerError, john.get("/inbox").StatusCode)
	assert.Nil(t, b.seen())
}

// needsApache returns the path of Debian's Apache httpd, and wants Debian's Lua library beside it.
func needsApache(t *testing.T) string {
	t.Helper()
	const path = "/usr/sbin/apache2"
	_, library := os.Stat("/usr/share/lua/5.3/socket/http.lua")
	if _, err := os.Stat(path); err == nil && library == nil {
		return path
	}
	return needs(t, "apache2 with lua-socket")
}

// apache runs examples/apache, with what is different here. The differences are of the Lua file.
func (b *behind) apache(apache string, different ...string) (end func()) {
	t := b.t
	dir := t.TempDir()
	lua, site := filepath.Join(dir, "admitone.lua"), filepath.Join(dir, "site.conf")
	config := filepath.Join(dir, "apache2.conf")
	main := "ServerRoot " + dir + "\nPidFile " + dir + "/pid\nDefaultRuntimeDir " + dir + "\nListen 127.0.0.1:" + b.port +
		"\nErrorLog " + b.logs + "/main.log\nErrorLogFormat %M\nLimitRequestFields 1000\n" // the tests send hundreds
	if os.Geteuid() == 0 { // the processes that serve read the Lua file as nobody
		main += "User nobody\nGroup nogroup\n"
		for _, path := range []string{filepath.Dir(dir), dir} {
			require.NoError(t, os.Chmod(path, 0o755))
		}
	}
	for _, module := range []string{
		"authz_core", "headers", "lua", "mpm_event", "proxy", "proxy_http", "ssl", "unique_id",
	} {
		main += "LoadModule " + module + "_module /usr/lib/apache2/modules/mod_" + module + ".so\n"
	}
	for path, text := range map[string][]byte{
		config: []byte(main + "Include " + site + "\n"),
		lua:    recipe(t, "apache/admitone.lua", append(different, "127.0.0.1:8080", b.local)...),
		site: recipe(t, "apache/admitone.conf", "127.0.0.1:8080", b.local, "127.0.0.1:3000", b.app,
			"*:443", "127.0.0.1:"+b.port, "/etc/ssl/app.example.com.pem", b.cert, "/etc/ssl/app.example.com.key", b.key,
			"/etc/apache2/admitone.lua", lua, "/var/log/apache2", b.logs),
	} {
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
	return b.start(exec.Command(apache, "-f", config, "-D", "FOREGROUND"))
}
