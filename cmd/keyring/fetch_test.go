package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap F13: what a fetch of a bundle must not do, with real servers.
func TestFetch(t *testing.T) {
	t.Parallel()
	var secret atomic.Int64 // visits to a place that nobody may be led to
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { secret.Add(1) }))
	defer inner.Close()
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a bundle")) })
	mux.HandleFunc("/largest", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("x", maxBundle)))
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil { // as much as the client takes
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			_, err := w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
			if err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an answer could still arrive
	})
	mux.Handle("/redirect", http.RedirectHandler(inner.URL, http.StatusFound))
	mux.Handle("/here", http.RedirectHandler("/good", http.StatusMovedPermanently))
	mux.HandleFunc("/ask", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	})

	mux.HandleFunc("/terminal", func(w http.ResponseWriter, _ *http.Request) {
		c, b, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = b.WriteString("HTTP/1.1 404 \x1b[2J all is well\r\nContent-Length: 0\r\n\r\n")
			_ = b.Flush()
			_ = c.Close()
		}
	})

	f := newFetcher()
	f.client.Transport = server.Client().Transport
	get := func(path string) ([]byte, error) { return f.get(t.Context(), server.URL+path) }
	data, err := get("/good")
	require.NoError(t, err)
	assert.Equal(t, "a bundle", string(data))
	data, err = get("/largest")
	require.NoError(t, err)
	assert.Len(t, data, maxBundle)
	for path, says := range map[string]string{
		"/large": "more than 65536 bytes", "/redirect": "302 Found", "/here": "301 Moved", "/absent": "404", "/ask": "401",
	} {
		_, err := get(path)
		assert.ErrorContains(t, err, says, path)
	}
	_, err = get("/terminal") // the server's words are not shown
	assert.ErrorContains(t, err, "status 404 Not Found, and")
	assert.Zero(t, secret.Load())
	for _, url := range []string{inner.URL, "http" + strings.TrimPrefix(server.URL, "https") + "/good",
		strings.Replace(server.URL, "https://", "https://user:word@", 1) + "/good", "file:///etc/passwd", ""} {
		_, err := f.get(t.Context(), url)
		assert.ErrorContains(t, err, "https://HOST/PATH", url)
	}
	assert.Zero(t, secret.Load())
	f.limit = 100 * time.Millisecond
	for _, path := range []string{"/slow", "/silent"} {
		_, err := get(path)
		assert.ErrorContains(t, err, "did not answer within 100ms", path)
	}

	// Certificates are checked: of an authority that is not known, and of another host.
	strict := newFetcher()
	_, err = strict.get(t.Context(), server.URL+"/good")
	assert.ErrorContains(t, err, "certificate")
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	strict.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "other.test"}}
	_, err = strict.get(t.Context(), server.URL+"/good")
	assert.ErrorContains(t, err, "other.test")
	assert.Equal(t, 10*time.Second, newFetcher().limit)
}

