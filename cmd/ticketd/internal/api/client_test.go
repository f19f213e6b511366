package api

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// apiClient is a client.Client of the world's service. Its requests and the answers are
// held against openapi.yaml.
func (w *world) apiClient(key string, transport http.RoundTripper) *client.Client {
	w.t.Helper()
	c, err := client.New(client.Config{URL: w.server.URL, APIKey: key, Transport: transport})
	require.NoError(w.t, err)
	return c
}

// bothKey is an API key of brand commbox that may issue and redeem.
func (w *world) bothKey() string {
	return w.apiKey(directory.APIKey{
		Scopes: []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem}, Brands: []string{"commbox"},
	})
}

func (w *world) issueBy(c *client.Client, request client.IssueRequest) string {
	w.t.Helper()
	issued, err := c.Issue(w.t.Context(), request)
	require.NoError(w.t, err)
	w.secrets = append(w.secrets, issued.Ticket[10:])
	return issued.Ticket
}

// Package client issues, inspects and redeems.
func TestClient(t *testing.T) {
	for _, integer := range []bool{false, true} {
		w := newWorld(t, func(c *Config) { c.IntegerStatus = integer })
		var transport http.RoundTripper = checked{t}
		if integer {
			transport = wire // openapi.yaml describes the status as text
		}
		tickets := w.apiClient(w.bothKey(), transport)

		agent := client.RedeemRequest{Audience: client.Agent, Address: netip.MustParseAddr("192.0.2.7")}
		agent.Ticket = w.issueBy(tickets, client.IssueRequest{
			Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", Phone1: "442501234567",
			OneTimeUse: new(true), ExpiresIn: 90 * time.Second,
		})
		found, err := tickets.Inspect(t.Context(), agent)
		require.NoError(t, err)
		assert.Equal(t, client.Acceptable, found.Result)
		assert.Equal(t, 90*time.Second, found.Ticket.ExpiresAt.Sub(found.Ticket.IssuedAt))
		admitted, err := tickets.Redeem(t.Context(), agent)
		require.NoError(t, err)
		assert.Equal(t, found.Ticket, admitted.Ticket)
		assert.Equal(t, "+442501234567", admitted.Agent.Phone1)
		assert.Nil(t, admitted.Customer)

		_, err = tickets.Redeem(t.Context(), agent)
		var failed *client.Error
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, client.Refused, failed.Result)
		assert.Equal(t, client.AlreadyUsed, failed.Reason)
		assert.Equal(t, admitted.Ticket.ID, failed.TicketID)
		assert.WithinDuration(t, w.now(), failed.FirstUsed, time.Second)
		found, err = tickets.Inspect(t.Context(), agent)
		require.NoError(t, err)
		assert.Equal(t, client.AlreadyUsed, found.Reason)
		assert.Contains(t, found.Description, "ask for a new one")

		customer := client.RedeemRequest{Audience: client.Customer, Channel: "web"}
		customer.Ticket = w.issueBy(tickets, client.IssueRequest{
			Brand: "commbox", UniqueID: "7", FirstName: "Jane", Channel: "web", OverrideUserInfo: true,
		})
		admitted, err = tickets.Redeem(t.Context(), customer)
		require.NoError(t, err)
		assert.Equal(t, "Jane", admitted.Customer.FirstName)
		assert.Equal(t, "web", admitted.Channel)
	}
}

// What is wrong with a request comes back as data.
func TestClientErrors(t *testing.T) {
	w := newWorld(t)
	tickets := w.apiClient(w.bothKey(), checked{t})
	var failed *client.Error
	_, err := tickets.Issue(t.Context(), client.IssueRequest{
		Brand: "commbox", Email: " a@b", Remark: strings.Repeat("x", 9000),
	})
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, http.StatusBadRequest, failed.Status)
	require.NotEmpty(t, failed.Fields)
	assert.Contains(t, failed.Error(), failed.Fields[0].Field+" "+failed.Fields[0].Reason)
	_, err = tickets.Issue(t.Context(), client.IssueRequest{Brand: "acme", Email: "a@b"})
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, http.StatusUnauthorized, failed.Status)
	stranger := w.apiClient("adm_none", checked{t})
	_, err = stranger.Redeem(t.Context(), client.RedeemRequest{Ticket: "x", Audience: client.Agent})
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, http.StatusUnauthorized, failed.Status)
	assert.Empty(t, failed.Result)
	_, err = tickets.Redeem(t.Context(), client.RedeemRequest{Ticket: "tkt1_x", Audience: client.Agent})
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, client.Malformed, failed.Reason)
	assert.Empty(t, failed.TicketID)
}

// loses lets the first request through, and loses its answer.
type loses struct {
	http.RoundTripper
	requests atomic.Int32
}

func (l *loses) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err != nil || l.requests.Add(1) > 1 {
		return res, err
	}
	res.Body.Close()
	return nil, errors.New("the answer is lost")
}

// trap R25: a client whose answer is lost is admitted all the same, once.
func TestClientLosesTheAnswer(t *testing.T) {
	w := newWorld(t)
	key := w.bothKey()
	tickets := w.apiClient(key, checked{t})
	request := client.RedeemRequest{Audience: client.Agent, Ticket: w.issueBy(tickets, client.IssueRequest{
		Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", OneTimeUse: new(true),
	})}
	lossy := &loses{RoundTripper: checked{t}}
	admitted, err := w.apiClient(key, lossy).Redeem(t.Context(), request)
	require.NoError(t, err)
	assert.Equal(t, "john.d", admitted.Agent.Username)
	assert.EqualValues(t, 2, lossy.requests.Load())
	_, err = tickets.Redeem(t.Context(), request)
	assert.ErrorContains(t, err, "already_used", "another client has another binding")
}
