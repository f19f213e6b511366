package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// someTicket has the form of a ticket.
var someTicket = "tkt1_AQAAAAEA" + strings.Repeat("Ab-8", 40)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRedeemAtAPage(t *testing.T) {
	const page = "https://login.example.com/login?lang=en"
	cookie := http.Header{"Set-Cookie": {"s=1"}}
	for name, c := range map[string]struct {
		status   int
		location string
		header   http.Header
		err      error
		want     verdict
		says     string
		leadsTo  string
	}{
		"in":               {status: 303, location: "/login?lang=en", header: cookie, want: good, leadsTo: "https://login.example.com/login"},
		"in, elsewhere":    {status: 303, location: "https://app.example.com/home?state=secret#x", header: cookie, want: good, leadsTo: "https://app.example.com/home"},
		"no session":       {status: 303, location: "/signin", want: cannotTell, says: "sets no cookie", leadsTo: "https://login.example.com/signin"},
		"to nowhere":       {status: 303, header: cookie, want: failed, says: "to nowhere"},
		"ticket kept":      {status: 303, location: "/login?ta=" + someTicket, header: cookie, want: failed, says: "still has the ticket", leadsTo: "https://login.example.com/login"},
		"ticket kept, TA":  {status: 303, location: "/login?TA=x", header: cookie, want: failed, says: "still has the ticket", leadsTo: "https://login.example.com/login"},
		"ticket moved":     {status: 303, location: "/sso/" + someTicket, header: cookie, want: failed, says: "still has the ticket", leadsTo: "https://login.example.com/sso/tkt…"},
		"ticket within":    {status: 303, location: "/sso?next=%2Flogin%3Fta%3D" + someTicket, header: cookie, want: failed, says: "still has the ticket", leadsTo: "https://login.example.com/sso"},
		"odd query":        {status: 303, location: "/login?a;b", header: cookie, want: failed, says: "still has the ticket", leadsTo: "https://login.example.com/login"},
		"refused":          {status: 403, want: refused, says: "log of the login service"},
		"not now":          {status: 503, want: cannotTell, says: "not spent"},
		"proxy":            {status: 502, want: cannotTell, says: "may have been spent"},
		"slow proxy":       {status: 504, want: cannotTell, says: "may have been spent"},
		"page":             {status: 200, want: failed, says: "--url ends in /login"},
		"other page":       {status: 404, want: failed, says: "no such page (404)"},
		"moved":            {status: 301, location: "https://www.example.com/login?ta=" + someTicket, want: failed, says: "redirects (301)", leadsTo: "https://www.example.com/login"},
		"found":            {status: 302, location: "/signin", header: cookie, want: failed, says: "redirects (302)", leadsTo: "https://login.example.com/signin"},
		"unauthorized":     {status: 401, want: failed, says: "(401)"},
		"rate limit":       {status: 429, want: failed, says: "(429)"},
		"broken":           {status: 500, want: failed, says: "may have been spent"},
		"no connection":    {err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}, want: cannotTell, says: "was not sent"},
		"connection lost":  {err: &net.OpError{Op: "read", Err: errors.New("reset")}, want: cannotTell, says: "may have been spent"},
		"timeout":          {err: context.DeadlineExceeded, want: cannotTell, says: "may have been spent"},
		"error with a URL": {err: fmt.Errorf("proxy: %s?ta=%s", page, someTicket), want: cannotTell, says: "tkt…"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			var out, errs bytes.Buffer
			a := &app{stdin: strings.NewReader(someTicket + "\n"), stdout: &out, stderr: &errs, worst: good}
			require.NoError(t, a.redeem(nil, page, roundTripper(func(r *http.Request) (*http.Response, error) {
				asked++
				assert.Equal(t, http.MethodGet, r.Method)
				assert.Equal(t, url.Values{"lang": {"en"}, "ta": {someTicket}}, r.URL.Query())
				if c.err != nil {
					return nil, c.err
				}
				h := c.header.Clone()
				if h == nil {
					h = http.Header{}
				}
				if c.location != "" {
					h.Set("Location", c.location)
				}
				return &http.Response{StatusCode: c.status, Header: h, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
			})))
			assert.Equal(t, 1, asked, "a redirect was followed, or the ticket sent twice")
			assert.Equal(t, c.want, a.worst)
			line := "1 " + string(c.want)
			if c.status != 0 {
				line += fmt.Sprintf(" status=%d", c.status)
			}
			if c.leadsTo != "" {
				line += " location=" + c.leadsTo
			}
			assert.Equal(t, line+"\n", out.String())
			if c.says == "" {
				assert.Empty(t, errs.String())
			}
			assert.Contains(t, errs.String(), c.says)
			assert.NotContains(t, out.String()+errs.String(), someTicket)
			assert.NotContains(t, out.String()+errs.String(), "secret")
		})
	}
}

// A secret that was pasted by mistake goes nowhere.
func TestRedeemSendsTicketsOnly(t *testing.T) {
	var sent []string
	var out, errs bytes.Buffer
	in := strings.NewReader("hunter2\n\n" + someTicket + "\r\n" + someTicket + "=\n")
	a := &app{stdin: in, stdout: &out, stderr: &errs, worst: good}
	next := "tkt2_" + someTicket[5:] // this command need not know what the page does
	page := roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.URL.Query().Get("ta"))
		return &http.Response{StatusCode: 403, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})
	require.NoError(t, a.redeem([]string{next, "-"}, "https://a.example/login", page))
	assert.Equal(t, []string{next, someTicket}, sent)
	assert.Equal(t, "1 refused status=403\n2 refused reason=malformed\n"+
		"3 refused status=403\n4 refused reason=malformed\n", out.String())
	assert.NotContains(t, errs.String(), "hunter2")
	assert.NotContains(t, errs.String(), someTicket)
}
