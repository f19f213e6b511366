package clienttest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
)

// newService returns a stand-in with an agent, and a client of it.
func newService(t *testing.T) (*Service, *client.Client) {
	t.Helper()
	s := New()
	s.AddAgent("commbox", client.AgentRecord{Username: "John.D", Email: "john.d@gmail.com"})
	c, err := client.New(s.Config())
	require.NoError(t, err)
	return s, c
}

// agentsTicket returns a one-time ticket, which must be given.
func agentsTicket(t *testing.T, c *client.Client) client.RedeemRequest {
	t.Helper()
	issued, err := c.Issue(t.Context(), client.IssueRequest{
		Brand: "commbox", Username: "john.d", Email: "JOHN.D@gmail.com", OneTimeUse: new(true),
	})
	require.NoError(t, err)
	return client.RedeemRequest{Ticket: issued.Ticket, Audience: client.Agent}
}

// failed returns the error of a call, which must be one.
func failed(t *testing.T, err error) *client.Error {
	t.Helper()
	var e *client.Error
	require.ErrorAs(t, err, &e)
	return e
}

// In a bubble of synctest, all that waits takes no time: two requests of Redeem, with a second
// between them, and a slow service.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		faults   []Fault
		admitted bool
		took     time.Duration
		status   int // of the error
	}{
		"none":              {nil, true, 0, 0},
		"lost request":      {[]Fault{LoseRequest}, true, time.Second, 0},
		"lost answer":       {[]Fault{LoseAnswer}, true, time.Second, 0},
		"two lost answers":  {[]Fault{LoseAnswer, LoseAnswer}, false, time.Second, 0},
		"a little slow":     {[]Fault{Slow(3 * time.Second)}, true, 3 * time.Second, 0},
		"too slow":          {[]Fault{Slow(time.Minute)}, true, 6 * time.Second, 0},
		"store away":        {[]Fault{Verdict(client.StoreUnavailable)}, true, 5 * time.Second, 0},
		"store away longer": {[]Fault{Verdict(client.StoreUnavailable), Verdict(client.StoreFull)}, false, 5 * time.Second, 503},
		"rate of an issuer": {[]Fault{Verdict(client.IssuerOverRate)}, false, 0, 429},
		"refused":           {[]Fault{Verdict(client.PossiblyUsed)}, false, 0, 403},
		"key not accepted":  {[]Fault{Status(401, 0)}, false, 0, 401},
		"too many requests": {[]Fault{Status(429, 7*time.Second)}, false, 0, 429},
		"fault of another":  {[]Fault{nil}, true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, tickets := newService(t)
				request := agentsTicket(t, tickets)
				s.Next(c.faults...)
				start := time.Now()
				admitted, err := tickets.Redeem(t.Context(), request)
				assert.Equal(t, c.took, time.Since(start))
				if c.admitted {
					require.NoError(t, err)
					assert.Equal(t, "John.D", admitted.Agent.Username)
					return
				}
				assert.Equal(t, c.status, failed(t, err).Status)
			})
		})
	}
}

// A fault of all requests lasts until it is taken away, and those of Next come first.
func TestEvery(t *testing.T) {
	s, tickets := newService(t)
	request := agentsTicket(t, tickets)
	s.Every(Status(http.StatusInternalServerError, 0))
	s.Next(Status(http.StatusUnauthorized, 0), nil)
	assert.Equal(t, 401, failed(t, tickets.TryKey(t.Context())).Status)
	assert.NoError(t, tickets.TryKey(t.Context()))
	for range 3 {
		_, err := tickets.Redeem(t.Context(), request)
		assert.Equal(t, 500, failed(t, err).Status)
	}
	s.Every(nil)
	_, err := tickets.Redeem(t.Context(), request)
	require.NoError(t, err, "the faults spent nothing")
}

// A verdict is told as ticketd tells it: by Inspect as an answer, unless it is none.
func TestVerdictOfInspect(t *testing.T) {
	s, tickets := newService(t)
	request := agentsTicket(t, tickets)
	s.Next(Verdict(client.WrongBrand))
	found, err := tickets.Inspect(t.Context(), request)
	require.NoError(t, err)
	assert.Equal(t, client.WrongBrand, found.Reason)
	s.Next(Verdict(client.ClockBehind))
	_, err = tickets.Inspect(t.Context(), request)
	e := failed(t, err)
	assert.Equal(t, client.CannotTell, e.Result)
	assert.Equal(t, 5*time.Second, e.RetryAfter)
}

// Over a real connection a lost answer is a broken connection, and the ticket is spent by it.
func TestConnection(t *testing.T) {
	s, tickets := newService(t)
	request := agentsTicket(t, tickets)
	server := httptest.NewServer(s)
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL, APIKey: s.AddKey("commbox")})
	require.NoError(t, err)
	request.Binding = "0123456789abcdef"
	s.Every(LoseAnswer)
	_, err = c.Redeem(t.Context(), request)
	assert.Zero(t, failed(t, err).Status)
	s.Every(nil)
	request.Binding = ""
	_, err = tickets.Redeem(t.Context(), request)
	assert.Equal(t, client.AlreadyUsed, failed(t, err).Reason)
}

// A panic of a test's own fault is not hidden.
func TestOwnFault(t *testing.T) {
	s, tickets := newService(t)
	s.Next(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake in the test") })
	})
	assert.PanicsWithValue(t, "a mistake in the test", func() { _ = tickets.TryKey(t.Context()) })
	assert.Panics(t, func() { s.Advance(-1) })
	assert.Panics(t, func() { s.AddChannel("commbox", "") })
	assert.NotContains(t, s.String(), "adm_")
}
