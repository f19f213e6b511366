package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
)

// node is a service with a Ring of its own, which it looks at when it is told to.
type node struct {
	ring  *keyring.Ring
	url   string
	asked atomic.Int64
	fresh atomic.Int64 // from which request on it looks at its file before it answers; 0 for never
}

// startNode starts a service over a keyring in clear.
func startNode(t *testing.T, file string) *node {
	t.Helper()
	ring, err := keyring.Open(file, keyring.Config{
		Kind: keyring.Ticket, Realm: "prod", KEK: keyring.InsecureCleartext, Poll: time.Hour,
	})
	require.NoError(t, err)
	n := &node{ring: ring}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keyring" {
			http.NotFound(w, r)
			return
		}
		if i, from := n.asked.Add(1), n.fresh.Load(); from != 0 && i >= from {
			_ = ring.Reload()
		}
		_ = json.NewEncoder(w).Encode(serviceReport{time.Now(), []keyring.Report{ring.Report()}})
	}))
	n.url = s.URL
	t.Cleanup(func() { s.Close(); ring.Close() })
	return n
}

// runClear runs the command on keyrings in clear.
func runClear(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = run(append(args, "--realm", "prod", "--insecure-cleartext"), &out, &errs)
	return code, out.String(), errs.String()
}

func newRing(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "t.keyring")
	code, _, stderr := runClear(append([]string{"init", file, "--kind", "ticket"}, args...)...)
	require.Equal(t, exitOK, code, stderr)
	return file
}

// TestStatusFrom asks services what they have, and what they did with each key.
func TestStatusFrom(t *testing.T) {
	file := newRing(t)
	one, two := startNode(t, file), startNode(t, file)
	sealed, err := one.ring.Encrypt([]byte("x"), nil)
	require.NoError(t, err)
	first := one.ring.Report().Primary
	code, _, stderr := runClear("rotate", file, "--now")
	require.Equal(t, exitOK, code, stderr)
	require.NoError(t, two.ring.Reload())
	second := two.ring.Report().Primary
	for range 3 { // the retiring key is still in use
		_, err = two.ring.Decrypt(sealed, nil)
		require.NoError(t, err)
	}

	from := one.url + "," + two.url + "/keyring"
	code, stdout, stderr := runClear("status", file, "--from", from)
	assert.Equal(t, exitOK, code, stderr)
	assert.Regexp(t, `(?m)^`+one.url+`/keyring +1 +older [0-9a-f]{8} +[0-9]+s$`, stdout)
	assert.Regexp(t, `(?m)^`+two.url+`/keyring +2 +same [0-9a-f]{8} +[0-9]+s$`, stdout)
	assert.Regexp(t, `(?m)^`+first.String()+` +retiring +1 +2.3e-08% +3 +20\S+Z +all$`, stdout)
	assert.Regexp(t, `(?m)^ +0 +3 +20\S+Z +`+two.url+`/keyring$`, stdout)
	assert.Regexp(t, `(?m)^`+second.String()+` +primary +0 +- +0 +never +all$`, stdout)

	code, stdout, _ = runClear("status", file, "--from", from, "--json")
	assert.Equal(t, exitOK, code)
	var s status
	require.NoError(t, json.Unmarshal([]byte(stdout), &s))
	require.Len(t, s.Services, 2)
	assert.Equal(t, older, s.Services[0].Match)
	assert.EqualValues(t, 1, s.Services[0].Report.Generation)
	assert.Equal(t, same, s.Services[1].Match)
	assert.Equal(t, first, s.Use[0].ID)
	assert.EqualValues(t, 3, s.Use[0].Opened)
	assert.InEpsilon(t, 1.0/(1<<32), s.Use[0].Budget, 1e-9)
	assert.False(t, s.Use[0].LastUse.IsZero())

	// What cannot be asked, and what is another keyring, is exit code 1.
	stranger := startNode(t, newRing(t))
	for url, want := range map[string]string{
		"http://127.0.0.1:1":      "cannot be asked",
		one.url + "/elsewhere":    "answers 404 Not Found; give the URL of the service's report",
		stranger.url:              " other ",
		"http://u:secret@[::1]:1": "http://u:xxxxx@",
	} {
		code, stdout, stderr := runClear("status", file, "--from", url)
		assert.Equal(t, exitFailed, code, url)
		assert.Contains(t, stdout, want)
		assert.NotContains(t, stdout+stderr, "secret")
	}
	code, _, stderr = runClear("status", file, "--from", "ftp://x")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "--from takes http or https URLs")
}