// trap F13 through a proxy, which carries the connection and has no say in what is fetched.
func TestFetchThroughProxy(t *testing.T) {
	t.Parallel()
	var secret, connects, others atomic.Int64
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { secret.Add(1) }))
	defer inner.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a bundle")) })
	mux.Handle("/redirect", http.RedirectHandler(inner.URL, http.StatusFound))
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	fake := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer fake.Close()
	answer := func(w http.ResponseWriter, r *http.Request) {} // of the proxy, in place of the connection
	to := server.Listener.Addr().String()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			others.Add(1)
			return
		}
		connects.Add(1)
		if answer(w, r); w.Header().Get("X-Done") != "" {
			return
		}
		out, err := net.Dial("tcp", to)
		if !assert.NoError(t, err) {
			return
		}
		in, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(out, in)
			_ = out.Close()
		}()
		_, _ = io.Copy(in, out)
		_ = in.Close()
	}))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	f := newFetcher()
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.Proxy, transport.DisableKeepAlives = http.ProxyURL(address), true
	f.client.Transport = transport
	get := func(path string) ([]byte, error) { return f.get(t.Context(), server.URL+path) }

	data, err := get("/good")
	require.NoError(t, err)
	assert.Equal(t, "a bundle", string(data))
	_, err = get("/redirect")
	assert.ErrorContains(t, err, "302 Found")
	assert.EqualValues(t, 2, connects.Load())
	for _, plain := range []string{"http" + strings.TrimPrefix(server.URL, "https") + "/good", inner.URL} {
		_, err := f.get(t.Context(), plain)
		assert.ErrorContains(t, err, "https://HOST/PATH")
	}
	assert.EqualValues(t, 2, connects.Load())

	// A proxy that sends the client elsewhere, asks for a password, or leads to another server.
	for _, status := range []int{http.StatusFound, http.StatusProxyAuthRequired, http.StatusForbidden} {
		answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Done", "1")
			w.Header().Set("Location", inner.URL)
			w.WriteHeader(status)
		}
		_, err = get("/good")
		assert.ErrorContains(t, err, "cannot be fetched", status)
	}
	answer = func(http.ResponseWriter, *http.Request) {}
	to = fake.Listener.Addr().String()
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	transport.TLSClientConfig.ServerName = "bundles.test"
	_, err = get("/good")
	assert.ErrorContains(t, err, "certificate")
	assert.Zero(t, secret.Load())
	assert.Zero(t, others.Load())
}

// trust refresh takes what the issuer's server has, and nothing that the pinned identity did not
// sign.
func TestRefresh(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var bundle atomic.Value
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/acme.pub" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(bundle.Load().([]byte))
	}))
	defer server.Close()
	keyring := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr strings.Builder
		out := &output{w: &stdout}
		f := newFetcher()
		f.client.Transport = server.Client().Transport
		a := &app{stdout: out, stderr: &stderr, fetch: f}
		root := a.root()
		root.SetArgs(append(args, "--realm", "prod"))
		code := 0
		if err := root.ExecuteContext(t.Context()); err != nil {
			stderr.WriteString(err.Error())
			code = exitCode(err)
		} else {
			code = a.code
		}
		require.Equal(t, want, code, "%v: %s", args, stderr.String())
		return stdout.String() + stderr.String()
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	kek, our, list := "file:"+path("kek"), "signed:"+path("our.id"), path("trust.list")
	keyring(0, "identity", path("our.id"), "--new")
	keyring(0, "identity", path("thief.id"), "--new")
	fingerprint := strings.TrimSpace(keyring(0, "identity", path("acme.id"), "--new"))
	keyring(0, "init", path("acme.keyring"), "--kind", "issuer", "--kek", kek)
	publish := func(id string) {
		t.Helper()
		out := path(id + ".pub")
		keyring(0, "publish", path("acme.keyring"), "-o", out, "--identity", path(id), "--name", "acme", "--refresh", "1s",
			"--kek", kek)
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		bundle.Store(data)
	}
	publish("acme.id")
	keyring(0, "trust", "add", list, path("acme.id.pub"), "--fingerprint", fingerprint, "--brands", "acme",
		"--audiences", "agent", "--url", server.URL+"/acme.pub", "--kek", our)
	keyring(0, "rotate", path("acme.keyring"), "--kek", kek)
	publish("acme.id")
	text := keyring(0, "trust", "refresh", list, "--now", "--kek", our)
	assert.Contains(t, text, "is changed")
	assert.Contains(t, text, "pending")
	text = keyring(0, "trust", "refresh", list, "acme", "--kek", our)
	assert.NotContains(t, text, "is changed")
	publish("thief.id") // on the issuer's own server
	text = keyring(exitDue, "trust", "refresh", list, "--now", "--kek", our)
	assert.Contains(t, text, "warning: acme: the bundle does not open: it is signed by another identity")
	assert.NotContains(t, text, "is changed")
	server.Close()
	text = keyring(exitDue, "trust", "refresh", list, "--now", "--kek", our, "--json")
	assert.Contains(t, text, "cannot be fetched")
}
