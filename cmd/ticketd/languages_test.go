package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// A language has a pair of examples: a service that issues tickets, and a service that redeems them.
type language struct {
	name, program string
	issuer, login string
	// args are those for a script that listens on a port. PORT in the environment says the port too.
	args func(t *testing.T, script string, port int) []string
}

var languages = []language{
	{"node", "node", "issuer.mjs", "login.mjs", func(_ *testing.T, script string, _ int) []string { return []string{script} }},
	{"python", "python3", "issuer.py", "login.py", func(_ *testing.T, script string, _ int) []string { return []string{script} }},
	{"php", "php", "issuer.php", "login.php", func(t *testing.T, script string, port int) []string {
		if port == 0 {
			return []string{script}
		}
		return []string{"-d", "session.save_path=" + t.TempDir(), "-S", "127.0.0.1:" + strconv.Itoa(port), script}
	}},
	{"java", "java", "Issuer.java", "Login.java", func(_ *testing.T, script string, _ int) []string { return []string{script} }},
}

// The examples in other languages, with real programs: one service issues, another redeems.
// traps W1, W2.
func TestLanguages(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			l.test(t)
		})
	}
}

func (l language) test(t *testing.T) {
	program, folder := needs(t, l.program), filepath.Join("..", "..", "examples", l.name)
	data := filepath.Join(t.TempDir(), "data")
	demo, info := startDemo(t, "--data", data)
	var log lockedBuffer
	run := func(script string, env ...string) (base string) {
		t.Helper()
		port := servers.Port(t)
		cmd := exec.Command(program, l.args(t, filepath.Join(folder, script), port)...)
		cmd.Env = slices.Concat(os.Environ(), []string{"PORT=" + strconv.Itoa(port), "TICKETD=" + info.URL,
			"API_KEY=" + info.APIKey}, env)
		cmd.Stdout, cmd.Stderr = &log, &log
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		base = fmt.Sprintf("http://127.0.0.1:%d", port)
		require.Eventually(t, func() bool {
			res, err := http.Head(base + "/")
			return err == nil && res.Body.Close() == nil
		}, 2*time.Minute, 50*time.Millisecond, log.String())
		return base
	}
	login := run(l.login)
	issuer := run(l.issuer, "LOGIN_URL="+login+"/login")
	do := func(method, url string, header ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, url, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res
	}
	var res *http.Response
	require.Eventually(t, func() bool { // it does not wait long for ticketd
		res = do(http.MethodGet, issuer+"/")
		return res.StatusCode == http.StatusSeeOther
	}, time.Minute, 100*time.Millisecond)
	link := res.Header.Get("Location")
	require.True(t, strings.HasPrefix(link, login+"/login?ta=tkt1_"), link)
	assert.Equal(t, http.StatusServiceUnavailable, do(http.MethodHead, link).StatusCode)
	assert.Equal(t, http.StatusServiceUnavailable,
		do(http.MethodGet, link, "Sec-Purpose", "prefetch;prerender").StatusCode)
	res = do(http.MethodGet, link)
	require.Equal(t, http.StatusSeeOther, res.StatusCode, log.String())
	assert.Equal(t, "/login", res.Header.Get("Location"))
	cookie := strings.SplitN(res.Header.Get("Set-Cookie"), ";", 2)[0]
	assert.Equal(t, http.StatusOK, do(http.MethodGet, login+"/login", "Cookie", cookie).StatusCode)
	assert.Equal(t, http.StatusForbidden, do(http.MethodGet, login+"/login").StatusCode)
	assert.Equal(t, http.StatusForbidden, do(http.MethodGet, link).StatusCode, "used")
	_, spent, _ := strings.Cut(link, "ta=")
	body := `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","oneTimeUse":true,"expiresIn":900}`
	for query, status := range map[string]int{
		"TA=%s": http.StatusSeeOther, "x=1&ta=%%74%s": http.StatusSeeOther, "ta=%%2574%s&x=1": http.StatusSeeOther,
		"ta=t%s&TA=" + spent: http.StatusForbidden, "ta=t%s%%0A": http.StatusForbidden, "ta=t%s+": http.StatusForbidden,
	} {
		ticket := info.ticket(t, body)
		if !strings.HasPrefix(query, "TA") {
			ticket = ticket[1:]
		}
		url := login + "/login?" + fmt.Sprintf(query, ticket)
		assert.Equal(t, status, do(http.MethodGet, url).StatusCode, "%s %s", query, log.String())
	}
	assert.Equal(t, http.StatusForbidden, do(http.MethodGet, login+"/login?ta=tkt1_x").StatusCode)
	assert.Equal(t, http.StatusForbidden, do(http.MethodGet, login+"/login?ta=").StatusCode)

	// trap W10: the other brand's agent of the same name, also if the key is for all brands.
	foreign := login + "/login?ta=" + otherBrand(t, data, info)
	assert.Equal(t, http.StatusForbidden, do(http.MethodGet, foreign).StatusCode)
	all := administer(t, "apikey", "add", "--all-brands", "--scopes", "redeem", "--data", data)
	foreign = strings.Replace(foreign, login, run(l.login, "API_KEY="+all), 1)
	assert.Equal(t, http.StatusInternalServerError, do(http.MethodGet, foreign).StatusCode)
	require.Eventually(t, func() bool { return log.contains("API_KEY is for other brands as well") },
		time.Minute, 10*time.Millisecond)

	stranger := run(l.login, "API_KEY=adm_none")
	assert.Equal(t, http.StatusInternalServerError, do(http.MethodGet, stranger+"/login?ta=tkt1_x").StatusCode)
	require.Eventually(t, func() bool { return log.contains("ticketd answers 401: ") }, time.Minute, 10*time.Millisecond)
	require.Equal(t, 0, demo.end(syscall.SIGTERM))
	assert.Equal(t, http.StatusServiceUnavailable, do(http.MethodGet, link).StatusCode,
		"who cannot be asked about is not let in")
	assert.Equal(t, http.StatusBadGateway, do(http.MethodGet, issuer+"/").StatusCode)
	require.Eventually(t, func() bool { return log.contains("already_used") && log.contains("not one of ours") },
		time.Minute, 10*time.Millisecond)
	_, ticket, _ := strings.Cut(link, "ta=")
	assert.NotContains(t, log.String()+demo.stderr.String(), ticket[10:])
	require.Eventually(t, func() bool {
		said := strings.ToLower(log.String())
		return strings.Contains(said, "refused") && strings.Contains(said, "conn")
	}, time.Minute, 10*time.Millisecond, "what is wrong is said")

	// Without its settings neither starts, and says which there are.
	for _, script := range []string{l.issuer, l.login} {
		cmd := exec.CommandContext(t.Context(), program, l.args(t, filepath.Join(folder, script), 0)...)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "API_KEY=") })
		out, err := cmd.CombinedOutput()
		assert.Error(t, err, script)
		assert.Regexp(t, "set (PORT, )?TICKETD", string(out), script)
	}
}
