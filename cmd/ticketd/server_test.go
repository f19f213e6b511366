package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/service"
)

// served makes a data folder with the demo's contents and serves from it.
func served(t *testing.T, args ...string) (*process, demoInfo, string) {
	t.Helper()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	p = start(t, append([]string{"serve", "--data", dir, "--listen", strings.TrimPrefix(info.URL, "http://"),
		"--rate-limit", "1e6", "--rate-burst", "1000000"}, args...)...)
	return p, info, dir
}

// SIGTERM under load: who had a connection is answered, and whatever the service
// did, somebody was told.
func TestTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	p, info, _ := served(t)
	healthy(t, p, info.URL)
	var issued, cut, refused atomic.Int64
	var wg sync.WaitGroup
	ask := func(c *http.Client, last *time.Time) bool {
		reused, before := false, *last
		*last = time.Now()
		r, err := http.NewRequest(http.MethodPost, info.URL+"/auth/ticket", strings.NewReader(info.request(true)))
		if !assert.NoError(t, err) {
			return false
		}
		r = r.WithContext(httptrace.WithClientTrace(t.Context(),
			&httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}))
		r.GetBody = nil // so that nothing is sent twice in silence
		r.Header.Set("Authorization", "Bearer "+info.APIKey)
		res, err := c.Do(r)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		if err == nil {
			if res.StatusCode == http.StatusServiceUnavailable && p.busy() {
				return true
			}
			assert.Equal(t, http.StatusOK, res.StatusCode)
			issued.Add(1)
			return true
		}
		// The client may have kept the connection idle for longer than the service does.
		assert.False(t, reused && time.Since(before) < service.IdleGrace,
			"a connection that had been answered on was cut: %v", err)
		if errors.Is(err, syscall.ECONNREFUSED) {
			refused.Add(1)
		} else {
			cut.Add(1) // it was never accepted
		}
		return false
	}
	for i := range 16 {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableKeepAlives: i%4 == 0}}
			defer c.CloseIdleConnections()
			var last time.Time // when its last request began
			for ask(c, &last) {
			}
		})
	}
	require.Eventually(t, func() bool { return issued.Load() > 200 }, 3*time.Minute, time.Millisecond)
	before := issued.Load()
	require.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())
	wg.Wait()
	log := p.stderr.String()
	assert.EqualValues(t, issued.Load(), strings.Count(log, `msg="ticket issued"`), "all that was issued was received")
	assert.Contains(t, log, "msg=stopped")
	t.Logf("%d answered, %d of them after SIGTERM; %d found nobody, %d not accepted", issued.Load(), issued.Load()-before,
		refused.Load(), cut.Load())
}

// A request that was begun is answered if its end comes within BodyGrace, and no new
// connection is taken meanwhile.
func TestTerminatedInARequest(t *testing.T) {
	t.Parallel()
	// Where this test is held up for as long as BodyGrace, it tells nothing.
	for inTime := false; !inTime; {
		p, info, _ := served(t)
		healthy(t, p, info.URL)
		body := info.request(true)
		c := half(t, info, body)
		begin := time.Now()
		terminate(t, p, info)
		_, err := io.WriteString(c, body[10:])
		if inTime = time.Since(begin) < service.BodyGrace/2; !inTime {
			continue
		}
		require.NoError(t, err)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		answer, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Contains(t, string(answer), "tkt1_")
		assert.Equal(t, 0, p.wait())
	}
}

// half sends the head of a request for a ticket, and ten bytes of the body.
func half(t *testing.T, info demoInfo, body string) net.Conn {
	t.Helper()
	return begun(t, info, "POST /auth/ticket HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+
		info.APIKey+"\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body[:10])
}

// begun sends a text on a connection of its own, and returns when the service has it.
func begun(t *testing.T, info demoInfo, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(info.URL, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	info.ticket(t, info.request(true)) // another request, so that the first has arrived by now
	return c
}

// terminate sends SIGTERM, and waits until the service does not listen.
func terminate(t *testing.T, p *process, info demoInfo) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		res, err := http.Get(info.URL + "/healthz")
		if err == nil {
			res.Body.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}, time.Minute, time.Millisecond)
}