// A service may be ahead of this machine's copy, or have another file of the same
// generation.
// TestLyingService asks one whose words are for the terminal, not for who reads
// them, and ones that do not answer in time.
func TestLyingService(t *testing.T) {
	file := newRing(t)
	n := startNode(t, file)
	code, _, stderr := runClear("rotate", file)
	require.Equal(t, exitOK, code, stderr)
	require.NoError(t, n.ring.Reload())
	const trick = "no\x1b[2J\nnext: rm -rf /\u202e"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report := n.ring.Report()
		switch r.URL.Path {
		case "/error":
			report.Error = trick
		case "/fingerprint":
			report.Fingerprint = trick
		case "/hangs":
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // an answer could still arrive
		}
		_ = json.NewEncoder(w).Encode(serviceReport{time.Now(), []keyring.Report{report}})
	}))
	t.Cleanup(s.Close)
	for path, want := range map[string]string{
		"/error":       "no?[2J?next: rm -rf /?",
		"/fingerprint": "a fingerprint that is not a SHA-256",
	} {
		for _, verb := range []string{"status", "doctor"} {
			code, stdout, stderr := runClear(verb, file, "--from", s.URL+path)
			if verb == "status" && path == "/error" {
				assert.Equal(t, exitOK, code, "it answers, and has our keys")
			} else {
				assert.Equal(t, exitFailed, code)
			}
			assert.Contains(t, stdout, want)
			for _, c := range []string{"\x1b", "\u202e", "\nnext: rm"} {
				assert.NotContains(t, stdout+stderr, c)
			}
		}
	}

	_, _, stderr = runClear("doctor", file, "--kind", "ticket", "--from", s.URL+"/fingerprint")
	assert.Contains(t, stderr, "next: keyring doctor "+file+" --kind ticket --from "+s.URL+"/fingerprint --realm prod")
	code, _, stderr = runClear("promote", file, "--wait-for", s.URL+"/hangs", "--timeout", "10ms",
		"--unsafe-before-propagation")
	assert.Equal(t, exitBlocked, code)
	assert.Contains(t, stderr, s.URL+"/hangs gave no answer in time")

	// A password is told to nobody.
	withPassword := strings.Replace(s.URL, "http://", "http://ops:secret@", 1)
	code, stdout, stderr := runClear("promote", file, "--wait-for", withPassword+"/fingerprint", "--timeout", "10ms",
		"--unsafe-before-propagation")
	assert.Equal(t, exitBlocked, code)
	assert.Contains(t, stderr, "next: keyring status")
	assert.NotContains(t, stdout+stderr, "secret")
}

func TestCompare(t *testing.T) {
	file := newRing(t)
	copied := filepath.Join(t.TempDir(), "copy")
	copyFile := func() {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(copied, data, 0o600))
	}
	copyFile()
	code, _, stderr := runClear("rotate", file, "--now")
	require.Equal(t, exitOK, code, stderr)
	n := startNode(t, file)
	match := func() (int, string) {
		code, stdout, _ := runClear("doctor", copied, "--from", n.url)
		return code, stdout
	}
	code, out := match()
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, "has generation 2, and FILE is older: 1; copy the newest file to this machine")

	// Two machines changed copies of one file.
	code, _, stderr = runClear("audit", "begin", copied, "--reason", "copied")
	require.Equal(t, exitOK, code, stderr)
	code, out = match()
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, "has another keyring (forked, generation 2)")

	copyFile()
	require.NoError(t, os.Remove(copied+".audit"))
	code, out = match()
	assert.Equal(t, exitOK, code, out)
	assert.Contains(t, out, "has generation 2 too, read ")

	// trap K13: one that cannot read the file any more says so.
	require.NoError(t, os.Rename(file, file+".away"))
	assert.Error(t, n.ring.Reload())
	code, out = match()
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, "has failed to read its file")
	require.NoError(t, os.Rename(file+".away", file))
	require.NoError(t, n.ring.Reload())
	code, out = match()
	assert.Equal(t, exitOK, code, out)
}

