package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startDemo starts a demo with --json and returns what it prints. Tests ask as fast
// as they can.
func startDemo(t *testing.T, args ...string) (*process, demoInfo) {
	t.Helper()
	return startDemoWith(t, nil, args...)
}

func startDemoWith(t *testing.T, env []string, args ...string) (*process, demoInfo) {
	t.Helper()
	p := startWith(t, env, append([]string{"demo", "--json", "--rate-limit", "1e6", "--rate-burst", "1000000"},
		args...)...)
	line, err := p.stdout.ReadBytes('\n')
	require.NoError(t, err, p.stderr.String())
	var info demoInfo
	require.NoError(t, json.Unmarshal(line, &info))
	return p, info
}

// request asks for a ticket that outlives all pauses of a machine that is busy.
func (demoInfo) request(oneTime bool) string {
	return fmt.Sprintf(`{"data":{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","uniqueId":"123456","firstName":"John","lastName":"Doe","phone1":"442501234567","expiresIn":900,"oneTimeUse":%v}}`, oneTime)
}

// ordinary makes a request one for a ticket that lives as long as the service has it.
func ordinary(request string) string { return strings.Replace(request, `"expiresIn":900,`, "", 1) }

// ticket asks for a ticket, which must be granted.
func (i demoInfo) ticket(t testing.TB, body string) string {
	t.Helper()
	ticket, err := i.tryTicket(body)
	require.NoError(t, err)
	return ticket
}

func (i demoInfo) tryTicket(body string) (string, error) {
	r, err := http.NewRequest(http.MethodPost, i.URL+"/auth/ticket", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+i.APIKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var e struct {
		Status string
		Data   struct{ EncpryptedString string }
	}
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK || e.Status != "200" || e.Data.EncpryptedString == "" {
		return "", fmt.Errorf("status %d", res.StatusCode)
	}
	return e.Data.EncpryptedString, nil
}

// enter opens a URL with a ticket and returns the status.
func enter(pageURL, ticket string) (int, *http.Response, error) {
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(pageURL + "?ta=" + ticket)
	if err != nil {
		return 0, nil, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode, res, err
}

func mustEnter(t testing.TB, pageURL, ticket string) int {
	t.Helper()
	status, _, err := enter(pageURL, ticket)
	require.NoError(t, err)
	return status
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}