// A request whose body never comes does not hold up the end, and a redemption under way is
// answered before it.
func TestTerminatedWithoutABody(t *testing.T) {
	t.Parallel()
	p, info, dir := served(t)
	healthy(t, p, info.URL)
	late := half(t, info, info.request(true))
	// A new customer's record waits for the lock of the directory.
	ticket := info.ticket(t, `{"brand":"commbox","uniqueId":"new","oneTimeUse":true}`)
	other, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "admitone.db")+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer other.Close()
	lock, err := other.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	path := strings.TrimPrefix(info.ChatURL, info.URL)
	entering := begun(t, info, "GET "+path+"?ta="+ticket+" HTTP/1.1\r\nHost: x\r\n\r\n")
	terminate(t, p, info)
	require.NoError(t, lock.Rollback())
	res, err := http.ReadResponse(bufio.NewReader(entering), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusSeeOther, res.StatusCode)
	answer, err := io.ReadAll(late)
	require.NoError(t, err)
	assert.Contains(t, string(answer), "400 Bad Request")
	assert.Equal(t, 0, p.wait(), p.stderr.String())
	assert.Contains(t, p.stderr.String(), "msg=stopped")
}

// During the drain delay /readyz says no, and requests are answered; SIGHUP ends
// nothing.
func TestDrain(t *testing.T) {
	t.Parallel()
	p, info, _ := served(t, "--drain-delay", "10m")
	healthy(t, p, info.URL)
	status, body := fetch(t, info.URL+"/readyz")
	assert.Equal(t, http.StatusOK, status, body)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		status, body = fetch(t, info.URL+"/readyz")
		return status == http.StatusServiceUnavailable && body == "not ready: stopping\n"
	}, time.Minute, time.Millisecond)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	res, err := http.Get(info.URL + "/healthz")
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)
	info.ticket(t, info.request(true))
	assert.Equal(t, 128+int(syscall.SIGTERM), p.end(syscall.SIGTERM), "the second one ends it at once")
}

// Certificates are taken when their files change, and not when they are no good.
func TestTLS(t *testing.T) {
	t.Parallel()
	first, firstKey := writePair(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	install := func(from, to string) {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, data, 0o600))
	}
	install(first, cert)
	install(firstKey, key)
	p, info, _ := served(t, "--tls-cert", cert, "--tls-key", key)
	address := strings.TrimPrefix(info.URL, "http://")
	roots := x509.NewCertPool()
	data, err := os.ReadFile(first)
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(data))
	serial := func() string {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return ""
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	require.Eventually(t, func() bool { return serial() != "" }, time.Minute, 5*time.Millisecond, p.stderr.String())
	p.logs("url=https://")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true}}
	res, err := client.Get("https://" + address + "/healthz")
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, 2, res.ProtoMajor)
	old := serial()

	require.NoError(t, os.WriteFile(cert, []byte("not a certificate"), 0o600))
	p.logs("the certificate was not taken; the one before stays in use")
	assert.Equal(t, old, serial())

	second, secondKey := newPair(t)
	require.NoError(t, os.WriteFile(cert, second, 0o600))
	require.NoError(t, os.WriteFile(key, secondKey, 0o600))
	require.Eventually(t, func() bool { return serial() != old }, time.Minute, 20*time.Millisecond, p.stderr.String())
	res, err = client.Get("https://" + address + "/healthz")
	require.NoError(t, err, "who is connected stays so")
	res.Body.Close()
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}

// A request that never ends does not hold up who asks twice.
func TestInterruptedTwice(t *testing.T) {
	t.Parallel()
	// Where this test is held up for as long as BodyGrace, it tells nothing.
	for inTime := false; !inTime; {
		p, info := startDemo(t)
		c, err := net.Dial("tcp", strings.TrimPrefix(info.URL, "http://"))
		require.NoError(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c,
			"POST /auth/ticket HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", info.APIKey)
		require.NoError(t, err)
		require.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))),
			"the stalled request is with the service by now")
		first := time.Now()
		require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
		p.logs("msg=stopping")
		inTime = time.Since(first) < service.BodyGrace/2
		code := p.end(os.Interrupt)
		if inTime {
			assert.Equal(t, 128+int(syscall.SIGINT), code)
			assert.NotContains(t, p.stderr.String(), "still open after", "it did not wait for the grace to end")
		}
	}
}