// promoteInVain promotes with a time-out that runs out, and sees that it was long
// enough to ask the services once, however busy the machine is.
func promoteInVain(args ...string) (code int, stdout, stderr string) {
	for timeout := time.Second; ; timeout *= 2 {
		code, stdout, stderr = runClear(append(append([]string{"promote"}, args...), "--timeout", timeout.String())...)
		if strings.Contains(stderr, "waiting: ") || timeout > 2*time.Minute {
			return code, stdout, stderr
		}
	}
}

// TestPromoteWaits promotes when all services that are listed have the key, and
// changes nothing if they do not get it.
func TestPromoteWaits(t *testing.T) {
	file := newRing(t, "--propagation", "0", "--skew", "0")
	quick, slow := startNode(t, file), startNode(t, file)
	code, _, stderr := runClear("rotate", file)
	require.Equal(t, exitOK, code, stderr)
	require.NoError(t, quick.ring.Reload())
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, others := range []string{slow.url, "http://127.0.0.1:1"} {
		code, stdout, stderr := promoteInVain(file, "--wait-for", quick.url+","+others)
		assert.Equal(t, exitBlocked, code, stderr)
		assert.Empty(t, stdout)
		assert.Contains(t, stderr, "waiting: "+others)
		assert.Contains(t, stderr, "and nothing was changed: "+others)
		assert.NotContains(t, stderr, quick.url+"/keyring has")
		assert.Contains(t, stderr, "next: keyring status "+file+" --from ")
		after, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, before, after)
	}
	code, stdout, _ := promoteInVain(file, "--wait-for", slow.url, "--json")
	assert.Equal(t, exitBlocked, code)
	assert.Contains(t, stdout, `"exit": 5`)

	// It gets the file at the third look from now.
	slow.fresh.Store(slow.asked.Load() + 3)
	code, stdout, stderr = runClear("promote", file, "--wait-for", quick.url, "--wait-for", slow.url, "--timeout", "5m")
	require.Equal(t, exitOK, code, stderr)
	assert.Contains(t, stderr, "waiting: "+slow.url+"/keyring has generation 1, not 2")
	assert.Contains(t, stdout, "is the primary")
	assert.GreaterOrEqual(t, slow.asked.Load(), slow.fresh.Load())

	// With nothing to promote, or a key that is not pending, nobody is waited for.
	code, _, stderr = runClear("promote", file, "--wait-for", slow.url)
	assert.Equal(t, exitBlocked, code)
	assert.Contains(t, stderr, "no key is pending")
	first := quick.ring.Report().Primary.String()
	code, _, _ = runClear("promote", file, first, "--wait-for", "http://127.0.0.1:1")
	assert.Equal(t, exitBlocked, code)
	for _, args := range [][]string{{"--timeout", "1s"}, {"--wait-for", "x"}, {"--wait-for", slow.url, "--timeout", "0"}} {
		code, _, _ = runClear(append([]string{"promote", file}, args...)...)
		assert.Equal(t, exitUsage, code, args)
	}
}

// Before the propagation delay is over, all services that are listed are not all
// that there are.
func TestPromoteWaitsForPropagation(t *testing.T) {
	file := newRing(t, "--propagation", "1h")
	code, _, stderr := runClear("rotate", file)
	require.Equal(t, exitOK, code, stderr)
	n := startNode(t, file)
	code, _, stderr = promoteInVain(file, "--wait-for", n.url)
	assert.Equal(t, exitBlocked, code)
	assert.Contains(t, stderr, "the propagation delay ends at 20")
	code, _, stderr = runClear("promote", file, "--wait-for", n.url, "--unsafe-before-propagation")
	assert.Equal(t, exitOK, code, stderr)
}

// Colours are for terminals, where nobody said that there should be none.
func TestColour(t *testing.T) {
	file := newRing(t)
	for _, colour := range []bool{false, true} {
		var out strings.Builder
		a := &app{stdout: &out, stderr: io.Discard, colour: colour}
		root := a.root()
		root.SetArgs([]string{"status", file, "--realm", "prod", "--insecure-cleartext"})
		require.NoError(t, root.Execute())
		assert.Equal(t, colour, strings.Contains(out.String(), "\x1b[32mprimary\x1b[0m"))
		assert.Equal(t, colour, strings.Contains(out.String(), "\x1b"))
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	assert.False(t, takesColour(null))
	assert.False(t, takesColour(io.Discard))
}
