package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/internal/servers"
)

// The program is built and run as it stands, beside a service that is built and run
// as well.
func TestBackend(t *testing.T) {
	url, key := demo(t)
	backend := build(t, ".", "backend")
	link, _ := open(t, backend, url, key)
	ticket, ok := strings.CutPrefix(link, "https://login.example.com/login?ta=")
	require.True(t, ok, link)

	logins, err := client.New(client.Config{URL: url, APIKey: key})
	require.NoError(t, err)
	ask := client.RedeemRequest{Ticket: ticket, Audience: client.Agent}
	found, err := logins.Inspect(t.Context(), ask)
	require.NoError(t, err)
	assert.Equal(t, client.Acceptable, found.Result)
	admitted, err := logins.Redeem(t.Context(), ask)
	require.NoError(t, err)
	assert.Equal(t, "john.d", admitted.Agent.Username)
	assert.True(t, admitted.Ticket.OneTimeUse)
	_, err = logins.Redeem(t.Context(), ask)
	var failed *client.Error
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, client.AlreadyUsed, failed.Reason)
	assert.Equal(t, admitted.Ticket.ID, failed.TicketID)

	link, log := open(t, backend, url, key[:len(key)-1]+"x")
	assert.Empty(t, link)
	assert.Contains(t, log, "issue: status 401: Unauthorized: the API key is not accepted")
	assert.NotContains(t, log, key[15:len(key)-1])
}

// build builds a command of this module.
func build(t *testing.T, dir, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", program, dir).CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// demo starts ticketd demo, and returns its URL and API key.
func demo(t *testing.T) (url, key string) {
	t.Helper()
	ticketd := build(t, "../../cmd/ticketd", "ticketd")
	cmd := exec.Command(ticketd, "demo", "--json", "--data", filepath.Join(t.TempDir(), "demo"))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.Process.Signal(os.Interrupt) != nil {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var info struct{ URL, APIKey string }
	require.NoError(t, json.Unmarshal([]byte(line), &info))
	return info.URL, info.APIKey
}

// open runs the backend for one request. It returns the target of the redirect and the
// backend's log.
func open(t *testing.T, program, url, key string) (location, log string) {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(),
		"LISTEN="+address, "TICKETD="+url, "API_KEY="+key, "LOGIN_URL=https://login.example.com/login")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // so that all of the log is in errs
		log = errs.String()
	}()
	require.Eventually(t, func() bool {
		res, err := http.DefaultTransport.RoundTrip(must(http.NewRequest(http.MethodGet, "http://"+address, nil)))
		if err != nil {
			return false
		}
		location = res.Header.Get("Location")
		return res.Body.Close() == nil
	}, time.Minute, 50*time.Millisecond)
	return location, ""
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}
