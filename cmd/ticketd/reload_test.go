package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Settings of the file are in effect when it has changed, and no request is lost
// over that.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	file := filepath.Join(t.TempDir(), "ticketd.yaml")
	write := func(text string) {
		next := file + ".new"
		require.NoError(t, os.WriteFile(next, []byte(text), 0o600))
		require.NoError(t, os.Rename(next, file))
	}
	base := "data: " + dir + "\nlisten: " + strings.TrimPrefix(info.URL, "http://") + "\n" +
		"rate-limit: 1e6\nrate-burst: 1000000\n"
	write(base)
	p = start(t, "serve", "--config", file, "--log-format", "json")
	healthy(t, p, info.URL)

	var stop atomic.Bool
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				r, err := http.NewRequest(http.MethodPost, info.URL+"/auth/ticket", strings.NewReader(info.request(true)))
				if !assert.NoError(t, err) {
					return
				}
				r.Header.Set("Authorization", "Bearer "+info.APIKey)
				r.Header.Set("X-Forwarded-For", "192.0.2.7")
				res, err := http.DefaultClient.Do(r)
				if !assert.NoError(t, err) {
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode == http.StatusServiceUnavailable && p.busy() {
					continue
				}
				if !assert.Equal(t, http.StatusOK, res.StatusCode) {
					return
				}
				answered.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 20 }, time.Minute, time.Millisecond)
	assert.NotContains(t, p.stderr.String(), "192.0.2.7")

	write(base + "trusted-proxies:\n  - 127.0.0.1\n  - ::1\n")
	p.logs(`"changed":"trusted-proxies"`)
	p.logs(`"remote":"192.0.2.7"`)

	write(base + "log-level: loud\n")
	p.logs(`ticketd.yaml:5: --log-level \"loud\" is none of`)
	write(base + "trusted-proxies: [127.0.0.1]\nskew: 3m\nlog-lvel: debug\n")
	p.logs(`ticketd.yaml:7: unknown key \"log-lvel\"`)
	write(base + "trusted-proxies: [127.0.0.1]\nskew: 3m\nlog-level: warn\n")
	p.logs(`take effect at the next start","settings":"skew"`)
	stop.Store(true)
	wg.Wait()
	r, err := http.NewRequest(http.MethodPost, info.URL+"/auth/ticket", strings.NewReader(info.request(true)))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+info.APIKey)
	r.Header.Set("X-Forwarded-For", "192.0.2.8")
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)

	// SIGHUP reads them, changed or not.
	write(base + "log-level: info\n")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.logs(`"changed":"log-level trusted-proxies"`)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.logs(`"changed":""`)
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
	assert.NotContains(t, p.stderr.String(), "192.0.2.8", "what was of info was not logged then")
	for line := range strings.Lines(p.stderr.String()) {
		assert.True(t, json.Valid([]byte(line)), line)
	}
}

// Texts and logos are in use when their files have changed. A mistake changes nothing and is told.
func TestReloadPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	folder := t.TempDir()
	texts := filepath.Join(folder, "texts", "en.yaml")
	require.NoError(t, os.Mkdir(filepath.Dir(texts), 0o700))
	write := func(path, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	page := func() string {
		res, err := http.Get(info.LoginURL + "?brand=" + info.Brand)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return string(body)
	}
	shows := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(page(), text) }, time.Minute, 10*time.Millisecond, text)
	}
	write(texts, "nobodyTitle: Who are you?\n")
	p = start(t, "serve", "--data", dir, "--pages", folder, "--listen", strings.TrimPrefix(info.URL, "http://"))
	healthy(t, p, info.URL)
	shows("Who are you?")
	write(texts, "nobodyTitle: Please come in\n")
	shows("Please come in")
	p.logs(`msg="texts and logos read"`)

	write(texts, "nobodyTitel: Mistake\n")
	p.logs("texts and logos were not taken; those before stay in use")
	p.logs("nobodyTitel")
	shows("Please come in")
	logos := filepath.Join(folder, "logos")
	require.NoError(t, os.Mkdir(logos, 0o700))
	write(texts, "nobodyTitle: Please come in again\n")
	write(filepath.Join(logos, info.Brand+".svg"), `<svg xmlns="http://www.w3.org/2000/svg"/>`)
	shows("Please come in again")
	shows(`class="logo"`)
}
